// SPDX-License-Identifier: Apache-2.0
// One life of one cgroup, held by its directories: one in each hierarchy that has the path. What is written goes to
// these very directories or fails with ENODEV, never to a successor of the same name.
//
// Thread: the writer's. Errors: Error::code is ENOENT when there is no such cgroup, ESTALE when another life has the
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

// Reads an interface file below an open directory, to its end. ENOENT also when what has that name is no regular file:
// a cgroup may be called "memory.max".
base::Result<std::string> read_file(int dir, const std::string& file);
// One value, one write(2).
base::Result<void> write_file(int dir, const std::string& file, std::string_view text);
// Names of the cgroups below.
std::vector<std::string> children_of(int dir);
// Looks at the cgroup's directory and at all below it, a parent before its children, until `look` says false; `path` is
// from the first one. False: there was more, as it was stopped or a cgroup is too deep.
bool look_below(int dir, const std::function<bool(int dir, const std::string& path)>& look,
                const std::string& path = {}, int depth = 0);
// "frozen" of cgroup.events: the number behind the first word; -1 when there is none.
std::int64_t flat_key(std::string_view text, std::string_view key);

class CgroupHandle {
 public:
  struct Dir {
    const cgroup::Hierarchy* hierarchy = nullptr;
    base::Fd fd;
    std::uint64_t inode = 0;
    std::string below;  // path below the mount point; empty: the mount point itself

    [[nodiscard]] bool is_v2() const { return hierarchy->version == 2; }
    // "memory:memory.limit_in_bytes", "memory.max"
    [[nodiscard]] std::string where(std::string_view file) const;
  };

  // `host` must outlive the place.
  static base::Result<CgroupHandle> open(const cgroup::HostHierarchies& host, const model::CgroupRef& ref);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] const std::vector<Dir>& dirs() const { return dirs_; }
  [[nodiscard]] const Dir* v2() const;
  // Where this controller acts on the cgroup: its v1 hierarchy, else v2 where it is on for the cgroup; null: nowhere.
  [[nodiscard]] const Dir* of_controller(std::string_view controller) const;
  [[nodiscard]] const Dir* of_v1(std::string_view controller) const;

  // The path still leads to these directories.
  [[nodiscard]] bool still_there() const;

  // Each ancestor of `dir` in its hierarchy, nearest first, with its path, as long as `visit` says true.
  void above(const Dir& dir, const std::function<bool(int fd, const std::string& path)>& visit) const;

  struct Members {
    std::set<pid_t> pids;
    std::size_t foreign = 0;  // of pid namespaces not below ours: shown as 0, cannot be signalled
    std::size_t cgroups = 0;  // that were looked at, this one too
    bool cut = false;         // there was more than the bound
  };
  // Processes of the cgroup and of all below it: in one hierarchy, or in all.
  [[nodiscard]] Members members(const Dir& dir) const;
  [[nodiscard]] Members members() const;
  // The process is in the cgroup or below it in one of its hierarchies, as /proc/PID/cgroup has it. `proc` is /proc.
  [[nodiscard]] bool has(const std::string& proc, pid_t pid) const;

 private:
  std::string path_;
  std::uint64_t id_ = 0;
  std::vector<Dir> dirs_;
};

// Lines of /proc/PID/cgroup: which hierarchy, which path. A path is any bytes but newline.
struct Membership {
  std::string controllers;  // "cpu,cpuacct", "name=systemd"; empty: v2
  std::string path;
};
std::vector<Membership> parse_memberships(std::string_view text);
// `path` is `top` or below it.
bool is_within(std::string_view path, std::string_view top);

}  // namespace cgwarden::control
