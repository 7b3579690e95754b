// SPDX-License-Identifier: Apache-2.0
// cgtop reads what the exporter writes at /api/v1 without loss; URLs and gzip of the HTTP client.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "exporter/api.h"
#include "exporter/gzip.h"
#include "src/cgtop/api_reader.h"
#include "src/cgtop/http_client.h"
#include "tests/unit/any_history.h"
#include "tests/unit/cgtop_snapshots.h"

namespace cgwarden::cgtop {
namespace {

using testing::HasSubstr;

std::string api_text(const model::Snapshot& s, const std::optional<model::Host>& host = {}) {
  exporter::Buffer out;
  exporter::write_api_snapshot(s, host, {}, out);
  return std::string(out.view());
}

TEST(ParseApiSnapshot, RestoresEverySnapshotThatTheExporterWrites) {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    test::AnyHistory history(seed);
    for (int i = 0; i < 8; ++i) {
      const auto s = history.next();
      const auto taken = parse_api_snapshot(api_text(*s), test::catalogue());
      ASSERT_TRUE(taken) << taken.error().what;
      const auto& t = *taken->snapshot;
      EXPECT_TRUE(t.taken == s->taken && t.taken_wall == s->taken_wall && t.begun == s->begun);
      ASSERT_EQ(t.cgroup_count(), s->cgroup_count());
      for (std::size_t g = 0; g < s->cgroup_count(); ++g) {
        EXPECT_EQ(t.cgroup_list->cgroups[g]->path, s->cgroup_list->cgroups[g]->path);
        EXPECT_EQ(t.cgroup_list->cgroups[g]->id, s->cgroup_list->cgroups[g]->id);
        EXPECT_EQ(t.cgroup_list->cgroups[g]->created, s->cgroup_list->cgroups[g]->created);
      }
      if (s->cgroup_list) {
        EXPECT_EQ(t.cgroup_list->parents, s->cgroup_list->parents);
      }
      for (std::size_t f = 0; f < s->columns.size(); ++f) {
        const auto& x = s->columns[f];
        const auto& y = t.columns[f];
        EXPECT_EQ(x.dense, y.dense);
        ASSERT_EQ(x.series.size(), y.series.size());
        for (std::size_t c = 0; c < x.series.size(); ++c) {
          EXPECT_EQ(x.series[c].cgroup, y.series[c].cgroup);
          EXPECT_EQ(x.series[c].value, y.series[c].value);
          EXPECT_EQ(x.text_of(x.series[c]), y.text_of(y.series[c]));
        }
      }
    }
  }
}

TEST(ParseApiSnapshot, RestoresContainersAndTheHost) {
  model::Container c;
  c.role = model::Role::sandbox;
  c.name = "web\n\"1\"";
  c.pid = 17;
  c.started = base::Wall(std::chrono::seconds(5));
  c.labels = {{"a", "b"}};
  const auto s = test::SnapshotMaker(1).cgroup(1, "/").container(c).make();
  model::Host host;
  host.name = "db07";
  host.cpus = 16;
  host.load = {1.5, std::nullopt, 0};
  host.psi_io = 0.25;
  host.memory_total = 1LL << 40U;
  const auto taken = parse_api_snapshot(api_text(*s, host), test::catalogue());
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->host, host);
  const auto* const back = taken->snapshot->containers->find(1, "/");
  ASSERT_NE(back, nullptr);
  EXPECT_TRUE(back->role == c.role && back->name == c.name && back->pid == c.pid && back->started == c.started &&
              back->labels == c.labels);
}

TEST(WriteApiSnapshot, WritesValidJsonForAnyByteInACgroupName) {
  for (int byte = 1; byte < 256; ++byte) {
    const auto s = test::SnapshotMaker(1).cgroup(1, "/x" + std::string(1, static_cast<char>(byte)) + "y").make();
    const auto text = api_text(*s);
    EXPECT_FALSE(nlohmann::json::parse(text, nullptr, false).is_discarded()) << byte;
    EXPECT_EQ(parse_api_snapshot(text, test::catalogue())->snapshot->cgroup_list->cgroups[0]->path,
              s->cgroup_list->cgroups[0]->path);
  }
}

