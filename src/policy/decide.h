// SPDX-License-Identifier: Apache-2.0
// Decides which actions a policy requires now. decide() is a pure function of two snapshots and the previous state, so
// dry runs, tests and replays of recordings run the same code. Time is that of the snapshots; no clock is read.
//
//   decide(policy, previous, current, state)  ->  actions, notices, state
//
// Each rule has a state machine for each cgroup that it matches:
//
//   idle -> arming (part of `when` is met) -> firing (all of it is met: steps are taken) -> active -> clearing ->
//   cooldown
//
// A rule with `pick` fires only for the best cgroups that meet `when`, and for the next ones after its cooldown.
//
// Order: protected cgroups are excluded; rules that end are handled first (their limits are undone); then rules fire in
// the order of the file. If several rules fire for one cgroup at the same time, the one with the strongest step acts
// and the others are deferred to the next sample. If two active rules set the same limit, the lower value applies.
//
// Any thread; a State belongs to one thread at a time.
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

// State of a condition for one cgroup.
struct ConditionState {
  bool met = false;
  Since raw_since;                                 // start of the time above (below) the threshold, met or not
  Since clear_since;                               // start of the time at the clear level
  std::optional<double> value;                     // latest; nullopt: unknown
  std::vector<std::pair<double, double>> history;  // slopes only: seconds, value
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
  std::uint64_t last_round = 0;                 // latest evaluation in which the rule matched the cgroup
  model::CgroupIndex index = model::kNoCgroup;  // in the snapshot of that evaluation
  bool waiting = false;                         // `when` is met, and the rule has to pick this cgroup
  std::string picked;                           // reason of the pick
};

// Cgroups that match the stable criteria of a selector, cached per list of cgroups and table of containers.
struct Matched {
  std::shared_ptr<const model::CgroupList> cgroup_list;
  std::shared_ptr<const model::Containers> containers;
  std::vector<model::CgroupIndex> cgroups;

  [[nodiscard]] bool is_current_for(const model::Snapshot& now) const {
    return cgroup_list && cgroup_list == now.cgroup_list && containers == now.containers;
  }
};

struct RuleState {
  Matched matched;
  std::uint64_t fingerprint = 0;
  std::unordered_map<std::uint64_t, Instance> instances;  // by model::cgroup_key(); no idle instances
  std::deque<base::Monotonic> actions;                    // of the last hour
  std::deque<base::Monotonic> kills;                      // in the last ten minutes
  Since last_pick;                                        // time of the latest pick
  bool rate_limited = false;                              // too many kills: disabled until the rule changes
  bool cap_reported = false;
  bool targets_reported = false;
};

// Limits of one cgroup that one rule has set. They are set and undone together, because the writer records them as one
// action.
struct Applied {
  std::vector<model::Setting> settings;
  model::CgroupRef cgroup;
  base::Monotonic at{};
  Duration lease{};
  bool failed = false;  // the writer refused them, or another program changed them: not retried
};
// Cgroup, rule, dry run.
using AppliedKey = std::tuple<std::uint64_t, std::string, bool>;

struct State {
  std::map<std::string, RuleState> rules;
  std::map<AppliedKey, Applied> applied;
  std::deque<base::Monotonic> actions;  // in the last hour, all rules
  bool cap_reported = false;
  std::uint64_t round = 0;
  Matched protected_cgroups;           // protected cgroups with their ancestors and descendants
  std::uint64_t protected_policy = 0;  // fingerprint of the policy for which they were computed
};

// An event for the log and the audit file that is not an action.
struct Notice {
  enum class Kind : std::uint8_t { arm, disarm, fire, clear, notify, superseded, capped, too_many, rate_limited, gap };
  Kind kind = Kind::fire;
  std::string rule;
  model::CgroupRef cgroup;
  bool dry_run = false;
  model::Reason reason;
};
constexpr std::string_view name(Notice::Kind kind) {
  constexpr std::string_view names[] = {"arm",        "disarm", "fire",     "clear",        "notify",
                                        "superseded", "capped", "too_many", "rate_limited", "gap"};
  return names[static_cast<std::size_t>(kind)];
}

struct Decision {
  std::vector<model::Action> actions;   // in order of execution
  std::vector<model::Action> renewals;  // applied limits whose leases must be renewed
  std::vector<Notice> notices;
  State state;
};

// `previous` may be null; rates are unknown then. `interval` is the nominal time between calls: a longer gap (three
// intervals) restarts hold times.
Decision decide(const Policy& policy, const model::SnapshotPtr& previous, const model::SnapshotPtr& current,
                State state, Duration interval);

// Records the outcome of an action of decide(): a refused limit is not retried at each evaluation.
void record_outcome(State& state, const model::Action& action, const model::Outcome& outcome);
// The lease of the rule's limits of this cgroup has expired and they were undone. They are set again if the rule is
// still active.
void lease_expired(State& state, const std::string& rule, const model::CgroupRef& cgroup);
// Another program changed the limits: the rule neither sets nor undoes them any more.
void lease_lost(State& state, const std::string& rule, const model::CgroupRef& cgroup);
// Takes over limits that an earlier process set for the rule: the rule counts as active. False if the policy has no
// such rule or it is a dry run.
bool adopt(State& state, const Policy& policy, const std::string& rule, const model::CgroupRef& cgroup,
           base::Monotonic now);

// Why a rule does or does not match a cgroup, one line for each condition with its current value, and the phase of the
// rule as the last line. The first line is "matches" or "does not match: REASON".
std::vector<std::string> explain(const Policy& policy, const Rule& rule, const model::SnapshotPtr& previous,
                                 const model::SnapshotPtr& current, const State& state, model::CgroupIndex cgroup);

// "memory_current above 512MiB for 30s", as in the policy file.
std::string describe(const model::Catalogue& catalogue, const Condition& condition);

}  // namespace cgwarden::policy
