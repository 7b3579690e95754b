// SPDX-License-Identifier: Apache-2.0
#include "src/discovery/daemon.h"

#include <sys/un.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include "src/base/text.h"

namespace cgwarden::discovery {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;
using Parser = http::response_parser<http::string_body>;

constexpr std::size_t kMostBuffered = std::size_t{64} << 10U;
constexpr std::uint32_t kMostHeader = 16U << 10U;

bool is_http_error(const error_code& error) {
  return error.category() == http::make_error_code(http::error::bad_version).category() &&
         error != http::error::end_of_stream && error != http::error::partial_message;
}

}  // namespace

// Every operation runs until it is done or its time is over; then the socket is closed, as it may answer yet.
class Daemon::Connection {
 public:
  explicit Connection(std::string path) : path_(std::move(path)) {}

  error_code get(const std::string& target, Clock::time_point deadline, Parser& parser) {
    deadline_ = deadline;
    http::request<http::empty_body> request{http::verb::get, target, 11};
    request.set(http::field::host, "localhost");
    request.set(http::field::user_agent, "cgwarden/" CGWARDEN_VERSION);
    request.set(http::field::accept, "application/json");
    error_code error;
    if (!socket_.is_open()) {
      error = run([&](auto done) { socket_.async_connect(asio::local::stream_protocol::endpoint(path_), done); });
    }
    if (!error) error = run([&](auto done) { http::async_write(socket_, request, done); });
    if (!error) error = run([&](auto done) { http::async_read(socket_, buffer_, parser, done); });
    if (error || !parser.get().keep_alive()) close();
    return error;
  }

  void close() {
    error_code ignored;
    socket_.close(ignored);
    io_.restart();
    (void)io_.poll();  // what was given up still looks at the buffer and the parser
    buffer_.clear();
  }

  void cancel() {
    cancelled_ = true;
    io_.stop();
  }
  [[nodiscard]] bool cancelled() const { return cancelled_; }

 private:
  struct State {
    bool done = false;
    error_code error;
  };

  template <class Start>
  error_code run(const Start& start) {
    const auto state = std::make_shared<State>();
    start([state](const error_code& error, const auto&...) {
      state->done = true;
      state->error = error;
    });
    io_.restart();
    while (!state->done && !cancelled_ && Clock::now() < deadline_) {
      if (io_.run_one_until(deadline_) == 0 && io_.stopped() && !cancelled_) io_.restart();
    }
    if (state->done) return state->error;
    return cancelled_ ? error_code(asio::error::operation_aborted) : error_code(asio::error::timed_out);
  }

  std::string path_;
  asio::io_context io_{1};
  asio::local::stream_protocol::socket socket_{io_};
  beast::flat_buffer buffer_{kMostBuffered};
  Clock::time_point deadline_;
  std::atomic<bool> cancelled_ = false;
};

Daemon::Daemon(Options options)
    : options_(std::move(options)),
      labels_(options_.labels),
      connection_(std::make_unique<Connection>(options_.socket)) {}

Daemon::~Daemon() = default;

void Daemon::cancel() { connection_->cancel(); }

Daemon::Round Daemon::ask(const std::vector<std::string>& ids) {
  Round out;
  const auto end = Clock::now() + options_.round_within;
  const auto fail = [&](Failure failure, std::string why) {
    ++out.failures[static_cast<std::size_t>(failure)];
    out.problem = std::move(why);
  };
  for (const auto& id : ids) {
    const auto now = Clock::now();
    if (out.asked == options_.most_asked || now >= end || connection_->cancelled()) break;
    ++out.asked;
    if (!is_engine_id(id)) continue;
    Parser parser;
    parser.body_limit(options_.most_bytes);
    parser.header_limit(kMostHeader);
    const auto error =
        connection_->get("/containers/" + id + "/json", std::min(end, now + options_.answer_within), parser);
    if (error == http::error::body_limit) {
      fail(Failure::too_big, "an answer is larger than it may be");
      continue;
    }
    if (error) {
      if (connection_->cancelled()) break;
      if (error == asio::error::timed_out) {
        fail(Failure::timeout, "no answer in time");
      } else if (is_http_error(error)) {
        fail(Failure::broken, "this is no HTTP: " + error.message());
      } else {
        fail(Failure::unreachable, error.message());
      }
      break;  // so it would be for the next one
    }
    const auto status = parser.get().result_int();
    if (status == 404) {
      out.told.emplace_back(id, nullptr);
    } else if (status != 200) {
      fail(Failure::status, "it answers " + std::to_string(status));
    } else if (auto told =
                   parse_inspected(parser.get().body(), id, options_.title, "unix:" + options_.socket, labels_)) {
      out.told.emplace_back(id, std::move(told));
    } else {
      fail(Failure::broken, "an answer is broken or of another container");
    }
  }
  // None that idles until the next round: the daemon may be another one then.
  connection_->close();
  return out;
}

bool is_socket_path(std::string_view path) {
  return path.starts_with('/') && path.size() < sizeof(sockaddr_un::sun_path) &&
         path.find('\0') == std::string_view::npos;
}

model::ContainerPtr parse_inspected(std::string_view text, const std::string& id, const std::string& title,
                                    const std::string& source, const LabelFilter& labels) {
  if (!base::is_utf8(text)) return nullptr;
  const auto json = parse_state(text);
  if (!json) return nullptr;
  Findings out(labels);
  out.from(source);
  if (!tell_inspected(*json, id, out)) return nullptr;
  out.set(&model::Container::runtime, title);
  if (title == "podman" && is_podman_infra(out.facts().name.value_or(""))) out.set_role(model::Role::sandbox);
  return std::make_shared<const model::Container>(out.take());
}

}  // namespace cgwarden::discovery
