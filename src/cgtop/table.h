// SPDX-License-Identifier: Apache-2.0
// Two consecutive snapshots as a table of cgroups and columns. Values are computed on access: a screen pays only for
// the rows that it shows, and a sort only for one column.
#pragma once

#include <string>
#include <string_view>

#include "src/cgtop/columns.h"
#include "src/model/delta.h"
#include "src/model/snapshot.h"

namespace cgwarden::cgtop {

class Table {
 public:
  // `before` may be null; columns with Column::needs_two are then absent. `columns` must outlive the table.
  Table(const Columns& columns, model::SnapshotPtr before, model::SnapshotPtr now);

  [[nodiscard]] const Columns& columns() const { return *columns_; }
  [[nodiscard]] const model::Snapshot& now() const { return *now_; }
  [[nodiscard]] const model::Delta& delta() const { return delta_; }
  [[nodiscard]] std::size_t size() const { return now_->cgroup_count(); }
  [[nodiscard]] const model::Cgroup& cgroup(model::CgroupIndex g) const { return *now_->cgroup_list->cgroups[g]; }
  // The cgroup with this kernel ID, or model::kNoCgroup.
  [[nodiscard]] model::CgroupIndex find(std::uint64_t id) const;
  [[nodiscard]] model::CgroupIndex parent(model::CgroupIndex g) const { return now_->cgroup_list->parents[g]; }

  // Fixed point with Column::decimals decimals; absent for columns of Form::text.
  [[nodiscard]] model::Value value(ColumnId column, model::CgroupIndex cgroup) const;
  // Text of a column of Form::text, or the list of series of a labeled field. May contain any bytes: escape it before
  // it is shown.
  [[nodiscard]] std::string text(ColumnId column, model::CgroupIndex cgroup) const;
  // True if CPU usage or I/O increased between the snapshots, or if state() is not empty.
  [[nodiscard]] bool active(model::CgroupIndex cgroup) const;
  // State flags as letters: Z frozen, F freezing, T CPU throttled, H memory.high exceeded, M memory.max reached, O OOM
  // kill, + not in the previous snapshot. T, H, M and O mean that the counter increased between the snapshots.
  [[nodiscard]] std::string state(model::CgroupIndex cgroup) const;

 private:
  using Id = KnownFields::Id;
  [[nodiscard]] model::Value field(Id id, model::CgroupIndex cgroup) const;
  [[nodiscard]] bool increased(Id id, model::CgroupIndex cgroup) const;
  [[nodiscard]] model::Value sum_of_series(model::FieldId id, model::CgroupIndex cgroup) const;
  [[nodiscard]] model::Value rate(model::FieldId id, int decimals, model::CgroupIndex cgroup) const;
  [[nodiscard]] model::Value tightest_limit(Id id, model::CgroupIndex cgroup) const;
  [[nodiscard]] model::Value cpu_limit(model::CgroupIndex cgroup) const;
  [[nodiscard]] model::Value computed(ColumnSource source, model::CgroupIndex cgroup) const;
  [[nodiscard]] std::string field_text(model::FieldId id, model::CgroupIndex cgroup) const;

  const Columns* columns_;
  model::SnapshotPtr now_;
  model::Delta delta_;
};

// Container metadata of the cgroup from discovery, or null.
const model::Container* container_of(const model::Snapshot& snapshot, model::CgroupIndex cgroup);
// Display name: the name of the container or pod, or else the last component of the path.
std::string_view name_of(const model::Snapshot& snapshot, model::CgroupIndex cgroup);
// The container runtime, the role of another workload (model::Role), or else kind_of_path().
std::string_view kind_of(const model::Snapshot& snapshot, model::CgroupIndex cgroup);
// "root", the systemd unit type by the suffix of the name, or "cgroup".
std::string_view kind_of_path(std::string_view path);
// Number of levels below the root cgroup, whose depth is 0.
int depth_of(std::string_view path);

}  // namespace cgwarden::cgtop
