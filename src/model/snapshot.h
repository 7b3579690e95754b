// SPDX-License-Identifier: Apache-2.0
// What the host's cgroups were at one moment. Made by the sampler's thread, immutable once handed over, then read by
// anybody through shared_ptr<const Snapshot>.
//
//   roster     g0 "/"   g1 "/a.slice"   g2 "/a.slice/b.service"          who is there, in order of paths
//   columns    one per field of the catalogue
//     dense    [v0, v1, v2]                      one Value per cgroup      fields without labels
//     cells    {cgroup, label text, value}...     in order of cgroups       fields with labels ("device") and texts
//
// A cell whose cgroup is kNoGroup belongs to none: a namespace that many cgroups share. Such cells come last.
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

using CgroupIndex = std::uint32_t;
inline constexpr CgroupIndex kNoCgroup = std::numeric_limits<CgroupIndex>::max();

// One life of one logical cgroup: all directories of one path over all hierarchies. A directory that is removed and
// made again is another Cgroup, with another id, also when the path is the same.
struct Cgroup {
  std::uint64_t id = 0;  // the kernel's: inode of the cgroup's directory (v2's where there is one)
  std::string path;      // from the root of the host's hierarchy: "/", "/system.slice/ssh.service"; any bytes but NUL
  // When the directory was made. For cgroups that were there before the agent it is the kernel's time stamp of the
  // directory, which can be too late but never too early.
  base::Wall created;
  bool creation_observed = false;  // the agent saw it being made: birth is exact
};

// Who is there. Rebuilt only when a cgroup is born or dies, so many snapshots share one.
struct CgroupList {
  std::uint64_t generation = 0;
  std::vector<std::shared_ptr<const Cgroup>> cgroups;  // by path; a parent comes before its children
  std::vector<CgroupIndex> parents;                    // kNoGroup for the topmost
};

// One series of a labelled field.
struct Series {
  CgroupIndex cgroup = 0;
  std::uint32_t text_at = 0;  // label values in Column::text, one after the other, '\0' between them
  std::uint16_t text_size = 0;
  Value value;
};

struct Column {
  std::vector<Value> dense;  // empty: no cgroup of this host has the field
  std::vector<Series> series;
  std::string text;

  [[nodiscard]] std::string_view text_of(const Series& cell) const {
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
  std::uint64_t cgroups_created = 0;
  std::uint64_t cgroups_removed = 0;
  std::uint64_t walks = 0;            // whole re-walks of the hierarchies
  std::uint64_t watch_overflows = 0;  // the kernel's event queue was full
  std::uint64_t watches = 0;          // directories watched now
  std::uint64_t dropped_cgroups = 0;  // beyond --sampler.max-cgroups, now
  std::uint64_t open_files = 0;       // interface files kept open now
  bool inotify_active = false;        // false: births and deaths are found by walking
};

struct HierarchyInfo {
  int version = 2;
  std::string controllers;  // "cpu,cpuacct", "name=systemd"; for v2 what its root offers
  std::string mount_point;
};

struct Snapshot {
  std::shared_ptr<const Catalogue> catalogue;
  std::shared_ptr<const CgroupList> cgroup_list;
  std::shared_ptr<const std::vector<HierarchyInfo>> hierarchies;
  std::shared_ptr<const Containers> containers;  // null: nobody looked
  base::Monotonic begun{};
  base::Monotonic taken{};  // when the last file was read
  base::Wall taken_wall{};
  std::vector<Column> columns;             // by FieldId
  std::vector<CollectorStats> collectors;  // by CollectorId
  TreeStats tree;

  [[nodiscard]] std::size_t cgroup_count() const { return cgroup_list ? cgroup_list->cgroups.size() : 0; }
  [[nodiscard]] Value value(FieldId field, CgroupIndex cgroup) const {
    const auto& dense = columns[field].dense;
    return cgroup < dense.size() ? dense[cgroup] : Value::absent();
  }
};

using SnapshotPtr = std::shared_ptr<const Snapshot>;

// Where snapshots come from: the live sampler, a recording, another agent. Calls `done` exactly once, on the caller's
// executor, with a snapshot no older than max_age; null when none can be had.
using SnapshotSource = std::function<void(std::chrono::nanoseconds max_age, std::function<void(SnapshotPtr)> done)>;

}  // namespace cgwarden::model
