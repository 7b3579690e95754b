// SPDX-License-Identifier: Apache-2.0
#include "src/discovery/daemon.h"

#include <sys/un.h>

#include <algorithm>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include "src/base/text.h"
#include "src/discovery/containerd.h"
#include "src/discovery/timed_socket.h"

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

// Docker's API.
class Inspector final : public Daemon {
 public:
  explicit Inspector(Options options)
      : options_(std::move(options)), labels_(options_.labels), socket_(options_.socket) {}

  Round ask(const std::vector<std::string>& ids) override;
  void cancel() override { socket_.cancel(); }

 private:
  error_code get(const std::string& target, Clock::time_point deadline, Parser& parser);
  void close();

  Options options_;
  LabelFilter labels_;
  TimedSocket socket_;
  beast::flat_buffer buffer_{kMostBuffered};
};

error_code Inspector::get(const std::string& target, Clock::time_point deadline, Parser& parser) {
  http::request<http::empty_body> request{http::verb::get, target, 11};
  request.set(http::field::host, "localhost");
  request.set(http::field::user_agent, "cgwarden/" CGWARDEN_VERSION);
  request.set(http::field::accept, "application/json");
  auto& socket = socket_.socket();
  error_code error;
  if (!socket_.is_open()) error = socket_.connect(deadline);
  if (!error) error = socket_.run(deadline, [&](auto done) { http::async_write(socket, request, done); }).error;
  if (!error) error = socket_.run(deadline, [&](auto done) { http::async_read(socket, buffer_, parser, done); }).error;
  if (error || !parser.get().keep_alive()) close();
  return error;
}

void Inspector::close() {
  socket_.close();
  buffer_.clear();
}

Daemon::Round Inspector::ask(const std::vector<std::string>& ids) {
  Round out;
  const auto end = Clock::now() + options_.round_within;
  const auto fail = [&](Failure failure, std::string why) {
    ++out.failures[static_cast<std::size_t>(failure)];
    out.problem = std::move(why);
  };
  for (const auto& id : ids) {
    const auto now = Clock::now();
    if (out.asked == options_.most_asked || now >= end || socket_.cancelled()) break;
    ++out.asked;
    if (!is_engine_id(id)) continue;
    Parser parser;
    parser.body_limit(options_.most_bytes);
    parser.header_limit(kMostHeader);
    const auto error = get("/containers/" + id + "/json", std::min(end, now + options_.answer_within), parser);
    if (error == http::error::body_limit) {
      fail(Failure::too_big, "an answer is larger than it may be");
      continue;
    }
    if (error) {
      if (socket_.cancelled()) break;
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
  close();
  return out;
}

}  // namespace

std::unique_ptr<Daemon> make_daemon(const Daemon::Options& options) {
  if (options.title == "containerd") return make_containerd(options);
  return std::make_unique<Inspector>(options);
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
