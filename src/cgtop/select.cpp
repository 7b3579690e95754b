// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/select.h"

#include <algorithm>

#include "src/base/text.h"
#include "src/cgtop/table.h"
#include "src/model/delta.h"

namespace cgwarden::cgtop {

using model::GroupIndex;

std::vector<GroupIndex> groups_named(const model::Snapshot& snapshot, std::string_view name) {
  const auto all = [&](const auto& fits) {
    std::vector<GroupIndex> out;
    for (GroupIndex g = 0; g < snapshot.group_count(); ++g) {
      if (fits(std::string_view(snapshot.roster->groups[g]->path), name_of(snapshot, g), container_of(snapshot, g)))
        out.push_back(g);
    }
    return out;
  };
  auto path = std::string(name);
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (!path.starts_with('/')) path.insert(0, "/");
  auto found = all([&](auto p, auto, auto) { return p == path; });
  if (found.empty()) found = all([&](auto, auto called, auto) { return called == name; });
  if (found.empty()) found = all([&](auto p, auto, auto) { return base::last_part(p) == name; });
  if (found.empty()) {
    found = all([&](auto p, auto, auto) {
      const auto last = base::last_part(p);
      return kind_of_path(last) != "group" && last.substr(0, last.rfind('.')) == name;
    });
  }
  if (found.empty() && name.size() >= 4) {
    found = all([&](auto, auto, const model::Container* c) {
      return c != nullptr && c->role == model::Role::container && c->id && c->id->starts_with(name);
    });
  }
  if (found.empty() && name.size() >= 4) {
    found = all(
        [&](auto p, auto called, auto) { return called.starts_with(name) || base::last_part(p).starts_with(name); });
  }
  return found;
}

model::SnapshotPtr only(const model::Snapshot& snapshot, std::vector<GroupIndex> groups,
                        const std::vector<bool>& fields) {
  std::ranges::sort(groups);
  auto out = std::make_shared<model::Snapshot>();
  out->catalogue = snapshot.catalogue;
  out->hierarchies = snapshot.hierarchies;
  out->begun = snapshot.begun;
  out->taken = snapshot.taken;
  out->taken_wall = snapshot.taken_wall;
  out->collectors = snapshot.collectors;
  out->tree = snapshot.tree;
  auto roster = std::make_shared<model::Roster>();
  for (const auto g : groups) {
    roster->groups.push_back(snapshot.roster->groups[g]);
    const auto parent = std::ranges::lower_bound(groups, snapshot.roster->parents[g]);
    const bool there = parent != groups.end() && *parent == snapshot.roster->parents[g];
    roster->parents.push_back(there ? static_cast<GroupIndex>(parent - groups.begin()) : model::kNoGroup);
  }
  out->columns.resize(snapshot.columns.size());
  for (std::size_t f = 0; f < snapshot.columns.size(); ++f) {
    if (!fields.empty() && !fields[f]) continue;
    const auto& from = snapshot.columns[f];
    auto& to = out->columns[f];
    if (!from.dense.empty()) {
      for (const auto g : groups) to.dense.push_back(from.dense[g]);
    }
    to.text = from.text;
    for (GroupIndex i = 0; i < groups.size(); ++i) {
      for (auto cell : model::cells_of(from, groups[i])) {
        cell.group = i;
        to.cells.push_back(cell);
      }
    }
  }
  out->roster = std::move(roster);
  return out;
}

}  // namespace cgwarden::cgtop
