// SPDX-License-Identifier: Apache-2.0
// Metrics of the agent itself: cgwarden_* and process_*. Counters and histograms are kept with prometheus-cpp; values
// that a snapshot or the kernel already has become families on each scrape. Loop thread. Durations are exported in
// seconds.
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

  // `path` is a known path of the server or "other", so that clients cannot create series.
  void count_request(std::string_view path, unsigned code, std::size_t body_bytes);
  void count_rejected_connection() { rejected_connections_.Increment(); }
  // Time from the last byte of the request to the complete response body, including collection.
  void observe_scrape(std::chrono::nanoseconds duration);
  // Counts a snapshot once, even if it is served several times.
  void observe_snapshot(const model::Snapshot& snapshot);

  // For metrics of other parts of the agent; their names start with "cgwarden_".
  prometheus::Registry& registry() { return registry_; }

  // All families, for append_families(). `series`: number of cgroup series in this response.
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
  double start_time_ = 0;  // start of this process, seconds since 1970
};

}  // namespace cgwarden::exporter
