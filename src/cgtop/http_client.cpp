// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/http_client.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <zlib.h>

#include <atomic>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <variant>

#include "src/base/text.h"
#include "src/cgtop/record_printer.h"

namespace cgwarden::cgtop {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace ssl = boost::asio::ssl;
using boost::system::error_code;

constexpr std::size_t kMaxReceived = 128U << 20U;  // body as transferred
constexpr std::size_t kMaxBody = 512U << 20U;      // body after decompression
constexpr std::uint32_t kMaxHeader = 64U << 10U;
constexpr std::string_view kNotFoundText = ": request failed: HTTP status 404";

bool is_host(std::string_view text) {
  if (text.empty() || text.size() > 255) return false;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && c != '.' && c != '-' && c != '_' && c != ':' && c != '%') return false;
  }
  return true;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (text.front() != '%') {
      out += text.front();
      text.remove_prefix(1);
      continue;
    }
    if (text.size() < 3) return std::nullopt;
    const auto byte = base::to_int<unsigned>(text.substr(1, 2), 16);
    if (!byte) return std::nullopt;
    out += static_cast<char>(*byte);
    text.remove_prefix(3);
  }
  return out;
}

ExitError unreadable(const std::string& file, const char* content, const error_code& error) {
  return {kUsage, base::printable(file) + ": cannot read " + content + " in PEM format: " + error.message()};
}

class Client : public HttpClient {
 public:
  Client(Url url, const HttpOptions& options) : url_(std::move(url)), options_(options) {}

  std::optional<ExitError> prepare() {
    if (!url_.has_user) {
      std::string auth;
      if (!options_.auth_file.empty()) {
        std::ifstream file(options_.auth_file);
        if (!file || !std::getline(file, auth)) {
          return ExitError{kUsage, base::printable(options_.auth_file) + ": cannot read credentials: " +
                                       (file.is_open() ? "no line USER:PASSWORD" : std::strerror(errno))};
        }
      } else if (const char* const variable = std::getenv("CGTOP_AUTH"); variable != nullptr) {
        auth = variable;
      }
      if (!auth.empty()) authorization_ = "Basic " + base64(base::trim_end(auth));
    } else {
      authorization_ = "Basic " + base64(url_.user + ":" + url_.password);
    }
    if (url_.scheme != Url::Scheme::https) return std::nullopt;
    error_code error;
    tls_.emplace(ssl::context::tls_client);
    (void)::SSL_CTX_set_min_proto_version(tls_->native_handle(), TLS1_2_VERSION);
    if (!options_.ca_file.empty()) {
      tls_->load_verify_file(options_.ca_file, error);
      if (error) return unreadable(options_.ca_file, "CA certificates", error);
    } else {
      tls_->set_default_verify_paths(error);
    }
    tls_->set_verify_mode(options_.insecure ? ssl::verify_none : ssl::verify_peer);
    if (!options_.cert_file.empty()) {
      tls_->use_certificate_chain_file(options_.cert_file, error);
      if (error) return unreadable(options_.cert_file, "the client certificate", error);
      const auto& key = options_.key_file.empty() ? options_.cert_file : options_.key_file;
      tls_->use_private_key_file(key, ssl::context::pem, error);
      if (error) return unreadable(key, "the private key", error);
    }
    return std::nullopt;
  }

  void cancel() override {
    canceled_ = true;
    io_.stop();
  }

