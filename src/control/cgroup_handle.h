// SPDX-License-Identifier: Apache-2.0
// One instance of one cgroup, held by open directories: one in each hierarchy that has the path. A write goes to these
// directories or fails with ENODEV; it never reaches a later cgroup with the same path.
//
// Thread: the writer's. Errors: Error::code is ENOENT if the cgroup does not exist, ESTALE if another instance has the
// path now.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/fd.h"
#include "src/base/result.h"
#include "src/cgroup/hierarchy.h"
#include "src/model/action.h"

namespace cgwarden::control {

// Reads a whole interface file of an open directory. Also ENOENT if the name is not a regular file: a child cgroup may
// be named "memory.max".
base::Result<std::string> read_file(int dir, const std::string& file);
// Writes one value with one write(2).
base::Result<void> write_file(int dir, const std::string& file, std::string_view text);
// Names of the child cgroups.
std::vector<std::string> child_directories(int dir);
// Visits the cgroup's directory and all its descendants, a parent before its children, until `visit` returns false.
// `path` is relative to the first one. Returns false if the walk was stopped or a cgroup is too deep.
bool walk_subtree(int dir, const std::function<bool(int dir, const std::string& path)>& visit,
                  const std::string& path = {}, int depth = 0);
// The number of a key in a flat keyed file, such as "frozen" in cgroup.events; -1 if the key is missing.
std::int64_t flat_key(std::string_view text, std::string_view key);

class CgroupHandle {
 public:
  struct Dir {
    const cgroup::Hierarchy* hierarchy = nullptr;
    base::Fd fd;
    std::uint64_t inode = 0;
    std::string relative_path;  // to the mount point; empty: the mount point itself

    [[nodiscard]] bool is_v2() const { return hierarchy->version == 2; }
    // "memory:memory.limit_in_bytes", "memory.max"
    [[nodiscard]] std::string where(std::string_view file) const;
  };

  // `host` must outlive the handle.
  static base::Result<CgroupHandle> open(const cgroup::HostHierarchies& host, const model::CgroupRef& ref);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] const std::vector<Dir>& dirs() const { return dirs_; }
  [[nodiscard]] const Dir* v2() const;
  // The directory where this controller controls the cgroup: in its v1 hierarchy, else in v2 if the controller is
  // enabled for the cgroup; null if there is none.
  [[nodiscard]] const Dir* dir_of_controller(std::string_view controller) const;
  [[nodiscard]] const Dir* dir_of_v1_controller(std::string_view controller) const;

  // Whether the path still leads to these directories.
  [[nodiscard]] bool still_exists() const;

  // Visits each ancestor of `dir` in its hierarchy, nearest first, until `visit` returns false.
  void for_each_ancestor(const Dir& dir, const std::function<bool(int fd, const std::string& path)>& visit) const;

  struct Members {
    std::set<pid_t> pids;
    std::size_t foreign = 0;  // in pid namespaces that are not descendants of ours: listed as 0, cannot be signaled
    std::size_t cgroups = 0;  // visited, including this one
    bool truncated = false;   // kMaxMembers was reached
  };
  // Processes of the cgroup and of its descendants: in one hierarchy, or in all.
  [[nodiscard]] Members members(const Dir& dir) const;
  [[nodiscard]] Members members() const;
  // Whether the process is in the cgroup or in a descendant in one of its hierarchies, according to /proc/PID/cgroup.
  // `proc` is the path of /proc.
  [[nodiscard]] bool contains(const std::string& proc, pid_t pid) const;

 private:
  std::string path_;
  std::uint64_t id_ = 0;
  std::vector<Dir> dirs_;
};

// One line of /proc/PID/cgroup: hierarchy and path. A path contains any bytes except newline.
struct Membership {
  std::string controllers;  // "cpu,cpuacct", "name=systemd"; empty: v2
  std::string path;
};
std::vector<Membership> parse_memberships(std::string_view text);
// Whether `path` is `top` or a descendant of it.
bool is_within(std::string_view path, std::string_view top);

}  // namespace cgwarden::control
