// SPDX-License-Identifier: Apache-2.0
// The machine, from /proc: hostname, kernel, load, memory, pressure.
#pragma once

#include "src/cgroup/hierarchy.h"
#include "src/model/host.h"

namespace cgwarden::cgroup {

// What cannot be read is left out. Cheap: eight small files, or nine.
model::Host read_host(const HostPaths& paths, const HostHierarchies& hierarchies);

}  // namespace cgwarden::cgroup
