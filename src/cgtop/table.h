// SPDX-License-Identifier: Apache-2.0
// Two snapshots seen as cgroups × columns. Nothing is computed before it is asked for, so a screen pays for the rows it
// shows and a sort for one column.
#pragma once

#include <string>
#include <string_view>

#include "src/cgtop/columns.h"
#include "src/model/delta.h"
#include "src/model/snapshot.h"

namespace cgwarden::cgtop {

class Table {
 public:
  // `before` may be null: what needs two snapshots is absent then.
  Table(const Columns& columns, model::SnapshotPtr before, model::SnapshotPtr now);

  [[nodiscard]] const Columns& columns() const { return *columns_; }
  [[nodiscard]] const model::Snapshot& now() const { return *now_; }
  [[nodiscard]] const model::Delta& delta() const { return delta_; }
  [[nodiscard]] std::size_t size() const { return now_->cgroup_count(); }
  [[nodiscard]] const model::Cgroup& cgroup(model::CgroupIndex g) const { return *now_->cgroup_list->cgroups[g]; }
  // The cgroup with this kernel id, or kNoGroup.
  [[nodiscard]] model::CgroupIndex find(std::uint64_t id) const;
  [[nodiscard]] model::CgroupIndex parent(model::CgroupIndex g) const { return now_->cgroup_list->parents[g]; }

  // In the fixed point of the column; absent for texts.
  [[nodiscard]] model::Value value(ColumnId column, model::CgroupIndex cgroup) const;
  // Of a column of texts, as the kernel has it: escape it before it is shown.
  [[nodiscard]] std::string text(ColumnId column, model::CgroupIndex cgroup) const;
  // A cgroup that does something: CPU, I/O, or a state worth a letter.
  [[nodiscard]] bool active(model::CgroupIndex cgroup) const;
  [[nodiscard]] std::string state(model::CgroupIndex cgroup) const;

 private:
  using Id = KnownFields::Id;
  [[nodiscard]] model::Value field(Id id, model::CgroupIndex cgroup) const;
  [[nodiscard]] bool grew(Id id, model::CgroupIndex cgroup) const;
  [[nodiscard]] model::Value summed(model::FieldId id, model::CgroupIndex cgroup) const;
  [[nodiscard]] model::Value rate(model::FieldId id, int decimals, model::CgroupIndex cgroup) const;
  [[nodiscard]] model::Value tightest(Id id, model::CgroupIndex cgroup) const;
  [[nodiscard]] model::Value cpu_limit(model::CgroupIndex cgroup) const;
  [[nodiscard]] model::Value computed(Source source, model::CgroupIndex cgroup) const;
  [[nodiscard]] std::string field_text(model::FieldId id, model::CgroupIndex cgroup) const;

  const Columns* columns_;
  model::SnapshotPtr now_;
  model::Delta delta_;
};

// What discovery knows of the cgroup, or null.
const model::Container* container_of(const model::Snapshot& snapshot, model::CgroupIndex cgroup);
// What people call the cgroup: the container's or pod's name, else the last part of its path.
std::string_view name_of(const model::Snapshot& snapshot, model::CgroupIndex cgroup);
std::string_view kind_of(const model::Snapshot& snapshot, model::CgroupIndex cgroup);
std::string_view kind_of_path(std::string_view path);
int depth_of(std::string_view path);

}  // namespace cgwarden::cgtop
