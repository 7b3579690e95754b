// SPDX-License-Identifier: Apache-2.0
#include "src/discovery/grpc.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <new>
#include <utility>
#include <vector>

#include "src/base/text.h"

namespace cgwarden::discovery {
namespace {

constexpr std::size_t kPrefix = 5;  // per message: compression flag and size
constexpr std::size_t kMaxReason = 256;
constexpr std::uint32_t kMaxHeaders = 16U << 10U;

std::string framed(std::string_view message) {
  std::string out(1, '\0');
  for (unsigned shift = 32; shift > 0; shift -= 8) out += static_cast<char>(message.size() >> (shift - 8) & 0xFFU);
  out += message;
  return out;
}

std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

nghttp2_nv header(std::string_view name, std::string_view value) {
  // nghttp2 copies name and value (NGHTTP2_NV_FLAG_NONE) but takes pointers to non-const.
  const auto bytes = [](std::string_view text) {
    return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data()));
  };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

struct GrpcSession::Callbacks {
  static GrpcSession& of(void* user) { return *static_cast<GrpcSession*>(user); }

  static int on_header(nghttp2_session* /*session*/, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size, std::uint8_t /*flags*/,
                       void* user) {
    auto& self = of(user);
    if (frame->hd.stream_id != self.stream_) return 0;
    const auto key = text_of(name, name_size);
    const auto text = text_of(value, value_size);
    if (key == ":status") self.http_status_ = base::to_int<int>(text).value_or(0);
    if (key == "content-type") self.is_grpc_ = text.starts_with("application/grpc");
    if (key == "grpc-status") self.grpc_status_ = base::to_int<int>(text).value_or(-1);
    if (key == "grpc-message") self.grpc_message_ = text.substr(0, kMaxReason);
    return 0;
  }

  static int on_data(nghttp2_session* /*session*/, std::uint8_t /*flags*/, std::int32_t stream,
                     const std::uint8_t* data, std::size_t size, void* user) {
    auto& self = of(user);
    if (stream == self.stream_ && !self.ended_) self.add(text_of(data, size));
    return 0;
  }

  static int on_frame(nghttp2_session* /*session*/, const nghttp2_frame* frame, void* user) {
    auto& self = of(user);
    if (frame->hd.type == NGHTTP2_SETTINGS && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) self.settings_received_ = true;
    return 0;
  }

  static int on_stream_close(nghttp2_session* /*session*/, std::int32_t stream, std::uint32_t error, void* user) {
    auto& self = of(user);
    if (stream == self.stream_ && !self.ended_) self.end_of_stream(error);
    return 0;
  }

  static int on_error(nghttp2_session* /*session*/, int /*code*/, const char* text, std::size_t size, void* user) {
    of(user).last_error_ = std::string_view(text, std::min(size, kMaxReason));
    return 0;
  }

  static ssize_t read_message(nghttp2_session* /*session*/, std::int32_t /*stream*/, std::uint8_t* out,
                              std::size_t size, std::uint32_t* flags, nghttp2_data_source* /*source*/, void* user) {
    auto& self = of(user);
    const auto part = std::string_view(self.call_.message).substr(self.sent_, size);
    std::ranges::copy(part, reinterpret_cast<char*>(out));
    self.sent_ += part.size();
    if (self.sent_ == self.call_.message.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(part.size());
  }
};

GrpcSession::GrpcSession(std::size_t max_bytes) : max_bytes_(max_bytes) {
  nghttp2_session_callbacks* callbacks = nullptr;
  if (nghttp2_session_callbacks_new(&callbacks) != 0) throw std::bad_alloc();
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::on_data);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::on_frame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::on_stream_close);
  nghttp2_session_callbacks_set_error_callback2(callbacks, Callbacks::on_error);
  const int made = nghttp2_session_client_new(&session_, callbacks, this);
  nghttp2_session_callbacks_del(callbacks);
  if (made != 0) throw std::bad_alloc();
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                             {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMaxHeaders}};
  if (nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings)) != 0) throw std::bad_alloc();
}

