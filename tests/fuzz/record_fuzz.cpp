// SPDX-License-Identifier: Apache-2.0
// Fuzzes the parts of a recording. The decoder must check all its input. A block that can be read must be equal after
// writing and reading it again.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "collectors/collection.h"
#include "src/record/block.h"
#include "src/record/frame.h"

namespace {

using namespace cgwarden;

void must(bool holds) {
  if (!holds) std::abort();
}

void check(const model::Snapshot& s, const model::Catalogue& catalogue) {
  must(s.columns.size() == catalogue.size());
  must(s.collectors.size() == catalogue.collectors().size());
  if (s.cgroup_list) {
    must(s.cgroup_list->parents.size() == s.cgroup_list->cgroups.size());
    for (std::size_t g = 0; g < s.cgroup_count(); ++g) {
      must(s.cgroup_list->cgroups[g] != nullptr);
      must(s.cgroup_list->parents[g] == model::kNoCgroup || s.cgroup_list->parents[g] < g);
    }
  }
  for (const auto& column : s.columns) {
    for (const auto& cell : column.series) {
      must(cell.cgroup == model::kNoCgroup || cell.cgroup < s.cgroup_count());
      must(std::size_t{cell.text_at} + cell.text_size <= column.text.size());
    }
  }
}

void payload(std::string_view bytes, const std::shared_ptr<const model::Catalogue>& catalogue) {
  auto decoder = record::BlockDecoder::open(std::string(bytes), catalogue);
  if (!decoder) return;
  record::BlockEncoder encoder(catalogue);
  std::vector<std::pair<model::SnapshotPtr, std::string>> all;
  std::size_t values = 0;
  while (all.size() < 20 && values < 1'000'000) {
    auto sample = (*decoder)->next();
    if (!sample) break;
    check(*sample->first, *catalogue);
    for (const auto& column : sample->first->columns) values += column.dense.size() + column.series.size();
    encoder.add(sample->first, sample->second);
    all.push_back(std::move(*sample));
  }
  if (all.empty()) return;
  auto again = record::BlockDecoder::open(encoder.finish(), catalogue);
  must(again.has_value());
  for (const auto& [snapshot, note] : all) {
    const auto sample = (*again)->next();
    must(sample.has_value());
    must(sample->second == note);
    must(sample->first->taken == snapshot->taken && sample->first->cgroup_count() == snapshot->cgroup_count());
    for (std::size_t f = 0; f < snapshot->columns.size(); ++f) {
      must(sample->first->columns[f].dense == snapshot->columns[f].dense);
      must(sample->first->columns[f].series.size() == snapshot->columns[f].series.size());
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto catalogue = collectors::make_catalogue();
  const std::string exact(reinterpret_cast<const char*>(data), size);
  payload(exact, catalogue);
  if (const auto index = record::parse_index(exact)) {
    for (std::size_t i = 0; i < index->moments.size(); ++i) must(index->moments[i].in_block == i);
  }
  (void)record::parse_header(exact);
  return 0;
}
