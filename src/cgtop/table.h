// SPDX-License-Identifier: Apache-2.0
// Two snapshots seen as groups × columns. Nothing is computed before it is asked for, so a screen pays for the rows it
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
  [[nodiscard]] std::size_t size() const { return now_->group_count(); }
  [[nodiscard]] const model::Group& group(model::GroupIndex g) const { return *now_->roster->groups[g]; }
  // The group with this kernel id, or kNoGroup.
  [[nodiscard]] model::GroupIndex find(std::uint64_t id) const;
  [[nodiscard]] model::GroupIndex parent(model::GroupIndex g) const { return now_->roster->parents[g]; }

  // In the fixed point of the column; absent for texts.
  [[nodiscard]] model::Value value(ColumnId column, model::GroupIndex group) const;
  // Of a column of texts, as the kernel has it: escape it before it is shown.
  [[nodiscard]] std::string text(ColumnId column, model::GroupIndex group) const;
  // A group that does something: CPU, I/O, or a state worth a letter.
  [[nodiscard]] bool active(model::GroupIndex group) const;
  [[nodiscard]] std::string state(model::GroupIndex group) const;

 private:
  using Id = KnownFields::Id;
  [[nodiscard]] model::Value field(Id id, model::GroupIndex group) const;
  [[nodiscard]] bool grew(Id id, model::GroupIndex group) const;
  [[nodiscard]] model::Value summed(model::FieldId id, model::GroupIndex group) const;
  [[nodiscard]] model::Value rate(model::FieldId id, int decimals, model::GroupIndex group) const;
  [[nodiscard]] model::Value tightest(Id id, model::GroupIndex group) const;
  [[nodiscard]] model::Value cpu_limit(model::GroupIndex group) const;
  [[nodiscard]] model::Value computed(Source source, model::GroupIndex group) const;
  [[nodiscard]] std::string field_text(model::FieldId id, model::GroupIndex group) const;

  const Columns* columns_;
  model::SnapshotPtr now_;
  model::Delta delta_;
};

// What discovery knows of the group, or null.
const model::Container* container_of(const model::Snapshot& snapshot, model::GroupIndex group);
// What people call the group: the container's or pod's name, else the last part of its path.
std::string_view name_of(const model::Snapshot& snapshot, model::GroupIndex group);
std::string_view kind_of(const model::Snapshot& snapshot, model::GroupIndex group);
std::string_view kind_of_path(std::string_view path);
int depth_of(std::string_view path);

}  // namespace cgwarden::cgtop
