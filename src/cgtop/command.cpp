// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/command.h"

#include <algorithm>
#include <vector>

#include "src/base/text.h"
#include "src/cgtop/theme.h"

namespace cgwarden::cgtop {
namespace {

using Means = Command::What;

constexpr std::size_t kMaxWays = 240;  // bytes

struct CommandRow {
  std::string_view name;
  Means what = Means::key;
  char32_t key = key::kNone;
};
constexpr CommandRow kCommands[] = {
    {"sort", Means::sort},       {"set", Means::set},         {"fields", Means::fields},    {"filter", Means::filter},
    {"find", Means::find},       {"cgroup", Means::cgroup},   {"jump", Means::jump},        {"units", Means::units},
    {"cpu", Means::cpu},         {"delay", Means::delay},     {"theme", Means::theme},      {"tree", Means::key, 'T'},
    {"active", Means::key, 'o'}, {"gone", Means::key, 'a'},   {"wrap", Means::key, 'w'},    {"pause", Means::key, 'p'},
    {"live", Means::key, 'E'},   {"record", Means::key, 'R'}, {"save", Means::key, 'W'},    {"copy", Means::key, 'y'},
    {"json", Means::key, 'Y'},   {"freeze", Means::key, 'f'}, {"thaw", Means::key, 't'},    {"kill", Means::key, 'x'},
    {"signal", Means::key, 'K'}, {"limit", Means::key, 'L'},  {"reclaim", Means::key, 'r'}, {"move", Means::key, 'M'},
    {"undo", Means::key, 'u'},   {"help", Means::key, '?'},   {"quit", Means::key, 'q'},
};

std::vector<std::string_view> words_after(Means what, const Columns& columns) {
  std::vector<std::string_view> out;
  switch (what) {
    case Means::sort:
    case Means::fields:
      for (ColumnId id = 0; id < columns.size(); ++id) out.emplace_back(columns[id].name);
      break;
    case Means::set:
      for (const auto& set : kColumnSets) out.push_back(set.name);
      break;
    case Means::theme:
      for (const auto& theme : kThemes) out.push_back(theme.name);
      break;
    case Means::units:
      out = {"iec", "si", "raw"};
      break;
    case Means::cpu:
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
  if (row == std::end(kCommands)) return base::fail("there is no command '" + base::printable(name) + "'");
  // A filter that is empty lets everything through.
  if (row->what != Means::key && row->what != Means::filter && text.empty()) {
    return base::fail("'" + std::string(name) + "' takes one more word");
  }
  if (row->what == Means::key && !text.empty()) {
    return base::fail("'" + std::string(name) + "' stands alone: what else it takes is asked");
  }
  return Command{row->what, row->key, std::string(text)};
}

Completion complete_command(std::string_view text, const Columns& columns) {
  auto rest = text;
  const auto name = base::take_word(rest);
  std::vector<std::string_view> words;
  // In a list of fields the last is the one that is typed.
  auto begun = text;
  if (name.size() == text.size()) {
    for (const auto& row : kCommands) words.push_back(row.name);
  } else if (const auto* const row = std::ranges::find(kCommands, name, &CommandRow::name);
             row != std::end(kCommands)) {
    words = words_after(row->what, columns);
    begun.remove_prefix(text.find_last_of(row->what == Means::fields ? " ," : " ") + 1);
  }
  std::erase_if(words, [&](std::string_view word) { return !word.starts_with(begun); });
  Completion out{std::string(text), {}};
  if (words.empty()) return out;
  auto certain = words.front();
  for (const auto word : words) {
    const auto [a, b] = std::ranges::mismatch(certain, word);
    certain = certain.substr(0, static_cast<std::size_t>(a - certain.begin()));
    if (out.ways.size() + word.size() < kMaxWays) out.ways += (out.ways.empty() ? "" : " ") + std::string(word);
  }
  out.text += certain.substr(begun.size());
  if (words.size() == 1 && name.size() == text.size()) {
    const auto* const row = std::ranges::find(kCommands, words.front(), &CommandRow::name);
    if (row->what != Means::key) out.text += ' ';
  }
  return out;
}

}  // namespace cgwarden::cgtop
