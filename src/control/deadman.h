// SPDX-License-Identifier: Apache-2.0
// A dead man's switch for leases: a helper process that ends a lease when it expires, even if the writer has exited or
// hangs. It is started before the freeze, holds the open files that thaw, needs no memory allocation, no bus and no
// lock, and has oom_score_adj -1000.
//
//   writer:  lease file -> helper -> freeze        helper:  expired | owner exited | SIGTERM -> thaw, remove lease file
//                                                           lease file removed -> exit: already thawed
//
// Thread: the writer's. Errors: no process or file descriptors available; the caller must then not freeze.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/control/operations.h"
#include "src/control/runtime_api.h"
#include "src/control/undo_log.h"

namespace cgwarden::control {

struct Deadman {
  std::string lease;         // id
  std::int64_t expires = 0;  // of boottime_now()
  bool with_owner = false;   // also end the lease when this process exits for any reason
  std::string audit_line;    // appended to audit_fd behind {"time":"...", when it thaws
  int audit_fd = -1;
  std::string unit;  // systemd froze this unit: thaw it in systemd afterwards, best effort, to update its state
  // A runtime paused the container: it has one second to unpause it, because it cannot once the kernel has thawed it.
  std::optional<RuntimeContainer> runtime;
};

// Returns when the helper is ready.
base::Result<void> start_thaw_helper(const UndoLog& undo_log, const Freezers& freezers, const Deadman& deadman);

// For limits: the helper executes `command` when the lease has expired and its file still exists.
base::Result<void> start_restore_helper(const UndoLog& undo_log, const Deadman& deadman,
                                        const std::vector<std::string>& command);

}  // namespace cgwarden::control
