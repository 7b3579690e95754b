// SPDX-License-Identifier: Apache-2.0
// The state of all cgroups of the host at one moment. Created by the sampler's thread; immutable afterwards and read on
// any thread through shared_ptr<const Snapshot>.
//
//   cgroup_list  c0 "/"   c1 "/a.slice"   c2 "/a.slice/b.service"      the cgroups, sorted by path
//   columns      one per field of the catalogue
//     dense      [v0, v1, v2]                     one Value per cgroup   fields without labels
//     series     {cgroup, label text, value}...   sorted by cgroup       fields with labels ("device") and texts
//
// A series with cgroup kNoCgroup belongs to no cgroup, such as one of a namespace that many cgroups share. Such series
// come last.
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

// One instance of a logical cgroup: the directories with one path in all hierarchies. A directory that is removed and
// created again is another Cgroup with another id, even if the path is the same.
struct Cgroup {
  std::uint64_t id = 0;  // inode number of the directory (of the v2 one, if it exists)
  std::string path;      // from the root of the hierarchy: "/", "/system.slice/ssh.service"; any bytes except NUL
  // Creation time of the directory. For cgroups that existed before the agent started, it is the timestamp of the
  // directory, which may be too late but never too early.
  base::Wall created;
  bool creation_observed = false;  // the agent observed the creation, so `created` is exact
};

// The existing cgroups. Rebuilt only after a cgroup was created or removed, so that many snapshots share one list.
struct CgroupList {
  std::uint64_t generation = 0;
  std::vector<std::shared_ptr<const Cgroup>> cgroups;  // sorted by path; a parent precedes its children
  std::vector<CgroupIndex> parents;                    // index of the parent; kNoCgroup for the topmost cgroup
};

// One series of a labeled field.
struct Series {
  CgroupIndex cgroup = 0;
  std::uint32_t text_at = 0;  // offset in Column::text; label values are separated by '\0'
  std::uint16_t text_size = 0;
  Value value;
};

struct Column {
  std::vector<Value> dense;  // empty: no cgroup of the host has the field
  std::vector<Series> series;
  std::string text;

  [[nodiscard]] std::string_view text_of(const Series& one) const {
    return std::string_view(text).substr(one.text_at, one.text_size);
  }
};

struct CollectorStats {
  bool enabled = false;
  std::chrono::nanoseconds duration{};  // of this snapshot
  std::uint64_t errors_now = 0;         // of this snapshot; 0 means success
  std::uint64_t reads = 0;              // since start: files read
  std::uint64_t bytes = 0;              // since start: bytes read
  std::uint64_t errors = 0;             // since start
  std::uint64_t unknown_keys = 0;       // since start: distinct keys that no row covers
};

struct TreeStats {
  std::uint64_t cgroups_created = 0;
  std::uint64_t cgroups_removed = 0;
  std::uint64_t walks = 0;            // complete walks of the hierarchies
  std::uint64_t watch_overflows = 0;  // overflows of the inotify event queue
  std::uint64_t watches = 0;          // present inotify watches
  std::uint64_t dropped_cgroups = 0;  // cgroups beyond --sampler.max-cgroups at present
  std::uint64_t open_files = 0;       // interface files that are kept open at present
  bool inotify_active = false;        // false: created and removed cgroups are found by walking
};

struct HierarchyInfo {
  int version = 2;
  std::string controllers;  // "cpu,cpuacct", "name=systemd"; for v2 cgroup.controllers of its root
  std::string mount_point;
};

struct Snapshot {
  std::shared_ptr<const Catalogue> catalogue;
  std::shared_ptr<const CgroupList> cgroup_list;
  std::shared_ptr<const std::vector<HierarchyInfo>> hierarchies;
  std::shared_ptr<const Containers> containers;  // null: no discovery
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

// A source of snapshots: the live sampler, a recording or another agent. Calls `done` exactly once, on the executor of
// the caller, with a snapshot that is at most max_age old, or null if none is available.
using SnapshotSource = std::function<void(std::chrono::nanoseconds max_age, std::function<void(SnapshotPtr)> done)>;

}  // namespace cgwarden::model
