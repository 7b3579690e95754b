// SPDX-License-Identifier: Apache-2.0
// The only component that writes to cgroups. Every action takes the same steps:
//
//   open the cgroup -> guards -> plan (reads only) -> [a dry run ends here] -> lock -> audit "begin"
//     -> verify that it is the same instance -> undo log -> write, read back -> undo all on failure -> audit "end"
//
// Calls block: the kernel reclaims memory within a write, and a freeze waits until the last task has stopped. A program
// with an event loop therefore runs it in a thread of its own; all calls come from one thread. A lock file serializes
// processes that act at the same time (cgtop, the enforcer).
//
// Errors: reported in the Outcome, never thrown.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/cgroup/hierarchy.h"
#include "src/control/audit.h"
#include "src/control/guards.h"
#include "src/control/operations.h"
#include "src/control/runtime_api.h"
#include "src/control/settings.h"
#include "src/control/systemd.h"
#include "src/control/undo_log.h"
#include "src/model/action.h"

namespace cgwarden::control {

inline constexpr const char* kStateDirectory = "/run/cgwarden-control";
inline constexpr const char* kAuditFile = "/var/log/cgwarden/audit.jsonl";
inline constexpr std::chrono::milliseconds kDefaultFreeze{60'000};  // if the action has no lease
inline constexpr std::chrono::milliseconds kMaxFreeze{3'600'000};
inline constexpr std::chrono::milliseconds kDefaultWait{5000};

enum class LeaseEventKind { ended, lost, gone, failed };

class Writer {
 public:
  struct Options {
    cgroup::HostPaths paths;
    std::string state_directory = kStateDirectory;
    std::string audit_file = kAuditFile;
    bool journal = true;
    bool systemd = true;               // act on units through systemd if the host was booted with it
    RuntimeSockets runtime_sockets;    // notified of changes to their containers
    std::vector<std::string> protect;  // patterns of further protected cgroups
    // End freezes when this process exits (the enforcer). Otherwise they end with their lease only, as cgtop exits at
    // once.
    bool thaw_on_exit = false;
    // Program and first arguments of the command that undoes an expired limit; the id is appended. Empty: the caller of
    // expire_leases() undoes it.
    std::vector<std::string> restore_command;
  };

  // Error: no cgroup file system is mounted.
  static base::Result<std::unique_ptr<Writer>> open(Options options);

  model::Outcome apply(const model::Action& action);
  // Restores the values from before the action with this id (empty: the latest), unless another program changed them
  // since. A dry run returns the id in Outcome::undo.
  model::Outcome undo(const std::string& id, const model::Actor& actor, bool dry_run, bool lease_ended = false);

  // A lease that ended: expired and undone, lost to a change by another program, gone with its cgroup, or failed to
  // undo.
  struct LeaseEvent {
    LeaseEventKind kind = LeaseEventKind::ended;
    UndoEntry entry;
    model::Outcome outcome;
  };
  // Undoes expired leases. Called by the enforcer every second.
  std::vector<LeaseEvent> expire_leases();
  // All entries of the undo log, for status and metrics.
  [[nodiscard]] std::vector<UndoEntry> entries() const;
  [[nodiscard]] const cgroup::HostHierarchies& host() const { return host_; }

 private:
  struct Session;  // lock, audit and undo log of one action

  explicit Writer(Options options, cgroup::HostHierarchies host)
      : options_(std::move(options)), host_(std::move(host)) {}

  model::Outcome act(const model::Action& action);
  model::Outcome limit(const model::Action& action, const CgroupHandle& handle);
  model::Outcome unlimit(const model::Action& action, const CgroupHandle& handle);
  model::Outcome freeze_cgroup(const model::Action& action, const CgroupHandle& handle);
  model::Outcome thaw_cgroup(const model::Action& action, const CgroupHandle& handle);
  model::Outcome kill_cgroup(const model::Action& action, const CgroupHandle& handle);
  model::Outcome signal_cgroup(const model::Action& action, const CgroupHandle& handle);
  model::Outcome reclaim_cgroup(const model::Action& action, const CgroupHandle& handle);
  model::Outcome move_processes(const model::Action& action, const CgroupHandle& handle);
  model::Outcome write_plan(const model::Action& action, const CgroupHandle& handle, const WritePlan& plan,
                            std::string_view undo_of);
  model::Outcome restore(const UndoEntry& entry, const model::Action& as, bool lease_ended);
  [[nodiscard]] std::optional<model::Outcome> guard(const model::Action& action, std::string_view path) const;
  // The systemd unit that the action must go through; nullopt: write the cgroup files directly.
  Checked<std::optional<Unit>> find_unit(const model::Action& action, const CgroupHandle& handle);
  // The container of this cgroup; nullopt if no runtime can be notified, and `note` then explains the consequence.
  std::optional<RuntimeContainer> runtime_container(const CgroupHandle& handle, std::string_view else_it,
                                                    std::string& note) const;
  base::Result<void> append_audit(Session& session, std::string_view event, const model::Action& action,
                                  model::Outcome outcome, std::string_view undo_of = {}) const;
  base::Result<Session> begin_session(const model::Action& action, const CgroupHandle* handle,
                                      const model::Outcome& planned) const;

  Options options_;
  cgroup::HostHierarchies host_;
  base::Monotonic started_at_{};
  std::unique_ptr<Systemd> systemd_;
  std::optional<Unit> unit_;  // of the current action
};

}  // namespace cgwarden::control
