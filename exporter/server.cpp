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
constexpr auto kProbePatience = std::chrono::seconds(1);  // of /, /-/ready: how long they wait for a first snapshot
constexpr auto kLinger = std::chrono::seconds(1);
constexpr std::size_t kLingerBytes = 65536;
constexpr int kAcceptsAtOnce = 16;
constexpr auto kMaxBackoff = std::chrono::milliseconds(1000);

struct Answer {
  unsigned status = 200;
  std::string_view content_type = "text/plain; charset=utf-8";
  std::string text;
  std::shared_ptr<const Buffer> body;  // instead of text
  bool gzip = false;
  bool negotiated = false;     // depends on Accept and Accept-Encoding
  std::string tag;             // a client may keep it and ask whether it still holds
  bool close = false;          // this connection is not used further
  std::shared_ptr<void> held;  // released when the last byte is sent

  [[nodiscard]] std::string_view bytes() const { return body ? body->view() : std::string_view(text); }
};

// Errors are one line.
Answer refuse(unsigned status, std::string line) {
  Answer out;
  out.status = status;
  out.text = std::move(line) + '\n';
  return out;
}

std::string header_of(const Answer& answer, bool close, bool old_keep_alive) {
  const auto reason = http::obsolete_reason(http::int_to_status(answer.status));
  std::string out = "HTTP/1.1 " + std::to_string(answer.status) + ' ';
  out.append(reason.data(), reason.size());
  out += "\r\nDate: " + http_date(base::wall_now()) + "\r\nContent-Type: ";
  out += answer.content_type;
  if (answer.status != 304) out += "\r\nContent-Length: " + std::to_string(answer.bytes().size());
  if (answer.gzip) out += "\r\nContent-Encoding: gzip";
  if (answer.negotiated) out += "\r\nVary: Accept, Accept-Encoding";
  if (!answer.tag.empty()) out += "\r\nETag: " + answer.tag;
  if (answer.status == 405) out += "\r\nAllow: GET, HEAD";
  if (close) out += "\r\nConnection: close";
  if (!close && old_keep_alive) out += "\r\nConnection: keep-alive";
  out += answer.tag.empty() ? "\r\nCache-Control: no-store" : "\r\nCache-Control: no-cache";
  out +=
      "\r\nX-Content-Type-Options: nosniff"
      "\r\nContent-Security-Policy: default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
      "\r\n\r\n";
  return out;
}

// All values of a list header, joined.
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

// The answer to a request that could not be read. Nothing: the client is gone, or never began.
std::optional<Answer> answer_to(error_code error, std::size_t max_header_bytes) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return refuse(431, "the request's header is longer than " + std::to_string(max_header_bytes) + " bytes");
  }
  if (error == http::error::end_of_stream) return std::nullopt;
  if (error == http::error::partial_message) return refuse(400, "the request ends in its middle");
  if (error == http::error::body_limit) return refuse(413, "requests have no body here");
  if (error.category() == make_error_code(http::error::bad_method).category()) {
    return refuse(400, "this is no HTTP/1.1 request: " + error.message());
  }
  return std::nullopt;
}

}  // namespace

struct Server::Impl : std::enable_shared_from_this<Impl> {
  struct Listening {
    Listening(asio::io_context& context, Listener made)
        : listener(std::move(made)), descriptor(context, listener->fd()), pause(context) {}
    ~Listening() { close(); }
    Listening(const Listening&) = delete;
    Listening& operator=(const Listening&) = delete;

    void close() {
      if (descriptor.is_open()) descriptor.release();  // the listener's to close
      listener.reset();
      pause.cancel();
    }

    std::optional<Listener> listener;
    asio::posix::stream_descriptor descriptor;
    asio::steady_timer pause;
  };

  // Somebody waits for a snapshot. The timer is the event: cancelled when the snapshot comes.
  struct Wait {
    explicit Wait(asio::io_context& context) : timer(context) {}
    asio::steady_timer timer;
    model::SnapshotPtr snapshot;
    bool answered = false;
  };

