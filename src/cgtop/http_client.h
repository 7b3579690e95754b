// SPDX-License-Identifier: Apache-2.0
// HTTP client for one server: GET over HTTP, HTTPS or a Unix socket, one request at a time, on a persistent connection.
// Calls block until the deadline at most. Responses are untrusted input, so their sizes are limited.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "src/cgtop/source.h"

namespace cgwarden::cgtop {

struct Url {
  enum class Scheme { http, https, unix_socket };
  Scheme scheme = Scheme::http;
  std::string host;  // without brackets; for a Unix socket its path
  std::string port;
  std::string path;  // prefix of every request target, without a trailing slash
  std::string user, password;
  bool has_user = false;

  // The URL without user name and password, printable, for messages.
  [[nodiscard]] std::string without_credentials() const;
};

// "http://user:secret@host:10753/prefix", "https://[::1]", "unix:/run/cgwarden.sock", "db07", "db07:10753". The
// scheme defaults to http, then the port to `default_port`. Error: one line that contains `text`, escaped.
tl::expected<Url, std::string> parse_url(std::string_view text, std::string_view default_port);

struct HttpOptions {
  std::string auth_file;  // its first line is "user:password"
  std::string ca_file;    // PEM; empty: the certificates of the system
  std::string cert_file, key_file;
  bool insecure = false;  // do not verify the certificate of the server
  std::chrono::milliseconds deadline{10'000};
};

struct Response {
  unsigned status = 0;
  std::string body;  // decompressed
  std::string tag;   // ETag
};

class HttpClient {
 public:
  // Reads the credentials (`auth_file`, otherwise $CGTOP_AUTH; those of the URL take precedence) and the certificates.
  // Does not connect. Error: one of the files cannot be read.
  static tl::expected<std::unique_ptr<HttpClient>, ExitError> open(const Url& url, const HttpOptions& options);
  virtual ~HttpClient() = default;

  // Sends one request; connects first if necessary. Returns responses with status 200 and 304. Every other status is an
  // error; errors are one line and have the exit status kUnreachable.
  virtual tl::expected<Response, ExitError> get(const std::string& target, const std::string& if_none_match = {}) = 0;
  // Thread-safe. Aborts the pending request; all later requests fail.
  virtual void cancel() = 0;
};

// Decompresses gzip. nullopt if the data is damaged or larger than `limit` bytes after decompression.
std::optional<std::string> gunzip(std::string_view packed, std::size_t limit);

// Escapes everything but the unreserved characters of RFC 3986, section 2.3.
std::string percent_encoded(std::string_view text);

// True if `error` is from a response of HttpClient::get() with status 404.
bool is_http_not_found(const ExitError& error);

}  // namespace cgwarden::cgtop
