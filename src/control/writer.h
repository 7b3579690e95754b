// SPDX-License-Identifier: Apache-2.0
// The only one who writes. Each action goes the same way:
//
//   find the cgroup's life -> guards -> plan (reads only) -> [dry run ends here] -> lock -> audit "begin"
//     -> the same life still? -> ledger -> write, read back -> undo all on failure -> audit "end"
//
// It blocks: the kernel reclaims memory within a write, a freeze takes until the last task has stopped. So a program
// with a loop gives it a thread of its own; all calls come from one thread. Processes that act at the same time (cgtop
// by hand, the enforcer) take turns by a lock.
//
// Errors: none thrown; what went wrong is the Outcome.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/cgroup/hierarchy.h"
#include "src/control/acts.h"
#include "src/control/audit.h"
#include "src/control/engine.h"
#include "src/control/guards.h"
#include "src/control/ledger.h"
#include "src/control/settings.h"
#include "src/control/systemd.h"
#include "src/model/action.h"

namespace cgwarden::control {

inline constexpr const char* kStateDirectory = "/run/cgwarden-control";
inline constexpr const char* kAuditFile = "/var/log/cgwarden/audit.jsonl";
inline constexpr std::chrono::milliseconds kFreezeFor{60'000};  // when nobody says how long
inline constexpr std::chrono::milliseconds kMaxFreeze{3'600'000};
inline constexpr std::chrono::milliseconds kWait{5000};

class Writer {
 public:
  struct Options {
    cgroup::HostPaths paths;
    std::string state_directory = kStateDirectory;
    std::string audit_file = kAuditFile;
    bool journal = true;
    bool systemd = true;               // units go through it, where this host was booted with it
    EngineSockets engines;             // told of what is done to their containers
    std::vector<std::string> protect;  // patterns of further cgroups that are never touched
    // A freeze ends with this process: for the enforcer. Otherwise only with its time, as cgtop ends at once.
    bool freeze_ends_with_us = false;
    // The program and its first arguments that undo a limit when its time is up, the id behind them; empty: whoever
    // calls tend() does.
    std::vector<std::string> restore_command;
  };

  // Error: no cgroup file system.
  static base::Result<std::unique_ptr<Writer>> open(Options options);

  model::Outcome apply(const model::Action& action);
  // Brings back what was set before the action with this id; empty: the latest. Not if somebody has changed it since.
  // A dry run says in Outcome::undo which it would be.
  model::Outcome undo(const std::string& id, const model::Actor& actor, bool dry_run, bool lease_ended = false);

  // What happened to leases since the last call. For the enforcer, every second.
  struct LeaseEvent {
    enum class What { ended, lost, gone, failed };
    What what = What::ended;
    Entry entry;
    model::Outcome outcome;
  };
  std::vector<LeaseEvent> tend();
  // For status and metrics.
  [[nodiscard]] std::vector<Entry> entries() const;
  [[nodiscard]] const cgroup::HostHierarchies& host() const { return host_; }

 private:
  struct Session;  // lock, audit and ledger of one action

  explicit Writer(Options options, cgroup::HostHierarchies host)
      : options_(std::move(options)), host_(std::move(host)) {}

  model::Outcome act(const model::Action& action);
  model::Outcome limit(const model::Action& action, const CgroupHandle& place);
  model::Outcome unlimit(const model::Action& action, const CgroupHandle& place);
  model::Outcome freeze_cgroup(const model::Action& action, const CgroupHandle& place);
  model::Outcome thaw_cgroup(const model::Action& action, const CgroupHandle& place);
  model::Outcome kill_cgroup(const model::Action& action, const CgroupHandle& place);
  model::Outcome signal_cgroup(const model::Action& action, const CgroupHandle& place);
  model::Outcome reclaim_cgroup(const model::Action& action, const CgroupHandle& place);
  model::Outcome move_processes(const model::Action& action, const CgroupHandle& place);
  model::Outcome write_plan(const model::Action& action, const CgroupHandle& place, const WritePlan& plan,
                            std::string_view undo_of);
  model::Outcome restore(const Entry& entry, const model::Action& as, bool lease_ended);
  [[nodiscard]] std::optional<model::Outcome> guard(const model::Action& action, std::string_view path) const;
  // Whose cgroup it is; nothing: written by its files.
  Checked<std::optional<Unit>> route_of(const model::Action& action, const CgroupHandle& place);
  // The engine's container that has this cgroup; nothing: none that can be told, and `note` says what comes of that.
  std::optional<EngineContainer> engine_of(const CgroupHandle& place, std::string_view else_it,
                                           std::string& note) const;
  base::Result<void> record(Session& session, std::string_view event, const model::Action& action,
                            model::Outcome outcome, std::string_view undo_of = {}) const;
  base::Result<Session> begin(const model::Action& action, const CgroupHandle* place,
                              const model::Outcome& planned) const;

  Options options_;
  cgroup::HostHierarchies host_;
  base::Monotonic begun_{};
  std::unique_ptr<Systemd> systemd_;
  std::optional<Unit> unit_;  // of the action that is going on
};

}  // namespace cgwarden::control
