// SPDX-License-Identifier: Apache-2.0
// A fake daemon on a Unix socket that responds as a test requires: late, partially, wrongly or not at all.
#pragma once

#include <sys/socket.h>

#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/threads/unix_server.h"

namespace cgwarden::discovery {

class FakeDaemon {
 public:
  // Called with the socket and the request target. False closes the connection.
  using Handler = std::function<bool(int fd, const std::string& target)>;

  FakeDaemon(std::string path, Handler handler)
      : handler_(std::move(handler)), server_(std::move(path), [this](int fd) {
          while (answer_one(fd)) {
          }
        }) {}

  std::vector<std::string> targets() {
    const std::lock_guard lock(mutex_);
    return targets_;
  }

  // Bodies of POST requests to targets that end with `end`.
  std::vector<std::string> posted(const std::string& end) {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> out;
    for (const auto& [target, body] : posted_) {
      if (target.ends_with(end)) out.push_back(body);
    }
    return out;
  }

  [[nodiscard]] int connections() const { return server_.connections(); }

  static bool send(int fd, const std::string& text) { return UnixServer::send(fd, text); }
  static std::string http(int status, const std::string& body) {
    return "HTTP/1.1 " + std::to_string(status) +
           " X\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  bool hang(int fd) const { return server_.hang(fd); }

 private:
  bool answer_one(int fd) {
    std::string request;
    char byte = 0;
    while (!request.ends_with("\r\n\r\n")) {
      if (!server_.readable(fd) || ::recv(fd, &byte, 1, 0) != 1) return false;
      request += byte;
    }
    const auto from = request.find(' ') + 1;
    const auto target = request.substr(from, request.find(' ', from) - from);
    constexpr std::string_view kLength = "Content-Length: ";
    const auto length = request.find(kLength);
    std::string body(length == std::string::npos ? 0 : std::stoul(request.substr(length + kLength.size())), '\0');
    for (auto& c : body) {
      if (!server_.readable(fd) || ::recv(fd, &c, 1, 0) != 1) return false;
    }
    {
      const std::lock_guard lock(mutex_);
      targets_.push_back(target);
      if (request.starts_with("POST ")) posted_.emplace_back(target, body);
    }
    return handler_(fd, target);
  }

  Handler handler_;
  std::mutex mutex_;
  std::vector<std::string> targets_;
  std::vector<std::pair<std::string, std::string>> posted_;  // target, body
  UnixServer server_;  // declared last: its threads end before the other members are destroyed
};

// Response of the Docker API for one container.
inline std::string inspected(const std::string& id, const std::string& name, const std::string& labels = "{}") {
  return R"({"GraphDriver":{"Name":"overlay2","Data":{"UpperDir":"/data/overlay2/9/diff"}},"Id":")" + id +
         R"(","Name":"/)" + name +
         R"(","Created":"2026-11-24T10:00:00Z","Image":"sha256:52fb","RestartCount":3,"State":{"Status":"running",
"Pid":1,"ExitCode":137,"FinishedAt":"2026-11-24T11:00:00Z","StartedAt":"2026-11-24T10:00:01Z","Health":{"Status":"healthy"}},"Config":{"Image":"lab/box:1",
"Env":["SECRET=1"],"Labels":)" +
         labels + "}}";
}

}  // namespace cgwarden::discovery
