// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <cmath>
#include <set>

#include "exporter/metric_families.h"
#include "exporter/self_metrics.h"
#include "exporter/text_writer.h"
#include "tests/unit/exporter_fixture.h"

namespace cgwarden::exporter {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace cgwarden::exporter::testing;  // NOLINT

std::string text_of(const Snapshot& snapshot, Format format = Format::text, const CollectorFilter& only = {}) {
  Buffer out;
  TextWriter writer;
  writer.write(snapshot, format, only, out);
  return std::string(out.view());
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) out.emplace_back(base::take_line(text));
  return out;
}

std::vector<std::string> samples_of(std::string_view text) {
  auto out = lines_of(text);
  std::erase_if(out, [](const std::string& line) { return line.starts_with('#'); });
  std::ranges::sort(out);
  return out;
}

TEST(TextWriter, WritesFamiliesSortedByNameWithHelpAndType) {
  const auto snapshot = Maker({"/", "/a.slice"})
                            .dense(kPids, {Value::of(7), Value::of(42)})
                            .dense(kPidsMax, {Value::absent(), Value::unlimited()})
                            .dense(kCpuUsage, {Value::of(12500000000), Value::of(3)})
                            .share();
  EXPECT_EQ(text_of(*snapshot), R"(# HELP cgroup_cpu_usage_seconds_total CPU time.
# TYPE cgroup_cpu_usage_seconds_total counter
cgroup_cpu_usage_seconds_total{cgroup="/"} 12.5
cgroup_cpu_usage_seconds_total{cgroup="/a.slice"} 0.000000003
# HELP cgroup_pids_current Tasks.
# TYPE cgroup_pids_current gauge
cgroup_pids_current{cgroup="/"} 7
cgroup_pids_current{cgroup="/a.slice"} 42
# HELP cgroup_pids_max Most tasks.
# TYPE cgroup_pids_max gauge
cgroup_pids_max{cgroup="/a.slice"} +Inf
)");
}

TEST(TextWriter, WritesOpenMetricsWithUnitsCreatedAndInfo) {
  const auto snapshot = Maker({"/a"})
                            .dense(kPids, {Value::of(1)})
                            .dense(kCpuUsage, {Value::of(1500000000)})
                            .series(kIoRead, 0, "8:0", Value::of(10))
                            .series(kType, 0, "domain", Value::of(1))
                            .share();
  EXPECT_EQ(text_of(*snapshot, Format::openmetrics), R"(# HELP cgroup_cpu_usage_seconds CPU time.
# TYPE cgroup_cpu_usage_seconds counter
# UNIT cgroup_cpu_usage_seconds seconds
cgroup_cpu_usage_seconds_total{cgroup="/a"} 1.5
cgroup_cpu_usage_seconds_created{cgroup="/a"} 1700000000.25
# HELP cgroup_io_read_bytes Read.
# TYPE cgroup_io_read_bytes counter
# UNIT cgroup_io_read_bytes bytes
cgroup_io_read_bytes_total{cgroup="/a",device="8:0"} 10
cgroup_io_read_bytes_created{cgroup="/a",device="8:0"} 1700000000.25
# HELP cgroup_pids_current Tasks.
# TYPE cgroup_pids_current gauge
cgroup_pids_current{cgroup="/a"} 1
# HELP cgroup_type Type.
# TYPE cgroup_type info
cgroup_type_info{cgroup="/a",type="domain"} 1
)");
}

