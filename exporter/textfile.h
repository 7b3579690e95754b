// SPDX-License-Identifier: Apache-2.0
// Metrics that other programs of this host leave in files: DIR/*.prom in Prometheus' text format, as node_exporter's
// textfile collector takes them. A file is somebody else's: it is parsed whole before any of it is served, bounded, and
// refused if a name in it is taken. Whoever writes one renames it into its place.
// Loop thread.
#pragma once

#include <prometheus/metric_family.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace cgwarden::exporter {

// Of one file. Error: what is wrong, and in which line. Time stamps are refused: a file's age is its own metric.
base::Result<std::vector<prometheus::MetricFamily>> parse_text_format(std::string_view text);

class Textfiles {
 public:
  static constexpr std::size_t kMaxFiles = 64;
  static constexpr std::size_t kMaxFileBytes = 1024 * 1024;
  static constexpr std::size_t kMaxSeries = 10'000;  // of all files

  explicit Textfiles(std::vector<std::string> directories) : directories_(std::move(directories)) {}

  // Adds the families of all files to `families`, and how each file fared. A file with a family that is there already,
  // or that this program could have (cgroup_*), is left out.
  void add_to(std::vector<prometheus::MetricFamily>& families) const;

 private:
  std::vector<std::string> directories_;
};

}  // namespace cgwarden::exporter
