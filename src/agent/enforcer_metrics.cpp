// SPDX-License-Identifier: Apache-2.0
#include "src/agent/enforcer_metrics.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "exporter/metric_families.h"
#include "src/base/clock.h"
#include "src/base/file.h"

namespace cgwarden::agent {
namespace {

const prometheus::Histogram::BucketBoundaries kBuckets = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                          0.1,    0.25,  0.5,    1,     2.5,  5,     10};

double seconds(std::chrono::nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

auto& gauges(prometheus::Registry& registry, const std::string& name, const std::string& help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}
auto& counters(prometheus::Registry& registry, const std::string& name, const std::string& help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}
auto& histogram(prometheus::Registry& registry, const std::string& name, const std::string& help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, kBuckets);
}

}  // namespace

EnforcerMetrics::EnforcerMetrics()
    : rule_cgroups_(gauges(registry_, "cgwarden_policy_rule_cgroups",
                           "Cgroups by rule and state of the rule, without cgroups in state idle.")),
      rule_dry_run_(gauges(registry_, "cgwarden_policy_rule_dry_run",
                           "Whether the rule is in dry-run mode (1) or enforcing (0).")),
      rule_rate_limited_(gauges(registry_, "cgwarden_policy_rule_rate_limited",
                                "Whether the rule is disabled after three kills in ten minutes.")),
      fired_(counters(registry_, "cgwarden_policy_rule_fired_total",
                      "Number of times the rule fired, including dry runs.")),
      notifications_(
          counters(registry_, "cgwarden_policy_notifications_total", "Notifications by the notify steps of the rule.")),
      actions_(counters(registry_, "cgwarden_policy_actions_total",
                        "Actions by rule, kind of action, route and result (would: dry run).")),
      refused_(counters(registry_, "cgwarden_policy_refused_total", "Actions refused by a guard.")),
      leases_lost_(counters(registry_, "cgwarden_policy_leases_lost_total",
                            "Limits that another program changed, so that the lease was dropped.")),
      early_samples_(counters(registry_, "cgwarden_policy_early_samples_total",
                              "Samples taken early because of a kernel notification, by source.")),
      config_info_(gauges(registry_, "cgwarden_policy_config_info", "Active policy, by the hash of its text.")),
      action_duration_(histogram(registry_, "cgwarden_policy_action_duration_seconds", "Duration of actions.")),
      latency_(histogram(registry_, "cgwarden_policy_action_latency_seconds",
                         "Time from the sample behind a decision to the end of its action.")),
      decision_duration_(histogram(registry_, "cgwarden_policy_decision_duration_seconds",
                                   "Duration of one evaluation of the policy for all cgroups.")),
      leases_(gauges(registry_, "cgwarden_policy_leases", "Limits and freezes with an expiration time.").Add({})),
      frozen_(gauges(registry_, "cgwarden_policy_frozen_cgroups", "Cgroups frozen by cgwarden.").Add({})),
      oldest_freeze_(gauges(registry_, "cgwarden_policy_oldest_freeze_seconds",
                            "Time since the oldest freeze that is still active.")
                         .Add({})),
      reload_successful_(
          gauges(
              registry_, "cgwarden_policy_config_last_reload_successful",
              "Whether the last attempt to load the policy was successful; if not, the previous policy stays active.")
              .Add({})),
      reload_time_(gauges(registry_, "cgwarden_policy_config_last_reload_success_timestamp_seconds",
                          "Time when the active policy was loaded, in seconds since 1970.")
                       .Add({})),
      samples_(
          counters(registry_, "cgwarden_policy_samples_total", "Samples for which the policy was evaluated.").Add({})),
      skipped_(counters(registry_, "cgwarden_policy_samples_skipped_total",
                        "Samples skipped because the previous one took longer than the interval.")
                   .Add({})) {}

