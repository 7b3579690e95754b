// SPDX-License-Identifier: Apache-2.0
#include "src/model/delta.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <unordered_map>

namespace cgwarden::model {
namespace {

std::optional<std::int64_t> between(MetricKind kind, Value before, Value now) {
  if (!before.is_number() || !now.is_number()) return std::nullopt;
  if (kind == MetricKind::counter && now.fixed() < before.fixed()) return std::nullopt;
  std::int64_t difference = 0;
  if (__builtin_sub_overflow(now.fixed(), before.fixed(), &difference)) return std::nullopt;
  return difference;
}

// Maps indexes of `now` to indexes of `before`. Both lists are sorted by path and most cgroups keep their index:
// compare index by index, and look up only those that moved.
std::vector<CgroupIndex> match(const CgroupList& before, const CgroupList& now) {
  std::vector<CgroupIndex> pairs(now.cgroups.size(), kNoCgroup);
  std::unordered_map<std::uint64_t, CgroupIndex> by_id;
  for (CgroupIndex i = 0; i < pairs.size(); ++i) {
    if (i < before.cgroups.size() && before.cgroups[i]->id == now.cgroups[i]->id) {
      pairs[i] = i;
      continue;
    }
    if (by_id.empty()) {
      by_id.reserve(before.cgroups.size());
      for (CgroupIndex b = 0; b < before.cgroups.size(); ++b) by_id.emplace(before.cgroups[b]->id, b);
    }
    if (const auto found = by_id.find(now.cgroups[i]->id); found != by_id.end()) pairs[i] = found->second;
  }
  return pairs;
}

}  // namespace

std::span<const Series> series_of(const Column& column, CgroupIndex cgroup) {
  const auto first = std::ranges::lower_bound(column.series, cgroup, {}, &Series::cgroup);
  const auto last = std::ranges::upper_bound(column.series, cgroup, {}, &Series::cgroup);
  return {first, last};
}

Delta::Delta(SnapshotPtr before, SnapshotPtr now) : before_(std::move(before)), now_(std::move(now)) {
  if (!before_ || !now_ || before_->catalogue != now_->catalogue || !before_->cgroup_list || !now_->cgroup_list) return;
  seconds_ = std::chrono::duration<double>(now_->taken - before_->taken).count();
  if (known()) pairs_ = match(*before_->cgroup_list, *now_->cgroup_list);
}

std::optional<std::int64_t> Delta::difference(FieldId field, CgroupIndex now) const {
  const auto earlier = before(now);
  if (earlier == kNoCgroup) return std::nullopt;
  const auto& info = now_->catalogue->field(field);
  if (!info.labelled()) return between(info.kind, before_->value(field, earlier), now_->value(field, now));

  const auto series = series_of(now_->columns[field], now);
  if (series.empty()) return std::nullopt;
  std::int64_t sum = 0;
  for (const auto& one : series) {
    const auto difference = series_difference(field, earlier, one);
    if (!difference || __builtin_add_overflow(sum, *difference, &sum)) return std::nullopt;
  }
  return sum;
}

std::optional<std::int64_t> Delta::series_difference(FieldId field, CgroupIndex earlier, const Series& one) const {
  const auto label = now_->columns[field].text_of(one);
  const auto& column = before_->columns[field];
  Value old = Value::of(0);
  for (const auto& candidate : series_of(column, earlier)) {
    if (column.text_of(candidate) == label) old = candidate.value;
  }
  return between(now_->catalogue->field(field).kind, old, one.value);
}

double Delta::per_second(FieldId field, std::int64_t difference) const {
  return static_cast<double>(difference) * std::pow(10.0, -decimals(now_->catalogue->field(field).unit)) / seconds_;
}

std::optional<double> Delta::rate(FieldId field, CgroupIndex now) const {
  const auto change = difference(field, now);
  if (!change) return std::nullopt;
  return per_second(field, *change);
}

std::optional<double> Delta::rate(FieldId field, CgroupIndex now, std::string_view label) const {
  const auto earlier = before(now);
  if (earlier == kNoCgroup) return std::nullopt;
  const auto& column = now_->columns[field];
  for (const auto& one : series_of(column, now)) {
    if (column.text_of(one) != label) continue;
    const auto change = series_difference(field, earlier, one);
    if (!change) return std::nullopt;
    return per_second(field, *change);
  }
  return std::nullopt;
}

}  // namespace cgwarden::model
