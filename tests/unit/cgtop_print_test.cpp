// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "src/cgtop/options.h"
#include "src/cgtop/print.h"
#include "src/cgtop/select.h"
#include "tests/unit/cgtop_snapshots.h"

namespace cgwarden::cgtop {
namespace {

using model::Value;
using test::columns;
using test::SnapshotMaker;
using testing::HasSubstr;

constexpr const char* kHostile = "/esc\x1b[31m\xff,\"'\xe2\x80\xae\xc2\x9b";

Table two_cgroups() {
  const auto make = [](double at, std::int64_t cpu) {
    SnapshotMaker m(at);
    m.cgroup(1, "/").set("cpu_usage", cpu).set("memory_current", 4096).set("memory_max", Value::unlimited());
    m.series("io_read", "8:0", Value::of(100)).series("io_read", "8:16", Value::of(7));
    m.cgroup(2, kHostile).set("memory_current", Value::error());
    return m.make();
  };
  return {columns(), make(0, 0), make(2, 500'000'000)};
}

std::string print(Format format, const std::string& fields, bool header = true) {
  PrintOptions o;
  o.format = format;
  o.columns = *columns().require_list(fields);
  o.header = header;
  const auto table = two_cgroups();
  View view;
  view.tree = false;
  view.sort = *columns().find("path");
  view.descending = false;
  Host host;
  host.name = "db07";
  return Printer(columns(), o).print(table, arrange(table, view).rows, host);
}

bool is_printable_ascii(const std::string& text) {
  return std::ranges::all_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte >= 0x20 && byte < 0x7F) || c == '\n' || c == '\r' || c == '\t';
  });
}

TEST(Printer, PrintsJsonNumbersInBaseUnitsAndNullForMissingValues) {
  const auto json = nlohmann::json::parse(print(Format::json, "cpu,memory,memory_max,io_read"));
  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["time"], "2027-01-15T08:00:02.000Z");
  EXPECT_EQ(json["interval_s"], 2.0);
  EXPECT_EQ(json["host"]["name"], "db07");
  const auto& root = json["cgroups"][0];
  EXPECT_EQ(root["cpu"], 0.25);
  EXPECT_EQ(root["memory"], 4096);
  EXPECT_EQ(root["memory_max"], "max");
  EXPECT_EQ(root["io_read"]["8:16"], 7);
  EXPECT_TRUE(root["path_base64"].is_null());
  const auto& other = json["cgroups"][1];
  EXPECT_TRUE(other["memory"].is_null());
  EXPECT_TRUE(other["cpu"].is_null());
  EXPECT_EQ(other["parent_id"], 1);
  EXPECT_EQ(other["path_base64"], base64(kHostile));
}

TEST(Printer, PrintsOneJsonLineForEachCgroup) {
  const auto text = print(Format::jsonl, "memory");
  EXPECT_EQ(std::ranges::count(text, '\n'), 2);
  EXPECT_EQ(nlohmann::json::parse(text.substr(0, text.find('\n')))["memory"], 4096);
}

TEST(Printer, QuotesCsvAsInRfc4180) {
  EXPECT_EQ(print(Format::csv, "cpu,memory_max"),
            "time,path,cpu,memory_max\r\n"
            "2027-01-15T08:00:02.000Z,/,0.25,max\r\n"
            "2027-01-15T08:00:02.000Z,\"/esc\\x1b[31m\\xff,\"\"'\\xe2\\x80\\xae\\xc2\\x9b\",,\r\n");
  EXPECT_EQ(print(Format::tsv, "memory", false).substr(0, 31), "2027-01-15T08:00:02.000Z\t/\t4096");
}

TEST(Printer, QuotesKeyValuePairsForAShell) {
  EXPECT_EQ(
      print(Format::kv, "memory,io_read"),
      "time=2027-01-15T08:00:02.000Z path=/ memory=4096 io_read='8:0=100 8:16=7'\n"
      "time=2027-01-15T08:00:02.000Z path='/esc\\x1b[31m\\xff,\"'\\''\\xe2\\x80\\xae\\xc2\\x9b' memory= io_read=\n");
}

TEST(Printer, AlignsTheColumnsOfTables) {
  EXPECT_EQ(print(Format::table, "cpu,memory,memory_max"),
            "PATH                                     CPU%   MEM  MAX\n"
            "/                                        25.0  4.0K  max\n"
            "/esc\\x1b[31m\\xff,\"'\\xe2\\x80\\xae\\xc2\\x9b     -   err    -\n");
}

