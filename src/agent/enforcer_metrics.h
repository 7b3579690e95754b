// SPDX-License-Identifier: Apache-2.0
// What the enforcer says about itself: cgwarden_policy_*, handed over in a file that the exporter's
// --collector.textfile.directory takes. Loop thread.
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
#include "src/control/ledger.h"
#include "src/control/writer.h"
#include "src/model/action.h"
#include "src/policy/decide.h"

namespace cgwarden::agent {

class EnforcerMetrics {
 public:
  EnforcerMetrics();

  // A reload, or the start. Null: it failed, and the policy of before goes on.
  void loaded(const policy::Policy* policy);
  void decided(const policy::Policy& policy, const policy::Decision& decision,
               std::chrono::nanoseconds matches_readback);
  // `since`: from the sample that made the decision to the end of the action.
  void acted(const model::Action& action, const model::Outcome& outcome, std::chrono::nanoseconds since);
  void lease_events(const std::vector<control::Writer::LeaseEvent>& lease_events,
                    const std::vector<control::Entry>& entries);
  void woken(std::string_view by) { wakes_.Add({{"by", std::string(by)}}).Increment(); }
  void skipped() { skipped_.Increment(); }

  // Written beside and renamed, so that nobody sees half of it; mode 0644.
  [[nodiscard]] base::Result<void> write(const std::string& path) const;

 private:
  using Labels = std::map<std::string, std::string>;
  prometheus::Registry registry_;
  prometheus::Family<prometheus::Gauge>& rule_cgroups_;
  prometheus::Family<prometheus::Gauge>& rule_dry_run_;
  prometheus::Family<prometheus::Gauge>& rule_braked_;
  prometheus::Family<prometheus::Counter>& fired_;
  prometheus::Family<prometheus::Counter>& notifications_;
  prometheus::Family<prometheus::Counter>& actions_;
  prometheus::Family<prometheus::Counter>& refused_;
  prometheus::Family<prometheus::Counter>& leases_lost_;
  prometheus::Family<prometheus::Counter>& wakes_;
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
  std::vector<prometheus::Gauge*> of_rules_;  // made for the rules of before
};

}  // namespace cgwarden::agent
