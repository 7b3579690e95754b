// SPDX-License-Identifier: Apache-2.0
// Actions on cgroups, requested by a person or a policy, and their outcomes. Shared by the rooms that decide
// (src/policy), request (cgtop, the socket of the enforcer) and execute (src/control). Data only: nothing here writes.
//
//   Action{verb limit, cgroup, settings{memory.max 512 MiB}, lease 1 h, reason}  ->  Outcome{done, changes, undo}
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/result.h"
#include "src/model/field.h"
#include "src/model/value.h"

namespace cgwarden::model {

enum class Verb : std::uint8_t { limit, unlimit, freeze, thaw, kill, signal, reclaim, move };

constexpr std::string_view name(Verb verb) {
  constexpr std::string_view names[] = {"limit", "unlimit", "freeze", "thaw", "kill", "signal", "reclaim", "move"};
  return names[static_cast<std::size_t>(verb)];
}
std::optional<Verb> verb_of(std::string_view name);

// One instance of a cgroup: Cgroup::path and Cgroup::id of a snapshot. The id is verified again immediately before each
// write, so an action never affects a new cgroup that was created under the same path. id 0: the present cgroup at the
// path; only actions requested by a person may use it.
struct CgroupRef {
  std::string path;
  std::uint64_t id = 0;
};

// A setting, by the name that users type: the v2 name, also on v1. src/control/settings.cpp maps it to v1 files.
struct SettingKey {
  enum class Form : std::uint8_t {
    number,  // a Value in the fixed point of `unit`
    list,    // text: "0-3,8"; empty: inherit (v2)
    rule,    // text: a rule of the v1 devices controller, "c 1:3 rwm"
  };
  enum class Device : std::uint8_t {
    none,
    disk,           // "vda", "/dev/vda", "254:0", or a path on the disk
    optional_disk,  // the same; empty: the default of all disks
    page_size,      // "2MB"
    resource,       // of the rdma or misc controller: "mlx4_0", "sev"
    interface,      // "eth0"
  };
  std::string_view name;
  Form form = Form::number;
  Unit unit = Unit::none;
  Device device = Device::none;
  std::int64_t lowest = 0;  // in the fixed point of the unit
  std::int64_t highest = 0;
  bool unlimited = false;  // accepts "max"
  std::string_view help;   // noun phrase in lower case, without a period
};

// All keys, sorted by name.
std::span<const SettingKey> setting_keys();
// nullptr: there is no such key.
const SettingKey* find_setting_key(std::string_view name);

// The meaning of the number in a Setting.
enum class Basis : std::uint8_t {
  absolute,
  percent_of_machine,  // of the memory, swap or CPUs of the host; Value in hundredths of a percent
  change,              // added to the present value
  percent_change,      // added to the present value; in hundredths of a percent of it
};

struct Setting {
  std::string key;  // a name of setting_keys()
  std::string device;
  Value value;  // a number or unlimited; negative only for changes
  Basis basis = Basis::absolute;
  std::string text;  // for Form::list and Form::rule
  // Bounds of the result of a change; absent: no bound.
  Value at_least;
  Value at_most;

