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
using discovery::engine_id;
using discovery::FakeDaemon;
using testing::AllOf;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::Not;

class ADaemonAsked : public testing::Test {
 protected:
  ADaemonAsked() {
    options_.title = "podman";
    options_.socket = temporary_.path() + "/daemon.sock";
    options_.answer_within = 50ms;
  }
  void start() {
    DaemonAsker::Hooks hooks;
    hooks.wanted = [this] { return wanted_; };
    hooks.told = [this](const discovery::Daemon::Told& told) {
      for (const auto& one : told) told_.push_back(one.first);
    };
    hooks.invalidate = [this] { ++doubts_; };
    asker_ = std::make_unique<DaemonAsker>(loop_, options_, metrics_, std::move(hooks), pace_);
    asker_->look();
  }
  // Of the loop's time.
  void pass(std::chrono::milliseconds time) { loop_.run_for(time); }
  template <class Condition>
  bool reached(Condition condition) {
    for (int i = 0; i < 500 && !condition(); ++i) pass(10ms);
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
  static FakeDaemon::Answer knows_all() {
    return [](int fd, const std::string& target) {
      return FakeDaemon::send(fd, FakeDaemon::http(200, discovery::inspected(target.substr(12, 64), "web")));
    };
  }

  const testing_files::TempDir temporary_;
  discovery::Daemon::Options options_;
  DaemonAsker::Pace pace_{.gather = 5ms, .again = 60s, .between = 5ms, .first_delay = 20ms, .longest_delay = 80ms};
  boost::asio::io_context loop_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> agent_ = boost::asio::make_work_guard(loop_);
  prometheus::Registry metrics_;
  std::vector<std::string> wanted_ = {engine_id('a')};
  std::vector<std::string> told_;
  int doubts_ = 0;
  std::unique_ptr<DaemonAsker> asker_;
};

TEST_F(ADaemonAsked, IsAskedOnceForEachContainerAndAtOnceForANewOne) {
  FakeDaemon daemon(options_.socket, knows_all());
  start();
  ASSERT_TRUE(reached([&] { return told_.size() == 1; }));
  asker_->look();
  pass(50ms);
  EXPECT_EQ(told_.size(), 1);
  wanted_.push_back(engine_id('b'));
  asker_->look();
  ASSERT_TRUE(reached([&] { return told_.size() == 2; }));
  EXPECT_EQ(told_[1], engine_id('b'));
  EXPECT_EQ(metric("cgwarden_discovery_daemon_requests_total"), 2);
  EXPECT_EQ(metric("cgwarden_discovery_daemon_failures_total"), 0);
}

TEST_F(ADaemonAsked, IsAskedAtOnceAboutWhatHasBegunOrEndedSinceAlsoWhileItAnswers) {
  options_.answer_within = options_.round_within = 60s;
  std::atomic<bool> go = false;
  FakeDaemon daemon(options_.socket, [&](int fd, const std::string& target) {
    while (!go) std::this_thread::sleep_for(1ms);
    return knows_all()(fd, target);
  });
  start();
  EXPECT_TRUE(reached([&] { return !daemon.targets().empty(); }));
  asker_->forget(wanted_);
  go = true;
  EXPECT_TRUE(reached([&] { return told_.size() == 2; }));
  asker_->forget(wanted_);
  asker_->look();
  EXPECT_TRUE(reached([&] { return told_.size() == 3; }));
}

TEST_F(ADaemonAsked, IsAskedAgainWhenTheTimeHasCome) {
  pace_.again = 20ms;
  FakeDaemon daemon(options_.socket, knows_all());
  start();
  EXPECT_TRUE(reached([&] { return told_.size() >= 3; }));
}

TEST_F(ADaemonAsked, GetsRoundsOfNoMoreThanSoManyUntilAllWereAskedFor) {
  options_.max_asked = 2;
  wanted_ = {engine_id('a'), engine_id('b'), engine_id('c'), engine_id('d'), engine_id('e')};
  FakeDaemon daemon(options_.socket, knows_all());
  start();
  ASSERT_TRUE(reached([&] { return told_.size() >= 5; }));
  std::ranges::sort(told_);
  EXPECT_EQ(told_, wanted_);
}

TEST_F(ADaemonAsked, IsAskedAtOnceForWhatHasChangedAndForWhatNothingWantsYet) {
  FakeDaemon daemon(options_.socket, knows_all());
  start();
  ASSERT_TRUE(reached([&] { return told_.size() == 1; }));
  pass(30ms);
  asker_->look_at(engine_id('a'));
  asker_->look_at(engine_id('b'));
  ASSERT_TRUE(reached([&] { return told_.size() == 3; }));
  EXPECT_THAT(told_, testing::UnorderedElementsAre(engine_id('a'), engine_id('a'), engine_id('b')));
  asker_->look_at_all();
  ASSERT_TRUE(reached([&] { return told_.size() == 4; }));
  EXPECT_EQ(told_[3], engine_id('a'));
  pass(50ms);
  EXPECT_EQ(told_.size(), 4);
}

TEST_F(ADaemonAsked, ThatWasAwayWhenItsLastContainerWentIsAskedForTheNextOne) {
  start();
  ASSERT_TRUE(reached([&] { return doubts_ == 1; }));
  wanted_.clear();
  pass(200ms);
  FakeDaemon daemon(options_.socket, knows_all());
  wanted_ = {engine_id('b')};
  asker_->look();
  EXPECT_TRUE(reached([&] { return told_.size() == 1; }));
}

TEST_F(ADaemonAsked, ThatFailsOverOneContainerIsAskedForTheOthersFirst) {
  wanted_ = {engine_id('b'), engine_id('a'), engine_id('c')};
  pace_.again = 20ms;
  FakeDaemon daemon(options_.socket, [&](int fd, const std::string& target) {
    return target.find(engine_id('b')) == std::string::npos && knows_all()(fd, target);
  });
  start();
  ASSERT_TRUE(reached([&] { return told_.size() >= 8; }));
  EXPECT_GE(metric("cgwarden_discovery_daemon_failures_total", "unreachable"), 2);
  EXPECT_LE(doubts_, 1) << "that it answers is known after the first round";
}

TEST_F(ADaemonAsked, AndAwayIsAskedEverMoreSeldomAndToldOfOnceAndOnceWhenItIsBack) {
  log::set_up("info", "logfmt");
  testing::internal::CaptureStderr();
  start();
  pass(400ms);
  const auto failures = metric("cgwarden_discovery_daemon_failures_total", "unreachable");
  // After 5, 25, 65, 145, 225, 305, 385 ms.
  EXPECT_GE(failures, 2);
  EXPECT_LE(failures, 8);
  EXPECT_EQ(doubts_, 1);
  {
    FakeDaemon daemon(options_.socket, knows_all());
    EXPECT_TRUE(reached([&] { return !told_.empty(); }));
    pass(100ms);
  }
  const auto said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, AllOf(ContainsRegex("does not answer"), ContainsRegex("answers again")));
  EXPECT_THAT(said, Not(ContainsRegex("does not answer.*\n.*does not answer")));
  EXPECT_THAT(said, Not(ContainsRegex("answers again.*\n.*answers again")));
}

