// SPDX-License-Identifier: Apache-2.0
// Whole sessions without a terminal: snapshots and keys in, text out. The expected screens are in tests/golden/cgtop;
// run this with CGWARDEN_UPDATE_GOLDEN=1 to update them, and review the diff.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "src/cgtop/config.h"
#include "src/cgtop/record_printer.h"
#include "src/cgtop/recording.h"
#include "src/cgtop/theme.h"
#include "src/cgtop/ui.h"
#include "src/cgtop/views.h"
#include "tests/test_data.h"
#include "tests/unit/cgtop_snapshots.h"

namespace cgwarden::cgtop {
namespace {

using model::Value;
using test::columns;
using test::SnapshotMaker;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kHostileUnit = "/system.slice/evil\x1b[2J\x07\xff\xe2\x80\xae\xc2\x9b.service";

// A host with 16 CPUs, units and two containers. `round`: number of the sample, 2 s apart. `without`: path of a cgroup
// to omit.
model::SnapshotPtr db07(int round, std::string_view without = {}) {
  SnapshotMaker m(2.0 * round);
  std::uint64_t id = 0;
  const auto cgroup = [&](const std::string& path, double cores, std::int64_t mib, std::int64_t limit_mib, int tasks) {
    constexpr std::int64_t kMiB = 1 << 20;
    ++id;
    if (path == without) return;
    const auto ns = static_cast<std::int64_t>(cores * 2e9 * round);
    m.cgroup(id, path).set("cpu_usage", ns).set("cpu_user", ns / 4 * 3).set("cpu_system", ns / 4);
    m.set("memory_current", mib * kMiB).set("memory_inactive_file", mib * kMiB / 8).set("pids_current", tasks);
    m.set("memory_anon", mib * kMiB / 2).set("memory_file", mib * kMiB / 4).set("memory_kernel", mib * kMiB / 16);
    m.set("memory_max", limit_mib > 0 ? Value::of(limit_mib * kMiB) : Value::unlimited());
    m.set("pids_max", Value::unlimited()).set("memory_swap_current", 0).set("frozen", 0).set("populated", 1);
    m.set("cpu_quota", Value::unlimited()).set("cpu_period", 100'000'000).set("cpu_weight", 100);
    m.set("pressure_cpu_some_avg10", tasks).set("pressure_memory_some_avg10", mib / 8).set("pressure_io_some_avg10", 0);
    m.set("memory_events_high", 0).set("memory_events_oom_kill", 0);
    m.series("io_read", "259:0", Value::of(mib * 4096 * round))
        .series("io_write", "259:0", Value::of(std::int64_t{9000} * tasks * round));
  };
  cgroup("/", 8.42, 42188, 0, 1904);
  cgroup("/init.scope", 0.003, 14, 0, 1);
  cgroup("/kubepods.slice", 3.901, 16588, 24576, 901);
  cgroup("/kubepods.slice/kubepods-burstable-pod4f1c9e0a_2b7d_4c1e_9f00_0123456789ab.slice", 2.804, 9932, 12288, 530);
  cgroup("/system.slice", 4.123, 22630, 0, 842);
  cgroup(kHostileUnit, 0.01, 10, 0, 1);
  cgroup("/system.slice/docker-4f1c9e0a2b7d5566778899aabbccddeeff00112233445566778899aabbccddee.scope", 0.887, 9113,
         10240, 61);
  m.set("cpu_quota", 400'000'000).set("cpu_periods", 20 * round).set("cpu_throttled_periods", 5 * round);
  m.set("memory_events_high", 214 * round);
  cgroup("/system.slice/nginx.service", 0.61, 402, 1024, 18);
  cgroup("/system.slice/postgresql.service", 0.319, 6041, 0, 44);
  m.set("frozen", 1);
  cgroup("/user.slice", 0.382, 2457, 0, 131);
  return m.make();
}

Host host() {
  Host h;
  h.name = "db07";
  h.layout = "v2";
  h.cpus = 16;
  h.load[0] = 7.2;
  h.load[1] = 6.8;
  h.load[2] = 5.9;
  h.uptime_seconds = 1'051'860;
  h.memory_total = std::int64_t{64} << 30;
  h.memory_available = std::int64_t{22} << 30;
  h.swap_total = std::int64_t{8} << 30;
  h.swap_free = std::int64_t{7} << 30;
  h.psi_cpu = 0.124;
  h.psi_memory = 0.031;
  h.psi_io = 0.006;
  return h;
}

class Screen : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
    View view;
    view.sort = *columns().find("cpu");
    ui.emplace(columns(), view, "");
    for (int round = 1; round <= 3; ++round) ui->feed(db07(round), host());
  }
  void press(std::string_view keys) {
    for (const char c : keys) ui->press(static_cast<char32_t>(c));
  }
  std::string show(int rows, int width) {
    Grid grid(rows, width);
    ui->draw(grid);
    return grid.text();
  }
  static void expect_golden(const std::string& name, const std::string& text) {
    const auto path = test::test_data() / "golden/cgtop" / (name + ".txt");
    if (std::getenv("CGWARDEN_UPDATE_GOLDEN") != nullptr) {
      std::filesystem::create_directories(path.parent_path());
      std::ofstream(path) << text;
    }
    std::ifstream in(path);
    std::stringstream wanted;
    wanted << in.rdbuf();
    EXPECT_EQ(text, wanted.str()) << path << "; CGWARDEN_UPDATE_GOLDEN=1 updates it";
  }
  // The cell where `what` begins on a screen of 30 rows and 120 columns.
  std::optional<MouseEvent> place_of(std::string_view what) {
    const auto text = show(30, 120);
    const auto at = text.find(what);
    if (at == std::string::npos) return std::nullopt;
    const auto line = at == 0 ? 0 : text.rfind('\n', at - 1) + 1;
    MouseEvent place;
    place.row = static_cast<int>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
    place.column = width(std::string_view(text).substr(line, at - line));
    return place;
  }
  Ui::UiRequest click(std::string_view what, bool repeated = false) {
    auto place = place_of(what);
    EXPECT_TRUE(place) << what << " is not on the screen";
    if (!place) return Ui::UiRequest::nothing;
    place->repeated = repeated;
    return ui->press(*place);
  }
  void wheel(MouseEvent::Kind what) { ui->press(MouseEvent{what, 10, 10, false}); }
  std::string line_of_cursor() {
    const auto text = show(30, 120);
    const auto at = text.find("\n>");
    return at == std::string::npos ? "" : text.substr(at + 1, text.find('\n', at + 1) - at - 1);
  }

  std::optional<Ui> ui;
};

TEST_F(Screen, DrawsTheTreeAtThreeSizes) {
  expect_golden("tree-120x30", show(30, 120));
  expect_golden("tree-80x24", show(24, 80));
  expect_golden("tree-40x8", show(8, 40));
}

TEST_F(Screen, DrawsOnlyAsciiWithoutUtf8) {
  ui->scene().ascii = true;
  const auto text = show(30, 120);
  EXPECT_TRUE(std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; }));
  expect_golden("tree-ascii-120x30", text);
}

TEST_F(Screen, DrawsEveryColumnSet) {
  press("2");
  expect_golden("cpu-120x30", show(30, 120));
  press("3");
  expect_golden("memory-80x24", show(24, 80));
  for (char set = '1'; set <= '9'; ++set) {
    press(std::string(1, set));
    EXPECT_THAT(show(30, 120), HasSubstr("[" + std::string(1, set)));
  }
}

