// SPDX-License-Identifier: Apache-2.0
// The interactive cgtop without a terminal: takes samples, keys and mouse events, draws on a Grid. It does no I/O and
// belongs to one thread, so tests run whole sessions as text.
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
// CPU of one cgroup, one value per sample, in cores, oldest first; negative: unknown.
using Graph = std::array<float, kGraphSamples>;

enum class Page : std::uint8_t { list, cgroup, help };
enum class Tab : std::uint8_t { summary, processes, memory, devices, pressure, limits, events, namespaces };
inline constexpr std::size_t kTabCount = 8;
inline constexpr std::array<std::string_view, kTabCount> kTabNames = {"Summary",  "Processes", "Memory", "IO devices",
                                                                      "Pressure", "Limits",    "Events", "Namespaces"};
inline constexpr std::array<std::string_view, kTabCount> kShortTabNames = {"Summary", "Procs",  "Mem",    "IO",
                                                                           "PSI",     "Limits", "Events", "Ns"};

// The time span around the sample shown; `cpu` and `marks` have one entry per screen cell.
struct Timeline {
  base::Wall from, to;
  base::Wall at;                    // time of the sample shown
  std::vector<float> cpu;           // CPU of the root cgroup, in cores; negative: no sample
  std::vector<std::uint8_t> marks;  // bits of record::Mark
  std::size_t here = 0;             // cell of the sample shown
  std::string event;                // what happened in the sample shown; may be empty
};

// A cgroup that was in the list and has been removed.
struct RemovedCgroup {
  std::uint64_t id = 0;
  std::uint64_t parent = 0;  // id; 0: it had no parent
  std::string path, name;
  base::Monotonic since{};  // time of the first sample without it
};

// Everything that a view draws. Data only.
struct Scene {
  const Columns* columns = nullptr;
  std::shared_ptr<const Table> table;  // null before the first sample
  Host host;
  View view;
  Frame frame;
  std::vector<ColumnId> shown;  // columns of the list after the name, most important first
  std::string set_name;
  std::size_t set = 0;  // index into kColumnSets; kColumnSetCount: columns chosen by the user

  Page page = Page::list;
  std::vector<RemovedCgroup> removed;  // sorted by path
  bool show_removed = true;
  std::size_t cursor = 0;  // row
  std::size_t offset = 0;  // first row on the screen
  bool paths = false;      // show full paths instead of names
  Units units = Units::iec;
  CpuScale cpu = CpuScale::core;
  bool ascii = false;
  const Theme* theme = kThemes.data();
  bool mouse = true;  // setting to save; Terminal implements it
  bool paused = false;
  std::size_t back = 0;  // samples between the one shown and the newest
  bool replay = false;
  std::string source = "cgroupfs";  // SampleSource::name()
  bool fleet = false;               // several hosts; each is a top-level cgroup
  bool recording = false;
  std::optional<std::chrono::seconds> no_answer_for;  // time since the last sample, while the source fails
  base::Wall oldest, newest;                          // of the samples available
  std::chrono::minutes span{60};                      // of the timeline
  std::optional<Timeline> timeline;
  std::chrono::milliseconds delay{2000};

  std::uint64_t cgroup = 0;  // id of the cgroup whose page is open
  std::string cgroup_path;
  Tab tab = Tab::summary;
  std::size_t scroll = 0;
  bool wrap = false;  // wrap long lines of a cgroup's page instead of truncating them
  std::optional<Processes> processes;
  // Actions of cgwarden on the cgroup, newest first, or why they are unknown; for the Events tab.
  std::optional<base::Result<std::vector<control::AuditEvent>>> audit;
  std::size_t help_page = 0;

  enum class Prompt : std::uint8_t { none, filter, search, jump, command };
  Prompt prompt = Prompt::none;
  std::string prompt_text;
  std::string prompt_error;
  std::string prompt_hint;  // possible completions
  std::string filter_text;
  std::string message;

  enum class Menu : std::uint8_t { none, sort, columns };
  Menu menu = Menu::none;
  std::string menu_find;
  std::vector<ColumnId> menu_items;
  std::size_t menu_cursor = 0;

  std::optional<Dialog> dialog;
  std::string actions_disabled;  // why action keys are disabled; empty: they are enabled

  std::unordered_map<std::uint64_t, Graph> graphs;
};