  tl::expected<Response, ExitError> get(const std::string& target, const std::string& if_none_match) override {
    deadline_ = std::chrono::steady_clock::now() + options_.deadline;
    http::request<http::empty_body> request{http::verb::get, url_.path + target, 11};
    request.set(http::field::host, url_.scheme == Url::Scheme::unix_socket ? "localhost" : host_header());
    request.set(http::field::user_agent, "cgtop/" CGWARDEN_VERSION);
    request.set(http::field::accept, "application/json");
    request.set(http::field::accept_encoding, "gzip");
    if (!authorization_.empty()) request.set(http::field::authorization, authorization_);
    if (!if_none_match.empty()) request.set(http::field::if_none_match, if_none_match);

    std::optional<http::response_parser<http::string_body>> parser;
    for (bool reused = connected();; reused = false) {
      if (!connected()) {
        if (auto failure = connect()) return tl::unexpected(std::move(*failure));
      }
      parser.emplace();
      parser->body_limit(kMaxReceived);
      parser->header_limit(kMaxHeader);
      const auto error = exchange(request, *parser);
      if (!error) break;
      const bool no_response = !parser->got_some();
      disconnect();
      // The server may have closed the idle connection (RFC 9112, section 9.5): retry once on a new one.
      if (reused && no_response && error != asio::error::timed_out) continue;
      return tl::unexpected(failed(error == http::error::body_limit ? "the response exceeds 128 MiB" : reason(error)));
    }
    auto message = parser->release();
    if (!message.keep_alive()) disconnect();
    Response out;
    out.status = message.result_int();
    out.tag = std::string(message[http::field::etag]);
    out.body = std::move(message.body());
    if (message[http::field::content_encoding] == "gzip") {
      auto body = gunzip(out.body, kMaxBody);
      if (!body)
        return tl::unexpected(failed("invalid response: damaged gzip data, or more than 512 MiB after decompression"));
      out.body = std::move(*body);
    }
    if (out.status == 200 || out.status == 304) return out;
    if (out.status == 401) {
      return tl::unexpected(failed(
          authorization_.empty() ? "authentication failed: HTTP status 401: the server requires a user name and a "
                                   "password (set CGTOP_AUTH or use --auth-file)"
                                 : "authentication failed: HTTP status 401: wrong user name or password"));
    }
    // The first line of the body usually states the reason.
    std::string_view rest = out.body;
    const auto line = base::printable(base::take_line(rest).substr(0, 120));
    return tl::unexpected(failed("request failed: HTTP status " + std::to_string(out.status) +
                                 (line.empty() || line.front() == '<' ? "" : ": " + line)));
  }

 private:
  using Tcp = asio::ip::tcp::socket;
  using Tls = ssl::stream<Tcp>;
  using Local = asio::local::stream_protocol::socket;
  struct Operation {
    bool done = false;
    error_code error;
  };

  [[nodiscard]] std::string host_header() const {
    const bool ipv6 = url_.host.find(':') != std::string::npos;
    return (ipv6 ? "[" + url_.host + "]" : url_.host) + ":" + url_.port;
  }

  [[nodiscard]] bool connected() const { return !std::holds_alternative<std::monostate>(stream_); }
  void disconnect() {
    error_code ignored;
    if (auto* const tcp = std::get_if<Tcp>(&stream_)) tcp->close(ignored);
    if (auto* const tls = std::get_if<Tls>(&stream_)) tls->next_layer().close(ignored);
    if (auto* const local = std::get_if<Local>(&stream_)) local->close(ignored);
    io_.restart();
    (void)io_.poll();  // handlers of aborted operations still refer to the stream
    buffer_.clear();
    stream_.emplace<std::monostate>();
  }

  ExitError failed(const std::string& reason) const {
    return {kUnreachable, url_.without_credentials() + ": " + reason};
  }
  std::string reason(const error_code& error) const {
    if (canceled_) return "canceled";
    if (error == asio::error::timed_out) {
      return "no response within " + std::to_string(options_.deadline.count() / 1000) + " s";
    }
    if (error == http::error::end_of_stream || error == asio::error::eof) return "the server closed the connection";
    if (error.category() == http::make_error_code(http::error::bad_version).category()) {
      return "not an HTTP response (" + error.message() + ")";
    }
    return error.message();
  }

  // Starts one asynchronous operation and runs the event loop until it is done, canceled or past the deadline.
  template <class Start>
  error_code run(const Start& start) {
    const auto state = std::make_shared<Operation>();
    if (canceled_) return asio::error::operation_aborted;
    start([state](const error_code& error, const auto&...) {
      state->done = true;
      state->error = error;
    });
    io_.restart();
    while (!state->done && !canceled_ && std::chrono::steady_clock::now() < deadline_) {
      if (io_.run_one_until(deadline_) == 0 && io_.stopped() && !canceled_) io_.restart();
    }
    if (state->done) return state->error;
    return canceled_ ? error_code(asio::error::operation_aborted) : error_code(asio::error::timed_out);
  }

