// SPDX-License-Identifier: Apache-2.0
// One idiom for failure. A function that can fail returns Result<T>; exceptions come from libraries and at start-up
// only and are caught at that edge.
//
//   Result<Fd> open_dir(...);
//   auto dir = open_dir(...);
//   if (!dir) return tl::unexpected(dir.error());
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace cgwarden::base {

struct Error {
  int code = 0;      // errno, or 0 when no system call failed
  std::string what;  // one line: what, where and how to mend it

  // "cannot open /x: No such file or directory"
  static Error from_errno(int code, std::string doing) { return {code, std::move(doing) + ": " + std::strerror(code)}; }
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(std::string what) { return tl::unexpected(Error{0, std::move(what)}); }

inline tl::unexpected<Error> fail_errno(std::string doing) {
  return tl::unexpected(Error::from_errno(errno, std::move(doing)));
}

// The cgroup went away between finding it and reading it. That is no error: the cgroup is dropped this round.
constexpr bool means_vanished(int code) { return code == ENOENT || code == ENODEV || code == ESRCH || code == ENOTDIR; }

}  // namespace cgwarden::base
