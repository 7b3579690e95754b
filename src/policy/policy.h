// SPDX-License-Identifier: Apache-2.0
// A loaded policy: immutable, shared between threads. docs/policy.md documents the keys.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/model/action.h"
#include "src/model/catalogue.h"
#include "src/policy/document.h"
#include "src/policy/quantity.h"
#include "src/policy/selector.h"

namespace cgwarden::policy {

// A comparison of a field with a threshold. It becomes true after the threshold was exceeded for `hold`, and false
// after the clear level was reached for `clear_for`.
struct Condition {
  enum class Op : std::uint8_t { above, below, rate_above, rate_below, slope_above, slope_below };
  model::FieldId field = 0;
  Op op = Op::above;
  double threshold = 0;  // base units; rates and slopes: per second; with `of`: ratio to that field
  double clear = 0;      // same unit
  std::optional<model::FieldId> of;
  std::string at;  // cgroup to read the field of: empty: the matched one; "parent"; or a path
  Duration hold{};
  Duration clear_for{};
  Duration window{};  // slopes only
};
constexpr bool is_upward(Condition::Op op) { return static_cast<int>(op) % 2 == 0; }
constexpr bool is_rate(Condition::Op op) { return op == Condition::Op::rate_above || op == Condition::Op::rate_below; }
constexpr bool is_slope(Condition::Op op) { return op >= Condition::Op::slope_above; }

// Time window in the local time of the host. A window that ends before it starts spans midnight and belongs to the day
// on which it starts.
struct Schedule {
  int from = 0;  // minutes since midnight
  int to = 24 * 60;
  std::uint8_t days = 0x7f;  // bit 0 is Sunday
};

struct Trigger {
  enum class Op : std::uint8_t { always, all, any, condition, schedule };
  Op op = Op::always;
  std::vector<Trigger> parts;  // all, any
  std::size_t condition = 0;   // index into Rule::conditions
  Schedule schedule;
};

struct Step {
  enum class Kind : std::uint8_t { notify, reclaim, limit, freeze, kill };  // from weakest to strongest
  Kind kind = Kind::notify;
  Duration after{};  // delay after the rule fired; skipped if the rule has cleared by then
  std::string message;
  std::vector<model::Setting> settings;
  bool force = false;
  Duration freeze_for{};
  int signal = 0;
  Duration grace{};
  double bytes = 0;
  std::optional<double> ratio;  // to memory_current, instead of bytes
};

constexpr std::string_view name(Step::Kind kind) {
  constexpr std::string_view names[] = {"notify", "reclaim", "limit", "freeze", "kill"};
  return names[static_cast<std::size_t>(kind)];
}

// Limits the number of cgroups for which a rule is active: of the cgroups that meet the condition, those with the
// highest or lowest value of a field are picked.
struct Pick {
  model::FieldId field = 0;
  bool most = true;
  std::size_t count = 1;
};

struct Rule {
  std::string name;
  std::string file;
  Mark mark;
  Selector match;
  Trigger when;
  std::vector<Condition> conditions;
  std::optional<Pick> pick;
  std::vector<Step> steps;
  bool dry_run = true;
  Duration cooldown{};
  Duration lease{};
  Duration hold{};
  std::size_t max_actions_per_hour = 0;
  std::size_t max_targets = 0;
  std::uint64_t fingerprint = 0;  // hash of the rule text and the defaults it uses
};

struct Policy {
  std::shared_ptr<const model::Catalogue> catalogue;
  std::vector<Selector> protect;
  std::vector<Rule> rules;  // in the order of files, then of lines
  std::vector<std::string> files;
  Duration boot_grace{};
  std::size_t max_actions_per_hour = 0;  // sum over all rules
  std::uint64_t fingerprint = 0;

  // Fields that the policy needs; collectors without any of them can be disabled.
  [[nodiscard]] std::vector<model::FieldId> fields() const;
};
using PolicyPtr = std::shared_ptr<const Policy>;

}  // namespace cgwarden::policy