class Ui {
 public:
  enum class UiRequest : std::uint8_t { nothing, quit, sample, redraw, record, act, save, copy };

  Ui(const Columns& columns, View view, const std::string& filter_text);

  void feed(const Sample& taken);
  void feed(const model::SnapshotPtr& snapshot, const Host& host) { feed(Sample{snapshot, host}); }
  // Shows a recording, starting with sample `first`, instead of the samples fed.
  void replay(std::unique_ptr<History> history, std::size_t first);
  // Shows the next sample of a recording, unless paused.
  void step();
  UiRequest press(char32_t key);
  UiRequest press(const MouseEvent& event);
  void draw(Grid& grid);

  // Path of the cgroup whose processes, or whose audit records, are on the screen; nullopt: none are.
  [[nodiscard]] std::optional<std::string> processes_cgroup() const { return cgroup_of_tab(Tab::processes); }
  [[nodiscard]] std::optional<std::string> audit_cgroup() const { return cgroup_of_tab(Tab::events); }
  void feed_processes(Processes processes);
  void feed_audit(base::Result<std::vector<control::AuditEvent>> audit) { scene_.audit = std::move(audit); }
  // What to do for UiRequest::act. Its outcome goes to set_outcome(); if the user has closed the dialog by then, only
  // the outcome of a real run is shown, as a message.
  struct ActionRequest {
    std::uint64_t ticket = 0;  // number of the dialog
    bool undo = false;
    std::string undo_id;
    model::Action action;
  };
  [[nodiscard]] ActionRequest action_request() const;
  // The text for UiRequest::copy: printable, at most kMaxClipboard bytes.
  [[nodiscard]] const std::string& clipboard_text() const { return clipboard_text_; }
  void set_outcome(const ActionRequest& request, model::Outcome outcome);
  void choose_set(std::size_t set);
  void choose_columns(std::vector<ColumnId> columns);
  void set_message(std::string message) { scene_.message = std::move(message); }
  [[nodiscard]] Scene& scene() { return scene_; }

 private:
  [[nodiscard]] std::optional<std::string> cgroup_of_tab(Tab tab) const;
  void show(std::size_t back);
  void show_time(base::Wall at);
  void show_event(bool forward);
  void jump(std::string_view text);
  void make_timeline(int columns);
  void rebuild_graphs();
  void rearrange();
  void remember_removed(const Table* before);
  void add_removed_rows();
  void filter_by(Filter filter);
  [[nodiscard]] std::uint64_t id_of(const Row& row) const;
  void sort_by(ColumnId column);
  void append_to_graphs(const Table& table);
  void move(std::ptrdiff_t rows);
  void scroll_list(std::ptrdiff_t rows);
  UiRequest scroll_by_wheel(bool down);
  UiRequest click(const ClickTarget& target);
  void fold(bool whole_subtree, std::optional<bool> folded_to);
  void fold_everything(bool folded);
  void find(bool forward);
  void open_cgroup();
  void open_page(model::CgroupIndex cgroup);
  void open_menu(Scene::Menu menu);
  UiRequest open_dialog(std::optional<model::Verb> verb);
  void update_menu_items();
  void move_column(bool later);
  [[nodiscard]] std::optional<model::CgroupIndex> under_cursor() const;
  // The cgroup whose page is open, otherwise the one under the cursor.
  [[nodiscard]] std::optional<model::CgroupIndex> selected_cgroup() const;
  [[nodiscard]] std::string no_cgroup_reason() const;
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
  RecentSamples recent_samples_;
  std::unique_ptr<History> replayed_;
  History* history_ = &recent_samples_;
  std::size_t graphs_at_ = 0;    // sample that the graphs end with
  std::uint64_t cursor_id_ = 0;  // id of the cgroup under the cursor
  int page_rows_ = 10;
  std::size_t help_pages_ = 1;              // at the height of the last draw()
  std::size_t last_scroll_ = 0;             // scroll position of the last screenful of the cgroup's page
  std::vector<ClickTarget> click_targets_;  // of the last draw()
  enum class LastClick : std::uint8_t { nothing, selected, opened };  // what the last click did
  LastClick last_click_ = LastClick::nothing;
  std::string search_;
  std::string clipboard_text_;
  std::uint64_t dialog_count_ = 0;  // dialogs opened so far
};

}  // namespace cgwarden::cgtop
