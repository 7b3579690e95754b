// SPDX-License-Identifier: Apache-2.0
// A daemon on a Unix socket that answers as a test wants: late, half, wrongly, or not at all.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace cgwarden::discovery {

class FakeDaemon {
 public:
  // Gets the socket and the path that was asked for; false: the connection ends.
  using Answer = std::function<bool(int fd, const std::string& target)>;

  FakeDaemon(std::string path, Answer answer) : path_(std::move(path)), answer_(std::move(answer)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_, 4), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeDaemon() {
    stop_ = true;
    thread_.join();
    ::close(listener_);
    ::unlink(path_.c_str());
  }
  FakeDaemon(const FakeDaemon&) = delete;
  FakeDaemon& operator=(const FakeDaemon&) = delete;

  std::vector<std::string> targets() {
    const std::lock_guard lock(mutex_);
    return targets_;
  }

  [[nodiscard]] int connections() const { return connections_; }

  static bool send(int fd, const std::string& text) {
    for (std::size_t sent = 0; sent < text.size();) {
      const auto n = ::send(fd, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += static_cast<std::size_t>(n);
    }
    return true;
  }
  static std::string http(int status, const std::string& body) {
    return "HTTP/1.1 " + std::to_string(status) +
           " X\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  // Until the other side gives up; a test's end as well.
  bool hang(int fd) const {
    pollfd one{fd, POLLRDHUP, 0};
    while (!stop_ && ::poll(&one, 1, 10) == 0) {
    }
    return false;
  }

 private:
  [[nodiscard]] bool readable(int fd) const {
    pollfd one{fd, POLLIN, 0};
    while (!stop_) {
      if (::poll(&one, 1, 10) > 0) return true;
    }
    return false;
  }
  void serve() {
    while (readable(listener_)) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      ++connections_;
      while (answer_one(fd)) {
      }
      ::close(fd);
    }
  }
  bool answer_one(int fd) {
    std::string request;
    char byte = 0;
    while (!request.ends_with("\r\n\r\n")) {
      if (!readable(fd) || ::recv(fd, &byte, 1, 0) != 1) return false;
      request += byte;
    }
    const auto from = request.find(' ') + 1;
    const auto target = request.substr(from, request.find(' ', from) - from);
    {
      const std::lock_guard lock(mutex_);
      targets_.push_back(target);
    }
    return answer_(fd, target);
  }

  std::string path_;
  Answer answer_;
  int listener_ = -1;
  std::atomic<bool> stop_ = false;
  std::atomic<int> connections_ = 0;
  std::mutex mutex_;
  std::vector<std::string> targets_;
  std::thread thread_;
};

// What Docker's API says of one.
inline std::string inspected(const std::string& id, const std::string& name, const std::string& labels = "{}") {
  return R"({"GraphDriver":{"Name":"overlay2","Data":{"UpperDir":"/data/overlay2/9/diff"}},"Id":")" + id +
         R"(","Name":"/)" + name +
         R"(","Created":"2026-11-24T10:00:00Z","Image":"sha256:52fb","RestartCount":3,"State":{"Status":"running",
"Pid":1,"ExitCode":137,"FinishedAt":"2026-11-24T11:00:00Z","StartedAt":"2026-11-24T10:00:01Z","Health":{"Status":"healthy"}},"Config":{"Image":"lab/box:1",
"Env":["SECRET=1"],"Labels":)" +
         labels + "}}";
}

}  // namespace cgwarden::discovery
