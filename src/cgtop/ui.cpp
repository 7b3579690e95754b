// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/ui.h"

#include <algorithm>
#include <functional>
#include <unordered_set>
#include <utility>

#include "src/base/text.h"
#include "src/cgtop/print.h"
#include "src/cgtop/views.h"

namespace cgwarden::cgtop {

using model::CgroupIndex;

namespace {

constexpr std::size_t kMaxGraphed = 200'000;  // cgroups times samples read to rebuild the graphs
constexpr std::size_t kMaxRemoved = 100;      // removed cgroups kept in the list, the newest ones
constexpr std::chrono::seconds kShowRemovedFor{60};
constexpr std::size_t kMaxClipboard = 48U << 10U;  // terminals accept about 74,000 bytes of base64
constexpr std::chrono::nanoseconds kMinGap = std::chrono::seconds(10);

// A setting of the limit editor, and the columns with its current and effective value.
struct LimitRow {
  std::string_view key, now, effective;
};
constexpr LimitRow kLimits[] = {
    {"memory.max", "memory_max", "effective_memory_max"},
    {"memory.high", "memory_high", "effective_memory_high"},
    {"memory.low", "memory_low", ""},
    {"memory.swap.max", "memory_swap_max", "effective_memory_swap_max"},
    {"cpu.max", "cpu_limit", "effective_cpu_max"},
    {"cpu.weight", "cpu_weight", ""},
    {"cpuset.cpus", "cpuset_cpus", ""},
    {"pids.max", "pids_max", "effective_pids_max"},
};

std::string lower(std::string text) {
  for (auto& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

}  // namespace

Ui::Ui(const Columns& columns, View view, const std::string& filter_text) : columns_(columns) {
  scene_.columns = &columns;
  scene_.view = std::move(view);
  scene_.filter_text = filter_text;
  choose_set(0);
}

void Ui::feed(const Sample& taken) {
  const auto& snapshot = taken.snapshot;
  if (!snapshot) return;
  bool gap = false;
  if (recent_samples_.size() > 0) {
    const auto before = *recent_samples_.at(recent_samples_.size() - 1);
    if (before.snapshot == snapshot) return;  // the agent returned the same sample again
    // After a suspend of the host or the terminal, no rate is computed across the gap.
    gap = snapshot->taken - before.snapshot->taken > std::max<std::chrono::nanoseconds>(3 * scene_.delay, kMinGap);
    gap = gap && !taken.before;
    append_to_graphs(Table(columns_, taken.before ? taken.before : gap ? nullptr : before.snapshot, snapshot));
  }
  recent_samples_.add(taken, gap);
  if (scene_.paused) {
    show(std::min(scene_.back + 1, recent_samples_.size() - 1));  // keep showing the same sample
  } else {
    show(0);
  }
}

void Ui::replay(std::unique_ptr<History> history, std::size_t first) {
  replayed_ = std::move(history);
  history_ = replayed_.get();
  scene_.replay = true;
  show(history_->size() - 1 - first);
}

void Ui::step() {
  if (!scene_.replay || scene_.paused) return;
  if (scene_.back == 0) {
    scene_.paused = true;
    scene_.message = "end of the recording";
  } else {
    show(scene_.back - 1);
  }
}

void Ui::show(std::size_t back) {
  const auto size = history_->size();
  if (size == 0) return;
  scene_.back = std::min(back, size - 1);
  const auto at = size - 1 - scene_.back;
  scene_.oldest = history_->moment(0).at;
  scene_.newest = history_->moment(size - 1).at;
  auto taken = history_->at(at);
  if (!taken) {
    scene_.message = taken.error().what;
    return;
  }
  const bool gap = at == 0 || history_->moment(at).after_gap;
  auto before = taken->before;
  if (!gap && !before) {
    if (const auto earlier = history_->at(at - 1)) before = earlier->snapshot;
  }
  if (const auto why = history_->gap_reason(at); !why.empty()) {
    scene_.message = "gap before this sample: " + why;
  }
  const auto shown_before = scene_.table;
  scene_.table = std::make_shared<const Table>(columns_, before, taken->snapshot);
  remember_removed(shown_before.get());
  scene_.host = taken->host;
  if (scene_.replay && at != graphs_at_) {
    if (at == graphs_at_ + 1) {
      append_to_graphs(*scene_.table);
    } else if (at + 1 == graphs_at_) {
      for (auto& [id, graph] : scene_.graphs) {
        std::copy_backward(graph.begin(), graph.end() - 1, graph.end());
        graph.front() = -1;
      }
    } else {
      rebuild_graphs();
    }
    graphs_at_ = at;
  }
  rearrange();
}

// Recomputes the graphs from the samples up to the one shown.
void Ui::rebuild_graphs() {
  scene_.graphs.clear();
  const auto at = history_->size() - 1 - scene_.back;
  const auto cgroups = std::max<std::size_t>(1, scene_.table->size());
  const auto samples = std::min({at, kGraphSamples, kMaxGraphed / cgroups});
  model::SnapshotPtr before;
  for (auto i = at - samples; i <= at; ++i) {
    const auto taken = history_->at(i);
    if (!taken) continue;
    if (i > at - samples) {
      append_to_graphs(Table(columns_, history_->moment(i).after_gap ? nullptr : before, taken->snapshot));
    }
    before = taken->snapshot;
  }
}

// Shows the newest sample at or before the given time.
void Ui::show_time(base::Wall at) {
  const auto size = history_->size();
  if (size == 0) return;
  scene_.paused = true;
  std::size_t best = 0;
  for (std::size_t i = 0; i < size; ++i) {
    if (history_->moment(i).at <= at) best = i;
  }
  if (history_->moment(best).at > at) scene_.message = "no older sample";
  show(size - 1 - best);
}

void Ui::show_event(bool forward) {
  const auto size = history_->size();
  if (size == 0) return;
  scene_.paused = true;
  const auto at = size - 1 - scene_.back;
  for (std::size_t step = 1; forward ? at + step < size : step <= at; ++step) {
    const auto i = forward ? at + step : at - step;
    if (history_->moment(i).marks == 0 && !history_->moment(i).after_gap) continue;
    show(size - 1 - i);
    return;
  }
  scene_.message = forward ? "no event after this sample" : "no event before this sample";
}

void Ui::jump(std::string_view text) {
  if (history_->size() == 0 || text.empty()) return;
  // "+1m" and "-1m" are relative to the sample shown; a time of day refers to its day.
  const auto here = history_->moment(history_->size() - 1 - scene_.back).at;
  if (const auto at = parse_time(text, here)) {
    show_time(*at);
  } else {
    scene_.message = "'" + base::printable(text) + "': invalid time (use 03:41, 2026-11-24 03:41:06, -10m or +1h)";
  }
}

void Ui::make_timeline(int columns) {
  scene_.timeline.reset();
  const auto size = history_->size();
  if (size < 2 || columns < 50 || (!scene_.replay && scene_.back == 0)) return;
  Timeline line;
  const auto at = size - 1 - scene_.back;
  line.at = history_->moment(at).at;
  const auto all = scene_.newest - scene_.oldest;
  const auto span =
      std::min<base::Wall::duration>(scene_.span, std::max<base::Wall::duration>(all, std::chrono::seconds(1)));
  line.from = std::clamp(line.at - span / 2, scene_.oldest, std::max(scene_.oldest, scene_.newest - span));
  line.to = line.from + span;
  const auto cells = static_cast<std::size_t>(columns - 30);
  line.cpu.assign(cells, -1);
  line.marks.assign(cells, 0);
  const auto cell_of = [&](base::Wall t) {
    const auto part = std::chrono::duration<double>(t - line.from) / std::chrono::duration<double>(span);
    return static_cast<std::size_t>(std::clamp(part, 0.0, 1.0) * static_cast<double>(cells - 1));
  };
  const auto add = [&](std::size_t i) {
    const auto& moment = history_->moment(i);
    if (moment.at < line.from || moment.at > line.to) return false;
    const auto cell = cell_of(moment.at);
    // A value is valid from the previous sample to its own.
    auto first = cell;
    if (i > 0 && !moment.after_gap && history_->moment(i - 1).at >= line.from &&
        history_->moment(i - 1).at < moment.at) {
      first = std::min(cell, cell_of(history_->moment(i - 1).at) + 1);
    }
    for (auto c = first; c <= cell; ++c) line.cpu[c] = std::max(line.cpu[c], static_cast<float>(moment.cpu) / 100);
    line.marks[cell] |= moment.marks;
    return true;
  };
  for (auto i = at; i < size && add(i);) ++i;
  for (auto i = at; i > 0 && add(i - 1);) --i;
  line.here = cell_of(line.at);
  const auto marks = history_->moment(at).marks;
  if ((marks & record::kOomKilled) != 0 && scene_.table) {
    line.event = "OOM kill";
    if (const auto field = columns_.known().memory_events_oom_kill) {
      // The deepest cgroup: counters of ancestors include their descendants.
      for (CgroupIndex g = 0; g < scene_.table->size(); ++g) {
        if (scene_.table->delta().difference(*field, g).value_or(0) > 0) {
          line.event = "OOM kill: " + std::string(name_of(scene_.table->now(), g));
        }
      }
    }
  } else if ((marks & record::kFrozen) != 0) {
    line.event = "frozen or thawed";
  } else if (marks != 0) {
    line.event = (marks & record::kCreated) == 0   ? "cgroups removed"
                 : (marks & record::kRemoved) == 0 ? "cgroups created"
                                                   : "cgroups created and removed";
  }
  scene_.timeline = std::move(line);
}

void Ui::append_to_graphs(const Table& table) {
  const auto cpu = columns_.find("cpu");
  std::unordered_map<std::uint64_t, Graph> next;
  next.reserve(table.size());
  for (CgroupIndex g = 0; g < table.size(); ++g) {
    const auto id = table.cgroup(g).id;
    const auto old = scene_.graphs.find(id);
    auto& graph = next.try_emplace(id).first->second;
    if (old == scene_.graphs.end()) {
      graph.fill(-1);
    } else {
      std::copy(old->second.begin() + 1, old->second.end(), graph.begin());
    }
    const auto value = cpu ? table.value(*cpu, g) : model::Value();
    graph.back() = value.is_number() ? static_cast<float>(value.fixed()) / 1e4F : -1.0F;
  }
  scene_.graphs = std::move(next);
}

std::uint64_t Ui::id_of(const Row& row) const {
  return row.removed ? scene_.removed[*row.removed].id : scene_.table->cgroup(row.cgroup).id;
}

// Keeps cgroups that were in the list and have been removed for kShowRemovedFor, so that they do not disappear
// unnoticed.
void Ui::remember_removed(const Table* before) {
  auto& removed = scene_.removed;
  const auto& now = scene_.table->now();
  if (before == nullptr || now.taken < before->now().taken || now.taken - before->now().taken > kShowRemovedFor) {
    removed.clear();  // the samples are too far apart
    return;
  }
  std::erase_if(removed, [&](const RemovedCgroup& g) { return now.taken - g.since >= kShowRemovedFor; });
  if (now.cgroup_list == before->now().cgroup_list) return;
  std::unordered_set<std::uint64_t> ids;
  ids.reserve(now.cgroup_count());
  for (const auto& cgroup : now.cgroup_list->cgroups) ids.insert(cgroup->id);
  std::erase_if(removed, [&](const RemovedCgroup& g) { return ids.contains(g.id); });
  for (const auto& row : scene_.frame.rows) {
    if (row.removed || row.dimmed) continue;
    const auto& cgroup = before->cgroup(row.cgroup);
    if (ids.contains(cgroup.id)) continue;
    const auto parent = before->parent(row.cgroup);
    removed.push_back({cgroup.id, parent == model::kNoCgroup ? 0 : before->cgroup(parent).id, cgroup.path,
                       std::string(name_of(before->now(), row.cgroup)), now.taken});
  }
  if (removed.size() > kMaxRemoved) {
    std::ranges::stable_sort(removed, std::ranges::greater(), &RemovedCgroup::since);
    removed.resize(kMaxRemoved);
  }
  std::ranges::stable_sort(removed, {}, &RemovedCgroup::path);
}

// Adds a row for each: in a tree after the remaining descendants of its parent, in a flat list at the end.
void Ui::add_removed_rows() {
  if (!scene_.show_removed) return;
  auto& rows = scene_.frame.rows;
  for (std::uint32_t i = 0; i < scene_.removed.size(); ++i) {
    Row row{model::kNoCgroup, 0, false, false, true, i};
    auto place = rows.end();
    if (scene_.view.tree && scene_.removed[i].parent != 0 && scene_.removed[i].id != scene_.view.top) {
      const auto parent =
          std::ranges::find_if(rows, [&](const Row& r) { return id_of(r) == scene_.removed[i].parent; });
      if (parent == rows.end() || parent->folded) continue;
      row.depth = static_cast<std::uint16_t>(std::min(parent->depth + 1, 0xFFFF));
      place = std::find_if(parent + 1, rows.end(), [&](const Row& r) { return r.depth < row.depth; });
    }
    rows.insert(place, row);
  }
}

void Ui::filter_by(Filter filter) {
  scene_.view.filter = std::move(filter);
  scene_.removed.clear();  // whether they match the filter is unknown
  rearrange();
}

// Recomputes the rows. The cursor stays on its cgroup; if that has no row any more, on its row number.
void Ui::rearrange() {
  if (!scene_.table) return;
  scene_.frame = arrange(*scene_.table, scene_.view);
  add_removed_rows();
  const auto& rows = scene_.frame.rows;
  const auto found = std::ranges::find_if(rows, [&](const Row& row) { return id_of(row) == cursor_id_; });
  if (found != rows.end()) {
    scene_.cursor = static_cast<std::size_t>(found - rows.begin());
  } else {
    scene_.cursor = rows.empty() ? 0 : std::min(scene_.cursor, rows.size() - 1);
    if (scene_.cursor < rows.size()) cursor_id_ = id_of(rows[scene_.cursor]);
  }
}

std::optional<CgroupIndex> Ui::under_cursor() const {
  if (scene_.cursor >= scene_.frame.rows.size() || scene_.frame.rows[scene_.cursor].removed) return std::nullopt;
  return scene_.frame.rows[scene_.cursor].cgroup;
}

std::optional<CgroupIndex> Ui::selected_cgroup() const {
  if (scene_.page != Page::cgroup) return under_cursor();
  const auto cgroup = scene_.table ? scene_.table->find(scene_.cgroup) : model::kNoCgroup;
  return cgroup == model::kNoCgroup ? std::nullopt : std::optional(cgroup);
}

std::string Ui::no_cgroup_reason() const {
  return scene_.page == Page::cgroup || scene_.cursor < scene_.frame.rows.size() ? "this cgroup was removed"
                                                                                 : "no cgroup is selected";
}

// Copies the path, quoted for a shell, or all fields as JSON.
Ui::UiRequest Ui::copy_cgroup(bool as_json) {
  const auto cgroup = selected_cgroup();
  if (!cgroup) {
    scene_.message = no_cgroup_reason();
    return UiRequest::nothing;
  }
  const auto& path = scene_.table->cgroup(*cgroup).path;
  if (as_json) {
    PrintOptions options;
    options.format = Format::json;
    for (ColumnId id = 0; id < columns_.size(); ++id) options.columns.push_back(id);
    options.only_present = true;
    options.source = scene_.replay ? std::string_view("replay") : std::string_view(scene_.source);
    clipboard_text_ = Printer(columns_, std::move(options)).print(*scene_.table, {Row{*cgroup}}, scene_.host);
  } else {
    clipboard_text_ = shell_text(path);
  }
  if (clipboard_text_.size() > kMaxClipboard) {
    scene_.message = "too large for the clipboard; use cgtop show CGROUP -j";
    return UiRequest::nothing;
  }
  scene_.message = (as_json ? "copied as JSON: " : "copied: ") + base::printable(path);
  return UiRequest::copy;
}

void Ui::choose_set(std::size_t set) {
  scene_.set = set;
  scene_.set_name = kColumnSets[set].name;
  scene_.shown = columns_.require_list(kColumnSets[set].columns).value_or(std::vector<ColumnId>{});
}

void Ui::choose_columns(std::vector<ColumnId> columns) {
  scene_.set = kColumnSetCount;
  scene_.set_name = "Custom";
  scene_.shown = std::move(columns);
}

void Ui::sort_by(ColumnId column) {
  scene_.view.sort = column;
  scene_.view.descending = descends_by_default(columns_[column]);
  rearrange();
}

void Ui::move(std::ptrdiff_t by) {
  const auto rows = static_cast<std::ptrdiff_t>(scene_.frame.rows.size());
  if (rows == 0) return;
  scene_.cursor = static_cast<std::size_t>(
      std::clamp<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(scene_.cursor) + by, 0, rows - 1));
  cursor_id_ = id_of(scene_.frame.rows[scene_.cursor]);
}

// Scrolls the list; moves the cursor only to keep it on the screen.
void Ui::scroll_list(std::ptrdiff_t by) {
  const auto page = static_cast<std::ptrdiff_t>(page_rows_);
  const auto rows = static_cast<std::ptrdiff_t>(scene_.frame.rows.size());
  const auto offset = std::clamp<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(scene_.offset) + by, 0,
                                                 std::max<std::ptrdiff_t>(rows - page, 0));
  scene_.offset = static_cast<std::size_t>(offset);
  const auto cursor = static_cast<std::ptrdiff_t>(scene_.cursor);
  move(std::clamp(cursor, offset, offset + page - 1) - cursor);
}

void Ui::fold(bool whole_subtree, std::optional<bool> folded_to) {
  const auto cgroup = under_cursor();
  if (!cgroup || !scene_.view.tree) return;
  const auto id = scene_.table->cgroup(*cgroup).id;
  auto& folded = scene_.view.folded;
  const bool fold = folded_to.value_or(!folded.contains(id));
  if (fold) {
    folded.insert(id);
  } else {
    folded.erase(id);
  }
  if (whole_subtree) {
    for (CgroupIndex g = *cgroup; g < scene_.table->size(); ++g) {
      auto ancestor = g;
      while (ancestor != model::kNoCgroup && ancestor > *cgroup) ancestor = scene_.table->parent(ancestor);
      if (ancestor == *cgroup) folded.erase(scene_.table->cgroup(g).id);
    }
  }
  rearrange();
}

void Ui::fold_everything(bool folded) {
  scene_.view.folded.clear();
  if (folded && scene_.table) {
    // The root stays unfolded; otherwise only one row would remain.
    for (CgroupIndex g = 0; g < scene_.table->size(); ++g) {
      const auto parent = scene_.table->parent(g);
      if (parent != model::kNoCgroup) scene_.view.folded.insert(scene_.table->cgroup(g).id);
    }
  }
  rearrange();
}

void Ui::find(bool forward) {
  const auto& rows = scene_.frame.rows;
  if (search_.empty() || rows.empty()) return;
  const auto wanted = lower(search_);
  for (std::size_t step = 1; step <= rows.size(); ++step) {
    const auto at = (scene_.cursor + (forward ? step : rows.size() - step)) % rows.size();
    const auto text = rows[at].removed ? scene_.removed[*rows[at].removed].path
                                       : scene_.table->cgroup(rows[at].cgroup).path + '\n' +
                                             std::string(name_of(scene_.table->now(), rows[at].cgroup));
    if (lower(text).find(wanted) == std::string::npos) continue;
    scene_.cursor = at;
    cursor_id_ = id_of(rows[at]);
    return;
  }
  scene_.message = "not found: " + base::printable(search_);
}

void Ui::open_cgroup() {
  const auto cgroup = under_cursor();
  if (!cgroup) {
    scene_.message = no_cgroup_reason();
    return;
  }
  open_page(*cgroup);
}

void Ui::open_page(CgroupIndex cgroup) {
  cursor_id_ = scene_.table->cgroup(cgroup).id;
  rearrange();  // moves the cursor to it, unless an ancestor is folded
  scene_.page = Page::cgroup;
  scene_.cgroup = scene_.table->cgroup(cgroup).id;
  scene_.cgroup_path = scene_.table->cgroup(cgroup).path;
  scene_.scroll = 0;
  scene_.processes.reset();
  scene_.audit.reset();
}

void Ui::open_menu(Scene::Menu menu) {
  scene_.menu = menu;
  scene_.menu_find.clear();
  scene_.menu_cursor = 0;
  update_menu_items();
}

Ui::UiRequest Ui::open_dialog(std::optional<model::Verb> verb) {
  const auto why = scene_.replay ? "actions are not available for a recording" : scene_.actions_disabled;
  if (!why.empty()) {
    scene_.message = why;
    return UiRequest::nothing;
  }
  model::CgroupRef cgroup;
  std::string name;
  std::vector<Input> settings;
  if (verb) {
    const auto& table = scene_.table;
    const auto at = selected_cgroup().value_or(model::kNoCgroup);
    if (at == model::kNoCgroup) {
      scene_.message = no_cgroup_reason();
      return UiRequest::nothing;
    }
    cgroup = {table->cgroup(at).path, table->cgroup(at).id};
    name = name_of(table->now(), at);
    const auto shown = [&](std::string_view name_of_column) {
      const auto id = columns_.find(name_of_column);
      if (!id) return std::string();
      const auto& column = columns_[*id];
      return column.form == Form::text ? base::printable(table->text(*id, at))
                                       : human(column, table->value(*id, at), scene_.units);
    };
    for (const auto& limit : kLimits) {
      settings.push_back(
          {InputKind::setting, std::string(limit.key), {}, {}, shown(limit.now), shown(limit.effective)});
    }
  }
  scene_.dialog.emplace(verb, std::move(cgroup), std::move(name), std::move(settings));
  ++dialog_count_;
  return scene_.dialog->starts_with_plan() ? UiRequest::act : UiRequest::nothing;
}

Ui::UiRequest Ui::press_dialog(char32_t k) {
  switch (scene_.dialog->press(k)) {
    case Dialog::Request::run:
      return UiRequest::act;
    case Dialog::Request::close:
      if (scene_.dialog->step() == Dialog::Step::running)
        scene_.message = "the action continues; its result will be shown here";
      scene_.dialog.reset();
      break;
    case Dialog::Request::nothing:
      break;
  }
  return UiRequest::nothing;
}

Ui::ActionRequest Ui::action_request() const {
  const auto& dialog = *scene_.dialog;
  return {dialog_count_, !dialog.verb(), dialog.undo(), dialog.action()};
}

void Ui::set_outcome(const ActionRequest& request, model::Outcome outcome) {
  const bool here = scene_.dialog && request.ticket == dialog_count_;
  if (!request.action.dry_run && (!here || outcome.ok())) {
    scene_.message =
        (request.undo ? "undo" : std::string(model::name(request.action.verb)) + ' ' + request.action.cgroup.path) +
        (outcome.ok() ? ": done" : ": not done") +
        (outcome.text.empty() ? "" : (outcome.ok() ? ", " : ": ") + outcome.text) +
        (outcome.ok() && !outcome.undo.empty() ? "; press u to undo" : "");
    if (here) scene_.dialog.reset();
  } else if (here) {
    scene_.dialog->set_outcome(std::move(outcome));
  }
}

void Ui::update_menu_items() {
  scene_.menu_items.clear();
  const auto wanted = lower(scene_.menu_find);
  const auto add = [&](ColumnId id) {
    const auto& c = columns_[id];
    if (c.name.find(wanted) == std::string::npos && lower(c.help).find(wanted) == std::string::npos) return;
    if (std::ranges::find(scene_.menu_items, id) == scene_.menu_items.end()) scene_.menu_items.push_back(id);
  };
  for (const auto id : scene_.shown) add(id);  // columns on the screen come first
  for (ColumnId id = 0; id < columns_.size(); ++id) add(id);
  scene_.menu_cursor = std::min(scene_.menu_cursor, scene_.menu_items.empty() ? 0 : scene_.menu_items.size() - 1);
}

// A narrow screen drops columns from the end, so their order is also their priority.
void Ui::move_column(bool later) {
  if (scene_.menu_items.empty()) return;
  const auto id = scene_.menu_items[scene_.menu_cursor];
  auto columns = scene_.shown;
  const auto at = std::ranges::find(columns, id);
  if (at == columns.end()) {
    scene_.message = "this column is not shown; press Space to show it";
    return;
  }
  if (later ? std::next(at) == columns.end() : at == columns.begin()) return;
  std::iter_swap(at, later ? std::next(at) : std::prev(at));
  choose_columns(std::move(columns));
  update_menu_items();
  scene_.menu_cursor = static_cast<std::size_t>(std::ranges::find(scene_.menu_items, id) - scene_.menu_items.begin());
}

std::optional<std::string> Ui::cgroup_of_tab(Tab tab) const {
  if (scene_.page != Page::cgroup || scene_.tab != tab) return std::nullopt;
  return scene_.cgroup_path;
}

void Ui::feed_processes(Processes processes) {
  if (scene_.processes) fill_cpu_use(*scene_.processes, processes);
  std::ranges::stable_sort(processes.all, [](const Process& a, const Process& b) {
    const double x = a.cpu.value_or(-1);
    const double y = b.cpu.value_or(-1);
    return x != y ? x > y : a.rss > b.rss;
  });
  scene_.processes = std::move(processes);
}

void Ui::draw(Grid& grid) {
  make_timeline(grid.columns());
  help_pages_ = help_pages(grid.rows());
  scene_.help_page = std::min(scene_.help_page, help_pages_ - 1);
  page_rows_ = std::max(1, list_rows(scene_, grid.rows()));
  const auto rows = static_cast<std::size_t>(page_rows_);
  if (scene_.cursor < scene_.offset) scene_.offset = scene_.cursor;
  if (scene_.cursor >= scene_.offset + rows) scene_.offset = scene_.cursor - rows + 1;
  const auto all = scene_.frame.rows.size();
  scene_.offset = all > rows ? std::min(scene_.offset, all - rows) : 0;
  last_scroll_ = cgtop::draw(scene_, grid);
  if (scene_.page == Page::cgroup) scene_.scroll = std::min(scene_.scroll, last_scroll_);
  click_targets_ = grid.click_targets();
}

}  // namespace cgwarden::cgtop