TEST(TextWriter, WritesTheSameTextInPieces) {
  std::vector<std::string> paths;
  for (int i = 0; i < 8000; ++i) paths.push_back("/a.slice/" + std::to_string(i));
  const std::vector<Value> values(paths.size(), Value::of(7));
  Maker maker(paths);
  maker.dense(kPids, values).dense(kPidsMax, values).dense(kCpuUsage, values).dense(kPressure, values);
  for (model::CgroupIndex cgroup = 0; cgroup < paths.size(); ++cgroup) {
    maker.series(kIoRead, cgroup, "8:0", Value::of(1)).series(kIoRead, cgroup, "8:16", Value::of(2));
  }
  const auto snapshot = maker.share();
  std::string pieces;
  int count = 0;
  Buffer out;
  TextWriter writer;
  writer.write(*snapshot, Format::openmetrics, {}, out, [&](Buffer& full) {
    EXPECT_GE(full.size(), TextWriter::kPiece);
    EXPECT_LT(full.size(), TextWriter::kPiece + 1024);  // however long a family is
    pieces += full.view();
    full.clear();
    ++count;
  });
  pieces += out.view();
  EXPECT_GE(count, 10);
  EXPECT_EQ(pieces, text_of(*snapshot, Format::openmetrics));
}

TEST(TextWriter, OmitsCreatedIfDisabled) {
  const auto snapshot = Maker({"/a"}).dense(kCpuUsage, {Value::of(1)}).share();
  TextWriter::Options options;
  options.created = false;
  Buffer out;
  EXPECT_EQ(TextWriter(options).write(*snapshot, Format::openmetrics, {}, out), 1U);
  EXPECT_THAT(std::string(out.view()), Not(HasSubstr("_created")));
}

TEST(TextWriter, OmitsCreatedForCgroupsWithUnknownCreationTime) {
  Maker maker({"/a"});
  auto cgroup = std::make_shared<Cgroup>();
  cgroup->path = "/a";
  maker.cgroup_list->cgroups[0] = cgroup;
  maker.dense(kCpuUsage, {Value::of(1)});
  EXPECT_THAT(text_of(maker.snapshot, Format::openmetrics), Not(HasSubstr("_created")));
}

TEST(TextWriter, OmitsMissingAndFailedValuesAndEmptyFamilies) {
  const auto snapshot = Maker({"/", "/a"})
                            .dense(kPids, {Value::absent(), Value::of(0)})
                            .dense(kPidsMax, {Value::absent(), Value::error()})
                            .series(kIoRead, 0, "8:0", Value::error())
                            .share();
  EXPECT_EQ(text_of(*snapshot),
            "# HELP cgroup_pids_current Tasks.\n# TYPE cgroup_pids_current gauge\ncgroup_pids_current{cgroup=\"/a\"} "
            "0\n");
}

TEST(TextWriter, WritesFixedPointWithoutTrailingZeros) {
  const std::vector<std::pair<std::int64_t, std::string>> nanos = {
      {0, "0"},
      {1, "0.000000001"},
      {10, "0.00000001"},
      {1000000000, "1"},
      {1200000000, "1.2"},
      {-12500000000, "-12.5"},
      {-1, "-0.000000001"},
      {9223372036854775806, "9223372036.854775806"},
      {100000000000000000, "100000000"},
  };
  for (const auto& [fixed, expected] : nanos) {
    EXPECT_THAT(text_of(Maker({"/"}).dense(kCpuUsage, {Value::of(fixed)}).snapshot),
                HasSubstr("{cgroup=\"/\"} " + expected + "\n"));
  }
  const std::vector<std::pair<std::int64_t, std::string>> ratios = {
      {1, "0.0001"}, {1234, "0.1234"}, {10000, "1"}, {-2500, "-0.25"}};
  for (const auto& [fixed, expected] : ratios) {
    EXPECT_THAT(text_of(Maker({"/"}).dense(kPressure, {Value::of(fixed)}).snapshot),
                HasSubstr("{cgroup=\"/\"} " + expected + "\n"));
  }
  for (const std::int64_t whole :
       {std::int64_t{0}, std::int64_t{-5}, std::int64_t{10}, std::int64_t{9223372036854775806}}) {
    EXPECT_THAT(text_of(Maker({"/"}).dense(kPids, {Value::of(whole)}).snapshot),
                HasSubstr("{cgroup=\"/\"} " + std::to_string(whole) + "\n"));
  }
}

