// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/kept_text.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace cgwarden::cgroup {
namespace {

TEST(KeptText, KeepsWhatAStringKeepsThroughAnyHistory) {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same history in every run
  std::vector<KeptText> kept(8);
  std::vector<std::string> strings(kept.size());
  for (int i = 0; i < 20'000; ++i) {
    const auto at = random() % kept.size();
    const auto other = random() % kept.size();
    switch (random() % 4) {
      case 0:
        kept[at] = std::move(kept[other]);
        if (at != other) std::swap(strings[at], strings[other]);
        strings[other] = kept[other].view();  // what was moved from holds something
        break;
      case 1: {
        KeptText moved(std::move(kept[at]));
        EXPECT_EQ(moved.view(), strings[at]);
        strings[at].clear();
        break;
      }
      default:
        strings[at].assign(random() % (i % 3 == 0 ? 3000 : 20), static_cast<char>('a' + random() % 26));
        kept[at] = std::string_view(strings[at]);
    }
    for (std::size_t k = 0; k < kept.size(); ++k) ASSERT_EQ(kept[k].view(), strings[k]);
  }
}

TEST(KeptText, StaysWhereItIsWhileATextFits) {
  KeptText kept;
  const auto* const in_place = kept.view().data();
  kept = "max 1024";
  EXPECT_EQ(kept.view().data(), in_place);
  kept = std::string_view("18446744073709551615\n");
  const auto* const elsewhere = kept.view().data();
  EXPECT_NE(elsewhere, in_place);
  kept = "0\n";
  EXPECT_EQ(kept.view(), "0\n");
  kept = "9223372036854771712\n";
  EXPECT_EQ(kept.view().data(), elsewhere);
}

}  // namespace
}  // namespace cgwarden::cgroup