void EnforcerMetrics::loaded(const policy::Policy* policy) {
  reload_successful_.Set(policy != nullptr ? 1 : 0);
  if (policy == nullptr) return;
  reload_time_.Set(std::chrono::duration<double>(base::wall_now().time_since_epoch()).count());
  for (auto* const gauge : of_rules_) {
    rule_cgroups_.Remove(gauge);
    rule_dry_run_.Remove(gauge);
    rule_rate_limited_.Remove(gauge);
    config_info_.Remove(gauge);
  }
  of_rules_.clear();
  std::array<char, 32> hash{};
  (void)std::snprintf(hash.data(), hash.size(), "%016llx", static_cast<unsigned long long>(policy->fingerprint));
  const auto set = [this](prometheus::Family<prometheus::Gauge>& family, const Labels& labels, double value) {
    auto& gauge = family.Add(labels);
    gauge.Set(value);
    of_rules_.push_back(&gauge);
  };
  set(config_info_, {{"hash", hash.data()}}, 1);
  for (const auto& rule : policy->rules) {
    set(rule_dry_run_, {{"rule", rule.name}}, rule.dry_run ? 1 : 0);
    set(rule_rate_limited_, {{"rule", rule.name}}, 0);
    for (auto phase = policy::Phase::arming; phase <= policy::Phase::cooldown;
         phase = static_cast<policy::Phase>(static_cast<int>(phase) + 1)) {
      set(rule_cgroups_, {{"rule", rule.name}, {"state", std::string(policy::name(phase))}}, 0);
    }
    fired_.Add({{"rule", rule.name}});
  }
}

void EnforcerMetrics::decided(const policy::Policy& policy, const policy::Decision& decision,
                              std::chrono::nanoseconds duration) {
  samples_.Increment();
  decision_duration_.Observe(seconds(duration));
  for (const auto& notice : decision.notices) {
    if (notice.kind == policy::Notice::Kind::fire) fired_.Add({{"rule", notice.rule}}).Increment();
    if (notice.kind == policy::Notice::Kind::notify) notifications_.Add({{"rule", notice.rule}}).Increment();
  }
  for (const auto& rule : policy.rules) {
    std::array<int, policy::kPhases> count{};
    bool rate_limited = false;
    if (const auto at = decision.state.rules.find(rule.name); at != decision.state.rules.end()) {
      for (const auto& [key, instance] : at->second.instances) ++count[static_cast<std::size_t>(instance.phase)];
      rate_limited = at->second.rate_limited;
    }
    rule_rate_limited_.Add({{"rule", rule.name}}).Set(rate_limited ? 1 : 0);
    for (std::size_t phase = 1; phase < policy::kPhases; ++phase) {
      rule_cgroups_.Add({{"rule", rule.name}, {"state", std::string(policy::name(static_cast<policy::Phase>(phase)))}})
          .Set(count[phase]);
    }
  }
}

void EnforcerMetrics::action_finished(const model::Action& action, const model::Outcome& outcome,
                                      std::chrono::nanoseconds since) {
  const std::string result(outcome.ok() && outcome.dry_run ? "would" : model::name(outcome.kind));
  actions_
      .Add({{"rule", action.actor.rule},
            {"action", std::string(model::name(action.verb))},
            {"route", outcome.route},
            {"result", result}})
      .Increment();
  if (outcome.kind == model::Outcome::Kind::refused) refused_.Add({{"guard", outcome.guard}}).Increment();
  action_duration_.Observe(seconds(outcome.duration));
  latency_.Observe(seconds(since));
}

void EnforcerMetrics::lease_events(const std::vector<control::Writer::LeaseEvent>& lease_events,
                                   const std::vector<control::UndoEntry>& entries) {
  for (const auto& one : lease_events) {
    if (one.kind == control::LeaseEventKind::lost) {
      leases_lost_.Add({{"rule", one.entry.rule}, {"route", one.entry.route}}).Increment();
    }
  }
  leases_.Set(static_cast<double>(std::ranges::count_if(entries, &control::UndoEntry::is_lease)));
  std::int64_t frozen = 0;
  std::int64_t oldest = 0;
  for (const auto& entry : entries) {
    if (entry.verb != model::Verb::freeze) continue;
    ++frozen;
    oldest = std::max(oldest, control::boottime_now() - entry.created);
  }
  frozen_.Set(static_cast<double>(frozen));
  oldest_freeze_.Set(static_cast<double>(oldest) * 1e-9);
}

base::Result<void> EnforcerMetrics::write(const std::string& path) const {
  std::string text;
  exporter::append_families(registry_.Collect(), exporter::Format::text, text);
  return base::replace_file(path, text, 0644);  // the exporter runs as another user
}

}  // namespace cgwarden::agent
