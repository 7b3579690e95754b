// SPDX-License-Identifier: Apache-2.0
#include "src/policy/decide.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "src/base/text.h"

namespace cgwarden::policy {
namespace {

using namespace std::chrono_literals;
using base::Monotonic;
using model::CgroupIndex;
using model::SnapshotPtr;

constexpr int kGapIntervals = 3;
constexpr std::size_t kHistory = 64;
constexpr std::size_t kMaxKills = 3;
constexpr auto kKillWindow = 10min;

double scale_of(model::Unit unit) { return std::pow(10.0, -model::decimals(unit)); }

// The value in base units; for a labeled field the sum of its series. Unlimited is infinity; unknown is nullopt.
std::optional<double> read(const model::Snapshot& now, model::FieldId field, CgroupIndex cgroup) {
  const auto& info = now.catalogue->field(field);
  const auto number = [&](model::Value value) -> std::optional<double> {
    if (value.is_unlimited()) return std::numeric_limits<double>::infinity();
    if (!value.is_number()) return std::nullopt;
    return static_cast<double>(value.fixed()) * scale_of(info.unit);
  };
  if (!info.labelled()) return number(now.value(field, cgroup));
  std::optional<double> sum;
  for (const auto& series : model::series_of(now.columns[field], cgroup)) {
    const auto value = number(series.value);
    if (!value) return std::nullopt;
    sum = sum.value_or(0) + *value;
  }
  return sum;
}

// Slope of the least-squares line through (seconds, value). Nullopt with fewer than three points or less than half of
// the window.
std::optional<double> slope_of(const std::vector<std::pair<double, double>>& points, double window) {
  if (points.size() < 3 || points.back().first - points.front().first < window / 2) return std::nullopt;
  double mean_t = 0;
  double mean_v = 0;
  for (const auto& [t, v] : points) {
    mean_t += t;
    mean_v += v;
  }
  const auto n = static_cast<double>(points.size());
  mean_t /= n;
  mean_v /= n;
  double numerator = 0;
  double denominator = 0;
  for (const auto& [t, v] : points) {
    numerator += (t - mean_t) * (v - mean_v);
    denominator += (t - mean_t) * (t - mean_t);
  }
  if (denominator <= 0) return std::nullopt;
  return numerator / denominator;
}

// The cgroup whose field the condition reads; kNoCgroup if it does not exist.
CgroupIndex condition_cgroup(const Condition& c, const model::Snapshot& now, CgroupIndex cgroup) {
  if (c.at.empty()) return cgroup;
  if (c.at == "parent") return now.cgroup_list->parents[cgroup];
  const auto& cgroups = now.cgroup_list->cgroups;
  const auto found = std::ranges::find(cgroups, c.at, [](const auto& g) -> const std::string& { return g->path; });
  return found == cgroups.end() ? model::kNoCgroup : static_cast<CgroupIndex>(found - cgroups.begin());
}

double seconds_of(Monotonic time) { return std::chrono::duration<double>(time.time_since_epoch()).count(); }

std::optional<double> measure(const Condition& c, const model::Snapshot& now, const model::Delta& delta,
                              CgroupIndex cgroup, ConditionState& state) {
  if (cgroup == model::kNoCgroup) return std::nullopt;
  if (is_rate(c.op)) return delta.rate(c.field, cgroup);
  const auto value = read(now, c.field, cgroup);
  if (is_slope(c.op)) {
    const double window = std::chrono::duration<double>(c.window).count();
    const double at = seconds_of(now.taken);
    auto& points = state.history;
    if (value && std::isfinite(*value) &&
        (points.empty() || at - points.back().first >= window / static_cast<double>(kHistory))) {
      points.emplace_back(at, *value);
    }
    std::erase_if(points, [&](const auto& point) { return point.first < at - window; });
    if (points.size() > 2 * kHistory) points.erase(points.begin());
    return slope_of(points, window);
  }
  if (!value || !c.of) return value;
  const auto whole = read(now, *c.of, cgroup);
  if (!whole || !(*whole > 0)) return std::nullopt;
  if (std::isinf(*whole)) return std::isinf(*value) ? std::nullopt : std::optional(0.0);
  return *value / *whole;
}

bool holds(const Condition& c, double value) { return is_upward(c.op) ? value > c.threshold : value < c.threshold; }
bool is_clear(const Condition& c, double value) { return is_upward(c.op) ? value <= c.clear : value >= c.clear; }

void step(const Condition& c, ConditionState& state, Monotonic now) {
  const bool raw = state.value && holds(c, *state.value);
  if (!state.met) {
    if (!raw) {
      state.raw_since.reset();
      return;
    }
    if (!state.raw_since) state.raw_since = now;
    if (now - *state.raw_since < c.hold) return;
    state.met = true;
    state.clear_since.reset();
    return;
  }
  // An unknown value counts as clear.
  if (state.value && !is_clear(c, *state.value)) {
    state.clear_since.reset();
    return;
  }
  if (!state.clear_since) state.clear_since = now;
  if (now - *state.clear_since < c.clear_for) return;
  state.met = false;
  state.raw_since.reset();
  state.clear_since.reset();
}

bool is_open(const Schedule& schedule, base::Wall now) {
  const auto seconds = std::chrono::system_clock::to_time_t(now);
  tm local{};
  ::localtime_r(&seconds, &local);
  const int minute = local.tm_hour * 60 + local.tm_min;
  const auto on = [&](int day) { return (schedule.days >> ((day + 7) % 7) & 1) != 0; };
  if (schedule.from < schedule.to) return on(local.tm_wday) && minute >= schedule.from && minute < schedule.to;
  return (on(local.tm_wday) && minute >= schedule.from) || (on(local.tm_wday - 1) && minute < schedule.to);
}

// State of a whole `when`.
struct TriggerState {
  bool met = true;        // true as a whole
  bool some = false;      // at least one condition is true or its hold time is running
  bool clearing = false;  // true as a whole, and at least one condition has reached its clear level
};

TriggerState evaluate(const Trigger& trigger, const std::vector<ConditionState>& conditions, base::Wall now) {
  switch (trigger.op) {
    case Trigger::Op::always:
      return {true, true, false};
    case Trigger::Op::schedule: {
      const bool open = is_open(trigger.schedule, now);
      return {open, false, false};  // a schedule alone never arms a rule
    }
    case Trigger::Op::condition: {
      const auto& state = conditions[trigger.condition];
      return {state.met, state.met || state.raw_since.has_value(), state.met && state.clear_since.has_value()};
    }
    case Trigger::Op::all:
    case Trigger::Op::any:
      break;
  }
  const bool all = trigger.op == Trigger::Op::all;
  TriggerState out{all, false, false};
  for (const auto& part : trigger.parts) {
    const auto one = evaluate(part, conditions, now);
    out.met = all ? out.met && one.met : out.met || one.met;
    out.some = out.some || one.some;
    out.clearing = out.clearing || one.clearing;
  }
  out.clearing = out.clearing && out.met;
  return out;
}

std::string format_value(const model::Catalogue& catalogue, const Condition& c, double value) {
  const auto unit = catalogue.field(c.field).unit;
  if (std::isinf(value)) return "max";
  if (c.of) return format_quantity(model::Unit::ratio, value);
  if (is_slope(c.op)) return format_quantity(unit, value) + "/s";
  return is_rate(c.op) ? format_rate(unit, value) : format_quantity(unit, value);
}

constexpr std::string_view op_text(Condition::Op op) {
  constexpr std::string_view words[] = {"above", "below", "rate above", "rate below", "slope above", "slope below"};
  return words[static_cast<std::size_t>(op)];
}

std::string comparison(const model::Catalogue& catalogue, const Condition& c) {
  return std::string(op_text(c.op)) + ' ' + format_value(catalogue, c, c.threshold) +
         (c.of ? " of " + std::string(catalogue.field(*c.of).name) : "");
}

std::string subject(const model::Catalogue& catalogue, const Condition& c) {
  const auto field = std::string(catalogue.field(c.field).name) + (c.at.empty() ? "" : " of " + base::printable(c.at));
  return (is_rate(c.op) ? "rate of " : is_slope(c.op) ? "slope of " : "") + field;
}

// The conditions that are met, with their values: "pressure_memory_some_avg10 is 14.2%, above 10% for 32s".
model::Reason reason_of(const Policy& policy, const Rule& rule, const Instance& instance, Monotonic now) {
  model::Reason out;
  for (std::size_t i = 0; i < rule.conditions.size() && i < instance.conditions.size(); ++i) {
    const auto& c = rule.conditions[i];
    const auto& state = instance.conditions[i];
    if (!state.value) continue;
    const std::string field(policy.catalogue->field(c.field).name);
    const auto value = format_value(*policy.catalogue, c, *state.value);
    out.numbers.emplace_back(field, value);
    out.numbers.emplace_back(std::string(op_text(c.op)), format_value(*policy.catalogue, c, c.threshold));
    if (c.of) out.numbers.emplace_back("of", std::string(policy.catalogue->field(*c.of).name));
    if (state.raw_since) {
      out.numbers.emplace_back("for",
                               format_duration(std::chrono::round<std::chrono::milliseconds>(now - *state.raw_since)));
    }
    if (!state.met) continue;
    out.text += (out.text.empty() ? "" : "; ") + subject(*policy.catalogue, c) + " is " + value + ", " +
                (is_upward(c.op) ? "above " : "below ") + format_value(*policy.catalogue, c, c.threshold);
    if (c.of) out.text += " of " + std::string(policy.catalogue->field(*c.of).name);
    if (c.hold > Duration{} && state.raw_since) {
      out.text += " for " + format_duration(std::chrono::round<std::chrono::milliseconds>(now - *state.raw_since));
    }
  }
  if (out.text.empty())
    out.text = rule.conditions.empty() ? "trigger without conditions is active" : "condition is met";
  if (!instance.picked.empty()) out.text += "; " + instance.picked;
  return out;
}

void drop_until(std::deque<Monotonic>& times, Monotonic then) {
  while (!times.empty() && times.front() <= then) times.pop_front();
}

// True if both settings can be compared and `a` is lower.
bool is_lower(const model::Setting& a, const model::Setting& b) {
  if (a.basis != b.basis || (a.basis != model::Basis::absolute && a.basis != model::Basis::percent_of_machine)) {
    return false;
  }
  if (!a.value.has_value() || !b.value.has_value()) return false;
  return a.value.fixed() < b.value.fixed();  // unlimited is the largest
}

std::chrono::milliseconds milliseconds_of(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration);
}

// One evaluation of the policy.
class Evaluation {
 public:
  Evaluation(const Policy& policy, const SnapshotPtr& previous, const SnapshotPtr& current, State state,
             Duration interval)
      : policy_(policy), now_(*current), delta_(previous, current), fields_(*policy.catalogue) {
    out_.state = std::move(state);
    gap_ = previous && current->taken - previous->taken > kGapIntervals * interval;
    booting_ = current->taken.time_since_epoch() < policy.boot_grace;
  }

