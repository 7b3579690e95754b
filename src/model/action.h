// SPDX-License-Identifier: Apache-2.0
// What may be done to a cgroup, asked by a person or by a policy, and how it ended. The words that deciding
// (src/policy), asking (cgtop, the enforcer's socket) and doing (src/control) share. Data only: nothing here writes.
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

// One life of one cgroup: Cgroup::path and Cgroup::id of a snapshot. The id is looked at again at the moment of
// writing, so a cgroup that was made again under the same path is never hit for the old one. id 0: whatever stands
// there now, which only a person may say.
struct CgroupRef {
  std::string path;
  std::uint64_t id = 0;
};

// Something that can be set, by the name that users type. v1's file is another; src/control/settings.cpp has which.
struct SettingKey {
  enum class Form : std::uint8_t {
    number,  // a Value in the fixed point of `unit`
    list,    // text: "0-3,8"; empty: inherit (v2)
    rule,    // text: a rule of v1's devices controller, "c 1:3 rwm"
  };
  enum class Device : std::uint8_t {
    none,
    disk,           // "vda", "/dev/vda", "254:0", or a path of which the disk is meant
    optional_disk,  // the same, or the default of all disks
    page_size,      // "2MB"
    resource,       // of the rdma and misc controllers: "mlx4_0", "sev"
    interface,      // "eth0"
  };
  std::string_view name;
  Form form = Form::number;
  Unit unit = Unit::none;
  Device device = Device::none;
  std::int64_t lowest = 0;  // in the fixed point of the unit
  std::int64_t highest = 0;
  bool unlimited = false;  // "max" may be said
  std::string_view help;
};

// All keys, in order of their names.
std::span<const SettingKey> setting_keys();
const SettingKey* find_setting_key(std::string_view name);

// What the number of a Setting is.
enum class Basis : std::uint8_t {
  absolute,
  percent_of_machine,  // of its memory, swap, CPUs; Value in hundredths of a percent
  change,              // added to what is set now
  percent_change,      // the same, in hundredths of a percent of what is set now
};

struct Setting {
  std::string key;  // of setting_keys()
  std::string device;
  Value value;  // a number or unlimited; negative only as a change
  Basis basis = Basis::absolute;
  std::string text;  // of Form::list and Form::rule
  // Bounds for what a change comes to; absent: none.
  Value at_least;
  Value at_most;

  friend bool operator==(const Setting&, const Setting&) = default;
};

// "memory.max" "512M", "max", "50%", "+10%", "-256M"; "cpu.max" "250%" or "2.5" (cores); "io.max.wbps" "50M" with
// device "vda"; "cpuset.cpus" "0-3". Sizes: K M G T P with or without iB are 1024, KB MB ... 1000. Error: one line that
// names the nearest key, or what the value may be.
base::Result<Setting> parse_setting(std::string_view key, std::string_view device, std::string_view value);
// "memory.max=512M", "io.max.wbps@vda=50M"
base::Result<Setting> parse_setting(std::string_view text);
// The same, back: "memory.max=536870912".
std::string to_text(const Setting& setting);
// "512M" -> bytes.
base::Result<std::int64_t> parse_size(std::string_view text);
// "90s", "1m30s", "500ms", "2" (seconds), at most 30 days.
base::Result<std::chrono::milliseconds> parse_timespan(std::string_view text);
// "TERM", "SIGTERM", "15"
std::optional<int> signal_of(std::string_view name);

// Who asks. Credentials are the kernel's (SO_PEERCRED), never those that a message claims.
struct Actor {
  enum class Via : std::uint8_t { command_line, socket, policy };
  Via via = Via::command_line;
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  std::string rule;  // of a policy
};

// Why, for the audit and for people: the numbers that made the decision.
struct Reason {
  std::string text;                                          // one line
  std::vector<std::pair<std::string, std::string>> numbers;  // {"pressure_memory_some_avg10", "14.2"}, {"above", "10"}
};

struct Action {
  Verb verb = Verb::limit;
  CgroupRef cgroup;
  std::vector<Setting> settings;  // limit: what; unlimit: which (values unused; none: all that this program set)
  // limit: afterwards what was set before comes back; freeze: afterwards it is thawed. Absent: a limit stays, a freeze
  // ends after the default time, as a freeze always ends.
  std::optional<std::chrono::milliseconds> lease;
  std::optional<std::chrono::milliseconds> wait;  // how long to wait for the end of freeze, kill; absent: 5 s
  int signal = 0;                                 // kill: sent first, 0: none; signal: which
  std::chrono::milliseconds grace{0};             // kill: between that signal and the kill
  std::int64_t bytes = 0;                         // reclaim
  std::vector<pid_t> pids;                        // move: which; signal: which, none: all
  CgroupRef target;                               // move: where to
  bool force = false;                             // a limit below what is in use; never overrides any other guard
  bool persist = false;                           // systemd keeps it over a reboot
  bool dry_run = false;                           // plan and check, write nothing
  Actor actor;
  Reason reason;
};

// One write.
struct Change {
  std::string where;   // "memory.max", "cpu:cpu.cfs_quota_us", "systemd:MemoryMax"
  std::string before;  // as the kernel said; empty: unknown
  std::string asked;
  std::string after;  // read back; empty in a dry run
};

struct Outcome {
  enum class Kind : std::uint8_t {
    done,         // and read back; in a dry run: would work
    failed,       // unexpected; what had been written was undone
    usage,        // the action makes no sense: unknown key, value out of range, unknown device
    gone,         // there is no such cgroup any more
    denied,       // no permission
    unreachable,  // enforcer or bus needed and not to be reached
    refused,      // by a guard: nothing changed
    partly,       // some of it was done and could not be undone: see changes
    timeout,      // a freeze that did not finish and was thawed, a kill that left processes
  };
  Kind kind = Kind::done;
  std::string guard;  // refused: which: "root", "init", "self", "kubepods", "below-use", ...
  std::string text;   // one line: what happened, why, and the way out
  std::vector<Change> changes;
  std::string undo;   // id for undo; empty: nothing to undo. Of a dry run of undo: what would be undone
  std::string route;  // "cgroupfs", "systemd"
  std::chrono::microseconds duration{0};
  std::int64_t processes = 0;  // killed, signalled or moved
  std::int64_t bytes = 0;      // reclaimed
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
// As documented for cgtop: 0 done, 1 unexpected, 2 usage, 3 not found, 4 permission, 5 unreachable, 6 refused, 7
// partly, 8 timeout.
constexpr int exit_code(Outcome::Kind kind) { return static_cast<int>(kind); }

// Who does it: the writer itself, or the enforcer behind its socket. Calls `done` exactly once, on the caller's
// executor. One action of one cgroup at a time, in the order asked.
using ActionHandler = std::function<void(Action action, std::function<void(Outcome)> done)>;

}  // namespace cgwarden::model
