// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <thread>

#include "src/agent/daemons.h"
#include "src/agent/log.h"
#include "tests/temp_dir.h"
#include "tests/threads/fake_containerd.h"
#include "tests/threads/fake_daemon.h"
#include "tests/unit/discovery_fixture.h"

namespace cgwarden::agent {
namespace {

using namespace std::chrono_literals;
using discovery::container_id;
using discovery::FakeDaemon;
using testing::AllOf;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::Not;

class DaemonPollerTest : public testing::Test {
 protected:
  DaemonPollerTest() {
    options_.title = "podman";
    options_.socket = temporary_.path() + "/daemon.sock";
    options_.answer_timeout = 50ms;
  }
  void start() {
    DaemonPoller::Hooks hooks;
    hooks.wanted = [this] { return wanted_; };
    hooks.on_facts = [this](const discovery::Daemon::Results& facts) {
      for (const auto& one : facts) queried_.push_back(one.first);
    };
    hooks.invalidate = [this] { ++invalidations_; };
    poller_ = std::make_unique<DaemonPoller>(loop_, options_, metrics_, std::move(hooks), timing_);
    poller_->poll_new();
  }
  // Runs the loop for this time.
  void run_for(std::chrono::milliseconds time) { loop_.run_for(time); }
  template <class Condition>
  bool reached(Condition condition) {
    for (int i = 0; i < 500 && !condition(); ++i) run_for(10ms);
    return condition();
  }
  double metric(const std::string& name, const std::string& reason = {}) {
    double sum = 0;
    for (const auto& family : metrics_.Collect()) {
      if (family.name != name) continue;
      for (const auto& one : family.metric) {
        if (reason.empty() || one.label.back().value == reason) sum += one.counter.value;
      }
    }
    return sum;
  }
  static FakeDaemon::Handler answer_all() {
    return [](int fd, const std::string& target) {
      return FakeDaemon::send(fd, FakeDaemon::http(200, discovery::inspected(target.substr(12, 64), "web")));
    };
  }

