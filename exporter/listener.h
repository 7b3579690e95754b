// SPDX-License-Identifier: Apache-2.0
// A listening TCP or Unix socket. Addresses:
//   ":10753"  all IPv6 and IPv4 addresses       "127.0.0.1:0"  a free port      "[::1]:9"      "localhost:10753"
//   "unix:/run/cgwarden/agent.sock"             mode 0660; a stale socket file is replaced
// open() blocks only to resolve names. Any thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "src/base/fd.h"
#include "src/base/result.h"

namespace cgwarden::exporter {

class Listener {
 public:
  // True if the syntax is valid; open() can still fail.
  static bool is_address(std::string_view address);
  // Opens a non-blocking, close-on-exec socket. Errors: "ADDRESS: cannot listen: Address already in use (HINT)".
  static base::Result<Listener> open(const std::string& address);

  Listener(Listener&&) = default;
  Listener& operator=(Listener&&) = delete;
  // Removes the socket file if it is still the one that open() created.
  ~Listener();

  [[nodiscard]] int fd() const { return fd_.get(); }
  // The bound address; port 0 is replaced by the port that the kernel chose.
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  Listener() = default;
  static base::Result<Listener> open_tcp(const std::string& address);
  static base::Result<Listener> open_unix(const std::string& address, const std::string& path);

  base::Fd fd_;
  std::string address_;
  std::string path_;  // Unix sockets only
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace cgwarden::exporter
