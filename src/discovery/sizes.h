// SPDX-License-Identifier: Apache-2.0
// How much a container wrote: its writable layer, and its logs.
//
// Where the layer is, the host's own mounts say: the container's root has a device number, and the host's mount of that
// number its upper directory (overlay) or the directory itself (vfs, btrfs, LXC, nspawn). What a container claims of
// itself is not believed. A mount that the host does not see (a daemon in a mount namespace of its own) is unknown.
//
// Bytes are those of the file system's blocks. A project quota knows them; else the directory is walked: no link is
// followed, no other file system entered, a file with several names counted once. That takes time and disk: for a
// thread of its own, at a pace. Thread: any, one call at a time.
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

// Path of the directory that takes what the container writes, as the host has it; nothing: not known.
// Both are mountinfo of proc(5): the host's, and that of a process of the container.
std::optional<std::string> writable_layer(std::string_view host_mountinfo, std::string_view container_mountinfo);

struct Usage {
  std::uint64_t bytes = 0;
  std::uint64_t inodes = 0;
  bool by_quota = false;
};

struct WalkLimits {
  std::size_t max_entries = 2'000'000;      // a larger one is unknown
  std::size_t entries_per_second = 50'000;  // 0: no pause
};

// Nothing: not a directory, too large, or `stop` was set.
std::optional<Usage> usage_of(int directory, const WalkLimits& limits, const std::atomic<bool>& stop);

struct SizeOf {
  std::string rootfs = "/";
  std::string procfs = "/proc";
  std::string cgroup;             // the process must be in it: a pid may be somebody else's by now
  pid_t pid = 0;                  // 0: none known, no layer
  std::vector<std::string> logs;  // directories with the container's logs, as paths of the host
  std::string log_prefix;         // how their names begin
};
struct Sizes {
  std::optional<Usage> layer;
  std::optional<std::uint64_t> log;
};
Sizes sizes_of(const SizeOf& what, std::string_view host_mountinfo, const WalkLimits& limits,
               const std::atomic<bool>& stop);

// The process is in the cgroup or in one below it.
bool is_in_cgroup(const std::string& procfs, std::int64_t pid, std::string_view cgroup);

// The same path for a container of which a process is known; nothing if that process is not in the cgroup.
std::optional<std::string> writable_layer_of(const SizeOf& what, std::string_view host_mountinfo);

// The host's mounts, as pid 1 sees them or, where that is not permitted, this process. Empty: neither.
std::string host_mountinfo(const std::string& procfs);

}  // namespace cgwarden::discovery