  const testing_files::TempDir temporary_;
  discovery::Daemon::Options options_;
  DaemonPoller::Timing timing_{.gather = 5ms, .refresh = 60s, .between = 5ms, .first_delay = 20ms, .max_delay = 80ms};
  boost::asio::io_context loop_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> agent_ = boost::asio::make_work_guard(loop_);
  prometheus::Registry metrics_;
  std::vector<std::string> wanted_ = {container_id('a')};
  std::vector<std::string> queried_;
  int invalidations_ = 0;
  std::unique_ptr<DaemonPoller> poller_;
};

TEST_F(DaemonPollerTest, QueriesEachContainerOnceAndNewOnesImmediately) {
  FakeDaemon daemon(options_.socket, answer_all());
  start();
  ASSERT_TRUE(reached([&] { return queried_.size() == 1; }));
  poller_->poll_new();
  run_for(50ms);
  EXPECT_EQ(queried_.size(), 1);
  wanted_.push_back(container_id('b'));
  poller_->poll_new();
  ASSERT_TRUE(reached([&] { return queried_.size() == 2; }));
  EXPECT_EQ(queried_[1], container_id('b'));
  EXPECT_EQ(metric("cgwarden_discovery_daemon_requests_total"), 2);
  EXPECT_EQ(metric("cgwarden_discovery_daemon_failures_total"), 0);
}

TEST_F(DaemonPollerTest, QueriesForgottenContainersAgainEvenDuringARound) {
  options_.answer_timeout = options_.round_timeout = 60s;
  std::atomic<bool> go = false;
  FakeDaemon daemon(options_.socket, [&](int fd, const std::string& target) {
    while (!go) std::this_thread::sleep_for(1ms);
    return answer_all()(fd, target);
  });
  start();
  EXPECT_TRUE(reached([&] { return !daemon.targets().empty(); }));
  poller_->forget(wanted_);
  go = true;
  EXPECT_TRUE(reached([&] { return queried_.size() == 2; }));
  poller_->forget(wanted_);
  poller_->poll_new();
  EXPECT_TRUE(reached([&] { return queried_.size() == 3; }));
}

TEST_F(DaemonPollerTest, QueriesAgainAfterTheRefreshInterval) {
  timing_.refresh = 20ms;
  FakeDaemon daemon(options_.socket, answer_all());
  start();
  EXPECT_TRUE(reached([&] { return queried_.size() >= 3; }));
}

TEST_F(DaemonPollerTest, SplitsManyContainersIntoRounds) {
  options_.max_queries = 2;
  wanted_ = {container_id('a'), container_id('b'), container_id('c'), container_id('d'), container_id('e')};
  FakeDaemon daemon(options_.socket, answer_all());
  start();
  ASSERT_TRUE(reached([&] { return queried_.size() >= 5; }));
  std::ranges::sort(queried_);
  EXPECT_EQ(queried_, wanted_);
}

TEST_F(DaemonPollerTest, QueriesRequestedContainersImmediately) {
  FakeDaemon daemon(options_.socket, answer_all());
  start();
  ASSERT_TRUE(reached([&] { return queried_.size() == 1; }));
  run_for(30ms);
  poller_->poll(container_id('a'));
  poller_->poll(container_id('b'));
  ASSERT_TRUE(reached([&] { return queried_.size() == 3; }));
  EXPECT_THAT(queried_, testing::UnorderedElementsAre(container_id('a'), container_id('a'), container_id('b')));
  poller_->poll_all();
  ASSERT_TRUE(reached([&] { return queried_.size() == 4; }));
  EXPECT_EQ(queried_[3], container_id('a'));
  run_for(50ms);
  EXPECT_EQ(queried_.size(), 4);
}

TEST_F(DaemonPollerTest, QueriesTheNextContainerAfterTheDaemonWasUnreachable) {
  start();
  ASSERT_TRUE(reached([&] { return invalidations_ == 1; }));
  wanted_.clear();
  run_for(200ms);
  FakeDaemon daemon(options_.socket, answer_all());
  wanted_ = {container_id('b')};
  poller_->poll_new();
  EXPECT_TRUE(reached([&] { return queried_.size() == 1; }));
}

TEST_F(DaemonPollerTest, QueriesContainersWithFailuresLast) {
  wanted_ = {container_id('b'), container_id('a'), container_id('c')};
  timing_.refresh = 20ms;
  FakeDaemon daemon(options_.socket, [&](int fd, const std::string& target) {
    return target.find(container_id('b')) == std::string::npos && answer_all()(fd, target);
  });
  start();
  ASSERT_TRUE(reached([&] { return queried_.size() >= 8; }));
  EXPECT_GE(metric("cgwarden_discovery_daemon_failures_total", "unreachable"), 2);
  EXPECT_LE(invalidations_, 1) << "the daemon is known to be reachable after the first round";
}

TEST_F(DaemonPollerTest, BacksOffAndLogsOnceWhenTheDaemonIsUnreachable) {
  log::set_up("info", "logfmt");
  testing::internal::CaptureStderr();
  start();
  run_for(400ms);
  const auto failures = metric("cgwarden_discovery_daemon_failures_total", "unreachable");
  // After 5, 25, 65, 145, 225, 305, 385 ms.
  EXPECT_GE(failures, 2);
  EXPECT_LE(failures, 8);
  EXPECT_EQ(invalidations_, 1);
  {
    FakeDaemon daemon(options_.socket, answer_all());
    EXPECT_TRUE(reached([&] { return !queried_.empty(); }));
    run_for(100ms);
  }
  const auto log_text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log_text, AllOf(ContainsRegex("daemon unreachable, retrying"), ContainsRegex("daemon reachable again")));
  EXPECT_THAT(log_text, Not(ContainsRegex("daemon unreachable.*\n.*daemon unreachable")));
  EXPECT_THAT(log_text, Not(ContainsRegex("reachable again.*\n.*reachable again")));
}

TEST_F(DaemonPollerTest, DoesNotBlockLoopOrDestructorWhenTheDaemonHangs) {
  options_.answer_timeout = options_.round_timeout = 60s;
  FakeDaemon* fake = nullptr;
  FakeDaemon daemon(options_.socket, [&](int fd, const std::string&) { return fake->hang(fd); });
  fake = &daemon;
  start();
  ASSERT_TRUE(reached([&] { return !daemon.targets().empty(); }));
  const auto begin = base::monotonic_now();
  bool ran = false;
  boost::asio::post(loop_, [&] { ran = true; });
  run_for(1ms);
  EXPECT_TRUE(ran);
  poller_.reset();
  EXPECT_LT(base::monotonic_now() - begin, 1s);
}

class ContainerdListenerTest : public DaemonPollerTest {
 protected:
  using Request = discovery::FakeContainerd::Request;

