// SPDX-License-Identifier: Apache-2.0
// Tests of the server over real sockets. It runs on its own thread; the tests are its clients.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <thread>

#include "exporter/server.h"
#include "tests/unit/exporter_fixture.h"

namespace cgwarden::exporter {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using namespace cgwarden::exporter::testing;  // NOLINT
using std::chrono::milliseconds;
using std::chrono::seconds;

const std::string kGet = "GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n";

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() { options_.listen = {"127.0.0.1:0"}; }
  ~ServerTest() override { stop(); }

  void start() {
    server_ = std::make_unique<Server>(
        io_, options_, catalogue(),
        [this](std::chrono::nanoseconds max_age, std::function<void(model::SnapshotPtr)> done) {
          max_age_ = max_age.count();
          ++requested_snapshots_;
          if (hold_snapshots_) {
            held_requests_.push_back(std::move(done));
          } else {
            boost::asio::post(io_, [done = std::move(done), snapshot = snapshot_] { done(snapshot); });
          }
        },
        metrics_);
    const auto started = server_->start();
    ASSERT_TRUE(started) << started.error().what;
    address_ = server_->addresses().front();
    thread_ = std::thread([this] { io_.run(); });
  }
  // The kernel buffers little data of a Unix socket, so a client that does not read soon blocks the write of the
  // server.
  void use_small_socket_buffer() {
    options_.listen = {"unix:" + ::testing::TempDir() + "exporter-" + std::to_string(::getpid()) + ".sock"};
    snapshot_ = large_snapshot(4'000'000);
  }
  // Runs `task` on the thread of the server and waits for it.
  void run_on_loop(const std::function<void()>& task) {
    std::promise<void> done;
    boost::asio::post(io_, [&] {
      task();
      done.set_value();
    });
    done.get_future().wait();
  }
  void stop() {
    if (!thread_.joinable()) return;
    run_on_loop([this] {
      server_->stop();
      held_requests_.clear();
    });
    guard_.reset();
    thread_.join();  // the loop ends because no work is left
  }
  // The value of a metric of the server.
  std::string metric(const std::string& series) {
    const auto body = Client(address_).get("/metrics").body;
    const auto at = body.find("\n" + series + " ");
    if (at == std::string::npos) return "";
    const auto begin = at + series.size() + 2;
    return body.substr(begin, body.find('\n', begin) - begin);
  }

  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_{io_.get_executor()};
  Server::Options options_;
  std::shared_ptr<SelfMetrics> metrics_ = std::make_shared<SelfMetrics>();
  model::SnapshotPtr snapshot_ = small_snapshot();
  std::atomic<bool> hold_snapshots_ = false;
  std::atomic<int> requested_snapshots_ = 0;
  std::atomic<std::int64_t> max_age_ = 0;
  std::vector<std::function<void(model::SnapshotPtr)>> held_requests_;  // on the loop
  std::unique_ptr<Server> server_;
  std::string address_;
  std::thread thread_;
};

TEST_F(ServerTest, ServesMetricsAsText) {
  start();
  auto response = Client(address_).get("/metrics");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(response.headers["X-Content-Type-Options"], "nosniff");
  EXPECT_THAT(response.headers["Content-Security-Policy"], HasSubstr("default-src 'none'"));
  EXPECT_THAT(response.headers["Vary"], HasSubstr("Accept-Encoding"));
  EXPECT_EQ(response.headers.count("Content-Encoding"), 0U);
  EXPECT_THAT(response.body,
              AllOf(HasSubstr("cgroup_pids_current{cgroup=\"/a.slice\"} 42\n"), HasSubstr("\ncgwarden_series 2\n"),
                    HasSubstr("\nprocess_open_fds "), Not(HasSubstr("# EOF"))));
  EXPECT_EQ(max_age_, std::chrono::nanoseconds(milliseconds(500)).count());
}

