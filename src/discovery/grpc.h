// SPDX-License-Identifier: Apache-2.0
// gRPC client of one server on a Unix socket, based on nghttp2. One call at a time, with one request message and one
// response message or a stream of them. The server may be hung, faulty or shutting down: each call has a deadline and a
// message size limit, and a connection on which an error occurred is not reused.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "src/discovery/timed_socket.h"

struct nghttp2_session;

namespace cgwarden::discovery {

struct GrpcCall {
  std::string method = {};      // "/containerd.services.namespaces.v1.Namespaces/List"
  std::string name_space = {};  // value of the header containerd-namespace; empty: not sent
  std::string message = {};
  bool streams = false;  // true: server-streaming call
};

enum class GrpcOutcome : std::uint8_t {
  answered,
  refused,      // by a gRPC or HTTP status
  unreachable,  // not running, disconnected or shutting down
  timeout,
  cancelled,
  too_big,  // a message exceeds the size limit
  broken,   // not HTTP/2 or not gRPC
};

struct GrpcResult {
  static constexpr int kNotFound = 5;

  GrpcOutcome outcome = GrpcOutcome::answered;
  int status = 0;  // gRPC status code if the call was refused
  std::string error = {};
};

// Protocol state of one connection, without I/O: produces the bytes to send and consumes the bytes received.
class GrpcSession {
 public:
  explicit GrpcSession(std::size_t max_bytes);
  ~GrpcSession();
  GrpcSession(const GrpcSession&) = delete;
  GrpcSession& operator=(const GrpcSession&) = delete;

  // Starts a call. False: the connection accepts no more calls. The previous call must have ended.
  bool begin(GrpcCall call);
  std::string to_send();
  void receive(std::string_view bytes);

  // True once the server has sent its SETTINGS frame (RFC 9113, section 3.4).
  [[nodiscard]] bool settings_received() const { return settings_received_; }
  // The next complete message of the call, or nullopt.
  std::optional<std::string> take_message();
  // True if the call has ended; result() is its outcome.
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] const GrpcResult& result() const { return result_; }

 private:
  struct Callbacks;
  void add(std::string_view data);
  void end(GrpcOutcome outcome, std::string error, int status = 0);
  void end_of_stream(std::uint32_t error);

  nghttp2_session* session_ = nullptr;
  const std::size_t max_bytes_;
  GrpcCall call_;
  std::size_t sent_ = 0;  // bytes of the request sent so far
  std::int32_t stream_ = -1;
  bool settings_received_ = false;
  bool ended_ = true;
  GrpcResult result_;
  std::optional<int> http_status_;
  std::optional<int> grpc_status_;
  bool is_grpc_ = false;
  std::string grpc_message_;
  std::string last_error_;  // last error reported by nghttp2
  std::string partial_;     // incomplete message, including its prefix
  std::deque<std::string> messages_;
};

// A session with its socket. Calls block the thread.
class GrpcClient {
 public:
  using Clock = TimedSocket::Clock;

  GrpcClient(std::string path, std::size_t max_bytes) : max_bytes_(max_bytes), socket_(std::move(path)) {}

  // Unary call. Connects if the socket is not connected.
  GrpcResult call(GrpcCall call, Clock::time_point deadline, std::string& answer);
  // Starts a server-streaming call and waits for the server's SETTINGS. next() returns messages and any refusal.
  GrpcResult subscribe(GrpcCall call, Clock::time_point deadline);
  // Waits for the next message of the stream without a timeout. `write_within` limits each write of HTTP/2 control
  // frames in the meantime.
  GrpcResult next(std::chrono::milliseconds write_within, std::string& message);

  void close();
  void cancel() { socket_.cancel(); }
  [[nodiscard]] bool cancelled() const { return socket_.cancelled(); }

 private:
  [[nodiscard]] GrpcResult failure_of(const boost::system::error_code& error) const;
  GrpcResult begin(GrpcCall call, Clock::time_point deadline);
  GrpcResult end_of_stream();
  // Sends pending bytes and, unless the call has ended, reads once. On error, closes the connection and returns it.
  std::optional<GrpcResult> exchange(Clock::time_point write_by, Clock::time_point read_by);

  const std::size_t max_bytes_;
  std::unique_ptr<GrpcSession> session_;
  std::string sending_;
  std::array<char, std::size_t{16} << 10U> receiving_{};
  TimedSocket socket_;  // declared last: destroyed before the buffers that its operations use
};

}  // namespace cgwarden::discovery
