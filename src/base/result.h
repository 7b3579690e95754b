// SPDX-License-Identifier: Apache-2.0
// Error handling. A function that can fail returns Result<T>. Exceptions are thrown only by libraries and at startup,
// and are caught where they enter.
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
  std::string what;  // one line: object, what failed, reason and hint

  // "cannot open /x: No such file or directory"
  static Error from_errno(int code, std::string doing) { return {code, std::move(doing) + ": " + std::strerror(code)}; }
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(std::string what) { return tl::unexpected(Error{0, std::move(what)}); }

inline tl::unexpected<Error> fail_errno(std::string doing) {
  return tl::unexpected(Error::from_errno(errno, std::move(doing)));
}

// Returns whether errno `code` means that a cgroup or process no longer exists. This is not an error: it is omitted
// from the sample.
constexpr bool is_gone(int code) { return code == ENOENT || code == ENODEV || code == ESRCH || code == ENOTDIR; }

}  // namespace cgwarden::base
