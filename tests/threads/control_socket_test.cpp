// SPDX-License-Identifier: Apache-2.0
// The enforcer's socket as its clients see it: a real one, served by a real loop.
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

class TheSocket : public testing::Test {
 protected:
  void SetUp() override {
    options_.path = folder_ + "/socket";
    options_.state_directory = folder_;
    options_.max_of_one_user = 2;
    // One cgroup that is there: a directory stands for it, as nothing is written.
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
    auto started = SocketServer::start(loop_, host_, options_,
                                       {[this](model::Action action, SocketServer::Answer answer) {
                                          asked_ = action;
                                          model::Outcome out;
                                          out.text = std::string(model::name(action.verb));
                                          answer(out);
                                        },
                                        [](std::string id, model::Actor, bool, SocketServer::Answer answer) {
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
  SocketServer::Options options_;
  cgroup::HostHierarchies host_;
  boost::asio::io_context loop_;
  std::unique_ptr<SocketServer> server_;
  std::thread thread_;
  model::Action asked_;
};

TEST_F(TheSocket, HandsOnWhatRootAsksWithTheCredentialsOfTheKernel) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root: nobody may ask";
  serve();
  const auto outcome = ask_enforcer(options_.path, request(), milliseconds(20'000));
  ASSERT_TRUE(outcome) << outcome.error().what;
  EXPECT_EQ(outcome->text, "freeze");
  EXPECT_EQ(asked_.actor.pid, ::getpid());
  EXPECT_EQ(asked_.actor.via, model::Actor::Via::socket);
  EXPECT_NE(asked_.cgroup.id, 0U) << "the cgroup that was looked at is the one that is meant";
  EXPECT_EQ(ask_enforcer(options_.path, request("/b"), milliseconds(20'000))->kind, Kind::gone);
  Request undo;
  undo.what = Request::What::undo;
  undo.undo = "0123abcd";
  EXPECT_EQ(ask_enforcer(options_.path, undo, milliseconds(20'000))->text, "undone 0123abcd");
}

TEST_F(TheSocket, RefusesWhoOwnsNothing) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root: cannot be two users";
  std::filesystem::permissions(folder_, std::filesystem::perms::others_exec, std::filesystem::perm_options::add);
  // Forked before there are threads: one of them may hold the allocator's lock, and the child would wait for it for
  // ever.
  int go[2];
  ASSERT_EQ(::pipe2(go, O_CLOEXEC), 0);
  const base::Fd told(go[0]);
  base::Fd tell(go[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    tell.reset();
    char byte = 0;
    if (::read(told.get(), &byte, 1) != 1 || !become_another()) ::_exit(2);
    const auto outcome = ask_enforcer(options_.path, request(), milliseconds(20'000));
    Request undo;
    undo.what = Request::What::undo;
    const auto undone = ask_enforcer(options_.path, undo, milliseconds(20'000));
    ::_exit(outcome && outcome->kind == Kind::denied && outcome->guard == "owner" && undone &&
                    undone->kind == Kind::denied
                ? 0
                : 1);
  }
  serve();
  ASSERT_EQ(::write(tell.get(), "g", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(asked_.cgroup.path.empty());
}

TEST_F(TheSocket, AnswersRubbishAndGoesOn) {
  serve();
  const auto socket = connect();
  const std::string rubbish = "rubbish\n{\"version\":1}\n";
  ASSERT_EQ(::send(socket.get(), rubbish.data(), rubbish.size(), MSG_NOSIGNAL), static_cast<ssize_t>(rubbish.size()));
  EXPECT_THAT(line(socket.get()), HasSubstr("\"usage\""));
  EXPECT_THAT(line(socket.get()), HasSubstr("neither or both"));
}

TEST_F(TheSocket, EndsAConversationWithSomebodyWhoNeverEndsALine) {
  serve();
  const auto socket = connect();
  const std::string endless(kMaxLine + 2, 'x');
  ASSERT_EQ(::send(socket.get(), endless.data(), endless.size(), MSG_NOSIGNAL), static_cast<ssize_t>(endless.size()));
  EXPECT_THAT(line(socket.get()), HasSubstr("64 KiB"));
  EXPECT_EQ(line(socket.get()), "");
}

TEST_F(TheSocket, DoesNotWaitForEverForAQuestion) {
  options_.patience = std::chrono::seconds(0);
  serve();
  const auto socket = connect();
  EXPECT_EQ(line(socket.get()), "") << "it is closed";
}

TEST_F(TheSocket, HasOneEnforcerBehindItAndTakesThePlaceOfADeadOne) {
  serve();
  boost::asio::io_context other;
  const auto second = SocketServer::start(other, host_, options_, {});
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().what, HasSubstr("another enforcer"));
  auto dead = options_;
  dead.path = folder_ + "/dead";
  const base::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  dead.path.copy(address.sun_path, dead.path.size());
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_TRUE(SocketServer::start(other, host_, dead, {}));
}

TEST_F(TheSocket, SaysWhenNobodyIsThere) {
  const auto outcome = ask_enforcer(options_.path, request(), milliseconds(1000));
  ASSERT_FALSE(outcome);
  EXPECT_THAT(outcome.error().what, HasSubstr("not to be reached"));
}

}  // namespace
}  // namespace cgwarden::control
