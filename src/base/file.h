// SPDX-License-Identifier: Apache-2.0
// Small files of /proc, /sys and cgroup file systems, read whole. Not for the path of a scrape: reading allocates.
//
// Thread: any. Errors: nothing and errno. Never blocks on a FIFO; what is longer than the limit is cut there.
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

inline constexpr std::size_t kMaxOfAFile = 4U << 20U;  // mountinfo of a host with tens of thousands of mounts

// Whether it is there for this process as it is. access(2) and faccessat(2) ask for the real user without capabilities:
// to them, what only a capability shows is not there.
inline bool exists(int dir, const char* path) {
  struct stat st {};
  return ::fstatat(dir, path, &st, 0) == 0;
}

inline std::optional<std::string> read_to_end(int fd, std::size_t limit = kMaxOfAFile) {
  std::string text;
  std::array<char, 16384> piece;  // NOLINT(cppcoreguidelines-pro-type-member-init): read() fills it
  while (text.size() < limit) {
    const auto n = ::read(fd, piece.data(), std::min(piece.size(), limit - text.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::nullopt;
    if (n == 0) break;
    text.append(piece.data(), static_cast<std::size_t>(n));
  }
  return text;
}

inline std::optional<std::string> read_file(int dir, const std::string& path, std::size_t limit = kMaxOfAFile) {
  const Fd fd(::openat(dir, path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return std::nullopt;
  return read_to_end(fd.get(), limit);
}

// Another file in the place of `path`, whole or not at all: written beside it, then renamed. Its directory must be
// there.
inline Result<void> replace_file(const std::string& path, std::string_view text, mode_t mode) {
  const auto name = path.rfind('/') + 1;
  const auto beside = path.substr(0, name) + '.' + path.substr(name) + ".new";
  ::unlink(beside.c_str());
  const Fd fd(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd) return fail_errno("cannot make " + beside);
  ::fchmod(fd.get(), mode);  // whatever the umask
  while (!text.empty()) {
    const auto n = ::write(fd.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      auto failed = fail_errno("cannot write " + beside);
      ::unlink(beside.c_str());
      return failed;
    }
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) return fail_errno("cannot rename to " + path);
  return {};
}

inline std::optional<std::string> read_file(const std::string& path) { return read_file(AT_FDCWD, path); }

}  // namespace cgwarden::base