  Decision run() {
    ++state().round;
    drop_until(state().actions, now_.taken - 1h);
    if (state().actions.size() < policy_.max_actions_per_hour) state().cap_reported = false;
    if (gap_)
      add_notice(Notice::Kind::gap, "", {}, false, {"samples are missing; hold and clear times start again", {}});
    drop_changed_rules();
    find_protected();
    for (const auto& rule : policy_.rules) advance(rule);
    take_steps();
    reconcile_limits();
    return std::move(out_);
  }

 private:
  struct Ready {  // a rule with steps that are due for a cgroup
    const Rule* rule;
    Instance* instance;
    std::size_t end;  // index after the last step that is due
    Step::Kind strongest;
  };

  State& state() { return out_.state; }

  void add_notice(Notice::Kind kind, const std::string& rule, const model::CgroupRef& cgroup, bool dry,
                  model::Reason reason) {
    out_.notices.push_back({kind, rule, cgroup, dry, std::move(reason)});
  }

  // Drops the state of rules that were removed or changed; their limits are undone as if they had cleared.
  void drop_changed_rules() {
    std::map<std::string_view, std::uint64_t> known;
    for (const auto& rule : policy_.rules) known.emplace(rule.name, rule.fingerprint);
    std::erase_if(state().rules, [&](const auto& one) {
      const auto at = known.find(one.first);
      return at == known.end() || at->second != one.second.fingerprint;
    });
  }

