// SPDX-License-Identifier: Apache-2.0
// OOM kills from the kernel log: the cgroup of each killed process. Needed only for cgroups that are removed before
// they are read again.
//
// Source: Documentation/ABI/testing/dev-kmsg and dump_oom_victim() in mm/oom_kill.c (since Linux 5.0; the kernel logs
// at most ten kills in five seconds). Needs CAP_SYSLOG if kernel.dmesg_restrict is 1. Thread: any, one at a time.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/fd.h"
#include "src/cgroup/hierarchy.h"

namespace cgwarden::cgroup {

class KernelLog {
 public:
  // Reads records from now on. If /dev/kmsg cannot be read, or if `paths` is a recorded host, next() returns nothing.
  explicit KernelLog(const HostPaths& paths);

  [[nodiscard]] bool is_readable() const { return static_cast<bool>(file_); }

  // Returns the next record, valid until the next call, or nullopt if the kernel has not written one yet. Never blocks.
  // Records that the kernel overwrote before they were read are skipped.
  std::optional<std::string_view> next();

 private:
  base::Fd file_;
  std::array<char, 8192> text_{};  // the longest record of the kernel
};

// Returns the path, relative to `root` (Hierarchy::root), of the memory cgroup of the killed process. Returns nullopt
// for any other record, for a cgroup outside of `root`, for a record that a program wrote, and for an ambiguous record,
// in which a name contains one of the record's delimiters.
std::optional<std::string> cgroup_of_oom_kill(std::string_view record, std::string_view root = "/");

}  // namespace cgwarden::cgroup
