// SPDX-License-Identifier: Apache-2.0
#include "collectors/effective.h"

#include <gtest/gtest.h>

namespace cgwarden::collectors {
namespace {

using model::kNoCgroup;
using model::Value;

const Value kMax = Value::unlimited();
const Value kAbsent = Value::absent();
const Value kError = Value::error();
Value n(std::int64_t number) { return Value::of(number); }

struct Chain {
  const char* name;
  std::vector<Value> own;  // from the root to the leaf
  Inherit inherit;
  std::vector<Value> effective;
};

class TightenByAncestors : public testing::TestWithParam<Chain> {};

TEST_P(TightenByAncestors, SetsTheLowestLimitOfACgroupAndItsAncestors) {
  auto limits = GetParam().own;
  std::vector<model::CgroupIndex> parents{kNoCgroup};
  for (model::CgroupIndex g = 1; g < limits.size(); ++g) parents.push_back(g - 1);
  tighten_by_ancestors(parents, GetParam().inherit, limits);
  EXPECT_EQ(limits, GetParam().effective);
}

INSTANTIATE_TEST_SUITE_P(
    Limits, TightenByAncestors,
    testing::Values(
        Chain{"UnlimitedOnlyIfAllAncestorsAre", {kMax, kMax, kMax}, Inherit::nothing, {kMax, kMax, kMax}},
        Chain{"OwnLimit", {kMax, kMax, n(5)}, Inherit::nothing, {kMax, kMax, n(5)}},
        Chain{"LimitOfAnAncestor", {kMax, n(5), kMax}, Inherit::nothing, {kMax, n(5), n(5)}},
        Chain{"LowerAncestor", {kMax, n(5), n(9)}, Inherit::nothing, {kMax, n(5), n(5)}},
        Chain{"LowerChild", {kMax, n(9), n(5)}, Inherit::nothing, {kMax, n(9), n(5)}},
        Chain{"ZeroIsALimit", {kMax, n(0), n(5)}, Inherit::nothing, {kMax, n(0), n(0)}},
        Chain{"RootOfV2HasNoFile", {kAbsent, kMax, n(5)}, Inherit::from_parent, {kAbsent, kMax, n(5)}},
        Chain{"NoCgroupHasTheFile", {kAbsent, kAbsent}, Inherit::from_parent, {kAbsent, kAbsent}},
        Chain{"ControllerDisabledInTheLeafOnV2", {kAbsent, n(5), kAbsent}, Inherit::from_parent, {kAbsent, n(5), n(5)}},
        Chain{"LeafNotInTheHierarchyOnV1", {kMax, n(5), kAbsent}, Inherit::nothing, {kMax, n(5), kAbsent}},
        Chain{"ErrorIfAnAncestorIsUnreadable", {kMax, kError, n(5)}, Inherit::nothing, {kMax, kError, kError}},
        Chain{"NoCgroups", {}, Inherit::nothing, {}}),
    [](const auto& chain) { return std::string(chain.param.name); });

TEST(TightenByAncestorsOnATree, IgnoresSiblings) {
  std::vector<Value> limits{kMax, n(7), kMax, kMax};
  const std::vector<model::CgroupIndex> parents{kNoCgroup, 0, 1, 0};
  tighten_by_ancestors(parents, Inherit::nothing, limits);
  EXPECT_EQ(limits, (std::vector<Value>{kMax, n(7), n(7), kMax}));
}

TEST(TightenByAncestorsOnATree, StopsAtTheShorterOfTwoColumns) {
  std::vector<Value> limits{n(1)};
  const std::vector<model::CgroupIndex> parents{kNoCgroup, 0};
  tighten_by_ancestors(parents, Inherit::from_parent, limits);
  EXPECT_EQ(limits, std::vector<Value>{n(1)});
}

TEST(Cores, DividesQuotaByPeriod) {
  constexpr std::int64_t ms = 1'000'000;
  EXPECT_EQ(cores(n(150 * ms), n(100 * ms)), n(1'500'000'000));
  EXPECT_EQ(cores(n(1 * ms), n(1000 * ms)), n(1'000'000));
  EXPECT_EQ(cores(n(1 * ms), n(3 * ms)), n(333'333'333));
  EXPECT_EQ(cores(kMax, n(100 * ms)), kMax);
  EXPECT_EQ(cores(kAbsent, kAbsent), kAbsent);
  EXPECT_EQ(cores(n(1), n(0)), kError);
  EXPECT_EQ(cores(n(1), kAbsent), kError);
  EXPECT_EQ(cores(n(1), n(INT64_MAX - 1)), kError);
  EXPECT_EQ(cores(n(INT64_MAX - 1), n(1)), kError);
}

TEST(CountOfList, CountsCpusAndRejectsInvalidLists) {
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
