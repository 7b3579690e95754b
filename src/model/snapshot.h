// SPDX-License-Identifier: Apache-2.0
// What the host's cgroups were at one moment. Made by the sampler's thread, immutable once handed over, then read by
// anybody through shared_ptr<const Snapshot>.
//
//   roster     g0 "/"   g1 "/a.slice"   g2 "/a.slice/b.service"          who is there, in order of paths
//   columns    one per field of the catalogue
//     dense    [v0, v1, v2]                      one Value per group      fields without labels
//     cells    {group, label text, value}...     in order of groups       fields with labels ("device") and texts
//
// A cell whose group is kNoGroup belongs to none: a namespace that many groups share. Such cells come last.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/clock.h"
#include "src/model/catalogue.h"
#include "src/model/container.h"
#include "src/model/value.h"

namespace cgwarden::model {

using GroupIndex = std::uint32_t;
inline constexpr GroupIndex kNoGroup = std::numeric_limits<GroupIndex>::max();

// One life of one logical cgroup: all directories of one path over all hierarchies. A directory that is removed and
// made again is another Group, with another id, also when the path is the same.
struct Group {
  std::uint64_t id = 0;  // the kernel's: inode of the group's directory (v2's where there is one)
  std::string path;      // from the root of the host's hierarchy: "/", "/system.slice/ssh.service"; any bytes but NUL
  // When the directory was made. For groups that were there before the agent it is the kernel's time stamp of the
  // directory, which can be too late but never too early.
  base::Wall birth;
  bool seen_born = false;  // the agent saw it being made: birth is exact
};

// Who is there. Rebuilt only when a group is born or dies, so many snapshots share one.
struct Roster {
  std::uint64_t generation = 0;
  std::vector<std::shared_ptr<const Group>> groups;  // by path; a parent comes before its children
  std::vector<GroupIndex> parents;                   // kNoGroup for the topmost
};

// One series of a labelled field.
struct Cell {
  GroupIndex group = 0;
  std::uint32_t text_at = 0;  // label values in Column::text, one after the other, '\0' between them
  std::uint16_t text_size = 0;
  Value value;
};

struct Column {
  std::vector<Value> dense;  // empty: no group of this host has the field
  std::vector<Cell> cells;
  std::string text;

  [[nodiscard]] std::string_view text_of(const Cell& cell) const {
    return std::string_view(text).substr(cell.text_at, cell.text_size);
  }
};

struct CollectorStats {
  bool enabled = false;
  std::chrono::nanoseconds duration{};  // of this snapshot
  std::uint64_t errors_now = 0;         // of this snapshot; 0 means success
  std::uint64_t reads = 0;              // since start: files read
  std::uint64_t bytes = 0;              // since start: bytes read
  std::uint64_t errors = 0;             // since start
  std::uint64_t unknown_keys = 0;       // since start: different keys that no row knows
};

struct TreeStats {
  std::uint64_t births = 0;
  std::uint64_t deaths = 0;
  std::uint64_t walks = 0;            // whole re-walks of the hierarchies
  std::uint64_t watch_overflows = 0;  // the kernel's event queue was full
  std::uint64_t watches = 0;          // directories watched now
  std::uint64_t dropped_groups = 0;   // beyond --sampler.max-cgroups, now
  std::uint64_t open_files = 0;       // interface files kept open now
  bool watching = false;              // false: births and deaths are found by walking
};

struct HierarchyInfo {
  int version = 2;
  std::string controllers;  // "cpu,cpuacct", "name=systemd"; for v2 what its root offers
  std::string mount_point;
};

struct Snapshot {
  std::shared_ptr<const Catalogue> catalogue;
  std::shared_ptr<const Roster> roster;
  std::shared_ptr<const std::vector<HierarchyInfo>> hierarchies;
  std::shared_ptr<const Containers> containers;  // null: nobody looked
  base::Monotonic begun{};
  base::Monotonic taken{};  // when the last file was read
  base::Wall taken_wall{};
  std::vector<Column> columns;             // by FieldId
  std::vector<CollectorStats> collectors;  // by CollectorId
  TreeStats tree;

  [[nodiscard]] std::size_t group_count() const { return roster ? roster->groups.size() : 0; }
  [[nodiscard]] Value value(FieldId field, GroupIndex group) const {
    const auto& dense = columns[field].dense;
    return group < dense.size() ? dense[group] : Value::absent();
  }
};

using SnapshotPtr = std::shared_ptr<const Snapshot>;

// Where snapshots come from: the live sampler, a recording, another agent. Calls `done` exactly once, on the caller's
// executor, with a snapshot no older than max_age; null when none can be had.
using SnapshotSource = std::function<void(std::chrono::nanoseconds max_age, std::function<void(SnapshotPtr)> done)>;

}  // namespace cgwarden::model