  std::optional<ExitError> connect() {
    if (url_.scheme == Url::Scheme::unix_socket) {
      auto& socket = stream_.emplace<Local>(io_);
      if (url_.host.size() >= sizeof(sockaddr_un::sun_path))
        return failed("cannot connect: the path of a Unix socket is limited to 107 bytes");
      const auto error = run(
          [&](auto done) { socket.async_connect(asio::local::stream_protocol::endpoint(url_.host), std::move(done)); });
      if (!error) return std::nullopt;
      disconnect();
      return failed("cannot connect: " + reason(error));
    }
    asio::ip::tcp::resolver resolver(io_);
    const auto addresses = std::make_shared<asio::ip::tcp::resolver::results_type>();
    auto error = run([&](auto done) {
      resolver.async_resolve(
          url_.host, url_.port,
          [addresses, done](const error_code& e, const asio::ip::tcp::resolver::results_type& results) {
            *addresses = results;
            done(e);
          });
    });
    if (error) return failed("cannot resolve the host name: " + reason(error));
    const bool secure = url_.scheme == Url::Scheme::https;
    Tcp* socket = nullptr;
    if (secure) {
      socket = &stream_.emplace<Tls>(io_, *tls_).next_layer();
    } else {
      socket = &stream_.emplace<Tcp>(io_);
    }
    error = run([&](auto done) {
      asio::async_connect(*socket, *addresses, [addresses, done](const error_code& e, const auto&) { done(e); });
    });
    if (error) {
      disconnect();
      return failed("cannot connect: " + reason(error));
    }
    error_code ignored;
    socket->set_option(asio::ip::tcp::no_delay(true), ignored);
    if (!secure) return std::nullopt;
    auto& stream = std::get<Tls>(stream_);
    // The expansion of SSL_set_tlsext_host_name(), which contains a C cast.
    auto name = url_.host;
    (void)::SSL_ctrl(stream.native_handle(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data());
    if (!options_.insecure) stream.set_verify_callback(ssl::host_name_verification(url_.host), ignored);
    error = run([&](auto done) { stream.async_handshake(ssl::stream_base::client, std::move(done)); });
    if (!error) return std::nullopt;
    std::string failure = reason(error);
    const auto verified = ::SSL_get_verify_result(stream.native_handle());
    const bool rejected = error.category() == asio::error::get_ssl_category() &&
                          ERR_GET_REASON(static_cast<unsigned long>(error.value())) == SSL_R_CERTIFICATE_VERIFY_FAILED;
    // X509_verify_cert() sets X509_V_ERR_UNSPECIFIED if the callback, which compares the host name, rejects the
    // certificate.
    if (verified == X509_V_ERR_UNSPECIFIED || (verified == X509_V_OK && rejected)) {
      failure = "the certificate is not valid for this host name (use a name that it contains)";
    } else if (verified != X509_V_OK) {
      failure = std::string(::X509_verify_cert_error_string(verified)) + " (--tls-ca sets the trusted CA certificates)";
    }
    disconnect();
    return failed("TLS handshake failed: " + failure);
  }

  template <class Parser>
  error_code exchange(const http::request<http::empty_body>& request, Parser& parser) {
    return std::visit(
        [&](auto& stream) -> error_code {
          using Stream = std::decay_t<decltype(stream)>;
          if constexpr (std::is_same_v<Stream, std::monostate>) {
            return asio::error::not_connected;
          } else {
            buffer_.clear();
            if (auto error = run([&](auto done) { http::async_write(stream, request, std::move(done)); })) return error;
            return run([&](auto done) { http::async_read(stream, buffer_, parser, std::move(done)); });
          }
        },
        stream_);
  }

  Url url_;
  HttpOptions options_;
  std::string authorization_;
  std::optional<ssl::context> tls_;
  asio::io_context io_{1};
  beast::flat_buffer buffer_{kMaxReceived};
  std::variant<std::monostate, Tcp, Tls, Local> stream_;
  std::chrono::steady_clock::time_point deadline_;
  std::atomic<bool> canceled_ = false;
};

}  // namespace

std::string Url::without_credentials() const {
  if (scheme == Scheme::unix_socket) return "unix:" + base::printable(host);
  const bool ipv6 = host.find(':') != std::string::npos;
  return (scheme == Scheme::https ? "https://" : "http://") + (ipv6 ? "[" + host + "]" : host) + ":" + port +
         base::printable(path);
}

