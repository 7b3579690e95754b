// SPDX-License-Identifier: Apache-2.0
// A fake containerd that responds as a test requires: correctly, late, partially, wrongly or not at all. Requests are
// parsed by nghttp2; responses are built frame by frame, because no library produces invalid frames.
#pragma once

#include <nghttp2/nghttp2.h>
#include <sys/socket.h>

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/discovery/protobuf.h"
#include "tests/threads/unix_server.h"

namespace cgwarden::discovery {

namespace http2 {

enum Type : std::uint8_t { kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kPing = 6, kGoAway = 7 };
enum Flag : std::uint8_t { kEndStream = 1, kEndHeaders = 4 };

inline std::string big_endian(std::size_t value, unsigned bytes) {
  std::string out;
  for (unsigned shift = 8 * bytes; shift > 0; shift -= 8) out += static_cast<char>(value >> (shift - 8) & 0xFFU);
  return out;
}

inline std::string frame(Type type, unsigned flags, std::int32_t stream, const std::string& payload) {
  return big_endian(payload.size(), 3) + static_cast<char>(type) + static_cast<char>(flags) +
         big_endian(static_cast<std::size_t>(stream), 4) + payload;
}

// HPACK literal header fields without indexing (RFC 7541, section 6.2.2).
inline std::string fields(const std::vector<std::pair<std::string, std::string>>& all) {
  std::string out;
  for (const auto& [name, value] : all) {
    out += std::string(1, '\0') + static_cast<char>(name.size()) + name + static_cast<char>(value.size()) + value;
  }
  return out;
}

inline std::string message(const std::string& body) { return std::string(1, '\0') + big_endian(body.size(), 4) + body; }

inline std::string head(std::int32_t stream) {
  return frame(kHeaders, kEndHeaders, stream, fields({{":status", "200"}, {"content-type", "application/grpc"}}));
}
inline std::string data(std::int32_t stream, const std::string& bytes) { return frame(kData, 0, stream, bytes); }
inline std::string tail(std::int32_t stream, int status) {
  return frame(kHeaders, kEndHeaders | kEndStream, stream, fields({{"grpc-status", std::to_string(status)}}));
}
inline std::string answer(std::int32_t stream, const std::string& body) {
  return head(stream) + data(stream, message(body)) + tail(stream, 0);
}
inline std::string refusal(std::int32_t stream, int status) {
  return frame(kHeaders, kEndHeaders | kEndStream, stream,
               fields({{":status", "200"},
                       {"content-type", "application/grpc"},
                       {"grpc-status", std::to_string(status)},
                       {"grpc-message", "why"}}));
}
inline std::string go_away(std::int32_t last_stream) {
  return frame(kGoAway, 0, 0, big_endian(static_cast<std::size_t>(last_stream), 4) + big_endian(0, 4));
}

}  // namespace http2

class FakeContainerd {
 public:
  struct Request {
    std::int32_t stream = 0;
    std::string method;  // without the common prefix
    std::string name_space;
    std::string body;
  };
  // Called with the socket and the request. False closes the connection.
  using Handler = std::function<bool(int fd, const Request& request)>;

  FakeContainerd(std::string path, Handler handler, bool sends_settings = true)
      : handler_(std::move(handler)),
        sends_settings_(sends_settings),
        server_(std::move(path), [this](int fd) { serve(fd); }) {}

  std::vector<std::string> methods() {  // "Containers/Get k8s.io"
    const std::lock_guard lock(mutex_);
    return methods_;
  }
  [[nodiscard]] int connections() const { return server_.connections(); }

  static bool send(int fd, std::string_view bytes) { return UnixServer::send(fd, bytes); }
  bool hang(int fd) const { return server_.hang(fd); }

 private:
  struct Peer {
    std::map<std::int32_t, Request> incomplete;
    std::vector<Request> complete;
  };

