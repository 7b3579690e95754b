// SPDX-License-Identifier: Apache-2.0
// Fuzzes JSON snapshots of an agent. A parsed snapshot is the same after it is written and parsed again.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "collectors/collection.h"
#include "exporter/api.h"
#include "src/cgtop/api_reader.h"

namespace {

void must(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cgwarden;
  static const auto catalogue = collectors::make_catalogue();
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto taken = cgtop::parse_api_snapshot(text, catalogue);
  if (!taken) return 0;
  const auto& s = *taken->snapshot;
  for (const auto& column : s.columns) {
    for (const auto& series : column.series)
      must(series.cgroup == model::kNoCgroup || series.cgroup < s.cgroup_count());
  }
  exporter::Buffer out;
  exporter::write_api_snapshot(s, taken->host, {}, out);
  const auto reparsed = cgtop::parse_api_snapshot(out.view(), catalogue);
  must(reparsed.has_value());
  must(reparsed->snapshot->cgroup_count() == s.cgroup_count());
  for (std::size_t g = 0; g < s.cgroup_count(); ++g) {
    must(reparsed->snapshot->cgroup_list->cgroups[g]->path == s.cgroup_list->cgroups[g]->path);
  }
  for (std::size_t f = 0; f < s.columns.size(); ++f) must(reparsed->snapshot->columns[f].dense == s.columns[f].dense);
  return 0;
}
