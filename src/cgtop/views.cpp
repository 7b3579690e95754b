// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/views.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <span>
#include <utility>

#include "src/base/text.h"
#include "src/cgtop/format.h"

namespace cgwarden::cgtop {

using model::CgroupIndex;
using model::Value;

namespace {

constexpr int kTall = 14;   // minimum height for the meters and the line of column sets
constexpr int kWide = 100;  // minimum width for the graph beside the CPU column
constexpr int kMinNameWidth = 16;
constexpr int kGraphCells = 8;
constexpr std::size_t kMaxLines = 100'000;  // of a cgroup's page, when wrapped

std::string number(const char* format, double value) {
  char buffer[48];
  const int size = std::snprintf(buffer, sizeof buffer, format, value);
  return {buffer, static_cast<std::size_t>(std::clamp(size, 0, 47))};
}

// External text, printable on this terminal.
std::string safe(const Scene& scene, std::string_view text) {
  auto out = base::printable(text);
  return scene.ascii ? ascii_only(out) : out;
}

std::string_view mark(const Scene& scene) { return scene.ascii ? "~" : "…"; }

Style style_of_fraction(double part) {
  return part >= 0.9 ? kCritical : part >= 0.8 ? kBad : part >= 0.6 ? kWarn : kPlain;
}

Style style_of_pressure(double part) { return part >= 0.4 ? kBad : part >= 0.1 ? kWarn : kPlain; }

double to_fraction(Value value) { return static_cast<double>(value.fixed()) / 1e4; }

bool is_pressure(const Column& c) {
  return c.form == Form::ratio && (c.name.starts_with("psi_") || c.name.starts_with("pressure_"));
}

bool is_of_limit(const Column& c) { return c.name.ends_with("_of_limit"); }

Style style_of(const Column& c, Value value) {
  if (value.is_error()) return kBad;
  if (!value.is_number()) return kDim;
  if (is_of_limit(c)) return style_of_fraction(to_fraction(value));
  if (is_pressure(c)) return style_of_pressure(to_fraction(value));
  if (c.source == ColumnSource::throttled && value.fixed() > 0) return style_of_pressure(to_fraction(value));
  if (c.name == "oom_kills" && value.fixed() > 0) return kBad;
  return value.fixed() == 0 ? kDim : kPlain;
}

bool is_cpu_time(const Column& c) {
  return c.source == ColumnSource::rate && c.form == Form::ratio && c.name.starts_with("cpu");
}

std::string shown(const Scene& scene, ColumnId id, CgroupIndex cgroup) {
  const auto& c = (*scene.columns)[id];
  if (c.form == Form::text) return safe(scene, scene.table->text(id, cgroup));
  auto value = scene.table->value(id, cgroup);
  if (scene.cpu == CpuScale::machine && is_cpu_time(c) && value.is_number() && scene.host.cpus > 0) {
    value = Value::of(value.fixed() / scene.host.cpus);
  }
  return human(c, value, scene.units);
}

// Width of a column in cells, including the space before it.
int column_width(const Scene& scene, const Column& c) {
  if (scene.units == Units::raw && c.form != Form::text) return 16;
  int min_width = 8;
  if (c.form == Form::text) min_width = c.source == ColumnSource::state ? 6 : c.source == ColumnSource::kind ? 9 : 16;
  if (c.form == Form::ratio) min_width = 7;
  return std::clamp(width(c.title) + 1, min_width, 15);
}

// True if at least one cgroup has a value. Columns without values give their place to others, unless the user chose
// them.
bool has_values(const Scene& scene, const Column& c) {
  if (!scene.table || (c.source != ColumnSource::field && c.source != ColumnSource::rate)) return true;
  const auto& column = scene.table->now().columns[c.field];
  return !column.dense.empty() || !column.series.empty();
}

// The columns that fit beside a name of at least kMinNameWidth cells; the first ones take precedence.
struct Layout {
  int name = 0;
  bool graph = false;
  std::vector<std::pair<ColumnId, int>> columns;
};

Layout layout_of(const Scene& scene, int total) {
  Layout out;
  const int min_name = total >= 100 ? 30 : total >= 70 ? 22 : kMinNameWidth;
  int left = total - min_name - 2;
  const auto cpu = scene.columns->find("cpu");
  for (const auto id : scene.shown) {
    const auto& c = (*scene.columns)[id];
    if (c.source == ColumnSource::name || (scene.set < kColumnSetCount && !has_values(scene, c))) continue;
    const int cells = column_width(scene, c);
    if (cells > left) break;
    out.columns.emplace_back(id, cells);
    left -= cells;
    if (cpu && id == *cpu && total >= kWide && left > 40) {
      out.graph = true;
      left -= kGraphCells + 2;
    }
  }
  out.name = min_name + left;
  return out;
}

std::string clock_text(base::Wall time) {
  const std::time_t at = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  ::localtime_r(&at, &parts);
  char buffer[16];
  (void)std::snprintf(buffer, sizeof buffer, "%02d:%02d:%02d", parts.tm_hour % 100, parts.tm_min % 100,
                      parts.tm_sec % 100);
  return buffer;
}

// "2026-11-24 ", or "11-24 "
std::string day_text(base::Wall time, bool year) {
  const std::time_t at = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  ::localtime_r(&at, &parts);
  std::array<char, 48> buffer{};
  const auto size = std::strftime(buffer.data(), buffer.size(), year ? "%Y-%m-%d " : "%m-%d ", &parts);
  return {buffer.data(), size};
}

std::string interval(std::chrono::milliseconds delay) {
  const auto ms = static_cast<double>(delay.count());
  return ms < 1000 ? number("%.0fms", ms) : number(std::fmod(ms, 1000) == 0 ? "%.0fs" : "%.1fs", ms / 1000);
}

// One character per value, scaled to the largest; a space for an unknown value.
std::vector<std::string_view> levels_text(std::span<const float> values, bool ascii) {
  constexpr std::string_view ascii_levels[] = {".", ".", ":", "-", "=", "+", "*", "#", "%"};
  constexpr std::string_view block_levels[] = {"▁", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  // The scale is at least a tenth of a core, so that small values look small.
  float largest = 0.1F;
  for (const float value : values) largest = std::max(largest, value);
  std::vector<std::string_view> out;
  for (const float value : values) {
    if (value < 0) {
      out.emplace_back(" ");
      continue;
    }
    const auto level = static_cast<std::size_t>(std::lround(std::clamp(value / largest, 0.0F, 1.0F) * 8));
    out.push_back(ascii ? ascii_levels[level] : block_levels[level]);
  }
  return out;
}

int put_meter(Grid& grid, int row, int column, std::string_view name, double part, const std::string& text, int cells) {
  column = grid.put(row, column, name, kBold);
  column = grid.put(row, column, " [");
  const int full = static_cast<int>(std::lround(std::clamp(part, 0.0, 1.0) * cells));
  column = grid.put(row, column, std::string(static_cast<std::size_t>(full), '#'),
                    part >= 0.6 ? style_of_fraction(part) : kGraph);
  column = grid.put(row, column, std::string(static_cast<std::size_t>(cells - full), '.'), kDim);
  column = grid.put(row, column, "] ");
  return grid.put(row, column, text);
}

int meter_lines(const Scene& scene, int height) {
  if (height < kTall || scene.fleet) return 0;  // a fleet has no single host
  return height >= 28 && scene.host.swap_total.value_or(0) > 0 ? 3 : 2;
}

void draw_title(const Scene& scene, Grid& grid) {
  const bool wide = grid.columns() >= 100;
  const auto& host = scene.host;
  std::string right;
  Style style = kBold;
  if (!scene.table) {
    right = "reading...";
  } else if (scene.replay) {
    right = "REPLAY " + day_text(scene.table->now().taken_wall, wide) + clock_text(scene.table->now().taken_wall) +
            (scene.paused ? "  paused" : "  every " + interval(scene.delay));
    style = kWarn;
  } else if (scene.no_answer_for) {
    right = "NO ANSWER for " + interval(*scene.no_answer_for) + "  " + clock_text(scene.table->now().taken_wall);
    style = kBad;
  } else if (scene.back > 0) {
    right = "PAUSED " + std::to_string(scene.back) + (scene.back == 1 ? " sample back  " : " samples back  ") +
            clock_text(scene.table->now().taken_wall);
    style = kWarn;
  } else if (scene.paused) {
    right = "PAUSED  " + clock_text(scene.table->now().taken_wall);
    style = kWarn;
  } else {
    right = (scene.recording ? "REC  " : "") + std::string(wide ? "LIVE  every " : "LIVE ") + interval(scene.delay) +
            "  " + clock_text(scene.table->now().taken_wall);
  }
  const int end = grid.columns() - 1;
  const int room = end - width(right) - 2;
  int at = grid.put(0, 1, "cgtop", kTitle);
  const auto add = [&](const std::string& text, Style s = kPlain) {
    if (!text.empty() && at + 2 + width(text) <= room) at = grid.put(0, at + 2, text, s);
  };
  add(safe(scene, cut_middle(base::printable(host.name), 30, "~")), kBold);
  if (!host.layout.empty()) add("cgroup " + host.layout);
  if (host.cpus > 0) add(std::to_string(host.cpus) + " CPU");
  if (scene.replay && wide) {
    add("recorded " + day_text(scene.oldest, true) + clock_text(scene.oldest) + " .. " +
        (day_text(scene.oldest, true) == day_text(scene.newest, true) ? "" : day_text(scene.newest, true)) +
        clock_text(scene.newest));
  }
  if (host.load[0]) {
    add("load " + number("%.1f", *host.load[0]) +
        (wide ? number(" %.1f", host.load[1].value_or(0)) + number(" %.1f", host.load[2].value_or(0)) : ""));
  }
  if (wide && host.uptime_seconds) add("up " + human_duration(*host.uptime_seconds));
  grid.put_right(0, end, right, style);
}

void draw_meters(const Scene& scene, Grid& grid, int lines) {
  if (lines == 0 || !scene.table) return;
  const bool wide = grid.columns() >= 100;
  const int cells = wide ? 27 : 20;
  const int side = wide ? 64 : 52;
  const auto& host = scene.host;
  const auto& table = *scene.table;
  const auto of_root = [&](std::string_view name) -> std::optional<double> {
    const auto id = scene.columns->find(name);
    if (!id || table.size() == 0) return std::nullopt;
    const auto value = table.value(*id, 0);
    if (!value.is_number()) return std::nullopt;
    return static_cast<double>(value.fixed()) * std::pow(10.0, -(*scene.columns)[*id].decimals);
  };
  const auto cpu = of_root("cpu");
  const double cpus = std::max(1, host.cpus);
  put_meter(
      grid, 1, 1, "CPU", cpu ? *cpu / cpus : 0,
      (cpu ? number("%.0f%%", *cpu * 100) : std::string("-")) + number(wide ? " of %.0f%%" : "/%.0f%%", cpus * 100),
      cells);
  const auto bytes = [](double n) { return human_bytes(n, Units::iec); };
  if (host.memory_total && *host.memory_total > 0 && host.memory_available) {
    const auto total = static_cast<double>(*host.memory_total);
    const auto used = total - static_cast<double>(*host.memory_available);
    put_meter(grid, 2, 1, "MEM", used / total, bytes(used) + (wide ? " of " : "/") + bytes(total), cells);
  }
  if (lines > 2 && host.swap_total && host.swap_free) {
    const auto total = static_cast<double>(*host.swap_total);
    const auto used = total - static_cast<double>(*host.swap_free);
    put_meter(grid, 3, 1, "SWP", used / total, bytes(used) + (wide ? " of " : "/") + bytes(total), cells);
  }
  int at = grid.put(1, side, "PSI  ", kBold);
  for (const auto& [name, part] : {std::pair<const char*, std::optional<double>>{"cpu ", host.psi_cpu},
                                   {"mem ", host.psi_memory},
                                   {"io ", host.psi_io}}) {
    at = grid.put(1, at, name);
    at = grid.put(1, at, part ? number("%.1f", *part * 100) : "-", part ? style_of_pressure(*part) : kDim);
    at += wide ? 3 : 1;
  }
  const auto read = of_root("read");
  const auto write = of_root("write");
  at = grid.put(2, side, "IO   ", kBold);
  at = grid.put(2, at, "r " + (read ? bytes(*read) + "/s" : "-"));
  grid.put(2, at + (wide ? 3 : 1), "w " + (write ? bytes(*write) + "/s" : "-"));
}

int timeline_rows(const Scene& scene, int height) { return scene.timeline && height >= kTall + 4 ? 2 : 0; }

void draw_timeline(const Scene& scene, Grid& grid, int row) {
  const auto& line = *scene.timeline;
  int at = grid.put(row, 1, "TIME ", kBold);
  at = grid.put(row, at, clock_text(line.from) + " |");
  const int start = at;
  for (const auto& piece : levels_text(line.cpu, scene.ascii)) at = grid.put(row, at, piece, kGraph);
  for (std::size_t i = 0; i < line.marks.size(); ++i) {
    if ((line.marks[i] & record::kOomKilled) != 0) grid.put(row, start + static_cast<int>(i), "!", kCritical);
  }
  grid.put(row, start + static_cast<int>(line.marks.size()), "| " + clock_text(line.to));
  const auto text = clock_text(line.at) + (line.event.empty() ? "" : "  " + safe(scene, line.event));
  const int here = start + static_cast<int>(line.here);
  grid.put(row + 1, here, "^", kBold);
  const bool left = here + 2 + width(text) >= grid.columns();
  const auto style = line.event.starts_with("OOM") ? kCritical : kPlain;
  if (left) {
    grid.put_right(row + 1, here - 1, text, style);
  } else {
    grid.put(row + 1, here + 2, text, style);
  }
}

void draw_sets(const Scene& scene, Grid& grid, int row) {
  const bool wide = grid.columns() >= 100;
  int at = 1;
  for (std::size_t s = 0; s < kColumnSetCount; ++s) {
    auto name = std::to_string(s + 1);
    name += wide ? " " + std::string(kColumnSets[s].name) : std::string(kColumnSets[s].short_name);
    const bool here = s == scene.set;
    const int from = at;
    at = grid.put(row, at, here ? "[" + name + "]" : name, here ? kTitle : kPlain);
    grid.add_click_target(row, from, at, ClickKind::set, s);
    at += wide ? 2 : 1;
  }
  if (scene.set == kColumnSetCount) at = grid.put(row, at, "[custom]", kTitle) + 1;
  if (!scene.table) return;
  auto count = std::to_string(scene.frame.matching) + (wide ? " of " : "/") + std::to_string(scene.table->size());
  if (wide) count += " cgroups";
  if (scene.view.only_active) count = "active " + count;
  if (at + width(count) + 1 < grid.columns()) grid.put_right(row, grid.columns() - 1, count);
}

void draw_heading(const Scene& scene, Grid& grid, int row, const Layout& layout) {
  grid.clear(row, 0, grid.columns(), kReverse);
  const auto sorted = [&](ColumnId id, const std::string& title, int room) {
    if (id != scene.view.sort) return cut_middle(title, room, "~");
    return cut_middle(title, room - 1, "~") + (scene.view.descending ? "v" : "^");
  };
  const Style heading{.bold = true, .reverse = true};
  const auto name_id = *scene.columns->find("name");
  auto name = sorted(name_id, scene.paths ? "PATH" : "CGROUP", layout.name);
  const bool sort_column_hidden =
      std::ranges::none_of(layout.columns, [&](const auto& c) { return c.first == scene.view.sort; });
  if (sort_column_hidden && scene.view.sort != name_id) {
    name += "  (by " + (*scene.columns)[scene.view.sort].name + (scene.view.descending ? " v)" : " ^)");
  }
  grid.put(row, 2, cut_middle(name, layout.name, "~"), heading);
  grid.add_click_target(row, 2, 2 + layout.name, ClickKind::heading, name_id);
  int at = 2 + layout.name;
  for (const auto& [id, cells] : layout.columns) {
    const auto& c = (*scene.columns)[id];
    auto title = c.title;
    if (scene.cpu == CpuScale::machine && c.name == "cpu") title = "CPU%all";
    const auto text = sorted(id, title, cells - 1);
    if (c.form == Form::text) {
      grid.put(row, at + 2, text, heading);
    } else {
      grid.put_right(row, at + cells, text, heading);
    }
    grid.add_click_target(row, at + 1, at + cells, ClickKind::heading, id);
    at += cells;
    if (layout.graph && c.name == "cpu") {
      grid.put(row, at + 2, "graph", heading);
      at += kGraphCells + 2;
    }
  }
}

void draw_row(const Scene& scene, Grid& grid, int line, const Row& row, bool here, const Layout& layout) {
  const auto& table = *scene.table;
  const bool whole = scene.paths || !scene.view.tree;
  const auto* const removed = row.removed ? &scene.removed[*row.removed] : nullptr;
  const auto id_of_cgroup = removed != nullptr ? removed->id : table.cgroup(row.cgroup).id;
  const std::string_view label = removed == nullptr
                                     ? whole ? table.cgroup(row.cgroup).path : name_of(table.now(), row.cgroup)
                                 : whole ? removed->path
                                         : removed->name;
  auto name = safe(scene, label);
  std::string indent;
  if (scene.view.tree) {
    // Limit the indentation, so that deep cgroups keep a third of the column for their name.
    const int max_indent = std::max(0, layout.name * 2 / 3 - 2);
    indent.assign(static_cast<std::size_t>(std::min(2 * row.depth, max_indent)), ' ');
    indent += row.parent ? (row.folded ? "+ " : "- ") : "  ";
  }
  name = indent + cut_middle(name, layout.name - static_cast<int>(indent.size()), mark(scene));
  grid.put(line, 0, here ? ">" : " ", kBold);
  grid.add_click_target(line, 0, grid.columns(), ClickKind::cgroup, id_of_cgroup);
  if (row.parent && scene.view.tree) {
    const int sign = static_cast<int>(indent.size());
    grid.add_click_target(line, sign, sign + 2, ClickKind::fold, id_of_cgroup);
  }
  grid.put(line, 2, name, row.dimmed ? kDim : kPlain);
  std::optional<int> state_at;  // of a removed cgroup
  int at = 2 + layout.name;
  for (const auto& [id, cells] : layout.columns) {
    const auto& c = (*scene.columns)[id];
    if (removed != nullptr) {
      if (c.source == ColumnSource::state) state_at = at;
      if (c.form == Form::text) {
        grid.put(line, at + 2, "-", kDim);
      } else {
        grid.put_right(line, at + cells, "-", kDim);
      }
    } else if (!row.dimmed) {
      const auto text = shown(scene, id, row.cgroup);
      if (c.form == Form::text) {
        const bool state = c.source == ColumnSource::state;
        grid.put(line, at + 2, cut_middle(text, cells - 2, mark(scene)), state ? kCritical : kPlain);
      } else {
        grid.put_right(line, at + cells, text, style_of(c, table.value(id, row.cgroup)));
      }
    }
    at += cells;
    if (layout.graph && c.name == "cpu") {
      if (const auto graph = scene.graphs.find(id_of_cgroup); graph != scene.graphs.end() && !row.dimmed) {
        grid.put(line, at + 2, graph_text(graph->second, kGraphCells, scene.ascii), kGraph);
      }
      at += kGraphCells + 2;
    }
  }
  if (state_at) {
    // Wider than the state column, so it covers part of its neighbors, which have no values.
    constexpr std::string_view word = " removed ";
    grid.put(line, std::min(*state_at + 1, grid.columns() - width(word)), word, kDim);
  }
  if (here) grid.restyle(line, 0, grid.columns(), {.bold = true, .underline = true});
}

// The key with this label in the key line; kNone for labels of several keys.
char32_t key_of_label(std::string_view name) {
  if (name.size() == 1) return static_cast<unsigned char>(name[0]);
  for (const auto& [word, key] : {std::pair<std::string_view, char32_t>{"Enter", key::kEnter},
                                  {"Esc", key::kEscape},
                                  {"Tab", key::kTab},
                                  {"Space", ' '},
                                  {"PgDn", key::kPageDown}}) {
    if (word == name) return key;
  }
  return key::kNone;
}

void draw_keys(Grid& grid, int row, std::initializer_list<std::pair<std::string_view, std::string_view>> keys) {
  int at = 1;
  for (const auto& [key, what] : keys) {
    if (at + width(key) + 1 + width(what) > grid.columns()) return;
    const int from = at;
    at = grid.put(row, at, key, kBold);
    at = grid.put(row, at + 1, what);
    if (const auto code = key_of_label(key); code != key::kNone)
      grid.add_click_target(row, from, at, ClickKind::key, code);
    at += 2;
  }
}

// The line above the keys: the prompt, otherwise the message, otherwise the filter. An error or hint of the prompt
// takes the line above.
void draw_message(const Scene& scene, Grid& grid, int row) {
  if (row < 0) return;
  grid.clear(row, 0, grid.columns());
  if (scene.prompt != Scene::Prompt::none) {
    const bool filter = scene.prompt == Scene::Prompt::filter;
    const std::string_view label = filter                                   ? "filter: "
                                   : scene.prompt == Scene::Prompt::jump    ? "jump to: "
                                   : scene.prompt == Scene::Prompt::command ? ": "
                                                                            : "search: ";
    int at = grid.put(row, 1, label, kBold);
    const int start = at;
    const auto text = safe(scene, scene.prompt_text);
    at = grid.put(row, at, text);
    grid.put(row, at, " ", kReverse);
    if (!scene.prompt_error.empty() && row > 0) {
      grid.clear(row - 1, 0, grid.columns());
      // On the command line the caret is below the text; here it is above.
      auto error = scene.prompt_error;
      if (const auto caret = error.find('^'); caret != std::string::npos) error[caret] = 'v';
      const auto space = error.find_first_not_of(' ');
      const int room = grid.columns() - start;
      if (static_cast<int>(space) + 20 < room) {
        grid.put(row - 1, start, cut_end(error, room), kBad);
      } else {
        grid.put(row - 1, 1, cut_end(error.substr(space), grid.columns() - 1), kBad);
      }
    } else if (!scene.prompt_hint.empty() && row > 0) {
      grid.clear(row - 1, 0, grid.columns());
      grid.put(row - 1, start, cut_end(scene.prompt_hint, grid.columns() - start), kDim);
    }
  } else if (!scene.message.empty()) {
    grid.put(row, 1, cut_end(safe(scene, scene.message), grid.columns() - 1), kWarn);
  } else if (!scene.filter_text.empty()) {
    const int at = grid.put(row, 1, "filter: ", kBold);
    grid.put(row, at, cut_end(safe(scene, scene.filter_text), grid.columns() - at));
  }
}

// An empty box in the middle of the screen.
struct Box {
  int top, left, height;
  int inside;  // width between the borders
};
Box draw_box(Grid& grid, int max_inside, int max_rows, std::string_view title) {
  Box box{};
  box.inside = std::min(max_inside, grid.columns() - 4);
  box.height = std::min(max_rows, grid.rows() - 2);
  box.left = (grid.columns() - box.inside - 2) / 2;
  box.top = (grid.rows() - box.height) / 2;
  if (box.inside < 16 || box.height < 4) return box;
  grid.clear_click_targets();  // outside the box, too: it is modal
  const auto bar = "+" + std::string(static_cast<std::size_t>(box.inside), '-') + "+";
  for (int r = 0; r < box.height; ++r) {
    grid.clear(box.top + r, box.left, box.left + box.inside + 2);
    if (r == 0 || r == box.height - 1) {
      grid.put(box.top + r, box.left, bar);
    } else {
      grid.put(box.top + r, box.left, "|");
      grid.put(box.top + r, box.left + box.inside + 1, "|");
    }
  }
  grid.put(box.top, box.left + 3, ' ' + std::string(cut_end(title, box.inside - 6)) + ' ', kTitle);
  return box;
}

// The lines of a plan or a result: the changes, the explanation and the route.
std::vector<std::pair<std::string, Style>> lines_of(const Scene& scene, const model::Outcome& outcome) {
  std::vector<std::pair<std::string, Style>> out;
  for (const auto& change : outcome.changes) out.emplace_back("  " + change_text(change), kPlain);
  if (!outcome.text.empty()) {
    auto text = outcome.text;
    if (!outcome.guard.empty()) text += " [" + outcome.guard + "]";
    out.emplace_back(base::printable(text), outcome.ok() ? kPlain : kBad);
  }
  if (outcome.ok() && !outcome.route.empty()) {
    out.emplace_back("through " + base::printable(outcome.route), kDim);
  }
  if (scene.ascii) {
    for (auto& [text, style] : out) text = ascii_only(text);
  }
  return out;
}

// Wraps lines at spaces; continuation lines are indented.
void wrap(std::vector<std::pair<std::string, Style>>& lines, int cells) {
  for (std::size_t i = 0; i < lines.size() && lines.size() < 64; ++i) {
    if (width(lines[i].first) <= cells) continue;
    auto head = std::string(cut_end(lines[i].first, cells));
    const auto space = head.find_last_of(' ');
    if (space != std::string::npos && space > head.size() / 2) head.resize(space);
    auto tail = lines[i].first.substr(head.size());
    tail.erase(0, tail.find_first_not_of(' '));
    const auto style = lines[i].second;
    lines[i].first = std::move(head);
    if (!tail.empty()) lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(i) + 1, {"  " + tail, style});
  }
}

void draw_dialog(const Scene& scene, Grid& grid) {
  const auto& dialog = *scene.dialog;
  using Step = Dialog::Step;
  const bool limits = dialog.verb() == model::Verb::limit;
  const int max_inside = limits ? 76 : 64;
  const int inside = std::min(max_inside, grid.columns() - 4);
  std::vector<std::pair<std::string, Style>> text_lines;
  if (dialog.outcome()) {
    text_lines = lines_of(scene, *dialog.outcome());
  } else if (dialog.step() == Step::planning) {
    text_lines = {{"dry run in progress", kDim}};
  }
  if (!dialog.error().empty()) text_lines.emplace_back(safe(scene, dialog.error()), kBad);
  wrap(text_lines, inside - 2);
  const auto inputs = static_cast<int>(dialog.inputs().size());
  const int heading = limits ? 1 : 0;
  const auto box = draw_box(grid, max_inside, 3 + heading + inputs + static_cast<int>(text_lines.size()) + 1,
                            scene.ascii ? ascii_only(dialog.title()) : dialog.title());
  if (box.inside < 16 || box.height < 4) return;

  const int at = box.left + 2;
  int line = box.top + 1;
  const int last = box.top + box.height - 2;  // of the keys
  // If rows are scarce, keep the current input and the end of the text below.
  const int room = last - line;
  const int text_rows = std::min(static_cast<int>(text_lines.size()), std::max(room - std::min(inputs, 1), 0));
  const int action_request = std::min(inputs, std::max(room - text_rows - heading, 0));
  const int first =
      std::clamp(static_cast<int>(dialog.at()) - action_request + 1, 0, std::max(inputs - action_request, 0));
  const int value_at = at + (limits ? 38 : 16);
  if (limits && action_request > 0) {
    grid.put(line, at, "limit", kBold);
    grid.put(line, at + 16, "now", kBold);
    grid.put(line, at + 27, "effective", kBold);
    grid.put(line++, value_at, "new", kBold);
  }
  for (int i = first; i < first + action_request; ++i, ++line) {
    const auto& input = dialog.inputs()[static_cast<std::size_t>(i)];
    grid.put(line, at, input.label);
    if (limits) {
      grid.put(line, at + 16, cut_end(scene.ascii ? ascii_only(input.now) : input.now, 10));
      grid.put(line, at + 27, cut_end(scene.ascii ? ascii_only(input.effective) : input.effective, 10));
    }
    const int cells = std::max(box.left + box.inside - value_at - 1, 4);
    const bool here = static_cast<std::size_t>(i) == dialog.at();
    if (input.text.empty()) {
      const int from = here ? value_at + 1 : value_at;
      grid.put(line, from, cut_end(scene.ascii ? ascii_only(input.hint) : input.hint, cells - 1), kDim);
      if (here) grid.put(line, value_at, " ", kReverse);
    } else {
      // Show the end of a long text, where the user types.
      const auto text = safe(scene, input.text);
      std::string_view seen = text;
      while (width(seen) >= cells && !seen.empty()) (void)take_rune(seen);
      const int end = grid.put(line, value_at, seen, here ? kBold : kPlain);
      if (here) grid.put(line, end, " ", kReverse);
    }
  }
  for (std::size_t i = text_lines.size() - static_cast<std::size_t>(text_rows); i < text_lines.size() && line < last;
       ++i, ++line) {
    grid.put(line, at, cut_end(text_lines[i].first, box.inside - 2), text_lines[i].second);
  }
  const std::string_view keys = dialog.step() == Step::planned   ? "Enter apply  Esc cancel"
                                : dialog.step() == Step::editing ? "Enter show the plan  Tab next field  Esc cancel"
                                : dialog.step() == Step::failed  ? "Esc close"
                                : dialog.step() == Step::running
                                    ? "running; Esc closes this dialog, the action continues"
                                    : "Esc cancel";
  grid.put(last, at, cut_end(keys, box.inside - 2), kDim);
}

void draw_menu(const Scene& scene, Grid& grid) {
  const bool sort = scene.menu == Scene::Menu::sort;
  const auto [top, left, height, inside] = draw_box(grid, 100, 18, sort ? "Sort by" : "Columns: " + scene.set_name);
  if (inside < 20 || height < 5) return;
  const int at = grid.put(top + 1, left + 2, "search: ", kBold);
  const int end = grid.put(top + 1, at, cut_end(safe(scene, scene.menu_find), inside - 12));
  grid.put(top + 1, end, " ", kReverse);
  const int rows = height - 4;
  const auto first =
      scene.menu_cursor >= static_cast<std::size_t>(rows) ? scene.menu_cursor - static_cast<std::size_t>(rows) + 1 : 0U;
  for (int r = 0; r < rows; ++r) {
    const auto i = first + static_cast<std::size_t>(r);
    if (i >= scene.menu_items.size()) break;
    const auto id = scene.menu_items[i];
    const auto& c = (*scene.columns)[id];
    const bool on = sort ? id == scene.view.sort : std::ranges::find(scene.shown, id) != scene.shown.end();
    auto line = std::string(on ? "[x] " : "[ ] ") + c.name;
    line.resize(std::max<std::size_t>(line.size() + 1, 36), ' ');
    line += c.help;
    const int row = top + 2 + r;
    grid.put(row, left + 2, cut_end(line, inside - 2));
    grid.add_click_target(row, left + 1, left + inside + 1, ClickKind::item, i);
    if (i == scene.menu_cursor) grid.restyle(row, left + 1, left + inside + 1, kReverse);
  }
  grid.put(top + height - 2, left + 2,
           cut_end(sort ? "type to search  Enter sort  Esc close"
                        : "Space show or hide  Left Right move  Enter show or hide, close  Esc close",
                   inside - 2),
           kDim);
}

void draw_list(const Scene& scene, Grid& grid) {
  const int height = grid.rows();
  draw_title(scene, grid);
  const int meters = meter_lines(scene, height);
  draw_meters(scene, grid, meters);
  int line = 1 + meters;
  if (timeline_rows(scene, height) > 0) {
    draw_timeline(scene, grid, line);
    line += 2;
  }
  if (height >= kTall) draw_sets(scene, grid, line++);
  if (!scene.table) {
    grid.put(line + 1, 2, "collecting the first samples");
  } else {
    const auto layout = layout_of(scene, grid.columns());
    draw_heading(scene, grid, line++, layout);
    const int rows = list_rows(scene, height);
    for (int r = 0; r < rows; ++r) {
      const auto i = scene.offset + static_cast<std::size_t>(r);
      if (i >= scene.frame.rows.size()) break;
      draw_row(scene, grid, line + r, scene.frame.rows[i], i == scene.cursor, layout);
    }
    if (scene.frame.rows.empty()) grid.put(line + 1, 2, "no cgroup matches the filter; press Esc to clear it");
  }
  draw_message(scene, grid, height - 2);
  if (scene.replay) {
    draw_keys(grid, height - 1,
              {{"< >", "sample"},
               {"[ ]", "minute"},
               {"{ }", "event"},
               {"J", "jump"},
               {"p", scene.paused ? "play" : "pause"},
               {"E", "end"},
               {"?", "help"},
               {"q", "quit"},
               {"d", "speed"},
               {"z", "timeline"},
               {"/", "filter"},
               {"Enter", "open"}});
    if (scene.menu != Scene::Menu::none) draw_menu(scene, grid);
    return;
  }
  draw_keys(grid, height - 1,
            {{"Enter", "open"},
             {"Space", "fold"},
             {"/", "filter"},
             {"s", "sort"},
             {"C", "columns"},
             {"f", "freeze"},
             {"L", "limits"},
             {"x", "kill"},
             {"?", "help"},
             {"q", "quit"},
             {"T", "tree"},
             {"p", "pause"},
             {"< >", "time"},
             {"U", "units"},
             {"%", "CPU"}});
  if (scene.menu != Scene::Menu::none) draw_menu(scene, grid);
}

// ---- a cgroup's page: all lines are built, then the visible ones are drawn
// ------------------------------------------------------------

struct Span {
  std::string text;
  Style style;
  int at = -1;  // column; -1: after the previous span
};
using Line = std::vector<Span>;

class CgroupPage {
 public:
  CgroupPage(const Scene& scene, CgroupIndex cgroup, int columns)
      : scene_(scene), table_(*scene.table), cgroup_(cgroup), columns_(columns) {}

