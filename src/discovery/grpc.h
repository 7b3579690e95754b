// SPDX-License-Identifier: Apache-2.0
// gRPC as a client of one server on a Unix socket, by nghttp2: one call at a time, of one message there and, back, one
// or a stream of them. The server may be hung, lying or going away: a call has a deadline and a largest message, and a
// connection on which something went wrong is not used again.
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
  std::string method = {};  // "/containerd.services.namespaces.v1.Namespaces/List"
  std::string space = {};   // the namespace that containerd wants to be told of in a header; empty: none
  std::string message = {};
  bool streams = false;  // answers as long as there is something to say
};

struct GrpcResult {
  enum class Kind : std::uint8_t {
    answered,
    refused,      // with a status of gRPC or of HTTP
    unreachable,  // not there, gone, or going
    timeout,
    cancelled,
    too_big,
    broken,  // not HTTP/2, not gRPC
  };
  static constexpr int kNotFound = 5;

  Kind kind = Kind::answered;
  int status = 0;  // gRPC's, where it refused
  std::string why = {};
};

// The bytes of one connection, without the connection: those to be sent come out, those received go in.
class GrpcSession {
 public:
  explicit GrpcSession(std::size_t max_bytes);
  ~GrpcSession();
  GrpcSession(const GrpcSession&) = delete;
  GrpcSession& operator=(const GrpcSession&) = delete;

  // False: this connection takes no more calls. The one before has ended.
  bool begin(GrpcCall call);
  std::string to_send();
  void receive(std::string_view bytes);

  // The server has said that it speaks HTTP/2.
  [[nodiscard]] bool greeted() const { return greeted_; }
  // The call's next whole message.
  std::optional<std::string> take_message();
  // Nothing more will come: result() says why.
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] const GrpcResult& result() const { return result_; }

 private:
  struct Callbacks;
  void add(std::string_view data);
  void end(GrpcResult::Kind kind, std::string why, int status = 0);
  void end_of_stream(std::uint32_t error);

  nghttp2_session* session_ = nullptr;
  const std::size_t max_bytes_;
  GrpcCall call_;
  std::size_t sent_ = 0;  // of the call's frame
  std::int32_t stream_ = -1;
  bool greeted_ = false;
  bool ended_ = true;
  GrpcResult result_;
  std::optional<int> http_status_;
  std::optional<int> grpc_status_;
  bool is_grpc_ = false;
  std::string grpc_message_;
  std::string fault_;    // what nghttp2 found wrong last
  std::string partial_;  // the message that is not whole yet, with what is before it
  std::deque<std::string> messages_;
};

// And with it. Blocks its thread.
class GrpcClient {
 public:
  using Clock = TimedSocket::Clock;

  GrpcClient(std::string path, std::size_t max_bytes) : max_bytes_(max_bytes), socket_(std::move(path)) {}

  // Connects where it is not. One answer.
  GrpcResult call(GrpcCall call, Clock::time_point deadline, std::string& answer);
  // As far as that the server is there and has been asked: what it answers, a refusal too, next() says.
  GrpcResult subscribe(GrpcCall call, Clock::time_point deadline);
  // Waits for the stream's next message, however long that takes; `write_within` is for what HTTP/2 has to say
  // meanwhile.
  GrpcResult next(std::chrono::milliseconds write_within, std::string& message);

  void close();
  void cancel() { socket_.cancel(); }
  [[nodiscard]] bool cancelled() const { return socket_.cancelled(); }

 private:
  [[nodiscard]] GrpcResult failure_of(const boost::system::error_code& error) const;
  GrpcResult begin(GrpcCall call, Clock::time_point deadline);
  GrpcResult end_of_stream();
  // Sends what there is to send and, the call not having ended, reads once. An error: the connection is closed.
  std::optional<GrpcResult> exchange(Clock::time_point write_by, Clock::time_point read_by);

  const std::size_t max_bytes_;
  std::unique_ptr<GrpcSession> session_;
  std::string sending_;
  std::array<char, std::size_t{16} << 10U> receiving_{};
  TimedSocket socket_;  // the last: nothing reads or writes any more when the buffers go
};

}  // namespace cgwarden::discovery
