// SPDX-License-Identifier: Apache-2.0
// Effective limits of nested cgroups on the running kernel.
#include <gtest/gtest.h>

#include "tests/kernel/collected.h"

namespace cgwarden {
namespace {

using model::Value;
using testing_kernel::read;
using testing_kernel::write;

class EffectiveCollector : public testing_kernel::CollectedTest {
 protected:
  void SetUp() override {
    CollectedTest::SetUp();
    if (IsSkipped()) return;
    for (const auto* cgroup : {"/a", "/a/b", "/a/b/c", "/free"}) make(cgroup);
  }

  // Sets a limit. On v2 the controller must be enabled in the ancestors first.
  void limit(const std::string& controller, const std::string& cgroup, const std::string& v1_file,
             const std::string& v2_file, const std::string& text) {
    const auto on_v1 = dir(controller, cgroup) + "/" + v1_file;
    if (::access(on_v1.c_str(), F_OK) == 0) {
      ASSERT_TRUE(write(on_v1, text)) << on_v1;
      return;
    }
    std::string at;
    for (const auto& ancestor : {"", "/a", "/a/b"})
      write(dir("v2", ancestor) + "/cgroup.subtree_control", "+" + controller);
    ASSERT_TRUE(write(dir("v2", cgroup) + "/" + v2_file, text)) << cgroup << v2_file;
  }
};

TEST_F(EffectiveCollector, ExportsTheLowestMemoryLimitOfTheAncestors) {
  if (dir("memory").empty()) GTEST_SKIP() << "no memory controller on this kernel";
  limit("memory", "/a", "memory.limit_in_bytes", "memory.max", "67108864");
  limit("memory", "/a/b/c", "memory.limit_in_bytes", "memory.max", "134217728");
  open();
  collect();
  EXPECT_EQ(value("effective_memory_max", "/a"), Value::of(64 << 20));
  EXPECT_EQ(value("effective_memory_max", "/a/b"), Value::of(64 << 20));
  EXPECT_EQ(value("memory_max", "/a/b/c"), Value::of(128 << 20));
  EXPECT_EQ(value("effective_memory_max", "/a/b/c"), Value::of(64 << 20));
  // On v1 the kernel computes the limit itself.
  const auto stat = read(dir("memory", "/a/b/c") + "/memory.stat");
  if (stat.find("hierarchical_memory_limit") != std::string::npos) {
    EXPECT_NE(stat.find("hierarchical_memory_limit 67108864\n"), std::string::npos);
    EXPECT_TRUE(value("effective_memory_max", "/free").is_unlimited());
  }
}

TEST_F(EffectiveCollector, ExportsTheLowestPidsLimitOfTheAncestors) {
  if (dir("pids").empty()) GTEST_SKIP() << "no pids controller on this kernel";
  limit("pids", "/a/b", "pids.max", "pids.max", "9");
  open();
  collect();
  EXPECT_EQ(value("effective_pids_max", "/a/b"), Value::of(9));
  EXPECT_EQ(value("effective_pids_max", "/a/b/c"), Value::of(9));
  EXPECT_FALSE(value("effective_pids_max", "/a") == Value::of(9));
}

TEST_F(EffectiveCollector, ExportsTheLowestCpuLimitOfTheAncestors) {
  if (dir("cpu").empty()) GTEST_SKIP() << "no cpu controller on this kernel";
  if (!write(dir("cpu", "/free") + "/cpu.cfs_quota_us", "-1") && dir("v2").empty()) {
    GTEST_SKIP() << "no CPU bandwidth control on this kernel";
  }
  limit("cpu", "/a", "cpu.cfs_quota_us", "cpu.max", "50000");
  open();
  collect();
  EXPECT_EQ(value("effective_cpu_max", "/a"), Value::of(500'000'000));
  EXPECT_EQ(value("effective_cpu_max", "/a/b/c"), Value::of(500'000'000));
}

TEST_F(EffectiveCollector, CountsTheCpusOfTheEffectiveCpuset) {
  if (dir("cpuset").empty()) GTEST_SKIP() << "no cpuset controller on this kernel";
  const auto file = dir("cpuset", "/a") + "/cpuset.cpus";
  if (::access(file.c_str(), F_OK) == 0) {
    ASSERT_TRUE(write(dir("cpuset", "/a/b/c") + "/cpuset.cpus", "0"));
  }
  open();
  collect();
  EXPECT_EQ(value("effective_cpuset_cpus", "/a/b/c"), Value::of(1));
  EXPECT_GE(value("effective_cpuset_cpus", "/a").fixed(), 1);
}

}  // namespace
}  // namespace cgwarden