TEST(TextWriter, EscapesHostileNames) {
  const std::vector<std::pair<std::string, std::string>> names = {
      {"/say \"hi\"", R"(/say \"hi\")"},
      {"/back\\slash", R"(/back\\slash)"},
      {"/two\nlines", R"(/two\nlines)"},
      {"/\x1b[31mred", "/\x1b[31mred"},
      {"/-rf", "/-rf"},
      {"/" + std::string(200, 'x'), "/" + std::string(200, 'x')},
      {"/\xc3\xbc", "/\xc3\xbc"},
      {"/\xff", "/\xEF\xBF\xBD#ff"},
      {"/a\xc3/\xfe\"", "/a\xEF\xBF\xBD/\xEF\xBF\xBD\\\"#c3fe"},
      {"/\xEF\xBF\xBD\xEF", "/\xEF\xBF\xBD\xEF\xBF\xBD#ef"},
      {"/}} 1", "/}} 1"},
  };
  for (const auto& [path, label] : names) {
    const auto text = text_of(Maker({path}).dense(kPids, {Value::of(1)}).snapshot);
    EXPECT_THAT(samples_of(text), ElementsAre("cgroup_pids_current{cgroup=\"" + label + "\"} 1"));
    EXPECT_TRUE(base::is_utf8(text));
  }
}

TEST(TextWriter, WritesDifferentLabelsForPathsWithTheSameCleanedText) {
  const auto text = text_of(Maker({"/\xfe", "/\xff"}).dense(kPids, {Value::of(1), Value::of(2)}).snapshot);
  EXPECT_THAT(samples_of(text), ElementsAre("cgroup_pids_current{cgroup=\"/\xEF\xBF\xBD#fe\"} 1",
                                            "cgroup_pids_current{cgroup=\"/\xEF\xBF\xBD#ff\"} 2"));
}

TEST(TextWriter, AddsTheCgroupIdIfLabelsAreNotUnique) {
  TextWriter::Options options;
  options.labels = [](const Cgroup&, std::string& out) { out += "name=\"same\""; };
  Buffer out;
  const auto snapshot = Maker({"/a", "/b"}).dense(kPids, {Value::of(1), Value::of(2)}).share();
  EXPECT_EQ(TextWriter(options).write(*snapshot, Format::text, {}, out), 2U);
  EXPECT_THAT(samples_of(out.view()), ElementsAre("cgroup_pids_current{name=\"same\",cgroup_id=\"102\"} 2",
                                                  "cgroup_pids_current{name=\"same\"} 1"));
}

TEST(TextWriter, CachesLabelsUntilTheCgroupListChangesOrResetLabels) {
  int label_calls = 0;
  TextWriter::Options options;
  options.labels = [&](const Cgroup& cgroup, std::string& out) {
    ++label_calls;
    path_label(cgroup, out);
    out += ",pod=\"p" + std::to_string(label_calls) + "\"";
  };
  TextWriter writer(options);
  const auto snapshot = Maker({"/a"}).dense(kPids, {Value::of(1)}).share();
  Buffer out;
  writer.write(*snapshot, Format::text, {}, out);
  writer.write(*snapshot, Format::openmetrics, {}, out);
  EXPECT_EQ(label_calls, 1);
  writer.reset_labels();
  out.clear();
  writer.write(*snapshot, Format::text, {}, out);
  EXPECT_THAT(samples_of(out.view()), ElementsAre("cgroup_pids_current{cgroup=\"/a\",pod=\"p2\"} 1"));
  out.clear();
  writer.write(Maker({"/b", "/c"}).dense(kPids, {Value::of(1), Value::of(2)}).snapshot, Format::text, {}, out);
  EXPECT_EQ(label_calls, 4);
  EXPECT_EQ(samples_of(out.view()).size(), 2U);
}

