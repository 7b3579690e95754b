// SPDX-License-Identifier: Apache-2.0
// Small files of /proc, /sys and cgroup file systems, read whole. Not for the path of a scrape: it allocates.
//
// Thread: any. Errors: nothing and errno. Never blocks on a FIFO; what is longer than the limit is cut there.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string>

#include "src/base/fd.h"

namespace cgwarden::base {

inline constexpr std::size_t kMostOfAFile = 4U << 20U;  // mountinfo of a host with tens of thousands of mounts

inline std::optional<std::string> read_to_end(int fd, std::size_t limit = kMostOfAFile) {
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

inline std::optional<std::string> read_file(int dir, const std::string& path, std::size_t limit = kMostOfAFile) {
  const Fd fd(::openat(dir, path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return std::nullopt;
  return read_to_end(fd.get(), limit);
}

inline std::optional<std::string> read_file(const std::string& path) { return read_file(AT_FDCWD, path); }

}  // namespace cgwarden::base