TEST(ParseApiSnapshot, RejectsInvalidResponsesAndSkipsInvalidFields) {
  for (const auto* text : {"", "null", "[]", "{}", "{\"api\":2}", "{\"api\":1}",
                           R"({"api":1,"taken_ns":1,"monotonic_ns":1,"ids":[1],"paths":[],"parents":[-1]})",
                           R"({"api":1,"taken_ns":1,"monotonic_ns":1,"ids":[1],"paths":["/"],"parents":[0]})",
                           R"({"api":1,"taken_ns":1,"monotonic_ns":1,"ids":[1],"paths":[7],"parents":[-1]})"}) {
    EXPECT_FALSE(parse_api_snapshot(text, test::catalogue())) << text;
  }
  const auto custom = parse_api_snapshot(
      R"({"api":1,"taken_ns":1,"monotonic_ns":1,"ids":[1],"paths":["/"],"parents":[-1],"containers":[7,{"cgroup":9}],
          "fields":{"cpu_usage":{"kind":"gauge","unit":"seconds","decimals":9,"labels":"","values":[1]},
                    "memory_current":{"kind":"gauge","unit":"bytes","decimals":0,"labels":"","values":[1.5,"max",{},7]},
                    "io_read":{"kind":"counter","unit":"bytes","decimals":0,"labels":"device",
                               "series":[[5,"sda",1],[0,"sda",2],["x"],7]}}})",
      test::catalogue());
  ASSERT_TRUE(custom) << custom.error().what;
  const auto& s = *custom->snapshot;
  EXPECT_TRUE(s.columns[*s.catalogue->find("cpu_usage")].dense.empty()) << "different kind";
  EXPECT_EQ(s.columns[*s.catalogue->find("memory_current")].dense[0], model::Value::absent());
  EXPECT_EQ(s.columns[*s.catalogue->find("io_read")].series.size(), 1U);
}

TEST(IfNoneMatch, DependsOnTheSampleForSnapshotsAndOnTheCgroupsForLists) {
  const auto a = test::SnapshotMaker(1).cgroup(1, "/").make();
  const auto b = test::SnapshotMaker(2).cgroup(1, "/").make();
  EXPECT_NE(exporter::snapshot_tag(*a), exporter::snapshot_tag(*b));
  EXPECT_EQ(exporter::cgroups_tag(*a), exporter::cgroups_tag(*b));
  EXPECT_NE(exporter::cgroups_tag(*a), exporter::cgroups_tag(*test::SnapshotMaker(1).cgroup(2, "/").make()));
  EXPECT_TRUE(exporter::if_none_match_contains("\"x\", W/\"1\" ,\"y\"", "\"1\""));
  EXPECT_TRUE(exporter::if_none_match_contains("*", "\"1\""));
  EXPECT_FALSE(exporter::if_none_match_contains("\"x\",1", "\"1\""));
  EXPECT_FALSE(exporter::if_none_match_contains("", "\"1\""));
}

TEST(ParseUrl, AcceptsAllSupportedFormsAndRejectsOthersWithoutShowingCredentials) {
  const auto parsed = [](const char* text) {
    const auto url = parse_url(text, "10753");
    return url ? url->without_credentials() : "error: " + url.error();
  };
  EXPECT_EQ(parsed("db07"), "http://db07:10753");
  EXPECT_EQ(parsed("db07:80"), "http://db07:80");
  EXPECT_EQ(parsed("http://db07"), "http://db07:80");
  EXPECT_EQ(parsed("https://db07/prefix/"), "https://db07:443/prefix");
  EXPECT_EQ(parsed("https://[fe80::1]:9"), "https://[fe80::1]:9");
  EXPECT_EQ(parsed("unix:/run/x.sock"), "unix:/run/x.sock");
  EXPECT_EQ(parsed("unix:///run/x.sock"), "unix:/run/x.sock");
  EXPECT_EQ(parsed("http://me:se%3Acret@db07"), "http://db07:80") << "passwords are never printed";
  const auto url = parse_url("http://me:se%3Acret@db07", "");
  EXPECT_TRUE(url->user == "me" && url->password == "se:cret" && url->has_user);
  for (const auto* bad : {"", "ftp://x", "http://", "http://a b", "http://a\n", "unix:run", "http://[::1", "http://a:0",
                          "http://a:70000", "http://a:x", "http://a?b", "http://%zz@a", "::1", "http://a\x1b[31m"}) {
    EXPECT_THAT(parsed(bad), HasSubstr("invalid URL")) << bad;
    EXPECT_THAT(parsed(bad), testing::Not(HasSubstr("\x1b")));
  }
}

TEST(Gunzip, RejectsDamagedDataAndDataAboveTheLimit) {
  const std::string text(100'000, 'x');
  exporter::Gzip gzip;
  exporter::Buffer packed;
  ASSERT_TRUE(gzip.compress(text, packed));
  EXPECT_EQ(gunzip(packed.view(), 1U << 20U), text);
  EXPECT_FALSE(gunzip(packed.view(), 50'000));
  EXPECT_FALSE(gunzip(packed.view().substr(0, packed.size() - 9), 1U << 20U));
  EXPECT_FALSE(gunzip("not gzip", 1U << 20U));
  EXPECT_FALSE(gunzip("", 1U << 20U));
}

}  // namespace
}  // namespace cgwarden::cgtop