TEST(Printer, PrintsTheMetricsOfTheExporterInFormatProm) {
  const auto text = print(Format::prom, "memory_current");
  EXPECT_THAT(text, HasSubstr("cgroup_memory_current_bytes{cgroup=\"/\"} 4096\n"));
  EXPECT_EQ(text.find("cpu_usage"), std::string::npos);
}

TEST(Printer, EscapesControlCharactersInAllFormats) {
  for (const auto format : {Format::table, Format::json, Format::jsonl, Format::csv, Format::tsv, Format::kv}) {
    EXPECT_TRUE(is_printable_ascii(print(format, "name,memory"))) << static_cast<int>(format);
  }
  EXPECT_TRUE(is_printable_ascii(print_cgroup(two_cgroups(), 1, Units::iec)));
  Processes processes;
  processes.all.push_back({});
  processes.all.back().command = kHostile;
  processes.all.back().user = kHostile;
  for (const auto format : {Format::table, Format::json, Format::csv, Format::kv}) {
    EXPECT_TRUE(is_printable_ascii(print_processes(processes, format, true, Units::iec, kHostile)));
  }
}

TEST(PrintCgroup, ListsAllFieldsByCollector) {
  const auto text = print_cgroup(two_cgroups(), 0, Units::iec);
  EXPECT_THAT(text, HasSubstr("memory\n  memory_current"));
  EXPECT_THAT(text, HasSubstr("8:0=100 8:16=7"));
}

TEST(CgroupsNamed, FindsCgroupsByPathNameAndPrefix) {
  const auto s = SnapshotMaker()
                     .cgroup(1, "/")
                     .cgroup(2, "/a.slice")
                     .cgroup(3, "/a.slice/ssh.service")
                     .cgroup(4, "/b.slice")
                     .cgroup(5, "/b.slice/ssh.service")
                     .cgroup(6, "/b.slice/web-frontend.service")
                     .make();
  using testing::ElementsAre;
  EXPECT_THAT(cgroups_named(*s, "/a.slice/ssh.service"), ElementsAre(2));
  EXPECT_THAT(cgroups_named(*s, "a.slice/ssh.service/"), ElementsAre(2));
  EXPECT_THAT(cgroups_named(*s, "ssh.service"), ElementsAre(2, 4));
  EXPECT_THAT(cgroups_named(*s, "ssh"), ElementsAre(2, 4));
  EXPECT_THAT(cgroups_named(*s, "web-f"), ElementsAre(5));
  EXPECT_THAT(cgroups_named(*s, "web"), testing::IsEmpty());
  EXPECT_THAT(cgroups_named(*s, "/"), ElementsAre(0));
  EXPECT_THAT(cgroups_named(*s, ""), ElementsAre(0));
}

TEST(Subset, KeepsTheSeriesOfTheSelectedCgroups) {
  const auto table = two_cgroups();
  const auto one = subset(table.now(), {0}, {});
  EXPECT_EQ(one->cgroup_count(), 1U);
  EXPECT_EQ(model::series_of(one->columns[*test::catalogue()->find("io_read")], 0).size(), 2U);
  EXPECT_EQ(one->value(*test::catalogue()->find("memory_current"), 0), Value::of(4096));
}

TEST(ParseDuration, AcceptsNumbersWithUnitsAndRejectsOtherText) {
  using std::chrono::milliseconds;
  EXPECT_EQ(parse_duration("2"), milliseconds(2000));
  EXPECT_EQ(parse_duration("500ms"), milliseconds(500));
  EXPECT_EQ(parse_duration("1m30s"), milliseconds(90'000));
  EXPECT_EQ(parse_duration("0.5s"), milliseconds(500));
  for (const auto* const invalid : {"", "x", "5x", "-1", "1e99", "ms"})
    EXPECT_FALSE(parse_duration(invalid)) << invalid;
}

TEST(FillCpuUse, IgnoresNewProcessesAndReusedPids) {
  Processes before;
  Processes now;
  before.at = 10;
  now.at = 12;
  for (const int pid : {1, 2, 3}) {
    Process p;
    p.pid = pid;
    p.cpu_seconds = 5;
    p.started = 1;
    if (pid != 3) before.all.push_back(p);
    p.cpu_seconds = 6;
    if (pid == 2) p.started = 11;  // the PID was reused
    now.all.push_back(p);
  }
  fill_cpu_use(before, now);
  EXPECT_EQ(now.all[0].cpu, 0.5);
  EXPECT_FALSE(now.all[1].cpu);
  EXPECT_FALSE(now.all[2].cpu);
}

}  // namespace
}  // namespace cgwarden::cgtop