TEST_F(ServerTest, ServesJsonWithEntityTagsAndCompression) {
  start();
  auto response = Client(address_).get("/api/v1/snapshot");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers["Content-Type"], "application/json");
  EXPECT_EQ(response.headers["Cache-Control"], "no-cache");
  EXPECT_THAT(response.body, AllOf(StartsWith("{\"api\":1,"), HasSubstr("\"paths\":[\"/\",\"/a.slice\"]"),
                                   HasSubstr("\"pids_current\":{\"kind\":\"gauge\""), HasSubstr("\"values\":[7,42]")));
  const auto tag = response.headers["ETag"];
  auto again = Client(address_).get("/api/v1/snapshot", "If-None-Match: " + tag + "\r\n");
  EXPECT_EQ(again.status, 304);
  EXPECT_EQ(again.body, "");
  EXPECT_EQ(again.headers["ETag"], tag);
  auto less = Client(address_).get("/api/v1/snapshot?fields=pids_max", "If-None-Match: " + tag + "\r\n");
  EXPECT_EQ(less.status, 200);
  EXPECT_THAT(less.body, HasSubstr("\"fields\":{}"));
  EXPECT_EQ(Client(address_).get("/api/v1/snapshot?fields=pids_max,nonsense").status, 400);
  EXPECT_THAT(Client(address_).get("/api/v1/cgroups").body, Not(HasSubstr("\"fields\"")));
  EXPECT_THAT(Client(address_).get("/api/v1/fields").body, HasSubstr("\"metric\": \"cgroup_pids_current\""));
  EXPECT_EQ(Client(address_).get("/api/v1/").status, 404);
  EXPECT_EQ(Client(address_).get("/api/v2/snapshot").status, 404);
  EXPECT_EQ(Client(address_).get("/api/v1/snapshot", "Accept-Encoding: gzip\r\n").headers["Content-Encoding"], "gzip");
}

