// SPDX-License-Identifier: Apache-2.0
// `cgwarden containers`: prints all facts about the containers of this host with the source of each fact.
#pragma once

#include <iosfwd>
#include <string>

#include "src/model/snapshot.h"

namespace cgwarden::agent {

// Sets the writable layer of containers whose runtime state does not name it, from their mounts. Reads the mountinfo
// file of each container, so it is only for commands that print one sample.
void find_writable_layers(model::Snapshot& snapshot, const std::string& procfs);

// Prints containers, sandboxes, pods, machines and jobs in the order of their cgroup paths. `snapshot.containers` must
// be set.
void print_containers(const model::Snapshot& snapshot, bool json, std::ostream& out);

}  // namespace cgwarden::agent
