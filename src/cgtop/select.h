// SPDX-License-Identifier: Apache-2.0
// Finds cgroups by a name that a user typed, and reduces snapshots to some cgroups.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/model/snapshot.h"

namespace cgwarden::cgtop {

// Indices of the cgroups that match `name`: one, several (the name is ambiguous), or none. The first of these criteria
// that matches any cgroup decides: the path; the name of a container or pod; the last component of the path; the last
// component without the suffix of a systemd unit (.service); and, if `name` has at least 4 characters, a prefix of a
// container ID, then a prefix of the name or of the last component.
std::vector<model::CgroupIndex> cgroups_named(const model::Snapshot& snapshot, std::string_view name);

// A copy of `snapshot` with only these cgroups, in order of their paths, for writers of whole snapshots. `fields` is
// indexed by model::FieldId and selects the fields to copy; empty selects all.
model::SnapshotPtr subset(const model::Snapshot& snapshot, std::vector<model::CgroupIndex> cgroups,
                          const std::vector<bool>& fields);

}  // namespace cgwarden::cgtop
