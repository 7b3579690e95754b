// SPDX-License-Identifier: Apache-2.0
// Fuzzes files of the textfile collector. Accepted files have valid names and no duplicate series.
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string_view>

#include "exporter/textfile.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cgwarden;
  const auto parsed = exporter::parse_text_format({reinterpret_cast<const char*>(data), size});
  if (!parsed) {
    if (parsed.error().what.empty()) std::abort();
    return 0;
  }
  std::set<std::string> names;
  for (const auto& family : *parsed) {
    if (family.name.empty() || family.metric.empty() || !names.insert(family.name).second) std::abort();
    if (family.name.find_first_of("\n\"{} ") != std::string::npos) std::abort();
    std::set<std::vector<prometheus::ClientMetric::Label>> series;
    for (const auto& metric : family.metric) {
      if (!series.insert(metric.label).second || metric.timestamp_ms != 0) std::abort();
    }
  }
  return 0;
}
