// SPDX-License-Identifier: Apache-2.0
// What the kernel's log tells of cgroups: in which one a process was killed for want of memory. Needed only for cgroups
// that end before they are read again.
//
// Source: Documentation/ABI/testing/dev-kmsg, and dump_oom_victim() in mm/oom_kill.c (since 5.0; at most ten kills in
// five seconds are logged). It takes CAP_SYSLOG where kernel.dmesg_restrict is 1.
// Thread: any one.
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
  // From now on. Silent where the log cannot be read, and where a recorded host is looked at.
  explicit KernelLog(const HostPaths& paths);

  [[nodiscard]] bool can_be_read() const { return static_cast<bool>(file_); }

  // Next record, valid until the next call; none: there is no more yet. Never waits. What was overwritten before it was
  // read is passed over.
  std::optional<std::string_view> next();

 private:
  base::Fd file_;
  std::array<char, 8192> text_{};  // the kernel's longest record
};

// Path of the memory cgroup whose process was killed, below `root` (Hierarchy::root). None for any other record, for
// cgroups outside of that, for what a program wrote, and where names in it can be taken for the record's own parts.
std::optional<std::string> cgroup_of_oom_kill(std::string_view record, std::string_view root = "/");

}  // namespace cgwarden::cgroup
