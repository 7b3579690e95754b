// SPDX-License-Identifier: Apache-2.0
// What a policy wants done now. A pure function of two snapshots and of what it remembered, so a dry run, a test and a
// replay of a recording are the same code; time is the snapshots', never a clock's.
//
//   decide(policy, previous, current, state)  ->  actions, notices, state
//
// Each rule has a small machine for each cgroup it matches:
//
//   idle -> arming (some of `when` holds) -> firing (all of it does: steps are taken) -> active -> clearing -> cooldown
//
// A rule that picks fires for the best of those that are ready only, and for the next after its cooldown.
//
// Order: protected cgroups are left out; what ends, ends (limits come back); then rules fire in the order of the file.
// Of rules that fire for one cgroup at one time the one with the strongest step goes first, the others wait for the
// next time. Of two rules that want one limit the lower is set, as long as both are active.
//
// Any thread; the state is of one.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/model/action.h"
#include "src/model/delta.h"
#include "src/model/snapshot.h"
#include "src/policy/policy.h"

namespace cgwarden::policy {

enum class Phase : std::uint8_t { idle, arming, firing, active, clearing, cooldown };
constexpr std::string_view name(Phase phase) {
  constexpr std::string_view names[] = {"idle", "arming", "firing", "active", "clearing", "cooldown"};
  return names[static_cast<std::size_t>(phase)];
}
inline constexpr std::size_t kPhases = 6;

using Since = std::optional<base::Monotonic>;

// What a condition remembers of one cgroup.
struct ConditionState {
  bool met = false;
  Since raw_since;                                 // the threshold holds, `hold` is not over
  Since clear_since;                               // the clear level holds, `clear_for` is not over
  std::optional<double> value;                     // the last one
  std::vector<std::pair<double, double>> history;  // of a slope: seconds, value
};

struct Instance {
  Phase phase = Phase::idle;
  base::Monotonic since{};  // in this phase
  base::Monotonic fired{};
  base::Monotonic frozen_until{};
  std::size_t steps_taken = 0;
  bool dry_run = false;
  std::vector<ConditionState> conditions;
  model::CgroupRef cgroup;
  std::uint64_t seen = 0;                       // number of the last round that saw the cgroup
  model::CgroupIndex index = model::kNoCgroup;  // in that round's snapshot
  bool waiting = false;                         // it would fire, if it is picked
  std::string picked;                           // why it was
};

// Cgroups that a selector matches as far as that lasts: looked up once for each roster and table of containers.
struct Matched {
  std::shared_ptr<const model::CgroupList> cgroup_list;
  std::shared_ptr<const model::Containers> containers;
  std::vector<model::CgroupIndex> cgroups;

  [[nodiscard]] bool is_of(const model::Snapshot& now) const {
    return cgroup_list && cgroup_list == now.cgroup_list && containers == now.containers;
  }
};

struct RuleState {
  Matched matched;
  std::uint64_t fingerprint = 0;
  std::unordered_map<std::uint64_t, Instance> instances;  // by model::group_key(); idle ones are not here
  std::deque<base::Monotonic> actions;                    // of the last hour
  std::deque<base::Monotonic> kills;                      // of the last ten minutes
  Since picked;                                           // when one was, last
  bool braked = false;                                    // kills did not help: off until the rule is changed
  bool told_of_cap = false;
  bool told_of_targets = false;
};

// Limits of one cgroup that stand because of one rule. They are set together and taken back together, as the writer
// remembers them.
struct Applied {
  std::vector<model::Setting> settings;
  model::CgroupRef cgroup;
  base::Monotonic at{};
  Duration lease{};
  bool failed = false;  // the writer refused them, or somebody else changed them: they are not tried again
};
// Cgroup, rule, dry run.
using AppliedKey = std::tuple<std::uint64_t, std::string, bool>;

struct State {
  std::map<std::string, RuleState> rules;
  std::map<AppliedKey, Applied> applied;
  std::deque<base::Monotonic> actions;  // of the last hour, of all rules
  bool told_of_cap = false;
  std::uint64_t round = 0;
  Matched protects;               // protected cgroups, those above and those in them
  std::uint64_t protects_of = 0;  // fingerprint of the policy
};

// Something to tell that is no action.
struct Notice {
  enum class Kind : std::uint8_t { arm, disarm, fire, clear, notify, superseded, capped, too_many, brake, gap };
  Kind kind = Kind::fire;
  std::string rule;
  model::CgroupRef cgroup;
  bool dry_run = false;
  model::Reason reason;
};
constexpr std::string_view name(Notice::Kind kind) {
  constexpr std::string_view names[] = {"arm",        "disarm", "fire",     "clear", "notify",
                                        "superseded", "capped", "too_many", "brake", "gap"};
  return names[static_cast<std::size_t>(kind)];
}

struct Decision {
  std::vector<model::Action> actions;   // in the order they are to be done
  std::vector<model::Action> renewals;  // limits that stand: their leases go on
  std::vector<Notice> notices;
  State state;
};

// `previous` may be null: rates are unknown then. `interval` is how often this is called when all goes well.
Decision decide(const Policy& policy, const model::SnapshotPtr& previous, const model::SnapshotPtr& current,
                State state, Duration interval);

// How an action of decide() ended, so that what was refused is not tried at every round.
void note(State& state, const model::Action& action, const model::Outcome& outcome);
// The rule's limits of this cgroup stand no more, and not because of decide(). The lease was over: they are set again
// if the rule is active still.
void ended(State& state, const std::string& rule, const model::CgroupRef& cgroup);
// Somebody else changed them: they are his from then on.
void lost(State& state, const std::string& rule, const model::CgroupRef& cgroup);
// The rule's limits of this cgroup stand, from before this program began: the rule is taken to be active. False: the
// policy has no such rule, or it is a dry run now.
bool adopt(State& state, const Policy& policy, const std::string& rule, const model::CgroupRef& cgroup,
           base::Monotonic now);

// Why a rule does or does not match a cgroup, and what each of its conditions says now; lines for people. The last
// tells the machine's phase.
std::vector<std::string> explain(const Policy& policy, const Rule& rule, const model::SnapshotPtr& previous,
                                 const model::SnapshotPtr& current, const State& state, model::CgroupIndex cgroup);

// "memory_current above 512MiB for 30s", as in the file.
std::string describe(const model::Catalogue& catalogue, const Condition& condition);

}  // namespace cgwarden::policy