TEST_F(ServerTest, ServesOpenMetricsWhenAccepted) {
  start();
  auto response = Client(address_).get("/metrics", "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n");
  EXPECT_EQ(response.headers["Content-Type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
  EXPECT_THAT(response.body, AllOf(EndsWith("\n# EOF\n"), HasSubstr("# TYPE cgwarden_tree_walks counter\n")));
}

TEST_F(ServerTest, CompressesWhenGzipIsAccepted) {
  start();
  Client client(address_);
  auto response = client.get("/metrics", "Accept-Encoding: gzip\r\n");
  EXPECT_EQ(response.headers["Content-Encoding"], "gzip");
  EXPECT_THAT(gunzip(response.body), HasSubstr("cgroup_pids_current{cgroup=\"/a.slice\"} 42\n"));
  response = client.get("/metrics", "Accept-Encoding: gzip;q=0\r\n");
  EXPECT_EQ(response.headers.count("Content-Encoding"), 0U);
  EXPECT_THAT(response.body, HasSubstr("cgroup_pids_current{"));
}

TEST_F(ServerTest, WritesOnlySelectedCollectors) {
  auto maker = Maker({"/"}).dense(kPids, {Value::of(1)}).dense(kPressure, {Value::of(1)});
  snapshot_ = maker.share();
  start();
  Client client(address_);
  auto response = client.get("/metrics?collect[]=second");
  EXPECT_THAT(response.body, AllOf(HasSubstr("cgroup_pressure_ratio{"), Not(HasSubstr("cgroup_pids_current{"))));
  response = client.get("/metrics?collect%5B%5D=second&collect[]=first");
  EXPECT_THAT(response.body, AllOf(HasSubstr("cgroup_pressure_ratio{"), HasSubstr("cgroup_pids_current{")));
  response = client.get("/metrics?collect[]=%3Cx%0A%3E");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.body, "unknown collector '<x\\x0a>' (collectors: first, second)\n");
}

TEST_F(ServerTest, RejectsADisabledCollector) {
  auto maker = Maker({"/"});
  maker.snapshot.collectors[1].enabled = false;
  snapshot_ = maker.share();
  start();
  EXPECT_EQ(Client(address_).get("/metrics?collect[]=second").body, "collector 'second' is disabled\n");
}

TEST_F(ServerTest, ServesManyRequestsOnOneConnection) {
  start();
  Client client(address_);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(client.get("/metrics").status, 200);
  EXPECT_EQ(client.get("/nothing").status, 404);
  EXPECT_EQ(client.get("/-/healthy").body, "healthy\n");
}

TEST_F(ServerTest, ServesPipelinedRequestsInOrder) {
  start();
  Client client(address_);
  client.send(kGet + "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\nHEAD / HTTP/1.1\r\nHost: x\r\n\r\n" +
              kGet.substr(0, 9));
  EXPECT_THAT(client.receive().body, HasSubstr("cgroup_pids_current"));
  EXPECT_EQ(client.receive().body, "healthy\n");
  EXPECT_EQ(client.receive(false).status, 200);
  client.send(kGet.substr(9));
  EXPECT_THAT(client.receive().body, HasSubstr("cgroup_pids_current"));
}

TEST_F(ServerTest, ClosesTheConnectionOnRequestAndForHttp10) {
  start();
  Client client(address_);
  auto response = client.get("/-/healthy", "Connection: close\r\n");
  EXPECT_EQ(response.headers["Connection"], "close");
  EXPECT_TRUE(client.closed());
  Client old(address_);
  old.send("GET /metrics HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.receive().status, 200);
  EXPECT_TRUE(old.closed());
  Client kept(address_);
  for (int i = 0; i < 2; ++i) {
    kept.send("GET /-/healthy HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_EQ(kept.receive().headers["Connection"], "keep-alive");
  }
}

TEST_F(ServerTest, ServesHeadWithTheHeaderOfGet) {
  start();
  Client client(address_);
  for (const auto* path : {"/", "/metrics", "/-/healthy"}) {
    client.send("HEAD " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n\r\n");
    auto response = client.receive(false);
    EXPECT_EQ(response.status, 200);
    EXPECT_GT(base::to_int<int>(response.headers["Content-Length"]).value_or(0), 0);
  }
  EXPECT_EQ(client.get("/-/healthy").body, "healthy\n");  // the HEAD responses had no body
}

TEST_F(ServerTest, RejectsOtherMethods) {
  start();
  for (const auto* method : {"POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH", "TRACE", "BREW"}) {
    Client client(address_);
    client.send(std::string(method) + " /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody");
    auto response = client.receive();
    EXPECT_EQ(response.status, 405) << method;
    EXPECT_EQ(response.headers["Allow"], "GET, HEAD");
    EXPECT_TRUE(client.closed());
  }
  EXPECT_EQ(requested_snapshots_, 0);
}

TEST_F(ServerTest, RejectsRequestBodies) {
  start();
  for (const auto* header : {"Content-Length: 4", "Transfer-Encoding: chunked", "Content-Length: 99999999999"}) {
    Client client(address_);
    client.send("GET /metrics HTTP/1.1\r\nHost: x\r\n" + std::string(header) + "\r\n\r\n0\r\n\r\n");
    EXPECT_EQ(client.receive().status, 413) << header;
    EXPECT_TRUE(client.closed());
  }
  EXPECT_EQ(Client(address_).get("/-/healthy", "Content-Length: 0\r\n").status, 200);
}

TEST_F(ServerTest, ReturnsNotFoundAndCountsUnknownPathsAsOther) {
  start();
  Client client(address_);
  auto response = client.get("/%3Cscript%3E");
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.body, "not found\n");
  EXPECT_EQ(client.get("/metrics/x").status, 404);
  EXPECT_EQ(client.get("/metricsx").status, 404);
  EXPECT_EQ(metric("cgwarden_http_requests_total{code=\"404\",path=\"other\"}"), "3");
}

TEST_F(ServerTest, RejectsARequestWithoutHost) {
  start();
  Client client(address_);
  client.send("GET /metrics HTTP/1.1\r\n\r\n");
  EXPECT_EQ(client.receive().status, 400);
  EXPECT_TRUE(client.closed());
}

TEST_F(ServerTest, RejectsALongHeader) {
  start();
  Client client(address_);
  client.send("GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + std::string(100000, 'x'));
  const auto response = client.receive();
  EXPECT_EQ(response.status, 431);
  EXPECT_EQ(response.body, "request header is longer than 8192 bytes\n");
  Client line(address_);
  line.send("GET /" + std::string(100000, 'x'));
  EXPECT_THAT(line.receive().status, ::testing::AnyOf(431, 400));
  Client many(address_);
  std::string headers;
  for (int i = 0; i < 2000; ++i) headers += "X" + std::to_string(i) + ": y\r\n";
  many.send("GET /metrics HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n");
  EXPECT_EQ(many.receive().status, 431);
  EXPECT_EQ(Client(address_).get("/-/healthy", "X: " + std::string(7000, 'x') + "\r\n").status, 200);
}

TEST_F(ServerTest, RejectsInvalidRequestsWithOneLine) {
  start();
  const std::string tls = std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + std::string(200, '\xee');
  for (const auto& invalid : {tls, std::string(64, '\0'), std::string("\r\n\r\n\r\n"), std::string(":::\r\n\r\n"),
                              std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), std::string("GET /metrics\r\n\r\n"),
                              std::string("GET /metrics HTTP/1.1\r\nHost x\r\n\r\n"),
                              std::string("GET /metrics HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")}) {
    Client client(address_);
    client.send(invalid);
    const auto response = client.receive();
    EXPECT_EQ(response.status, 400) << base::printable(invalid.substr(0, 40));
    EXPECT_EQ(std::ranges::count(response.body, '\n'), 1);
    EXPECT_TRUE(client.closed());
  }
}

TEST_F(ServerTest, RejectsIncompleteRequestsAndServesOtherClientsMeanwhile) {
  options_.header_timeout = milliseconds(300);
  start();
  Client half(address_);
  half.send("GET /metrics HTTP/1.1\r\nHo");
  Client nothing(address_);
  EXPECT_EQ(Client(address_).get("/metrics").status, 200);
  auto response = half.receive();
  EXPECT_EQ(response.status, 408);
  EXPECT_EQ(response.body, "request header timeout\n");
  EXPECT_TRUE(half.closed());
  EXPECT_TRUE(nothing.closed());
  Client ended(address_);
  ended.send("GET /metr");
  ended.end();
  response = ended.receive();
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.body, "incomplete request\n");
  EXPECT_TRUE(ended.closed());
  // The timeout is for the whole header: single bytes do not extend it.
  Client slow(address_);
  bool open = true;
  for (int i = 0; i < 600 && open; ++i) {
    open = slow.send("G");
    std::this_thread::sleep_for(milliseconds(50));
  }
  EXPECT_FALSE(open);
}

TEST_F(ServerTest, ClosesIdleConnections) {
  options_.idle_timeout = milliseconds(200);
  start();
  Client client(address_);
  EXPECT_EQ(client.get("/-/healthy").status, 200);
  EXPECT_TRUE(client.closed());
}

TEST_F(ServerTest, DropsAClientThatDoesNotReadAndServesOtherClientsMeanwhile) {
  options_.write_timeout = milliseconds(500);
  use_small_socket_buffer();
  start();
  Client slow(address_);
  slow.send(kGet);
  Client client(address_);
  EXPECT_EQ(client.get("/-/healthy").status, 200);
  EXPECT_THAT(gunzip(client.get("/metrics", "Accept-Encoding: gzip\r\n").body), HasSubstr("\ncgwarden_series 26667\n"));
  std::this_thread::sleep_for(milliseconds(1500));
  EXPECT_EQ(slow.receive().status, 0);  // closed before the end of the response
}

TEST_F(ServerTest, KeepsTheBodyForASlowClientDuringFurtherScrapes) {
  use_small_socket_buffer();
  start();
  Client slow(address_);
  slow.send(kGet);
  while (requested_snapshots_ == 0) std::this_thread::sleep_for(milliseconds(5));
  run_on_loop([this] { snapshot_ = small_snapshot(); });
  for (int i = 0; i < 3; ++i) EXPECT_THAT(Client(address_).get("/metrics").body, HasSubstr("\ncgwarden_series 2\n"));
  const auto response = slow.receive();
  EXPECT_EQ(response.status, 200);
  EXPECT_GT(response.body.size(), 3'000'000U);
  EXPECT_THAT(response.body, HasSubstr("\nprocess_virtual_memory_bytes "));
}

TEST_F(ServerTest, RejectsScrapesAboveTheLimit) {
  options_.max_requests_in_flight = 2;
  hold_snapshots_ = true;
  start();
  Client first(address_);
  Client second(address_);
  first.send(kGet);
  second.send(kGet);
  while (requested_snapshots_ < 2) std::this_thread::sleep_for(milliseconds(5));
  Client third(address_);
  const auto rejected = third.get("/metrics");
  EXPECT_EQ(rejected.status, 503);
  EXPECT_EQ(rejected.body, "too many concurrent requests (limit: 2)\n");
  EXPECT_EQ(third.get("/-/healthy").status, 200);
  run_on_loop([this] {
    for (auto& done : held_requests_) done(snapshot_);
    held_requests_.clear();
  });
  EXPECT_EQ(first.receive().status, 200);
  EXPECT_EQ(second.receive().status, 200);
  hold_snapshots_ = false;
  EXPECT_EQ(third.get("/metrics").status, 200);
}

TEST_F(ServerTest, ReturnsAnErrorBeforeTheScrapeTimeoutWithoutASnapshot) {
  hold_snapshots_ = true;
  start();
  Client client(address_);
  const auto begun = base::monotonic_now();
  const auto response = client.get("/metrics", "X-Prometheus-Scrape-Timeout-Seconds: 0.5\r\n");
  EXPECT_LT(base::monotonic_now() - begun, seconds(8));  // the default is 10 s
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.body, "scrape timeout expired before the cgroups were sampled\n");
  run_on_loop([this] {  // late snapshots are ignored
    for (auto& done : held_requests_) done(snapshot_);
  });
  hold_snapshots_ = false;
  EXPECT_EQ(client.get("/metrics").status, 200);
}

TEST_F(ServerTest, ReturnsAnErrorWhenSamplingFails) {
  snapshot_ = nullptr;
  start();
  const auto response = Client(address_).get("/metrics");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.body, "cgroups could not be sampled\n");
}

