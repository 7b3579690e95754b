// SPDX-License-Identifier: Apache-2.0
// The interactive cgtop without a terminal: snapshots and keys go in, a grid comes out. Whole sessions are tested as
// text.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/cgtop/command.h"
#include "src/cgtop/dialog.h"
#include "src/cgtop/format.h"
#include "src/cgtop/frame.h"
#include "src/cgtop/grid.h"
#include "src/cgtop/host.h"
#include "src/cgtop/keys.h"
#include "src/cgtop/recording.h"
#include "src/cgtop/theme.h"
#include "src/control/audit.h"

namespace cgwarden::cgtop {

inline constexpr std::size_t kGraphSamples = 60;
// CPU of one cgroup, a value a sample; negative: not known.
using Graph = std::array<float, kGraphSamples>;

enum class Page : std::uint8_t { list, cgroup, help };
enum class Tab : std::uint8_t { summary, processes, memory, devices, pressure, limits, events, namespaces };
inline constexpr std::size_t kTabCount = 8;
inline constexpr std::array<std::string_view, kTabCount> kTabNames = {"Summary",  "Processes", "Memory", "IO devices",
                                                                      "Pressure", "Limits",    "Events", "Namespaces"};
inline constexpr std::array<std::string_view, kTabCount> kShortTabNames = {"Summary", "Procs",  "Mem",    "IO",
                                                                           "PSI",     "Limits", "Events", "Ns"};

// A piece of the time that samples are known of; one value a cell of the screen.
struct TimeLine {
  base::Wall from, to;
  base::Wall at;                    // of the sample shown
  std::vector<float> cpu;           // of the topmost cgroup, of one core; negative: no sample
  std::vector<std::uint8_t> marks;  // record::Mark
  std::size_t here = 0;             // cell of the sample shown
  std::string event;                // what happened there
};

// A cgroup that was on the list and is no more.
struct Gone {
  std::uint64_t id = 0;
  std::uint64_t parent = 0;  // 0: it was the topmost
  std::string path, name;
  base::Monotonic since{};  // of the first sample without it
};

// What a view needs to know. Data only.
struct Scene {
  const Columns* columns = nullptr;
  std::shared_ptr<const Table> table;  // null before the first sample
  Host host;
  View view;
  Frame frame;
  std::vector<ColumnId> shown;  // columns of the list after the name, most important first
  std::string set_name;
  std::size_t set = 0;  // kColumnSetCount: chosen by hand

  Page page = Page::list;
  std::vector<Gone> gone;  // in order of paths
  bool show_gone = true;
  std::size_t cursor = 0;  // row
  std::size_t offset = 0;  // first row on the screen
  bool paths = false;      // whole paths instead of names
  Units units = Units::iec;
  CpuScale cpu = CpuScale::core;
  bool ascii = false;
  const Theme* theme = kThemes.data();
  bool mouse = true;  // kept for the next time; the terminal has it
  bool paused = false;
  std::size_t back = 0;  // samples behind the newest
  bool replay = false;
  std::string source = "cgroupfs";  // as outputs for programs call it
  bool fleet = false;               // of several hosts: each is a cgroup at the top
  bool recording = false;
  std::optional<std::chrono::seconds> lost;  // for so long the source gave no answer
  base::Wall oldest, newest;                 // of what is known
  std::chrono::minutes span{60};             // of the time line
  std::optional<TimeLine> time_line;
  std::chrono::milliseconds delay{2000};

  std::uint64_t cgroup = 0;  // of the cgroup's page
  std::string cgroup_path;
  Tab tab = Tab::summary;
  std::size_t scroll = 0;
  bool wrap = false;  // long lines of a cgroup's page go on below, instead of being cut
  std::optional<Processes> processes;
  // What cgwarden did to the cgroup, or why that is not known; on its page of events.
  std::optional<base::Result<std::vector<control::AuditEvent>>> audit;
  std::size_t help_page = 0;

  enum class Prompt : std::uint8_t { none, filter, search, jump, command };
  Prompt prompt = Prompt::none;
  std::string prompt_text;
  std::string prompt_error;
  std::string prompt_hint;  // how it can go on
  std::string filter_text;
  std::string message;

  enum class Menu : std::uint8_t { none, sort, columns };
  Menu menu = Menu::none;
  std::string menu_find;
  std::vector<ColumnId> menu_items;
  std::size_t menu_cursor = 0;

  std::optional<Dialog> dialog;
  std::string why_no_acts;  // empty: keys may act