TEST_F(Screen, DrawsTheFlatListFilteredAndSorted) {
  press("Tm/memory>1G kind!=slice\n");
  expect_golden("flat-filtered-80x24", show(24, 80));
}

TEST_F(Screen, DrawsEveryTabOfACgroup) {
  for (int i = 0; i < 20; ++i) press("j");
  press("g");
  press("/docker\n");
  press("G\n");
  expect_golden("cgroup-summary-120x30", show(30, 120));
  expect_golden("cgroup-summary-80x24", show(24, 80));
  const std::pair<char, const char*> tabs[] = {{'3', "memory"}, {'4', "devices"}, {'5', "pressure"},
                                               {'6', "limits"}, {'7', "events"},  {'8', "namespaces"}};
  for (const auto& [key, name] : tabs) {
    press(std::string(1, key));
    expect_golden(std::string("cgroup-") + name + "-120x30", show(30, 120));
  }
  press("2");
  EXPECT_EQ(ui->processes_cgroup(),
            "/system.slice/docker-4f1c9e0a2b7d5566778899aabbccddeeff00112233445566778899aabbccddee.scope");
  Processes processes;
  processes.at = 10;
  for (int pid = 7101; pid < 7104; ++pid) {
    Process p;
    p.pid = pid;
    p.user = "postgres";
    p.state = pid == 7102 ? 'D' : 'S';
    p.threads = 1;
    p.rss = (pid - 7000) << 20;
    p.cpu_seconds = 1;
    p.age = 4000;
    p.command = "postgres: \x1b[31mcheckpointer";
    processes.all.push_back(p);
  }
  ui->feed_processes(processes);
  processes.at = 12;
  processes.all[1].cpu_seconds = 2;
  ui->feed_processes(processes);
  expect_golden("cgroup-processes-120x30", show(30, 120));
  expect_golden("cgroup-processes-40x8", show(8, 40));
  processes.all[1].command = "java " + std::string(100, 'x') + " \xe6\x97\xa5\xe6\x97\xa5 -the-end";
  ui->feed_processes(processes);
  EXPECT_THAT(show(30, 120), Not(HasSubstr("-the-end")));
  press("w");
  expect_golden("cgroup-processes-wrapped-120x30", show(30, 120));
  EXPECT_THAT(show(8, 40), Not(HasSubstr("-the-end")));
  press("G");
  EXPECT_THAT(show(8, 40), testing::AllOf(HasSubstr("checkp"), HasSubstr("ointer"), HasSubstr("line 15 of 17")));
  press("w");
  ui->press(key::kEscape);
  EXPECT_THAT(show(24, 80), HasSubstr("CGROUP"));
}

