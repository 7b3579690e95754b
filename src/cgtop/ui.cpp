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

constexpr std::size_t kMaxGraphed = 200'000;  // cgroups times samples that are gone through for graphs
constexpr std::size_t kMaxGone = 100;         // kept on the list for a while, of those that ended last
constexpr std::chrono::seconds kGoneFor{60};
constexpr std::size_t kMaxCopied = 48U << 10U;  // terminals take some 74,000 bytes of base64
constexpr std::chrono::nanoseconds kSurelyLate = std::chrono::seconds(10);

// What the limit editor offers, and what shows it now.
struct Limit {
  std::string_view key, now, effective;
};
constexpr Limit kLimits[] = {
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

void Ui::feed(const TakenSample& taken) {
  const auto& snapshot = taken.snapshot;
  if (!snapshot) return;
  bool gap = false;
  if (ring_.size() > 0) {
    const auto before = *ring_.at(ring_.size() - 1);
    if (before.snapshot == snapshot) return;  // an agent asked again too soon
    // A machine or a terminal that slept: no line is drawn across.
    gap = snapshot->taken - before.snapshot->taken > std::max<std::chrono::nanoseconds>(3 * scene_.delay, kSurelyLate);
    gap = gap && !taken.before;
    remember_cpu(Table(columns_, taken.before ? taken.before : gap ? nullptr : before.snapshot, snapshot));
  }
  ring_.add(taken, gap);
  if (scene_.paused) {
    show(std::min(scene_.back + 1, ring_.size() - 1));  // the same sample as before
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
    scene_.message = "this is the end of the recording";
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
  if (const auto why = history_->why_gap(at); !why.empty()) {
    scene_.message = why + " between the sample before and this one";
  }
  const auto shown_before = scene_.table;
  scene_.table = std::make_shared<const Table>(columns_, before, taken->snapshot);
  keep_gone(shown_before.get());
  scene_.host = taken->host;
  if (scene_.replay && at != graphs_at_) {
    if (at == graphs_at_ + 1) {
      remember_cpu(*scene_.table);
    } else if (at + 1 == graphs_at_) {
      for (auto& [id, graph] : scene_.graphs) {
        std::copy_backward(graph.begin(), graph.end() - 1, graph.end());
        graph.front() = -1;
      }
    } else {
      redo_graphs();
    }
    graphs_at_ = at;
  }
  rearrange();
}

// Of the samples that end with the one shown.
void Ui::redo_graphs() {
  scene_.graphs.clear();
  const auto at = history_->size() - 1 - scene_.back;
  const auto cgroups = std::max<std::size_t>(1, scene_.table->size());
  const auto samples = std::min({at, kGraphSamples, kMaxGraphed / cgroups});
  model::SnapshotPtr before;
  for (auto i = at - samples; i <= at; ++i) {
    const auto taken = history_->at(i);
    if (!taken) continue;
    if (i > at - samples) {
      remember_cpu(Table(columns_, history_->moment(i).after_gap ? nullptr : before, taken->snapshot));
    }
    before = taken->snapshot;
  }
}

// The newest sample that is not later.
void Ui::show_time(base::Wall at) {
  const auto size = history_->size();
  if (size == 0) return;
  scene_.paused = true;
  std::size_t best = 0;
  for (std::size_t i = 0; i < size; ++i) {
    if (history_->moment(i).at <= at) best = i;
  }
  if (history_->moment(best).at > at) scene_.message = "nothing older is known";
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
  // "+1m" and "-1m" are from here, a clock time is of the day shown.
  const auto here = history_->moment(history_->size() - 1 - scene_.back).at;
  if (const auto at = parse_time(text, here)) {
    show_time(*at);
  } else {
    scene_.message = "no time: write 03:41, 2026-11-24 03:41:06, -10m or +1h";
  }
}

void Ui::make_time_line(int columns) {
  scene_.time_line.reset();
  const auto size = history_->size();
  if (size < 2 || columns < 50 || (!scene_.replay && scene_.back == 0)) return;
  TimeLine line;
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
    // A value holds from the sample before to its own.
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
    line.event = "oom_kill";
    if (const auto field = columns_.known().memory_events_oom_kill) {
      // The deepest one: those above count what is below them.
      for (CgroupIndex g = 0; g < scene_.table->size(); ++g) {
        if (scene_.table->delta().difference(*field, g).value_or(0) > 0) {
          line.event = "oom_kill " + std::string(name_of(scene_.table->now(), g));
        }
      }
    }
  } else if ((marks & record::kFrozen) != 0) {
    line.event = "frozen or thawed";
  } else if (marks != 0) {
    line.event = (marks & record::kCreationObserved) == 0 ? "cgroups gone"
                 : (marks & record::kDied) == 0           ? "new cgroups"
                                                          : "cgroups came and went";
  }
  scene_.time_line = std::move(line);
}

void Ui::remember_cpu(const Table& table) {
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
  return row.gone ? scene_.gone[*row.gone].id : scene_.table->cgroup(row.cgroup).id;
}

// What was on the list before and is no more stays there for a while: who looks away for a moment misses nothing.
void Ui::keep_gone(const Table* before) {
  auto& gone = scene_.gone;
  const auto& now = scene_.table->now();
  if (before == nullptr || now.taken < before->now().taken || now.taken - before->now().taken > kGoneFor) {
    gone.clear();  // of another time
    return;
  }
  std::erase_if(gone, [&](const Gone& g) { return now.taken - g.since >= kGoneFor; });
  if (now.cgroup_list == before->now().cgroup_list) return;
  std::unordered_set<std::uint64_t> ids;
  ids.reserve(now.cgroup_count());
  for (const auto& cgroup : now.cgroup_list->cgroups) ids.insert(cgroup->id);
  std::erase_if(gone, [&](const Gone& g) { return ids.contains(g.id); });
  for (const auto& row : scene_.frame.rows) {
    if (row.gone || row.dimmed) continue;
    const auto& cgroup = before->cgroup(row.cgroup);
    if (ids.contains(cgroup.id)) continue;
    const auto parent = before->parent(row.cgroup);
    gone.push_back({cgroup.id, parent == model::kNoCgroup ? 0 : before->cgroup(parent).id, cgroup.path,
                    std::string(name_of(before->now(), row.cgroup)), now.taken});
  }
  if (gone.size() > kMaxGone) {
    std::ranges::stable_sort(gone, std::ranges::greater(), &Gone::since);
    gone.resize(kMaxGone);
  }
  std::ranges::stable_sort(gone, {}, &Gone::path);
}

// Each after what is left below its parent, in a list at the end.
void Ui::add_gone() {
  if (!scene_.show_gone) return;
  auto& rows = scene_.frame.rows;
  for (std::uint32_t i = 0; i < scene_.gone.size(); ++i) {
    Row row{model::kNoCgroup, 0, false, false, true, i};
    auto place = rows.end();
    if (scene_.view.tree && scene_.gone[i].parent != 0 && scene_.gone[i].id != scene_.view.top) {
      const auto parent = std::ranges::find_if(rows, [&](const Row& r) { return id_of(r) == scene_.gone[i].parent; });
      if (parent == rows.end() || parent->folded) continue;
      row.depth = static_cast<std::uint16_t>(std::min(parent->depth + 1, 0xFFFF));
      place = std::find_if(parent + 1, rows.end(), [&](const Row& r) { return r.depth < row.depth; });
    }
    rows.insert(place, row);
  }
}

void Ui::filter_by(Filter filter) {
  scene_.view.filter = std::move(filter);
  scene_.gone.clear();  // nobody knows whether they would pass
  rearrange();
}

// The cursor stays on its cgroup; when that is gone, on its row.
void Ui::rearrange() {
  if (!scene_.table) return;
  scene_.frame = arrange(*scene_.table, scene_.view);
  add_gone();
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
  if (scene_.cursor >= scene_.frame.rows.size() || scene_.frame.rows[scene_.cursor].gone) return std::nullopt;
  return scene_.frame.rows[scene_.cursor].cgroup;
}

std::optional<CgroupIndex> Ui::cgroup_here() const {
  if (scene_.page != Page::cgroup) return under_cursor();
  const auto cgroup = scene_.table ? scene_.table->find(scene_.cgroup) : model::kNoCgroup;
  return cgroup == model::kNoCgroup ? std::nullopt : std::optional(cgroup);
}

std::string Ui::why_no_cgroup() const {
  return scene_.page == Page::cgroup || scene_.cursor < scene_.frame.rows.size() ? "this cgroup is gone"
                                                                                 : "there is no cgroup here";
}

// The path as a shell takes it, or all that is known as JSON.
Ui::UiRequest Ui::copy_cgroup(bool as_json) {
  const auto cgroup = cgroup_here();
  if (!cgroup) {
    scene_.message = why_no_cgroup();
    return UiRequest::nothing;
  }
  const auto& path = scene_.table->cgroup(*cgroup).path;
  if (as_json) {
    PrintOptions options;
    options.format = Format::json;
    for (ColumnId id = 0; id < columns_.size(); ++id) options.columns.push_back(id);
    options.only_present = true;
    options.source = scene_.replay ? std::string_view("replay") : std::string_view(scene_.source);
    to_copy_ = Printer(columns_, std::move(options)).print(*scene_.table, {Row{*cgroup}}, scene_.host);
  } else {
    to_copy_ = shell_text(path);
  }
  if (to_copy_.size() > kMaxCopied) {
    scene_.message = "too long for a clipboard; cgtop show CGROUP -j prints it";
    return UiRequest::nothing;
  }
  scene_.message = (as_json ? "copied as JSON: " : "copied: ") + base::printable(path);
  return UiRequest::copy;
}

void Ui::choose_set(std::size_t set) {
  scene_.set = set;
  scene_.set_name = kColumnSets[set].name;
  scene_.shown = columns_.want_list(kColumnSets[set].columns).value_or(std::vector<ColumnId>{});
}

void Ui::choose_columns(std::vector<ColumnId> columns) {
  scene_.set = kColumnSetCount;
  scene_.set_name = "Chosen";
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

// The cursor goes along only where it would leave the screen.
void Ui::scroll_list(std::ptrdiff_t by) {
  const auto page = static_cast<std::ptrdiff_t>(page_rows_);
  const auto rows = static_cast<std::ptrdiff_t>(scene_.frame.rows.size());
  const auto offset = std::clamp<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(scene_.offset) + by, 0,
                                                 std::max<std::ptrdiff_t>(rows - page, 0));
  scene_.offset = static_cast<std::size_t>(offset);
  const auto cursor = static_cast<std::ptrdiff_t>(scene_.cursor);
  move(std::clamp(cursor, offset, offset + page - 1) - cursor);
}

void Ui::fold(bool all_below, std::optional<bool> to) {
  const auto cgroup = under_cursor();
  if (!cgroup || !scene_.view.tree) return;
  const auto id = scene_.table->cgroup(*cgroup).id;
  auto& folded = scene_.view.folded;
  const bool fold = to.value_or(!folded.contains(id));
  if (fold) {
    folded.insert(id);
  } else {
    folded.erase(id);
  }
  if (all_below) {
    for (CgroupIndex g = *cgroup; g < scene_.table->size(); ++g) {
      auto above = g;
      while (above != model::kNoCgroup && above > *cgroup) above = scene_.table->parent(above);
      if (above == *cgroup) folded.erase(scene_.table->cgroup(g).id);
    }
  }
  rearrange();
}

void Ui::fold_everything(bool folded) {
  scene_.view.folded.clear();
  if (folded && scene_.table) {
    // The topmost stays open, or there would be one row.
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
    const auto text = rows[at].gone ? scene_.gone[*rows[at].gone].path
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
    scene_.message = why_no_cgroup();
    return;
  }
  open_page(*cgroup);
}

void Ui::open_page(CgroupIndex cgroup) {
  cursor_id_ = scene_.table->cgroup(cgroup).id;
  rearrange();  // where the list is not folded above it
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
  find_in_menu();
}

Ui::UiRequest Ui::open_dialog(std::optional<model::Verb> verb) {
  const auto why = scene_.replay ? "this is a recording" : scene_.why_no_acts;
  if (!why.empty()) {
    scene_.message = why;
    return UiRequest::nothing;
  }
  model::CgroupRef cgroup;
  std::string name;
  std::vector<Input> settings;
  if (verb) {
    const auto& table = scene_.table;
    const auto at = cgroup_here().value_or(model::kNoCgroup);
    if (at == model::kNoCgroup) {
      scene_.message = why_no_cgroup();
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
          {Input::What::setting, std::string(limit.key), {}, {}, shown(limit.now), shown(limit.effective)});
    }
  }
  scene_.dialog.emplace(verb, std::move(cgroup), std::move(name), std::move(settings));
  ++dialogs_;
  return scene_.dialog->asks_at_once() ? UiRequest::act : UiRequest::nothing;
}

