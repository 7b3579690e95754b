// SPDX-License-Identifier: Apache-2.0
// What the agent says about itself: cgwarden_* and process_*. Kept with prometheus-cpp where something happens over
// time; what a snapshot or the kernel already counts is turned into families when it is asked for.
// Loop thread. Durations are seconds in the metrics.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>
#include <prometheus/registry.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "src/model/snapshot.h"

namespace cgwarden::exporter {

class SelfMetrics {
 public:
  SelfMetrics();
  SelfMetrics(const SelfMetrics&) = delete;
  SelfMetrics& operator=(const SelfMetrics&) = delete;

  // `path` is one of the server's own or "other": a client cannot make series.
  void count_request(std::string_view path, unsigned code, std::size_t body_bytes);
  void count_rejected_connection() { rejected_connections_.Increment(); }
  // From the request's last byte to the answer's body, collection included.
  void observe_scrape(std::chrono::nanoseconds duration);
  // Counts a snapshot once, however often it is served.
  void observe_snapshot(const model::Snapshot& snapshot);

  // Others of the agent's rooms register theirs here; names begin with "cgwarden_".
  prometheus::Registry& registry() { return registry_; }

  // Everything, for append_families(). `series`: how many of cgroups this answer has.
  [[nodiscard]] std::vector<prometheus::MetricFamily> collect(const model::Snapshot& snapshot,
                                                              std::size_t series) const;

 private:
  prometheus::Registry registry_;
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Counter& response_bytes_;
  prometheus::Counter& rejected_connections_;
  prometheus::Histogram& scrape_duration_;
  prometheus::Histogram& collection_duration_;
  base::Monotonic last_snapshot_{};
  double start_time_ = 0;  // of this process, seconds since 1970
};

}  // namespace cgwarden::exporter
