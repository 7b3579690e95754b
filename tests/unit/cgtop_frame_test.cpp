// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/cgtop/format.h"
#include "src/cgtop/frame.h"
#include "src/cgtop/select.h"
#include "tests/unit/cgtop_snapshots.h"

namespace cgwarden::cgtop {
namespace {

using model::Value;
using test::columns;
using test::SnapshotMaker;
using testing::ElementsAre;

ColumnId id(std::string_view name) { return *columns().find(name); }

// Two samples, one second apart, of "/" with /a (active, two children), /b.slice and /c.
Table small_host() {
  const auto make = [](double at, std::int64_t a, std::int64_t x, std::int64_t y) {
    SnapshotMaker m(at);
    m.cgroup(1, "/").set("memory_current", 1000).set("pids_current", 9);
    m.cgroup(2, "/a").set("cpu_usage", a).set("memory_current", 800).set("memory_max", 1000).set("cpu_periods", 100);
    m.set("cpu_throttled_periods", 10).set("cpu_quota", 50'000'000).set("cpu_period", 100'000'000);
    m.series("io_read", "8:0", Value::of(at > 0 ? 500 : 100)).series("io_read", "8:16", Value::of(7));
    m.cgroup(3, "/a/x").set("cpu_usage", x).set("memory_current", 100).set("memory_max", Value::unlimited());
    m.cgroup(4, "/a/y").set("cpu_usage", y).set("memory_inactive_file", 40).set("memory_current", 700);
    m.cgroup(5, "/b.slice").set("cpu_usage", 7).set("frozen", 1).set("pids_current", 3);
    m.cgroup(6, "/c").set("memory_current", Value::error());
    return m.make();
  };
  return {columns(), make(0, 1'000'000'000, 0, 0), make(1, 1'750'000'000, 250'000'000, 500'000'000)};
}

std::vector<std::string> paths(const Table& table, const View& view) {
  std::vector<std::string> out;
  for (const auto& row : arrange(table, view).rows) {
    auto path = table.cgroup(row.cgroup).path;
    out.push_back((row.dimmed ? "~" : "") + path + (row.folded ? "+" : ""));
  }
  return out;
}

View view(std::string_view sort, bool descending = true) {
  View v;
  v.sort = id(sort);
  v.descending = descending;
  return v;
}

Filter filter(std::string_view text) {
  const auto parsed = Filter::parse(text, columns());
  EXPECT_TRUE(parsed) << text;
  return parsed ? *parsed : Filter();
}

TEST(Columns, ContainEachCatalogueFieldAndARateForEachCounter) {
  for (std::size_t f = 0; f < test::catalogue()->size(); ++f) {
    const auto& field = test::catalogue()->field(static_cast<model::FieldId>(f));
    ASSERT_TRUE(columns().find(field.name)) << field.name;
    if (field.kind == model::MetricKind::counter) {
      EXPECT_TRUE(columns().find(std::string(field.name) + "_rate")) << field.name;
    }
  }
}

TEST(ColumnSets, NameOnlyExistingColumns) {
  for (const auto& set : kColumnSets) {
    const auto list = columns().require_list(set.columns);
    EXPECT_TRUE(list) << set.name << ": " << list.error().what;
  }
}

TEST(ColumnSets, HaveUniqueTitlesWithinASet) {
  for (const auto& set : kColumnSets) {
    const auto list = columns().require_list(set.columns);
    ASSERT_TRUE(list) << set.name;
    std::vector<std::string> titles;
    for (const auto id : *list) titles.push_back(columns()[id].title);
    std::ranges::sort(titles);
    const auto twice = std::ranges::adjacent_find(titles);
    EXPECT_TRUE(twice == titles.end()) << set.name << ": " << *twice;
  }
}

TEST(Columns, SuggestTheMostSimilarNameWhenTheNameIsUnknown) {
  const auto wrong = columns().require("memory_anno");
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().what, testing::HasSubstr("did you mean 'memory_anon'?"));
  EXPECT_FALSE(columns().require_list(""));
}

TEST(Table, ComputesColumnsFromSeveralFields) {
  const auto t = small_host();
  const auto shown = [&](std::string_view column, model::CgroupIndex g) {
    return exact(t.value(id(column), g), columns()[id(column)].decimals);
  };
  EXPECT_EQ(shown("cpu", 1), "0.75");
  EXPECT_EQ(shown("cpu_limit", 1), "0.5");
  EXPECT_EQ(shown("cpu_of_limit", 1), "1.5");
  EXPECT_EQ(shown("throttled", 1), "0");
  EXPECT_EQ(shown("read", 1), "400");
  EXPECT_EQ(shown("io_read", 1), "507");
  EXPECT_EQ(shown("memory_limit", 2), "1000") << "the limit of the parent";
  EXPECT_EQ(shown("memory_of_limit", 2), "0.1");
  EXPECT_EQ(shown("memory_max", 2), "max");
  EXPECT_EQ(shown("working_set", 3), "660");
  EXPECT_EQ(shown("depth", 3), "2");
  EXPECT_TRUE(t.value(id("working_set"), 1).is_absent()) << "one of the two fields is missing";
  EXPECT_TRUE(t.value(id("memory"), 5).is_error());
  EXPECT_EQ(t.text(id("state"), 4), "Z");
  EXPECT_EQ(t.text(id("kind"), 4), "slice");
  EXPECT_EQ(t.text(id("name"), 3), "y");
  EXPECT_EQ(t.text(id("io_read"), 1), "8:0=500 8:16=7");
}

TEST(Table, HasNoRatesWithOnlyOneSnapshot) {
  const auto now = SnapshotMaker().cgroup(1, "/").set("cpu_usage", 5).make();
  const Table t(columns(), nullptr, now);
  EXPECT_TRUE(t.value(id("cpu"), 0).is_absent());
  EXPECT_EQ(t.text(id("state"), 0), "") << "without a previous snapshot no cgroup is new";
}

TEST(Arrange, SortsSiblingsInATreeAndAllCgroupsInAFlatList) {
  const auto t = small_host();
  EXPECT_THAT(paths(t, view("cpu")), ElementsAre("/", "/a", "/a/y", "/a/x", "/b.slice", "/c"));
  auto flat = view("cpu");
  flat.tree = false;
  EXPECT_THAT(paths(t, flat), ElementsAre("/a", "/a/y", "/a/x", "/b.slice", "/", "/c"));
}

TEST(Arrange, PlacesMissingValuesLastInBothSortDirections) {
  auto flat = view("memory", false);
  flat.tree = false;
  EXPECT_THAT(paths(small_host(), flat), ElementsAre("/a/x", "/a/y", "/a", "/", "/b.slice", "/c"));
  flat.descending = true;
  EXPECT_THAT(paths(small_host(), flat), ElementsAre("/", "/a", "/a/y", "/a/x", "/b.slice", "/c"));
}

TEST(Arrange, ShowsAncestorsOfAMatchDimmed) {
  auto v = view("name", false);
  v.filter = filter("name=x");
  EXPECT_THAT(paths(small_host(), v), ElementsAre("~/", "~/a", "/a/x"));
  EXPECT_EQ(arrange(small_host(), v).matching, 1U);
  v.tree = false;
  EXPECT_THAT(paths(small_host(), v), ElementsAre("/a/x"));
}

TEST(Arrange, AppliesFoldingSubtreeAndMaximumDepth) {
  auto v = view("name", false);
  v.folded = {2};
  EXPECT_THAT(paths(small_host(), v), ElementsAre("/", "/a+", "/b.slice", "/c"));
  v.folded.clear();
  v.top = 2;
  EXPECT_THAT(paths(small_host(), v), ElementsAre("/a", "/a/x", "/a/y"));
  v.top.reset();
  v.max_depth = 1;
  EXPECT_THAT(paths(small_host(), v), ElementsAre("/", "/a", "/b.slice", "/c"));
}

struct FilterCase {
  const char* text;
  std::vector<std::string> matches;
};

TEST(Filter, MatchesTheCgroupsThatTheExpressionSelects) {
  const auto t = small_host();
  const std::vector<std::string> all = {"/", "/a", "/a/x", "/a/y", "/b.slice", "/c"};
  const FilterCase cases[] = {
      {"", all},
      {"   ", all},
      {"slice", {"/b.slice"}},
      {"SLICE", {"/b.slice"}},
      {"kind=slice", {"/b.slice"}},
      {"kind!=cgroup", {"/", "/b.slice"}},
      {"cpu>30", {"/a", "/a/y"}},
      {"cpu>30%", {"/a", "/a/y"}},
      {"cpu<=0", {"/b.slice"}},
      {"mem>=800", {"/", "/a"}},
      {"mem>0.5K mem<1K", {"/", "/a", "/a/y"}},
      {"mem>0.5K and mem<900", {"/a", "/a/y"}},
      {"mem%>75", {"/a"}},
      {"path=/a/*", {"/a/x", "/a/y"}},
      {"path=/?", {"/a", "/c"}},
      {"name~\"y\"", {"/a/y"}},
      {"\"/a/\"", {"/a/x", "/a/y"}},
      {"frozen", {"/b.slice"}},
      {"not frozen not /a", {"/", "/c"}},
      {"!frozen !/a", {"/", "/c"}},
      {"name=x or name=y", {"/a/x", "/a/y"}},
      {"(name=x or name=y) mem>500", {"/a/y"}},
      {"not (name=x or name=y or frozen)", {"/", "/a", "/c"}},
      {"memory_max=max", {"/a/x"}},
      {"memory_max>5000", {"/a/x"}},
      {"tasks=none", {"/a", "/a/x", "/a/y", "/c"}},
      {"tasks!=none", {"/", "/b.slice"}},
      {"active", {"/a", "/a/x", "/a/y", "/b.slice"}},
      {"io_read~8:16", {"/a"}},
      {"orange", {}},
      {"order or name=x", {"/a/x"}},
  };
  for (const auto& c : cases) {
    const auto f = filter(c.text);
    std::vector<std::string> matches;
    for (model::CgroupIndex g = 0; g < t.size(); ++g) {
      if (f.matches(t, g)) matches.push_back(t.cgroup(g).path);
    }
    EXPECT_EQ(matches, c.matches) << c.text;
  }
}

TEST(Filter, ReportsTheOffsetOfAnError) {
  const std::pair<const char*, std::size_t> cases[] = {
      {"cpu>", 4},   {"cpu>>1", 4},     {"cpu>1x", 4}, {"nam=x", 0},     {"a or", 4},   {"or a", 0},
      {"(a", 0},     {"a)", 1},         {"()", 1},     {"not", 3},       {"name>x", 4}, {"cpu~5", 3},
      {"\"open", 0}, {"a mem<none", 6}, {"=5", 0},     {"mem=5 and", 9}, {"!", 1},
  };
  for (const auto& [text, offset] : cases) {
    const auto parsed = Filter::parse(text, columns());
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().offset, offset) << text << ": " << parsed.error().what;
  }
  const auto wrong = Filter::parse("a cpu>x", columns());
  EXPECT_EQ(explain("a cpu>x", wrong.error()), "a cpu>x\n      ^ invalid value 'x'; use a percentage such as 50");
}

