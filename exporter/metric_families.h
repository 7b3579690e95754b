// SPDX-License-Identifier: Apache-2.0
// Writes families of prometheus-cpp in both formats. Unlike its TextSerializer this escapes HELP, supports OpenMetrics,
// and sorts: families by name, series by labels. Stateless; any thread.
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <vector>

#include "exporter/exposition.h"

namespace cgwarden::exporter {

// Appends `families`, without the "# EOF" of OpenMetrics. Families without series are omitted.
void append_families(std::vector<prometheus::MetricFamily> families, Format format, std::string& out);

}  // namespace cgwarden::exporter
