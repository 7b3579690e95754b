// SPDX-License-Identifier: Apache-2.0
#include "src/discovery/unix_http.h"

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <utility>

#include "src/discovery/timed_socket.h"

namespace cgwarden::discovery {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using Request = http::request<http::string_body>;

constexpr std::size_t kMaxBuffered = std::size_t{64} << 10U;
constexpr std::uint32_t kMaxHeader = 16U << 10U;

bool is_http_error(const error_code& error) {
  return error.category() == http::make_error_code(http::error::bad_version).category() &&
         error != http::error::end_of_stream && error != http::error::partial_message;
}

Request request_for(http::verb verb, const std::string& target) {
  Request request{verb, target, 11};
  request.set(http::field::host, "localhost");
  request.set(http::field::user_agent, "cgwarden/" CGWARDEN_VERSION);
  request.set(http::field::accept, "application/json");
  return request;
}

}  // namespace

struct UnixHttp::Connection {
  Connection(std::string path, std::size_t max) : max_bytes(max), socket(std::move(path)) {}

  const std::size_t max_bytes;
  beast::flat_buffer buffer{kMaxBuffered};
  TimedSocket socket;  // declared last: destroyed before the buffer that its operations use

  void close() {
    socket.close();
    buffer.clear();
  }

  HttpResponse send(const Request& request, Clock::time_point deadline) {
    http::response_parser<http::string_body> parser;
    parser.body_limit(max_bytes);
    parser.header_limit(kMaxHeader);
    auto& stream = socket.socket();
    error_code error;
    if (!socket.is_open()) error = socket.connect(deadline);
    if (!error) error = socket.run(deadline, [&](auto done) { http::async_write(stream, request, done); }).error;
    if (!error) error = socket.run(deadline, [&](auto done) { http::async_read(stream, buffer, parser, done); }).error;
    if (error || !parser.get().keep_alive()) close();
    if (!error)
      return {.outcome = HttpOutcome::answered,
              .status = static_cast<int>(parser.get().result_int()),
              .body = std::move(parser.get().body())};
    if (error == http::error::body_limit)
      return {.outcome = HttpOutcome::too_big, .error = "response exceeds the size limit"};
    if (socket.cancelled()) return {.outcome = HttpOutcome::cancelled};
    if (error == boost::asio::error::timed_out) return {.outcome = HttpOutcome::timeout, .error = "timed out"};
    if (is_http_error(error)) return {.outcome = HttpOutcome::broken, .error = "invalid HTTP: " + error.message()};
    return {.outcome = HttpOutcome::unreachable, .error = error.message()};
  }
};

UnixHttp::UnixHttp(std::string path, std::size_t max_bytes)
    : connection_(std::make_unique<Connection>(std::move(path), max_bytes)) {}
UnixHttp::~UnixHttp() = default;

HttpResponse UnixHttp::get(const std::string& target, Clock::time_point deadline) {
  return connection_->send(request_for(http::verb::get, target), deadline);
}

HttpResponse UnixHttp::post(const std::string& target, std::string json, Clock::time_point deadline) {
  auto request = request_for(http::verb::post, target);
  if (!json.empty()) request.set(http::field::content_type, "application/json");
  request.body() = std::move(json);
  request.prepare_payload();
  return connection_->send(request, deadline);
}

void UnixHttp::close() { connection_->close(); }
void UnixHttp::cancel() { connection_->socket.cancel(); }
bool UnixHttp::cancelled() const { return connection_->socket.cancelled(); }

}  // namespace cgwarden::discovery