TEST(TextWriter, SplitsAndEscapesLabelsOfSeries) {
  using std::string_view_literals::operator""sv;
  const auto snapshot = Maker({"/a"})
                            .series(kIoCost, 0, "8:0\0read"sv, Value::of(1))
                            .series(kIoCost, 0, "8:0\0write"sv, Value::of(2))
                            .series(kIoCost, 0, "q\"\0\xff"sv, Value::of(3))
                            .series(kIoCost, 0, "\0"sv, Value::of(4))
                            .series(kIoCost, 0, "one value"sv, Value::of(5))
                            .series(kIoCost, 0, "three\0values\0here"sv, Value::of(6))
                            .share();
  EXPECT_THAT(samples_of(text_of(*snapshot)),
              ElementsAre(R"(cgroup_io_cost{cgroup="/a",device="",operation=""} 4)",
                          R"(cgroup_io_cost{cgroup="/a",device="8:0",operation="read"} 1)",
                          R"(cgroup_io_cost{cgroup="/a",device="8:0",operation="write"} 2)",
                          "cgroup_io_cost{cgroup=\"/a\",device=\"q\\\"\",operation=\"\xEF\xBF\xBD\"} 3"));
}

TEST(TextWriter, OmitsDuplicateSeries) {
  Maker maker({"/a", "/b"});
  for (const CgroupIndex cgroup : {0U, 1U}) {
    for (const auto* device : {"8:0", "253:7", "8:16", "8:0", "1:1", "253:7", "8:16", "1:1", "\xff", "\xfe", "7:7"}) {
      maker.series(kIoRead, cgroup, device,
                   Value::of(static_cast<std::int64_t>(maker.snapshot.columns[kIoRead].text.size())));
    }
  }
  const auto samples = samples_of(text_of(maker.snapshot));
  std::set<std::string> series;
  for (const auto& sample : samples) series.insert(sample.substr(0, sample.rfind(' ')));
  EXPECT_EQ(series.size(), samples.size());
  EXPECT_EQ(samples.size(), 12U);
  EXPECT_THAT(text_of(maker.snapshot), HasSubstr("{cgroup=\"/a\",device=\"8:0\"} 0\n"));  // the first of them
}

TEST(TextWriter, WritesSeriesWithoutCgroupWithTheirLabelsOnly) {
  const auto snapshot = Maker({"/"})
                            .series(kIoRead, 0, "vda", Value::of(1))
                            .series(kIoRead, model::kNoCgroup, "vda", Value::of(2))
                            .series(kIoRead, model::kNoCgroup, "vdb", Value::of(3))
                            .series(kIoRead, model::kNoCgroup, "vda", Value::of(4))
                            .series(kIoCost, model::kNoCgroup, std::string_view("\"a\0b", 4), Value::of(5))
                            .share();
  EXPECT_THAT(samples_of(text_of(*snapshot)), ElementsAre("cgroup_io_cost{device=\"\\\"a\",operation=\"b\"} 5",
                                                          "cgroup_io_read_bytes_total{cgroup=\"/\",device=\"vda\"} 1",
                                                          "cgroup_io_read_bytes_total{device=\"vda\"} 2",
                                                          "cgroup_io_read_bytes_total{device=\"vdb\"} 3"));
  EXPECT_THAT(text_of(*snapshot, Format::openmetrics), Not(HasSubstr("created{device")));
}

TEST(TextWriter, OmitsSeriesOfUnknownCgroups) {
  EXPECT_EQ(text_of(Maker({"/a"}).series(kIoRead, 7, "8:0", Value::of(1)).snapshot), "");
}

TEST(TextWriter, WritesOnlySelectedCollectors) {
  const auto snapshot = Maker({"/"}).dense(kPids, {Value::of(1)}).dense(kPressure, {Value::of(1)}).share();
  EXPECT_THAT(samples_of(text_of(*snapshot, Format::text, {false, true})),
              ElementsAre("cgroup_pressure_ratio{cgroup=\"/\"} 0.0001"));
  EXPECT_THAT(samples_of(text_of(*snapshot, Format::text, {true, false})),
              ElementsAre("cgroup_pids_current{cgroup=\"/\"} 1"));
}

TEST(TextWriter, RendersAnEmptySnapshot) {
  EXPECT_EQ(render_once(Snapshot{}, Format::text), "");
  EXPECT_EQ(render_once(Maker({}).snapshot, Format::openmetrics), "# EOF\n");
}

