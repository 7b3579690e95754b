// SPDX-License-Identifier: Apache-2.0
// Checks whether the memory limit of the agent's own cgroup is sufficient for the number of cgroups.
//
// Most memory that is charged to the agent's cgroup are dentries and inodes of interface files, which the kernel
// reclaims under a limit. The rest cannot be reclaimed: with less, memory.high throttles the agent and memory.max kills
// it.
//
// Any thread. No errors; unknown values cause no warning.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "src/model/snapshot.h"

namespace cgwarden::agent {

// Bytes that the kernel cannot reclaim, as measured: 10 KiB per cgroup, 0.5 KiB per inotify watch, 5 KiB per open file.
std::uint64_t memory_needed(const model::Snapshot& snapshot);

struct MemoryShortage {
  std::size_t cgroups = 0;
  std::uint64_t needed_mib = 0;
  std::uint64_t limit_mib = 0;
};
// Set if the lowest limit on the agent's cgroup is below memory_needed(). `proc_self_cgroup` is the text of
// /proc/self/cgroup.
std::optional<MemoryShortage> memory_shortage(const model::Snapshot& snapshot, std::string_view proc_self_cgroup);

}  // namespace cgwarden::agent
