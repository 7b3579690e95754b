// SPDX-License-Identifier: Apache-2.0
// Which cgroup somebody means.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/model/snapshot.h"

namespace cgwarden::cgtop {

// Indices of the cgroups that `name` could mean: one, several (ask again), or none. Tried in turn: the path, the name
// of a container or pod, the last part of a path, that without its ending (.service), and, from 4 characters on, the
// beginning of a container's id, of a name or of a last part.
std::vector<model::CgroupIndex> cgroups_named(const model::Snapshot& snapshot, std::string_view name);

// A snapshot of these cgroups only, for what can write whole snapshots only. In order of paths.
model::SnapshotPtr only(const model::Snapshot& snapshot, std::vector<model::CgroupIndex> cgroups,
                        const std::vector<bool>& fields);

}  // namespace cgwarden::cgtop
