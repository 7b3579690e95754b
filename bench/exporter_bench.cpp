// SPDX-License-Identifier: Apache-2.0
// Cost of a scrape after the collection: writing the exposition and compressing it, in nanoseconds per series. The
// snapshot has 1,000 cgroups with 45 unlabeled fields and two fields with three devices each; paths have 60 to 70
// bytes.
#include <benchmark/benchmark.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "exporter/gzip.h"
#include "exporter/metric_families.h"
#include "exporter/self_metrics.h"
#include "exporter/text_writer.h"

namespace cgwarden::exporter {
namespace {

using model::Field;
using model::Snapshot;
using model::Value;

constexpr std::size_t kCgroups = 1000;

std::shared_ptr<const model::Catalogue> make_catalogue() {
  static std::deque<std::string> names;
  static std::vector<Field> rows;
  if (rows.empty()) {
    for (int i = 0; i < 45; ++i) {
      names.push_back("memory_some_field_" + std::to_string(i));
      Field field;
      field.name = names.back();
      field.help = "Bytes.";
      field.unit = i % 3 == 0 ? model::Unit::seconds : model::Unit::bytes;
      field.kind = i % 3 == 0 ? model::MetricKind::counter : model::MetricKind::gauge;
      rows.push_back(field);
    }
    for (const auto* name : {"io_read", "io_write"}) {
      Field field;
      field.name = name;
      field.help = "Bytes.";
      field.unit = model::Unit::bytes;
      field.kind = model::MetricKind::counter;
      field.labels = "device";
      rows.push_back(field);
    }
  }
  const model::CollectorInfo collectors[] = {{"all", "All.", true, rows}};
  return std::make_shared<model::Catalogue>(collectors);
}

const Snapshot& snapshot() {
  static const Snapshot made = [] {
    Snapshot out;
    out.catalogue = make_catalogue();
    auto cgroup_list = std::make_shared<model::CgroupList>();
    for (std::size_t i = 0; i < kCgroups; ++i) {
      auto cgroup = std::make_shared<model::Cgroup>();
      cgroup->id = i;
      cgroup->path = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + std::to_string(i) + ".slice";
      cgroup->created = base::Wall(std::chrono::milliseconds(1700000000123));
      cgroup_list->cgroups.push_back(cgroup);
      cgroup_list->parents.push_back(model::kNoCgroup);
    }
    out.cgroup_list = cgroup_list;
    out.columns.resize(out.catalogue->size());
    std::uint64_t random = 1;
    const auto next = [&](int bits) {
      random = random * 6364136223846793005U + 1442695040888963407U;
      return static_cast<std::int64_t>(random >> (64 - bits));
    };
    for (std::size_t id = 0; id < out.columns.size(); ++id) {
      auto& column = out.columns[id];
      const auto& field = out.catalogue->field(static_cast<model::FieldId>(id));
      for (std::size_t g = 0; g < kCgroups; ++g) {
        if (!field.labelled()) {
          // CPU times are in microseconds, memory in pages.
          column.dense.push_back(field.unit == model::Unit::seconds ? Value::of(next(40) * 1000)
                                                                    : Value::of(next(18) * 4096));
          continue;
        }
        for (const auto* device : {"254:16", "254:0", "259:0"}) {
          const auto at = static_cast<std::uint32_t>(column.text.size());
          column.text += device;
          column.series.push_back({static_cast<model::CgroupIndex>(g), at,
                                   static_cast<std::uint16_t>(column.text.size() - at), Value::of(next(34))});
        }
      }
    }
    return out;
  }();
  return made;
}

void per_series(benchmark::State& state, std::size_t series, std::size_t bytes) {
  state.counters["time/series"] = benchmark::Counter(
      static_cast<double>(series), benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
  state.counters["series"] = static_cast<double>(series);
  state.counters["bytes/series"] = static_cast<double>(bytes) / static_cast<double>(series);
}

void BM_Write(benchmark::State& state) {
  TextWriter writer;
  Buffer out;
  std::size_t series = 0;
  const auto format = static_cast<Format>(state.range(0));
  for (auto _ : state) {
    out.clear();
    series = writer.write(snapshot(), format, {}, out);
    benchmark::DoNotOptimize(out.view().data());
  }
  per_series(state, series, out.size());
}
BENCHMARK(BM_Write)->Arg(0)->Arg(1)->ArgName("openmetrics");

// A scrape after a cgroup was created or removed.
void BM_WriteAfterCgroupListChanged(benchmark::State& state) {
  TextWriter writer;
  Buffer out;
  std::size_t series = 0;
  for (auto _ : state) {
    out.clear();
    writer.reset_labels();
    series = writer.write(snapshot(), Format::text, {}, out);
    benchmark::DoNotOptimize(out.view().data());
  }
  per_series(state, series, out.size());
}
BENCHMARK(BM_WriteAfterCgroupListChanged);

void BM_Gzip(benchmark::State& state) {
  TextWriter writer;
  Buffer out;
  Buffer packed;
  Gzip gzip;
  const auto series = writer.write(snapshot(), static_cast<Format>(state.range(0)), {}, out);
  for (auto _ : state) {
    if (!gzip.compress(out.view(), packed)) state.SkipWithError("gzip failed");
    benchmark::DoNotOptimize(packed.view().data());
  }
  per_series(state, series, packed.size());
}
BENCHMARK(BM_Gzip)->Arg(0)->Arg(1)->ArgName("openmetrics");

// The metrics of the agent itself, written once per scrape.
void BM_SelfMetrics(benchmark::State& state) {
  SelfMetrics metrics;
  std::string out;
  for (auto _ : state) {
    out.clear();
    append_families(metrics.collect(snapshot(), 1), Format::text, out);
    benchmark::DoNotOptimize(out.data());
  }
}
BENCHMARK(BM_SelfMetrics);

}  // namespace
}  // namespace cgwarden::exporter

BENCHMARK_MAIN();