  Impl(asio::io_context& context, Options given, std::shared_ptr<const model::Catalogue> fields,
       model::SnapshotSource from, std::shared_ptr<SelfMetrics> own)
      : io(context),
        options(std::move(given)),
        catalogue(std::move(fields)),
        source(std::move(from)),
        metrics(std::move(own)),
        writer(options.writer),
        textfiles(options.textfile_directories) {}

  base::Result<void> start();
  void stop();
  asio::awaitable<void> accept(Listening& listening);
  void welcome(int fd);
  asio::awaitable<void> serve(Stream& stream);
  asio::awaitable<bool> send(Stream& stream, const Answer& answer, bool head, bool close, bool old_keep_alive);
  asio::awaitable<void> linger(Stream& stream);
  asio::awaitable<std::shared_ptr<Wait>> snapshot(std::chrono::nanoseconds max_age, std::chrono::nanoseconds patience);
  asio::awaitable<Answer> answer(const Request& request, bool has_body, std::string_view& path);
  asio::awaitable<Answer> scrape(const Request& request, const Target& target);
  asio::awaitable<Answer> api(const Request& request, const Target& target);
  asio::awaitable<Answer> ready();
  asio::awaitable<Answer> front_page();
  std::shared_ptr<Buffer> encode(const model::Snapshot& made, Format format, const CollectorFilter& only);
  std::shared_ptr<Buffer> encode_packed(const model::Snapshot& made, Format format, const CollectorFilter& only);
  void write_body(const model::Snapshot& made, Format format, const CollectorFilter& only, Buffer& body,
                  const std::function<void(Buffer&)>& full = {});

  asio::io_context& io;
  const Options options;
  const std::shared_ptr<const model::Catalogue> catalogue;
  const model::SnapshotSource source;
  const std::shared_ptr<SelfMetrics> metrics;

  TextWriter writer;
  const Textfiles textfiles;
  Gzip gzip;
  BufferPool bodies{2};
  BufferPool packed{2};
  Buffer piece;  // of a body on its way to be packed
  std::list<std::shared_ptr<Listening>> listening;
  std::list<Stream*> connections;
  std::list<std::shared_ptr<Wait>> waiting;
  std::size_t in_flight = 0;
  bool was_ready = false;
  bool stopped = false;
};

base::Result<void> Server::Impl::start() {
  std::list<std::shared_ptr<Listening>> opened;
  for (const auto& address : options.listen) {
    auto listener = Listener::open(address);
    if (!listener) return tl::unexpected(listener.error());
    opened.push_back(std::make_shared<Listening>(io, std::move(*listener)));
  }
  listening.splice(listening.end(), opened);
  for (const auto& one : listening) {
    const auto run = [](std::shared_ptr<Impl> self, std::shared_ptr<Listening> on) -> asio::awaitable<void> {
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

asio::awaitable<void> Server::Impl::accept(Listening& on) {
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
        welcome(fd);
        continue;
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK) break;
      if (errno == EINTR || errno == ECONNABORTED) continue;
      // No descriptors or memory left: the connection stays in the queue, and asking at once would only burn CPU.
      on.pause.expires_after(backoff);
      co_await on.pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
      backoff = std::min(2 * backoff, kMaxBackoff);
      break;
    }
  }
}

