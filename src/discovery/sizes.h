// SPDX-License-Identifier: Apache-2.0
// Disk usage of a container: its writable layer and its logs.
//
// The layer is located through the host's mountinfo. The device number of the container's root identifies the host's
// mount, which gives the upper directory (overlay) or the directory itself (vfs, btrfs, LXC, nspawn). Paths in the
// container's own mountinfo are not trusted. If the mount is not visible to the host (the daemon has its own mount
// namespace), the layer is unknown.
//
// Sizes are in bytes of allocated blocks. If the directory has a project quota, the kernel's counters are used.
// Otherwise the directory is walked at a limited rate, without following links or entering other file systems; a file
// with several hard links is counted once. A walk takes time and disk I/O, so it needs a thread of its own. Any thread,
// one call at a time.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cgwarden::discovery {

// Host path of the container's writable layer; nullopt: unknown. The arguments are the contents of
// /proc/PID/mountinfo (proc(5)) for the host and for a process of the container.
std::optional<std::string> writable_layer(std::string_view host_mountinfo, std::string_view container_mountinfo);

struct Usage {
  std::uint64_t bytes = 0;
  std::uint64_t inodes = 0;
  bool by_quota = false;
};

struct WalkLimits {
  std::size_t max_entries = 2'000'000;      // the usage of a larger directory is unknown
  std::size_t entries_per_second = 50'000;  // 0: unlimited
};

// nullopt: not a directory, more than max_entries, too deep, or `stop` was set.
std::optional<Usage> usage_of(int directory, const WalkLimits& limits, const std::atomic<bool>& stop);

struct SizeQuery {
  std::string rootfs = "/";
  std::string procfs = "/proc";
  std::string cgroup;             // must contain the process, because its pid may have been reused
  pid_t pid = 0;                  // 0: unknown, the layer is not measured
  std::vector<std::string> logs;  // directories with the container's logs, host paths
  std::string log_prefix;         // prefix of the names of log files
};
struct Sizes {
  std::optional<Usage> layer;
  std::optional<std::uint64_t> log;
};
Sizes sizes_of(const SizeQuery& query, std::string_view host_mountinfo, const WalkLimits& limits,
               const std::atomic<bool>& stop);

// True if the process is in the cgroup or a descendant of it.
bool is_in_cgroup(const std::string& procfs, std::int64_t pid, std::string_view cgroup);

// writable_layer() for the container of process `query.pid`; nullopt also if the process is not in the cgroup.
std::optional<std::string> writable_layer_of(const SizeQuery& query, std::string_view host_mountinfo);

// Mountinfo of PID 1 or, if reading it is not permitted, of this process. Empty: neither can be read.
std::string host_mountinfo(const std::string& procfs);

}  // namespace cgwarden::discovery
