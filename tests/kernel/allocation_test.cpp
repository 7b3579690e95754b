// SPDX-License-Identifier: Apache-2.0
// What a collection costs in things that do not drift with the machine: allocations, reads, descriptors.
#include <algorithm>
#include <cstdlib>
#include <new>

#include "collectors/collection.h"
#include "tests/kernel/test_cgroup.h"

namespace {
thread_local bool counting = false;
thread_local std::size_t allocations = 0;
}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // the sanitizers bring allocators of their own
// Replaced for the whole program: counts while the flag of the thread is up.
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

class CostOfACollection : public testing_kernel::CgroupTest {
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

// The handle of the snapshot is one; reading /proc for namespaces and networks takes a few more. None of them is a
// cgroup's.
TEST_F(CostOfACollection, IsAHandfulOfAllocationsForAllCgroupsTogether) {
  // Cgroups that others make or remove at this moment cost some: the quietest of several rounds counts.
  std::size_t fewest = 1'000'000;
  for (int round = 0; round < 20; ++round) {
    counting = true;
    allocations = 0;
    const auto snapshot = collection->collect();
    counting = false;
    ASSERT_GE(snapshot->cgroup_count(), 50U);
    if (round > 2) fewest = std::min(fewest, allocations);
  }
  EXPECT_LE(fewest, 8U);
}

TEST_F(CostOfACollection, IsAtMostTwentyFiveFilesForACgroupAtRest) {
  const auto& infos = collection->collect()->catalogue->collectors();
  std::uint64_t fewest = 1'000'000;
  std::uint64_t before = 0;
  for (int round = 0; round < 20; ++round) {
    const auto snapshot = collection->collect();
    std::uint64_t reads = 0;
    for (std::size_t c = 0; c < snapshot->collectors.size(); ++c) {
      // Those of /proc read a file for each process, not for each cgroup.
      if (!infos[c].rows.empty() && !infos[c].rows.front().derived.empty()) continue;
      reads += snapshot->collectors[c].reads;
    }
    if (round > 2) fewest = std::min(fewest, (reads - before) / snapshot->cgroup_count());
    before = reads;
  }
  EXPECT_LE(fewest, 25U);
}

}  // namespace
}  // namespace cgwarden
