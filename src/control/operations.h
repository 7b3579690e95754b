// SPDX-License-Identifier: Apache-2.0
// Freeze, thaw, kill, signal and reclaim, on the interface files of v1 and v2. Every wait has a deadline and uses a
// kernel notification where there is one. Nothing here checks guards: the Writer has already done so.
//
// Sources: cgroup-v2.rst (cgroup.freeze 5.2, cgroup.kill 5.14, memory.reclaim 5.19), cgroup-v1/freezer-subsystem.rst.
// Thread: the writer's.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "src/control/cgroup_handle.h"
#include "src/control/settings.h"

namespace cgwarden::control {

// A cgroup is frozen by one freezer, or by both if no single one has all of its processes.
struct Freezers {
  const CgroupHandle::Dir* v2 = nullptr;
  const CgroupHandle::Dir* v1 = nullptr;
};

struct FreezeState {
  bool frozen_here = false;  // a freeze of this cgroup itself was requested
  bool by_ancestor = false;  // a freeze of an ancestor was requested
  bool complete = false;     // all its tasks are stopped
  std::string ancestor;      // path of that ancestor, if known
};
FreezeState freeze_state(const CgroupHandle& handle);

// `as_runtimes_do`: prefer v1's freezer where both have all processes, as container runtimes do: they determine from it
// what is frozen, and tasks that one freezer has stopped cannot be stopped by the other.
Checked<Freezers> plan_freeze(const CgroupHandle& handle, bool as_runtimes_do);
// Requests the freeze and waits until all tasks are stopped. False on timeout; the caller must thaw.
base::Result<bool> freeze(const Freezers& freezers, base::Monotonic deadline);
// Ends a freeze of this cgroup itself, in all its freezers.
base::Result<void> thaw(const CgroupHandle& handle);

struct KillResult {
  std::size_t processes = 0;     // at the beginning
  std::vector<pid_t> remaining;  // still present at the deadline
  std::size_t foreign = 0;
  std::string note;
};
// Kills all processes of the cgroup and of its descendants, including those forked meanwhile, and nothing else.
Checked<KillResult> kill_all(const CgroupHandle& handle, const std::string& proc, base::Monotonic deadline);
// Sends one signal to each process through a pidfd, after its cgroup was verified again.
struct SignalResult {
  std::size_t sent = 0;
  std::size_t gone = 0;
  std::size_t refused = 0;  // EPERM
};
SignalResult signal_processes(const CgroupHandle& handle, const std::string& proc, const std::set<pid_t>& pids,
                              int signal);
// Whether the cgroup became empty before the deadline.
bool wait_until_empty(const CgroupHandle& handle, base::Monotonic deadline);

// Writes v2's memory.reclaim in steps. Returns by how many bytes memory.current dropped.
struct ReclaimResult {
  std::int64_t bytes = 0;
  bool all = false;  // the requested amount was reclaimed
};
Checked<ReclaimResult> reclaim(const CgroupHandle& handle, std::int64_t bytes, base::Monotonic deadline);

}  // namespace cgwarden::control