  // Protected are the selected cgroups, their descendants, and their ancestors: an action on an ancestor affects them
  // too.
  void find_protected() {
    const auto count = now_.cgroup_count();
    protected_.assign(count, false);
    auto& known = state().protected_cgroups;
    if (known.is_current_for(now_) && state().protected_policy == policy_.fingerprint) {
      for (const auto cgroup : known.cgroups) protected_[cgroup] = true;
      return;
    }
    std::vector<bool> within(count, false);
    for (CgroupIndex cgroup = 0; cgroup < count; ++cgroup) {
      const auto parent = now_.cgroup_list->parents[cgroup];
      if (now_.cgroup_list->cgroups[cgroup]->path == "/") protected_[cgroup] = true;
      within[cgroup] =
          (parent != model::kNoCgroup && within[parent]) ||
          std::ranges::any_of(policy_.protect, [&](const Selector& s) { return matches(s, fields_, now_, cgroup); });
      if (!within[cgroup]) continue;
      for (auto g = cgroup; g != model::kNoCgroup && !protected_[g]; g = now_.cgroup_list->parents[g])
        protected_[g] = true;
    }
    known = {};
    if (!std::ranges::all_of(policy_.protect, &Selector::is_stable)) return;
    known = {now_.cgroup_list, now_.containers, {}};
    state().protected_policy = policy_.fingerprint;
    for (CgroupIndex cgroup = 0; cgroup < count; ++cgroup) {
      if (protected_[cgroup]) known.cgroups.push_back(cgroup);
    }
  }

