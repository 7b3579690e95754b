// SPDX-License-Identifier: Apache-2.0
// `cgwarden containers`: what is known of this host's containers, and where each fact came from.
#pragma once

#include <iosfwd>
#include <string>

#include "src/model/snapshot.h"

namespace cgwarden::agent {

// Where the state does not say which directory takes what a container writes, what is mounted says it. Reads each
// container's mounts, so it is for what is printed once.
void find_writable_layers(model::Snapshot& snapshot, const std::string& procfs);

// Containers, sandboxes, pods, machines and jobs in order of their cgroups' paths; the snapshot has a table.
void print_containers(const model::Snapshot& snapshot, bool json, std::ostream& out);

}  // namespace cgwarden::agent