  static int on_header(nghttp2_session* /*session*/, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size, std::uint8_t /*flags*/,
                       void* peer) {
    auto& request = static_cast<Peer*>(peer)->incomplete[frame->hd.stream_id];
    const std::string key(reinterpret_cast<const char*>(name), name_size);
    const std::string text(reinterpret_cast<const char*>(value), value_size);
    if (key == ":path") request.method = text.substr(std::string_view("/containerd.services.").size());
    if (key == "containerd-namespace") request.name_space = text;
    return 0;
  }
  static int on_data(nghttp2_session* /*session*/, std::uint8_t /*flags*/, std::int32_t stream,
                     const std::uint8_t* data, std::size_t size, void* peer) {
    static_cast<Peer*>(peer)->incomplete[stream].body.append(reinterpret_cast<const char*>(data), size);
    return 0;
  }
  static int on_frame(nghttp2_session* /*session*/, const nghttp2_frame* frame, void* peer) {
    auto& self = *static_cast<Peer*>(peer);
    if (frame->hd.type != NGHTTP2_DATA || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    auto& request = self.incomplete[frame->hd.stream_id];
    request.stream = frame->hd.stream_id;
    request.body.erase(0, 5);
    self.complete.push_back(std::move(request));
    self.incomplete.erase(frame->hd.stream_id);
    return 0;
  }

  void serve(int fd) {
    Peer peer;
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session* session = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_server_new(&session, callbacks, &peer);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, nullptr, 0);
    const std::uint8_t* settings = nullptr;
    const auto size = static_cast<std::size_t>(nghttp2_session_mem_send(session, &settings));
    if (sends_settings_) send(fd, {reinterpret_cast<const char*>(settings), size});
    bool keep_open = true;
    while (keep_open && server_.readable(fd)) {
      std::uint8_t bytes[4096];
      const auto n = ::recv(fd, bytes, sizeof bytes, 0);
      if (n <= 0 || nghttp2_session_mem_recv(session, bytes, static_cast<std::size_t>(n)) < 0) break;
      for (const auto& request : std::exchange(peer.complete, {})) {
        {
          const std::lock_guard lock(mutex_);
          const auto method = request.method.substr(request.method.rfind("v1.") + 3);
          methods_.push_back(request.name_space.empty() ? method : method + ' ' + request.name_space);
        }
        if (!handler_(fd, request)) {
          keep_open = false;
          break;
        }
      }
    }
    nghttp2_session_del(session);
  }

  Handler handler_;
  bool sends_settings_;
  std::mutex mutex_;
  std::vector<std::string> methods_;
  UnixServer server_;  // declared last: its threads end before the other members are destroyed
};

// Messages in containerd's format.
inline std::string proto(std::uint32_t number, std::string_view bytes) {
  std::string out;
  add_proto_bytes(out, number, bytes);
  return out;
}
inline std::string proto(std::uint32_t number, std::uint64_t value) {
  std::string out;
  add_proto_integer(out, number, value);
  return out;
}

using Labels = std::map<std::string, std::string>;

inline std::string container_message(const std::string& id, const std::string& image, const Labels& labels = {}) {
  auto container = proto(1, id) + proto(3, image) + proto(5, proto(2, R"({"process":{"env":["SECRET=1"]}})")) +
                   proto(6, "overlayfs") + proto(7, id) +
                   proto(8, proto(1, std::uint64_t{1'795'000'000}) + proto(2, std::uint64_t{250'000'000}));
  for (const auto& [name, value] : labels) container += proto(2, proto(1, name) + proto(2, value));
  return proto(1, container);
}
// containerd's task states: 1 created, 2 running, 3 stopped, 4 paused.
inline std::string task_message(const std::string& id, std::uint64_t state, std::uint64_t exit_status = 0) {
  return proto(1, proto(2, id) + proto(3, std::uint64_t{4711}) + proto(4, state) + proto(9, exit_status) +
                      proto(10, proto(1, std::uint64_t{1'795'000'100})));
}
inline std::string namespaces_message(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += proto(1, proto(1, name));
  return out;
}
inline std::string event_message(const std::string& space, const std::string& topic, const std::string& event) {
  return proto(1, proto(1, std::uint64_t{1'795'000'000})) + proto(2, space) + proto(3, topic) +
         proto(4, proto(1, "containerd.events.X") + proto(2, event));
}
inline std::string exit_message(const std::string& space, const std::string& id, const std::string& process,
                                std::uint64_t status) {
  return event_message(space, "/tasks/exit",
                       proto(1, id) + proto(2, process) + proto(3, std::uint64_t{4711}) + proto(4, status) +
                           proto(5, proto(1, std::uint64_t{1'795'000'100})));
}

}  // namespace cgwarden::discovery