TEST_F(ADaemonAsked, ThatHangsHoldsUpNeitherTheLoopNorTheEnd) {
  options_.answer_within = options_.round_within = 60s;
  FakeDaemon* fake = nullptr;
  FakeDaemon daemon(options_.socket, [&](int fd, const std::string&) { return fake->hang(fd); });
  fake = &daemon;
  start();
  ASSERT_TRUE(reached([&] { return !daemon.targets().empty(); }));
  const auto begin = base::monotonic_now();
  bool ran = false;
  boost::asio::post(loop_, [&] { ran = true; });
  pass(1ms);
  EXPECT_TRUE(ran);
  asker_.reset();
  EXPECT_LT(base::monotonic_now() - begin, 1s);
}

class AContainerdHeard : public ADaemonAsked {
 protected:
  using Request = discovery::FakeContainerd::Request;

  AContainerdHeard() { options_.title = "containerd"; }
  void listen() {
    ContainerdListener::Hooks hooks;
    hooks.begun = [this] { ++begun_; };
    hooks.heard = [this](const discovery::ContainerdEvent& event) { heard_.push_back(event.key); };
    listener_ = std::make_unique<ContainerdListener>(loop_, options_, metrics_, std::move(hooks), pace_);
  }
  // So many events, and nothing more.
  discovery::FakeContainerd::Answer says(int count) {
    return [this, count](int fd, const Request& request) {
      namespace http2 = discovery::http2;
      auto bytes = http2::head(request.stream);
      for (int i = 0; i < count; ++i) {
        const auto event =
            discovery::told_event("default", "/tasks/start", discovery::proto(1, "c" + std::to_string(i)));
        bytes += http2::data(request.stream, http2::message(event));
      }
      return discovery::FakeContainerd::send(fd, bytes) && fake_->hang(fd);
    };
  }

