// SPDX-License-Identifier: Apache-2.0
#include "src/agent/own_memory.h"

#include <gmock/gmock.h>

#include "collectors/collection.h"

namespace cgwarden::agent {
namespace {

using model::Value;
using testing::AllOf;
using testing::Field;
using testing::Optional;

constexpr std::int64_t kMiB = 1 << 20;

class MemoryShortageTest : public testing::Test {
 protected:
  MemoryShortageTest() {
    auto cgroup_list = std::make_shared<model::CgroupList>();
    for (const auto* path : {"/", "/system.slice", "/system.slice/cgwarden.service"}) {
      auto cgroup = std::make_shared<model::Cgroup>();
      cgroup->path = path;
      cgroup_list->cgroups.push_back(std::move(cgroup));
    }
    for (int i = 0; i < 4997; ++i) cgroup_list->cgroups.push_back(std::make_shared<model::Cgroup>());
    snapshot.catalogue = collectors::make_catalogue();
    snapshot.cgroup_list = std::move(cgroup_list);
    snapshot.columns.resize(snapshot.catalogue->size());
    snapshot.tree.watches = 50'000;
    snapshot.tree.open_files = 2048;
  }

  void limit(const std::string& field, Value value) {
    auto& dense = snapshot.columns[*snapshot.catalogue->find(field)].dense;
    dense.resize(snapshot.cgroup_count());
    dense[2] = value;
  }

  std::optional<MemoryShortage> warning() const { return memory_shortage(snapshot, in); }

  model::Snapshot snapshot;
  std::string in = "0::/system.slice/cgwarden.service\n";
};

TEST_F(MemoryShortageTest, IsUnsetWithoutLimitOrWithSufficientMemory) {
  EXPECT_FALSE(warning());
  limit("effective_memory_high", Value::of(120 * kMiB));
  limit("effective_memory_max", Value::unlimited());
  EXPECT_FALSE(warning());
}

TEST_F(MemoryShortageTest, ReportsNeededAndAvailableMemoryWhenALimitIsTooLow) {
  limit("effective_memory_high", Value::of(40 * kMiB));
  EXPECT_THAT(warning(), Optional(AllOf(Field(&MemoryShortage::cgroups, 5000), Field(&MemoryShortage::needed_mib, 89),
                                        Field(&MemoryShortage::limit_mib, 40))));
  limit("effective_memory_high", Value::unlimited());
  limit("effective_memory_max", Value::of(64 * kMiB));
  EXPECT_THAT(warning(), Optional(Field(&MemoryShortage::limit_mib, 64)));
}

TEST_F(MemoryShortageTest, UsesTheHierarchyOfTheMemoryController) {
  limit("effective_memory_high", Value::of(40 * kMiB));
  in = "12:cpu,memory:/system.slice/cgwarden.service\n1:name=systemd:/\n0::/\n";
  EXPECT_TRUE(warning());
  in = "12:memory:/elsewhere\n0::/system.slice/cgwarden.service\n";
  EXPECT_FALSE(warning());
  in = "";
  EXPECT_FALSE(warning());
  in = "\n:::\n7\n0:memory";
  EXPECT_FALSE(warning());
}

}  // namespace
}  // namespace cgwarden::agent
