// SPDX-License-Identifier: Apache-2.0
// Which group somebody means.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/model/snapshot.h"

namespace cgwarden::cgtop {

// Indices of the groups that `name` could mean: one, several (ask again), or none. Tried in turn: the path, the last
// part of a path, the last part without its ending (.service), the beginning of a last part (4 characters or more).
std::vector<model::GroupIndex> groups_named(const model::Snapshot& snapshot, std::string_view name);

// A snapshot of these groups only, for what can write whole snapshots only. In order of paths.
model::SnapshotPtr only(const model::Snapshot& snapshot, std::vector<model::GroupIndex> groups,
                        const std::vector<bool>& fields);

}  // namespace cgwarden::cgtop
