// SPDX-License-Identifier: Apache-2.0
// A listening socket, TCP or Unix, from an address as people write it:
//   ":10753"  all addresses, IPv6 and IPv4      "127.0.0.1:0"  a free port      "[::1]:9"      "localhost:10753"
//   "unix:/run/cgwarden/agent.sock"             mode 0660; a socket file nobody listens on is replaced
// Made at start; blocks for names only. Any thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "src/base/fd.h"
#include "src/base/result.h"

namespace cgwarden::exporter {

class Listener {
 public:
  // Whether it is written like one; open() may find more that is wrong.
  static bool is_address(std::string_view address);
  // Non-blocking, close-on-exec. Errors read "cannot listen on X: Address already in use: how to mend it".
  static base::Result<Listener> open(const std::string& address);

  Listener(Listener&&) = default;
  Listener& operator=(Listener&&) = delete;
  // Removes the socket file if it is still the one made here.
  ~Listener();

  [[nodiscard]] int fd() const { return fd_.get(); }
  // As given, with the port the kernel chose for port 0.
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  Listener() = default;
  static base::Result<Listener> open_tcp(const std::string& address);
  static base::Result<Listener> open_unix(const std::string& address, const std::string& path);

  base::Fd fd_;
  std::string address_;
  std::string path_;  // of a socket file
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace cgwarden::exporter
