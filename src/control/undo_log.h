// SPDX-License-Identifier: Apache-2.0
// The undo log: actions that can be undone, and leases that must be undone when they expire. One file per action in the
// state directory, written before the action, so that it survives a crash of the writer. The directory lasts for one
// boot only (/run), as the settings in the kernel do.
//
// Thread: the writer's, under the lock. Errors: the directory cannot be written, or other users could write to it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "src/base/fd.h"
#include "src/base/result.h"
#include "src/control/settings.h"
#include "src/model/action.h"

namespace cgwarden::control {

// Nanoseconds of CLOCK_BOOTTIME: includes suspend and restarts at each boot.
std::int64_t boottime_now();

struct UndoEntry {
  struct Part {
    std::string hierarchy;  // "v2", "memory"
    std::string file;
    std::string key;
    std::string device;
    std::string restore;
    std::string after;        // value after the action; empty: unknown, because the writer crashed
    bool by_systemd = false;  // systemd writes it; the file is only compared
  };
  std::string id;
  model::Verb verb = model::Verb::limit;
  std::string path;
  std::uint64_t cgroup = 0;
  std::string route;
  std::int64_t expires = 0;      // of boottime_now(); 0: never
  bool ended_by_helper = false;  // a helper process ends the lease, not the enforcer
  bool persist = false;
  std::int64_t created = 0;
  uid_t uid = 0;  // of the requester
  std::string rule;
  std::vector<Part> parts;
  std::string unit;                      // of the route "systemd"
  std::vector<UnitProperty> properties;  // previous values
  std::vector<pid_t> pids;               // of a move
  std::string target;

  [[nodiscard]] bool is_lease() const { return expires != 0; }
};

std::string to_json(const UndoEntry& entry);
base::Result<UndoEntry> parse_undo_entry(std::string_view text);

class UndoLog {
 public:
  static constexpr std::size_t kMaxLeases = 1024;
  static constexpr std::size_t kMaxUndoEntries = 256;  // the oldest are dropped

  // `create`: creates the directory (0755) if it is missing. A dry run only reads and creates nothing.
  static base::Result<UndoLog> open(const std::string& directory, bool create);
  // Exclusive lock across all processes. Waits at most five seconds.
  base::Result<base::Fd> lock() const;

  // Durable when it returns.
  base::Result<void> put(const UndoEntry& entry) const;
  void remove(const std::string& id) const;
  // Oldest first. Invalid files are ignored.
  [[nodiscard]] std::vector<UndoEntry> all() const;
  [[nodiscard]] std::optional<UndoEntry> find(const std::string& id) const;
  void drop_oldest() const;
  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] int fd() const { return dir_.get(); }
  [[nodiscard]] static std::string file_name_of(const std::string& id) { return id + ".json"; }

 private:
  std::string directory_;
  base::Fd dir_;
};

// Eight hexadecimal digits.
std::string new_id();
bool is_id(std::string_view text);

}  // namespace cgwarden::control