Ui::UiRequest Ui::press_dialog(char32_t k) {
  switch (scene_.dialog->press(k)) {
    case Dialog::UiRequest::ask:
      return UiRequest::act;
    case Dialog::UiRequest::close:
      if (scene_.dialog->step() == Dialog::Step::doing) scene_.message = "it goes on; what comes of it is said here";
      scene_.dialog.reset();
      break;
    case Dialog::UiRequest::nothing:
      break;
  }
  return UiRequest::nothing;
}

Ui::Ask Ui::asked() const {
  const auto& dialog = *scene_.dialog;
  return {dialogs_, !dialog.verb(), dialog.undo(), dialog.action()};
}

void Ui::answer(const Ask& ask, model::Outcome outcome) {
  const bool here = scene_.dialog && ask.ticket == dialogs_;
  if (!ask.action.dry_run && (!here || outcome.ok())) {
    scene_.message = (ask.undo ? "undo" : std::string(model::name(ask.action.verb)) + ' ' + ask.action.cgroup.path) +
                     (outcome.ok() ? ": done" : ": not done") + (outcome.text.empty() ? "" : ", " + outcome.text) +
                     (outcome.ok() && !outcome.undo.empty() ? "; u undoes it" : "");
    if (here) scene_.dialog.reset();
  } else if (here) {
    scene_.dialog->answer(std::move(outcome));
  }
}

