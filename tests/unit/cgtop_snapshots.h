// SPDX-License-Identifier: Apache-2.0
// Builds snapshots by hand, for tests that compute values from them.
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "collectors/collection.h"
#include "src/cgtop/columns.h"
#include "src/model/snapshot.h"

namespace cgwarden::test {

inline std::shared_ptr<const model::Catalogue> catalogue() {
  static const auto all = collectors::make_catalogue();
  return all;
}

inline const cgtop::Columns& columns() {
  static const cgtop::Columns all(catalogue());
  return all;
}

// Paths must be sorted, parents before their children.
class SnapshotMaker {
 public:
  explicit SnapshotMaker(double at_seconds = 0) : snapshot_(std::make_shared<model::Snapshot>()) {
    snapshot_->catalogue = catalogue();
    snapshot_->columns.resize(catalogue()->size());
    snapshot_->collectors.resize(catalogue()->collectors().size());
    const auto since = std::chrono::nanoseconds(static_cast<std::int64_t>(at_seconds * 1e9));
    snapshot_->taken = base::Monotonic(std::chrono::hours(1)) + since;
    snapshot_->taken_wall =
        base::Wall(std::chrono::seconds(1'800'000'000)) + std::chrono::duration_cast<base::Wall::duration>(since);
  }
  SnapshotMaker& cgroup(std::uint64_t id, const std::string& path) {
    auto made = std::make_shared<model::Cgroup>();
    made->id = id;
    made->path = path;
    made->created = base::Wall(std::chrono::seconds(1'799'000'000));
    auto parent = model::kNoCgroup;
    const auto parent_path = path == "/" ? std::string() : path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
    for (model::CgroupIndex i = 0; i < cgroup_list_.cgroups.size(); ++i) {
      if (cgroup_list_.cgroups[i]->path == parent_path) parent = i;
    }
    cgroup_list_.cgroups.push_back(std::move(made));
    cgroup_list_.parents.push_back(parent);
    return *this;
  }
  // Sets a field of the cgroup added last; `fixed` is in the fixed-point unit of the field.
  SnapshotMaker& set(std::string_view field, std::int64_t fixed) { return set(field, model::Value::of(fixed)); }
  SnapshotMaker& set(std::string_view field, model::Value value) {
    auto& dense = snapshot_->columns[*catalogue()->find(field)].dense;
    dense.resize(cgroup_list_.cgroups.size());
    dense.back() = value;
    return *this;
  }
  SnapshotMaker& series(std::string_view field, std::string_view label, model::Value value) {
    auto& column = snapshot_->columns[*catalogue()->find(field)];
    column.series.push_back({static_cast<model::CgroupIndex>(cgroup_list_.cgroups.size() - 1),
                             static_cast<std::uint32_t>(column.text.size()), static_cast<std::uint16_t>(label.size()),
                             value});
    column.text += label;
    return *this;
  }
  SnapshotMaker& container(model::Container container) {
    const auto& cgroup = *cgroup_list_.cgroups.back();
    containers_.by_cgroup[model::cgroup_key(cgroup.id, cgroup.path)] =
        std::make_shared<model::Container>(std::move(container));
    return *this;
  }
  model::SnapshotPtr make() {
    for (auto& column : snapshot_->columns) {
      if (!column.dense.empty()) column.dense.resize(cgroup_list_.cgroups.size());
    }
    snapshot_->cgroup_list = std::make_shared<model::CgroupList>(cgroup_list_);
    snapshot_->containers = std::make_shared<model::Containers>(containers_);
    return snapshot_;
  }

 private:
  std::shared_ptr<model::Snapshot> snapshot_;
  model::CgroupList cgroup_list_;
  model::Containers containers_;
};

}  // namespace cgwarden::test
