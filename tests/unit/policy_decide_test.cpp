// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "src/policy/decide.h"
#include "src/policy/load.h"
#include "tests/unit/cgtop_snapshots.h"

namespace cgwarden::policy {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using namespace std::chrono_literals;

PolicyPtr policy_of(const std::string& rules, const std::string& more = "") {
  auto loaded = load_texts(
      {{"p", "version: 1\nenforcer: { boot_grace: 0s }\ndefaults: { dry_run: false }\n" + more + "rules:\n" + rules}},
      test::catalogue());
  for (const auto& problem : loaded.problems) ADD_FAILURE() << problem.text();
  return loaded.policy;
}

constexpr std::int64_t kMiB = 1 << 20;

struct Use {
  std::int64_t memory = 0;
  std::int64_t cpu_ns = 0;
  std::uint64_t id = 7;
  bool exists = true;
};

model::SnapshotPtr host(double at, const Use& use) {
  test::SnapshotMaker maker(at);
  maker.cgroup(1, "/");
  maker.cgroup(2, "/a");
  if (use.exists) {
    maker.cgroup(use.id, "/a/b");
    maker.set("memory_current", use.memory).set("cpu_usage", use.cpu_ns).set("memory_max", std::int64_t{1000 << 20});
  }
  return maker.make();
}

// Evaluates one sample after the other; returns the decisions as "fire r", "limit r memory.max=5".
class PolicyPlayer {
 public:
  explicit PolicyPlayer(PolicyPtr policy, Duration interval = 10s) : policy_(std::move(policy)), interval_(interval) {}
  std::vector<std::string> at(double seconds, const Use& use) { return at(host(seconds, use)); }
  std::vector<std::string> at(const model::SnapshotPtr& now) {
    decision_ = decide(*policy_, previous_, now, std::move(state_), interval_);
    state_ = std::move(decision_.state);
    previous_ = now;
    std::vector<std::string> out;
    for (const auto& notice : decision_.notices) out.push_back(std::string(name(notice.kind)) + ' ' + notice.rule);
    for (const auto& action : decision_.actions) {
      auto line = (action.dry_run ? "would " : "") + std::string(model::name(action.verb)) + ' ' + action.actor.rule;
      for (const auto& setting : action.settings) line += ' ' + model::to_text(setting);
      out.push_back(line);
    }
    return out;
  }
  [[nodiscard]] Phase phase(const std::string& rule = "r", std::uint64_t id = 7) const {
    const auto rules = state_.rules.find(rule);
    if (rules == state_.rules.end()) return Phase::idle;
    const auto found = rules->second.instances.find(model::cgroup_key(id, "/a/b"));
    return found == rules->second.instances.end() ? Phase::idle : found->second.phase;
  }
  void change(PolicyPtr policy) { policy_ = std::move(policy); }
  State& state() { return state_; }
  [[nodiscard]] const Decision& decision() const { return decision_; }