void Ui::find_in_menu() {
  scene_.menu_items.clear();
  const auto wanted = lower(scene_.menu_find);
  const auto add = [&](ColumnId id) {
    const auto& c = columns_[id];
    if (c.name.find(wanted) == std::string::npos && lower(c.help).find(wanted) == std::string::npos) return;
    if (std::ranges::find(scene_.menu_items, id) == scene_.menu_items.end()) scene_.menu_items.push_back(id);
  };
  for (const auto id : scene_.shown) add(id);  // what is on the screen is wanted most
  for (ColumnId id = 0; id < columns_.size(); ++id) add(id);
  scene_.menu_cursor = std::min(scene_.menu_cursor, scene_.menu_items.empty() ? 0 : scene_.menu_items.size() - 1);
}

// On a narrow screen columns leave from the end, so their order also says which are wanted most.
void Ui::move_column(bool later) {
  if (scene_.menu_items.empty()) return;
  const auto id = scene_.menu_items[scene_.menu_cursor];
  auto columns = scene_.shown;
  const auto at = std::ranges::find(columns, id);
  if (at == columns.end()) {
    scene_.message = "Space puts it on the screen first";
    return;
  }
  if (later ? std::next(at) == columns.end() : at == columns.begin()) return;
  std::iter_swap(at, later ? std::next(at) : std::prev(at));
  choose_columns(std::move(columns));
  find_in_menu();
  scene_.menu_cursor = static_cast<std::size_t>(std::ranges::find(scene_.menu_items, id) - scene_.menu_items.begin());
}