// Twelve samples, 5 s apart, with an OOM kill at the seventh and a gap of ten minutes before the ninth.
std::unique_ptr<Recording> recorded(const std::string& path, int damaged_from = -1) {
  {
    record::RecordingWriter::Options options;
    options.block_span = std::chrono::seconds(10);
    auto writer = record::RecordingWriter::open(path, test::catalogue(), options);
    for (int i = 0; i < 12; ++i) {
      const double at = 5 * i + (i >= 8 ? 600 : 0);
      auto made = std::make_shared<model::Snapshot>(*db07(1 + i));
      made->taken = base::Monotonic(std::chrono::hours(1)) + std::chrono::seconds(static_cast<int>(at));
      made->begun = made->taken;
      made->taken_wall = base::Wall(std::chrono::seconds(1'795'500'000 + static_cast<int>(at)));
      auto& kills = made->columns[*test::catalogue()->find("memory_events_oom_kill")];
      kills.dense.assign(made->cgroup_count(), model::Value::of(0));
      for (model::CgroupIndex g = 0; i >= 6 && g < made->cgroup_count(); ++g) {
        const auto& path_of = made->cgroup_list->cgroups[g]->path;
        if (path_of == "/" || path_of == "/system.slice" || path_of == "/system.slice/nginx.service") {
          kills.dense[g] = model::Value::of(1);
        }
      }
      if (i == 8) {
        (void)(*writer)->add_gap(base::Wall(std::chrono::seconds(1'795'500'035)), made->taken_wall,
                                 "the agent was down");
      }
      (void)(*writer)->add(made, model::to_json(host()));
    }
  }
  if (damaged_from >= 0) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(damaged_from);
    file.write("damaged", 7);
  }
  return std::move(*Recording::open(path, test::catalogue()));
}

class Replay : public Screen {
 protected:
  void SetUp() override {
    Screen::SetUp();
    path_ = testing::TempDir() + "cgwarden-test-replay-" + std::to_string(::getpid());
    View view;
    view.sort = *columns().find("cpu");
    ui.emplace(columns(), view, "");
    ui->scene().delay = std::chrono::seconds(1);
    ui->replay(recorded(path_), 1);
  }
  void TearDown() override { std::remove(path_.c_str()); }
  std::string title() { return show(30, 120).substr(0, 120); }
  std::string path_;
};

TEST_F(Replay, DrawsATimeline) {
  press("}");
  expect_golden("replay-120x30", show(30, 120));
  expect_golden("replay-80x24", show(24, 80));
  expect_golden("replay-40x8", show(8, 40));
}

TEST_F(Replay, PausesAtTheEndOfTheRecording) {
  EXPECT_THAT(title(), HasSubstr("06:00:05  every 1s"));
  ui->step();
  EXPECT_THAT(title(), HasSubstr("06:00:10  every 1s"));
  press("p");
  ui->step();
  EXPECT_THAT(title(), HasSubstr("06:00:10  paused"));
  press("p");
  for (int i = 0; i < 30; ++i) ui->step();
  EXPECT_THAT(title(), HasSubstr("06:10:55  paused"));
  EXPECT_THAT(show(30, 120), HasSubstr("end of the recording"));
}

TEST_F(Replay, NavigatesBySampleMinuteEventAndTime) {
  press(">>");
  EXPECT_THAT(title(), HasSubstr("06:00:15  paused"));
  press("<");
  EXPECT_THAT(title(), HasSubstr("06:00:10  paused"));
  press("E");
  EXPECT_THAT(title(), HasSubstr("06:10:55  paused"));
  press("[");
  EXPECT_THAT(title(), HasSubstr("06:00:35  paused"));
  press("]");
  EXPECT_THAT(title(), HasSubstr("06:00:35  paused"));
  press("}");
  EXPECT_THAT(title(), HasSubstr("06:10:40  paused"));
  EXPECT_THAT(show(30, 120), HasSubstr("gap before this sample: the agent was down"));
  press("{");
  EXPECT_THAT(title(), HasSubstr("06:00:30  paused"));
  EXPECT_THAT(show(30, 120), HasSubstr("OOM kill: nginx.service"));
  press("J06:00:17\n");
  EXPECT_THAT(title(), HasSubstr("06:00:15  paused"));
  press("J+20s\n");
  EXPECT_THAT(title(), HasSubstr("06:00:35  paused"));
  press("Jsoon\n");
  EXPECT_THAT(show(30, 120), HasSubstr("'soon': invalid time (use"));
  press("J2020-01-01\n");
  EXPECT_THAT(title(), HasSubstr("06:00:00  paused"));
  EXPECT_THAT(show(30, 120), HasSubstr("no older sample"));
}

TEST_F(Replay, ShowsNoRateAfterAGap) {
  press("J06:10:40\n");
  const auto text = show(30, 120);
  EXPECT_THAT(text, HasSubstr("nginx.service                   -  "));
}

TEST_F(Replay, ReportsADamagedPartOfTheFile) {
  View view;
  view.sort = *columns().find("cpu");
  std::remove(path_.c_str());
  auto history = recorded(path_, 100);
  EXPECT_THAT(history->losses(), HasSubstr("1 damaged place with"));
  ui.emplace(columns(), view, "");
  ui->replay(std::move(history), 0);
  EXPECT_THAT(show(30, 120), HasSubstr("this part of the file is damaged"));
}

TEST(ParseTime, AcceptsRelativeAbsoluteAndEpochTimes) {
  ::setenv("TZ", "Europe/Berlin", 1);
  ::tzset();
  const base::Wall now(std::chrono::seconds(1'795'500'000));  // 2026-11-24T06:00:00Z
  const auto seconds = [&](std::string_view text) -> std::int64_t {
    const auto t = parse_time(text, now);
    return t ? std::chrono::duration_cast<std::chrono::seconds>(t->time_since_epoch()).count() : -1;
  };
  EXPECT_EQ(seconds("now"), 1'795'500'000);
  EXPECT_EQ(seconds("-10m"), 1'795'500'000 - 600);
  EXPECT_EQ(seconds("+1h30m"), 1'795'500'000 + 5400);
  EXPECT_EQ(seconds("@17"), 17);
  EXPECT_EQ(seconds("06:01Z"), 1'795'500'060);
  EXPECT_EQ(seconds("07:01"), 1'795'500'060);
  EXPECT_EQ(seconds("2026-11-24T06:00:07Z"), 1'795'500'007 - 86400 * ((1'795'500'000 - 1'795'500'000) / 86400));
  for (const auto* bad : {"", "soon", "25:00", "10:60", "2026-13-01", "2026-11-24T", "-", "-1x", "@-1", "10:41:00.",
                          "2026-11-24X10:00"}) {
    EXPECT_EQ(seconds(bad), -1) << bad;
  }
  ::setenv("TZ", "UTC", 1);
  ::tzset();
}

TEST_F(Screen, DrawsHelpAndMenus) {
  press("?");
  expect_golden("help-80x24", show(24, 80));
  ui->press(key::kPageDown);
  expect_golden("help-2-80x24", show(24, 80));
  ui->press(key::kPageDown);
  expect_golden("help-3-80x24", show(24, 80));
  ui->press(key::kPageDown);
  expect_golden("help-4-80x24", show(24, 80));
  ui->press(key::kPageDown);
  ui->press(key::kPageDown);
  expect_golden("help-5-80x24", show(24, 80));
  ui->press(key::kPageUp);
  EXPECT_THAT(show(24, 80), HasSubstr("page 4 of 5"));
  ui->press(key::kEscape);
  press("sanon");
  expect_golden("sort-menu-80x24", show(24, 80));
  ui->press(key::kEscape);
  press("C");
  expect_golden("columns-120x30", show(30, 120));
}

TEST_F(Screen, ShowsEveryLineOfTheHelpOnASmallTerminal) {
  press("?");
  std::string all;
  for (int i = 0; i < 40; ++i) {
    all += show(8, 80);
    ui->press(key::kPageDown);
  }
  EXPECT_THAT(all,
              testing::AllOf(HasSubstr("Move the cursor."), HasSubstr("Go to the previous match."),
                             HasSubstr("Change the span of the timeline."), HasSubstr("record, replay, snapshot")));
}

TEST_F(Screen, ReordersColumnsInTheMenu) {
  const auto headings = [&] {
    const auto text = show(30, 120);
    const auto line = text.find("\n  CGROUP");
    return std::pair(text.find(" MEM ", line), text.find(" %LIM ", line));
  };
  ASSERT_LT(headings().first, headings().second);
  press("Cmemory_of_limit");
  ui->press(key::kLeft);
  EXPECT_EQ(ui->scene().menu_items[ui->scene().menu_cursor], *columns().find("memory_of_limit")) << "the cursor stays";
  ui->press(key::kLeft);
  ui->press(key::kLeft);  // it already is the first column
  ui->press(key::kEscape);
  EXPECT_GT(headings().first, headings().second);
  EXPECT_THAT(config_text(ui->scene()), HasSubstr("\nfields = memory_of_limit,cpu,memory,psi_memory,"));
  press("Cmemory_of_limit");
  ui->press(key::kRight);
  ui->press(key::kEscape);
  EXPECT_THAT(config_text(ui->scene()), HasSubstr("\nfields = cpu,memory_of_limit,memory,psi_memory,"));
  press("Cmemory_peak");
  ui->press(key::kLeft);
  EXPECT_THAT(config_text(ui->scene()), HasSubstr("\nfields = cpu,memory_of_limit,memory,psi_memory,")) << "not shown";
}

TEST_F(Screen, KeepsTheCursorOnItsCgroupWhenRowsMove) {
  press("/nginx\n");
  press("G");
  ui->press(key::ctrl('L'));
  EXPECT_THAT(line_of_cursor(), HasSubstr("nginx.service"));
  press("S");
  EXPECT_THAT(line_of_cursor(), HasSubstr("nginx.service"));
  ui->feed(db07(4), host());
  EXPECT_THAT(line_of_cursor(), HasSubstr("nginx.service"));
  press("T");
  EXPECT_THAT(line_of_cursor(), HasSubstr("nginx.service"));
}

TEST_F(Screen, FoldsAndUnfoldsSubtrees) {
  press("/system.slice\n");
  ui->press(key::ctrl('L'));
  ui->press(key::kHome);
  press("j");
  EXPECT_THAT(line_of_cursor(), HasSubstr("- system.slice"));
  press(" ");
  EXPECT_THAT(line_of_cursor(), HasSubstr("+ system.slice"));
  EXPECT_THAT(show(30, 120), Not(HasSubstr("nginx")));
  press("+");
  EXPECT_THAT(show(30, 120), HasSubstr("nginx"));
  press("-");
  EXPECT_THAT(show(30, 120), Not(HasSubstr("nginx")));
  press("*");
  EXPECT_THAT(show(30, 120), HasSubstr("nginx"));
  ui->press(key::kLeft);
  EXPECT_THAT(show(30, 120), Not(HasSubstr("nginx")));
  ui->press(key::kRight);
  EXPECT_THAT(show(30, 120), HasSubstr("nginx"));
}

TEST_F(Screen, MarksAnInvalidFilterAndKeepsTheLastValidOne) {
  press("/nginx mem>x");
  expect_golden("filter-error-80x24", show(24, 80));
  press("\n");
  EXPECT_THAT(show(24, 80), HasSubstr("filter: nginx mem>x"));
  ui->press(key::kEscape);
  EXPECT_THAT(show(24, 80), HasSubstr("10/10"));
}

TEST_F(Screen, SearchesForwardAndBackward) {
  ui->press(key::ctrl('F'));
  press("slice\n");
  EXPECT_THAT(line_of_cursor(), HasSubstr("system.slice"));
  press("nnnnnnnn");
  ui->press(key::ctrl('F'));
  press("nowhere\n");
  EXPECT_THAT(show(24, 80), HasSubstr("not found: nowhere"));
}

TEST_F(Screen, PausesAndStepsBack) {
  press("p");
  const auto before = show(24, 80);
  EXPECT_THAT(before, HasSubstr("PAUSED"));
  ui->feed(db07(9), host());
  EXPECT_THAT(show(24, 80), HasSubstr("PAUSED 1 sample back"));
  press("<");
  EXPECT_THAT(show(24, 80), HasSubstr("PAUSED 2 samples back"));
  press("<<<<<<");
  EXPECT_THAT(show(24, 80), HasSubstr("oldest"));
  press("E");
  EXPECT_THAT(show(24, 80), HasSubstr("LIVE"));
}

TEST_F(Screen, ReportsARemovedCgroupWhileItsPageIsOpen) {
  press("/nginx\n");
  press("G\n");
  ui->feed(SnapshotMaker(20).cgroup(1, "/").make(), host());
  EXPECT_THAT(show(24, 80), HasSubstr("This cgroup was removed"));
}

// ---- removed cgroups ----

constexpr const char* kNginx = "/system.slice/nginx.service";

TEST_F(Screen, ListsARemovedCgroupForOneMinute) {
  click("nginx.service");
  ui->feed(db07(4, kNginx), host());
  expect_golden("removed-80x24", show(24, 80));
  EXPECT_THAT(line_of_cursor(), testing::AllOf(HasSubstr("nginx.service"), HasSubstr("removed")));
  for (const char32_t k : {U'f', U'y', static_cast<char32_t>(key::kEnter)}) {
    ui->press(k);
    EXPECT_EQ(ui->scene().page, Page::list);
    EXPECT_FALSE(ui->scene().dialog);
    EXPECT_THAT(show(24, 80), HasSubstr("this cgroup was removed"));
  }
  press("a");
  EXPECT_THAT(show(24, 80), Not(HasSubstr("nginx")));
  press("a");
  EXPECT_THAT(show(24, 80), HasSubstr("nginx"));
  ui->feed(db07(33, kNginx), host());
  EXPECT_THAT(show(24, 80), HasSubstr("nginx")) << "58 s";
  ui->feed(db07(34, kNginx), host());
  EXPECT_THAT(show(24, 80), Not(HasSubstr("nginx")));
}

TEST_F(Screen, ListsRemovedCgroupsUnderTheirParent) {
  auto remaining = SnapshotMaker(8).cgroup(1, "/").cgroup(2, "/init.scope");
  ui->feed(remaining.make(), host());
  EXPECT_THAT(show(30, 120), testing::ContainsRegex("\n      kubepods.slice .*\n        kubepods-burst.*\n"));
  press("T");
  const auto flat = show(30, 120);
  EXPECT_LT(flat.find("/init.scope"), flat.find("/system.slice/postgresql.service"));
  press("/slice\n");
  EXPECT_THAT(show(30, 120), Not(HasSubstr("postgresql"))) << "whether it matches is unknown";
}

TEST_F(Screen, ListsTheTopCgroupAfterItsRemoval) {
  ui->scene().view.top = ui->scene().table->cgroup(ui->scene().frame.rows[3].cgroup).id;
  ui->feed(db07(4), host());
  ASSERT_THAT(line_of_cursor(), testing::AllOf(HasSubstr("nginx"), Not(HasSubstr("removed"))));
  ui->feed(db07(5, kNginx), host());
  EXPECT_THAT(line_of_cursor(), testing::AllOf(HasSubstr("nginx"), HasSubstr("removed")));
}

TEST_F(Screen, DropsTheRemovedRowWhenTheCgroupReturns) {
  ui->feed(db07(4, kNginx), host());
  ui->feed(db07(5), host());
  EXPECT_THAT(show(30, 120), Not(HasSubstr("removed")));
  ui->feed(db07(6, kNginx), host());
  ui->feed(db07(90, kNginx), host());
  EXPECT_THAT(show(30, 120), Not(HasSubstr("removed"))) << "too far apart";
}

TEST_F(Screen, ListsAtMostAHundredRemovedCgroups) {
  SnapshotMaker many(8);
  many.cgroup(1, "/");
  for (std::uint64_t i = 0; i < 300; ++i) many.cgroup(100 + i, "/g" + std::to_string(1000 + i));
  ui->feed(many.make(), host());
  ui->feed(SnapshotMaker(10).cgroup(1, "/").make(), host());
  EXPECT_EQ(ui->scene().frame.rows.size(), 101U);
}

// ---- commands ----

TEST_F(Screen, ExecutesCommandsNamedLikeOptions) {
  press(":sort memory:asc\n");
  EXPECT_THAT(show(30, 120), HasSubstr("MEM^"));
  press(":set io\n:units si\n:cpu machine\n:delay 5s\n:theme light\n:filter nginx\n");
  const auto& scene = ui->scene();
  EXPECT_EQ(
      config_text(scene),
      "# Written by cgtop (key W). Command-line options take precedence.\nset = IO\nsort = memory:asc\nunits = si\n"
      "cpu = machine\ndelay = 5000ms\nactive = false\nflat = false\ntheme = light\nmouse = true\n");
  EXPECT_EQ(scene.filter_text, "nginx");
  press(":filter\n:fields cpu,tasks\n:tree\n");
  EXPECT_THAT(config_text(scene), HasSubstr("\nfields = cpu,tasks\n"));
  EXPECT_FALSE(scene.view.tree);
  EXPECT_EQ(scene.filter_text, "");
  press(":find postgres\n");
  EXPECT_THAT(line_of_cursor(), HasSubstr("postgresql"));
  press(":cgroup nginx");
  EXPECT_EQ(ui->press(key::kEnter), Ui::UiRequest::sample);
  EXPECT_EQ(scene.cgroup_path, kNginx);
  press(":freeze");
  EXPECT_EQ(ui->press(key::kEnter), Ui::UiRequest::act);
  EXPECT_TRUE(ui->action_request().action.dry_run);
  ui->press(key::kEscape);
  press(":quit");
  EXPECT_EQ(ui->press(key::kEnter), Ui::UiRequest::quit);
}

TEST_F(Screen, ReportsAnInvalidCommandAndKeepsThePromptOpen) {
  for (const auto& [typed, message] : {std::pair{"dance", "unknown command 'dance'"},
                                       {"sort memry", "did you mean 'memory'?"},
                                       {"sort memory:up", "unknown sort order 'up'; use asc or desc"},
                                       {"sort", "sort: an argument is required"},
                                       {"set x", "unknown column set 'x'"},
                                       {"fields cpu,nonsense", "unknown field 'nonsense'"},
                                       {"filter mem>x", "x"},
                                       {"units x", "unknown unit 'x'"},
                                       {"cpu x", "unknown CPU scale 'x'"},
                                       {"delay 1ms", "between 50ms and 24h"},
                                       {"theme x", "unknown theme 'x'"},
                                       {"cgroup nowhere", "no cgroup matches 'nowhere'"},
                                       {"kill nginx", "kill: takes no argument"}}) {
    press(std::string(":") + typed + "\n");
    EXPECT_EQ(ui->scene().prompt, Scene::Prompt::command) << typed;
    EXPECT_THAT(show(24, 80), testing::AllOf(HasSubstr(typed), HasSubstr(message)));
    ui->press(key::kEscape);
  }
  press(":theme dak");
  ui->press(key::kBackspace);
  press("rk\n");
  EXPECT_EQ(ui->scene().theme->name, "dark");
}

TEST_F(Screen, CompletesCommands) {
  press(":th");
  expect_golden("command-80x24", show(24, 80));
  const auto completion = [](std::string_view text) { return complete_command(text, columns()).text; };
  EXPECT_EQ(completion("th"), "th");
  EXPECT_EQ(completion("the"), "theme ") << "an argument follows";
  EXPECT_EQ(completion("thaw"), "thaw");
  EXPECT_EQ(completion("theme h"), "theme high-contrast");
  EXPECT_EQ(completion("fields cpu,working_s"), "fields cpu,working_set");
  EXPECT_EQ(completion("set Mem"), "set Memory");
  EXPECT_EQ(completion("nonsense x"), "nonsense x");
  EXPECT_EQ(completion(""), "");
  EXPECT_LE(complete_command("sort ", columns()).choices.size(), 240U);
  press("e");
  ui->press(key::kTab);
  press("l");
  ui->press(key::kTab);
  ui->press(key::kEnter);
  EXPECT_EQ(ui->scene().theme->name, "light");
}

// ---- the clipboard ----

TEST_F(Screen, CopiesThePathQuotedForAShell) {
  click("nginx.service");
  EXPECT_EQ(ui->press('y'), Ui::UiRequest::copy);
  EXPECT_EQ(ui->clipboard_text(), "/system.slice/nginx.service");
  EXPECT_THAT(show(24, 80), HasSubstr("copied: /system.slice/nginx.service"));
  press("/evil\n");
  press("G\n");
  EXPECT_EQ(ui->press('y'), Ui::UiRequest::copy);
  EXPECT_EQ(ui->clipboard_text(), R"('/system.slice/evil\x1b[2J\x07\xff\xe2\x80\xae\xc2\x9b.service')");
  ui->feed(SnapshotMaker(20).cgroup(1, "/").make(), host());
  EXPECT_EQ(ui->press('y'), Ui::UiRequest::nothing);
  EXPECT_THAT(show(24, 80), HasSubstr("this cgroup was removed"));
}

TEST_F(Screen, CopiesACgroupAsJson) {
  press("/evil\n");
  press("G");
  EXPECT_EQ(ui->press('Y'), Ui::UiRequest::copy);
  for (const char c : ui->clipboard_text()) ASSERT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7F));
  const auto json = nlohmann::json::parse(ui->clipboard_text());
  EXPECT_EQ(json["source"], "cgroupfs");
  ASSERT_EQ(json["cgroups"].size(), 1U);
  EXPECT_EQ(json["cgroups"][0]["depth"], 2);
  EXPECT_EQ(json["cgroups"][0]["memory_current"], 10 << 20);
  EXPECT_EQ(json["cgroups"][0]["path_base64"], base64(kHostileUnit));
}

// ---- the mouse ----

TEST_F(Screen, OpensACgroupOnTheSecondClick) {
  EXPECT_EQ(click("nginx.service"), Ui::UiRequest::nothing);
  EXPECT_THAT(line_of_cursor(), HasSubstr("nginx.service"));
  EXPECT_EQ(click("nginx.service"), Ui::UiRequest::sample) << "at any time";
  EXPECT_THAT(show(30, 120), HasSubstr("/system.slice/nginx.service"));
  EXPECT_EQ(click("3 Memory"), Ui::UiRequest::nothing);
  EXPECT_THAT(show(30, 120), HasSubstr("[3 Memory]"));
  EXPECT_EQ(click("2 Processes"), Ui::UiRequest::sample);
  click("Esc back");
  EXPECT_THAT(line_of_cursor(), HasSubstr("nginx.service"));
}

TEST_F(Screen, OpensTheCgroupOfADoubleClickWhenRowsMoveInBetween) {
  auto place = place_of("postgresql.service").value();
  ui->press(place);
  press("S");
  ASSERT_NE(place_of("postgresql.service")->row, place.row);
  place.repeated = true;
  ui->press(place);
  EXPECT_EQ(ui->scene().cgroup_path, "/system.slice/postgresql.service");
}

TEST_F(Screen, IgnoresTheSecondHalfOfADoubleClickOnThePageItOpened) {
  show(13, 120);  // at this height the first row is where the tabs will be
  MouseEvent place{MouseEvent::Kind::click, 2, 10, false};
  ui->press(place);
  ASSERT_EQ(ui->scene().page, Page::cgroup) << "the cursor was on this row";
  show(13, 120);
  place.column = 17;
  place.repeated = true;
  ui->press(place);
  EXPECT_EQ(ui->scene().tab, Tab::summary);
  place.repeated = false;
  ui->press(place);
  EXPECT_EQ(ui->scene().tab, Tab::processes);
}

TEST_F(Screen, SortsByAClickedHeading) {
  click("%LIM");
  EXPECT_THAT(show(30, 120), HasSubstr("%LIMv"));
  click("%LIMv");
  EXPECT_THAT(show(30, 120), HasSubstr("%LIM^"));
  click("CGROUP");
  EXPECT_THAT(show(30, 120), HasSubstr("CGROUP^"));
  click("graph");
  EXPECT_THAT(show(30, 120), HasSubstr("CGROUP^")) << "the graph is not a column";
}

TEST_F(Screen, ChoosesAClickedColumnSet) {
  click("4 IO");
  EXPECT_THAT(show(30, 120), HasSubstr("[4 IO]"));
}

TEST_F(Screen, FoldsACgroupOnAClickOnItsSign) {
  click("- system.slice");
  EXPECT_THAT(line_of_cursor(), HasSubstr("+ system.slice"));
  EXPECT_THAT(show(30, 120), Not(HasSubstr("nginx")));
  click("+ system.slice");
  EXPECT_THAT(show(30, 120), HasSubstr("nginx"));
}

TEST_F(Screen, ScrollsByTheWheelAndKeepsTheCursorVisible) {
  press("T");
  show(10, 120);  // six rows of ten
  wheel(MouseEvent::Kind::wheel_down);
  show(10, 120);
  EXPECT_EQ(ui->scene().offset, 3U);
  EXPECT_EQ(ui->scene().cursor, 3U);
  for (int i = 0; i < 3; ++i) wheel(MouseEvent::Kind::wheel_down);
  show(10, 120);
  EXPECT_EQ(ui->scene().offset, 4U) << "stops at the last screenful";
  press("G");
  wheel(MouseEvent::Kind::wheel_up);
  show(10, 120);
  EXPECT_EQ(ui->scene().offset, 1U);
  EXPECT_EQ(ui->scene().cursor, 6U);
  ui->press(key::kEnter);
  for (int i = 0; i < 50; ++i) wheel(MouseEvent::Kind::wheel_down);
  const auto end = show(10, 120);
  wheel(MouseEvent::Kind::wheel_up);
  EXPECT_NE(show(10, 120), end) << "the position stops at the end";
}

TEST_F(Screen, ChoosesFromMenusByTheMouse) {
  press("s");
  click("[ ] memory_limit");
  EXPECT_THAT(show(30, 120), HasSubstr("Sort by"));
  click("[ ] memory_limit", true);
  EXPECT_THAT(show(30, 120), HasSubstr("LIMITv"));
  press("C");
  click("Esc close");
  EXPECT_EQ(ui->scene().menu, Scene::Menu::none) << "a click beside its lines closes it";
}

// ---- saved settings ----

TEST_F(Screen, SavesSettingsNamedLikeOptions) {
  press("3SU%To");
  EXPECT_EQ(ui->press('W'), Ui::UiRequest::save);
  const auto lines = parse_config(config_text(ui->scene()));
  ASSERT_TRUE(lines) << lines.error().what;
  std::map<std::string, std::string> saved;
  for (const auto& line : *lines) saved[line.key] = line.value;
  EXPECT_THAT(saved, testing::UnorderedElementsAre(testing::Pair("set", "Memory"), testing::Pair("sort", "cpu:asc"),
                                                   testing::Pair("units", "si"), testing::Pair("cpu", "machine"),
                                                   testing::Pair("delay", "2000ms"), testing::Pair("active", "true"),
                                                   testing::Pair("flat", "true"), testing::Pair("theme", "default"),
                                                   testing::Pair("mouse", "true")));

  press("C swapmax ");
  ui->press(key::kEscape);
  EXPECT_THAT(config_text(ui->scene()), HasSubstr("\nfields = "));
  EXPECT_THAT(config_text(ui->scene()), Not(HasSubstr("\nset = ")));
}

TEST(ParseConfig, ReportsAnErrorWithItsLine) {
  const auto error_of = [](std::string_view text) {
    const auto lines = parse_config(text);
    return lines ? std::string() : lines.error().what;
  };
  EXPECT_EQ(error_of("# a comment\n\n  sort = cpu  \nunits=si"), "");
  EXPECT_THAT(error_of("sort = cpu\ncolour = red\n"), testing::StartsWith("2: unknown key 'colour'"));
  EXPECT_THAT(error_of("sort"), HasSubstr("1: 'sort': expected KEY = VALUE"));
  EXPECT_THAT(error_of("sort = cpu\n\nsort = mem"), HasSubstr("3: duplicate key 'sort'"));
  EXPECT_THAT(error_of("so\x1brt = cpu"), Not(HasSubstr("\x1b")));
}

TEST_F(Screen, DrawsAuditRecordsOnTheEventsTab) {
  press("/name=nginx.service\n");
  press("G\n7");
  EXPECT_EQ(ui->audit_cgroup(), "/system.slice/nginx.service");
  EXPECT_EQ(ui->processes_cgroup(), std::nullopt);
  ui->feed_audit(std::vector<control::AuditEvent>{
      {"2026-11-24T08:00:06.123Z", "end", "limit", "rule calm", "refused",
       "402 MiB are in use: memory_current is 402MiB"},
      {"2026-11-24T07:59:58.001Z", "fire", "", "rule calm", "", "memory_current is 402MiB, above 300MiB for 30s"},
      {"2026-11-24T07:10:00.000Z", "end", "freeze", "uid 0", "done", kHostileUnit}});
  expect_golden("audit-120x30", show(30, 120));
  ui->feed_audit(std::vector<control::AuditEvent>());
  EXPECT_THAT(show(30, 120), HasSubstr("No recent actions by cgwarden."));
  ui->feed_audit(tl::unexpected(base::Error{EACCES, "cannot read /var/log/cgwarden/audit.jsonl: Permission denied"}));
  EXPECT_THAT(show(30, 120), HasSubstr("Actions by cgwarden are unknown: cannot read"));
}

// ---- actions: first the dry run, then the plan ----

model::Outcome freeze_plan(std::int64_t processes) {
  auto plan = model::outcome_of(model::Outcome::Kind::done, "for 60 s");
  plan.changes.push_back({"cgroup.freeze", "0", "1", ""});
  plan.route = "systemd";
  plan.processes = processes;
  plan.dry_run = true;
  return plan;
}

class ActionDialog : public Screen {
 protected:
  void SetUp() override {
    Screen::SetUp();
    press("/name=nginx.service\n");
    press("G");
  }
  Ui::UiRequest key(char32_t k) { return ui->press(k); }
};

TEST_F(ActionDialog, ShowsThePlanAndAppliesItAfterEnter) {
  ASSERT_EQ(key('f'), Ui::UiRequest::act);
  const auto plan = ui->action_request();
  EXPECT_TRUE(plan.action.dry_run);
  EXPECT_EQ(plan.action.verb, model::Verb::freeze);
  EXPECT_EQ(plan.action.cgroup.path, "/system.slice/nginx.service");
  EXPECT_NE(plan.action.cgroup.id, 0U) << "identifies this instance of the cgroup, not a later one at the same path";
  EXPECT_EQ(key(key::kEnter), Ui::UiRequest::nothing) << "the plan is not known yet";
  ui->set_outcome(plan, freeze_plan(18));
  expect_golden("freeze-80x24", show(24, 80));
  expect_golden("freeze-40x8", show(8, 40));

  ASSERT_EQ(key(key::kEnter), Ui::UiRequest::act);
  const auto act = ui->action_request();
  EXPECT_FALSE(act.action.dry_run);
  EXPECT_THAT(show(24, 80), HasSubstr("running"));
  auto done = model::outcome_of(model::Outcome::Kind::done, "for 60 s");
  done.undo = "a1";
  ui->set_outcome(act, done);
  EXPECT_THAT(show(24, 120), HasSubstr("freeze /system.slice/nginx.service: done, for 60 s; press u to undo"));
  EXPECT_THAT(show(24, 120), Not(HasSubstr("+-- Freeze")));
}

TEST_F(ActionDialog, PlansAgainWhenAnInputChanges) {
  ASSERT_EQ(key('f'), Ui::UiRequest::act);
  ui->set_outcome(ui->action_request(), freeze_plan(18));
  press(
      "\x15"
      "5m");
  ASSERT_EQ(key(key::kEnter), Ui::UiRequest::act);
  EXPECT_TRUE(ui->action_request().action.dry_run);
  EXPECT_EQ(ui->action_request().action.lease, std::chrono::minutes(5));
  ui->set_outcome(ui->action_request(), freeze_plan(18));
  press("x");
  EXPECT_EQ(key(key::kEnter), Ui::UiRequest::nothing);
  EXPECT_THAT(show(24, 80), HasSubstr("5mx"));
}

TEST_F(ActionDialog, RequiresTheNameForAKill) {
  ASSERT_EQ(key('x'), Ui::UiRequest::act);
  ui->set_outcome(ui->action_request(), model::outcome_of(model::Outcome::Kind::done, "18 processes in 1 cgroup"));
  EXPECT_EQ(key(key::kEnter), Ui::UiRequest::nothing);
  press("nginx");
  EXPECT_EQ(key(key::kEnter), Ui::UiRequest::nothing);
  EXPECT_THAT(show(24, 80), HasSubstr("type the name to confirm: nginx.service"));
  press(".service");
  ASSERT_EQ(key(key::kEnter), Ui::UiRequest::act);
  EXPECT_EQ(ui->action_request().action.verb, model::Verb::kill);
  EXPECT_FALSE(ui->action_request().action.dry_run);
}

TEST_F(ActionDialog, RequiresTheNameToFreezeManyProcesses) {
  ASSERT_EQ(key('f'), Ui::UiRequest::act);
  ui->set_outcome(ui->action_request(), freeze_plan(51));
  EXPECT_EQ(key(key::kEnter), Ui::UiRequest::nothing);
  press("nginx.service");
  EXPECT_EQ(key(key::kEnter), Ui::UiRequest::act);
}

TEST_F(ActionDialog, EditsLimitsNextToTheirCurrentValues) {
  ASSERT_EQ(key('L'), Ui::UiRequest::nothing);
  expect_golden("limit-120x30", show(30, 120));
  EXPECT_EQ(key(key::kEnter), Ui::UiRequest::nothing);
  EXPECT_THAT(show(24, 80), HasSubstr("no setting to change"));
  press("1.5G");
  for (int i = 0; i < 4; ++i) key(key::kDown);
  press("250%");
  for (int i = 0; i < 4; ++i) key(key::kTab);
  press("io.max.wbps@vda=50M pids.max=100");
  key(key::kDown);
  press("1h");
  ASSERT_EQ(key(key::kEnter), Ui::UiRequest::act);
  const auto action = ui->action_request().action;
  EXPECT_EQ(action.lease, std::chrono::hours(1));
  std::vector<std::string> texts;
  for (const auto& setting : action.settings) texts.push_back(model::to_text(setting));
  EXPECT_THAT(texts, testing::ElementsAre("memory.max=1610612736", HasSubstr("cpu.max="), "io.max.wbps@vda=52428800",
                                          "pids.max=100"));
}

TEST_F(ActionDialog, ReportsInvalidInputAndAllowsCorrection) {
  ASSERT_EQ(key('L'), Ui::UiRequest::nothing);
  press("lots");
  EXPECT_EQ(key(key::kEnter), Ui::UiRequest::nothing);
  EXPECT_THAT(show(24, 80), HasSubstr("lots"));
  press(
      "\x15"
      "1M");
  ASSERT_EQ(key(key::kEnter), Ui::UiRequest::act);
  ui->set_outcome(ui->action_request(),
                  model::outcome_of(model::Outcome::Kind::refused, "402 MiB are in use", "below-use"));
  EXPECT_THAT(show(24, 80), HasSubstr("402 MiB are in use [below-use]"));
  press(
      "\x15"
      "1G");
  EXPECT_EQ(key(key::kEnter), Ui::UiRequest::act);
}

TEST_F(ActionDialog, ReadsSignalsProcessesAndSizes) {
  ASSERT_EQ(key('K'), Ui::UiRequest::nothing);
  press(
      "\x15"
      "nonsense");
  EXPECT_EQ(key(key::kEnter), Ui::UiRequest::nothing);
  EXPECT_THAT(show(24, 80), HasSubstr("unknown signal 'nonsense'"));
  press(
      "\x15"
      "HUP");
  key(key::kDown);
  press("12 x");
  EXPECT_EQ(key(key::kEnter), Ui::UiRequest::nothing);
  EXPECT_THAT(show(24, 80), HasSubstr("'x': not a process ID"));
  press(
      "\x7f"
      "13");
  ASSERT_EQ(key(key::kEnter), Ui::UiRequest::act);
  EXPECT_EQ(ui->action_request().action.signal, 1);
  EXPECT_THAT(ui->action_request().action.pids, testing::ElementsAre(12, 13));
  key(key::kEscape);

  ASSERT_EQ(key('r'), Ui::UiRequest::nothing);
  ASSERT_EQ(key(key::kEnter), Ui::UiRequest::act);
  EXPECT_EQ(ui->action_request().action.bytes, 256 << 20);
  key(key::kEscape);

  ASSERT_EQ(key('M'), Ui::UiRequest::nothing);
  EXPECT_EQ(key(key::kEnter), Ui::UiRequest::nothing);
  EXPECT_THAT(show(24, 80), HasSubstr("type at least one process ID"));
  press("12");
  key(key::kDown);
  press("shop");
  EXPECT_EQ(key(key::kEnter), Ui::UiRequest::nothing);
  EXPECT_THAT(show(24, 80), HasSubstr("must begin with /"));
  press("\x15/shop");
  ASSERT_EQ(key(key::kEnter), Ui::UiRequest::act);
  EXPECT_EQ(ui->action_request().action.target.path, "/shop");
}

TEST_F(ActionDialog, IgnoresTheMouse) {
  ASSERT_EQ(click("x kill"), Ui::UiRequest::act) << "requests only the plan";
  ui->set_outcome(ui->action_request(), model::outcome_of(model::Outcome::Kind::done, "18 processes in 1 cgroup"));
  EXPECT_EQ(click("Enter apply"), Ui::UiRequest::nothing);
  const auto cursor = ui->scene().cursor;
  EXPECT_EQ(click("system.slice"), Ui::UiRequest::nothing);
  EXPECT_EQ(ui->scene().cursor, cursor);
  EXPECT_TRUE(ui->scene().dialog);
}

TEST_F(ActionDialog, UndoesTheActionNamedInThePlan) {
  ASSERT_EQ(key('u'), Ui::UiRequest::act);
  EXPECT_TRUE(ui->action_request().undo);
  EXPECT_EQ(ui->action_request().undo_id, "");
  auto plan = model::outcome_of(model::Outcome::Kind::done, "takes back: limit /shop");
  plan.undo = "a7";
  ui->set_outcome(ui->action_request(), plan);
  EXPECT_THAT(show(24, 80), HasSubstr("takes back: limit /shop"));
  ASSERT_EQ(key(key::kEnter), Ui::UiRequest::act);
  EXPECT_EQ(ui->action_request().undo_id, "a7") << "another action may have happened in between";
}

TEST_F(ActionDialog, IgnoresOutcomesOfClosedDialogs) {
  ASSERT_EQ(key('x'), Ui::UiRequest::act);
  const auto canceled = ui->action_request();
  key(key::kEscape);
  ASSERT_EQ(key('f'), Ui::UiRequest::act);
  ui->set_outcome(canceled, model::outcome_of(model::Outcome::Kind::done, "18 processes in 1 cgroup"));
  EXPECT_THAT(show(24, 80), Not(HasSubstr("18 processes")));
  EXPECT_EQ(key(key::kEnter), Ui::UiRequest::nothing) << "the plan of the kill does not belong to the freeze";
  ui->set_outcome(ui->action_request(), freeze_plan(1));
  ASSERT_EQ(key(key::kEnter), Ui::UiRequest::act);
  const auto running = ui->action_request();
  key(key::kEscape);
  EXPECT_THAT(show(24, 80), HasSubstr("the action continues"));
  ui->set_outcome(running, model::outcome_of(model::Outcome::Kind::timeout, "2 tasks did not stop"));
  EXPECT_THAT(show(24, 120), HasSubstr("freeze /system.slice/nginx.service: not done: 2 tasks did not stop"));
}

TEST_F(ActionDialog, IsDisabledByReadOnly) {
  ui->scene().actions_disabled = "actions are disabled by --read-only";
  for (const char32_t k : {U'f', U't', U'x', U'L', U'r', U'K', U'M', U'u'}) {
    EXPECT_EQ(key(k), Ui::UiRequest::nothing);
    EXPECT_FALSE(ui->scene().dialog);
    EXPECT_THAT(show(24, 80), HasSubstr("--read-only"));
  }
}

TEST_F(ActionDialog, EscapesHostileNames) {
  key(key::kEscape);
  press("/evil\n");
  press("G");
  for (const char32_t k : {U'f', U'L', U'K'}) {
    (void)key(k);
    ui->set_outcome(ui->action_request(), model::outcome_of(model::Outcome::Kind::refused, kHostileUnit));
    for (const unsigned char c : show(24, 80)) ASSERT_TRUE(c == '\n' || (c >= 0x20 && c != 0x7F && c != 0xFF));
    key(key::kEscape);
  }
}

TEST_F(Screen, ContainsNoControlCharacterAtAnySize) {
  for (const bool paths : {false, true}) {
    ui->scene().paths = paths;
    for (int rows = 0; rows < 40; ++rows) {
      for (const int width : {0, 1, 19, 20, 39, 40, 41, 60, 80, 133, 250}) {
        const auto text = show(rows, width);
        for (std::size_t i = 0; i < text.size(); ++i) {
          const auto byte = static_cast<unsigned char>(text[i]);
          ASSERT_TRUE(byte >= 0x20 || byte == '\n') << rows << 'x' << width;
          ASSERT_NE(byte, 0x7F);
          ASSERT_NE(byte, 0xFF);
          ASSERT_FALSE(byte == 0xC2 && static_cast<unsigned char>(text[i + 1]) < 0xA0);
        }
        ASSERT_EQ(text.find("\xe2\x80\xae"), std::string::npos);
      }
    }
  }
}

TEST_F(Screen, SurvivesRandomInputAtAnySize) {
  std::uint32_t seed = 7;
  const auto random = [&](std::uint32_t below) {
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8U) % below;
  };
  constexpr std::string_view kKeys =
      "jkgGhl +-*\n\t1234567890cmisSCTNowzaedUp<>[]{}JE/&nyY?%:\x1b\x06\x0c\x0e\x15\x7f()x";
  for (int i = 0; i < 4000; ++i) {
    const auto n = random(8);
    if (n == 0) {
      ui->press(key::kUp + random(10));
    } else if (n == 2) {
      const auto what =
          std::array{MouseEvent::Kind::click, MouseEvent::Kind::wheel_up, MouseEvent::Kind::wheel_down}[random(3)];
      ui->press(MouseEvent{what, static_cast<int>(random(36)) - 1, static_cast<int>(random(142)) - 1, random(2) == 0});
    } else if (n == 1 && i % 10 == 0) {
      ui->feed(db07(4 + i, random(2) == 0 ? kNginx : ""), host());
    } else if (const auto k = kKeys[random(static_cast<std::uint32_t>(kKeys.size()))]; k != 'q') {
      ui->press(static_cast<char32_t>(k));
    }
    if (i % 8 == 0) show(static_cast<int>(random(34)), static_cast<int>(random(140)));
  }
}

TEST_F(Screen, HandlesTwentyKeysWithinOneSecondForTenThousandCgroups) {
  const auto many = [](int round) {
    SnapshotMaker m(round);
    m.cgroup(1, "/");
    return m.make();
  };
  auto big = [&](int round) {
    auto snapshot = std::make_shared<model::Snapshot>(*many(round));
    auto cgroup_list = std::make_shared<model::CgroupList>(*snapshot->cgroup_list);
    for (model::CgroupIndex g = 1; g < 10'000; ++g) {
      auto cgroup = std::make_shared<model::Cgroup>();
      cgroup->id = g + 1;
      cgroup->path = g % 100 == 1
                         ? "/s" + std::to_string(10'000 + g)
                         : "/s" + std::to_string(10'000 + g - (g + 99) % 100) + "/u" + std::to_string(g) + ".service";
      cgroup_list->cgroups.push_back(cgroup);
      cgroup_list->parents.push_back(g % 100 == 1 ? 0 : g - (g + 99) % 100);
    }
    auto& dense = snapshot->columns[*test::catalogue()->find("cpu_usage")].dense;
    for (model::CgroupIndex g = 0; g < 10'000; ++g) dense.push_back(Value::of(round * 1000 * g));
    snapshot->cgroup_list = cgroup_list;
    return snapshot;
  };
  ui->feed(big(20), host());
  ui->feed(big(21), host());
  const auto started = std::clock();
  for (int i = 0; i < 20; ++i) {
    press("j");
    show(30, 120);
  }
  const auto keys = std::clock() - started;
  ui->feed(big(22), host());
  EXPECT_LT(static_cast<double>(keys) / CLOCKS_PER_SEC, 1.0) << "twenty keys, in a debug build";
  EXPECT_THAT(show(30, 120), HasSubstr("10000 of 10000"));
}

// ---- themes ----

// Relative luminance (WCAG 2) of one of the colors 16 to 255, which are the same on every terminal with 256 colors.
double luminance(short color) {
  const auto linear = [](int c) {
    const double part = c / 255.0;
    return part <= 0.03928 ? part / 12.92 : std::pow((part + 0.055) / 1.055, 2.4);
  };
  const auto level = [](int c) { return c == 0 ? 0 : 55 + 40 * c; };
  int r = 8 + 10 * (color - 232);
  int g = r;
  int b = r;
  if (color < 232) {
    r = level((color - 16) / 36);
    g = level((color - 16) / 6 % 6);
    b = level((color - 16) % 6);
  }
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
}

double contrast(double a, double b) { return (std::max(a, b) + 0.05) / (std::min(a, b) + 0.05); }

TEST(Theme, HasEnoughContrastOnItsBackground) {
  const auto worst_contrast = [](std::string_view name, double background) {
    double worst = 21;
    for (const auto& role : find_theme(name)->roles) {
      if (role.color_256 >= 16) worst = std::min(worst, contrast(luminance(role.color_256), background));
    }
    return worst;
  };
  EXPECT_GE(worst_contrast("dark", luminance(16)), 4.5);
  EXPECT_GE(worst_contrast("light", luminance(231)), 4.5);
  const auto& high = *find_theme("high-contrast");
  ASSERT_GE(high.background_256, 16) << "it sets its own background";
  EXPECT_GE(worst_contrast("high-contrast", luminance(high.background_256)), 7.0);
  for (const auto& role : high.roles) EXPECT_GE(role.color_256, 16);
}

TEST(Theme, DistinguishesBadWithoutColor) {
  for (const auto* const name : {"high-contrast", "mono"}) {
    const auto looks = [&](Style style) {
      const auto p = paint(*find_theme(name), style, 0);
      return std::array{p.bold, p.reverse, p.underline};
    };
    EXPECT_NE(looks(kBad), looks(kPlain)) << name;
    EXPECT_TRUE(std::string_view(name) == "mono" || looks(kWarn) != looks(kBad)) << name;
  }
}

TEST(Theme, UsesNoColorThatTheTerminalLacks) {
  for (const auto& theme : kThemes) {
    for (const auto& style : {kPlain, kTitle, kWarn, kBad, kGraph}) {
      EXPECT_EQ(paint(theme, style, 0).fg, -1);
      EXPECT_EQ(paint(theme, style, 0).bg, -1);
      for (const int colors : {8, 16, 88}) EXPECT_LT(paint(theme, style, colors).fg, 8) << theme.name;
      EXPECT_LT(paint(theme, style, 8).bg, 8) << theme.name;
      EXPECT_TRUE(theme.name != "mono" || paint(theme, style, 256).fg == -1);
    }
  }
  EXPECT_EQ(find_theme("nonsense"), nullptr);
}

TEST(Grid, PlacesWideCharactersAndClipsAtItsEdges) {
  Grid grid(2, 6);
  EXPECT_EQ(grid.put(0, 0, "a日b"), 4);
  grid.put(0, 5, "日");
  grid.put(1, -1, "xyz");
  grid.put(1, 3, "e\u0301\x1b");
  grid.put(7, 0, "far");
  EXPECT_EQ(grid.text(), "a日b\nyz e\u0301?\n");
}

TEST(GraphText, ScalesToTheLargestValue) {
  Graph graph;
  graph.fill(-1);
  graph[57] = 0;
  graph[58] = 1;
  graph[59] = 2;
  EXPECT_EQ(graph_text(graph, 5, true), "  .=%");
}

}  // namespace
}  // namespace cgwarden::cgtop