  void advance(const Rule& rule) {
    auto& rules = state().rules[rule.name];
    rules.fingerprint = rule.fingerprint;
    drop_until(rules.actions, now_.taken - 1h);
    drop_until(rules.kills, now_.taken - kKillWindow);
    if (rules.actions.size() < rule.max_actions_per_hour) rules.cap_reported = false;

    if (!rules.matched.is_current_for(now_)) {
      rules.matched = {now_.cgroup_list, now_.containers, {}};
      for (CgroupIndex cgroup = 0; cgroup < now_.cgroup_count(); ++cgroup) {
        if (matches(rule.match, fields_, now_, cgroup, Criteria::stable)) rules.matched.cgroups.push_back(cgroup);
      }
    }
    std::vector<CgroupIndex> targets;
    for (const auto cgroup : rules.matched.cgroups) {
      if (!protected_[cgroup] && matches(rule.match, fields_, now_, cgroup, Criteria::variable))
        targets.push_back(cgroup);
    }
    const bool too_many = targets.size() > rule.max_targets;
    if (too_many && !rules.targets_reported) {
      add_notice(Notice::Kind::too_many, rule.name, {}, rule.dry_run,
                 {"matches " + std::to_string(targets.size()) + " cgroups, more than max_targets " +
                      std::to_string(rule.max_targets) + "; the rule is in dry-run mode",
                  {{"cgroups", std::to_string(targets.size())}, {"max_targets", std::to_string(rule.max_targets)}}});
    }
    rules.targets_reported = too_many;
    const bool dry = rule.dry_run || too_many || booting_;
    condition_cgroups_.clear();
    for (const auto& condition : rule.conditions) {  // resolve a path once, not for each cgroup
      const bool of_one = condition.at.starts_with('/');
      condition_cgroups_.push_back(of_one ? condition_cgroup(condition, now_, model::kNoCgroup) : model::kNoCgroup);
    }
    for (const auto cgroup : targets) advance(rule, rules, cgroup, dry);
    if (rule.pick) pick(rule, rules, dry);

    // Instances of cgroups that no longer match or no longer exist.
    for (auto& [key, instance] : rules.instances) {
      if (instance.last_round == state().round) continue;
      if (instance.phase >= Phase::firing && instance.phase <= Phase::clearing) {
        add_notice(Notice::Kind::clear, rule.name, instance.cgroup, instance.dry_run,
                   {"the rule no longer matches the cgroup", {}});
      }
    }
    std::erase_if(rules.instances, [&](const auto& one) { return one.second.last_round != state().round; });
  }

  void advance(const Rule& rule, RuleState& rules, CgroupIndex cgroup, bool dry) {
    const auto& g = *now_.cgroup_list->cgroups[cgroup];
    const auto key = model::cgroup_key(g.id, g.path);
    auto at = rules.instances.find(key);
    Instance fresh;
    auto& instance = at != rules.instances.end() ? at->second : fresh;
    if (at == rules.instances.end()) {
      fresh.cgroup = {g.path, g.id};
      fresh.since = now_.taken;
      fresh.conditions.resize(rule.conditions.size());
    }
    instance.last_round = state().round;
    instance.index = cgroup;
    instance.waiting = false;
    bool has_state = false;
    const bool frozen = now_.taken < instance.frozen_until;
    for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
      auto& condition = instance.conditions[i];
      if (gap_) {
        condition.raw_since = condition.met ? condition.raw_since : Since();
        condition.clear_since.reset();
        condition.history.clear();
      }
      const auto& c = rule.conditions[i];
      const auto read_from = c.at.starts_with('/') ? condition_cgroups_[i] : condition_cgroup(c, now_, cgroup);
      condition.value = measure(c, now_, delta_, read_from, condition);
      if (!frozen) step(rule.conditions[i], condition, now_.taken);
      has_state = has_state || !condition.history.empty() || condition.met || condition.raw_since;
    }
    move(rule, rules, instance, dry);
    if (instance.phase != Phase::idle || has_state) {
      auto& kept =
          at != rules.instances.end() ? at->second : rules.instances.emplace(key, std::move(fresh)).first->second;
      if (kept.phase == Phase::firing || kept.phase == Phase::active || kept.phase == Phase::clearing) {
        collect(rule, kept, key);
      }
    } else if (at != rules.instances.end()) {
      rules.instances.erase(at);
    }
  }

  void enter(Instance& instance, Phase phase) {
    if (instance.phase != phase) instance.since = now_.taken;
    instance.phase = phase;
  }

  void move(const Rule& rule, RuleState& rules, Instance& instance, bool dry) {
    const auto trigger = evaluate(rule.when, instance.conditions, now_.taken_wall);
    if (instance.phase == Phase::firing) enter(instance, Phase::active);
    const auto is_active = [&] { return instance.phase == Phase::active || instance.phase == Phase::clearing; };
    if (is_active() && instance.dry_run && !dry) enter(instance, Phase::idle);  // now enforcing: fire again
    if (is_active()) {
      const bool held = now_.taken - instance.fired < rule.hold || now_.taken < instance.frozen_until;
      if (trigger.met || held)
        return enter(instance, trigger.met && !trigger.clearing ? Phase::active : Phase::clearing);
      add_notice(Notice::Kind::clear, rule.name, instance.cgroup, instance.dry_run, values(rule, instance));
      enter(instance, Phase::cooldown);
      return;
    }
    if (instance.phase == Phase::cooldown) {
      if (now_.taken - instance.since < rule.cooldown) return;
      enter(instance, Phase::idle);
    }
    if (trigger.met) {
      if (instance.phase == Phase::idle && (rule.pick || !rule.conditions.empty())) enter(instance, Phase::arming);
      instance.waiting = rule.pick.has_value();
      if (!rule.pick) fire(rule, rules, instance, dry);
      return;
    }
    const auto before = instance.phase;
    enter(instance, trigger.some && !rule.conditions.empty() ? Phase::arming : Phase::idle);
    if (before == instance.phase) return;
    add_notice(instance.phase == Phase::arming ? Notice::Kind::arm : Notice::Kind::disarm, rule.name, instance.cgroup,
               dry, values(rule, instance));
  }