TEST_F(ServerTest, ReturnsAnErrorWhenALabelSourceThrows) {
  options_.writer.labels = [](const Cgroup&, std::string&) { throw std::runtime_error("two\nlines"); };
  start();
  Client client(address_);
  const auto response = client.get("/metrics");
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.body, "internal error: two\\x0alines\n");
  EXPECT_EQ(client.get("/-/healthy").status, 200);
}

TEST_F(ServerTest, IsReadyAfterTheFirstSnapshot) {
  snapshot_ = nullptr;
  start();
  Client client(address_);
  EXPECT_EQ(client.get("/-/ready").status, 503);
  EXPECT_EQ(client.get("/-/healthy").status, 200);
  run_on_loop([this] { snapshot_ = small_snapshot(); });
  EXPECT_EQ(client.get("/-/ready").status, 200);
  run_on_loop([this] { snapshot_ = nullptr; });
  EXPECT_EQ(client.get("/-/ready").body, "ready\n");
}

TEST_F(ServerTest, ServesALandingPage) {
  auto maker = Maker({"/", "/a"});
  maker.snapshot.hierarchies = std::make_shared<std::vector<model::HierarchyInfo>>(
      std::vector<model::HierarchyInfo>{{1, "cpu,cpuacct", "/mnt/<b>"}});
  snapshot_ = maker.share();
  start();
  auto response = Client(address_).get("/");
  EXPECT_EQ(response.headers["Content-Type"], "text/html; charset=utf-8");
  EXPECT_THAT(response.body, AllOf(HasSubstr("href=\"/metrics\""), HasSubstr("2 cgroups"), HasSubstr("/mnt/&lt;b&gt;"),
                                   HasSubstr("cpu,cpuacct"), HasSubstr(CGWARDEN_VERSION)));
  EXPECT_THAT(response.body, Not(HasSubstr("http")));  // no external resources
}