GrpcSession::~GrpcSession() { nghttp2_session_del(session_); }

bool GrpcSession::begin(GrpcCall call) {
  if (nghttp2_session_check_request_allowed(session_) == 0) return false;
  call_ = std::move(call);
  call_.message = framed(call_.message);
  sent_ = 0;
  result_ = {};
  http_status_.reset();
  grpc_status_.reset();
  is_grpc_ = false;
  grpc_message_.clear();
  partial_.clear();
  messages_.clear();
  std::vector<nghttp2_nv> headers = {header(":method", "POST"),
                                     header(":scheme", "http"),
                                     header(":path", call_.method),
                                     header(":authority", "localhost"),
                                     header("content-type", "application/grpc"),
                                     header("te", "trailers"),
                                     header("user-agent", "cgwarden/" CGWARDEN_VERSION)};
  if (!call_.name_space.empty()) headers.push_back(header("containerd-namespace", call_.name_space));
  nghttp2_data_provider body{};
  body.read_callback = Callbacks::read_message;
  stream_ = nghttp2_submit_request(session_, nullptr, headers.data(), headers.size(), &body, nullptr);
  ended_ = stream_ < 0;
  return !ended_;
}

std::string GrpcSession::to_send() {
  std::string out;
  const std::uint8_t* data = nullptr;
  for (ssize_t size = 0; (size = nghttp2_session_mem_send(session_, &data)) != 0;) {
    if (size < 0) {
      end(GrpcOutcome::broken, nghttp2_strerror(static_cast<int>(size)));
      break;
    }
    out += text_of(data, static_cast<std::size_t>(size));
  }
  // nghttp2 has sent GOAWAY because of a protocol error.
  if (!ended_ && nghttp2_session_want_read(session_) == 0) end(GrpcOutcome::broken, "invalid HTTP/2: " + last_error_);
  return out;
}

void GrpcSession::receive(std::string_view bytes) {
  const auto* const data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  const auto taken = nghttp2_session_mem_recv(session_, data, bytes.size());
  if (taken < 0) end(GrpcOutcome::broken, nghttp2_strerror(static_cast<int>(taken)));
}

std::optional<std::string> GrpcSession::take_message() {
  if (messages_.empty()) return std::nullopt;
  auto out = std::move(messages_.front());
  messages_.pop_front();
  return out;
}

void GrpcSession::add(std::string_view data) {
  while (!data.empty()) {
    std::size_t size = 0;
    if (partial_.size() < kPrefix) {
      const auto head = data.substr(0, kPrefix - partial_.size());
      partial_ += head;
      data.remove_prefix(head.size());
      if (partial_.size() < kPrefix) return;
    }
    for (std::size_t i = 1; i < kPrefix; ++i) size = size << 8U | static_cast<unsigned char>(partial_[i]);
    if (partial_[0] != '\0') return end(GrpcOutcome::broken, "unexpected compressed message");
    if (size > max_bytes_) return end(GrpcOutcome::too_big, "response exceeds the size limit");
    const auto body = data.substr(0, kPrefix + size - partial_.size());
    partial_ += body;
    data.remove_prefix(body.size());
    if (partial_.size() < kPrefix + size) return;
    if (!call_.streams && !messages_.empty()) return end(GrpcOutcome::broken, "more than one response to a unary call");
    messages_.push_back(partial_.substr(kPrefix));
    partial_.clear();
  }
}

void GrpcSession::end(GrpcOutcome outcome, std::string error, int status) {
  if (ended_) return;
  ended_ = true;
  result_ = {outcome, status, std::move(error)};
  partial_ = {};
}