  std::vector<Line> lines() {
    switch (scene_.tab) {
      case Tab::summary:
        summary();
        break;
      case Tab::processes:
        processes();
        break;
      case Tab::memory:
        fields({"memory_", "swap"}, {"memory_events", "memory_numa", "memory_local"});
        break;
      case Tab::devices:
        devices();
        break;
      case Tab::pressure:
        pressure();
        break;
      case Tab::limits:
        limits();
        break;
      case Tab::events:
        events();
        break;
      case Tab::namespaces:
        namespaces();
        break;
    }
    return std::move(out_);
  }

 private:
  [[nodiscard]] std::string text(std::string_view name) const {
    const auto id = scene_.columns->find(name);
    return id ? shown(scene_, *id, cgroup_) : "-";
  }
  [[nodiscard]] Value value(std::string_view name) const {
    const auto id = scene_.columns->find(name);
    return id ? table_.value(*id, cgroup_) : Value();
  }
  void add_text(std::string words) { out_.push_back({{std::move(words), kPlain, 1}}); }
  void add_line(std::string label, std::string words) {
    out_.push_back({{std::move(label), kBold, 1}, {std::move(words), kPlain, 10}});
  }

  void summary() {
    add_line("CPU", text("cpu") + "% of one core    user " + text("cpu_user_rate") + "  system " +
                        text("cpu_system_rate") + "    weight " +
                        text(value("cpu_weight").is_absent() ? "cpu_shares" : "cpu_weight"));
    add_line("", "quota " + text("cpu_limit") + "  used " + text("cpu_of_limit") + "% of the quota  throttled " +
                     text("throttled") + "% of the periods");
    if (const auto graph = scene_.graphs.find(table_.cgroup(cgroup_).id); graph != scene_.graphs.end()) {
      const auto peak = *std::ranges::max_element(graph->second);
      const int cells = std::clamp(columns_ - 28, 8, static_cast<int>(kGraphSamples));
      out_.push_back({{"|", kDim, 10},
                      {graph_text(graph->second, cells, scene_.ascii), kGraph},
                      {"| max " + number("%.1f%%", std::max(0.0F, peak) * 100), kDim}});
    }
    out_.push_back(
        {{"MEM", kBold, 1},
         {text("memory") + " of " + text("memory_limit") + "  ", kPlain, 10},
         {text("memory_of_limit") + "%",
          value("memory_of_limit").is_number() ? style_of_fraction(to_fraction(value("memory_of_limit"))) : kDim},
         {"    working set " + text("working_set") + "  peak " + text("memory_peak") + "  high " + text("memory_high"),
          kPlain}});
    add_line("", "anon " + text("memory_anon") + "  file " + text("memory_file") + "  kernel " + text("memory_kernel") +
                     "  slab " + text("memory_slab") + "  shmem " + text("memory_shmem"));
    add_line("SWAP", text("swap") + " of " + text("memory_swap_max") + "    refaults " +
                         text("memory_workingset_refault_file_rate") + "/s  major faults " +
                         text("memory_pgmajfault_rate") + "/s");
    pressure_table(false);
    add_line("IO", "read " + text("read") + "/s  write " + text("write") + "/s    " + text("read_ops") + " reads/s  " +
                       text("write_ops") + " writes/s");
    device_lines(4);
    add_line("TASKS", text("tasks") + " of " + text("tasks_limit") + "    descendants " + text("descendants") +
                          "  dying descendants " + text("dying_descendants"));
    add_line("EVENTS", "high " + text("memory_events_high") + "  max " + text("memory_events_max") + "  oom " +
                           text("memory_events_oom") + "  oom_kill " + text("oom_kills") + "  pids max " +
                           text("pids_events_max"));
    if (const auto* const c = container_of(table_.now(), cgroup_); c != nullptr) {
      std::string words(model::name(c->role));
      for (const auto& [label, fact] : {std::pair<const char*, const model::Container::Text*>{"", &c->runtime},
                                        {"image ", &c->image},
                                        {"id ", &c->id},
                                        {"pod ", &c->pod},
                                        {"namespace ", &c->pod_namespace},
                                        {"unit ", &c->unit}}) {
        if (*fact) words += "  " + std::string(label) + safe(scene_, std::string_view(**fact).substr(0, 64));
      }
      add_line("ROLE", words);
    }
    const auto state = table_.state(cgroup_);
    add_line("STATE",
             (state.empty() ? "-" : state) + "    frozen " + text("frozen") + "  populated " + text("populated"));
  }