  void fire(const Rule& rule, RuleState& rules, Instance& instance, bool dry) {
    if (!dry && rules.rate_limited) return;
    const bool acts = std::ranges::any_of(rule.steps, [](const Step& s) { return s.kind != Step::Kind::notify; });
    if (!dry && acts && is_capped(rule, rules, instance)) return;
    instance.dry_run = dry;
    instance.fired = now_.taken;
    instance.steps_taken = 0;
    enter(instance, Phase::firing);
    add_notice(Notice::Kind::fire, rule.name, instance.cgroup, dry, reason_of(policy_, rule, instance, now_.taken));
  }

  // Called after all cgroups were evaluated: fires for the best candidates, up to `count` active ones.
  void pick(const Rule& rule, RuleState& rules, bool dry) {
    if (rules.last_pick && now_.taken - *rules.last_pick < rule.cooldown) return;
    struct Candidate {
      double value;
      std::uint64_t key;
      Instance* instance;
    };
    std::vector<Candidate> candidates;
    std::size_t active = 0;
    for (auto& [key, instance] : rules.instances) {
      if (instance.last_round != state().round) continue;
      active += instance.phase >= Phase::firing && instance.phase <= Phase::clearing ? 1 : 0;
      const auto value = instance.waiting ? read(now_, rule.pick->field, instance.index) : std::nullopt;
      if (value) candidates.push_back({rule.pick->most ? -*value : *value, key, &instance});
    }
    std::ranges::sort(candidates, {}, [](const Candidate& c) { return std::tie(c.value, c.instance->cgroup.path); });
    const auto& field = policy_.catalogue->field(rule.pick->field);
    for (const auto& [value, key, instance] : candidates) {
      if (active >= rule.pick->count) return;
      instance->picked = "picked from " + std::to_string(candidates.size()) +
                         " cgroups: " + (rule.pick->most ? "highest " : "lowest ") + std::string(field.name) + ", " +
                         format_quantity(field.unit, std::abs(value));
      fire(rule, rules, *instance, dry);
      if (instance->phase != Phase::firing) return;
      rules.last_pick = now_.taken;
      ++active;
      collect(rule, *instance, key);
    }
  }

  bool is_capped(const Rule& rule, RuleState& rules, const Instance& instance) {
    const bool of_rule = rules.actions.size() >= rule.max_actions_per_hour;
    const bool of_all = state().actions.size() >= policy_.max_actions_per_hour;
    if (!of_rule && !of_all) return false;
    auto& reported = of_rule ? rules.cap_reported : state().cap_reported;
    if (!std::exchange(reported, true)) {
      const auto cap = std::to_string(of_rule ? rule.max_actions_per_hour : policy_.max_actions_per_hour);
      add_notice(
          Notice::Kind::capped, rule.name, instance.cgroup, false,
          {"action skipped: limit of " + cap + " actions per hour reached" + (of_rule ? "" : " by all rules together"),
           {{"max_actions_per_hour", cap}}});
    }
    return true;
  }

