// SPDX-License-Identifier: Apache-2.0
#include "src/model/delta.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <unordered_map>

namespace cgwarden::model {
namespace {

std::optional<std::int64_t> between(Kind kind, Value before, Value now) {
  if (!before.is_number() || !now.is_number()) return std::nullopt;
  if (kind == Kind::counter && now.fixed() < before.fixed()) return std::nullopt;
  std::int64_t difference = 0;
  if (__builtin_sub_overflow(now.fixed(), before.fixed(), &difference)) return std::nullopt;
  return difference;
}

// Both are in order of paths and most groups stay: walk them side by side, and look up only what moved.
std::vector<GroupIndex> match(const Roster& before, const Roster& now) {
  std::vector<GroupIndex> pairs(now.groups.size(), kNoGroup);
  std::unordered_map<std::uint64_t, GroupIndex> by_id;
  for (GroupIndex i = 0; i < pairs.size(); ++i) {
    if (i < before.groups.size() && before.groups[i]->id == now.groups[i]->id) {
      pairs[i] = i;
      continue;
    }
    if (by_id.empty()) {
      by_id.reserve(before.groups.size());
      for (GroupIndex b = 0; b < before.groups.size(); ++b) by_id.emplace(before.groups[b]->id, b);
    }
    if (const auto found = by_id.find(now.groups[i]->id); found != by_id.end()) pairs[i] = found->second;
  }
  return pairs;
}

}  // namespace

std::span<const Cell> cells_of(const Column& column, GroupIndex group) {
  const auto first = std::ranges::lower_bound(column.cells, group, {}, &Cell::group);
  const auto last = std::ranges::upper_bound(column.cells, group, {}, &Cell::group);
  return {first, last};
}

Delta::Delta(SnapshotPtr before, SnapshotPtr now) : before_(std::move(before)), now_(std::move(now)) {
  if (!before_ || !now_ || before_->catalogue != now_->catalogue || !before_->roster || !now_->roster) return;
  seconds_ = std::chrono::duration<double>(now_->taken - before_->taken).count();
  if (known()) pairs_ = match(*before_->roster, *now_->roster);
}

std::optional<std::int64_t> Delta::difference(FieldId field, GroupIndex now) const {
  const auto earlier = before(now);
  if (earlier == kNoGroup) return std::nullopt;
  const auto& info = now_->catalogue->field(field);
  if (!info.labelled()) return between(info.kind, before_->value(field, earlier), now_->value(field, now));

  const auto cells = cells_of(now_->columns[field], now);
  if (cells.empty()) return std::nullopt;
  std::int64_t sum = 0;
  for (const auto& cell : cells) {
    const auto difference = cell_difference(field, earlier, cell);
    if (!difference || __builtin_add_overflow(sum, *difference, &sum)) return std::nullopt;
  }
  return sum;
}

std::optional<std::int64_t> Delta::cell_difference(FieldId field, GroupIndex earlier, const Cell& cell) const {
  const auto label = now_->columns[field].text_of(cell);
  const auto& column = before_->columns[field];
  Value old = Value::of(0);
  for (const auto& candidate : cells_of(column, earlier)) {
    if (column.text_of(candidate) == label) old = candidate.value;
  }
  return between(now_->catalogue->field(field).kind, old, cell.value);
}

double Delta::per_second(FieldId field, std::int64_t difference) const {
  return static_cast<double>(difference) * std::pow(10.0, -decimals(now_->catalogue->field(field).unit)) / seconds_;
}

std::optional<double> Delta::rate(FieldId field, GroupIndex now) const {
  const auto change = difference(field, now);
  if (!change) return std::nullopt;
  return per_second(field, *change);
}

std::optional<double> Delta::rate(FieldId field, GroupIndex now, std::string_view label) const {
  const auto earlier = before(now);
  if (earlier == kNoGroup) return std::nullopt;
  const auto& column = now_->columns[field];
  for (const auto& cell : cells_of(column, now)) {
    if (column.text_of(cell) != label) continue;
    const auto change = cell_difference(field, earlier, cell);
    if (!change) return std::nullopt;
    return per_second(field, *change);
  }
  return std::nullopt;
}

}  // namespace cgwarden::model