  ContainerdListenerTest() { options_.title = "containerd"; }
  void start_listener() {
    ContainerdListener::Hooks hooks;
    hooks.connected = [this] { ++connected_; };
    hooks.on_event = [this](const discovery::ContainerdEvent& event) { events_.push_back(event.key); };
    listener_ = std::make_unique<ContainerdListener>(loop_, options_, metrics_, std::move(hooks), timing_);
  }
  // Sends `count` events and keeps the stream open.
  discovery::FakeContainerd::Handler send_events(int count) {
    return [this, count](int fd, const Request& request) {
      namespace http2 = discovery::http2;
      auto bytes = http2::head(request.stream);
      for (int i = 0; i < count; ++i) {
        const auto event =
            discovery::event_message("default", "/tasks/start", discovery::proto(1, "c" + std::to_string(i)));
        bytes += http2::data(request.stream, http2::message(event));
      }
      return discovery::FakeContainerd::send(fd, bytes) && fake_->hang(fd);
    };
  }

  discovery::FakeContainerd* fake_ = nullptr;
  int connected_ = 0;
  std::vector<std::string> events_;
  std::unique_ptr<ContainerdListener> listener_;
};

TEST_F(ContainerdListenerTest, ReportsEventsInOrder) {
  discovery::FakeContainerd daemon(options_.socket, send_events(3));
  fake_ = &daemon;
  start_listener();
  ASSERT_TRUE(reached([&] { return events_.size() == 3; }));
  EXPECT_THAT(events_, ElementsAre("default/c0", "default/c1", "default/c2"));
  EXPECT_EQ(connected_, 1);
  EXPECT_EQ(metric("cgwarden_discovery_daemon_events_total"), 3);
  run_for(100ms);
  EXPECT_EQ(daemon.connections(), 1);
}

TEST_F(ContainerdListenerTest, BacksOffAndLogsOnceWhenTheDaemonIsUnreachable) {
  log::set_up("info", "logfmt");
  testing::internal::CaptureStderr();
  start_listener();
  run_for(400ms);
  const auto failures = metric("cgwarden_discovery_daemon_failures_total", "unreachable");
  // After 0, 20, 60, 140, 220, 300, 380 ms.
  EXPECT_GE(failures, 2);
  EXPECT_LE(failures, 8);
  for (int i = 1; i <= 2; ++i) {
    discovery::FakeContainerd daemon(options_.socket, send_events(0));
    fake_ = &daemon;
    EXPECT_TRUE(reached([&] { return connected_ == i; }));
    run_for(100ms);
  }
  run_for(50ms);
  const auto log_text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log_text, ContainsRegex("stream lost.*\n.*connected again.*\n.*stream lost.*\n.*connected again.*\n"));
  EXPECT_EQ(std::ranges::count(log_text, '\n'), 5) << log_text;
}

TEST_F(ContainerdListenerTest, LogsARepeatedRejectionOnce) {
  log::set_up("info", "logfmt");
  testing::internal::CaptureStderr();
  discovery::FakeContainerd daemon(options_.socket, [](int fd, const Request& request) {
    return discovery::FakeContainerd::send(fd, discovery::http2::refusal(request.stream, 12));
  });
  start_listener();
  EXPECT_TRUE(reached([&] { return metric("cgwarden_discovery_daemon_failures_total", "status") >= 3; }));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), Not(ContainsRegex("\n.*\n")));
}

TEST_F(ContainerdListenerTest, ReportsANewConnectionWhenEventsAreDropped) {
  discovery::FakeContainerd daemon(options_.socket, send_events(3000));
  fake_ = &daemon;
  start_listener();
  std::this_thread::sleep_for(500ms);  // the loop is busy
  ASSERT_TRUE(reached([&] { return connected_ == 2; }));
  EXPECT_LE(events_.size(), 1024);
}

TEST_F(ContainerdListenerTest, DoesNotBlockLoopOrDestructorWhenTheDaemonHangs) {
  options_.answer_timeout = 60s;
  discovery::FakeContainerd daemon(
      options_.socket, [this](int fd, const Request&) { return fake_->hang(fd); }, false);
  fake_ = &daemon;
  start_listener();
  ASSERT_TRUE(reached([&] { return !daemon.methods().empty(); }));
  const auto begin = base::monotonic_now();
  listener_.reset();
  EXPECT_LT(base::monotonic_now() - begin, 1s);
}

}  // namespace
}  // namespace cgwarden::agent