std::optional<std::string> Ui::wants(Tab tab) const {
  if (scene_.page != Page::cgroup || scene_.tab != tab) return std::nullopt;
  return scene_.cgroup_path;
}

void Ui::feed_processes(Processes processes) {
  if (scene_.processes) compare(*scene_.processes, processes);
  std::ranges::stable_sort(processes.all, [](const Process& a, const Process& b) {
    const double x = a.cpu.value_or(-1);
    const double y = b.cpu.value_or(-1);
    return x != y ? x > y : a.rss > b.rss;
  });
  scene_.processes = std::move(processes);
}

void Ui::draw(Grid& grid) {
  make_time_line(grid.columns());
  page_rows_ = std::max(1, list_rows(scene_, grid.rows()));
  const auto rows = static_cast<std::size_t>(page_rows_);
  if (scene_.cursor < scene_.offset) scene_.offset = scene_.cursor;
  if (scene_.cursor >= scene_.offset + rows) scene_.offset = scene_.cursor - rows + 1;
  const auto all = scene_.frame.rows.size();
  scene_.offset = all > rows ? std::min(scene_.offset, all - rows) : 0;
  last_scroll_ = cgtop::draw(scene_, grid);
  if (scene_.page == Page::cgroup) scene_.scroll = std::min(scene_.scroll, last_scroll_);
  spots_ = grid.spots();
}

}  // namespace cgwarden::cgtop
