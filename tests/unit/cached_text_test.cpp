// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/cached_text.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace cgwarden::cgroup {
namespace {

TEST(CachedText, HoldsTheSameTextAsAStringAfterAnyOperations) {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same sequence in each run
  std::vector<CachedText> cached(8);
  std::vector<std::string> strings(cached.size());
  for (int i = 0; i < 20'000; ++i) {
    const auto at = random() % cached.size();
    const auto other = random() % cached.size();
    switch (random() % 4) {
      case 0:
        cached[at] = std::move(cached[other]);
        if (at != other) std::swap(strings[at], strings[other]);
        strings[other] = cached[other].view();  // the moved-from object holds an unspecified text
        break;
      case 1: {
        CachedText moved(std::move(cached[at]));
        EXPECT_EQ(moved.view(), strings[at]);
        strings[at].clear();
        break;
      }
      default:
        strings[at].assign(random() % (i % 3 == 0 ? 3000 : 20), static_cast<char>('a' + random() % 26));
        cached[at] = std::string_view(strings[at]);
    }
    for (std::size_t k = 0; k < cached.size(); ++k) ASSERT_EQ(cached[k].view(), strings[k]);
  }
}

TEST(CachedText, DoesNotAllocateIfTheTextFits) {
  CachedText cached;
  const auto* const in_object = cached.view().data();
  cached = "max 1024";
  EXPECT_EQ(cached.view().data(), in_object);
  cached = std::string_view("18446744073709551615\n");
  const auto* const on_heap = cached.view().data();
  EXPECT_NE(on_heap, in_object);
  cached = "0\n";
  EXPECT_EQ(cached.view(), "0\n");
  cached = "9223372036854771712\n";
  EXPECT_EQ(cached.view().data(), on_heap);
}

}  // namespace
}  // namespace cgwarden::cgroup
