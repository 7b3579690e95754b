// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/command.h"

#include <algorithm>
#include <vector>

#include "src/base/names.h"
#include "src/base/text.h"
#include "src/cgtop/theme.h"

namespace cgwarden::cgtop {
namespace {

using Kind = CommandKind;

constexpr std::size_t kMaxChoices = 240;  // bytes

struct CommandRow {
  std::string_view name;
  Kind kind = Kind::key;
  char32_t key = key::kNone;
};
constexpr CommandRow kCommands[] = {
    {"sort", Kind::sort},       {"set", Kind::set},          {"fields", Kind::fields},    {"filter", Kind::filter},
    {"find", Kind::find},       {"cgroup", Kind::cgroup},    {"jump", Kind::jump},        {"units", Kind::units},
    {"cpu", Kind::cpu},         {"delay", Kind::delay},      {"theme", Kind::theme},      {"tree", Kind::key, 'T'},
    {"active", Kind::key, 'o'}, {"removed", Kind::key, 'a'}, {"wrap", Kind::key, 'w'},    {"pause", Kind::key, 'p'},
    {"live", Kind::key, 'E'},   {"record", Kind::key, 'R'},  {"save", Kind::key, 'W'},    {"copy", Kind::key, 'y'},
    {"json", Kind::key, 'Y'},   {"freeze", Kind::key, 'f'},  {"thaw", Kind::key, 't'},    {"kill", Kind::key, 'x'},
    {"signal", Kind::key, 'K'}, {"limit", Kind::key, 'L'},   {"reclaim", Kind::key, 'r'}, {"move", Kind::key, 'M'},
    {"undo", Kind::key, 'u'},   {"help", Kind::key, '?'},    {"quit", Kind::key, 'q'},
};

std::vector<std::string_view> argument_names(Kind kind, const Columns& columns) {
  std::vector<std::string_view> out;
  switch (kind) {
    case Kind::sort:
    case Kind::fields:
      for (ColumnId id = 0; id < columns.size(); ++id) out.emplace_back(columns[id].name);
      break;
    case Kind::set:
      for (const auto& set : kColumnSets) out.push_back(set.name);
      break;
    case Kind::theme:
      for (const auto& theme : kThemes) out.push_back(theme.name);
      break;
    case Kind::units:
      out = {"iec", "si", "raw"};
      break;
    case Kind::cpu:
      out = {"core", "machine"};
      break;
    default:
      break;
  }
  return out;
}

}  // namespace

base::Result<Command> parse_command(std::string_view text) {
  const auto name = base::take_word(text);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  const auto* const row = std::ranges::find(kCommands, name, &CommandRow::name);
  if (row == std::end(kCommands)) {
    std::vector<std::string_view> names;
    for (const auto& command : kCommands) names.push_back(command.name);
    return base::fail(base::unknown_name("command", name, names));
  }
  // An empty filter matches every cgroup.
  if (row->kind != Kind::key && row->kind != Kind::filter && text.empty()) {
    return base::fail(std::string(name) + ": an argument is required");
  }
  if (row->kind == Kind::key && !text.empty()) {
    return base::fail(std::string(name) + ": takes no argument (a dialog prompts for values)");
  }
  return Command{row->kind, row->key, std::string(text)};
}

Completion complete_command(std::string_view text, const Columns& columns) {
  auto rest = text;
  const auto name = base::take_word(rest);
  std::vector<std::string_view> words;
  // In a list of fields, complete the last one.
  auto typed = text;
  if (name.size() == text.size()) {
    for (const auto& row : kCommands) words.push_back(row.name);
  } else if (const auto* const row = std::ranges::find(kCommands, name, &CommandRow::name);
             row != std::end(kCommands)) {
    words = argument_names(row->kind, columns);
    typed.remove_prefix(text.find_last_of(row->kind == Kind::fields ? " ," : " ") + 1);
  }
  std::erase_if(words, [&](std::string_view word) { return !word.starts_with(typed); });
  Completion out{std::string(text), {}};
  if (words.empty()) return out;
  auto common = words.front();
  for (const auto word : words) {
    const auto [a, b] = std::ranges::mismatch(common, word);
    common = common.substr(0, static_cast<std::size_t>(a - common.begin()));
    if (out.choices.size() + word.size() < kMaxChoices)
      out.choices += (out.choices.empty() ? "" : " ") + std::string(word);
  }
  out.text += common.substr(typed.size());
  if (words.size() == 1 && name.size() == text.size()) {
    const auto* const row = std::ranges::find(kCommands, words.front(), &CommandRow::name);
    if (row->kind != Kind::key) out.text += ' ';
  }
  return out;
}

}  // namespace cgwarden::cgtop
