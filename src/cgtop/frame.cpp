// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/frame.h"

#include <algorithm>
#include <numeric>

namespace cgwarden::cgtop {

using model::CgroupIndex;

namespace {

// The sort column of all cgroups, asked for once.
class Order {
 public:
  Order(const Table& table, const View& view) : descending_(view.descending) {
    const auto n = table.size();
    if (table.columns()[view.sort].form == Form::text) {
      texts_.reserve(n);
      for (CgroupIndex g = 0; g < n; ++g) texts_.push_back(table.text(view.sort, g));
    } else {
      values_.reserve(n);
      for (CgroupIndex g = 0; g < n; ++g) values_.push_back(table.value(view.sort, g));
    }
  }
  bool operator()(CgroupIndex a, CgroupIndex b) const {
    if (!texts_.empty()) {
      if (texts_[a].empty() != texts_[b].empty()) return texts_[b].empty();
      return descending_ ? texts_[a] > texts_[b] : texts_[a] < texts_[b];
    }
    const auto x = values_[a];
    const auto y = values_[b];
    if (x.has_value() != y.has_value()) return x.has_value();
    if (!x.has_value()) return false;
    return descending_ ? x.fixed() > y.fixed() : x.fixed() < y.fixed();
  }

 private:
  bool descending_;
  std::vector<std::string> texts_;
  std::vector<model::Value> values_;
};

// Children of each cgroup, one list after the other.
struct Children {
  std::vector<std::uint32_t> begin;  // size n + 1
  std::vector<CgroupIndex> all;

  explicit Children(const Table& table) : begin(table.size() + 1), all(table.size()) {
    const auto n = static_cast<CgroupIndex>(table.size());
    for (CgroupIndex g = 0; g < n; ++g) {
      if (const auto p = table.parent(g); p != model::kNoCgroup) ++begin[p + 1];
    }
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    auto next = begin;
    for (CgroupIndex g = 0; g < n; ++g) {
      if (const auto p = table.parent(g); p != model::kNoCgroup) all[next[p]++] = g;
    }
  }
  std::span<CgroupIndex> of(CgroupIndex g) { return std::span(all).subspan(begin[g], begin[g + 1] - begin[g]); }
};

}  // namespace

bool descends_by_default(const Column& column) { return column.form != Form::text; }

Frame arrange(const Table& table, const View& view) {
  const auto n = static_cast<CgroupIndex>(table.size());
  Frame frame;
  std::vector<int> depth(n, -1);  // below the topmost shown; -1: not below it
  std::vector<char> hit(n, 0);
  std::vector<char> shown(n, 0);
  for (CgroupIndex g = 0; g < n; ++g) {
    const auto p = table.parent(g);
    if (p != model::kNoCgroup && depth[p] >= 0) {
      depth[g] = depth[p] + 1;
    } else if (view.top ? table.cgroup(g).id == *view.top : p == model::kNoCgroup) {
      depth[g] = 0;
    }
    if (depth[g] < 0 || (view.max_depth >= 0 && depth[g] > view.max_depth)) continue;
    hit[g] = view.filter.matches(table, g) && (!view.only_active || table.active(g)) ? 1 : 0;
    shown[g] = hit[g];
    frame.matching += static_cast<std::size_t>(hit[g]);
  }
  const Order order(table, view);
  const auto before = [&order](CgroupIndex a, CgroupIndex b) {
    return order(a, b);
  };  // sorting copies what it is given

  if (!view.tree) {
    std::vector<CgroupIndex> hits;
    for (CgroupIndex g = 0; g < n; ++g) {
      if (hit[g] != 0) hits.push_back(g);
    }
    std::ranges::stable_sort(hits, before);
    for (const auto g : hits) frame.rows.push_back({g, 0, false, false, false});
    return frame;
  }

  // A parent comes before its children, so from the back a cgroup is known before its parent.
  for (CgroupIndex g = n; g-- > 0;) {
    if (shown[g] != 0 && depth[g] > 0) shown[table.parent(g)] = 1;
  }
  Children children(table);
  std::vector<CgroupIndex> stack;
  std::vector<CgroupIndex> tops;
  for (CgroupIndex g = 0; g < n; ++g) {
    if (depth[g] == 0 && shown[g] != 0) tops.push_back(g);
  }
  std::ranges::stable_sort(tops, before);
  stack.assign(tops.rbegin(), tops.rend());
  while (!stack.empty()) {
    const auto g = stack.back();
    stack.pop_back();
    const auto below = children.of(g);
    const auto end = std::partition(below.begin(), below.end(), [&](CgroupIndex c) { return shown[c] != 0; });
    const std::span<CgroupIndex> list(below.begin(), end);
    Row row{g, static_cast<std::uint16_t>(std::min(depth[g], 0xFFFF)), !list.empty(), false, hit[g] == 0};
    row.folded = row.parent && view.folded.contains(table.cgroup(g).id);
    frame.rows.push_back(row);
    if (row.folded) continue;
    std::ranges::sort(list);  // partition does not keep the order
    std::ranges::stable_sort(list, before);
    stack.insert(stack.end(), list.rbegin(), list.rend());
  }
  return frame;
}

}  // namespace cgwarden::cgtop