  std::unordered_map<std::uint64_t, Graph> graphs;
};

class Ui {
 public:
  enum class UiRequest : std::uint8_t { nothing, quit, sample, redraw, record, act, save, copy };

  Ui(const Columns& columns, View view, const std::string& filter_text);

  void feed(const TakenSample& taken);
  void feed(const model::SnapshotPtr& snapshot, const Host& host) { feed(TakenSample{snapshot, host}); }
  // A recording instead of what is fed, from that sample on.
  void replay(std::unique_ptr<History> history, std::size_t first);
  // The next sample of a recording, unless it is paused.
  void step();
  UiRequest press(char32_t key);
  UiRequest press(const Pointed& pointed);
  void draw(Grid& grid);

  // The cgroup whose processes, or whose audit, are on the screen, if any are.
  [[nodiscard]] std::optional<std::string> wants_processes() const { return wants(Tab::processes); }
  [[nodiscard]] std::optional<std::string> wants_audit() const { return wants(Tab::events); }
  void feed_processes(Processes processes);
  void feed_audit(base::Result<std::vector<control::AuditEvent>> audit) { scene_.audit = std::move(audit); }
  // What Wish::act is about, and its answer. Whoever pressed Escape meanwhile is told only how it ended, if it did.
  struct Ask {
    std::uint64_t ticket = 0;
    bool undo = false;
    std::string undo_id;
    model::Action action;
  };
  [[nodiscard]] Ask asked() const;
  // What Wish::copy is about: printable, and no more than a clipboard takes.
  [[nodiscard]] const std::string& to_copy() const { return to_copy_; }
  void answer(const Ask& ask, model::Outcome outcome);
  void choose_set(std::size_t set);
  void choose_columns(std::vector<ColumnId> columns);
  void say(std::string message) { scene_.message = std::move(message); }
  [[nodiscard]] Scene& scene() { return scene_; }

 private:
  [[nodiscard]] std::optional<std::string> wants(Tab tab) const;
  void show(std::size_t back);
  void show_time(base::Wall at);
  void show_event(bool forward);
  void jump(std::string_view text);
  void make_time_line(int columns);
  void redo_graphs();
  void rearrange();
  void keep_gone(const Table* before);
  void add_gone();
  void filter_by(Filter filter);
  [[nodiscard]] std::uint64_t id_of(const Row& row) const;
  void sort_by(ColumnId column);
  void remember_cpu(const Table& table);
  void move(std::ptrdiff_t rows);
  void scroll_list(std::ptrdiff_t rows);
  UiRequest turn_wheel(bool down);
  UiRequest click_on(const Spot& spot);
  void fold(bool all_below, std::optional<bool> to);
  void fold_everything(bool folded);
  void find(bool forward);
  void open_cgroup();
  void open_page(model::CgroupIndex cgroup);
  void open_menu(Scene::Menu menu);
  UiRequest open_dialog(std::optional<model::Verb> verb);
  void find_in_menu();
  void move_column(bool later);
  [[nodiscard]] std::optional<model::CgroupIndex> under_cursor() const;
  // Of the page that is open, or under the cursor.
  [[nodiscard]] std::optional<model::CgroupIndex> cgroup_here() const;
  [[nodiscard]] std::string why_no_cgroup() const;
  UiRequest copy_cgroup(bool as_json);
  UiRequest press_list(char32_t key);
  UiRequest press_cgroup(char32_t key);
  UiRequest press_prompt(char32_t key);
  void open_prompt(Scene::Prompt prompt, std::string text);
  UiRequest enter_command();
  base::Result<UiRequest> execute(const Command& command);
  UiRequest press_menu(char32_t key);
  UiRequest press_dialog(char32_t key);
  bool press_common(char32_t key, UiRequest& request);

  const Columns& columns_;
  Scene scene_;
  Ring ring_;
  std::unique_ptr<History> replayed_;
  History* history_ = &ring_;
  std::size_t graphs_at_ = 0;    // sample that the graphs end with
  std::uint64_t cursor_id_ = 0;  // the cursor stays on this cgroup
  int page_rows_ = 10;
  std::size_t last_scroll_ = 0;  // of the cgroup's page that was drawn last
  std::vector<Spot> spots_;      // of what was drawn last
  enum class Clicked : std::uint8_t { nothing, selected, opened };
  Clicked clicked_ = Clicked::nothing;  // what the click before did
  std::string search_;
  std::string to_copy_;
  std::uint64_t dialogs_ = 0;  // opened so far: the ticket of what is asked
};

}  // namespace cgwarden::cgtop