  void processes() {
    if (!scene_.processes) {
      add_text("reading...");
      return;
    }
    const auto& all = *scene_.processes;
    add_text(std::to_string(all.all.size()) + " processes in this cgroup, without descendants" +
             (all.hidden > 0 ? "; " + std::to_string(all.hidden) + " more in other PID namespaces" : ""));
    const bool wide = columns_ >= 70;
    const auto row = [&](const std::string& pid, const std::string& user, const std::string& cpu,
                         const std::string& memory, const std::string& swap, const std::string& threads,
                         const std::string& state, const std::string& age, const std::string& command, Style style) {
      const auto right = [](const std::string& t, int cells) {
        return std::string(static_cast<std::size_t>(std::max(0, cells - width(t))), ' ') + t;
      };
      auto user_cell = cut_middle(user, 9, "~");
      user_cell += std::string(static_cast<std::size_t>(std::max(0, 9 - width(user_cell))), ' ');
      auto start = right(pid, 8) + ' ' + user_cell + right(cpu, 7) + right(memory, 8);
      if (wide) start += right(swap, 8) + right(threads, 5);
      start += ' ' + state + ' ';
      if (wide) start += right(age, 9) + "  ";
      const int at = width(start);
      out_.push_back({{std::move(start), style, 0}, {command, style, at}});
    };
    row("PID", "USER", "CPU%", "MEM", "SWAP", "THR", "S", "AGE", "COMMAND", {.bold = true, .reverse = true});
    for (const auto& p : all.all) {
      const auto bytes = [&](std::int64_t n) { return human_bytes(static_cast<double>(n), scene_.units); };
      row(std::to_string(p.pid), safe(scene_, p.user), p.cpu ? number("%.1f", *p.cpu * 100) : "-", bytes(p.rss),
          p.swap ? bytes(*p.swap) : "-", std::to_string(p.threads), std::string(1, p.state), human_duration(p.age),
          safe(scene_, p.command), p.state == 'D' ? kWarn : kPlain);
    }
  }

