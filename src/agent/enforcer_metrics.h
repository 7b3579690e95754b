// SPDX-License-Identifier: Apache-2.0
// Metrics of the enforcer, cgwarden_policy_*. They are written to a file for the textfile collector of the exporter
// (--collector.textfile.directory). Loop thread.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/control/undo_log.h"
#include "src/control/writer.h"
#include "src/model/action.h"
#include "src/policy/decide.h"

namespace cgwarden::agent {

class EnforcerMetrics {
 public:
  EnforcerMetrics();

  // The policy was loaded at start or reload. Null: loading failed; the previous policy stays active.
  void loaded(const policy::Policy* policy);
  void decided(const policy::Policy& policy, const policy::Decision& decision, std::chrono::nanoseconds duration);
  // `since`: time from the sample behind the decision to the end of the action.
  void action_finished(const model::Action& action, const model::Outcome& outcome, std::chrono::nanoseconds since);
  void lease_events(const std::vector<control::Writer::LeaseEvent>& lease_events,
                    const std::vector<control::UndoEntry>& entries);
  void sampled_early(std::string_view by) { early_samples_.Add({{"by", std::string(by)}}).Increment(); }
  void skipped() { skipped_.Increment(); }

  // Writes all metrics to `path`, atomically through a temporary file; mode 0644.
  [[nodiscard]] base::Result<void> write(const std::string& path) const;

 private:
  using Labels = std::map<std::string, std::string>;
  prometheus::Registry registry_;
  prometheus::Family<prometheus::Gauge>& rule_cgroups_;
  prometheus::Family<prometheus::Gauge>& rule_dry_run_;
  prometheus::Family<prometheus::Gauge>& rule_rate_limited_;
  prometheus::Family<prometheus::Counter>& fired_;
  prometheus::Family<prometheus::Counter>& notifications_;
  prometheus::Family<prometheus::Counter>& actions_;
  prometheus::Family<prometheus::Counter>& refused_;
  prometheus::Family<prometheus::Counter>& leases_lost_;
  prometheus::Family<prometheus::Counter>& early_samples_;
  prometheus::Family<prometheus::Gauge>& config_info_;
  prometheus::Histogram& action_duration_;
  prometheus::Histogram& latency_;
  prometheus::Histogram& decision_duration_;
  prometheus::Gauge& leases_;
  prometheus::Gauge& frozen_;
  prometheus::Gauge& oldest_freeze_;
  prometheus::Gauge& reload_successful_;
  prometheus::Gauge& reload_time_;
  prometheus::Counter& samples_;
  prometheus::Counter& skipped_;
  std::vector<prometheus::Gauge*> of_rules_;  // gauges of the current rules, removed at reload
};

}  // namespace cgwarden::agent