TEST(Filter, RejectsDeepNestingAndAcceptsArbitraryBytesWithoutCrashing) {
  std::string deep(100'000, '(');
  EXPECT_FALSE(Filter::parse(deep, columns()));
  EXPECT_FALSE(Filter::parse(std::string(200, '('), columns()));
  EXPECT_FALSE(Filter::parse(std::string(200, '!') + "a", columns()));
  std::uint32_t seed = 1;
  const std::string alphabet = "ab cpu mem <>=!~()\"*? or not and 5 10% 1G max none \xff\x1b/";
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (int i = 0; i < 24; ++i) {
      seed = seed * 1664525 + 1013904223;
      text += alphabet[(seed >> 16) % alphabet.size()];
    }
    if (const auto parsed = Filter::parse(text, columns()); !parsed) {
      EXPECT_LE(parsed.error().offset, text.size()) << text;
      (void)explain(text, parsed.error());
    }
  }
}

TEST(NameOf, ReturnsTheNameOfTheContainerOrPodIfKnown) {
  model::Container docker;
  docker.runtime = "docker";
  docker.name = "shop-db-1";
  docker.id = "4f1c9e0a2b7d";
  docker.image = "postgres:16.4";
  model::Container pod;
  pod.role = model::Role::pod;
  pod.pod = "api-7d9f";
  pod.name = "ignored";
  model::Container unnamed;
  unnamed.runtime = "podman";
  model::Container unit;
  unit.role = model::Role::service;
  unit.name = "not shown";
  const auto now = SnapshotMaker()
                       .cgroup(1, "/")
                       .cgroup(2, "/docker-4f1c9e0a2b7d.scope")
                       .container(docker)
                       .cgroup(3, "/pod123.slice")
                       .container(pod)
                       .cgroup(4, "/ssh.service")
                       .container(unit)
                       .cgroup(5, "/x")
                       .container(unnamed)
                       .make();
  const Table t(columns(), nullptr, now);
  std::vector<std::string> names;
  std::vector<std::string> kinds;
  for (model::CgroupIndex g = 0; g < t.size(); ++g) {
    names.push_back(t.text(id("name"), g));
    kinds.push_back(t.text(id("kind"), g));
  }
  EXPECT_THAT(names, ElementsAre("/", "shop-db-1", "api-7d9f", "ssh.service", "x"));
  EXPECT_THAT(kinds, ElementsAre("root", "docker", "pod", "service", "podman"));
  EXPECT_EQ(t.text(id("image"), 1), "postgres:16.4");
  EXPECT_TRUE(filter("shop").matches(t, 1)) << "a bare word matches the name as well as the path";
  EXPECT_TRUE(filter("4f1c").matches(t, 1));
  EXPECT_TRUE(filter("image~postgres kind=docker").matches(t, 1));
  EXPECT_THAT(cgroups_named(*now, "shop-db-1"), ElementsAre(1));
  EXPECT_THAT(cgroups_named(*now, "4f1c9e"), ElementsAre(1));
  EXPECT_THAT(cgroups_named(*now, "ssh"), ElementsAre(3));
}

TEST(GlobMatches, ComparesTheWholeText) {
  EXPECT_TRUE(glob_matches("*", ""));
  EXPECT_TRUE(glob_matches("a*b*c", "aXXbYYbc"));
  EXPECT_FALSE(glob_matches("a*b*c", "aXXbYYbcd"));
  EXPECT_FALSE(glob_matches("?", ""));
  EXPECT_FALSE(glob_matches("a", "aa"));
}

TEST(Exact, FormatsBaseUnitsWithoutRounding) {
  EXPECT_EQ(exact(Value::of(1'500'000'000), 9), "1.5");
  EXPECT_EQ(exact(Value::of(-1), 4), "-0.0001");
  EXPECT_EQ(exact(Value::of(9'223'372'036'854'775'806), 0), "9223372036854775806");
  EXPECT_EQ(exact(Value::of(0), 9), "0");
  EXPECT_EQ(exact(Value::unlimited(), 9), "max");
  EXPECT_EQ(exact(Value::absent(), 9), "");
}

TEST(Human, FormatsThreeSignificantDigitsWithAUnitPrefix) {
  const auto bytes = [](std::int64_t n, Units u = Units::iec) {
    Column c;
    c.form = Form::bytes;
    return human(c, Value::of(n), u);
  };
  EXPECT_EQ(bytes(0), "0");
  EXPECT_EQ(bytes(999), "999");
  EXPECT_EQ(bytes(1000), "1.0K");
  EXPECT_EQ(bytes(44'238'000'000), "41.2G");
  EXPECT_EQ(bytes(421'527'552), "402M");
  EXPECT_EQ(bytes(1'048'575'999), "1.0G");
  EXPECT_EQ(bytes(1'500'000, Units::si), "1.5M");
  EXPECT_EQ(bytes(1'500'000, Units::raw), "1500000");
  EXPECT_EQ(human_duration(0.0005), "500us");
  EXPECT_EQ(human_duration(61), "1m01s");
  EXPECT_EQ(human_duration(266'400), "3d02h");
  Column cpu;
  cpu.form = Form::ratio;
  cpu.decimals = 4;
  EXPECT_EQ(human(cpu, Value::of(8'420), Units::iec), "84.2");
  EXPECT_EQ(human(cpu, Value::absent(), Units::iec), "-");
  EXPECT_EQ(human(cpu, Value::error(), Units::iec), "err");
}

TEST(Width, CountsTerminalCellsAndTruncatesOnlyBetweenCharacters) {
  EXPECT_EQ(width("abc"), 3);
  EXPECT_EQ(width("日本"), 4);
  EXPECT_EQ(width("e\u0301"), 1);
  EXPECT_EQ(width("\U0001F600"), 2);
  EXPECT_EQ(cut_end("日本", 3), "日");
  EXPECT_EQ(cut_middle("docker-4f1c9e0a2b7d.scope", 11), "docke~scope");
  EXPECT_LE(width(cut_middle("日本語日本語", 7)), 7);
  EXPECT_EQ(cut_middle("abc", 0), "");
  EXPECT_EQ(ascii_only("a\u00e9"), "a\\xc3\\xa9");
}

}  // namespace
}  // namespace cgwarden::cgtop
