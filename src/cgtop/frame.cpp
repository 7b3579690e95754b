// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/frame.h"

#include <algorithm>
#include <numeric>

namespace cgwarden::cgtop {

using model::CgroupIndex;

namespace {

// Comparison by the sort column. Holds the values of all cgroups, so that each is computed only once.
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

// Indices of the children of each cgroup in one array; those of cgroup g start at begin[g].
struct Children {
  std::vector<std::uint32_t> begin;  // one more element than cgroups
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
  std::vector<int> depth(n, -1);  // levels below the topmost cgroup shown; -1: outside its subtree
  std::vector<char> matched(n, 0);
  std::vector<char> shown(n, 0);
  for (CgroupIndex g = 0; g < n; ++g) {
    const auto p = table.parent(g);
    if (p != model::kNoCgroup && depth[p] >= 0) {
      depth[g] = depth[p] + 1;
    } else if (view.top ? table.cgroup(g).id == *view.top : p == model::kNoCgroup) {
      depth[g] = 0;
    }
    if (depth[g] < 0 || (view.max_depth >= 0 && depth[g] > view.max_depth)) continue;
    matched[g] = view.filter.matches(table, g) && (!view.only_active || table.active(g)) ? 1 : 0;
    shown[g] = matched[g];
    frame.matching += static_cast<std::size_t>(matched[g]);
  }
  const Order order(table, view);
  // By reference, because sort algorithms copy their comparison function.
  const auto before = [&order](CgroupIndex a, CgroupIndex b) { return order(a, b); };

  if (!view.tree) {
    std::vector<CgroupIndex> listed;
    for (CgroupIndex g = 0; g < n; ++g) {
      if (matched[g] != 0) listed.push_back(g);
    }
    std::ranges::stable_sort(listed, before);
    for (const auto g : listed) frame.rows.push_back({g, 0, false, false, false});
    return frame;
  }

  // Parents precede their children in a snapshot, so a backward pass visits all children before their parent.
  for (CgroupIndex g = n; g-- > 0;) {
    if (shown[g] != 0 && depth[g] > 0) shown[table.parent(g)] = 1;
  }
  Children children(table);
  std::vector<CgroupIndex> stack;
  std::vector<CgroupIndex> roots;
  for (CgroupIndex g = 0; g < n; ++g) {
    if (depth[g] == 0 && shown[g] != 0) roots.push_back(g);
  }
  std::ranges::stable_sort(roots, before);
  stack.assign(roots.rbegin(), roots.rend());
  while (!stack.empty()) {
    const auto g = stack.back();
    stack.pop_back();
    const auto child_list = children.of(g);
    const auto end = std::partition(child_list.begin(), child_list.end(), [&](CgroupIndex c) { return shown[c] != 0; });
    const std::span<CgroupIndex> list(child_list.begin(), end);
    Row row{g, static_cast<std::uint16_t>(std::min(depth[g], 0xFFFF)), !list.empty(), false, matched[g] == 0};
    row.folded = row.parent && view.folded.contains(table.cgroup(g).id);
    frame.rows.push_back(row);
    if (row.folded) continue;
    std::ranges::sort(list);  // std::partition does not preserve the order
    std::ranges::stable_sort(list, before);
    stack.insert(stack.end(), list.rbegin(), list.rend());
  }
  return frame;
}

}  // namespace cgwarden::cgtop