  // Every field with one of these prefixes that has a value, with its rate.
  void fields(std::initializer_list<std::string_view> prefixes, std::initializer_list<std::string_view> except) {
    const auto& columns = *scene_.columns;
    const auto starts = [](std::string_view name, std::initializer_list<std::string_view> with) {
      return std::ranges::any_of(with, [&](auto b) { return name.starts_with(b); });
    };
    for (ColumnId id = 0; id < columns.size(); ++id) {
      const auto& c = columns[id];
      if (c.source == ColumnSource::rate || c.form == Form::text || !starts(c.name, prefixes) || starts(c.name, except))
        continue;
      const auto v = table_.value(id, cgroup_);
      if (v.is_absent()) continue;
      Line row{{c.name, kPlain, 1}};
      const auto now = human(c, v, scene_.units) + (c.form == Form::ratio && v.is_number() ? "%" : "");
      row.push_back({now, style_of(c, v), std::max(1, 48 - width(now))});
      if (const auto rate = columns.find(c.name + "_rate")) {
        const auto per_second = table_.value(*rate, cgroup_);
        if (per_second.is_number() && per_second.fixed() != 0) {
          row.push_back({human(columns[*rate], per_second, scene_.units) + "/s", kGraph, 50});
        }
      }
      if (columns_ >= 100) row.push_back({c.help, kDim, 62});
      out_.push_back(std::move(row));
    }
    if (out_.empty())
      add_text("No data: the controller is disabled for this cgroup or on another hierarchy (see cgtop doctor).");
  }