  model::Reason values(const Rule& rule, const Instance& instance) const {
    model::Reason out;
    for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
      const auto& c = rule.conditions[i];
      const auto& value = instance.conditions[i].value;
      const std::string field(policy_.catalogue->field(c.field).name);
      const auto text = value ? format_value(*policy_.catalogue, c, *value) : std::string("unknown");
      out.numbers.emplace_back(field, text);
      out.numbers.emplace_back(std::string(op_text(c.op)), format_value(*policy_.catalogue, c, c.threshold));
      out.text += (out.text.empty() ? "" : "; ") + subject(*policy_.catalogue, c) + " is " + text;
    }
    if (out.text.empty()) out.text = "trigger without conditions ended";
    return out;
  }

  void collect(const Rule& rule, Instance& instance, std::uint64_t key) {
    std::size_t end = instance.steps_taken;
    auto strongest = Step::Kind::notify;
    while (end < rule.steps.size() && now_.taken - instance.fired >= rule.steps[end].after) {
      strongest = std::max(strongest, rule.steps[end].kind);
      ++end;
    }
    if (end > instance.steps_taken) ready_[{key, instance.dry_run}].push_back({&rule, &instance, end, strongest});
  }

  void take_steps() {
    for (auto& [where, all] : ready_) {
      // Only the first rule with the strongest step acts. Rules whose strongest step is a limit act together: of two
      // values for one key the lower one is set.
      const auto best = std::ranges::max_element(all, {}, &Ready::strongest);
      for (auto& one : all) {
        const bool together = one.strongest == best->strongest &&
                              (one.strongest == Step::Kind::limit || one.strongest == Step::Kind::notify);
        if (&one == &*best || together || one.strongest == Step::Kind::notify) {
          take(one);
          continue;
        }
        add_notice(Notice::Kind::superseded, one.rule->name, one.instance->cgroup, where.second,
                   {std::string(name(one.strongest)) + " deferred: rule " + best->rule->name + " applies " +
                        std::string(name(best->strongest)) + " to this cgroup first",
                    {}});
      }
    }
  }

  void take(Ready& ready) {
    const auto& rule = *ready.rule;
    auto& instance = *ready.instance;
    auto& rules = state().rules[rule.name];
    const auto reason = reason_of(policy_, rule, instance, now_.taken);
    for (; instance.steps_taken < ready.end; ++instance.steps_taken) {
      const auto& step = rule.steps[instance.steps_taken];
      if (step.kind == Step::Kind::notify) {
        auto message = reason;
        message.text = step.message + (step.message.empty() ? "" : ": ") + message.text;
        add_notice(Notice::Kind::notify, rule.name, instance.cgroup, instance.dry_run, std::move(message));
        continue;
      }
      if (!instance.dry_run) {
        rules.actions.push_back(now_.taken);
        state().actions.push_back(now_.taken);
      }
      if (step.kind == Step::Kind::limit) continue;  // see reconcile_limits()
      auto action = begin(step.kind == Step::Kind::freeze ? model::Verb::freeze
                          : step.kind == Step::Kind::kill ? model::Verb::kill
                                                          : model::Verb::reclaim,
                          rule.name, instance.cgroup, instance.dry_run, reason);
      if (step.kind == Step::Kind::freeze) {
        action.lease = milliseconds_of(step.freeze_for);
        instance.frozen_until = now_.taken + step.freeze_for;
      }
      if (step.kind == Step::Kind::kill) {
        action.signal = step.signal;
        action.grace = milliseconds_of(step.grace);
        if (!instance.dry_run) count_kill(rule, rules, instance);
      }
      if (step.kind == Step::Kind::reclaim) {
        action.bytes = reclaim_bytes(step, instance);
        if (action.bytes <= 0) continue;
      }
      out_.actions.push_back(std::move(action));
    }
  }

  std::int64_t reclaim_bytes(const Step& step, const Instance& instance) const {
    if (!step.ratio) return static_cast<std::int64_t>(step.bytes);
    const auto cgroup = index_of(instance.cgroup);
    const auto used = cgroup != model::kNoCgroup && fields_.memory_current ? now_.value(*fields_.memory_current, cgroup)
                                                                           : model::Value::absent();
    return used.is_number() ? static_cast<std::int64_t>(static_cast<double>(used.fixed()) * *step.ratio) : 0;
  }

  [[nodiscard]] CgroupIndex index_of(const model::CgroupRef& ref) const {
    const auto& cgroups = now_.cgroup_list->cgroups;
    const auto at =
        std::ranges::lower_bound(cgroups, ref.path, {}, [](const auto& g) -> const std::string& { return g->path; });
    // The list is sorted by path, but not always by byte value: if the binary search fails, search all.
    if (at != cgroups.end() && (*at)->id == ref.id) return static_cast<CgroupIndex>(at - cgroups.begin());
    for (CgroupIndex i = 0; i < cgroups.size(); ++i) {
      if (cgroups[i]->id == ref.id && cgroups[i]->path == ref.path) return i;
    }
    return model::kNoCgroup;
  }

  void count_kill(const Rule& rule, RuleState& rules, const Instance& instance) {
    rules.kills.push_back(now_.taken);
    if (rules.kills.size() < kMaxKills) return;
    rules.rate_limited = true;
    add_notice(
        Notice::Kind::rate_limited, rule.name, instance.cgroup, false,
        {std::to_string(rules.kills.size()) + " kills in 10 minutes; the rule is disabled until its text changes",
         {{"kills", std::to_string(rules.kills.size())}}});
  }

  model::Action begin(model::Verb verb, const std::string& rule, const model::CgroupRef& cgroup, bool dry,
                      model::Reason reason) const {
    model::Action action;
    action.verb = verb;
    action.cgroup = cgroup;
    action.dry_run = dry;
    action.actor.via = model::Actor::Via::policy;
    action.actor.rule = rule;
    action.reason = std::move(reason);
    return action;
  }

  // Computes the limits that active rules request, and plans actions for the difference to the applied limits.
  void reconcile_limits() {
    const auto wanted = wanted_limits();
    for (auto at = state().applied.begin(); at != state().applied.end();) {
      const auto wanted_limit = wanted.find(at->first);
      auto& stands = at->second;
      const bool same = wanted_limit != wanted.end() && wanted_limit->second.settings == stands.settings;
      if (same) {
        if (!stands.failed && now_.taken - stands.at >= stands.lease / 2) {
          stands.at = now_.taken;
          out_.renewals.push_back(limit_of(at->first, stands, {"the rule is still active", {}}));
        }
        ++at;
        continue;
      }
      // A removed cgroup has no limits to restore.
      if (!stands.failed && index_of(stands.cgroup) != model::kNoCgroup) {
        auto action =
            limit_of(at->first, stands,
                     {wanted_limit == wanted.end() ? "the rule is no longer active" : "replaced by other limits", {}});
        action.verb = model::Verb::unlimit;
        action.lease.reset();
        out_.actions.insert(out_.actions.begin() + static_cast<std::ptrdiff_t>(undo_count_++), std::move(action));
      }
      at = state().applied.erase(at);
    }
    for (const auto& [key, wanted_limit] : wanted) {
      if (state().applied.contains(key)) continue;
      Applied applied{wanted_limit.settings, wanted_limit.instance->cgroup, now_.taken, wanted_limit.rule->lease,
                      false};
      auto reason = reason_of(policy_, *wanted_limit.rule, *wanted_limit.instance, now_.taken);
      if (!wanted_limit.also.empty()) reason.text += "; lowest value requested by this rule and " + wanted_limit.also;
      auto action = limit_of(key, applied, std::move(reason));
      action.force = wanted_limit.force;
      out_.actions.push_back(std::move(action));
      state().applied.emplace(key, std::move(applied));
    }
  }

  struct Wanted {
    const Rule* rule = nullptr;
    const Instance* instance = nullptr;
    std::vector<model::Setting> settings;
    bool force = false;
    std::string also;  // other rules that request a limit of the same key
  };

  // For each setting the lowest value that an active rule requests; values that cannot be compared: the first in the
  // file.
  std::map<AppliedKey, Wanted> wanted_limits() {
    struct Request {
      const Rule* rule;
      const Instance* instance;
      const Step* step;
      const model::Setting* setting;
      std::string also;
    };
    std::map<std::tuple<std::uint64_t, std::string, std::string, bool>, Request> best;  // cgroup, key, device, dry run
    for (const auto& rule : policy_.rules) {
      const auto rules = state().rules.find(rule.name);
      if (rules == state().rules.end()) continue;
      for (const auto& [cgroup, instance] : rules->second.instances) {
        if (instance.phase < Phase::firing || instance.phase > Phase::clearing) continue;
        for (std::size_t i = 0; i < instance.steps_taken; ++i) {
          for (const auto& setting : rule.steps[i].settings) {
            const Request request{&rule, &instance, &rule.steps[i], &setting, {}};
            const auto [at, first] = best.try_emplace({cgroup, setting.key, setting.device, instance.dry_run}, request);
            auto& current = at->second;
            if (first) continue;
            if (current.rule == &rule) {  // a later step of the same rule
              current.step = request.step;
              current.setting = request.setting;
              continue;
            }
            const bool wins = is_lower(setting, *current.setting);
            const auto also =
                current.also + (current.also.empty() ? "" : ", ") + (wins ? current.rule->name : rule.name);
            if (wins) current = request;
            current.also = also;
          }
        }
      }
    }
    std::map<AppliedKey, Wanted> out;
    for (const auto& [where, request] : best) {
      auto& wanted_limit = out[{std::get<0>(where), request.rule->name, std::get<3>(where)}];
      wanted_limit.rule = request.rule;
      wanted_limit.instance = request.instance;
      wanted_limit.settings.push_back(*request.setting);
      wanted_limit.force = wanted_limit.force || request.step->force;
      if (wanted_limit.also.empty()) wanted_limit.also = request.also;
    }
    return out;
  }

  model::Action limit_of(const AppliedKey& key, const Applied& applied, model::Reason reason) const {
    auto action = begin(model::Verb::limit, std::get<1>(key), applied.cgroup, std::get<2>(key), std::move(reason));
    action.settings = applied.settings;
    action.lease = milliseconds_of(applied.lease);
    return action;
  }

  const Policy& policy_;
  const model::Snapshot& now_;
  model::Delta delta_;
  SelectorFields fields_;
  bool gap_ = false;
  bool booting_ = false;
  std::vector<bool> protected_;
  std::vector<CgroupIndex> condition_cgroups_;  // for each condition of the rule that names a path: its cgroup
  std::map<std::pair<std::uint64_t, bool>, std::vector<Ready>> ready_;
  std::size_t undo_count_ = 0;  // number of `unlimit` actions at the front
  Decision out_;
};

}  // namespace

