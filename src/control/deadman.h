// SPDX-License-Identifier: Apache-2.0
// The dead man's hand: a process of its own that ends a lease when its time is up, whatever has become of the writer
// meanwhile. It is made before the freeze, holds the very files that thaw, needs no memory, no bus and no lock, and is
// spared by the out-of-memory killer.
//
//   writer:  lease file -> helper -> freeze        helper:  time up | owner gone | SIGTERM -> thaw, remove lease file
//                                                           lease file gone -> end: it was thawed by hand
//
// Thread: the writer's. Errors: no process, no descriptors: then there is no freeze.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/control/acts.h"
#include "src/control/engine.h"
#include "src/control/ledger.h"

namespace cgwarden::control {

struct DeadMan {
  std::string lease;         // id
  std::int64_t expires = 0;  // of boottime_now()
  bool with_owner = false;   // also when this process ends, however it does
  std::string audit_line;    // appended to audit_fd behind {"time":"...", when it thaws
  int audit_fd = -1;
  std::string unit;  // systemd froze it: it is told afterwards, best effort, so that it knows what the kernel does
  // An engine paused it: it has a second to end that itself, as it never can once the kernel has.
  std::optional<EngineContainer> engine;
};

// Returns when the helper watches.
base::Result<void> start_thawer(const Ledger& ledger, const Freezers& freezers, const DeadMan& deadman);

// For limits: the helper starts `command` when time is up and the lease is still there.
base::Result<void> start_restorer(const Ledger& ledger, const DeadMan& deadman,
                                  const std::vector<std::string>& command);

}  // namespace cgwarden::control
