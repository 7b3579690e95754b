// SPDX-License-Identifier: Apache-2.0
// Cgroups on which no action is executed, not even for root: the root cgroup, the cgroups of PID 1, of the requesting
// and of the acting process, of services that are needed to undo a mistake, and those that an orchestrator manages. No
// policy and no flag disables these guards.
//
// facts (from /proc, read at the time of the action)  +  action  ->  name of the guard and reason, or nullopt
//
// The decision is a pure function of the facts, so that it can be tested on random trees. A program is identified by
// its executable file, which a process cannot fake as it can its name, and only if it belongs to the system (user id
// below 1000, in the initial pid namespace): a container that runs sshd is not protected.
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

struct ProtectedProcess {
  std::string guard;               // "init", "self", "session", "system"
  std::string description;         // "sshd (pid 812)"
  std::vector<std::string> paths;  // of its cgroups in all hierarchies
};

struct GuardFacts {
  std::vector<ProtectedProcess> processes;
  std::vector<std::string> patterns;  // further paths to protect: fnmatch(3) patterns whose '*' matches '/' too
};

// Reads all processes once. The requesting processes and this process are protected, with all their ancestors.
GuardFacts find_protected_processes(const std::string& proc, std::span<const pid_t> requesters);

struct GuardVerdict {
  std::string guard;
  std::string text;
};
// nullopt: allowed. Thawing a cgroup and undoing a limit are always allowed, except on the root cgroup.
std::optional<GuardVerdict> check_guards(const GuardFacts& facts, model::Verb verb, std::string_view path);

// ManagedOOMPreference=omit of a unit at or below the cgroup, which systemd stores as an extended attribute of the
// directory (systemd-oomd.service(8)). It applies to policy rules only, not to a person who kills. An attribute that a
// user other than root could have set is ignored.
std::optional<GuardVerdict> check_oom_preference(const CgroupHandle& handle);

// Names of the programs that the guard "system" protects.
std::span<const std::string_view> protected_programs();

// What a user may do through the enforcer. Root and members of the enforcer's Unix group may act on all cgroups; other
// users on subtrees delegated to them, on v2 only (delegation is not a security boundary on v1).
struct Permissions {
  bool admin = false;
  uid_t uid = 0;
};
// The owner of a delegated subtree may freeze and kill its root cgroup; the limits of the root belong to the delegating
// user. nullopt: allowed.
std::optional<GuardVerdict> check_permissions(const Permissions& rights, const cgroup::HostHierarchies& host,
                                              model::Verb verb, const model::CgroupRef& cgroup);

}  // namespace cgwarden::control
