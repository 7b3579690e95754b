// SPDX-License-Identifier: Apache-2.0
// What a screen or an output goes through, top to bottom: which cgroups, in which order, how deep. Pure.
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
  std::optional<std::uint64_t> top;          // id of the cgroup whose subtree is shown; default: all
  int max_depth = -1;                        // below the topmost that is shown
  std::unordered_set<std::uint64_t> folded;  // ids
};

struct Row {
  model::CgroupIndex cgroup = 0;
  std::uint16_t depth = 0;  // indentation; 0 in a flat list
  bool parent = false;      // has children that could be shown
  bool folded = false;
  bool dimmed = false;  // only here because something below it is
  std::optional<std::uint32_t> removed =
      std::nullopt;  // of a cgroup that is no more: its place among those kept; `cgroup` is none then
};

struct Frame {
  std::vector<Row> rows;
  std::size_t matching = 0;  // cgroups that pass the filter, also in folded parts
};

// Cgroups without a value come last, whichever way the sort goes; equal ones stay in order of paths.
Frame arrange(const Table& table, const View& view);

// Names go up and numbers come down by default.
bool descends_by_default(const Column& column);

}  // namespace cgwarden::cgtop
