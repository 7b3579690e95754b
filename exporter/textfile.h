// SPDX-License-Identifier: Apache-2.0
// Reads metrics that other programs write to files: DIR/*.prom in the text format of Prometheus, like the textfile
// collector of node_exporter. Files are untrusted input: a file is parsed completely before any of it is served, its
// size is bounded, and it is rejected if one of its names already exists. Writers should replace files atomically with
// rename(2). Loop thread.
#pragma once

#include <prometheus/metric_family.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace cgwarden::exporter {

// Parses one file. Errors name the line. Timestamps are rejected: the modification time of a file is its own metric.
base::Result<std::vector<prometheus::MetricFamily>> parse_text_format(std::string_view text);

class Textfiles {
 public:
  static constexpr std::size_t kMaxFiles = 64;
  static constexpr std::size_t kMaxFileBytes = 1024 * 1024;
  static constexpr std::size_t kMaxSeries = 10'000;  // sum over all files

  explicit Textfiles(std::vector<std::string> directories) : directories_(std::move(directories)) {}

  // Adds the families of all files and the state of each file to `families`. A file is rejected if one of its families
  // already exists or could be one of this program (cgroup_*).
  void add_to(std::vector<prometheus::MetricFamily>& families) const;

 private:
  std::vector<std::string> directories_;
};

}  // namespace cgwarden::exporter
