// SPDX-License-Identifier: Apache-2.0
// Facts about the host from /proc: host name, kernel, load, memory and swap, pressure.
// Thread: any.
#pragma once

#include "src/cgroup/hierarchy.h"
#include "src/model/host.h"

namespace cgwarden::cgroup {

// Reads at most ten small files. A value that cannot be read stays unset.
model::Host read_host(const HostPaths& paths, const HostHierarchies& hierarchies);

}  // namespace cgwarden::cgroup
