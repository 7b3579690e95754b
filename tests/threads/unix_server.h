// SPDX-License-Identifier: Apache-2.0
// Listens on a Unix socket and runs a handler for each connection, each on its own thread.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace cgwarden {

class UnixServer {
 public:
  // `handler` is called with the connection, which is closed when it returns.
  UnixServer(std::string path, std::function<void(int fd)> handler)
      : path_(std::move(path)), handler_(std::move(handler)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_, 4), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~UnixServer() {
    stop_ = true;
    thread_.join();
    ::close(listener_);
    ::unlink(path_.c_str());
  }
  UnixServer(const UnixServer&) = delete;
  UnixServer& operator=(const UnixServer&) = delete;

  [[nodiscard]] int connections() const { return connections_; }

  // Waits for data. False: the server is being destroyed.
  [[nodiscard]] bool readable(int fd) const {
    pollfd one{fd, POLLIN, 0};
    while (!stop_) {
      if (::poll(&one, 1, 10) > 0) return true;
    }
    return false;
  }
  static bool send(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  // Waits until the peer disconnects or the server is destroyed. Returns false.
  bool hang(int fd) const {
    pollfd one{fd, POLLRDHUP, 0};
    while (!stop_ && ::poll(&one, 1, 10) == 0) {
    }
    return false;
  }

 private:
  void serve() {
    std::vector<std::thread> connections;
    while (readable(listener_)) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) break;
      ++connections_;
      connections.emplace_back([this, fd] {
        handler_(fd);
        ::close(fd);
      });
    }
    for (auto& one : connections) one.join();
  }

  std::string path_;
  std::function<void(int fd)> handler_;
  int listener_ = -1;
  std::atomic<bool> stop_ = false;
  std::atomic<int> connections_ = 0;
  std::thread thread_;
};

}  // namespace cgwarden
