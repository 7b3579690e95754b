// SPDX-License-Identifier: Apache-2.0
// Reads small files of /proc, /sys and cgroup file systems completely. Not for use during a scrape: it allocates
// memory.
//
// Thread: any. Errors: nullopt and errno. Never blocks on a FIFO; files longer than the limit are truncated.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/fd.h"
#include "src/base/result.h"

namespace cgwarden::base {

inline constexpr std::size_t kMaxFileSize = 4U << 20U;  // mountinfo of a host with tens of thousands of mounts

// Whether the path exists for the effective user and capabilities. access(2) and faccessat(2) check the real user
// instead and do not find files that only a capability makes visible.
inline bool exists(int dir, const char* path) {
  struct stat st {};
  return ::fstatat(dir, path, &st, 0) == 0;
}

inline std::optional<std::string> read_to_end(int fd, std::size_t limit = kMaxFileSize) {
  std::string text;
  std::array<char, 16384> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): read() fills it
  while (text.size() < limit) {
    const auto n = ::read(fd, buffer.data(), std::min(buffer.size(), limit - text.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::nullopt;
    if (n == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return text;
}

inline std::optional<std::string> read_file(int dir, const std::string& path, std::size_t limit = kMaxFileSize) {
  const Fd fd(::openat(dir, path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return std::nullopt;
  return read_to_end(fd.get(), limit);
}

// Replaces `path` atomically: writes a new file in the same directory, which must exist, and renames it.
inline Result<void> replace_file(const std::string& path, std::string_view text, mode_t mode) {
  const auto name = path.rfind('/') + 1;
  const auto temporary = path.substr(0, name) + '.' + path.substr(name) + ".new";
  ::unlink(temporary.c_str());
  const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd) return fail_errno("cannot create " + temporary);
  ::fchmod(fd.get(), mode);  // regardless of the umask
  while (!text.empty()) {
    const auto n = ::write(fd.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      auto failed = fail_errno("cannot write " + temporary);
      ::unlink(temporary.c_str());
      return failed;
    }
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return fail_errno("cannot rename to " + path);
  return {};
}

inline std::optional<std::string> read_file(const std::string& path) { return read_file(AT_FDCWD, path); }

}  // namespace cgwarden::base