tl::expected<Url, std::string> parse_url(std::string_view text, std::string_view default_port) {
  Url url;
  const auto invalid = [&](const char* reason) {
    return tl::unexpected("invalid URL '" + base::printable(text.substr(0, 200)) + "': " + reason +
                          " (use http://HOST:PORT, https://HOST, unix:/PATH or HOST)");
  };
  for (const char c : text) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '\x7F')
      return invalid("it contains a space or a control character");
  }
  auto rest = text;
  if (rest.starts_with("unix:")) {
    rest.remove_prefix(5);
    while (rest.starts_with("//")) rest.remove_prefix(1);
    if (!rest.starts_with('/')) return invalid("unix: requires the absolute path of a socket");
    url.scheme = Url::Scheme::unix_socket;
    url.host = rest;
    return url;
  }
  url.port = default_port;
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
    url.port = "80";
  } else if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
    url.scheme = Url::Scheme::https;
    url.port = "443";
  } else if (rest.find("://") != std::string_view::npos) {
    return invalid("the scheme must be http, https or unix");
  }
  const auto slash = rest.find_first_of("/?#");
  auto authority = rest.substr(0, slash);
  if (slash != std::string_view::npos) {
    const auto path = rest.substr(slash);
    if (path.find_first_of("?#") != std::string_view::npos) return invalid("query and fragment are not supported");
    url.path = path;
    while (url.path.ends_with('/')) url.path.pop_back();
  }
  if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
    auto user = authority.substr(0, at);
    authority.remove_prefix(at + 1);
    const auto name = percent_decoded(base::take_until(user, ':'));
    const auto password = percent_decoded(user);
    if (!name || !password) return invalid("invalid %XX escape in the user name or password");
    url.has_user = true;
    url.user = *name;
    url.password = *password;
  }
  if (authority.starts_with('[')) {
    const auto end = authority.find(']');
    if (end == std::string_view::npos) return invalid("the IPv6 address has no closing bracket");
    url.host = authority.substr(1, end - 1);
    authority.remove_prefix(end + 1);
  } else {
    const auto colon = authority.find(':');
    url.host = authority.substr(0, colon);
    authority = colon == std::string_view::npos ? std::string_view() : authority.substr(colon);
    if (url.host.find(':') != std::string::npos) return invalid("an IPv6 address must be in brackets");
  }
  if (!is_host(url.host)) return invalid("the host name is empty or has invalid characters");
  if (!authority.empty()) {
    const auto port = base::to_int<int>(authority.substr(1));
    if (authority.front() != ':' || !port || *port < 1 || *port > 65535)
      return invalid("the port must be from 1 to 65535");
    url.port = std::to_string(*port);
  }
  return url;
}

tl::expected<std::unique_ptr<HttpClient>, ExitError> HttpClient::open(const Url& url, const HttpOptions& options) {
  auto client = std::make_unique<Client>(url, options);
  if (auto error = client->prepare()) return tl::unexpected(std::move(*error));
  return client;
}

std::optional<std::string> gunzip(std::string_view packed, std::size_t limit) {
  z_stream stream{};
  if (::inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) return std::nullopt;
  std::string in(packed);
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  std::string out;
  int result = Z_OK;
  while (result == Z_OK && out.size() < limit) {
    const auto old = out.size();
    out.resize(std::min(limit, std::max<std::size_t>(65536, 2 * old)));
    stream.next_out = reinterpret_cast<Bytef*>(out.data()) + old;
    stream.avail_out = static_cast<uInt>(out.size() - old);
    result = ::inflate(&stream, Z_NO_FLUSH);
    out.resize(out.size() - stream.avail_out);
    if (result == Z_OK && stream.avail_in == 0 && stream.avail_out > 0) break;  // truncated input
  }
  ::inflateEnd(&stream);
  if (result != Z_STREAM_END) return std::nullopt;
  return out;
}

bool is_http_not_found(const ExitError& error) { return error.what.find(kNotFoundText) != std::string::npos; }

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view hex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += hex[byte >> 4U];
      out += hex[byte & 15U];
    }
  }
  return out;
}

}  // namespace cgwarden::cgtop
