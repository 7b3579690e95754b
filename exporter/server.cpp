// SPDX-License-Identifier: Apache-2.0
#include "exporter/server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/status.hpp>
#include <exception>
#include <functional>
#include <list>
#include <optional>
#include <utility>

#include "exporter/api.h"
#include "exporter/buffer.h"
#include "exporter/gzip.h"
#include "exporter/http.h"
#include "exporter/listener.h"
#include "exporter/metric_families.h"
#include "exporter/textfile.h"
#include "src/base/names.h"
#include "src/base/text.h"

namespace cgwarden::exporter {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

using boost::system::error_code;
using Stream = beast::basic_stream<asio::generic::stream_protocol>;
using Request = http::request<http::empty_body>;

constexpr auto kAnyAge = std::chrono::hours(24);
constexpr auto kFirstSnapshotTimeout = std::chrono::seconds(1);  // for / and /-/ready
constexpr auto kLinger = std::chrono::seconds(1);
constexpr std::size_t kLingerBytes = 65536;
constexpr int kAcceptsAtOnce = 16;
constexpr auto kMaxBackoff = std::chrono::milliseconds(1000);

struct Response {
  unsigned status = 200;
  std::string_view content_type = "text/plain; charset=utf-8";
  std::string text;
  std::shared_ptr<const Buffer> body;  // instead of text
  bool gzip = false;
  bool negotiated = false;          // depends on Accept and Accept-Encoding
  std::string tag;                  // entity tag for If-None-Match; empty: the response must not be cached
  bool close = false;               // close the connection after the response
  std::shared_ptr<void> in_flight;  // released after the last byte is sent

  [[nodiscard]] std::string_view bytes() const { return body ? body->view() : std::string_view(text); }
};

// A response with one line of plain text.
Response text_response(unsigned status, std::string line) {
  Response out;
  out.status = status;
  out.text = std::move(line) + '\n';
  return out;
}

std::string header_of(const Response& response, bool close, bool old_keep_alive) {
  const auto reason = http::obsolete_reason(http::int_to_status(response.status));
  std::string out = "HTTP/1.1 " + std::to_string(response.status) + ' ';
  out.append(reason.data(), reason.size());
  out += "\r\nDate: " + http_date(base::wall_now()) + "\r\nContent-Type: ";
  out += response.content_type;
  if (response.status != 304) out += "\r\nContent-Length: " + std::to_string(response.bytes().size());
  if (response.gzip) out += "\r\nContent-Encoding: gzip";
  if (response.negotiated) out += "\r\nVary: Accept, Accept-Encoding";
  if (!response.tag.empty()) out += "\r\nETag: " + response.tag;
  if (response.status == 405) out += "\r\nAllow: GET, HEAD";
  if (close) out += "\r\nConnection: close";
  if (!close && old_keep_alive) out += "\r\nConnection: keep-alive";
  out += response.tag.empty() ? "\r\nCache-Control: no-store" : "\r\nCache-Control: no-cache";
  out +=
      "\r\nX-Content-Type-Options: nosniff"
      "\r\nContent-Security-Policy: default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
      "\r\n\r\n";
  return out;
}

// All values of a list header, joined with commas.
std::string joined(const Request& request, http::field field) {
  std::string out;
  const auto [begin, end] = request.equal_range(field);
  for (auto it = begin; it != end; ++it) {
    if (!out.empty()) out += ',';
    out.append(it->value().data(), it->value().size());
  }
  return out;
}

std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }

// The response to a request that could not be read. Nullopt: the client has closed the connection.
std::optional<Response> response_to(error_code error, std::size_t max_header_bytes) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return text_response(431, "request header is longer than " + std::to_string(max_header_bytes) + " bytes");
  }
  if (error == http::error::end_of_stream) return std::nullopt;
  if (error == http::error::partial_message) return text_response(400, "incomplete request");
  if (error == http::error::body_limit) return text_response(413, "request bodies are not supported");
  if (error.category() == make_error_code(http::error::bad_method).category()) {
    return text_response(400, "invalid HTTP request: " + error.message());
  }
  return std::nullopt;
}

}  // namespace

struct Server::Impl : std::enable_shared_from_this<Impl> {
  struct ActiveListener {
    ActiveListener(asio::io_context& context, Listener opened)
        : listener(std::move(opened)), descriptor(context, listener->fd()), pause(context) {}
    ~ActiveListener() { close(); }
    ActiveListener(const ActiveListener&) = delete;
    ActiveListener& operator=(const ActiveListener&) = delete;

