// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/select.h"

#include <algorithm>

#include "src/base/text.h"
#include "src/cgtop/table.h"
#include "src/model/delta.h"

namespace cgwarden::cgtop {

using model::CgroupIndex;

std::vector<CgroupIndex> cgroups_named(const model::Snapshot& snapshot, std::string_view name) {
  const auto all_that = [&](const auto& matches) {
    std::vector<CgroupIndex> out;
    for (CgroupIndex g = 0; g < snapshot.cgroup_count(); ++g) {
      if (matches(std::string_view(snapshot.cgroup_list->cgroups[g]->path), name_of(snapshot, g),
                  container_of(snapshot, g)))
        out.push_back(g);
    }
    return out;
  };
  auto path = std::string(name);
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (!path.starts_with('/')) path.insert(0, "/");
  auto found = all_that([&](auto p, auto, auto) { return p == path; });
  if (found.empty()) found = all_that([&](auto, auto display_name, auto) { return display_name == name; });
  if (found.empty()) found = all_that([&](auto p, auto, auto) { return base::last_part(p) == name; });
  if (found.empty()) {
    found = all_that([&](auto p, auto, auto) {
      const auto last = base::last_part(p);
      return kind_of_path(last) != "cgroup" && last.substr(0, last.rfind('.')) == name;
    });
  }
  if (found.empty() && name.size() >= 4) {
    found = all_that([&](auto, auto, const model::Container* c) {
      return c != nullptr && c->role == model::Role::container && c->id && c->id->starts_with(name);
    });
  }
  if (found.empty() && name.size() >= 4) {
    found = all_that([&](auto p, auto display_name, auto) {
      return display_name.starts_with(name) || base::last_part(p).starts_with(name);
    });
  }
  return found;
}

model::SnapshotPtr subset(const model::Snapshot& snapshot, std::vector<CgroupIndex> cgroups,
                          const std::vector<bool>& fields) {
  std::ranges::sort(cgroups);
  auto out = std::make_shared<model::Snapshot>();
  out->catalogue = snapshot.catalogue;
  out->hierarchies = snapshot.hierarchies;
  out->begun = snapshot.begun;
  out->taken = snapshot.taken;
  out->taken_wall = snapshot.taken_wall;
  out->collectors = snapshot.collectors;
  out->tree = snapshot.tree;
  auto cgroup_list = std::make_shared<model::CgroupList>();
  for (const auto g : cgroups) {
    cgroup_list->cgroups.push_back(snapshot.cgroup_list->cgroups[g]);
    const auto parent = std::ranges::lower_bound(cgroups, snapshot.cgroup_list->parents[g]);
    const bool has_parent = parent != cgroups.end() && *parent == snapshot.cgroup_list->parents[g];
    cgroup_list->parents.push_back(has_parent ? static_cast<CgroupIndex>(parent - cgroups.begin()) : model::kNoCgroup);
  }
  out->columns.resize(snapshot.columns.size());
  for (std::size_t f = 0; f < snapshot.columns.size(); ++f) {
    if (!fields.empty() && !fields[f]) continue;
    const auto& from = snapshot.columns[f];
    auto& to = out->columns[f];
    if (!from.dense.empty()) {
      for (const auto g : cgroups) to.dense.push_back(from.dense[g]);
    }
    to.text = from.text;
    for (CgroupIndex i = 0; i < cgroups.size(); ++i) {
      for (auto series : model::series_of(from, cgroups[i])) {
        series.cgroup = i;
        to.series.push_back(series);
      }
    }
  }
  out->cgroup_list = std::move(cgroup_list);
  return out;
}

}  // namespace cgwarden::cgtop
