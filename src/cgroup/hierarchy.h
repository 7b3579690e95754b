// SPDX-License-Identifier: Apache-2.0
// Which cgroup hierarchies this host has, and where they are mounted: v2, v1 with each controller apart or joined,
// hybrid, named ones. Source: /proc/PID/mountinfo (proc(5)) and /proc/cgroups. Parsers are pure functions of text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace cgwarden::cgroup {

struct Hierarchy {
  int version = 2;
  std::vector<std::string> controllers;  // v1: of its mount options; v2: what the topmost cgroup offers
  std::string name;                      // of a named v1 hierarchy: "systemd"
  std::string mount_point;               // as this process reaches it
  std::string root = "/";                // cgroup path of the mount's topmost directory

  [[nodiscard]] bool has(std::string_view controller) const;
  // "cpu,cpuacct", "name=systemd", "v2"
  [[nodiscard]] std::string title() const;
};

// Where the host is seen. A recorded or a mounted host (`/host/proc`) is read through other paths than "/".
struct HostPaths {
  std::string procfs = "/proc";
  std::string sysfs = "/sys";
  std::string cgroupfs;  // stands for /sys/fs/cgroup; empty: below rootfs, where mountinfo says
  std::string rootfs = "/";
};

// Of each hierarchy the mount that shows most of it (shortest root) and came first. v2 controllers are not known here.
std::vector<Hierarchy> parse_mountinfo(std::string_view mountinfo);

// Names of the enabled controllers that no v1 hierarchy is bound to ("hierarchy" column 0).
std::vector<std::string> parse_unbound_controllers(std::string_view proc_cgroups);

struct HostHierarchies {
  std::vector<Hierarchy> all;        // mount points already translated by HostPaths
  std::vector<std::string> unbound;  // controllers neither v1 nor v2 serves: nothing to read there

  [[nodiscard]] const Hierarchy* v2() const;
  // "hybrid", "v1", "v2", "none"
  [[nodiscard]] std::string_view layout() const;
  // One line for the log: "hybrid: v1 cpu memory ...; v2 hugetlb; unbound net_cls"
  [[nodiscard]] std::string summary() const;
};

// Error: mountinfo cannot be read, or no cgroup file system is mounted.
base::Result<HostHierarchies> find_hierarchies(const HostPaths& paths);

}  // namespace cgwarden::cgroup