    void close() {
      if (descriptor.is_open()) descriptor.release();  // the listener closes it
      listener.reset();
      pause.cancel();
    }

    std::optional<Listener> listener;
    asio::posix::stream_descriptor descriptor;
    asio::steady_timer pause;
  };

  // A request that waits for a snapshot. Canceling the timer signals the snapshot.
  struct Wait {
    explicit Wait(asio::io_context& context) : timer(context) {}
    asio::steady_timer timer;
    model::SnapshotPtr snapshot;
    bool answered = false;
  };

  Impl(asio::io_context& context, Options given, std::shared_ptr<const model::Catalogue> fields,
       model::SnapshotSource from, std::shared_ptr<SelfMetrics> self_metrics)
      : io(context),
        options(std::move(given)),
        catalogue(std::move(fields)),
        source(std::move(from)),
        metrics(std::move(self_metrics)),
        writer(options.writer),
        textfiles(options.textfile_directories) {}

  base::Result<void> start();
  void stop();
  asio::awaitable<void> accept(ActiveListener& listening);
  void start_connection(int fd);
  asio::awaitable<void> serve(Stream& stream);
  asio::awaitable<bool> send(Stream& stream, const Response& response, bool head, bool close, bool old_keep_alive);
  asio::awaitable<void> linger(Stream& stream);
  asio::awaitable<std::shared_ptr<Wait>> snapshot(std::chrono::nanoseconds max_age, std::chrono::nanoseconds timeout);
  asio::awaitable<Response> handle(const Request& request, bool has_body, std::string_view& path);
  asio::awaitable<Response> scrape(const Request& request, const Target& target);
  asio::awaitable<Response> api(const Request& request, const Target& target);
  asio::awaitable<Response> ready();
  asio::awaitable<Response> landing_page();
  std::shared_ptr<Buffer> encode(const model::Snapshot& sample, Format format, const CollectorFilter& only);
  std::shared_ptr<Buffer> encode_gzip(const model::Snapshot& sample, Format format, const CollectorFilter& only);
  void write_body(const model::Snapshot& sample, Format format, const CollectorFilter& only, Buffer& body,
                  const std::function<void(Buffer&)>& flush = {});

  asio::io_context& io;
  const Options options;
  const std::shared_ptr<const model::Catalogue> catalogue;
  const model::SnapshotSource source;
  const std::shared_ptr<SelfMetrics> metrics;

  TextWriter writer;
  const Textfiles textfiles;
  Gzip gzip;
  BufferPool bodies{2};
  BufferPool compressed_bodies{2};
  Buffer piece;  // part of a body before compression
  std::list<std::shared_ptr<ActiveListener>> listening;
  std::list<Stream*> connections;
  std::list<std::shared_ptr<Wait>> waiting;
  std::size_t in_flight = 0;
  bool was_ready = false;
  bool stopped = false;
};

base::Result<void> Server::Impl::start() {
  std::list<std::shared_ptr<ActiveListener>> opened;
  for (const auto& address : options.listen) {
    auto listener = Listener::open(address);
    if (!listener) return tl::unexpected(listener.error());
    opened.push_back(std::make_shared<ActiveListener>(io, std::move(*listener)));
  }
  listening.splice(listening.end(), opened);
  for (const auto& one : listening) {
    const auto run = [](std::shared_ptr<Impl> self, std::shared_ptr<ActiveListener> on) -> asio::awaitable<void> {
      co_await self->accept(*on);
    };
    asio::co_spawn(io, run(shared_from_this(), one), [](std::exception_ptr error) {
      if (error) std::rethrow_exception(error);
    });
  }
  return {};
}

void Server::Impl::stop() {
  stopped = true;
  for (const auto& one : listening) one->close();
  listening.clear();
  for (auto* stream : connections) stream->close();
  for (const auto& wait : waiting) wait->timer.cancel();
}

