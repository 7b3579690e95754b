// SPDX-License-Identifier: Apache-2.0
// Writes prometheus-cpp's families in either format. Unlike its TextSerializer this escapes HELP, knows OpenMetrics,
// and has one order: families by name, series by labels. Stateless: any thread.
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <vector>

#include "exporter/exposition.h"

namespace cgwarden::exporter {

// Appends `families`, without the "# EOF" of OpenMetrics. Families without series are left out.
void append_families(std::vector<prometheus::MetricFamily> families, Format format, std::string& out);

}  // namespace cgwarden::exporter
