// SPDX-License-Identifier: Apache-2.0
#include "src/discovery/sizes.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <thread>
#include <unordered_set>

#include "src/base/fd.h"
#include "src/base/file.h"
#include "src/base/text.h"

namespace cgwarden::discovery {
namespace {

constexpr std::size_t kMaxWalkDepth = 256;
constexpr std::size_t kMaxLinked = 1UL << 20U;  // tracked files with several hard links
constexpr std::size_t kMaxLogs = 1000;
constexpr std::size_t kEntriesPerStep = 512;
constexpr int kProjectQuota = 2;  // PRJQUOTA

struct Mount {
  std::string_view number;
  std::string root;
  std::string point;
  std::string_view type;
  std::string_view options;  // super options
};

bool parse_mount(std::string_view line, Mount& out) {
  // 31 23 0:28 /root /mount/point options [optional...] - type source super-options
  base::take_word(line);
  base::take_word(line);
  out.number = base::take_word(line);
  out.root = base::unescape_octal(base::take_word(line));
  out.point = base::unescape_octal(base::take_word(line));
  const auto dash = line.find(" - ");
  if (dash == std::string_view::npos || out.root.empty() || out.point.empty()) return false;
  line.remove_prefix(dash + 3);
  out.type = base::take_word(line);
  base::take_word(line);
  out.options = base::take_word(line);
  return true;
}

std::optional<std::string> upper_directory(std::string_view options) {
  while (!options.empty()) {
    const auto option = base::take_until(options, ',');
    if (!option.starts_with("upperdir=")) continue;
    auto path = base::unescape_octal(option.substr(9));
    if (!path.starts_with('/')) return std::nullopt;  // relative to the daemon's working directory, which is unknown
    return path;
  }
  return std::nullopt;  // no upper directory: read-only
}

// Opens a host path. Links are followed, but not out of rootfs.
base::Fd open_directory(const std::string& rootfs, const std::string& path) {
  const base::Fd root(::open(rootfs.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return base::Fd(static_cast<int>(::syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof how)));
}

std::uint64_t bytes_of(const struct stat& s) { return static_cast<std::uint64_t>(s.st_blocks) * 512; }

// Usage from the project quota that runtimes may set on a layer (Docker's overlay2.size, containerd, CRI-O).
std::optional<Usage> quota_of(int directory) {
#ifdef SYS_quotactl_fd
  fsxattr attributes{};
  if (::ioctl(directory, FS_IOC_FSGETXATTR, &attributes) != 0 || attributes.fsx_projid == 0) return std::nullopt;
  dqblk quota{};
  if (::syscall(SYS_quotactl_fd, directory, QCMD(Q_GETQUOTA, kProjectQuota), attributes.fsx_projid, &quota) != 0) {
    return std::nullopt;
  }
  return Usage{quota.dqb_curspace, quota.dqb_curinodes, true};
#else
  (void)directory;
  return std::nullopt;
#endif
}

using Dir = std::unique_ptr<DIR, int (*)(DIR*)>;

Dir open_dir(base::Fd fd) {
  Dir dir(fd ? ::fdopendir(fd.get()) : nullptr, ::closedir);
  if (dir) (void)fd.release();
  return dir;
}

bool is_dots(const char* name) { return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0')); }

// Total size of the log files in bytes; nullopt if there are none.
std::optional<std::uint64_t> log_bytes(const SizeQuery& query) {
  std::optional<std::uint64_t> sum;
  for (const auto& path : query.logs) {
    const auto dir = open_dir(open_directory(query.rootfs, path));
    std::size_t seen = 0;
    while (const auto* entry = dir ? ::readdir(dir.get()) : nullptr) {
      if (++seen > kMaxLogs) break;
      struct stat s {};
      if (!std::string_view(entry->d_name).starts_with(query.log_prefix)) continue;
      if (::fstatat(::dirfd(dir.get()), entry->d_name, &s, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(s.st_mode)) continue;
      sum = sum.value_or(0) + bytes_of(s);
    }
  }
  return sum;
}

// True if a line of /proc/PID/cgroup has the cgroup or a descendant of it.
bool is_in(std::string_view lines, std::string_view cgroup) {
  while (!lines.empty()) {
    auto path = base::take_line(lines);
    base::take_until(path, ':');
    base::take_until(path, ':');
    if (path == cgroup || (path.starts_with(cgroup) && path.size() > cgroup.size() && path[cgroup.size()] == '/'))
      return true;
  }
  return false;
}

}  // namespace

std::optional<std::string> writable_layer(std::string_view host, std::string_view container) {
  Mount own;
  bool found = false;
  while (!container.empty()) {
    Mount mount;
    if (!parse_mount(base::take_line(container), mount) || mount.point != "/") continue;
    own = mount;  // the last mount hides those before it
    found = true;
  }
  if (!found) return std::nullopt;
  std::optional<std::string> best;
  std::size_t best_root = 0;
  bool is_host_root = false;  // the container's root is the host's
  while (!host.empty()) {
    Mount mount;
    if (!parse_mount(base::take_line(host), mount) || mount.number != own.number) continue;
    if (mount.point == "/" && mount.root == own.root) is_host_root = true;
    if (mount.type == "overlay") {
      best = upper_directory(mount.options);
      continue;
    }
    // Path relative to the file system's root, mapped through the mount with the shortest root.
    const bool shown = mount.root == "/" || own.root == mount.root ||
                       (own.root.starts_with(mount.root) && own.root[mount.root.size()] == '/');
    if (!shown || (best && mount.root.size() >= best_root)) continue;
    auto below = mount.root == "/" ? own.root : own.root.substr(mount.root.size());
    best = mount.point == "/" ? below : mount.point + (below == "/" ? "" : below);
    best_root = mount.root.size();
  }
  if (is_host_root || best == "/" || best == "") return std::nullopt;
  return best;
}

std::optional<Usage> usage_of(int directory, const WalkLimits& limits, const std::atomic<bool>& stop) {
  struct stat top {};
  if (::fstat(directory, &top) != 0 || !S_ISDIR(top.st_mode)) return std::nullopt;
  if (const auto known = quota_of(directory)) return known;

  Usage sum{bytes_of(top), 1, false};
  std::unordered_set<ino_t> linked;
  std::vector<Dir> stack;
  stack.push_back(open_dir(base::Fd(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC))));
  if (!stack.back()) return std::nullopt;
  auto step_ends = std::chrono::steady_clock::now();
  while (!stack.empty()) {
    const auto* entry = ::readdir(stack.back().get());
    if (entry == nullptr) {
      stack.pop_back();
      continue;
    }
    if (is_dots(entry->d_name)) continue;
    if (++sum.inodes > limits.max_entries || stop) return std::nullopt;
    if (limits.entries_per_second > 0 && sum.inodes % kEntriesPerStep == 0) {
      step_ends += std::chrono::microseconds(kEntriesPerStep * 1'000'000 / limits.entries_per_second);
      step_ends = std::max(step_ends, std::chrono::steady_clock::now() - std::chrono::milliseconds(10));
      std::this_thread::sleep_until(step_ends);
    }
    struct stat s {};
    const int at = ::dirfd(stack.back().get());
    if (::fstatat(at, entry->d_name, &s, AT_SYMLINK_NOFOLLOW) != 0 || s.st_dev != top.st_dev) continue;
    if (!S_ISDIR(s.st_mode) && s.st_nlink > 1 && linked.size() < kMaxLinked && !linked.insert(s.st_ino).second) {
      continue;
    }
    sum.bytes += bytes_of(s);
    if (!S_ISDIR(s.st_mode)) continue;
    if (stack.size() == kMaxWalkDepth) return std::nullopt;
    // Skip the entry if it has been replaced since fstatat(), by a link or another directory.
    base::Fd below(::openat(at, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat same {};
    if (!below || ::fstat(below.get(), &same) != 0 || same.st_dev != s.st_dev || same.st_ino != s.st_ino) continue;
    if (auto dir = open_dir(std::move(below))) stack.push_back(std::move(dir));
  }
  return sum;
}

bool is_in_cgroup(const std::string& procfs, std::int64_t pid, std::string_view cgroup) {
  const base::Fd process(::open((procfs + '/' + std::to_string(pid)).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  return process && is_in(base::read_file(process.get(), "cgroup").value_or(""), cgroup);
}

std::optional<std::string> writable_layer_of(const SizeQuery& query, std::string_view host) {
  if (query.pid <= 0) return std::nullopt;
  const base::Fd process(
      ::open((query.procfs + '/' + std::to_string(query.pid)).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!process || !is_in(base::read_file(process.get(), "cgroup").value_or(""), query.cgroup)) return std::nullopt;
  return writable_layer(host, base::read_file(process.get(), "mountinfo").value_or(""));
}

Sizes sizes_of(const SizeQuery& query, std::string_view host, const WalkLimits& limits, const std::atomic<bool>& stop) {
  Sizes out;
  out.log = log_bytes(query);
  const auto path = writable_layer_of(query, host);
  if (!path) return out;
  const auto directory = open_directory(query.rootfs, *path);
  if (directory) out.layer = usage_of(directory.get(), limits, stop);
  return out;
}

std::string host_mountinfo(const std::string& procfs) {
  const base::Fd proc(::open(procfs.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  auto text = base::read_file(proc.get(), "1/mountinfo").value_or("");
  return text.empty() ? base::read_file(proc.get(), "self/mountinfo").value_or("") : text;
}

}  // namespace cgwarden::discovery