Decision decide(const Policy& policy, const SnapshotPtr& previous, const SnapshotPtr& current, State state,
                Duration interval) {
  return Evaluation(policy, previous, current, std::move(state), interval).run();
}

void record_outcome(State& state, const model::Action& action, const model::Outcome& outcome) {
  if (action.verb != model::Verb::limit || outcome.ok()) return;
  const auto at =
      state.applied.find({model::cgroup_key(action.cgroup.id, action.cgroup.path), action.actor.rule, action.dry_run});
  if (at != state.applied.end() && at->second.settings == action.settings) at->second.failed = true;
}

void lease_expired(State& state, const std::string& rule, const model::CgroupRef& cgroup) {
  state.applied.erase({model::cgroup_key(cgroup.id, cgroup.path), rule, false});
}

void lease_lost(State& state, const std::string& rule, const model::CgroupRef& cgroup) {
  const auto at = state.applied.find({model::cgroup_key(cgroup.id, cgroup.path), rule, false});
  if (at != state.applied.end()) at->second.failed = true;
}

bool adopt(State& state, const Policy& policy, const std::string& name, const model::CgroupRef& cgroup, Monotonic now) {
  const auto rule = std::ranges::find(policy.rules, name, &Rule::name);
  if (rule == policy.rules.end() || rule->dry_run) return false;
  Instance instance;
  instance.phase = Phase::active;
  instance.since = now;
  instance.fired = now;
  instance.cgroup = cgroup;
  instance.conditions.resize(rule->conditions.size());
  for (auto& condition : instance.conditions) condition.met = true;
  // The undo log does not record which steps were taken: assume those without a delay. It does not record the rest of
  // the lease either: renew it at once.
  Applied applied{{}, cgroup, now - rule->lease, rule->lease, false};
  for (const auto& step : rule->steps) {
    if (step.after > Duration{}) break;
    ++instance.steps_taken;
    applied.settings.insert(applied.settings.end(), step.settings.begin(), step.settings.end());
  }
  std::ranges::sort(applied.settings, {}, [](const model::Setting& s) { return std::tie(s.key, s.device); });
  if (applied.settings.empty()) return false;
  const auto key = model::cgroup_key(cgroup.id, cgroup.path);
  auto& rules = state.rules[name];
  rules.fingerprint = rule->fingerprint;
  rules.instances.insert_or_assign(key, std::move(instance));
  state.applied.insert_or_assign(AppliedKey{key, name, false}, std::move(applied));
  return true;
}