TEST_F(ServerTest, ServesMetricsUnderAConfiguredPath) {
  options_.telemetry_path = "/custom";
  start();
  Client client(address_);
  EXPECT_EQ(client.get("/custom").status, 200);
  EXPECT_EQ(client.get("/metrics").status, 404);
  EXPECT_THAT(client.get("/").body, HasSubstr("href=\"/custom\""));
}

TEST_F(ServerTest, RejectsConnectionsAboveTheLimit) {
  options_.max_connections = 2;
  start();
  Client first(address_);
  auto second = std::make_unique<Client>(address_);
  EXPECT_EQ(first.get("/-/healthy").status, 200);
  EXPECT_EQ(second->get("/-/healthy").status, 200);
  Client third(address_);
  const auto response = third.receive();
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.body, "too many connections (limit: 2)\n");
  EXPECT_TRUE(third.closed());
  EXPECT_THAT(first.get("/metrics").body, HasSubstr("\ncgwarden_http_rejected_connections_total 1\n"));
  second.reset();
  int status = 0;
  for (int i = 0; i < 200 && status != 200; ++i) {
    status = Client(address_).get("/-/healthy").status;
    std::this_thread::sleep_for(milliseconds(20));
  }
  EXPECT_EQ(status, 200);
}

TEST_F(ServerTest, AcceptsConnectionsAgainAfterDescriptorsRanOut) {
  start();
  Client accepted(address_);
  EXPECT_EQ(accepted.get("/-/healthy").status, 200);
  base::Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{0, before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &none);
  Client waiting_client(
      connect_tcp(address_, std::move(socket)));  // the kernel connects it; the server cannot accept it
  waiting_client.send(kGet);
  std::this_thread::sleep_for(milliseconds(200));
  const auto meanwhile = accepted.get("/-/healthy").status;
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(meanwhile, 200);
  EXPECT_EQ(waiting_client.receive().status, 200);
}

