// SPDX-License-Identifier: Apache-2.0
// A client of one server: GET over HTTP, HTTPS or a Unix socket, one request at a time, on a connection that is kept.
// Blocks, never longer than its deadline. What comes back is somebody else's: sizes are bounded.
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
  std::string host;  // without brackets; of a Unix socket its path
  std::string port;
  std::string path;  // put before every target; without a slash at its end
  std::string user, password;
  bool has_user = false;

  // Without user and password: for messages.
  [[nodiscard]] std::string shown() const;
};

// "http://user:secret@host:10753/prefix", "https://[::1]", "unix:/run/cgwarden.sock", "db07", "db07:10753". A name
// without a scheme is http and has `default_port`. Error: what is wrong with it.
tl::expected<Url, std::string> parse_url(std::string_view text, std::string_view default_port);

struct HttpOptions {
  std::string auth_file;  // "user:password" on its first line
  std::string ca_file;    // PEM; empty: the system's
  std::string cert_file, key_file;
  bool insecure = false;  // certificates are not checked
  std::chrono::milliseconds deadline{10'000};
};

struct Response {
  unsigned status = 0;
  std::string body;  // unpacked
  std::string tag;
};

class HttpClient {
 public:
  // Error: a file that cannot be read.
  static tl::expected<std::unique_ptr<HttpClient>, ExitError> open(const Url& url, const HttpOptions& options);
  virtual ~HttpClient() = default;

  // Errors have the exit code kUnreachable and one line. 200 and 304 come back; 401 and every other status are errors.
  virtual tl::expected<Response, ExitError> get(const std::string& target, const std::string& if_none_match = {}) = 0;
  // From any thread: the request that waits ends, and all that come.
  virtual void cancel() = 0;
};

// gzip, at most `limit` bytes. Nothing: it is damaged or larger.
std::optional<std::string> gunzip(std::string_view packed, std::size_t limit);

std::string percent_encoded(std::string_view text);

}  // namespace cgwarden::cgtop
