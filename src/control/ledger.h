// SPDX-License-Identifier: Apache-2.0
// What can be taken back, and what must be when its time is up: a file per action in the state directory, written
// before the action and so still there when the writer dies. The directory is of this boot only (/run), as what the
// kernel was told is, too.
//
// Thread: the writer's, under the lock. Errors: the directory cannot be written, or others could write it.
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

// Nanoseconds of CLOCK_BOOTTIME: goes on while the machine sleeps, and begins anew with each boot.
std::int64_t boottime_now();

struct Entry {
  struct Part {
    std::string hierarchy;  // "v2", "memory"
    std::string file;
    std::string key;
    std::string device;
    std::string restore;
    std::string after;     // what we left there; empty: not known, as the writer died before it was
    bool by_unit = false;  // systemd writes it: only looked at
  };
  std::string id;
  model::Verb verb = model::Verb::limit;
  std::string path;
  std::uint64_t cgroup = 0;
  std::string route;
  std::int64_t expires = 0;     // of boottime_now(); 0: never
  bool kept_by_helper = false;  // a process of its own ends the lease, not the enforcer
  bool persist = false;
  std::int64_t made = 0;
  uid_t uid = 0;  // who asked
  std::string rule;
  std::vector<Part> parts;
  std::string unit;                      // of the route "systemd"
  std::vector<UnitProperty> properties;  // as they were
  std::vector<pid_t> pids;               // of a move
  std::string target;

  [[nodiscard]] bool is_lease() const { return expires != 0; }
};

std::string to_json(const Entry& entry);
base::Result<Entry> parse_entry(std::string_view text);

class Ledger {
 public:
  static constexpr std::size_t kMaxLeases = 1024;
  static constexpr std::size_t kMaxUndo = 256;  // the oldest are forgotten

  // `make`: makes the directory (0755) if need be. Reading does not, so a dry run leaves nothing behind.
  static base::Result<Ledger> open(const std::string& directory, bool make);
  // One writer at a time, over all processes. Waits at most five seconds.
  base::Result<base::Fd> lock() const;

  // Durable when it returns.
  base::Result<void> put(const Entry& entry) const;
  void remove(const std::string& id) const;
  // Oldest first. Files that are none of ours are passed over.
  [[nodiscard]] std::vector<Entry> all() const;
  [[nodiscard]] std::optional<Entry> find(const std::string& id) const;
  void forget_oldest() const;
  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] int fd() const { return dir_.get(); }
  [[nodiscard]] static std::string file_of(const std::string& id) { return id + ".json"; }

 private:
  std::string directory_;
  base::Fd dir_;
};

// Eight hexadecimal digits.
std::string new_id();
bool is_id(std::string_view text);

}  // namespace cgwarden::control