void Server::Impl::welcome(int raw) {
  base::Fd fd(raw);
  if (connections.size() >= options.max_connections) {
    metrics->count_rejected_connection();
    const auto answer = refuse(503, "too many connections");
    const auto text = header_of(answer, true, false) + answer.text;
    // What the client has sent is taken, so that closing does not reset the connection under the answer.
    char waste[4096];
    for (int i = 0; i < 4 && ::recv(fd.get(), waste, sizeof waste, MSG_DONTWAIT) > 0; ++i) {
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

  struct Entry {  // in the list of connections
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
  // What a connection throws (no memory) ends that connection.
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
    // The stream's own deadline would close it, and then nobody could say why.
    stream.expires_never();
    auto late = std::make_shared<bool>(false);
    asio::steady_timer deadline(io, options.header_timeout);
    deadline.async_wait([weak = std::weak_ptr(late), &stream](const error_code& cancelled) {
      const auto waits = weak.lock();  // with it, the stream
      if (cancelled || !waits) return;
      *waits = true;
      stream.cancel();
    });
    co_await http::async_read_header(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
    deadline.cancel();
    const bool was_late = *late;
    late.reset();  // a timer that ran out just now must not end the answer
    if (stopped) co_return;
    if (error) {
      auto refusal = answer_to(error, options.max_header_bytes);
      if (was_late) refusal = refuse(408, "the request's header did not come in time");
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
    std::optional<Answer> answered;
    std::string failure;
    try {
      answered = co_await answer(request, has_body, path);
    } catch (const std::exception& e) {
      failure = e.what();
    }
    if (stopped) co_return;
    if (!answered) answered = refuse(500, "internal error: " + base::printable(failure));
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

// True when all of it was sent.
asio::awaitable<bool> Server::Impl::send(Stream& stream, const Answer& answer, bool head, bool close,
                                         bool old_keep_alive) {
  const auto header = header_of(answer, close, old_keep_alive);
  std::string_view first = header;
  std::string_view second = head ? std::string_view() : answer.bytes();
  stream.expires_after(options.write_timeout);
  // async_write() would cut it in pieces of 64 KiB; this is one system call when the socket takes it all.
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

// Closing with unread bytes would reset the connection and could take the answer away from the client.
asio::awaitable<void> Server::Impl::linger(Stream& stream) {
  error_code error;
  stream.socket().shutdown(asio::socket_base::shutdown_send, error);
  stream.expires_after(kLinger);
  char waste[4096];
  for (std::size_t taken = 0; taken < kLingerBytes && !error && !stopped;) {
    taken += co_await stream.async_read_some(asio::buffer(waste), asio::redirect_error(asio::use_awaitable, error));
  }
}

// Never null; `answered` is false when patience ran out.
asio::awaitable<std::shared_ptr<Server::Impl::Wait>> Server::Impl::snapshot(std::chrono::nanoseconds max_age,
                                                                            std::chrono::nanoseconds patience) {
  auto wait = std::make_shared<Wait>(io);
  wait->timer.expires_after(patience);
  source(max_age, [weak = std::weak_ptr(wait)](model::SnapshotPtr made) {
    const auto waits = weak.lock();
    if (!waits) return;
    waits->snapshot = std::move(made);
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

asio::awaitable<Answer> Server::Impl::answer(const Request& request, bool has_body, std::string_view& path) {
  const auto target = parse_target(view(request.target()));
  const bool reads = request.method() == http::verb::get || request.method() == http::verb::head;
  constexpr std::string_view front = "/";
  constexpr std::string_view healthy = "/-/healthy";
  constexpr std::string_view readiness = "/-/ready";
  if (target) {
    for (const std::string_view known :
         {std::string_view(options.telemetry_path), front, healthy, readiness, kApiSnapshot, kApiCgroups, kApiFields}) {
      if (target->path == known) {
        path = known;
        break;
      }
    }
  }
  if (!reads) co_return refuse(405, "only GET and HEAD are answered here");
  if (request.version() >= 11 && request.find(http::field::host) == request.end()) {
    auto out = refuse(400, "an HTTP/1.1 request needs a Host header");
    out.close = true;
    co_return out;
  }
  if (!target) co_return refuse(400, "this is no path");
  if (has_body) co_return refuse(413, "requests have no body here");
  if (path == options.telemetry_path) co_return co_await scrape(request, *target);
  if (path == healthy) co_return refuse(200, "healthy");
  if (path == readiness) co_return co_await ready();
  if (path == front) co_return co_await front_page();
  if (path == kApiSnapshot || path == kApiCgroups || path == kApiFields) co_return co_await api(request, *target);
  co_return refuse(404, "not found");
}

asio::awaitable<Answer> Server::Impl::scrape(const Request& request, const Target& target) {
  const auto begun = base::monotonic_now();
  CollectorFilter only;
  for (const auto& [name, value] : target.query) {
    if (name != "collect[]") continue;
    const auto id = catalogue->find_collector(value);
    if (!id) {
      std::string known;
      for (const auto& collector : catalogue->collectors()) {
        known += known.empty() ? " " : ", ";
        known += collector.name;
      }
      co_return refuse(400, "unknown collector \"" + base::printable(value.substr(0, 64)) + "\"; known are" + known);
    }
    only.resize(catalogue->collectors().size());
    only[*id] = true;
  }

  if (in_flight >= options.max_requests_in_flight) {
    co_return refuse(503, "too many requests at once, the limit is " + std::to_string(options.max_requests_in_flight));
  }
  ++in_flight;
  std::shared_ptr<void> held(nullptr, [self = shared_from_this()](void*) { --self->in_flight; });

  const auto patience =
      answer_within(view(request["X-Prometheus-Scrape-Timeout-Seconds"]), options.default_scrape_timeout);
  const auto wait = co_await snapshot(options.max_snapshot_age, patience);
  if (!wait->snapshot) {
    co_return refuse(503, wait->answered ? "no snapshot of the cgroups can be made"
                                         : "no snapshot of the cgroups came before the scrape timeout");
  }
  const auto& made = *wait->snapshot;
  for (std::size_t id = 0; id < only.size() && id < made.collectors.size(); ++id) {
    if (only[id] && !made.collectors[id].enabled) {
      const std::string name(catalogue->collectors()[id].name);
      co_return refuse(400, "collector \"" + name + "\" is switched off");
    }
  }

  const auto negotiated = negotiate(joined(request, http::field::accept));
  Answer out;
  out.content_type = negotiated.content_type;
  out.negotiated = true;
  out.held = std::move(held);
  if (accepts_gzip(joined(request, http::field::accept_encoding)))
    out.body = encode_packed(made, negotiated.format, only);
  out.gzip = out.body != nullptr;
  if (!out.body) out.body = encode(made, negotiated.format, only);
  metrics->observe_scrape(base::monotonic_now() - begun);
  co_return out;
}

asio::awaitable<Answer> Server::Impl::api(const Request& request, const Target& target) {
  std::vector<bool> fields;
  for (const auto& [name, value] : target.query) {
    if (name != "fields" || target.path != kApiSnapshot) continue;
    fields.resize(catalogue->size());
    std::string_view rest = value;
    while (!rest.empty()) {
      const auto field = base::take_until(rest, ',');
      const auto id = catalogue->find(field);
      if (!id) {
        co_return refuse(400, "unknown field \"" + base::printable(field.substr(0, 64)) + "\"; " +
                                  std::string(kApiFields) + " lists them");
      }
      fields[*id] = true;
    }
  }
  if (in_flight >= options.max_requests_in_flight) {
    co_return refuse(503, "too many requests at once, the limit is " + std::to_string(options.max_requests_in_flight));
  }
  ++in_flight;
  std::shared_ptr<void> held(nullptr, [self = shared_from_this()](void*) { --self->in_flight; });

  model::SnapshotPtr made;
  if (target.path != kApiFields) {
    const auto wait = co_await snapshot(options.max_snapshot_age, options.default_scrape_timeout);
    made = wait->snapshot;
    if (!made) co_return refuse(503, "no snapshot of the cgroups can be made now");
  }
  Answer out;
  out.content_type = "application/json";
  out.negotiated = true;
  out.tag = !made ? fields_tag(*catalogue) : target.path == kApiCgroups ? cgroups_tag(*made) : snapshot_tag(*made);
  // One snapshot with other fields is another answer.
  if (!fields.empty()) out.tag.insert(out.tag.size() - 1, "-" + std::to_string(std::hash<std::vector<bool>>{}(fields)));
  if (none_match_names(joined(request, http::field::if_none_match), out.tag)) {
    out.status = 304;
    co_return out;
  }
  out.held = std::move(held);
  auto body = bodies.take();
  if (!made) {
    write_api_fields(*catalogue, *body);
  } else if (target.path == kApiCgroups) {
    write_api_cgroups(*made, *body);
  } else {
    write_api_snapshot(*made, options.host ? std::optional(options.host()) : std::nullopt, fields, *body);
  }
  if (accepts_gzip(joined(request, http::field::accept_encoding))) {
    auto smaller = packed.take();
    if (gzip.compress(body->view(), *smaller)) {
      body = std::move(smaller);
      out.gzip = true;
    }
  }
  out.body = std::move(body);
  co_return out;
}

std::shared_ptr<Buffer> Server::Impl::encode(const model::Snapshot& made, Format format, const CollectorFilter& only) {
  auto body = bodies.take();
  write_body(made, format, only, *body);
  return body;
}

// Never the whole text in memory. Null: it cannot be packed.
std::shared_ptr<Buffer> Server::Impl::encode_packed(const model::Snapshot& made, Format format,
                                                    const CollectorFilter& only) {
  auto body = packed.take();
  gzip.start(*body);
  piece.clear();
  write_body(made, format, only, piece, [this](Buffer& full) {
    gzip.add(full.view());
    full.clear();
  });
  gzip.add(piece.view());
  return gzip.finish() ? body : nullptr;
}

void Server::Impl::write_body(const model::Snapshot& made, Format format, const CollectorFilter& only, Buffer& body,
                              const std::function<void(Buffer&)>& full) {
  const auto series = writer.write(made, format, only, body, full);
  std::string own;
  auto families = metrics->collect(made, series);
  textfiles.add_to(families);
  append_families(std::move(families), format, own);
  body.append(own);
  body.append(last_line(format));
}

asio::awaitable<Answer> Server::Impl::ready() {
  if (!was_ready) co_await snapshot(kAnyAge, kProbePatience);
  co_return was_ready ? refuse(200, "ready") : refuse(503, "not ready: no snapshot of the cgroups was made yet");
}

asio::awaitable<Answer> Server::Impl::front_page() {
  const auto wait = co_await snapshot(kAnyAge, kProbePatience);
  const auto link = [](const std::string& to, const std::string& text) {
    return "<li><a href=\"" + html(to) + "\">" + text + "</a></li>\n";
  };
  Answer out;
  out.content_type = "text/html; charset=utf-8";
  out.text =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>cgwarden</title></head>\n<body>\n"
      "<h1>cgwarden</h1>\n<p>Version " CGWARDEN_VERSION ". ";
  if (wait->snapshot) {
    out.text += std::to_string(wait->snapshot->cgroup_count()) + " cgroups.</p>\n";
  } else {
    out.text += "No snapshot of the cgroups was made yet.</p>\n";
  }
  out.text += "<ul>\n" + link(options.telemetry_path, "Metrics") + link("/-/healthy", "Health") +
              link("/-/ready", "Readiness") + link(std::string(kApiSnapshot), "JSON") + "</ul>\n";
  if (wait->snapshot && wait->snapshot->hierarchies) {
    out.text += "<table>\n<tr><th>Hierarchy</th><th>Version</th><th>Controllers</th></tr>\n";
    for (const auto& h : *wait->snapshot->hierarchies) {
      out.text += "<tr><td>" + html(h.mount_point) + "</td><td>" + std::to_string(h.version) + "</td><td>" +
                  html(h.controllers) + "</td></tr>\n";
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

void Server::forget_labels() { impl_->writer.forget_labels(); }

}  // namespace cgwarden::exporter