  discovery::FakeContainerd* fake_ = nullptr;
  int begun_ = 0;
  std::vector<std::string> heard_;
  std::unique_ptr<ContainerdListener> listener_;
};

TEST_F(AContainerdHeard, TellsItsEventsAsTheyCome) {
  discovery::FakeContainerd daemon(options_.socket, says(3));
  fake_ = &daemon;
  listen();
  ASSERT_TRUE(reached([&] { return heard_.size() == 3; }));
  EXPECT_THAT(heard_, ElementsAre("default/c0", "default/c1", "default/c2"));
  EXPECT_EQ(begun_, 1);
  EXPECT_EQ(metric("cgwarden_discovery_daemon_events_total"), 3);
  pass(100ms);
  EXPECT_EQ(daemon.connections(), 1);
}

TEST_F(AContainerdHeard, AndAwayIsTriedEverMoreSeldomAndToldOfOnceAndOnceWhenItIsBack) {
  log::set_up("info", "logfmt");
  testing::internal::CaptureStderr();
  listen();
  pass(400ms);
  const auto failures = metric("cgwarden_discovery_daemon_failures_total", "unreachable");
  // After 0, 20, 60, 140, 220, 300, 380 ms.
  EXPECT_GE(failures, 2);
  EXPECT_LE(failures, 8);
  for (int i = 1; i <= 2; ++i) {
    discovery::FakeContainerd daemon(options_.socket, says(0));
    fake_ = &daemon;
    EXPECT_TRUE(reached([&] { return begun_ == i; }));
    pass(100ms);
  }
  pass(50ms);
  const auto said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, ContainsRegex("is not heard.*\n.*is heard again.*\n.*is not heard.*\n.*is heard again.*\n"));
  EXPECT_EQ(std::ranges::count(said, '\n'), 5) << said;
}

TEST_F(AContainerdHeard, ThatRefusesEachTimeIsToldOfOnce) {
  log::set_up("info", "logfmt");
  testing::internal::CaptureStderr();
  discovery::FakeContainerd daemon(options_.socket, [](int fd, const Request& request) {
    return discovery::FakeContainerd::send(fd, discovery::http2::refusal(request.stream, 12));
  });
  listen();
  EXPECT_TRUE(reached([&] { return metric("cgwarden_discovery_daemon_failures_total", "status") >= 3; }));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), Not(ContainsRegex("\n.*\n")));
}

TEST_F(AContainerdHeard, ThatTellsMoreThanCanBeLookedAtIsAskedForAllInstead) {
  discovery::FakeContainerd daemon(options_.socket, says(3000));
  fake_ = &daemon;
  listen();
  std::this_thread::sleep_for(500ms);  // the loop is busy
  ASSERT_TRUE(reached([&] { return begun_ == 2; }));
  EXPECT_LE(heard_.size(), 1024);
}

TEST_F(AContainerdHeard, HoldsUpNeitherTheLoopNorTheEnd) {
  options_.answer_within = 60s;
  discovery::FakeContainerd daemon(
      options_.socket, [this](int fd, const Request&) { return fake_->hang(fd); }, false);
  fake_ = &daemon;
  listen();
  ASSERT_TRUE(reached([&] { return !daemon.methods().empty(); }));
  const auto begin = base::monotonic_now();
  listener_.reset();
  EXPECT_LT(base::monotonic_now() - begin, 1s);
}

}  // namespace
}  // namespace cgwarden::agent
