// SPDX-License-Identifier: Apache-2.0
// The HTTP server: /metrics, /api/v1, /-/healthy, /-/ready and a landing page at /. Read-only: only GET and HEAD, no
// request bodies. All resources that a client can use are bounded, and no client can block another one. Runs on the
// only thread of the io_context; it requests snapshots from the source and awaits them.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "exporter/self_metrics.h"
#include "exporter/text_writer.h"
#include "src/base/result.h"
#include "src/model/catalogue.h"
#include "src/model/host.h"
#include "src/model/snapshot.h"

namespace boost::asio {
class io_context;
}

namespace cgwarden::exporter {

class Server {
 public:
  struct Options {
    std::vector<std::string> listen = {":10753"};  // see listener.h
    std::string telemetry_path = "/metrics";
    std::size_t max_connections = 256;        // further ones get 503 and are closed
    std::size_t max_requests_in_flight = 40;  // from request to last byte of the response; further ones get 503
    std::size_t max_header_bytes = 8192;      // longer ones get 431
    std::chrono::nanoseconds header_timeout = std::chrono::seconds(10);  // from the first byte to the end of the header
    std::chrono::nanoseconds idle_timeout = std::chrono::seconds(180);   // between two requests
    std::chrono::nanoseconds write_timeout = std::chrono::seconds(30);   // for a whole response
    std::chrono::nanoseconds default_scrape_timeout = std::chrono::seconds(10);
    std::chrono::nanoseconds max_snapshot_age = std::chrono::milliseconds(500);
    std::vector<std::string> textfile_directories;  // see textfile.h
    TextWriter::Options writer;
    std::function<model::Host()> host;  // for /api/v1; empty: the response has no host
  };

  // `metrics` may be shared; connections keep a reference until they end.
  Server(boost::asio::io_context& io, Options options, std::shared_ptr<const model::Catalogue> catalogue,
         model::SnapshotSource source, std::shared_ptr<SelfMetrics> metrics);
  // Calls stop().
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Listens on all addresses. If one fails, on none.
  [[nodiscard]] base::Result<void> start();
  // Bound addresses; port 0 is replaced by the real port.
  [[nodiscard]] std::vector<std::string> addresses() const;
  // Closes listeners and connections; pending coroutines end while the io_context runs. Idempotent.
  void stop();
  // Drops cached labels: the label source has changed.
  void reset_labels();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace cgwarden::exporter