// The reference: the same snapshot as families, written by the serializer of prometheus-cpp.

double as_double(Value value, int decimals) {
  return value.is_unlimited() ? HUGE_VAL : static_cast<double>(value.fixed()) / std::pow(10.0, decimals);
}

std::vector<prometheus::MetricFamily> as_families(const Snapshot& snapshot) {
  std::vector<prometheus::MetricFamily> out;
  for (const auto id : snapshot.catalogue->by_metric_name()) {
    const auto& field = snapshot.catalogue->field(id);
    prometheus::MetricFamily family;
    family.name = model::metric_name(field);
    family.help = field.help;
    family.type =
        field.kind == model::MetricKind::counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
    const auto add = [&](CgroupIndex cgroup, std::string_view text, Value value) {
      if (!value.has_value()) return;
      prometheus::ClientMetric metric;
      metric.label.push_back({"cgroup", snapshot.cgroup_list->cgroups[cgroup]->path});
      auto names = field.labels;
      while (!names.empty()) {
        const std::string name(base::take_until(names, ','));
        metric.label.push_back({name, std::string(base::take_until(text, '\0'))});
      }
      const double number = field.kind == model::MetricKind::info ? 1 : as_double(value, model::decimals(field.unit));
      metric.gauge.value = metric.counter.value = number;
      family.metric.push_back(metric);
    };
    for (CgroupIndex g = 0; g < snapshot.columns[id].dense.size(); ++g) add(g, "", snapshot.columns[id].dense[g]);
    for (const auto& cell : snapshot.columns[id].series)
      add(cell.cgroup, snapshot.columns[id].text_of(cell), cell.value);
    if (!family.metric.empty()) out.push_back(std::move(family));
  }
  return out;
}

// `exact`: only multiples of 1/16, which a double represents exactly with few digits: both writers must produce the
// same bytes.
Snapshot random_snapshot(std::mt19937& random, bool exact) {
  const auto below = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); };
  const auto word = [&] {
    static const std::vector<std::string> pieces = {"a", "slice", "\"", "\\", "\n", "\xc3\xbc",
                                                    " ", "{",     "}",  "-",  ","};
    std::string out;
    for (std::size_t n = below(6); n-- > 0;) out += pieces[below(pieces.size())];
    return out;
  };
  std::vector<std::string> paths;
  for (std::size_t n = below(20); n-- > 0;) paths.push_back("/" + std::to_string(paths.size()) + word());
  Maker maker(paths);
  const auto value = [&](model::Unit unit) {
    switch (below(6)) {
      case 0:
        return Value::absent();
      case 1:
        return Value::unlimited();
      case 2:
        return Value::error();
      default:
        break;
    }
    if (!exact) return Value::of(static_cast<std::int64_t>(random()) << below(31));
    const auto steps = static_cast<std::int64_t>(below(1000000)) - 1000;
    return Value::of(unit == model::Unit::seconds ? steps * 125000000
                     : unit == model::Unit::ratio ? steps * 625
                                                  : steps);
  };
  for (FieldId id = 0; id < maker.snapshot.columns.size(); ++id) {
    const auto& field = maker.snapshot.catalogue->field(id);
    std::vector<Value> dense;
    for (CgroupIndex g = 0; g < paths.size(); ++g) {
      if (!field.labelled()) {
        dense.push_back(value(field.unit));
        continue;
      }
      for (std::size_t n = below(4); n-- > 0;) {
        auto text = std::to_string(n) + word();
        if (field.labels.find(',') != std::string_view::npos) text += '\0' + word();
        maker.series(id, g, text, value(field.unit));
      }
    }
    maker.dense(id, dense);
  }
  return maker.snapshot;
}

TEST(TextWriter, WritesTheSameBytesAsPrometheusCpp) {
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    const auto snapshot = random_snapshot(random, true);
    ASSERT_EQ(text_of(snapshot), prometheus::TextSerializer().Serialize(as_families(snapshot)));
  }
}