TEST_F(ServerTest, ListensOnSeveralAddresses) {
  const auto path = ::testing::TempDir() + "exporter-" + std::to_string(::getpid()) + ".sock";
  options_.listen = {"127.0.0.1:0", "unix:" + path, ":0"};
  const base::Fd v6(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 loopback{};
  loopback.sin6_family = AF_INET6;
  loopback.sin6_addr = in6addr_loopback;
  const bool has_v6 = v6 && ::bind(v6.get(), reinterpret_cast<const sockaddr*>(&loopback), sizeof loopback) == 0;
  if (has_v6) options_.listen.emplace_back("[::1]:0");
  start();
  const auto addresses = server_->addresses();
  ASSERT_EQ(addresses.size(), options_.listen.size());
  EXPECT_THAT(addresses[0], StartsWith("127.0.0.1:"));
  EXPECT_EQ(addresses[1], "unix:" + path);
  if (has_v6) {
    EXPECT_THAT(addresses[2], StartsWith("[::]:"));
    EXPECT_THAT(addresses[3], StartsWith("[::1]:"));
  }
  for (const auto& address : addresses) {
    EXPECT_THAT(Client(address).get("/metrics").body, HasSubstr("cgroup_pids_current{cgroup=\"/\"} 7\n")) << address;
  }
  stop();
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
  if (!has_v6) GTEST_SKIP() << "no IPv6 on this host: [::1] was not tested";
}

TEST_F(ServerTest, ListensOnNoAddressIfOneFails) {
  options_.listen = {"127.0.0.1:0", "127.0.0.1:0"};
  start();
  auto taken = options_;
  taken.listen = {"127.0.0.1:0", address_};
  Server other(
      io_, taken, catalogue(), [](auto, auto) {}, metrics_);
  const auto started = other.start();
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().what, StartsWith(address_ + ": cannot listen: Address already in use ("));
  EXPECT_TRUE(other.addresses().empty());
}

TEST_F(ServerTest, StopsWithClientsInAnyState) {
  use_small_socket_buffer();
  start();
  Client idle(address_);
  idle.get("/-/healthy");
  Client half(address_);
  half.send("GET /");
  Client slow(address_);
  slow.send(kGet);
  std::this_thread::sleep_for(milliseconds(100));
  hold_snapshots_ = true;
  const int before = requested_snapshots_;
  Client waiting(address_);
  waiting.send(kGet);
  while (requested_snapshots_ == before) std::this_thread::sleep_for(milliseconds(5));
  stop();
  EXPECT_TRUE(idle.closed());
  EXPECT_TRUE(half.closed());
  EXPECT_EQ(waiting.receive().status, 0);
  EXPECT_FALSE(connect_unix(address_.substr(5)));
}

TEST_F(ServerTest, CanBeDestroyedBeforeTheLoopRuns) {
  Server server(
      io_, options_, catalogue(), [](auto, auto) {}, metrics_);
  ASSERT_TRUE(server.start());
  const Client client(server.addresses().front());
}

TEST_F(ServerTest, CountsRequestsAndBytes) {
  start();
  Client client(address_);
  client.get("/-/healthy");
  client.get("/metrics");
  EXPECT_EQ(metric("cgwarden_http_requests_total{code=\"200\",path=\"/-/healthy\"}"), "1");
  EXPECT_EQ(metric("cgwarden_scrape_duration_seconds_count"), "2");
  EXPECT_EQ(metric("cgwarden_collection_duration_seconds_count"), "1");
  EXPECT_NE(metric("cgwarden_http_response_bytes_total"), "");
}

}  // namespace
}  // namespace cgwarden::exporter