asio::awaitable<void> Server::Impl::accept(ActiveListener& on) {
  auto backoff = std::chrono::milliseconds(50);
  while (!stopped) {
    error_code error;
    co_await on.descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                      asio::redirect_error(asio::use_awaitable, error));
    if (error || stopped) co_return;
    for (int i = 0; i < kAcceptsAtOnce; ++i) {
      const int fd = ::accept4(on.listener->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        backoff = std::chrono::milliseconds(50);
        start_connection(fd);
        continue;
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK) break;
      if (errno == EINTR || errno == ECONNABORTED) continue;
      // Out of descriptors or memory: the connection stays in the backlog; retry later instead of busy looping.
      on.pause.expires_after(backoff);
      co_await on.pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
      backoff = std::min(2 * backoff, kMaxBackoff);
      break;
    }
  }
}

void Server::Impl::start_connection(int raw) {
  base::Fd fd(raw);
  if (connections.size() >= options.max_connections) {
    metrics->count_rejected_connection();
    const auto response =
        text_response(503, "too many connections (limit: " + std::to_string(options.max_connections) + ")");
    const auto text = header_of(response, true, false) + response.text;
    // Read the request: closing a socket with unread data sends RST, which can discard the response.
    char discarded[4096];
    for (int i = 0; i < 4 && ::recv(fd.get(), discarded, sizeof discarded, MSG_DONTWAIT) > 0; ++i) {
    }
    ::send(fd.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    ::shutdown(fd.get(), SHUT_WR);
    return;
  }
  int family = AF_UNSPEC;
  socklen_t size = sizeof family;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_DOMAIN, &family, &size);
  if (family != AF_UNIX) {
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  auto stream = std::make_unique<Stream>(io);
  error_code error;
  stream->socket().assign(asio::generic::stream_protocol(family, family == AF_UNIX ? 0 : IPPROTO_TCP), fd.get(), error);
  if (error) return;
  (void)fd.release();

  struct Entry {  // registers the connection
    Entry(Impl& impl, Stream& stream) : list(impl.connections), at(list.insert(list.end(), &stream)) {}
    ~Entry() { list.erase(at); }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    std::list<Stream*>& list;
    std::list<Stream*>::iterator at;
  };
  const auto run = [](std::shared_ptr<Impl> self, std::unique_ptr<Stream> client) -> asio::awaitable<void> {
    const Entry entry(*self, *client);
    co_await self->serve(*client);
  };
  // An exception (out of memory) ends only this connection.
  asio::co_spawn(io, run(shared_from_this(), std::move(stream)), [](std::exception_ptr) {});
}

asio::awaitable<void> Server::Impl::serve(Stream& stream) {
  beast::flat_buffer buffer(options.max_header_bytes);
  for (bool first = true; !stopped; first = false) {
    error_code error;
    if (buffer.size() == 0) {
      stream.expires_after(first ? options.header_timeout : options.idle_timeout);
      const auto room = buffer.prepare(std::min<std::size_t>(1024, options.max_header_bytes));
      const auto size = co_await stream.async_read_some(room, asio::redirect_error(asio::use_awaitable, error));
      if (error || stopped) co_return;
      buffer.commit(size);
    }
    http::request_parser<http::empty_body> parser;
    parser.header_limit(static_cast<std::uint32_t>(options.max_header_bytes));
    // The timeout of the stream would close it without a response, so use a separate timer.
    stream.expires_never();
    auto expired = std::make_shared<bool>(false);
    asio::steady_timer deadline(io, options.header_timeout);
    deadline.async_wait([weak = std::weak_ptr(expired), &stream](const error_code& cancelled) {
      const auto waits = weak.lock();  // keeps the stream alive too
      if (cancelled || !waits) return;
      *waits = true;
      stream.cancel();
    });
    co_await http::async_read_header(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
    deadline.cancel();
    const bool has_expired = *expired;
    expired.reset();  // a timer that has just expired must not cancel the response
    if (stopped) co_return;
    if (error) {
      auto refusal = response_to(error, options.max_header_bytes);
      if (has_expired) refusal = text_response(408, "request header timeout");
      if (refusal) {
        metrics->count_request("other", refusal->status, refusal->text.size());
        if (co_await send(stream, *refusal, false, true, false)) co_await linger(stream);
      }
      co_return;
    }

    const Request& request = parser.get();
    const bool head = request.method() == http::verb::head;
    const bool has_body = parser.chunked() || parser.content_length().value_or(0) != 0;
    std::string_view path = "other";
    stream.expires_never();
    std::optional<Response> answered;
    std::string failure;
    try {
      answered = co_await handle(request, has_body, path);
    } catch (const std::exception& e) {
      failure = e.what();
    }
    if (stopped) co_return;
    if (!answered) answered = text_response(500, "internal error: " + base::printable(failure));
    const auto sent = head ? 0 : answered->bytes().size();
    metrics->count_request(path, answered->status, sent);
    const bool close = answered->close || has_body || !parser.keep_alive();
    if (!co_await send(stream, *answered, head, close, request.version() < 11)) co_return;
    if (close) {
      if (answered->close || has_body) co_await linger(stream);
      co_return;
    }
  }
}

// True if everything was sent.
asio::awaitable<bool> Server::Impl::send(Stream& stream, const Response& response, bool head, bool close,
                                         bool old_keep_alive) {
  const auto header = header_of(response, close, old_keep_alive);
  std::string_view first = header;
  std::string_view second = head ? std::string_view() : response.bytes();
  stream.expires_after(options.write_timeout);
  // async_write() would split it into pieces of 64 KiB; this is one system call if the socket buffer is large enough.
  while (!first.empty() || !second.empty()) {
    const std::array<asio::const_buffer, 2> both = {asio::buffer(first), asio::buffer(second)};
    error_code error;
    auto size = co_await stream.async_write_some(both, asio::redirect_error(asio::use_awaitable, error));
    if (error || stopped) co_return false;
    const auto of_first = std::min(size, first.size());
    first.remove_prefix(of_first);
    second.remove_prefix(size - of_first);
  }
  co_return true;
}

// Closing a socket with unread data sends RST, which can discard the response: read for a while first.
asio::awaitable<void> Server::Impl::linger(Stream& stream) {
  error_code error;
  stream.socket().shutdown(asio::socket_base::shutdown_send, error);
  stream.expires_after(kLinger);
  char discarded[4096];
  for (std::size_t taken = 0; taken < kLingerBytes && !error && !stopped;) {
    taken += co_await stream.async_read_some(asio::buffer(discarded), asio::redirect_error(asio::use_awaitable, error));
  }
}

// Never null; `answered` is false after the timeout.
asio::awaitable<std::shared_ptr<Server::Impl::Wait>> Server::Impl::snapshot(std::chrono::nanoseconds max_age,
                                                                            std::chrono::nanoseconds timeout) {
  auto wait = std::make_shared<Wait>(io);
  wait->timer.expires_after(timeout);
  source(max_age, [weak = std::weak_ptr(wait)](model::SnapshotPtr sample) {
    const auto waits = weak.lock();
    if (!waits) return;
    waits->snapshot = std::move(sample);
    waits->answered = true;
    waits->timer.cancel();
  });
  if (!wait->answered) {
    const auto at = waiting.insert(waiting.end(), wait);
    error_code ignored;
    co_await wait->timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    waiting.erase(at);
  }
  if (wait->snapshot) {
    was_ready = true;
    metrics->observe_snapshot(*wait->snapshot);
  }
  co_return wait;
}

asio::awaitable<Response> Server::Impl::handle(const Request& request, bool has_body, std::string_view& path) {
  const auto target = parse_target(view(request.target()));
  const bool reads = request.method() == http::verb::get || request.method() == http::verb::head;
  constexpr std::string_view landing = "/";
  constexpr std::string_view healthy = "/-/healthy";
  constexpr std::string_view readiness = "/-/ready";
  if (target) {
    for (const std::string_view known : {std::string_view(options.telemetry_path), landing, healthy, readiness,
                                         kApiSnapshot, kApiCgroups, kApiFields}) {
      if (target->path == known) {
        path = known;
        break;
      }
    }
  }
  if (!reads) co_return text_response(405, "method not allowed (use GET or HEAD)");
  if (request.version() >= 11 && request.find(http::field::host) == request.end()) {
    auto out = text_response(400, "Host header is missing");
    out.close = true;
    co_return out;
  }
  if (!target) co_return text_response(400, "invalid request target");
  if (has_body) co_return text_response(413, "request bodies are not supported");
  if (path == options.telemetry_path) co_return co_await scrape(request, *target);
  if (path == healthy) co_return text_response(200, "healthy");
  if (path == readiness) co_return co_await ready();
  if (path == landing) co_return co_await landing_page();
  if (path == kApiSnapshot || path == kApiCgroups || path == kApiFields) co_return co_await api(request, *target);
  co_return text_response(404, "not found");
}

asio::awaitable<Response> Server::Impl::scrape(const Request& request, const Target& target) {
  const auto begun = base::monotonic_now();
  CollectorFilter only;
  for (const auto& [name, value] : target.query) {
    if (name != "collect[]") continue;
    const auto id = catalogue->find_collector(value);
    if (!id) {
      std::vector<std::string_view> names;
      std::string list;
      for (const auto& collector : catalogue->collectors()) {
        names.push_back(collector.name);
        list += (list.empty() ? "" : ", ") + std::string(collector.name);
      }
      co_return text_response(400, base::unknown_name("collector", std::string_view(value).substr(0, 64), names) +
                                       " (collectors: " + list + ")");
    }
    only.resize(catalogue->collectors().size());
    only[*id] = true;
  }

  if (in_flight >= options.max_requests_in_flight) {
    co_return text_response(
        503, "too many concurrent requests (limit: " + std::to_string(options.max_requests_in_flight) + ")");
  }
  ++in_flight;
  std::shared_ptr<void> slot(nullptr, [self = shared_from_this()](void*) { --self->in_flight; });

  const auto timeout =
      response_timeout(view(request["X-Prometheus-Scrape-Timeout-Seconds"]), options.default_scrape_timeout);
  const auto wait = co_await snapshot(options.max_snapshot_age, timeout);
  if (!wait->snapshot) {
    co_return text_response(503, wait->answered ? "cgroups could not be sampled"
                                                : "scrape timeout expired before the cgroups were sampled");
  }
  const auto& sample = *wait->snapshot;
  for (std::size_t id = 0; id < only.size() && id < sample.collectors.size(); ++id) {
    if (only[id] && !sample.collectors[id].enabled) {
      const std::string name(catalogue->collectors()[id].name);
      co_return text_response(400, "collector '" + name + "' is disabled");
    }
  }

  const auto negotiated = negotiate(joined(request, http::field::accept));
  Response out;
  out.content_type = negotiated.content_type;
  out.negotiated = true;
  out.in_flight = std::move(slot);
  if (accepts_gzip(joined(request, http::field::accept_encoding)))
    out.body = encode_gzip(sample, negotiated.format, only);
  out.gzip = out.body != nullptr;
  if (!out.body) out.body = encode(sample, negotiated.format, only);
  metrics->observe_scrape(base::monotonic_now() - begun);
  co_return out;
}

asio::awaitable<Response> Server::Impl::api(const Request& request, const Target& target) {
  std::vector<bool> fields;
  for (const auto& [name, value] : target.query) {
    if (name != "fields" || target.path != kApiSnapshot) continue;
    fields.resize(catalogue->size());
    std::string_view rest = value;
    while (!rest.empty()) {
      const auto field = base::take_until(rest, ',');
      const auto id = catalogue->find(field);
      if (!id) {
        std::vector<std::string_view> names;
        for (std::size_t f = 0; f < catalogue->size(); ++f) {
          names.push_back(catalogue->field(static_cast<model::FieldId>(f)).name);
        }
        co_return text_response(
            400, base::unknown_name("field", field.substr(0, 64), names) + " (list: " + std::string(kApiFields) + ")");
      }
      fields[*id] = true;
    }
  }
  if (in_flight >= options.max_requests_in_flight) {
    co_return text_response(
        503, "too many concurrent requests (limit: " + std::to_string(options.max_requests_in_flight) + ")");
  }
  ++in_flight;
  std::shared_ptr<void> slot(nullptr, [self = shared_from_this()](void*) { --self->in_flight; });

  model::SnapshotPtr sample;
  if (target.path != kApiFields) {
    const auto wait = co_await snapshot(options.max_snapshot_age, options.default_scrape_timeout);
    sample = wait->snapshot;
    if (!sample) co_return text_response(503, "cgroups could not be sampled");
  }
  Response out;
  out.content_type = "application/json";
  out.negotiated = true;
  out.tag = !sample                      ? fields_tag(*catalogue)
            : target.path == kApiCgroups ? cgroups_tag(*sample)
                                         : snapshot_tag(*sample);
  // The tag depends on the selected fields.
  if (!fields.empty()) out.tag.insert(out.tag.size() - 1, "-" + std::to_string(std::hash<std::vector<bool>>{}(fields)));
  if (if_none_match_contains(joined(request, http::field::if_none_match), out.tag)) {
    out.status = 304;
    co_return out;
  }
  out.in_flight = std::move(slot);
  auto body = bodies.take();
  if (!sample) {
    write_api_fields(*catalogue, *body);
  } else if (target.path == kApiCgroups) {
    write_api_cgroups(*sample, *body);
  } else {
    write_api_snapshot(*sample, options.host ? std::optional(options.host()) : std::nullopt, fields, *body);
  }
  if (accepts_gzip(joined(request, http::field::accept_encoding))) {
    auto smaller = compressed_bodies.take();
    if (gzip.compress(body->view(), *smaller)) {
      body = std::move(smaller);
      out.gzip = true;
    }
  }
  out.body = std::move(body);
  co_return out;
}

std::shared_ptr<Buffer> Server::Impl::encode(const model::Snapshot& sample, Format format,
                                             const CollectorFilter& only) {
  auto body = bodies.take();
  write_body(sample, format, only, *body);
  return body;
}

// Compresses in pieces, without the whole text in memory. Null if compression fails.
std::shared_ptr<Buffer> Server::Impl::encode_gzip(const model::Snapshot& sample, Format format,
                                                  const CollectorFilter& only) {
  auto body = compressed_bodies.take();
  gzip.start(*body);
  piece.clear();
  write_body(sample, format, only, piece, [this](Buffer& part) {
    gzip.add(part.view());
    part.clear();
  });
  gzip.add(piece.view());
  return gzip.finish() ? body : nullptr;
}

void Server::Impl::write_body(const model::Snapshot& sample, Format format, const CollectorFilter& only, Buffer& body,
                              const std::function<void(Buffer&)>& flush) {
  const auto series = writer.write(sample, format, only, body, flush);
  std::string self_text;
  auto families = metrics->collect(sample, series);
  textfiles.add_to(families);
  append_families(std::move(families), format, self_text);
  body.append(self_text);
  body.append(last_line(format));
}

asio::awaitable<Response> Server::Impl::ready() {
  if (!was_ready) co_await snapshot(kAnyAge, kFirstSnapshotTimeout);
  co_return was_ready ? text_response(200, "ready")
                      : text_response(503, "not ready: cgroups have not been sampled yet");
}

asio::awaitable<Response> Server::Impl::landing_page() {
  const auto wait = co_await snapshot(kAnyAge, kFirstSnapshotTimeout);
  const auto link = [](const std::string& to, const std::string& text) {
    return "<li><a href=\"" + escape_html(to) + "\">" + text + "</a></li>\n";
  };
  Response out;
  out.content_type = "text/html; charset=utf-8";
  out.text =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>cgwarden</title></head>\n<body>\n"
      "<h1>cgwarden</h1>\n<p>Version " CGWARDEN_VERSION ". ";
  if (wait->snapshot) {
    out.text += std::to_string(wait->snapshot->cgroup_count()) + " cgroups.</p>\n";
  } else {
    out.text += "Cgroups have not been sampled yet.</p>\n";
  }
  out.text += "<ul>\n" + link(options.telemetry_path, "Metrics") + link("/-/healthy", "Health") +
              link("/-/ready", "Readiness") + link(std::string(kApiSnapshot), "Snapshot as JSON") + "</ul>\n";
  if (wait->snapshot && wait->snapshot->hierarchies) {
    out.text += "<table>\n<tr><th>Hierarchy</th><th>Version</th><th>Controllers</th></tr>\n";
    for (const auto& h : *wait->snapshot->hierarchies) {
      out.text += "<tr><td>" + escape_html(h.mount_point) + "</td><td>" + std::to_string(h.version) + "</td><td>" +
                  escape_html(h.controllers) + "</td></tr>\n";
    }
    out.text += "</table>\n";
  }
  out.text += "</body>\n</html>\n";
  co_return out;
}

Server::Server(asio::io_context& io, Options options, std::shared_ptr<const model::Catalogue> catalogue,
               model::SnapshotSource source, std::shared_ptr<SelfMetrics> metrics)
    : impl_(std::make_shared<Impl>(io, std::move(options), std::move(catalogue), std::move(source),
                                   std::move(metrics))) {}

Server::~Server() { impl_->stop(); }

base::Result<void> Server::start() { return impl_->start(); }

std::vector<std::string> Server::addresses() const {
  std::vector<std::string> out;
  for (const auto& one : impl_->listening) out.push_back(one->listener->address());
  return out;
}

void Server::stop() { impl_->stop(); }

void Server::reset_labels() { impl_->writer.reset_labels(); }

}  // namespace cgwarden::exporter
