// SPDX-License-Identifier: Apache-2.0
// `cgwarden containers`: what is known of this host's containers, and where each fact came from.
#pragma once

#include <iosfwd>

#include "src/model/snapshot.h"

namespace cgwarden::agent {

// Containers, sandboxes, pods, machines and jobs in order of their cgroups' paths; the snapshot has a table.
void print_containers(const model::Snapshot& snapshot, bool json, std::ostream& out);

}  // namespace cgwarden::agent
