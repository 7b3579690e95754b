// SPDX-License-Identifier: Apache-2.0
// The host itself as a source: the only file of cgtop that reads the kernel. Everything that is readable without rights
// is read; the rest is absent.
#pragma once

#include <optional>
#include <string>

#include "collectors/collection.h"
#include "src/cgtop/host.h"
#include "src/discovery/resolver.h"

namespace cgwarden::cgtop {

collectors::CollectionOptions live_options(const cgroup::HostPaths& paths);

// Names of containers, pods and units, from what runtimes leave on disk.
class Names {
 public:
  explicit Names(const cgroup::HostPaths& paths);
  // Looks again at what changed, and adds to the snapshot what is known.
  void complete(model::Snapshot& snapshot);

 private:
  discovery::Resolver resolver_;
};

// The cgroup a process is in: of v2, or of the first v1 hierarchy that has a controller.
std::optional<std::string> cgroup_of_pid(const cgroup::HostPaths& paths, int pid);

// Who is in the cgroup; with `recursive` also in those below it.
Processes read_processes(const cgroup::HostPaths& paths, const cgroup::HostHierarchies& hierarchies,
                         const std::string& cgroup, bool recursive);

// One finding of `cgtop doctor`.
struct Finding {
  enum class Grade { good, note, problem };
  Grade grade = Grade::good;
  std::string what;
  std::string remedy;  // empty when there is nothing to mend
};
std::vector<Finding> examine(const cgroup::HostPaths& paths);

}  // namespace cgwarden::cgtop
