// SPDX-License-Identifier: Apache-2.0
#include "collectors/network.h"

#include <gtest/gtest.h>

#include <string>

namespace cgwarden::collectors {
namespace {

TEST(ParseInterface, ReadsNameAndCounters) {
  const auto found = parse_interface("  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 18446744073709551615");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->name, "eth0");
  EXPECT_EQ(found->counters[0], 1U);
  EXPECT_EQ(found->counters[8], 9U);
  EXPECT_EQ(found->counters[15], UINT64_MAX);
}

TEST(ParseInterface, AcceptsALongNameWithoutABlankAfterTheColon) {
  const auto found = parse_interface("enp0s31f6longer:1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->name, "enp0s31f6longer");
  EXPECT_EQ(found->counters[8], 2U);
}

TEST(ParseInterface, RejectsHeadersAndInvalidLines) {
  for (const auto* line :
       {"", "eth0", "eth0:", "eth0: 1 2 3", ": 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
        "Inter-|   Receive                                                |  Transmit",
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs",
        "a b: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", "eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 -1",
        "eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 18446744073709551616"}) {
    EXPECT_FALSE(parse_interface(line)) << line;
  }
}

}  // namespace
}  // namespace cgwarden::collectors
