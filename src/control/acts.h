// SPDX-License-Identifier: Apache-2.0
// Freeze, thaw, kill, signal, reclaim and move, on the interface files of v1 and v2. Every wait has a deadline and is
// for an event of the kernel where it has one. Nothing here looks at guards: the Writer has.
//
// Sources: cgroup-v2.rst (cgroup.freeze 5.2, cgroup.kill 5.14, memory.reclaim 5.19), cgroup-v1/freezer-subsystem.rst.
// Thread: the writer's.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "src/control/place.h"
#include "src/control/settings.h"

namespace cgwarden::control {

// The cgroup is stopped by one freezer or, where its processes are in no single one, by both.
struct Freezers {
  const CgroupHandle::Dir* v2 = nullptr;
  const CgroupHandle::Dir* v1 = nullptr;
};

struct FreezeState {
  bool self = false;      // this cgroup was asked to freeze
  bool above = false;     // a cgroup above it was
  bool complete = false;  // all its tasks are stopped
  std::string ancestor;   // which, where that is known
};
FreezeState freeze_state(const CgroupHandle& place);

// `as_runtimes_do`: v1's freezer goes before v2's where both would do, as it does for runtimes of containers: they see
// by it what is frozen, and tasks that one has stopped cannot be stopped by the other.
Checked<Freezers> plan_freeze(const CgroupHandle& place, bool as_runtimes_do);
// Asks, and waits until all tasks are stopped. False: out of time; the caller thaws.
base::Result<bool> freeze(const Freezers& freezers, base::Monotonic deadline);
// Undoes a freeze of this cgroup itself, in all its freezers.
base::Result<void> thaw(const CgroupHandle& place);

struct Ended {
  std::size_t processes = 0;  // that were there
  std::vector<pid_t> left;    // those that are still there at the deadline
  std::size_t foreign = 0;
  std::string note;
};
// Kills all processes of the cgroup and of those below, also those that are born meanwhile, and nothing else.
Checked<Ended> kill_all(const CgroupHandle& place, const std::string& proc, base::Monotonic deadline);
// One signal to each process, by a descriptor of the process whose cgroup was looked at again.
struct Signalled {
  std::size_t sent = 0;
  std::size_t gone = 0;
  std::size_t refused = 0;  // EPERM
};
Signalled signal_each(const CgroupHandle& place, const std::string& proc, const std::set<pid_t>& pids, int signal);
// Empty in time.
bool wait_until_empty(const CgroupHandle& place, base::Monotonic deadline);

// v2's memory.reclaim, in steps. Bytes that the cgroup uses less afterwards.
struct Reclaimed {
  std::int64_t bytes = 0;
  bool all = false;  // as much as was asked for
};
Checked<Reclaimed> reclaim(const CgroupHandle& place, std::int64_t bytes, base::Monotonic deadline);

}  // namespace cgwarden::control
