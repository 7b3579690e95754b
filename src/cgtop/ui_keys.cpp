// SPDX-License-Identifier: Apache-2.0
// Ui: keys, the mouse and typed commands. The operations that they call are in ui.cpp.
#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

#include "src/base/names.h"
#include "src/base/text.h"
#include "src/cgtop/options.h"
#include "src/cgtop/select.h"
#include "src/cgtop/ui.h"
#include "src/cgtop/views.h"

namespace cgwarden::cgtop {
namespace {

constexpr int kWheelRows = 3;
constexpr std::string_view kUnitNames[] = {"iec", "si", "raw"};
constexpr std::string_view kCpuScaleNames[] = {"core", "machine"};

}  // namespace

Ui::UiRequest Ui::press(char32_t k) {
  if (k == key::ctrl('C')) return UiRequest::quit;
  if (k == key::ctrl('L') && scene_.prompt == Scene::Prompt::none) {
    scene_.filter_text.clear();
    filter_by({});
    return UiRequest::redraw;
  }
  scene_.message.clear();
  if (scene_.prompt != Scene::Prompt::none) return press_prompt(k);
  if (scene_.dialog) return press_dialog(k);
  if (scene_.menu != Scene::Menu::none) return press_menu(k);
  if (scene_.page == Page::help) {
    if (k == key::kPageDown || k == ' ' || k == key::kRight || k == key::kDown) {
      scene_.help_page = std::min(scene_.help_page + 1, help_pages_ - 1);
    } else if (k == key::kPageUp || k == key::kLeft || k == key::kUp) {
      scene_.help_page -= scene_.help_page > 0 ? 1 : 0;
    } else {
      scene_.page = Page::list;
    }
    return UiRequest::nothing;
  }
  UiRequest request = UiRequest::nothing;
  if (press_common(k, request)) return request;
  return scene_.page == Page::cgroup ? press_cgroup(k) : press_list(k);
}

Ui::UiRequest Ui::press(const MouseEvent& event) {
  // Prompts and dialogs accept keys only, so that a stray click cannot start an action.
  if (scene_.prompt != Scene::Prompt::none || scene_.dialog) return UiRequest::nothing;
  if (event.kind != MouseEvent::Kind::click) return scroll_by_wheel(event.kind == MouseEvent::Kind::wheel_down);
  // The second half of a double click applies to the cgroup of the first, even if the rows have moved or its page is
  // open.
  const auto before = event.repeated ? last_click_ : LastClick::nothing;
  last_click_ = LastClick::nothing;
  if (before == LastClick::opened) {
    last_click_ = before;
    return UiRequest::nothing;
  }
  if (before == LastClick::selected && scene_.page == Page::list) {
    last_click_ = LastClick::opened;
    return press(key::kEnter);
  }
  const auto on = std::find_if(click_targets_.rbegin(), click_targets_.rend(), [&](const ClickTarget& s) {
    return s.row == event.row && event.column >= s.from && event.column < s.to;
  });
  if (on != click_targets_.rend()) {
    scene_.message.clear();
    return click(*on);
  }
  scene_.menu = Scene::Menu::none;  // a click beside the menu closes it
  return UiRequest::nothing;
}

Ui::UiRequest Ui::scroll_by_wheel(bool down) {
  if (scene_.menu != Scene::Menu::none) {
    for (int i = 0; i < kWheelRows; ++i) press_menu(down ? key::kDown : key::kUp);
  } else if (scene_.page == Page::help) {
    press(down ? key::kPageDown : key::kPageUp);
  } else if (scene_.page == Page::cgroup) {
    for (int i = 0; i < kWheelRows; ++i) press_cgroup(down ? key::kDown : key::kUp);
  } else {
    scroll_list(down ? kWheelRows : -kWheelRows);
  }
  return UiRequest::nothing;
}

Ui::UiRequest Ui::click(const ClickTarget& target) {
  const auto select = [&] {
    cursor_id_ = target.id;
    rearrange();
  };
  switch (target.kind) {
    case ClickKind::cgroup:
      if (target.id == cursor_id_) {
        last_click_ = LastClick::opened;
        return press(key::kEnter);
      }
      last_click_ = LastClick::selected;
      select();
      break;
    case ClickKind::fold:
      select();
      fold(false, std::nullopt);
      break;
    case ClickKind::heading:
      if (target.id == scene_.view.sort) return press(U'S');
      sort_by(static_cast<ColumnId>(target.id));
      break;
    case ClickKind::set:
    case ClickKind::tab:
      return press(U'1' + static_cast<char32_t>(target.id));
    case ClickKind::item:
      if (target.id == scene_.menu_cursor) return press_menu(U' ');
      scene_.menu_cursor =
          std::min<std::size_t>(target.id, scene_.menu_items.empty() ? 0 : scene_.menu_items.size() - 1);
      break;
    case ClickKind::key:
      return press(static_cast<char32_t>(target.id));
  }
  return UiRequest::nothing;
}

bool Ui::press_common(char32_t k, UiRequest& request) {
  switch (k) {
    case 'q':
    case key::kF1 + 9:
      request = UiRequest::quit;
      return true;
    case '?':
    case key::kF1:
      scene_.page = Page::help;
      scene_.help_page = 0;
      return true;
    case 'p':
      scene_.paused = !scene_.paused;
      if (!scene_.paused && !scene_.replay) show(0);
      return true;
    case '<':
      scene_.paused = true;
      // The first sample has no rates.
      if (scene_.back + (scene_.replay ? 1 : 2) >= history_->size()) {
        scene_.message = "this is the oldest sample available";
      } else {
        show(scene_.back + 1);
      }
      return true;
    case '>':
      scene_.paused |= scene_.replay;
      if (scene_.back > 0) {
        show(scene_.back - 1);
      } else if (scene_.replay) {
        scene_.message = "end of the recording";
      }
      return true;
    case '[':
    case ']':
      if (history_->size() > 0) {
        const auto here = history_->moment(history_->size() - 1 - scene_.back).at;
        show_time(k == '[' ? here - std::chrono::minutes(1) : here + std::chrono::minutes(1));
      }
      return true;
    case '{':
    case '}':
      show_event(k == '}');
      return true;
    case 'J':
      open_prompt(Scene::Prompt::jump, {});
      return true;
    case ':':
      open_prompt(Scene::Prompt::command, {});
      return true;
    case 'E':
      scene_.paused = scene_.replay;
      show(0);
      return true;
    case 'z': {
      using std::chrono::minutes;
      constexpr std::array<minutes, 5> spans = {minutes(10), minutes(60), minutes(360), minutes(1440), minutes(10080)};
      const auto* const at = std::ranges::find_if(spans, [&](minutes m) { return m > scene_.span; });
      scene_.span = at == spans.end() ? spans.front() : *at;
      scene_.message = "timeline: " + human_duration(static_cast<double>(scene_.span.count()) * 60);
      return true;
    }
    case 'w':
      scene_.wrap = !scene_.wrap;
      scene_.message = scene_.wrap ? "long lines: wrapped" : "long lines: truncated";
      return true;
    case 'W':
      request = UiRequest::save;
      return true;
    case 'R':
      if (scene_.replay) {
        scene_.message = "recording is not available during a replay";
      } else {
        request = UiRequest::record;
      }
      return true;
    case 'y':
    case 'Y':
      request = copy_cgroup(k == 'Y');
      return true;
    case 'U':
      scene_.units = scene_.units == Units::iec ? Units::si : scene_.units == Units::si ? Units::raw : Units::iec;
      scene_.message = scene_.units == Units::iec  ? "units: IEC (K is 1024)"
                       : scene_.units == Units::si ? "units: SI (k is 1000)"
                                                   : "units: raw (exact numbers)";
      return true;
    case '%':
      scene_.cpu = scene_.cpu == CpuScale::core ? CpuScale::machine : CpuScale::core;
      scene_.message = scene_.cpu == CpuScale::core ? "CPU%: 100 is one core" : "CPU%: 100 is all cores of the host";
      return true;
    case 'd': {
      constexpr std::array<int, 4> delays = {1000, 2000, 5000, 10'000};
      const auto* const at =
          std::ranges::find_if(delays, [&](int ms) { return std::chrono::milliseconds(ms) > scene_.delay; });
      scene_.delay = std::chrono::milliseconds(at == delays.end() ? delays.front() : *at);
      request = UiRequest::sample;
      return true;
    }
    case 'f':
      request = open_dialog(model::Verb::freeze);
      return true;
    case 't':
      request = open_dialog(model::Verb::thaw);
      return true;
    case 'x':
    case key::kF1 + 8:
      request = open_dialog(model::Verb::kill);
      return true;
    case 'L':
      request = open_dialog(model::Verb::limit);
      return true;
    case 'r':
      request = open_dialog(model::Verb::reclaim);
      return true;
    case 'K':
      request = open_dialog(model::Verb::signal);
      return true;
    case 'M':
      request = open_dialog(model::Verb::move);
      return true;
    case 'u':
      request = open_dialog(std::nullopt);
      return true;
    default:
      return false;
  }
}

Ui::UiRequest Ui::press_list(char32_t k) {
  const auto page = static_cast<std::ptrdiff_t>(std::max(1, page_rows_ - 1));
  if (k >= '1' && k < '1' + static_cast<char32_t>(kColumnSetCount)) {
    choose_set(k - '1');
    return UiRequest::nothing;
  }
  switch (k) {
    case key::kUp:
    case 'k':
      move(-1);
      break;
    case key::kDown:
    case 'j':
      move(1);
      break;
    case key::kPageUp:
    case key::ctrl('U'):
      move(-page);
      break;
    case key::kPageDown:
    case key::ctrl('D'):
      move(page);
      break;
    case key::kHome:
    case 'g':
      move(-static_cast<std::ptrdiff_t>(scene_.frame.rows.size()));
      break;
    case key::kEnd:
    case 'G':
      move(static_cast<std::ptrdiff_t>(scene_.frame.rows.size()));
      break;
    case key::kRight:
    case 'l':
      fold(false, false);
      break;
    case key::kLeft:
    case 'h': {
      const auto cgroup = under_cursor();
      if (!cgroup || !scene_.view.tree) break;
      const auto& row = scene_.frame.rows[scene_.cursor];
      if (row.parent && !row.folded) {
        fold(false, true);
      } else if (scene_.table->parent(*cgroup) != model::kNoCgroup) {
        cursor_id_ = scene_.table->cgroup(scene_.table->parent(*cgroup)).id;
        rearrange();
      }
      break;
    }
    case ' ':
      fold(false, std::nullopt);
      break;
    case '+':
      fold_everything(false);
      break;
    case '-':
      fold_everything(true);
      break;
    case '*':
      fold(true, false);
      break;
    case key::kEnter:
      open_cgroup();
      return UiRequest::sample;
    case key::kTab:
      choose_set((scene_.set + 1) % kColumnSetCount);
      break;
    case key::kBackTab:
      choose_set((std::min(scene_.set, kColumnSetCount) + kColumnSetCount - 1) % kColumnSetCount);
      break;
    case 'c':
      sort_by(*columns_.find("cpu"));
      break;
    case 'm':
      sort_by(*columns_.find("memory"));
      break;
    case 'i':
      // Alternates between reads and writes.
      sort_by(*columns_.find(columns_[scene_.view.sort].name == "read" ? "write" : "read"));
      break;
    case 's':
    case key::kF1 + 5:
      open_menu(Scene::Menu::sort);
      break;
    case 'C':
    case key::kF1 + 1:
      open_menu(Scene::Menu::columns);
      break;
    case 'S':
      scene_.view.descending = !scene_.view.descending;
      rearrange();
      break;
    case 'T':
    case key::kF1 + 4:
      scene_.view.tree = !scene_.view.tree;
      rearrange();
      break;
    case 'N':
      scene_.paths = !scene_.paths;
      break;
    case 'o':
      scene_.view.only_active = !scene_.view.only_active;
      rearrange();
      break;
    case 'a':
      scene_.show_removed = !scene_.show_removed;
      scene_.message = scene_.show_removed ? "removed cgroups: shown for one minute" : "removed cgroups: hidden";
      rearrange();
      break;
    case 'e':
      choose_set(*find_set("Events"));
      break;
    case '/':
    case key::kF1 + 3:
      open_prompt(Scene::Prompt::filter, scene_.filter_text);
      break;
    case '&':
      open_prompt(Scene::Prompt::filter,
                  scene_.filter_text + (scene_.filter_text.empty() ? "" : " ") + columns_[scene_.view.sort].name + ">");
      break;
    case key::kF1 + 2:
    case key::ctrl('F'):
      open_prompt(Scene::Prompt::search, {});
      break;
    case 'n':
      find(true);
      break;
    case key::ctrl('N'):
      find(false);
      break;
    case key::kEscape:
    case key::kBackspace:
      if (!scene_.filter_text.empty()) {
        scene_.filter_text.clear();
        filter_by({});
      }
      break;
    default:
      break;
  }
  return UiRequest::nothing;
}

Ui::UiRequest Ui::press_cgroup(char32_t k) {
  const auto tab = static_cast<std::size_t>(scene_.tab);
  const auto to_tab = [&](std::size_t t) {
    scene_.tab = static_cast<Tab>(t % kTabCount);
    scene_.scroll = 0;
    return scene_.tab == Tab::processes || scene_.tab == Tab::events ? UiRequest::sample : UiRequest::nothing;
  };
  if (k >= '1' && k < '1' + static_cast<char32_t>(kTabCount)) return to_tab(k - '1');
  const auto page = static_cast<std::size_t>(std::max(1, page_rows_ - 2));
  switch (k) {
    case key::kEscape:
    case key::kBackspace:
    case key::kLeft:
    case 'h':
      scene_.page = Page::list;
      break;
    case key::kTab:
    case key::kRight:
    case 'l':
      return to_tab(tab + 1);
    case key::kBackTab:
      return to_tab(tab + kTabCount - 1);
    case key::kDown:
    case 'j':
      ++scene_.scroll;
      break;
    case key::kUp:
    case 'k':
      scene_.scroll -= scene_.scroll > 0 ? 1 : 0;
      break;
    case key::kPageDown:
    case key::ctrl('D'):
      scene_.scroll += page;
      break;
    case key::kPageUp:
    case key::ctrl('U'):
      scene_.scroll -= std::min(scene_.scroll, page);
      break;
    case key::kHome:
    case 'g':
      scene_.scroll = 0;
      break;
    case key::kEnd:
    case 'G':
      scene_.scroll = last_scroll_;
      break;
    default:
      break;
  }
  scene_.scroll = std::min<std::size_t>(scene_.scroll, 100'000);
  return UiRequest::nothing;
}

void Ui::open_prompt(Scene::Prompt prompt, std::string text) {
  scene_.prompt = prompt;
  scene_.prompt_text = std::move(text);
  scene_.prompt_error.clear();
  scene_.prompt_hint =
      prompt == Scene::Prompt::command ? complete_command(scene_.prompt_text, columns_).choices : std::string();
}

// Executes the command. With an error the prompt stays open, so that the user can correct it.
Ui::UiRequest Ui::enter_command() {
  if (scene_.prompt_text.empty()) {
    scene_.prompt = Scene::Prompt::none;
    return UiRequest::nothing;
  }
  const auto command = parse_command(scene_.prompt_text);
  if (command && command->kind == CommandKind::key) {
    scene_.prompt = Scene::Prompt::none;
    return press(command->key);
  }
  const auto request = command ? execute(*command) : tl::unexpected(command.error());
  if (!request) {
    scene_.prompt_error = request.error().what;
    return UiRequest::nothing;
  }
  scene_.prompt = Scene::Prompt::none;
  return *request;
}

base::Result<Ui::UiRequest> Ui::execute(const Command& command) {
  const auto unknown = [&](const char* what, std::span<const std::string_view> names) {
    return base::fail(base::unknown_name(what, command.argument, names));
  };
  const auto names_of = [](const auto& items) {
    std::vector<std::string_view> names;
    names.reserve(std::size(items));
    for (const auto& item : items) names.push_back(item.name);
    return names;
  };
  switch (command.kind) {
    case CommandKind::key:
      break;
    case CommandKind::sort: {
      const std::string_view text = command.argument;
      const auto name = text.substr(0, text.rfind(':'));
      const auto direction = name.size() < text.size() ? text.substr(name.size() + 1) : std::string_view();
      if (name.size() < text.size() && direction != "asc" && direction != "desc") {
        return base::fail("unknown sort order '" + base::printable(direction) + "'; use asc or desc");
      }
      const auto column = columns_.require(name);
      if (!column) return tl::unexpected(column.error());
      sort_by(*column);
      if (!direction.empty()) scene_.view.descending = direction == "desc";
      rearrange();
      break;
    }
    case CommandKind::set: {
      const auto set = find_set(command.argument);
      if (!set) return unknown("column set", names_of(kColumnSets));
      choose_set(*set);
      break;
    }
    case CommandKind::fields: {
      auto columns = columns_.require_list(command.argument);
      if (!columns) return tl::unexpected(columns.error());
      choose_columns(std::move(*columns));
      break;
    }
    case CommandKind::filter: {
      auto filter = Filter::parse(command.argument, columns_);
      if (!filter) return base::fail(filter.error().what);
      scene_.filter_text = command.argument;
      filter_by(std::move(*filter));
      break;
    }
    case CommandKind::units:
      if (std::ranges::find(kUnitNames, command.argument) == std::end(kUnitNames)) return unknown("unit", kUnitNames);
      scene_.units = command.argument == "si" ? Units::si : command.argument == "raw" ? Units::raw : Units::iec;
      break;
    case CommandKind::cpu:
      if (std::ranges::find(kCpuScaleNames, command.argument) == std::end(kCpuScaleNames)) {
        return unknown("CPU scale", kCpuScaleNames);
      }
      scene_.cpu = command.argument == "machine" ? CpuScale::machine : CpuScale::core;
      break;
    case CommandKind::delay: {
      const auto delay = parse_duration(command.argument);
      if (!delay || *delay < kShortestDelay || *delay > kMaxDelay) {
        return base::fail("delay: must be between 50ms and 24h, for example 2, 500ms or 1m30s");
      }
      scene_.delay = *delay;
      return UiRequest::sample;
    }
    case CommandKind::theme: {
      const auto* const theme = find_theme(command.argument);
      if (theme == nullptr) return unknown("theme", names_of(kThemes));
      scene_.theme = theme;
      break;
    }
    case CommandKind::cgroup: {
      const auto found =
          scene_.table ? cgroups_named(scene_.table->now(), command.argument) : std::vector<model::CgroupIndex>();
      if (found.empty()) return base::fail("no cgroup matches '" + base::printable(command.argument) + "'");
      if (found.size() > 1) {
        return base::fail("'" + base::printable(command.argument) + "' matches " + std::to_string(found.size()) +
                          " cgroups, such as " + base::printable(scene_.table->cgroup(found[0]).path) + " and " +
                          base::printable(scene_.table->cgroup(found[1]).path));
      }
      open_page(found[0]);
      return UiRequest::sample;
    }
    case CommandKind::find:
      scene_.page = Page::list;
      search_ = command.argument;
      find(true);
      break;
    case CommandKind::jump:
      jump(command.argument);
      break;
  }
  return UiRequest::nothing;
}

Ui::UiRequest Ui::press_prompt(char32_t k) {
  const bool filter = scene_.prompt == Scene::Prompt::filter;
  const bool command = scene_.prompt == Scene::Prompt::command;
  if (k == key::kEscape) {
    if (filter) {
      auto old = Filter::parse(scene_.filter_text, columns_);
      if (old) filter_by(std::move(*old));
    }
    scene_.prompt = Scene::Prompt::none;
    return UiRequest::nothing;
  }
  if (k == key::kEnter) {
    if (command) return enter_command();
    if (filter) {
      if (!scene_.prompt_error.empty()) return UiRequest::nothing;  // stays open until the filter is valid
      scene_.filter_text = scene_.prompt_text;
    } else {
      if (scene_.prompt == Scene::Prompt::jump) {
        jump(scene_.prompt_text);
      } else {
        search_ = scene_.prompt_text;
        find(true);
      }
    }
    scene_.prompt = Scene::Prompt::none;
    return UiRequest::nothing;
  }
  if (command && k == key::kTab) {
    scene_.prompt_text = complete_command(scene_.prompt_text, columns_).text;
  } else {
    (void)edit_text(scene_.prompt_text, k);
  }
  if (command) {
    scene_.prompt_error.clear();
    scene_.prompt_hint = complete_command(scene_.prompt_text, columns_).choices;
  }
  if (filter) {
    auto parsed = Filter::parse(scene_.prompt_text, columns_);
    scene_.prompt_error.clear();
    if (parsed) {
      filter_by(std::move(*parsed));
    } else {
      const auto text = explain(scene_.prompt_text, parsed.error());
      scene_.prompt_error = text.substr(text.find('\n') + 1);
    }
  }
  return UiRequest::nothing;
}

Ui::UiRequest Ui::press_menu(char32_t k) {
  const auto last = scene_.menu_items.empty() ? 0 : scene_.menu_items.size() - 1;
  const bool any = !scene_.menu_items.empty();
  switch (k) {
    case key::kEscape:
    case key::kF1 + 1:
    case key::kF1 + 5:
      scene_.menu = Scene::Menu::none;
      break;
    case key::kUp:
      scene_.menu_cursor -= scene_.menu_cursor > 0 ? 1 : 0;
      break;
    case key::kDown:
      scene_.menu_cursor = std::min(scene_.menu_cursor + 1, last);
      break;
    case key::kLeft:
    case key::kRight:
      if (scene_.menu == Scene::Menu::columns) move_column(k == key::kRight);
      break;
    case key::kPageUp:
      scene_.menu_cursor -= std::min<std::size_t>(scene_.menu_cursor, 8);
      break;
    case key::kPageDown:
      scene_.menu_cursor = std::min(scene_.menu_cursor + 8, last);
      break;
    case key::kEnter:
    case ' ':
      if (any && scene_.menu == Scene::Menu::sort) {
        sort_by(scene_.menu_items[scene_.menu_cursor]);
        scene_.menu = Scene::Menu::none;
      } else if (any) {
        const auto id = scene_.menu_items[scene_.menu_cursor];
        auto columns = scene_.shown;
        if (const auto at = std::ranges::find(columns, id); at != columns.end()) {
          columns.erase(at);
        } else {
          columns.insert(columns.begin(), id);
        }
        choose_columns(std::move(columns));
        if (k == key::kEnter) scene_.menu = Scene::Menu::none;
      }
      break;
    default:
      if (edit_text(scene_.menu_find, k)) {
        scene_.menu_cursor = 0;
        update_menu_items();
      }
  }
  return UiRequest::nothing;
}

}  // namespace cgwarden::cgtop
