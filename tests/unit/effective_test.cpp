// SPDX-License-Identifier: Apache-2.0
#include "collectors/effective.h"

#include <gtest/gtest.h>

namespace cgwarden::collectors {
namespace {

using model::kNoCgroup;
using model::Value;

const Value kMax = Value::unlimited();
const Value kNone = Value::absent();
const Value kBroken = Value::error();
Value n(std::int64_t number) { return Value::of(number); }

struct Chain {
  const char* name;
  std::vector<Value> own;  // from the root down
  Inherit inherit;
  std::vector<Value> effective;
};

class OfAChain : public testing::TestWithParam<Chain> {};

TEST_P(OfAChain, TheTightestLimitIsEffective) {
  auto limits = GetParam().own;
  std::vector<model::CgroupIndex> parents{kNoCgroup};
  for (model::CgroupIndex g = 1; g < limits.size(); ++g) parents.push_back(g - 1);
  tighten_by_ancestors(parents, GetParam().inherit, limits);
  EXPECT_EQ(limits, GetParam().effective);
}

INSTANTIATE_TEST_SUITE_P(
    Limits, OfAChain,
    testing::Values(
        Chain{"UnlimitedOnlyIfEveryAncestorIs", {kMax, kMax, kMax}, Inherit::nothing, {kMax, kMax, kMax}},
        Chain{"OwnLimit", {kMax, kMax, n(5)}, Inherit::nothing, {kMax, kMax, n(5)}},
        Chain{"LimitOfAnAncestor", {kMax, n(5), kMax}, Inherit::nothing, {kMax, n(5), n(5)}},
        Chain{"TighterAncestor", {kMax, n(5), n(9)}, Inherit::nothing, {kMax, n(5), n(5)}},
        Chain{"TighterChild", {kMax, n(9), n(5)}, Inherit::nothing, {kMax, n(9), n(5)}},
        Chain{"ZeroIsALimit", {kMax, n(0), n(5)}, Inherit::nothing, {kMax, n(0), n(0)}},
        Chain{"RootOfV2HasNoFile", {kNone, kMax, n(5)}, Inherit::from_parent, {kNone, kMax, n(5)}},
        Chain{"NobodyHasTheFile", {kNone, kNone}, Inherit::from_parent, {kNone, kNone}},
        Chain{"ControllerOffInTheLeafOnV2", {kNone, n(5), kNone}, Inherit::from_parent, {kNone, n(5), n(5)}},
        Chain{"LeafNotInTheHierarchyOnV1", {kMax, n(5), kNone}, Inherit::nothing, {kMax, n(5), kNone}},
        Chain{"AnUnreadableAncestorHidesALimit", {kMax, kBroken, n(5)}, Inherit::nothing, {kMax, kBroken, kBroken}},
        Chain{"Nothing", {}, Inherit::nothing, {}}),
    [](const auto& chain) { return std::string(chain.param.name); });

TEST(EffectiveLimits, SiblingsDoNotMeetEachOther) {
  std::vector<Value> limits{kMax, n(7), kMax, kMax};
  const std::vector<model::CgroupIndex> parents{kNoCgroup, 0, 1, 0};
  tighten_by_ancestors(parents, Inherit::nothing, limits);
  EXPECT_EQ(limits, (std::vector<Value>{kMax, n(7), n(7), kMax}));
}

TEST(EffectiveLimits, AreBoundedByTheShorterOfTwoColumns) {
  std::vector<Value> limits{n(1)};
  const std::vector<model::CgroupIndex> parents{kNoCgroup, 0};
  tighten_by_ancestors(parents, Inherit::from_parent, limits);
  EXPECT_EQ(limits, std::vector<Value>{n(1)});
}

TEST(EffectiveLimits, QuotaInEachPeriodIsCores) {
  constexpr std::int64_t ms = 1'000'000;
  EXPECT_EQ(cores(n(150 * ms), n(100 * ms)), n(1'500'000'000));
  EXPECT_EQ(cores(n(1 * ms), n(1000 * ms)), n(1'000'000));
  EXPECT_EQ(cores(n(1 * ms), n(3 * ms)), n(333'333'333));
  EXPECT_EQ(cores(kMax, n(100 * ms)), kMax);
  EXPECT_EQ(cores(kNone, kNone), kNone);
  EXPECT_EQ(cores(n(1), n(0)), kBroken);
  EXPECT_EQ(cores(n(1), kNone), kBroken);
  EXPECT_EQ(cores(n(1), n(INT64_MAX - 1)), kBroken);
  EXPECT_EQ(cores(n(INT64_MAX - 1), n(1)), kBroken);
}

TEST(EffectiveLimits, CpusOfAListAreCounted) {
  EXPECT_EQ(count_of_list("0"), 1);
  EXPECT_EQ(count_of_list("0-3,8,10-11\n"), 7);
  EXPECT_EQ(count_of_list("0-511"), 512);
  EXPECT_EQ(count_of_list("0-4294967295"), 4294967296);
  for (const auto* broken : {"", "\n", "a", "3-1", "0-", "-1", "0,,1", "0-1-2", "4294967296", "1,"}) {
    EXPECT_EQ(count_of_list(broken), std::nullopt) << broken;
  }
}

}  // namespace
}  // namespace cgwarden::collectors
