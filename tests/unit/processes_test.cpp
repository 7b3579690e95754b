// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/processes.h"

#include <gtest/gtest.h>

namespace cgwarden::cgroup {
namespace {

TEST(ParseNamespaceLink, ReturnsTheInodeNumber) {
  EXPECT_EQ(parse_namespace_link("net:[4026531840]", "net"), 4026531840U);
  EXPECT_EQ(parse_namespace_link("mnt:[1]", "mnt"), 1U);
}

TEST(ParseNamespaceLink, ReturnsZeroForAnyOtherText) {
  for (const auto* link : {"", "net", "net:", "net:[", "net:[]", "net:[x]", "net:[1", "mnt:[1]", "net:[-1]",
                           "net:[99999999999999999999999]", "net:[1]x"}) {
    EXPECT_EQ(parse_namespace_link(link, "net"), 0U) << link;
  }
}

constexpr std::string_view kRest = "1 1 1 0 -1 4194560 9 0 0 0 0 1 0 0 20 0 3 0 88826 1000 200";

TEST(ParseProcessStat, ReadsFieldsAfterAnyCommandName) {
  for (const auto* command : {"sh", "a) b", "x\ny", ") R 1 (", "", "((("}) {
    ProcessStat stat;
    ASSERT_TRUE(parse_process_stat("17 (" + std::string(command) + ") S " + std::string(kRest), stat)) << command;
    EXPECT_EQ(stat.state, 'S');
    EXPECT_EQ(stat.flags, 4194560U);
    EXPECT_EQ(stat.threads, 3U);
    EXPECT_EQ(stat.start, 88826U);
  }
}

TEST(ParseProcessStat, RejectsATruncatedLine) {
  const auto whole = "17 (sh) S " + std::string(kRest.substr(0, kRest.find(" 1000")));
  ProcessStat stat;
  EXPECT_TRUE(parse_process_stat(whole, stat));
  for (std::size_t n = 0; n < whole.rfind(' '); ++n) EXPECT_FALSE(parse_process_stat(whole.substr(0, n), stat)) << n;
  EXPECT_FALSE(parse_process_stat("17 (sh) S 1 1 1 0 -1 x 9 0 0 0 0 1 0 0 20 0 3 0 88826", stat));
}

}  // namespace
}  // namespace cgwarden::cgroup