std::string describe(const model::Catalogue& catalogue, const Condition& condition) {
  auto out = std::string(catalogue.field(condition.field).name);
  if (!condition.at.empty()) out += " of " + base::printable(condition.at);
  out += ' ' + comparison(catalogue, condition);
  if (condition.hold > Duration{}) out += " for " + format_duration(condition.hold);
  return out;
}

std::vector<std::string> explain(const Policy& policy, const Rule& rule, const SnapshotPtr& previous,
                                 const SnapshotPtr& current, const State& state, CgroupIndex cgroup) {
  std::vector<std::string> out;
  const auto& now = *current;
  const SelectorFields fields(*policy.catalogue);
  const auto& g = *now.cgroup_list->cgroups[cgroup];
  if (g.path == "/") return {"does not match: the root cgroup is always protected"};
  for (const auto& selector : policy.protect) {
    for (CgroupIndex other = 0; other < now.cgroup_count(); ++other) {
      const auto& path = now.cgroup_list->cgroups[other]->path;
      const bool related = path == g.path || path.starts_with(g.path + "/") || g.path.starts_with(path + "/");
      if (related && matches(selector, fields, now, other)) return {"does not match: protected through " + path};
    }
  }
  if (const auto why = mismatch(rule.match, fields, now, cgroup); !why.empty()) return {"does not match: " + why};
  out.push_back("matches");
  const auto rules = state.rules.find(rule.name);
  const Instance* instance = nullptr;
  if (rules != state.rules.end()) {
    const auto at = rules->second.instances.find(model::cgroup_key(g.id, g.path));
    if (at != rules->second.instances.end()) instance = &at->second;
  }
  const model::Delta delta(previous, current);
  for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
    const auto& c = rule.conditions[i];
    ConditionState own = instance != nullptr ? instance->conditions[i] : ConditionState{};
    const auto value = measure(c, now, delta, condition_cgroup(c, now, cgroup), own);
    std::string line = describe(*policy.catalogue, c) + ": ";
    if (!value) {
      line += is_slope(c.op) ? "unknown until half of the window has passed" : "unknown";
    } else {
      line += "current value " + format_value(*policy.catalogue, c, *value) + ", " +
              (own.met            ? "met"
               : holds(c, *value) ? "pending"
                                  : "not met");
      if (!own.met && own.raw_since)
        line += " for " + format_duration(std::chrono::round<std::chrono::milliseconds>(now.taken - *own.raw_since));
    }
    out.push_back(std::move(line));
  }
  auto line = "state " + std::string(name(instance != nullptr ? instance->phase : Phase::idle));
  if (instance != nullptr && instance->waiting && instance->phase == Phase::arming) line += ", met but not picked";
  if (rule.dry_run) line += ", dry run";
  if (rules != state.rules.end() && rules->second.rate_limited) line += ", disabled after repeated kills";
  out.push_back(std::move(line));
  return out;
}

}  // namespace cgwarden::policy
