// SPDX-License-Identifier: Apache-2.0
// The cgroup hierarchies of this host and their mount points: v2, v1 with separate or co-mounted controllers, hybrid,
// and named v1 hierarchies.
//
// Source: /proc/PID/mountinfo (proc_pid_mountinfo(5)) and /proc/cgroups. The parsers are pure functions of text.
// Thread: any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace cgwarden::cgroup {

struct Hierarchy {
  int version = 2;
  std::vector<std::string> controllers;  // v1: from the mount options; v2: cgroup.controllers of the mounted root
  std::string name;                      // name of a named v1 hierarchy, such as "systemd"; else empty
  std::string mount_point;               // path by which this process can reach it
  std::string root = "/";                // path, in the hierarchy, of the cgroup at the mount point

  [[nodiscard]] bool has(std::string_view controller) const;
  // "cpu,cpuacct", "name=systemd", "v2"
  [[nodiscard]] std::string title() const;
};

// Paths under which the host is read. A recorded host or one mounted into a container (`/host/proc`) has other paths.
struct HostPaths {
  std::string procfs = "/proc";
  std::string sysfs = "/sys";
  std::string cgroupfs;  // replaces /sys/fs/cgroup; empty: the mount points of mountinfo under rootfs
  std::string rootfs = "/";
};

// Returns one mount per hierarchy: the one with the shortest root, which shows the most cgroups, or the first of
// equals. The controllers of v2 are not set, because mountinfo does not list them.
std::vector<Hierarchy> parse_mountinfo(std::string_view mountinfo);

// Returns the enabled controllers that are attached to no v1 hierarchy (column "hierarchy" is 0).
std::vector<std::string> parse_unbound_controllers(std::string_view proc_cgroups);

struct HostHierarchies {
  std::vector<Hierarchy> all;        // mount points are already translated by HostPaths
  std::vector<std::string> unbound;  // controllers that neither v1 nor v2 offers, so that they have no files

  [[nodiscard]] const Hierarchy* v2() const;
  // Returns "hybrid", "v1", "v2" or "none".
  [[nodiscard]] std::string_view layout() const;
  // Returns one line for the log: "hybrid: v1 cpu memory ...; v2 hugetlb; not mounted: net_cls"
  [[nodiscard]] std::string summary() const;
};

// Error: mountinfo cannot be read, no cgroup file system is mounted, or none of them can be opened.
base::Result<HostHierarchies> find_hierarchies(const HostPaths& paths);

}  // namespace cgwarden::cgroup
