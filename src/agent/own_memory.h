// SPDX-License-Identifier: Apache-2.0
// Whether the memory that the agent's own cgroup allows it is enough for so many cgroups.
//
// Most of what a cgroup counts for the agent are names and inodes of interface files, which the kernel caches and gives
// back under a limit. The rest it must have; with less, memory.high makes it sleep at every turn, and memory.max ends
// it.
//
// Thread: any. Errors: none; what is not known is not warned of.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "src/model/snapshot.h"

namespace cgwarden::agent {

// Bytes that the kernel cannot take back, measured: 10 KiB a cgroup, 0.5 KiB a directory watched, 5 KiB a file kept
// open.
std::uint64_t memory_needed(const model::Snapshot& snapshot);

// `proc_self_cgroup` is the text of /proc/self/cgroup. A line for the log when the tightest limit on that cgroup is
// less than what it needs.
std::optional<std::string> memory_warning(const model::Snapshot& snapshot, std::string_view proc_self_cgroup);

}  // namespace cgwarden::agent
