// SPDX-License-Identifier: Apache-2.0
// Cost of a collection, measured independently of the machine's speed: allocations and reads.
#include <algorithm>
#include <cstdlib>
#include <new>

#include "collectors/collection.h"
#include "tests/kernel/test_cgroup.h"

namespace {
thread_local bool counting = false;
thread_local std::size_t allocations = 0;
}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // sanitizers replace the allocator
// Replaces operator new of the whole program; counts while the thread's flag is set.
void* operator new(std::size_t size) {
  if (counting) ++allocations;
  if (void* at = std::malloc(size)) return at;
  throw std::bad_alloc();
}
void operator delete(void* at) noexcept { std::free(at); }
void operator delete(void* at, std::size_t) noexcept { std::free(at); }
#endif

namespace cgwarden {
namespace {

class CollectionCost : public testing_kernel::CgroupTest {
 protected:
  void SetUp() override {
    CgroupTest::SetUp();
    if (IsSkipped()) return;
    for (int i = 0; i < 50; ++i) make("/g" + std::to_string(i));
    auto opened = collectors::Collection::open(collectors::make_catalogue(), {}, [](const std::string&) {});
    ASSERT_TRUE(opened);
    collection = std::move(*opened);
  }
  std::unique_ptr<collectors::Collection> collection;
};

// One allocation is the control block of the snapshot; reading namespaces and networks from /proc needs a few more.
// None of them is per cgroup.
TEST_F(CollectionCost, IsAtMostEightAllocationsForAllCgroupsTogether) {
  // Cgroups that others create or remove at this moment cost some, so that the minimum of several samples is checked.
  std::size_t fewest = 1'000'000;
  for (int sample = 0; sample < 20; ++sample) {
    counting = true;
    allocations = 0;
    const auto snapshot = collection->collect();
    counting = false;
    ASSERT_GE(snapshot->cgroup_count(), 50U);
    if (sample > 2) fewest = std::min(fewest, allocations);
  }
  EXPECT_LE(fewest, 8U);
}

TEST_F(CollectionCost, IsAtMostTwentyFiveFilesPerIdleCgroup) {
  const auto& infos = collection->collect()->catalogue->collectors();
  std::uint64_t fewest = 1'000'000;
  std::uint64_t before = 0;
  for (int sample = 0; sample < 20; ++sample) {
    const auto snapshot = collection->collect();
    std::uint64_t reads = 0;
    for (std::size_t c = 0; c < snapshot->collectors.size(); ++c) {
      // Collectors that read /proc read files per process, not per cgroup.
      if (!infos[c].rows.empty() && !infos[c].rows.front().derived.empty()) continue;
      reads += snapshot->collectors[c].reads;
    }
    if (sample > 2) fewest = std::min(fewest, (reads - before) / snapshot->cgroup_count());
    before = reads;
  }
  EXPECT_LE(fewest, 25U);
}

}  // namespace
}  // namespace cgwarden