void GrpcSession::end_of_stream(std::uint32_t error) {
  if (http_status_ && *http_status_ != 200) {
    return end(GrpcOutcome::refused, "HTTP status " + std::to_string(*http_status_));
  }
  if (grpc_status_ && *grpc_status_ != 0) {
    return end(GrpcOutcome::refused, "gRPC status " + std::to_string(*grpc_status_) + ": " + grpc_message_,
               *grpc_status_);
  }
  if (!grpc_status_ && error != NGHTTP2_NO_ERROR) {
    return end(GrpcOutcome::unreachable, std::string("call aborted by the server: ") + nghttp2_http2_strerror(error));
  }
  if (!grpc_status_ || !is_grpc_ || !partial_.empty() || (!call_.streams && messages_.empty())) {
    return end(GrpcOutcome::broken, "response is not valid gRPC");
  }
  end(GrpcOutcome::answered, {});
}

void GrpcClient::close() {
  socket_.close();
  session_.reset();
  sending_.clear();
}

GrpcResult GrpcClient::failure_of(const boost::system::error_code& error) const {
  if (cancelled()) return {GrpcOutcome::cancelled};
  if (error == boost::asio::error::timed_out) return {GrpcOutcome::timeout, 0, "timed out"};
  return {GrpcOutcome::unreachable, 0, error.message()};
}

GrpcResult GrpcClient::begin(GrpcCall call, Clock::time_point deadline) {
  if (session_ && session_->begin(call)) return {};
  close();
  if (const auto error = socket_.connect(deadline)) {
    close();
    return failure_of(error);
  }
  session_ = std::make_unique<GrpcSession>(max_bytes_);
  if (session_->begin(std::move(call))) return {};
  close();
  return {GrpcOutcome::broken, 0, "connection accepts no calls"};
}

std::optional<GrpcResult> GrpcClient::exchange(Clock::time_point write_by, Clock::time_point read_by) {
  const auto failed = [&](const boost::system::error_code& error) -> GrpcResult {
    close();
    return failure_of(error);
  };
  sending_ = session_->to_send();
  if (!sending_.empty()) {
    const auto sent = socket_.run(
        write_by, [&](auto done) { boost::asio::async_write(socket_.socket(), boost::asio::buffer(sending_), done); });
    if (sent.error) return failed(sent.error);
  }
  if (session_->ended()) return std::nullopt;
  const auto read =
      socket_.run(read_by, [&](auto done) { socket_.socket().async_read_some(boost::asio::buffer(receiving_), done); });
  if (read.error) return failed(read.error);
  session_->receive({receiving_.data(), read.size});
  return std::nullopt;
}

GrpcResult GrpcClient::call(GrpcCall call, Clock::time_point deadline, std::string& answer) {
  auto result = begin(std::move(call), deadline);
  if (result.outcome != GrpcOutcome::answered) return result;
  while (!session_->ended()) {
    if (auto failure = exchange(deadline, deadline)) return *failure;
  }
  result = session_->result();
  if (result.outcome == GrpcOutcome::answered) answer = session_->take_message().value_or("");
  if (result.outcome != GrpcOutcome::answered && result.outcome != GrpcOutcome::refused) close();
  return result;
}

GrpcResult GrpcClient::subscribe(GrpcCall call, Clock::time_point deadline) {
  auto result = begin(std::move(call), deadline);
  if (result.outcome != GrpcOutcome::answered) return result;
  while (!session_->ended() && !session_->settings_received()) {
    if (auto failure = exchange(deadline, deadline)) return *failure;
  }
  return session_->settings_received() ? GrpcResult{} : end_of_stream();
}

GrpcResult GrpcClient::next(std::chrono::milliseconds write_within, std::string& message) {
  while (session_) {
    if (auto next_message = session_->take_message()) {
      message = std::move(*next_message);
      return {};
    }
    if (session_->ended()) break;
    if (auto failure = exchange(Clock::now() + write_within, TimedSocket::kNoDeadline)) return *failure;
  }
  return end_of_stream();
}

GrpcResult GrpcClient::end_of_stream() {
  GrpcResult out{GrpcOutcome::unreachable, 0, "stream closed by the server"};
  if (session_ && session_->result().outcome != GrpcOutcome::answered) out = session_->result();
  close();
  return out;
}

}  // namespace cgwarden::discovery
