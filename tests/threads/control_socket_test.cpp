// SPDX-License-Identifier: Apache-2.0
// The enforcer's socket from the view of its clients: a real socket, served by a real event loop.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <filesystem>
#include <thread>

#include "src/base/fd.h"
#include "src/control/socket.h"
#include "tests/outcome_words.h"
#include "tests/temp_dir.h"

namespace cgwarden::control {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using Kind = model::Outcome::Kind;

class SocketServer : public testing::Test {
 protected:
  void SetUp() override {
    options_.path = folder_ + "/socket";
    options_.state_directory = folder_;
    options_.max_connections_per_user = 2;
    // A directory represents one existing cgroup, as nothing is written.
    std::filesystem::create_directories(folder_ + "/fs/a");
    host_.all.push_back({2, {"memory"}, "", folder_ + "/fs", "/"});
  }
  void TearDown() override {
    if (thread_.joinable()) {
      boost::asio::post(loop_, [this] {
        server_.reset();
        loop_.stop();
      });
      thread_.join();
    }
  }
  void serve() {
    auto started = control::SocketServer::start(
        loop_, host_, options_,
        {[this](model::Action action, control::SocketServer::ReplyCallback answer) {
           received_ = action;
           model::Outcome out;
           out.text = std::string(model::name(action.verb));
           answer(out);
         },
         [](std::string id, model::Actor, bool, control::SocketServer::ReplyCallback answer) {
           model::Outcome out;
           out.text = "undone " + id;
           answer(out);
         }});
    ASSERT_TRUE(started) << started.error().what;
    server_ = std::move(*started);
    thread_ = std::thread([this] {
      const auto work = boost::asio::make_work_guard(loop_);
      loop_.run();
    });
  }
  // Another user of this machine.
  static bool become_another() {
    return ::setresgid(65534, 65534, 65534) == 0 && ::setresuid(65534, 65534, 65534) == 0;
  }
  [[nodiscard]] base::Fd connect() const {
    base::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    options_.path.copy(address.sun_path, options_.path.size());
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return socket;
  }
  static std::string line(int socket) {
    std::string out;
    char c = 0;
    while (::recv(socket, &c, 1, 0) == 1 && c != '\n') out += c;
    return out;
  }
  static Request request(const std::string& path = "/a") {
    Request out;
    out.action.verb = model::Verb::freeze;
    out.action.cgroup.path = path;
    return out;
  }

  const testing_files::TempDir temporary_;
  const std::string folder_ = temporary_.path();
  control::SocketServer::Options options_;
  cgroup::HostHierarchies host_;
  boost::asio::io_context loop_;
  std::unique_ptr<control::SocketServer> server_;
  std::thread thread_;
  model::Action received_;
};

TEST_F(SocketServer, PassesRequestsOfRootWithTheirCredentials) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root: no caller is permitted";
  serve();
  const auto outcome = query_enforcer(options_.path, request(), milliseconds(20'000));
  ASSERT_TRUE(outcome) << outcome.error().what;
  EXPECT_EQ(outcome->text, "freeze");
  EXPECT_EQ(received_.actor.pid, ::getpid());
  EXPECT_EQ(received_.actor.via, model::Actor::Via::socket);
  EXPECT_NE(received_.cgroup.id, 0U) << "the id of the cgroup whose permissions were checked";
  EXPECT_EQ(query_enforcer(options_.path, request("/b"), milliseconds(20'000))->kind, Kind::gone);
  Request undo;
  undo.kind = RequestKind::undo;
  undo.undo = "0123abcd";
  EXPECT_EQ(query_enforcer(options_.path, undo, milliseconds(20'000))->text, "undone 0123abcd");
}

TEST_F(SocketServer, DeniesUsersWithoutADelegatedCgroup) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root: cannot be two users";
  std::filesystem::permissions(folder_, std::filesystem::perms::others_exec, std::filesystem::perm_options::add);
  // Fork before there are threads: one of them may hold the allocator's lock, and the child would deadlock.
  int go[2];
  ASSERT_EQ(::pipe2(go, O_CLOEXEC), 0);
  const base::Fd start_wait(go[0]);
  base::Fd start_signal(go[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    start_signal.reset();
    char byte = 0;
    if (::read(start_wait.get(), &byte, 1) != 1 || !become_another()) ::_exit(2);
    const auto outcome = query_enforcer(options_.path, request(), milliseconds(20'000));
    Request undo;
    undo.kind = RequestKind::undo;
    const auto undone = query_enforcer(options_.path, undo, milliseconds(20'000));
    ::_exit(outcome && outcome->kind == Kind::denied && outcome->guard == "owner" && undone &&
                    undone->kind == Kind::denied
                ? 0
                : 1);
  }
  serve();
  ASSERT_EQ(::write(start_signal.get(), "g", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(received_.cgroup.path.empty());
}

TEST_F(SocketServer, RespondsToInvalidRequestsAndContinues) {
  serve();
  const auto socket = connect();
  const std::string rubbish = "rubbish\n{\"version\":1}\n";
  ASSERT_EQ(::send(socket.get(), rubbish.data(), rubbish.size(), MSG_NOSIGNAL), static_cast<ssize_t>(rubbish.size()));
  EXPECT_THAT(line(socket.get()), HasSubstr("\"usage\""));
  EXPECT_THAT(line(socket.get()), HasSubstr("exactly one of"));
}

TEST_F(SocketServer, ClosesAConnectionWithATooLongLine) {
  serve();
  const auto socket = connect();
  const std::string endless(kMaxLine + 2, 'x');
  ASSERT_EQ(::send(socket.get(), endless.data(), endless.size(), MSG_NOSIGNAL), static_cast<ssize_t>(endless.size()));
  EXPECT_THAT(line(socket.get()), HasSubstr("64 KiB"));
  EXPECT_EQ(line(socket.get()), "");
}

TEST_F(SocketServer, ClosesAnIdleConnectionAfterTheTimeout) {
  options_.timeout = std::chrono::seconds(0);
  serve();
  const auto socket = connect();
  EXPECT_EQ(line(socket.get()), "") << "it is closed";
}

TEST_F(SocketServer, RefusesASecondEnforcerAndReplacesAStaleSocket) {
  serve();
  boost::asio::io_context other;
  const auto second = control::SocketServer::start(other, host_, options_, {});
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().what, HasSubstr("another enforcer"));
  auto stale = options_;
  stale.path = folder_ + "/stale";
  const base::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  stale.path.copy(address.sun_path, stale.path.size());
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_TRUE(control::SocketServer::start(other, host_, stale, {}));
}

TEST_F(SocketServer, ReportsAMissingEnforcerToClients) {
  const auto outcome = query_enforcer(options_.path, request(), milliseconds(1000));
  ASSERT_FALSE(outcome);
  EXPECT_THAT(outcome.error().what, HasSubstr("cannot connect"));
}

}  // namespace
}  // namespace cgwarden::control