TEST(TextWriter, WritesTheSameSamplesAsPrometheusCpp) {
  std::mt19937 random(2);
  for (int i = 0; i < 200; ++i) {
    const auto snapshot = random_snapshot(random, false);
    const auto ours = samples_of(text_of(snapshot));
    const auto theirs = samples_of(prometheus::TextSerializer().Serialize(as_families(snapshot)));
    ASSERT_EQ(ours.size(), theirs.size());
    for (std::size_t line = 0; line < ours.size(); ++line) {
      const auto split = [](const std::string& s) {
        return std::pair(s.substr(0, s.rfind(' ')), s.substr(s.rfind(' ')));
      };
      const auto [series, number] = split(ours[line]);
      const auto [their_series, their_number] = split(theirs[line]);
      ASSERT_EQ(series, their_series);
      ASSERT_DOUBLE_EQ(std::stod(number), std::stod(their_number)) << series;
    }
  }
}

TEST(AppendFamilies, WritesTheSameTextAsPrometheusCpp) {
  SelfMetrics metrics;
  metrics.count_request("/metrics", 200, 1234);
  metrics.count_request("other", 404, 10);
  metrics.observe_scrape(std::chrono::milliseconds(5));
  const auto snapshot = small_snapshot();
  metrics.observe_snapshot(*snapshot);
  const auto families = metrics.collect(*snapshot, 2);
  std::string ours;
  append_families(families, Format::text, ours);
  EXPECT_EQ(samples_of(ours).size(), samples_of(prometheus::TextSerializer().Serialize(families)).size());
  const auto series_of = [](std::string_view text) {
    auto out = samples_of(text);
    for (auto& line : out) line.resize(line.rfind(' '));
    return out;
  };
  EXPECT_EQ(series_of(ours), series_of(prometheus::TextSerializer().Serialize(families)));
}

std::vector<prometheus::MetricFamily> odd_families() {
  prometheus::MetricFamily histogram{
      "x_seconds", "Back\\slash, \"quote\"\nand line.", prometheus::MetricType::Histogram, {}};
  prometheus::ClientMetric h;
  h.label = {{"l", "\"\\\n\xff"}};
  h.histogram = {3, 1.5, {{1, 0.5}, {2, 1}, {3, HUGE_VAL}}};
  histogram.metric.push_back(h);
  prometheus::MetricFamily counter{"b_total", "Counts.", prometheus::MetricType::Counter, {}};
  prometheus::ClientMetric c;
  c.counter.value = 7;
  c.label = {{"z", "2"}};
  counter.metric.push_back(c);
  c.label = {{"z", "1"}};
  c.counter.value = std::nan("");
  counter.metric.push_back(c);
  prometheus::MetricFamily untyped{"u", "", prometheus::MetricType::Untyped, {}};
  prometheus::ClientMetric u;
  u.untyped.value = -HUGE_VAL;
  u.timestamp_ms = 1500;
  untyped.metric.push_back(u);
  prometheus::MetricFamily summary{"s", "S.", prometheus::MetricType::Summary, {}};
  prometheus::ClientMetric s;
  s.summary = {2, 0.25, {{0.5, 0.1}, {1, 0.2}}};
  summary.metric.push_back(s);
  return {histogram, counter, untyped, summary, {"nothing", "No series.", prometheus::MetricType::Gauge, {}}};
}

