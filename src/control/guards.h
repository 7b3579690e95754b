// SPDX-License-Identifier: Apache-2.0
// What is never acted on, whoever asks: the root cgroup, the first process, whatever the asking and the acting process
// live in, the services without which nobody could undo a mistake, and what an orchestrator writes itself. No policy
// and no flag switches these off.
//
//   facts (from /proc, at the moment of acting)  +  action  ->  a guard's name and why, or nothing
//
// Deciding is a pure function of the facts, so random trees can be tried on it. A process's program counts by its
// executable file, which a process cannot choose as it can its name, and only if it belongs to the system (user id
// below 1000, in the first pid namespace): a container that runs an sshd is not protected.
#pragma once

#include <sys/types.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/cgroup/hierarchy.h"
#include "src/model/action.h"

namespace cgwarden::control {

class CgroupHandle;

struct Protected {
  std::string guard;               // "init", "self", "session", "system"
  std::string who;                 // "sshd (pid 812)"
  std::vector<std::string> paths;  // of its cgroups, over all hierarchies
};

struct GuardFacts {
  std::vector<Protected> processes;
  std::vector<std::string> patterns;  // further paths to protect, as fnmatch(3) with '/' matched by '*'
};

// Looks at all processes once. `asking` is protected with all its ancestors, as is this process.
GuardFacts look_at_processes(const std::string& proc, std::span<const pid_t> asking);

struct Guarded {
  std::string guard;
  std::string text;
};
// Nothing: it may be done. Thawing is always allowed but for the root cgroup, and so is taking a limit back.
std::optional<Guarded> guard_of(const GuardFacts& facts, model::Verb verb, std::string_view path);

// ManagedOOMPreference=omit of a unit in or at the cgroup, which systemd marks on the directory
// (systemd-oomd.service(8)). It counts for rules: whoever kills by hand has a reason. A mark that somebody else but
// root could have set is none.
std::optional<Guarded> spared_from_kills(const CgroupHandle& place);

// The names of programs that "system" protects.
std::span<const std::string_view> protected_programs();

// May this user act on the cgroup through the enforcer? Root and members of the enforcer's group on all; others on what
// they own: a subtree delegated to them, on v2 only (v1's delegation is no border).
struct Rights {
  bool admin = false;
  uid_t uid = 0;
};
// The topmost cgroup of a delegated subtree is its owner's to stop and to end; its limits are of those who delegated
// it.
std::optional<Guarded> rights_of(const Rights& rights, const cgroup::HostHierarchies& host, model::Verb verb,
                                 const model::CgroupRef& cgroup);

}  // namespace cgwarden::control