 private:
  PolicyPtr policy_;
  Duration interval_;
  model::SnapshotPtr previous_;
  State state_;
  Decision decision_;
};

std::string limit_rule(const std::string& when, const std::string& more = "") {
  return "- { name: r, match: { path: /a/b }, when: " + when + ", do: [ limit: { memory.max: 5M } ], cooldown: 20s" +
         more + " }\n";
}

model::SnapshotPtr slice(double at, std::vector<std::pair<std::string, std::int64_t>> children) {
  test::SnapshotMaker maker(at);
  std::int64_t sum = 0;
  for (const auto& child : children) sum += child.second;
  maker.cgroup(1, "/");
  maker.cgroup(2, "/a").set("memory_current", sum * kMiB);
  std::uint64_t id = 3;
  for (const auto& [name, memory] : children) {
    maker.cgroup(id + static_cast<std::uint64_t>(name.back()), "/a/" + name).set("memory_current", memory * kMiB);
  }
  return maker.make();
}

TEST(Decide, PicksTheCgroupWithTheHighestValueAndTheNextAfterTheCooldown) {
  PolicyPlayer p(
      policy_of("- { name: r, match: { path: /a/* }, when: { field: memory_current, above: 200MiB, for: 20s, at: /a }, "
                "pick: { most: memory_current }, do: [ kill: {} ], cooldown: 30s }\n"));
  EXPECT_THAT(p.at(slice(0, {{"b", 100}, {"c", 150}, {"d", 90}})), ElementsAre("arm r", "arm r", "arm r"));
  EXPECT_THAT(p.at(slice(10, {{"b", 100}, {"c", 150}, {"d", 90}})), IsEmpty());
  EXPECT_THAT(p.at(slice(20, {{"b", 100}, {"c", 150}, {"d", 90}})), ElementsAre("fire r", "kill r"));
  EXPECT_EQ(p.decision().actions[0].cgroup.path, "/a/c");
  EXPECT_EQ(
      p.decision().actions[0].reason.text,
      "memory_current of /a is 340MiB, above 200MiB for 20s; picked from 3 cgroups: highest memory_current, 150MiB");
  EXPECT_THAT(p.at(slice(30, {{"b", 120}, {"d", 130}})), ElementsAre("clear r")) << "the cgroup was removed";
  EXPECT_THAT(p.at(slice(40, {{"b", 120}, {"d", 130}})), IsEmpty()) << "cooldown";
  EXPECT_THAT(p.at(slice(50, {{"b", 120}, {"d", 130}})), ElementsAre("fire r", "kill r"));
  EXPECT_EQ(p.decision().actions[0].cgroup.path, "/a/d");
  EXPECT_THAT(p.at(slice(60, {{"b", 120}})), ElementsAre("disarm r", "clear r")) << "the usage is below the threshold";
}

TEST(Decide, PicksUpToCountCgroupsWithTheLowestValue) {
  PolicyPlayer p(
      policy_of("- { name: r, match: { path: /a/* }, when: { field: memory_current, above: 200MiB, at: parent }, "
                "pick: { least: memory_current, count: 2 }, do: [ limit: { memory.max: 5M } ], cooldown: 0s }\n"));
  EXPECT_THAT(p.at(slice(0, {{"b", 100}, {"c", 150}, {"d", 90}})),
              ElementsAre("fire r", "fire r", "limit r memory.max=5242880", "limit r memory.max=5242880"));
  std::vector<std::string> paths;
  for (const auto& action : p.decision().actions) paths.push_back(action.cgroup.path);
  EXPECT_THAT(paths, testing::UnorderedElementsAre("/a/b", "/a/d"));
  EXPECT_THAT(p.at(slice(10, {{"b", 100}, {"c", 150}, {"d", 90}})), IsEmpty()) << "two are active";
}

TEST(Decide, DoesNotFireWhenTheCgroupOfTheConditionIsMissing) {
  PolicyPlayer p(
      policy_of("- { name: r, match: { path: /a/* }, when: { field: memory_current, above: 1MiB, at: /x }, "
                "do: [ kill: {} ] }\n"));
  EXPECT_THAT(p.at(slice(0, {{"b", 100}})), IsEmpty());
}

TEST(Decide, PassesThroughAllPhasesOfARule) {
  PolicyPlayer p(
      policy_of(limit_rule("{ field: memory_current, above: 100MiB, for: 20s, clear_below: 50MiB, clear_for: 20s }")));
  EXPECT_THAT(p.at(0, {10 * kMiB}), IsEmpty());
  EXPECT_EQ(p.phase(), Phase::idle);
  EXPECT_THAT(p.at(10, {200 * kMiB}), ElementsAre("arm r"));
  EXPECT_EQ(p.phase(), Phase::arming);
  EXPECT_THAT(p.at(20, {200 * kMiB}), IsEmpty());
  EXPECT_THAT(p.at(30, {200 * kMiB}), ElementsAre("fire r", "limit r memory.max=5242880"));
  EXPECT_EQ(p.phase(), Phase::firing);
  EXPECT_EQ(p.decision().actions[0].reason.text, "memory_current is 200MiB, above 100MiB for 20s");
  EXPECT_THAT(p.decision().actions[0].reason.numbers, Contains(std::pair<std::string, std::string>("for", "20s")));
  EXPECT_EQ(p.decision().actions[0].cgroup.id, 7U);
  EXPECT_THAT(p.at(40, {60 * kMiB}), IsEmpty()) << "between the two levels";
  EXPECT_EQ(p.phase(), Phase::active);
  EXPECT_THAT(p.at(50, {40 * kMiB}), IsEmpty());
  EXPECT_EQ(p.phase(), Phase::clearing);
  EXPECT_THAT(p.at(60, {60 * kMiB}), IsEmpty());
  EXPECT_EQ(p.phase(), Phase::active) << "the clear time was not reached";
  EXPECT_THAT(p.at(70, {40 * kMiB}), IsEmpty());
  EXPECT_THAT(p.at(90, {40 * kMiB}), ElementsAre("clear r", "unlimit r memory.max=5242880"));
  EXPECT_EQ(p.phase(), Phase::cooldown);
  EXPECT_THAT(p.at(100, {200 * kMiB}), IsEmpty());
  EXPECT_EQ(p.phase(), Phase::cooldown);
  EXPECT_THAT(p.at(120, {200 * kMiB}), ElementsAre("fire r", "limit r memory.max=5242880"))
      << "the condition was true during the whole cooldown";
}

TEST(Decide, EvaluatesEachKindOfCondition) {
  struct Case {
    std::string when;
    Use before;
    Use now;
    bool fires;
  };
  const std::vector<Case> cases = {
      {"{ field: memory_current, above: 100MiB }", {}, {101 * kMiB}, true},
      {"{ field: memory_current, above: 100MiB }", {}, {100 * kMiB}, false},
      {"{ field: memory_current, below: 100MiB }", {200 * kMiB}, {99 * kMiB}, true},
      {"{ field: memory_current, above: 90%, of: memory_max }", {}, {901 * kMiB}, true},
      {"{ field: memory_current, above: 90%, of: memory_max }", {}, {899 * kMiB}, false},
      {"{ field: memory_current, above: 1%, of: memory_high }", {}, {899 * kMiB}, false},
      {"{ field: cpu_usage, rate_above: 150% }", {0, 0}, {0, 16'000'000'000}, true},
      {"{ field: cpu_usage, rate_above: 150% }", {0, 0}, {0, 14'000'000'000}, false},
      {"{ field: cpu_usage, rate_below: 1% }", {0, 0}, {0, 0}, true},
      {"{ field: pids_current, below: 10 }", {}, {}, false},
      {"{ all: [ { field: memory_current, above: 1MiB }, { field: cpu_usage, rate_above: 1% } ] }",
       {0, 0},
       {2 * kMiB, 0},
       false},
      {"{ any: [ { field: memory_current, above: 1MiB }, { field: cpu_usage, rate_above: 1% } ] }",
       {0, 0},
       {2 * kMiB, 0},
       true},
      {"{ all: [ { field: memory_current, above: 1MiB }, { days: sun-sat } ] }", {}, {2 * kMiB}, true},
      {"always", {0, 0, 7, false}, {}, true},
  };
  for (const auto& c : cases) {
    PolicyPlayer p(policy_of(limit_rule(c.when)));
    const auto first = p.at(0, c.before);
    EXPECT_THAT(first, Not(Contains("fire r"))) << c.when;
    const auto second = p.at(10, c.now);
    EXPECT_EQ(std::ranges::count(second, "fire r"), c.fires ? 1 : 0) << c.when;
  }
}

TEST(Decide, CountsAScheduleOverMidnightToTheDayOnWhichItStarts) {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  // 1'800'000'000 is Friday, 2027-01-15 08:00 UTC.
  const auto fires = [](const std::string& when, double hours) {
    PolicyPlayer p(policy_of(limit_rule(when)));
    return std::ranges::count(p.at(hours * 3600, {}), "fire r") == 1;
  };
  EXPECT_TRUE(fires("{ time: 08:00-09:00 }", 0));
  EXPECT_FALSE(fires("{ time: 08:00-09:00 }", 1));
  EXPECT_FALSE(fires("{ time: 07:00-08:00 }", 0));
  EXPECT_TRUE(fires("{ time: 20:00-06:00, days: fri }", 13));   // Friday 21:00
  EXPECT_TRUE(fires("{ time: 20:00-06:00, days: fri }", 20));   // Saturday 04:00
  EXPECT_FALSE(fires("{ time: 20:00-06:00, days: fri }", 37));  // Saturday 21:00
  EXPECT_FALSE(fires("{ days: mon-thu }", 0));
  EXPECT_TRUE(fires("{ days: 'sat-mon,fri' }", 0));
}

TEST(Decide, TreatsASlopeAsUnknownUntilHalfOfItsWindow) {
  PolicyPlayer p(policy_of(limit_rule("{ field: memory_current, slope_above: 1MiB/s, window: 100s }")));
  for (int i = 0; i < 5; ++i) EXPECT_THAT(p.at(10 * i, {i * 20 * kMiB}), IsEmpty()) << i;
  EXPECT_THAT(p.at(50, {100 * kMiB}), Contains("fire r"));
}

TEST(Decide, RestartsHoldTimesAfterAGap) {
  PolicyPlayer p(policy_of(limit_rule("{ field: memory_current, above: 1MiB, for: 30s }")));
  p.at(0, {2 * kMiB});
  EXPECT_THAT(p.at(20, {2 * kMiB}), IsEmpty());
  EXPECT_THAT(p.at(60, {2 * kMiB}), ElementsAre("gap "));
  EXPECT_THAT(p.at(80, {2 * kMiB}), IsEmpty());
  EXPECT_THAT(p.at(90, {2 * kMiB}), Contains("fire r"));
}

TEST(Decide, TreatsARecreatedCgroupAsNew) {
  PolicyPlayer p(policy_of(limit_rule("{ field: memory_current, above: 1MiB, for: 20s }")));
  p.at(0, {2 * kMiB, 0, 7});
  p.at(10, {2 * kMiB, 0, 7});
  EXPECT_THAT(p.at(20, {2 * kMiB, 0, 8}), ElementsAre("arm r"));
}

TEST(Decide, DoesNotUndoLimitsOfARemovedCgroup) {
  PolicyPlayer p(policy_of(limit_rule("always")));
  EXPECT_THAT(p.at(0, {}), Contains("limit r memory.max=5242880"));
  EXPECT_THAT(p.at(10, {0, 0, 7, false}), ElementsAre("clear r"));
  EXPECT_THAT(p.state().applied, IsEmpty());
}

TEST(Decide, UndoesLimitsWhenARuleIsChangedOrRemoved) {
  PolicyPlayer p(policy_of(limit_rule("always")));
  p.at(0, {});
  p.change(policy_of(limit_rule("always")));
  EXPECT_THAT(p.at(10, {}), IsEmpty()) << "the same text is the same rule";
  p.change(policy_of(limit_rule("{ field: memory_current, above: 1MiB }")));
  EXPECT_THAT(p.at(20, {}), ElementsAre("unlimit r memory.max=5242880"));
  p.change(policy_of(limit_rule("always")));
  EXPECT_THAT(p.at(30, {}), Contains("limit r memory.max=5242880"));
  p.change(policy_of("[]\n"));
  EXPECT_THAT(p.at(40, {}), ElementsAre("unlimit r memory.max=5242880"));
}

TEST(Decide, AppliesTheLowerOfTwoLimitsAndRestoresTheOtherLater) {
  const std::string two =
      "- { name: r, match: { path: /a/b }, when: { field: memory_current, above: 1MiB }, do: [ limit: { memory.max: 5M "
      "} ] }\n"
      "- { name: s, match: { path: /a/b }, when: always, do: [ limit: { memory.max: 8M, pids.max: 9 } ] }\n";
  PolicyPlayer p(policy_of(two));
  EXPECT_THAT(p.at(0, {0}), ElementsAre("fire s", "limit s memory.max=8388608 pids.max=9"));
  EXPECT_THAT(p.at(10, {2 * kMiB}), ElementsAre("fire r", "unlimit s memory.max=8388608 pids.max=9",
                                                "limit r memory.max=5242880", "limit s pids.max=9"))
      << "limits that were set together are undone together";
  EXPECT_THAT(p.decision().actions[1].reason.text, HasSubstr("lowest value requested by this rule and s"));
  EXPECT_THAT(p.at(20, {0}), ElementsAre("clear r", "unlimit r memory.max=5242880", "unlimit s pids.max=9",
                                         "limit s memory.max=8388608 pids.max=9"));
}

TEST(Decide, DefersTheWeakerStepOfTwoRulesForOneCgroup) {
  const std::string two =
      "- { name: r, match: { path: /a/b }, when: always, do: [ reclaim: 1MiB ] }\n"
      "- { name: s, match: { path: /a/b }, when: always, do: [ notify: x, freeze: 30s ] }\n";
  PolicyPlayer p(policy_of(two));
  EXPECT_THAT(p.at(0, {}), ElementsAre("fire r", "fire s", "superseded r", "notify s", "freeze s"));
  EXPECT_EQ(p.decision().actions[0].lease, 30s);
  EXPECT_THAT(p.at(10, {}), ElementsAre("reclaim r"));
  EXPECT_EQ(p.decision().actions[0].bytes, kMiB);
}

TEST(Decide, TakesDelayedStepsWhileTheRuleIsActive) {
  PolicyPlayer p(policy_of(
      "- { name: r, match: { path: /a/b }, when: { field: memory_current, above: 1MiB }, "
      "do: [ notify: x, { reclaim: 50%, after: 10s }, { kill: { signal: TERM, grace: 3s }, after: 25s } ] }\n"));
  EXPECT_THAT(p.at(0, {20 * kMiB}), ElementsAre("fire r", "notify r"));
  EXPECT_THAT(p.at(10, {20 * kMiB}), ElementsAre("reclaim r"));
  EXPECT_EQ(p.decision().actions[0].bytes, 10 * kMiB);
  EXPECT_THAT(p.at(20, {20 * kMiB}), IsEmpty());
  EXPECT_THAT(p.at(30, {20 * kMiB}), ElementsAre("kill r"));
  EXPECT_EQ(p.decision().actions[0].signal, SIGTERM);
  EXPECT_EQ(p.decision().actions[0].grace, 3s);
  EXPECT_THAT(p.at(40, {20 * kMiB}), IsEmpty());
}

TEST(Decide, DoesNotEvaluateConditionsOfAFrozenCgroup) {
  PolicyPlayer p(
      policy_of("- { name: r, match: { path: /a/b }, when: { field: cpu_usage, rate_above: 50% }, "
                "do: [ freeze: 25s ], cooldown: 1m }\n"));
  p.at(0, {0, 0});
  EXPECT_THAT(p.at(10, {0, 10'000'000'000}), ElementsAre("fire r", "freeze r"));
  EXPECT_THAT(p.at(20, {0, 10'000'000'000}), IsEmpty()) << "it uses no CPU because it is frozen";
  EXPECT_THAT(p.at(30, {0, 10'000'000'000}), IsEmpty());
  EXPECT_THAT(p.at(40, {0, 10'000'000'000}), ElementsAre("clear r"));
}

TEST(Decide, KeepsALimitForTheHoldTime) {
  PolicyPlayer p(policy_of(limit_rule("{ field: memory_current, above: 1MiB }", ", hold: 25s")));
  p.at(0, {2 * kMiB});
  EXPECT_THAT(p.at(10, {0}), IsEmpty());
  EXPECT_THAT(p.at(20, {0}), IsEmpty());
  EXPECT_THAT(p.at(30, {0}), Contains("unlimit r memory.max=5242880"));
}

TEST(Decide, RenewsLeasesWhileTheRuleIsActive) {
  PolicyPlayer p(policy_of(limit_rule("always", ", lease: 40s")));
  EXPECT_THAT(p.at(0, {}), Contains("limit r memory.max=5242880"));
  EXPECT_EQ(p.decision().actions[0].lease, 40s);
  EXPECT_THAT(p.at(10, {}), IsEmpty());
  EXPECT_THAT(p.decision().renewals, IsEmpty());
  EXPECT_THAT(p.at(20, {}), IsEmpty());
  ASSERT_EQ(p.decision().renewals.size(), 1U);
  EXPECT_EQ(p.decision().renewals[0].lease, 40s);
  EXPECT_THAT(p.at(30, {}), IsEmpty());
  EXPECT_THAT(p.decision().renewals, IsEmpty());
}

TEST(Adopt, TakesOverLimitsOfAnEarlierProcess) {
  const auto policy = policy_of(limit_rule("{ field: memory_current, above: 1MiB }"));
  const base::Monotonic now(std::chrono::hours(1));
  PolicyPlayer p(policy);
  ASSERT_TRUE(adopt(p.state(), *policy, "r", {"/a/b", 7}, now));
  EXPECT_FALSE(adopt(p.state(), *policy, "other", {"/a/b", 7}, now));
  EXPECT_THAT(p.at(0, {2 * kMiB}), IsEmpty());
  EXPECT_EQ(p.decision().renewals.size(), 1U) << "the lease may expire soon";
  EXPECT_THAT(p.at(10, {0}), ElementsAre("clear r", "unlimit r memory.max=5242880"));
  PolicyPlayer q(policy);
  ASSERT_TRUE(adopt(q.state(), *policy, "r", {"/a/b", 7}, now));
  lease_lost(q.state(), "r", {"/a/b", 7});
  EXPECT_THAT(q.at(0, {0}), ElementsAre("clear r")) << "another program has changed the limit";
}

TEST(LeaseExpired, SetsTheLimitAgainWhileTheRuleIsActive) {
  PolicyPlayer p(policy_of(limit_rule("always", ", lease: 40s")));
  EXPECT_THAT(p.at(0, {}), Contains("limit r memory.max=5242880"));
  lease_expired(p.state(), "r", p.decision().actions[0].cgroup);
  EXPECT_THAT(p.at(10, {}), Contains("limit r memory.max=5242880"));
  lease_lost(p.state(), "r", p.decision().actions[0].cgroup);
  EXPECT_THAT(p.at(20, {}), IsEmpty()) << "another program has changed the limit";
}

TEST(RecordOutcome, DoesNotRetryARefusedLimit) {
  PolicyPlayer p(policy_of(limit_rule("always", ", lease: 40s")));
  p.at(0, {});
  model::Outcome refused;
  refused.kind = model::Outcome::Kind::refused;
  record_outcome(p.state(), p.decision().actions[0], refused);
  EXPECT_THAT(p.at(20, {}), IsEmpty());
  p.change(policy_of("[]\n"));
  EXPECT_THAT(p.at(30, {}), IsEmpty()) << "nothing to undo";
}

TEST(Decide, ReportsAReachedActionCapOnce) {
  PolicyPlayer p(policy_of(limit_rule("{ field: memory_current, above: 1MiB }", ", max_actions_per_hour: 1")));
  EXPECT_THAT(p.at(0, {2 * kMiB}), Contains("fire r"));
  EXPECT_THAT(p.at(10, {0}), Contains("clear r"));
  EXPECT_THAT(p.at(30, {2 * kMiB}), ElementsAre("capped r"));
  EXPECT_THAT(p.at(40, {2 * kMiB}), IsEmpty());
  for (int i = 5; i < 360; ++i) EXPECT_THAT(p.at(10 * i, {2 * kMiB}), IsEmpty()) << i;
  EXPECT_THAT(p.at(3600, {2 * kMiB}), Contains("fire r"));
}

TEST(Decide, DisablesARuleAfterThreeKillsInTenMinutes) {
  PolicyPlayer p(
      policy_of("- { name: r, match: { path: /a/b }, when: { field: memory_current, above: 1MiB }, "
                "do: [ kill: now ], cooldown: 10s }\n"));
  int kills = 0;
  bool rate_limited = false;
  for (int i = 0; i < 30; ++i) {
    const auto decisions = p.at(10 * i, {i % 3 == 0 ? 2 * kMiB : 0});
    kills += static_cast<int>(std::ranges::count(decisions, "kill r"));
    rate_limited = rate_limited || std::ranges::count(decisions, "rate_limited r") == 1;
  }
  EXPECT_EQ(kills, 3);
  EXPECT_TRUE(rate_limited);
}

TEST(Decide, FallsBackToDryRunWithTooManyTargetsOrAfterBoot) {
  PolicyPlayer p(
      policy_of("- { name: r, match: { path: /** }, when: always, max_targets: 1, do: [ limit: { pids.max: 5 } ] }\n"));
  EXPECT_THAT(p.at(0, {}),
              ElementsAre("too_many r", "fire r", "fire r", "would limit r pids.max=5", "would limit r pids.max=5"));
  const auto loaded =
      load_texts({{"p", "version: 1\nenforcer: { boot_grace: 2h }\ndefaults: { dry_run: false }\nrules:\n" +
                            limit_rule("always")}},
                 test::catalogue());
  PolicyPlayer early(loaded.policy);  // the first snapshot is one hour after boot
  EXPECT_THAT(early.at(0, {}), ElementsAre("fire r", "would limit r memory.max=5242880"));
  EXPECT_THAT(early.at(3600, {}), Contains("limit r memory.max=5242880"));
}

TEST(Decide, DependsOnlyOnItsArguments) {
  const auto policy = policy_of(limit_rule("{ field: memory_current, above: 1MiB, for: 10s }"));
  const auto a = host(0, {2 * kMiB});
  const auto b = host(10, {2 * kMiB});
  const auto first = decide(*policy, nullptr, a, {}, 10s);
  for (int i = 0; i < 2; ++i) {
    const auto again = decide(*policy, a, b, first.state, 10s);
    EXPECT_EQ(again.actions.size(), 1U);
  }
}

TEST(Explain, ReportsMatchConditionsAndPhase) {
  const auto policy = policy_of(limit_rule("{ field: memory_current, above: 100MiB, for: 1m }"));
  const auto a = host(0, {200 * kMiB});
  const auto b = host(30, {200 * kMiB});
  auto first = decide(*policy, nullptr, a, {}, 30s);
  const auto second = decide(*policy, a, b, std::move(first.state), 30s);
  EXPECT_THAT(explain(*policy, policy->rules[0], a, b, second.state, 2),
              ElementsAre("matches", "memory_current above 100MiB for 1m: current value 200MiB, pending for 30s",
                          "state arming"));
  EXPECT_THAT(explain(*policy, policy->rules[0], a, b, second.state, 1),
              ElementsAre("does not match: path is /a, not /a/b"));
  EXPECT_THAT(explain(*policy, policy->rules[0], a, b, second.state, 0),
              ElementsAre("does not match: the root cgroup is always protected"));
}

// Random policies over random trees: no action may hit a protected cgroup, its ancestors or its descendants.
TEST(DecideProperty, NeverActsOnProtectedCgroupsTheirAncestorsOrDescendants) {
  std::mt19937 random(1);
  const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  const std::vector<std::string> patterns = {"/**", "/*", "/a/**", "/*/*",    "**/x",
                                             "/b*", "/a", "/a/x",  "**/y/**", "/c/?"};
  const std::vector<std::string> whens = {"always", "{ field: memory_current, above: 1 }",
                                          "{ any: [ { field: pids_current, below: 50 }, { days: sun-sat } ] }",
                                          "{ field: cpu_usage, rate_above: 1% }"};
  const std::vector<std::string> steps = {"kill: now",
                                          "freeze: 10s",
                                          "limit: { memory.max: 1M }",
                                          "reclaim: 1%",
                                          "limit: { pids.max: -5 }",
                                          "{ kill: { signal: TERM }, after: 5s }"};
  std::size_t actions = 0;
  for (int trial = 0; trial < 150; ++trial) {
    std::string rules;
    for (int r = 0; r <= pick(5); ++r) {
      rules += "- { name: r" + std::to_string(r) + ", match: { path: '" + patterns[pick(10)] +
               "' }, cooldown: 0s, max_targets: 1000, when: " + whens[pick(4)] + ", do: [ " + steps[pick(6)] + ", " +
               steps[pick(6)] + " ] }\n";
    }
    const auto protect = patterns[pick(10)];
    const auto policy = policy_of(rules, "protect: [ { path: '" + protect + "' } ]\n");
    ASSERT_TRUE(policy);
    std::vector<std::string> paths = {"/"};
    for (const auto* const top : {"/a", "/b", "/c"}) {
      if (pick(4) == 0) continue;
      paths.emplace_back(top);
      for (const auto* const middle : {"/x", "/y"}) {
        if (pick(2) == 0) continue;
        paths.push_back(std::string(top) + middle);
        if (pick(2) == 0) paths.push_back(std::string(top) + middle + "/x");
      }
    }
    State state;
    model::SnapshotPtr before;
    for (int round = 0; round < 4; ++round) {
      test::SnapshotMaker maker(10 * round);
      std::uint64_t id = 1;
      for (const auto& path : paths) {
        maker.cgroup(id++, path).set("memory_current", pick(5)).set("pids_current", pick(100));
        maker.set("cpu_usage", round * static_cast<std::int64_t>(pick(10)) * 1'000'000'000);
      }
      const auto now = maker.make();
      auto decision = decide(*policy, before, now, std::move(state), 10s);
      actions += decision.actions.size();
      for (const auto& action : decision.actions) {
        const auto& path = action.cgroup.path;
        ASSERT_NE(path, "/") << rules;
        for (const auto& other : paths) {
          if (!glob_matches(protect, other, true)) continue;
          const bool related =
              path == other || path.starts_with(other == "/" ? "/" : other + "/") || other.starts_with(path + "/");
          ASSERT_FALSE(related) << path << " is related to " << other << ", which '" << protect << "' protects\n"
                                << rules;
        }
      }
      state = std::move(decision.state);
      before = now;
    }
  }
  EXPECT_GT(actions, 250U) << "too few actions for a meaningful test";
}

}  // namespace
}  // namespace cgwarden::policy