TEST(AppendFamilies, SortsFamiliesAndSeries) {
  std::string out;
  append_families(odd_families(), Format::text, out);
  EXPECT_EQ(out,
            "# HELP b_total Counts.\n# TYPE b_total counter\nb_total{z=\"1\"} NaN\nb_total{z=\"2\"} 7\n"
            "# HELP s S.\n# TYPE s summary\ns{quantile=\"0.5\"} 0.1\ns{quantile=\"1\"} 0.2\ns_sum 0.25\ns_count 2\n"
            "# TYPE u untyped\nu -Inf 1500\n"
            "# HELP x_seconds Back\\\\slash, \"quote\"\\nand line.\n# TYPE x_seconds histogram\n"
            "x_seconds_bucket{l=\"\\\"\\\\\\n\xEF\xBF\xBD\",le=\"0.5\"} 1\n"
            "x_seconds_bucket{l=\"\\\"\\\\\\n\xEF\xBF\xBD\",le=\"1\"} 2\n"
            "x_seconds_bucket{l=\"\\\"\\\\\\n\xEF\xBF\xBD\",le=\"+Inf\"} 3\n"
            "x_seconds_sum{l=\"\\\"\\\\\\n\xEF\xBF\xBD\"} 1.5\nx_seconds_count{l=\"\\\"\\\\\\n\xEF\xBF\xBD\"} 3\n");
}

TEST(AppendFamilies, WritesOpenMetrics) {
  std::string out;
  append_families(odd_families(), Format::openmetrics, out);
  EXPECT_THAT(out, HasSubstr("# HELP b Counts.\n# TYPE b counter\nb_total{z=\"1\"} NaN\nb_total{z=\"2\"} 7\n"));
  EXPECT_THAT(out, HasSubstr("s{quantile=\"1.0\"} 0.2\n"));
  EXPECT_THAT(out, HasSubstr("# TYPE u unknown\nu -Inf 1.5\n"));
  EXPECT_THAT(out, HasSubstr("# HELP x_seconds Back\\\\slash, \\\"quote\\\"\\nand line.\n"));
  EXPECT_THAT(out, HasSubstr(",le=\"1.0\"} 2\n"));
  EXPECT_THAT(out, HasSubstr(",le=\"+Inf\"} 3\n"));
}

TEST(SelfMetrics, ExportsCollectorsTreeAndProcess) {
  Maker maker({"/", "/a"});
  maker.snapshot.collectors[0] = {true, std::chrono::milliseconds(2), 0, 11, 22, 33, 44};
  maker.snapshot.collectors[1] = {false, {}, 1, 1, 1, 1, 1};
  maker.snapshot.tree = {5, 4, 3, 2, 9, 8, 7, true};
  SelfMetrics metrics;
  metrics.observe_snapshot(maker.snapshot);
  metrics.observe_snapshot(maker.snapshot);
  std::string out;
  append_families(metrics.collect(maker.snapshot, 123), Format::text, out);
  for (const auto* line :
       {"cgwarden_collector_duration_seconds{collector=\"first\"} 0.002",
        "cgwarden_collector_success{collector=\"first\"} 1", "cgwarden_collector_reads_total{collector=\"first\"} 11",
        "cgwarden_collector_read_bytes_total{collector=\"first\"} 22",
        "cgwarden_collector_errors_total{collector=\"first\"} 33",
        "cgwarden_collector_unknown_keys_total{collector=\"first\"} 44", "cgwarden_cgroups 2", "cgwarden_series 123",
        "cgwarden_cgroups_created_total 5", "cgwarden_cgroups_removed_total 4", "cgwarden_tree_walks_total 3",
        "cgwarden_inotify_overflows_total 2", "cgwarden_inotify_watches 9", "cgwarden_cgroups_dropped 8",
        "cgwarden_open_files 7", "cgwarden_inotify_active 1", "cgwarden_collection_duration_seconds_count 1",
        "cgwarden_hierarchy_info{version=\"2\",controllers=\"cpu io memory pids\",mount_point=\"/sys/fs/cgroup\"} 1"}) {
    EXPECT_THAT(out, HasSubstr(std::string(line) + "\n"));
  }
  EXPECT_THAT(out, Not(HasSubstr("collector=\"second\"")));
  for (const auto* name :
       {"process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_virtual_memory_bytes ",
        "process_open_fds ", "process_max_fds ", "process_start_time_seconds ", "process_threads "}) {
    EXPECT_THAT(out, HasSubstr("\n" + std::string(name)));
  }
  EXPECT_THAT(out, HasSubstr("cgwarden_build_info{compiler=\""));
}

}  // namespace
}  // namespace cgwarden::exporter
