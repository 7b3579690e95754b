// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 as a client of one server on a Unix socket, as engines of containers speak it: a question at a time, over a
// connection that is kept for the next one. The server may be hung, slow or lying: an answer has a deadline and a
// largest size, and a connection on which something went wrong is not used again.
//
// Blocks its thread; cancel() is for any.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace cgwarden::discovery {

struct HttpAnswer {
  enum class Kind : std::uint8_t {
    answered,
    unreachable,  // not there, gone, or going
    timeout,
    cancelled,
    too_big,  // the server may do better with another question
    broken,   // not HTTP
  };
  Kind kind = Kind::answered;
  int status = 0;
  std::string body = {};
  std::string why = {};  // of what is no answer
};

class UnixHttp {
 public:
  using Clock = std::chrono::steady_clock;

  UnixHttp(std::string path, std::size_t max_bytes);
  ~UnixHttp();
  UnixHttp(const UnixHttp&) = delete;
  UnixHttp& operator=(const UnixHttp&) = delete;

  // Connects where it is not.
  HttpAnswer get(const std::string& target, Clock::time_point deadline);
  HttpAnswer post(const std::string& target, std::string json, Clock::time_point deadline);

  void close();
  // Ends what is asked at once, and all that is asked later.
  void cancel();
  [[nodiscard]] bool cancelled() const;

 private:
  struct Connection;
  std::unique_ptr<Connection> connection_;
};

}  // namespace cgwarden::discovery
