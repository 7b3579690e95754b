// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 client of one server on a Unix socket, such as a container daemon. One request at a time, over a connection
// that is kept for the next one. The server may be hung, slow or faulty: each response has a deadline and a size limit,
// and a connection on which an error occurred is not reused.
//
// Requests block the thread; cancel() may be called from any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace cgwarden::discovery {

enum class HttpOutcome : std::uint8_t {
  answered,
  unreachable,  // not running, disconnected or shutting down
  timeout,
  cancelled,
  too_big,  // exceeds the size limit; another request may succeed
  broken,   // not HTTP
};

struct HttpResponse {
  HttpOutcome outcome = HttpOutcome::answered;
  int status = 0;
  std::string body = {};
  std::string error = {};  // reason if `outcome` is not `answered`
};

class UnixHttp {
 public:
  using Clock = std::chrono::steady_clock;

  UnixHttp(std::string path, std::size_t max_bytes);
  ~UnixHttp();
  UnixHttp(const UnixHttp&) = delete;
  UnixHttp& operator=(const UnixHttp&) = delete;

  // Connect if the socket is not connected.
  HttpResponse get(const std::string& target, Clock::time_point deadline);
  HttpResponse post(const std::string& target, std::string json, Clock::time_point deadline);

  void close();
  // Ends the current and every later request immediately. Any thread.
  void cancel();
  [[nodiscard]] bool cancelled() const;

 private:
  struct Connection;
  std::unique_ptr<Connection> connection_;
};

}  // namespace cgwarden::discovery