  void device_lines(std::size_t max_rows) {
    const auto read = scene_.columns->catalogue().find("io_read");
    if (!read) return;
    const auto& column = table_.now().columns[*read];
    for (const auto& series : model::series_of(column, cgroup_)) {
      if (max_rows-- == 0) return;
      const auto device = column.text_of(series);
      const auto rate = [&](std::string_view field, bool bytes) -> std::string {
        const auto id = scene_.columns->catalogue().find(field);
        const auto per_second = id ? table_.delta().rate(*id, cgroup_, device) : std::nullopt;
        if (!per_second) return "-";
        return bytes ? human_bytes(*per_second, scene_.units) : number("%.1f", *per_second);
      };
      out_.push_back({{safe(scene_, device), kPlain, 10},
                      {rate("io_read", true) + "/s", kPlain, 26},
                      {rate("io_write", true) + "/s", kPlain, 38},
                      {rate("io_reads", false) + "/s", kPlain, 50},
                      {rate("io_writes", false) + "/s", kPlain, 62}});
    }
  }

  void devices() {
    out_.push_back({{"DEVICE", kBold, 10},
                    {"READ", kBold, 26},
                    {"WRITE", kBold, 38},
                    {"READS", kBold, 50},
                    {"WRITES", kBold, 62}});
    device_lines(10'000);
    if (out_.size() == 1) add_text("No data: no device was used, or the io controller is disabled (see cgtop doctor).");
    const auto limits_of = [&](std::string_view name) {
      const auto words = text(name);
      if (!words.empty() && words != "-") add_line("", std::string(name) + "  " + words);
    };
    for (const auto* const name :
         {"io_max_read", "io_max_write", "io_max_reads", "io_max_writes", "io_latency_target"}) {
      limits_of(name);
    }
  }

  void pressure_table(bool all) {
    out_.push_back({{"PSI", kBold, 1}, {"some10  some60 some300   full10  full60 full300", kDim, 18}});
    for (const auto* const what : {"cpu", "memory", "io", "irq"}) {
      if (!all && std::string_view(what) == "irq") continue;
      Line row{{what, kPlain, 3}};
      int at = 17;
      for (const auto* const kind : {"some", "full"}) {
        for (const auto* const window : {"10", "60", "300"}) {
          const auto name = std::string("pressure_") + what + '_' + kind + "_avg" + window;
          const auto id = scene_.columns->find(name);
          const auto v = id ? table_.value(*id, cgroup_) : Value();
          const auto words = id ? human((*scene_.columns)[*id], v, scene_.units) : "-";
          row.push_back({words, v.is_number() ? style_of_pressure(to_fraction(v)) : kDim, at + 7 - width(words)});
          at += 8;
        }
        at += 1;
      }
      out_.push_back(std::move(row));
    }
  }

  void pressure() {
    pressure_table(true);
    add_text("");
    add_text("Percentage of the last 10, 60 and 300 seconds in which some or all tasks were stalled.");
    if (value("psi_cpu").is_absent()) {
      add_text("No data: cgroup v1 has no pressure files, or accounting is disabled (see cgtop doctor).");
    }
    for (const auto* const name : {"pressure_cpu_some", "pressure_memory_some", "pressure_memory_full",
                                   "pressure_io_some", "pressure_io_full"}) {
      if (!value(name).is_absent())
        add_line("", std::string(name) + "  " + text(name) + " since the cgroup was created");
    }
  }

  // The limits of the cgroup, and the tightest ones of the cgroup and its ancestors.
  void limits() {
    out_.push_back({{"LIMIT", kBold, 1}, {"OWN", kBold, 32}, {"EFFECTIVE", kBold, 46}, {"SET BY", kBold, 60}});
    for (const auto* const name :
         {"memory_max", "memory_high", "memory_swap_max", "memory_memsw_max", "pids_max", "cpu_limit"}) {
      const auto id = scene_.columns->find(name);
      if (!id) continue;
      CgroupIndex by = model::kNoCgroup;
      Value best;
      for (auto g = cgroup_; g != model::kNoCgroup; g = table_.parent(g)) {
        const auto v = table_.value(*id, g);
        if (v.is_number() && (!best.is_number() || v.fixed() < best.fixed())) {
          best = v;
          by = g;
        }
      }
      const auto own = table_.value(*id, cgroup_);
      if (own.is_absent() && by == model::kNoCgroup) continue;
      const auto& c = (*scene_.columns)[*id];
      const std::string unit = c.form == Form::ratio ? "%" : "";
      out_.push_back({{name, kPlain, 1},
                      {human(c, own, scene_.units) + (own.is_number() ? unit : ""), kPlain, 32},
                      {by == model::kNoCgroup ? "unlimited" : human(c, best, scene_.units) + unit, kPlain, 46},
                      {by == model::kNoCgroup ? ""
                       : by == cgroup_        ? "this cgroup"
                                              : safe(scene_, table_.cgroup(by).path),
                       kPlain, 60}});
    }
    add_text("");
    for (ColumnId id = 0; id < scene_.columns->size(); ++id) {
      const auto& c = (*scene_.columns)[id];
      if (c.source != ColumnSource::field) continue;
      const auto kind = scene_.columns->catalogue().field(c.field).kind;
      if (kind != model::MetricKind::setting && !c.name.starts_with("cpuset_")) continue;
      if (scene_.columns->find(c.name) != id) continue;
      const auto words = c.form == Form::text ? safe(scene_, table_.text(id, cgroup_)) : shown(scene_, id, cgroup_);
      if (words.empty() || words == "-") continue;
      out_.push_back({{c.name, kPlain, 1}, {words, kPlain, 46}});
    }
  }

  void namespaces() {
    out_.push_back({{"KIND", kBold, 1}, {"NAMESPACE", kBold, 10}, {"HOST NAMESPACE", kBold, 26}});
    if (const auto field = scene_.columns->catalogue().find("namespace")) {
      const auto& column = table_.now().columns[*field];
      for (const auto& series : model::series_of(column, cgroup_)) {
        auto rest = column.text_of(series);
        const auto kind = base::take_until(rest, '\0');
        const auto id = base::take_until(rest, '\0');
        out_.push_back({{safe(scene_, kind), kPlain, 1},
                        {safe(scene_, id), kPlain, 10},
                        {safe(scene_, base::take_until(rest, '\0')), kPlain, 26}});
      }
    }
    if (out_.size() == 1) add_text("No process of this cgroup (without descendants) is readable.");
    for (const auto* const name : {"processes", "threads", "open_files", "sockets", "chroot"}) {
      const auto words = text(name);
      if (!words.empty() && words != "-") add_line("", std::string(name) + "  " + words);
    }
  }

  void events() {
    fields({"memory_events", "memory_swap_events", "memory_failcnt", "memory_memsw_failcnt", "pids_events",
            "hugetlb_events", "misc_events", "cpu_throttled_periods", "cpu_burst_periods", "oom_kills"},
           {});
    if (!scene_.audit) return;
    add_text("");
    if (!*scene_.audit) {
      add_text("Actions by cgwarden are unknown: " + scene_.audit->error().what);
      return;
    }
    const auto& all = **scene_.audit;
    out_.push_back({{all.empty() ? "No recent actions by cgwarden." : "ACTIONS BY CGWARDEN", kBold, 1}});
    for (const auto& event : all) {
      auto what = event.event == "end" ? event.action : event.event;
      if (event.event == "dry_run") what = "dry run: " + event.action;
      if (!event.result.empty()) what += " " + event.result;
      const bool bad = !event.result.empty() && event.result != "done";
      const auto time = event.time.size() > 19 ? event.time.substr(0, 10) + ' ' + event.time.substr(11, 8) : event.time;
      std::string text = event.who + (event.who.empty() || event.text.empty() ? "" : ": ") + event.text;
      out_.push_back({{safe(scene_, time), kDim, 1}, {safe(scene_, what), bad ? kBad : kPlain, 22}});
      if (columns_ >= 80) {
        out_.back().push_back({safe(scene_, text), kPlain, 42});
      } else {
        out_.push_back({{safe(scene_, text), kPlain, 4}});
      }
    }
  }

  const Scene& scene_;
  const Table& table_;
  CgroupIndex cgroup_;
  int columns_;
  std::vector<Line> out_;
};

// Wraps the last span of each line that is too long; continuation lines start at its column.
std::vector<Line> wrapped(std::vector<Line> lines, int columns) {
  std::vector<Line> out;
  for (auto& line : lines) {
    out.push_back(std::move(line));
    int at = 0;
    for (const auto& span : out.back()) at = std::max(at, span.at >= 0 ? span.at : at) + width(span.text);
    if (out.back().empty()) continue;
    const auto style = out.back().back().style;
    at -= width(out.back().back().text);
    auto text = out.back().back().text;
    while (at + width(text) > columns && out.size() < kMaxLines) {
      const auto head = std::string(at < columns ? cut_end(text, columns - at) : std::string_view());
      if (head.empty() && at <= columns / 2) break;  // not even one wide character fits
      out.back().back().text = head;
      text.erase(0, head.size());
      at = std::min(at, columns / 2);
      out.push_back({{text, style, at}});
    }
  }
  return out;
}

std::size_t draw_cgroup(const Scene& scene, Grid& grid) {
  const int height = grid.rows();
  std::size_t last_scroll = 0;
  draw_title(scene, grid);
  const auto path = safe(scene, scene.cgroup_path);
  const auto cgroup = scene.table ? scene.table->find(scene.cgroup) : model::kNoCgroup;
  int line = 1;
  std::string facts;
  if (cgroup != model::kNoCgroup) {
    facts = "id " + std::to_string(scene.cgroup) + "  age " + shown(scene, *scene.columns->find("age"), cgroup);
  }
  const int room = grid.columns() - width(facts) - 4;
  grid.put(line, 1, cut_middle(path, std::max(room, 10), mark(scene)), kBold);
  grid.put_right(line, grid.columns() - 1, room >= 10 ? facts : "");
  ++line;
  int at = 1;
  const bool wide = grid.columns() >= 100;
  for (std::size_t t = 0; t < kTabCount; ++t) {
    auto name = std::to_string(t + 1);
    if (wide) {
      name += " " + std::string(kTabNames[t]);
    } else {
      name += kShortTabNames[t].substr(0, grid.columns() >= 60 ? std::string_view::npos : 2);
    }
    const bool here = t == static_cast<std::size_t>(scene.tab);
    const int from = at;
    at = grid.put(line, at, here ? "[" + name + "]" : name, here ? kTitle : kPlain);
    grid.add_click_target(line, from, at, ClickKind::tab, t);
    at += wide ? 2 : 1;
  }
  line += height >= kTall ? 2 : 1;
  if (cgroup == model::kNoCgroup) {
    grid.put(line, 1, "This cgroup was removed. Press Esc to return to the list.", kWarn);
  } else {
    auto lines = CgroupPage(scene, cgroup, grid.columns()).lines();
    if (scene.wrap) lines = wrapped(std::move(lines), grid.columns());
    const int rows = std::max(1, height - 2 - line);
    last_scroll = lines.size() > static_cast<std::size_t>(rows) ? lines.size() - static_cast<std::size_t>(rows) : 0U;
    const auto first = std::min(scene.scroll, last_scroll);
    for (int r = 0; r < rows && first + static_cast<std::size_t>(r) < lines.size(); ++r) {
      int column = 1;
      for (const auto& span : lines[first + static_cast<std::size_t>(r)]) {
        column = grid.put(line + r, span.at >= 0 ? span.at : column, span.text, span.style);
      }
    }
    if (last_scroll > 0) {
      grid.put_right(height - 2, grid.columns() - 1,
                     "line " + std::to_string(first + 1) + " of " + std::to_string(lines.size()), kDim);
    }
  }
  if (!scene.message.empty() || scene.prompt != Scene::Prompt::none) draw_message(scene, grid, height - 2);
  draw_keys(grid, height - 1,
            {{"Tab", "next"},
             {"Esc", "back"},
             {"Up Down", "scroll"},
             {"< >", "time"},
             {"p", "pause"},
             {"f", "freeze"},
             {"L", "limits"},
             {"x", "kill"},
             {"y", "copy path"},
             {"?", "help"},
             {"q", "quit"}});
  return last_scroll;
}

// Topics of the help; each fits a screen of 24 rows.
constexpr const char* kHelp[] = {
    " MOVE    Up Down, k j      Move the cursor.\n"
    "         PgUp PgDn, ^U ^D  Move the cursor by a page.\n"
    "         Home End, g G     Go to the first or the last cgroup.\n"
    "         Enter             Open the page of the cgroup.\n"
    "         Esc               Return to the list.\n"
    "         1 to 9            Choose a column set, or a tab of the page.\n"
    "         Tab, Shift-Tab    Choose the next or the previous set or tab.\n"
    " TREE    T                 Switch between tree and flat list.\n"
    "         N                 Switch between names and paths.\n"
    "         Space             Fold or unfold the cgroup.\n"
    "         Right, l          Unfold the cgroup.\n"
    "         Left, h           Fold the cgroup, or go to its parent.\n"
    "         +                 Unfold all cgroups.\n"
    "         -                 Fold all cgroups.\n"
    "         *                 Unfold all descendants of the cgroup.\n"
    " FIND    /                 Filter the list as you type.\n"
    "         &                 Filter by the sort column.\n"
    "         ^L                Clear the filter and redraw the screen.\n"
    "         ^F                Search names and paths.\n"
    "         n                 Go to the next match.\n"
    "         ^N                Go to the previous match.\n",
    " VIEW    C                 Choose columns and their order.\n"
    "         s                 Choose the sort column.\n"
    "         c m i             Sort by CPU, by memory, by IO (read, then write).\n"
    "         S                 Reverse the order.\n"
    "         e                 Show the column set Events.\n"
    "         a                 Show or hide cgroups removed in the last minute.\n"
    "         o                 Show only active cgroups, or all.\n"
    "         U                 Change units: IEC, SI, raw.\n"
    "         %                 Change the meaning of CPU% 100: one core, all cores.\n"
    "         d                 Change the interval: 1, 2, 5, 10 s.\n"
    "         w                 Wrap or truncate long lines.\n"
    " TIME    p                 Pause or continue.\n"
    "         < >               Go back or forward by one sample.\n"
    "         [ ]               Go back or forward by one minute.\n"
    "         { }               Go to the previous or the next event.\n"
    "         J                 Jump to a time.\n"
    "         E                 Go to the newest sample.\n"
    "         R                 Record samples to a file, or stop.\n"
    "         z                 Change the span of the timeline.\n",
    " ACT     f                 Freeze the cgroup.\n"
    "         t                 Thaw the cgroup.\n"
    "         x                 Kill all processes of the cgroup.\n"
    "         K                 Send a signal.\n"
    "         L                 Change limits.\n"
    "         r                 Reclaim memory.\n"
    "         M                 Move processes to another cgroup.\n"
    "         u                 Undo the latest action.\n"
    "                           Every action first shows its plan; Enter applies it.\n"
    " COPY    y                 Copy the path of the cgroup to the clipboard.\n"
    "         Y                 Copy all fields of the cgroup as JSON.\n"
    " RUN     :                 Run a command (sort memory); Tab completes it.\n"
    "         W                 Save columns, order, units, interval, theme, mouse.\n"
    "         ?                 Show this help.\n"
    "         q, ^C             Quit.\n"
    "         ^Z                Suspend cgtop.\n"
    " MOUSE   click             Select a row, sort by a heading, choose a set or\n"
    "                           tab, fold at + and -, press a key of the last line.\n"
    "         double click      Open the page of the cgroup.\n"
    "         wheel             Scroll.\n",
    " FILTER  web name=nginx.service kind=slice cpu>50 mem%>80 psi.mem>10 not idle\n"
    "         Terms side by side must all match; also or, not and (...).\n"
    "         Numbers may have units: 512M 1.5G 90s 50%.\n"
    "         max matches unlimited values, none matches missing values.\n"
    "\n"
    " STATE   Z  frozen\n"
    "         F  freezing\n"
    "         T  throttled\n"
    "         H  memory.high exceeded\n"
    "         M  memory.max reached\n"
    "         O  OOM kill\n"
    "         +  created since the last sample\n"
    "         removed  in the last minute\n"
    "\n"
    " COLOR   Yellow, red, bold red: 60, 80, 90 % of a limit.\n"
    "         No information is shown by color alone.\n"
    "         Choose a theme with --theme or :theme.\n"
    "         NO_COLOR or --color never disables colors.\n",
    " NUMBERS  CPU%    100 is one core; the key % makes it all cores.\n"
    "          MEM     Memory in use, with page cache.\n"
    "          WS      Working set: without inactive page cache.\n"
    "          LIMIT   The tightest limit of the cgroup and its ancestors.\n"
    "          PSI     Percentage of the last 10 s in which a task was stalled.\n"
    "          THROT%  Percentage of the quota periods that were throttled.\n"
    "          -       Missing: the kernel does not have the file, or the\n"
    "                  controller is disabled for the cgroup (see cgtop doctor).\n"
    "          max     Unlimited.\n"
    "          err     The file could not be read.\n"
    "          Values of a cgroup include its descendants, as in the kernel.\n"
    "\n"
    " OTHER    cgtop dump, show, ps, tree, fields, doctor, record, replay, snapshot\n",
};

int help_rows(int height) { return std::max(height - 3, 1); }

// The lines of each page. A topic that is longer than a page continues on the next one.
std::vector<std::vector<std::string_view>> paged_help(int height) {
  std::vector<std::vector<std::string_view>> pages;
  for (std::string_view rest : kHelp) {
    pages.emplace_back();
    while (!rest.empty()) {
      if (pages.back().size() == static_cast<std::size_t>(help_rows(height))) pages.emplace_back();
      pages.back().push_back(base::take_line(rest));
    }
  }
  return pages;
}

void draw_help(const Scene& scene, Grid& grid) {
  const auto pages = paged_help(grid.rows());
  const auto page = std::min(scene.help_page, pages.size() - 1);
  grid.put(0, 1, "cgtop " CGWARDEN_VERSION, kTitle);
  grid.put_right(0, grid.columns() - 1, "page " + std::to_string(page + 1) + " of " + std::to_string(pages.size()));
  int line = 2;
  for (const auto text : pages[page]) {
    if (line >= grid.rows() - 1) break;
    grid.put(line, 0, text);
    if (text.size() > 8 && text[1] != ' ') grid.restyle(line, 1, 8, kBold);
    ++line;
  }
  if (scene.table) {
    const auto& now = scene.table->now();
    std::uint64_t reads = 0;
    std::uint64_t errors = 0;
    for (const auto& c : now.collectors) {
      reads += c.reads;
      errors += c.errors_now;
    }
    if (page == pages.size() - 1 && line + 1 < grid.rows() - 1) {
      const auto ms = std::chrono::duration<double, std::milli>(now.taken - now.begun).count();
      grid.put(line + 1, 1, "COST", kBold);
      grid.put(line + 1, 10,
               number("%.1f ms", ms) + " for the last sample; " + std::to_string(reads) + " file reads since start; " +
                   std::to_string(errors) + " errors");
    }
  }
  draw_keys(grid, grid.rows() - 1, {{"PgDn", "next page"}, {"Esc", "back"}});
}

}  // namespace

std::size_t help_pages(int height) { return paged_help(height).size(); }

int list_rows(const Scene& scene, int height) {
  const int above = 2 + meter_lines(scene, height) + timeline_rows(scene, height) + (height >= kTall ? 1 : 0);
  return std::max(0, height - above - 2);
}

std::string graph_text(const Graph& graph, int cells, bool ascii) {
  cells = std::clamp(cells, 0, static_cast<int>(graph.size()));
  std::string out;
  for (const auto piece : levels_text(std::span(graph).last(static_cast<std::size_t>(cells)), ascii)) out += piece;
  return out;
}

std::size_t draw(const Scene& scene, Grid& grid) {
  if (grid.rows() < 3 || grid.columns() < 20) {
    grid.put(0, 0, "too small");
    return 0;
  }
  std::size_t last_scroll = 0;
  switch (scene.page) {
    case Page::list:
      draw_list(scene, grid);
      break;
    case Page::cgroup:
      last_scroll = draw_cgroup(scene, grid);
      break;
    case Page::help:
      draw_help(scene, grid);
      break;
  }
  if (scene.dialog) draw_dialog(scene, grid);
  return last_scroll;
}

}  // namespace cgwarden::cgtop
