// SPDX-License-Identifier: Apache-2.0
// This host as a sample source: the only file of cgtop that reads the kernel. Reads everything that the privileges of
// the caller allow; other values are absent.
#pragma once

#include <optional>
#include <string>

#include "collectors/collection.h"
#include "src/cgtop/host.h"
#include "src/discovery/resolver.h"

namespace cgwarden::cgtop {

// Raises the soft limit of open files (RLIMIT_NOFILE) to the hard limit and divides it between collectors and
// directories.
collectors::CollectionOptions live_options(const cgroup::HostPaths& paths);

// Names of containers, pods and units, from the state files of the runtimes.
class ContainerNames {
 public:
  explicit ContainerNames(const cgroup::HostPaths& paths);
  // Rereads state files that changed and stores the names in the snapshot.
  void complete(model::Snapshot& snapshot);

 private:
  discovery::Resolver resolver_;
};

// The cgroup of a process: the deepest of its paths in the hierarchies of /proc/PID/cgroup, except named ones. nullopt
// if the process is not readable.
std::optional<std::string> cgroup_of_pid(const cgroup::HostPaths& paths, int pid);

// The processes of the cgroup; with `recursive` also those of its descendants.
Processes read_processes(const cgroup::HostPaths& paths, const cgroup::HostHierarchies& hierarchies,
                         const std::string& cgroup, bool recursive);

// One finding of `cgtop doctor`.
struct Finding {
  enum class Grade { good, note, problem };
  Grade grade = Grade::good;
  std::string what;
  std::string remedy;  // what to do; empty if no action is needed
};
// Checks hierarchies, controllers, pressure, privileges, runtimes and the limit of open files.
std::vector<Finding> examine(const cgroup::HostPaths& paths);

}  // namespace cgwarden::cgtop
