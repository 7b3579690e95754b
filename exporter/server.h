// SPDX-License-Identifier: Apache-2.0
// The HTTP server: /metrics, /api/v1, /-/healthy, /-/ready and a small page at /. Read-only for ever: GET and HEAD, no
// handler takes a body. Everything a client can make grow has a bound, and no client can hold up another one. Lives on
// the io_context's only thread; snapshots are asked of the source and awaited, never made here.
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
    std::size_t max_requests_in_flight = 40;  // scrapes from request to last byte; further ones get 503
    std::size_t max_header_bytes = 8192;      // longer ones get 431
    std::chrono::nanoseconds header_timeout = std::chrono::seconds(10);  // from the first byte to the empty line
    std::chrono::nanoseconds idle_timeout = std::chrono::seconds(180);   // between two requests
    std::chrono::nanoseconds write_timeout = std::chrono::seconds(30);   // for a whole answer
    std::chrono::nanoseconds default_scrape_timeout = std::chrono::seconds(10);
    std::chrono::nanoseconds max_snapshot_age = std::chrono::milliseconds(500);
    std::vector<std::string> textfile_directories;  // see textfile.h
    TextWriter::Options writer;
    std::function<model::Host()> host;  // for /api/v1; empty: nothing is said of the machine
  };

  // `metrics` may be shared with others; connections hold it until they end.
  Server(boost::asio::io_context& io, Options options, std::shared_ptr<const model::Catalogue> catalogue,
         model::SnapshotSource source, std::shared_ptr<SelfMetrics> metrics);
  // Stops.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Listens on every address or on none.
  [[nodiscard]] base::Result<void> start();
  // What is listened on, with real ports.
  [[nodiscard]] std::vector<std::string> addresses() const;
  // Closes listeners and connections; what waits for them ends as the io_context runs on. Idempotent.
  void stop();
  // The label source would answer differently now.
  void forget_labels();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace cgwarden::exporter