  friend bool operator==(const Setting&, const Setting&) = default;
};

// "memory.max" "512M", "max", "50%", "+10%", "-256M"; "cpu.max" "250%" or "2.5" (cores); "io.max.wbps" "50M" with
// device "vda"; "cpuset.cpus" "0-3". Sizes: K M G T P, with or without iB, are powers of 1024; KB MB ... are powers of
// 1000. Error: one line "KEY=VALUE: what failed; expected form", or "unknown key" with the nearest key.
base::Result<Setting> parse_setting(std::string_view key, std::string_view device, std::string_view value);
// "memory.max=512M", "io.max.wbps@vda=50M"
base::Result<Setting> parse_setting(std::string_view text);
// The inverse of parse_setting: "memory.max=536870912".
std::string to_text(const Setting& setting);
// "512M" -> bytes.
base::Result<std::int64_t> parse_size(std::string_view text);
// "90s", "1m30s", "500ms", "2" (seconds), at most 30 days.
base::Result<std::chrono::milliseconds> parse_timespan(std::string_view text);
// The number of a signal: "TERM", "SIGTERM", "15". nullopt: there is no such signal.
std::optional<int> signal_of(std::string_view name);

// The origin of an action. Credentials come from the kernel (SO_PEERCRED), never from a message.
struct Actor {
  enum class Via : std::uint8_t { command_line, socket, policy };
  Via via = Via::command_line;
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  std::string rule;  // name of the policy rule; empty: none
};

// The reason of an action, for audit records and screens: a text and the values that led to the decision.
struct Reason {
  std::string text;                                          // one line
  std::vector<std::pair<std::string, std::string>> numbers;  // {"pressure_memory_some_avg10", "14.2"}, {"above", "10"}
};

struct Action {
  Verb verb = Verb::limit;
  CgroupRef cgroup;
  std::vector<Setting>
      settings;  // limit: what to set; unlimit: keys to restore (values unused; empty: all set by cgwarden)
  // Duration of the action. After it expires, a limit is restored to the previous value and a freeze is thawed. Absent:
  // a limit is permanent; a freeze, which is never permanent, ends after the default duration.
  std::optional<std::chrono::milliseconds> lease;
  std::optional<std::chrono::milliseconds> wait;  // timeout for freeze and kill to complete; absent: 5 s
  int signal = 0;                                 // kill: signal to send first, 0: none; signal: signal to send
  std::chrono::milliseconds grace{0};             // kill: time between that signal and the kill
  std::int64_t bytes = 0;                         // reclaim: amount
  std::vector<pid_t> pids;                        // move: processes to move; signal: processes, empty: all
  CgroupRef target;                               // move: destination
  bool force = false;                             // allows a limit below the present usage; overrides no other guard
  bool persist = false;                           // systemd restores the setting after a reboot
  bool dry_run = false;                           // plans and validates without writing
  Actor actor;
  Reason reason;
};

// One write to one file or property.
struct Change {
  std::string where;   // "memory.max", "cpu:cpu.cfs_quota_us", "systemd:MemoryMax"
  std::string before;  // as read from the kernel; empty: unknown
  std::string requested;
  std::string after;  // as read back; empty in a dry run
};

struct Outcome {
  enum class Kind : std::uint8_t {
    done,         // written and verified by reading back; in a dry run: would succeed
    failed,       // unexpected error; completed writes were undone
    usage,        // invalid action: unknown key, value out of range, unknown device
    gone,         // the cgroup does not exist anymore
    denied,       // permission denied
    unreachable,  // the enforcer or D-Bus is needed but not reachable
    refused,      // refused by a guard; nothing changed
    partly,       // some writes succeeded and could not be undone; see `changes`
    timeout,      // a freeze did not complete and was thawed, or a kill left processes
  };
  Kind kind = Kind::done;
  std::string guard;  // of refused: "root", "init", "self", "kubepods", "below-use", ...
  std::string text;   // one line: result, reason, and hint
  std::vector<Change> changes;
  std::string undo;   // id for undo; empty: nothing to undo. In a dry run of undo: what would be undone
  std::string route;  // "cgroupfs", "systemd"
  std::chrono::microseconds duration{0};
  std::int64_t processes = 0;  // number killed, signaled or moved
  std::int64_t bytes = 0;      // number reclaimed
  bool dry_run = false;

  [[nodiscard]] bool ok() const { return kind == Kind::done; }
};

inline Outcome outcome_of(Outcome::Kind kind, std::string text, std::string guard = {}) {
  Outcome out;
  out.kind = kind;
  out.text = std::move(text);
  out.guard = std::move(guard);
  return out;
}

constexpr std::string_view name(Outcome::Kind kind) {
  constexpr std::string_view names[] = {"done",        "failed",  "usage",  "gone",   "denied",
                                        "unreachable", "refused", "partly", "timeout"};
  return names[static_cast<std::size_t>(kind)];
}
// Exit status of cgtop, as documented: 0 done, 1 failed, 2 usage, 3 cgroup not found, 4 permission denied, 5
// unreachable, 6 refused, 7 partly done, 8 timeout.
constexpr int exit_code(Outcome::Kind kind) { return static_cast<int>(kind); }

// Executes an action: directly, or through the socket of the enforcer. Calls `done` exactly once, on the executor of
// the caller. Actions on one cgroup are executed one at a time, in the order of requests.
using ActionHandler = std::function<void(Action action, std::function<void(Outcome)> done)>;

}  // namespace cgwarden::model
