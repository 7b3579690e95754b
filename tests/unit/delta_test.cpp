// SPDX-License-Identifier: Apache-2.0
#include "src/model/delta.h"

#include <gtest/gtest.h>

#include "tests/unit/cgtop_snapshots.h"

namespace cgwarden::model {
namespace {

using test::SnapshotMaker;

FieldId id(std::string_view field) { return *test::catalogue()->find(field); }

TEST(Delta, ReturnsRatesInBaseUnitsOverTheMeasuredInterval) {
  const auto before = SnapshotMaker(0).cgroup(1, "/").set("cpu_usage", 1'000'000'000).make();
  const auto now = SnapshotMaker(2).cgroup(1, "/").set("cpu_usage", 2'000'000'000).make();
  const Delta delta(before, now);
  EXPECT_DOUBLE_EQ(delta.seconds(), 2.0);
  EXPECT_EQ(delta.difference(id("cpu_usage"), 0), 1'000'000'000);
  EXPECT_DOUBLE_EQ(delta.rate(id("cpu_usage"), 0).value(), 0.5);
}

TEST(Delta, ReturnsNulloptForADecreasedCounterOnly) {
  const auto before =
      SnapshotMaker(0).cgroup(1, "/").set("cpu_usage", 5).set("memory_pgfault", 7).set("memory_current", 9).make();
  const auto now =
      SnapshotMaker(1).cgroup(1, "/").set("cpu_usage", 4).set("memory_pgfault", 9).set("memory_current", 4).make();
  const Delta delta(before, now);
  EXPECT_FALSE(delta.rate(id("cpu_usage"), 0));
  EXPECT_EQ(delta.difference(id("memory_pgfault"), 0), 2);
  EXPECT_EQ(delta.difference(id("memory_current"), 0), -5) << "a gauge may decrease";
}

TEST(Delta, MatchesCgroupsByIdAndNotByPath) {
  const auto before = SnapshotMaker(0)
                          .cgroup(1, "/")
                          .set("cpu_usage", 0)
                          .cgroup(2, "/a")
                          .set("cpu_usage", 10)
                          .cgroup(3, "/b")
                          .set("cpu_usage", 20)
                          .make();
  const auto now = SnapshotMaker(1)
                       .cgroup(1, "/")
                       .set("cpu_usage", 0)
                       .cgroup(9, "/a")  // created again
                       .set("cpu_usage", 50)
                       .cgroup(8, "/aa")
                       .set("cpu_usage", 60)
                       .cgroup(3, "/b")
                       .set("cpu_usage", 21)
                       .make();
  const Delta delta(before, now);
  EXPECT_FALSE(delta.difference(id("cpu_usage"), 1));
  EXPECT_FALSE(delta.difference(id("cpu_usage"), 2));
  EXPECT_EQ(delta.difference(id("cpu_usage"), 3), 1);
}

TEST(Delta, SumsTheSeriesOfALabeledFieldAndCountsANewSeriesFromZero) {
  const auto before = SnapshotMaker(0).cgroup(1, "/").series("io_read", "8:0", Value::of(100)).make();
  const auto now = SnapshotMaker(1)
                       .cgroup(1, "/")
                       .series("io_read", "8:0", Value::of(150))
                       .series("io_read", "8:16", Value::of(30))
                       .make();
  const Delta delta(before, now);
  EXPECT_EQ(delta.difference(id("io_read"), 0), 80);
  EXPECT_DOUBLE_EQ(delta.rate(id("io_read"), 0, "8:0").value(), 50.0);
  EXPECT_FALSE(delta.rate(id("io_read"), 0, "9:9"));
}

TEST(Delta, ReturnsNulloptForTheSumIfOneSeriesDecreased) {
  const auto before = SnapshotMaker(0)
                          .cgroup(1, "/")
                          .series("io_read", "8:0", Value::of(100))
                          .series("io_read", "8:16", Value::of(100))
                          .make();
  const auto now = SnapshotMaker(1)
                       .cgroup(1, "/")
                       .series("io_read", "8:0", Value::of(150))
                       .series("io_read", "8:16", Value::of(3))
                       .make();
  EXPECT_FALSE(Delta(before, now).difference(id("io_read"), 0));
}

TEST(Delta, ReturnsNulloptForAbsentErrorAndUnlimited) {
  for (const auto special : {Value::absent(), Value::error(), Value::unlimited()}) {
    const auto number = SnapshotMaker(0).cgroup(1, "/").set("memory_max", 5).make();
    const auto other = SnapshotMaker(1).cgroup(1, "/").set("memory_max", special).make();
    EXPECT_FALSE(Delta(number, other).difference(id("memory_max"), 0));
    const auto later = SnapshotMaker(2).cgroup(1, "/").set("memory_max", 5).make();
    EXPECT_FALSE(Delta(other, later).difference(id("memory_max"), 0));
  }
}

TEST(Delta, ReturnsNulloptWithoutAnEarlierSnapshotOrElapsedTime) {
  const auto now = SnapshotMaker(1).cgroup(1, "/").set("cpu_usage", 4).make();
  EXPECT_FALSE(Delta().rate(0, 0));
  EXPECT_FALSE(Delta(nullptr, now).rate(id("cpu_usage"), 0));
  EXPECT_FALSE(Delta(now, now).rate(id("cpu_usage"), 0));
  EXPECT_FALSE(Delta(now, SnapshotMaker(0).cgroup(1, "/").set("cpu_usage", 9).make()).known());
}

TEST(SeriesOf, FindsTheSeriesOfOneCgroup) {
  const auto snapshot = SnapshotMaker()
                            .cgroup(1, "/")
                            .series("io_read", "8:0", Value::of(1))
                            .cgroup(2, "/a")
                            .cgroup(3, "/b")
                            .series("io_read", "8:0", Value::of(2))
                            .series("io_read", "8:16", Value::of(3))
                            .make();
  const auto& column = snapshot->columns[id("io_read")];
  EXPECT_EQ(series_of(column, 0).size(), 1U);
  EXPECT_EQ(series_of(column, 1).size(), 0U);
  EXPECT_EQ(series_of(column, 2).size(), 2U);
}

}  // namespace
}  // namespace cgwarden::model
