// SPDX-License-Identifier: Apache-2.0
#include "src/agent/own_memory.h"

#include <algorithm>

#include "src/base/text.h"

namespace cgwarden::agent {
namespace {

constexpr std::uint64_t kMiB = 1U << 20U;

// The path in "9:memory:/a" if the memory controller is on v1, else that in "0::/a".
std::string_view memory_cgroup(std::string_view proc_self_cgroup) {
  std::string_view found;
  while (!proc_self_cgroup.empty()) {
    auto path = base::take_line(proc_self_cgroup);
    const auto number = base::take_until(path, ':');
    auto controllers = base::take_until(path, ':');
    while (!controllers.empty()) {
      if (base::take_until(controllers, ',') == "memory") return path;
    }
    if (number == "0") found = path;
  }
  return found;
}

}  // namespace

std::uint64_t memory_needed(const model::Snapshot& snapshot) {
  return 6 * kMiB + (10U << 10U) * snapshot.cgroup_count() + 512U * snapshot.tree.watches +
         (5U << 10U) * snapshot.tree.open_files;
}

std::optional<MemoryShortage> memory_shortage(const model::Snapshot& snapshot, std::string_view proc_self_cgroup) {
  const auto path = memory_cgroup(proc_self_cgroup);
  const auto& cgroups = snapshot.cgroup_list->cgroups;
  const auto own = std::ranges::find_if(cgroups, [path](const auto& cgroup) { return cgroup->path == path; });
  if (own == cgroups.end()) return std::nullopt;
  const auto needed = memory_needed(snapshot);
  for (const auto* name : {"effective_memory_high", "effective_memory_max"}) {
    const auto field = snapshot.catalogue->find(name);
    if (!field) continue;
    const auto limit = snapshot.value(*field, static_cast<model::CgroupIndex>(own - cgroups.begin()));
    if (!limit.is_number() || static_cast<std::uint64_t>(limit.fixed()) >= needed) continue;
    return MemoryShortage{snapshot.cgroup_count(), needed / kMiB, static_cast<std::uint64_t>(limit.fixed()) / kMiB};
  }
  return std::nullopt;
}

}  // namespace cgwarden::agent
