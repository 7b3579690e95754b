// SPDX-License-Identifier: Apache-2.0
// Rows of a screen or an output: which cgroups are listed, in which order and to which depth. Free of side effects.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_set>
#include <vector>

#include "src/cgtop/filter.h"
#include "src/cgtop/table.h"

namespace cgwarden::cgtop {

struct View {
  bool tree = true;
  ColumnId sort = 0;
  bool descending = true;
  Filter filter;
  bool only_active = false;
  std::optional<std::uint64_t> top;          // kernel ID of the cgroup whose subtree is shown; nullopt: all cgroups
  int max_depth = -1;                        // levels below the topmost cgroup shown; -1: unlimited
  std::unordered_set<std::uint64_t> folded;  // kernel IDs of the cgroups whose children are hidden
};

struct Row {
  model::CgroupIndex cgroup = 0;
  std::uint16_t depth = 0;  // indentation; 0 in a flat list
  bool parent = false;      // has children that match or have matching descendants
  bool folded = false;
  bool dimmed = false;  // does not match; shown because a descendant does
  // Index in Scene::removed if the cgroup was removed; `cgroup` is then model::kNoCgroup.
  std::optional<std::uint32_t> removed = std::nullopt;
};

struct Frame {
  std::vector<Row> rows;
  std::size_t matching = 0;  // cgroups that match, including those in folded subtrees
};

// Cgroups without a value come last in both sort directions. Cgroups with equal values stay in order of their paths.
Frame arrange(const Table& table, const View& view);

// Default sort direction: descending for numbers, ascending for texts.
bool descends_by_default(const Column& column);

}  // namespace cgwarden::cgtop
