// SPDX-License-Identifier: Apache-2.0
// The Docker API client against a fake daemon that misbehaves, and what the resolver does with its reports.
#include <gmock/gmock.h>

#include "src/base/fd.h"
#include "src/discovery/daemon.h"
#include "tests/threads/fake_daemon.h"
#include "tests/unit/discovery_fixture.h"

namespace cgwarden::discovery {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Optional;
using testing::Pair;
using testing::SizeIs;
using testing::UnorderedElementsAre;
using Clock = std::chrono::steady_clock;

const std::string kA = container_id('a');
const std::string kB = container_id('b');
const std::string kSandboxed = container_id('c');

std::string id_of(const std::string& target) { return target.substr(12, 64); }

class DockerDaemonTest : public testing::Test {
 protected:
  Daemon::Round query(const std::vector<std::string>& ids, FakeDaemon::Handler answer) {
    FakeDaemon fake(options_.socket, std::move(answer));
    fake_ = &fake;
    const auto begin = Clock::now();
    auto round = make_daemon(options_)->query(ids);
    elapsed_ = Clock::now() - begin;
    targets_ = fake.targets();
    connections_ = fake.connections();
    return round;
  }
  // Number of failures of this kind. Expects that there are no other failures.
  std::uint64_t only_failure(const Daemon::Round& round, Daemon::Failure failure) {
    const auto count = round.failures[static_cast<std::size_t>(failure)];
    std::uint64_t all = 0;
    for (const auto one : round.failures) all += one;
    EXPECT_EQ(all, count) << round.error;
    return count;
  }

  const testing_files::TempDir temporary_;
  Daemon::Options options_{.title = "podman",
                           .socket = temporary_.path() + "/daemon.sock",
                           .labels = {"org.lab.*"},
                           .answer_timeout = 200ms,
                           .round_timeout = 2000ms};
  FakeDaemon* fake_ = nullptr;
  Clock::duration elapsed_{};
  std::vector<std::string> targets_;
  int connections_ = 0;
};

TEST_F(DockerDaemonTest, QueriesAllContainersOverOneConnection) {
  const auto round = query({kA, kB}, [&](int fd, const std::string& target) {
    return FakeDaemon::send(fd, FakeDaemon::http(200, inspected(id_of(target), "web", R"({"org.lab.tier":"x"})")));
  });
  EXPECT_THAT(targets_, ElementsAre("/containers/" + kA + "/json", "/containers/" + kB + "/json"));
  EXPECT_EQ(connections_, 1);
  ASSERT_THAT(round.results, SizeIs(2));
  EXPECT_EQ(round.results[1].first, kB);
  const auto& c = *round.results[0].second;
  EXPECT_THAT(c.runtime, Optional(std::string("podman")));
  EXPECT_THAT(c.id, Optional(kA));
  EXPECT_THAT(c.name, Optional(std::string("web")));
  EXPECT_THAT(c.image, Optional(std::string("lab/box:1")));
  EXPECT_THAT(c.image_digest, Optional(std::string("sha256:52fb")));
  EXPECT_THAT(c.state, Optional(std::string("running")));
  EXPECT_THAT(c.health, Optional(std::string("healthy")));
  EXPECT_THAT(c.restart_count, Optional(3));
  EXPECT_TRUE(c.created && c.started);
  EXPECT_EQ(c.pid, std::nullopt) << "pids from a daemon are not trusted";
  EXPECT_EQ(origin_of(c, "labels"), "unix:" + options_.socket);
}

TEST_F(DockerDaemonTest, ReportsOnlyAllowedLabels) {
  options_.labels = {"*"};
  const auto labels = R"({"a\"b\n":"\"quoted\"\nline\t\\","Env":"SECRET=2","env":"SECRET=3","big":")" +
                      std::string(5000, 'x') + R"(","n":1})";
  const auto answer = [&](int fd, const std::string&) {
    return FakeDaemon::send(fd, FakeDaemon::http(200, inspected(kA, "web", labels)));
  };
  EXPECT_THAT(query({kA}, answer).results.at(0).second->labels, ElementsAre(Pair("a\"b\n", "\"quoted\"\nline\t\\")));
  options_.labels = {"other"};
  EXPECT_THAT(query({kA}, answer).results.at(0).second->labels, IsEmpty());
}

TEST_F(DockerDaemonTest, EndsRoundAfterOneTimeoutWhenDaemonHangs) {
  const auto round = query({kA, kB}, [&](int fd, const std::string&) { return fake_->hang(fd); });
  EXPECT_EQ(only_failure(round, Daemon::Failure::timeout), 1);
  EXPECT_EQ(round.queried, 1);
  EXPECT_THAT(round.results, IsEmpty());
  EXPECT_GE(elapsed_, 200ms);
  EXPECT_LT(elapsed_, 1500ms);
}

TEST_F(DockerDaemonTest, EndsRoundAfterPartialResponse) {
  const auto whole = FakeDaemon::http(200, inspected(kA, "web"));
  for (const std::size_t half : {std::size_t{20}, whole.size() - 5}) {
    const auto hung = query({kA}, [&](int fd, const std::string&) {
      return FakeDaemon::send(fd, whole.substr(0, half)) && fake_->hang(fd);
    });
    EXPECT_EQ(only_failure(hung, Daemon::Failure::timeout), 1);
    const auto closed = query({kA}, [&](int fd, const std::string&) {
      FakeDaemon::send(fd, whole.substr(0, half));
      return false;
    });
    EXPECT_EQ(only_failure(closed, Daemon::Failure::unreachable), 1);
    EXPECT_THAT(closed.results, IsEmpty());
  }
}

TEST_F(DockerDaemonTest, TimesOutOnSlowResponse) {
  const auto round = query({kA}, [&](int fd, const std::string&) {
    for (const char c : FakeDaemon::http(200, inspected(kA, "web"))) {
      if (!FakeDaemon::send(fd, std::string(1, c))) return false;
      std::this_thread::sleep_for(5ms);
    }
    return true;
  });
  EXPECT_EQ(only_failure(round, Daemon::Failure::timeout), 1);
  EXPECT_LT(elapsed_, 1500ms);
}

TEST_F(DockerDaemonTest, StopsReadingOversizedResponse) {
  options_.answer_timeout = 2000ms;
  const auto announced = query({kA, kB}, [&](int fd, const std::string&) {
    return FakeDaemon::send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n") && fake_->hang(fd);
  });
  EXPECT_EQ(only_failure(announced, Daemon::Failure::too_big), 2);
  std::size_t sent = 0;
  const auto unannounced = query({kA}, [&](int fd, const std::string&) {
    const auto piece = "10000\r\n" + std::string(65536, 'x') + "\r\n";
    if (!FakeDaemon::send(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")) return false;
    while (sent < std::size_t{1} << 30U && FakeDaemon::send(fd, piece)) sent += piece.size();
    return false;
  });
  EXPECT_EQ(only_failure(unannounced, Daemon::Failure::too_big), 1);
  EXPECT_LT(sent, std::size_t{4} << 20U);
}

TEST_F(DockerDaemonTest, EndsRoundOnInvalidHttp) {
  const auto noise =
      query({kA, kB}, [](int fd, const std::string&) { return FakeDaemon::send(fd, "\x01\x02 no HTTP\r\n\r\n"); });
  EXPECT_EQ(only_failure(noise, Daemon::Failure::broken), 1);
  EXPECT_EQ(noise.queried, 1);
  const auto header = query({kA}, [](int fd, const std::string&) {
    return FakeDaemon::send(fd, "HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x') + "\r\n\r\n");
  });
  EXPECT_EQ(only_failure(header, Daemon::Failure::broken), 1);
}

TEST_F(DockerDaemonTest, ContinuesAfterMalformedResponse) {
  for (const std::string& broken :
       std::vector<std::string>{"", "[]", inspected(kB, "web").substr(0, 100), inspected(kB, "web"),
                                inspected(kA, "web\xFF"), inspected(kA, "web", "{\"org.lab.a\":\"\xC3\x28\"}")}) {
    const auto round = query({kA, kB}, [&](int fd, const std::string& target) {
      return FakeDaemon::send(fd, FakeDaemon::http(200, id_of(target) == kA ? broken : inspected(kB, "shop")));
    });
    EXPECT_EQ(only_failure(round, Daemon::Failure::broken), 1) << broken;
    ASSERT_THAT(round.results, SizeIs(1));
    EXPECT_THAT(round.results[0].second->name, Optional(std::string("shop")));
  }
}

TEST_F(DockerDaemonTest, ReportsUnknownContainer) {
  const auto round = query({kA}, [](int fd, const std::string&) {
    return FakeDaemon::send(fd, FakeDaemon::http(404, R"({"message":"No such container"})"));
  });
  EXPECT_THAT(round.results, ElementsAre(Pair(kA, nullptr)));
  EXPECT_EQ(round.error, "");
}

TEST_F(DockerDaemonTest, CountsErrorStatus) {
  for (const int status : {204, 302, 400, 500}) {
    const auto round = query({kA}, [&](int fd, const std::string&) {
      return FakeDaemon::send(fd, FakeDaemon::http(status, status == 204 ? "" : inspected(kA, "web")));
    });
    EXPECT_EQ(only_failure(round, Daemon::Failure::status), 1) << status;
    EXPECT_THAT(round.results, IsEmpty());
  }
}

TEST_F(DockerDaemonTest, EndsRoundImmediatelyWhenDaemonIsNotRunning) {
  const auto begin = Clock::now();
  const auto round = make_daemon(options_)->query({kA, kB});
  EXPECT_EQ(only_failure(round, Daemon::Failure::unreachable), 1);
  EXPECT_EQ(round.queried, 1);
  EXPECT_LT(Clock::now() - begin, 150ms);
}

TEST_F(DockerDaemonTest, EndsRoundWhenDaemonDoesNotAccept) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  options_.socket.copy(address.sun_path, sizeof address.sun_path - 1);
  const auto* const where = reinterpret_cast<const sockaddr*>(&address);
  const base::Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(listener.get(), where, sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 0), 0);
  std::vector<base::Fd> waiting;
  do {
    waiting.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  } while (::connect(waiting.back().get(), where, sizeof address) == 0 && waiting.size() < 100);
  ASSERT_LT(waiting.size(), 100);
  const auto begin = Clock::now();
  const auto round = make_daemon(options_)->query({kA, kB});
  EXPECT_EQ(round.queried, 1);
  EXPECT_NE(round.error, "");
  EXPECT_LT(Clock::now() - begin, 1500ms);
}

TEST_F(DockerDaemonTest, LimitsQueriesPerRoundAndSkipsInvalidIds) {
  options_.max_queries = 3;
  const auto round = query({"../../images", "web", kA, kB}, [](int fd, const std::string& target) {
    return FakeDaemon::send(fd, FakeDaemon::http(200, inspected(id_of(target), "web")));
  });
  EXPECT_EQ(round.queried, 3);
  EXPECT_THAT(targets_, ElementsAre("/containers/" + kA + "/json"));
}

TEST_F(DockerDaemonTest, EndsRoundImmediatelyWhenCanceled) {
  options_.answer_timeout = options_.round_timeout = 60s;
  FakeDaemon fake(options_.socket, [&](int fd, const std::string&) { return fake_->hang(fd); });
  fake_ = &fake;
  const auto daemon = make_daemon(options_);
  std::thread ends([&] {
    while (fake.targets().empty()) std::this_thread::sleep_for(1ms);
    daemon->cancel();
  });
  EXPECT_THAT(daemon->query({kA, kB}).results, IsEmpty());
  ends.join();
  EXPECT_THAT(daemon->query({kA}).results, IsEmpty());
}

class ResolverWithDaemon : public DiscoveryTest {
 protected:
  model::ContainerPtr report_of(const std::string& title, const std::string& id, const std::string& name,
                                const std::string& labels = R"({"org.lab.tier":"web"})") {
    return parse_inspected(inspected(id, name, labels), id, title, "unix:/run/it.sock", LabelFilter({"org.lab.*"}));
  }
  static model::ContainerPtr exited_report_of(const std::string& title, const std::string& id) {
    auto text = inspected(id, "shop");
    text.replace(text.find("running"), 7, "exited");
    return parse_inspected(text, id, title, "unix:/run/it.sock", {});
  }
  void podman(const std::string& id, const std::string& name) {
    write("/var/lib/containers/storage/overlay-containers/containers.json",
          R"([{"id":")" + id + R"(","names":[")" + name + R"("],"image":"52fb","metadata":"{}"}])");
    write("/var/lib/containers/storage/overlay-containers/" + id + "/userdata/config.json",
          R"({"annotations":{"org.lab.annotation":"disk","io.container.manager":"libpod"}})");
  }
  const std::string podman_ = "/libpod_parent/libpod-" + kA;
  const std::string docker_ = "/docker/" + kB;
};

TEST_F(ResolverWithDaemon, AddsFactsThatAreNotOnDisk) {
  options_.labels = {"org.lab.*"};
  podman(kA, "web");
  see({podman_});
  EXPECT_THAT(resolver().wanted("podman"), ElementsAre(kA));
  EXPECT_THAT(resolver().wanted("docker"), IsEmpty());
  const auto before = resolver().table()->generation;
  EXPECT_TRUE(resolver().merge("podman", {{kA, report_of("podman", kA, "another")}}, now_));
  EXPECT_GT(resolver().table()->generation, before);
  const auto c = at(podman_);
  EXPECT_THAT(c.name, Optional(std::string("web"))) << "state on disk takes precedence";
  EXPECT_THAT(origin_of(c, "name"), HasSubstr("containers.json"));
  EXPECT_THAT(c.labels, ElementsAre(Pair("org.lab.annotation", "disk"), Pair("org.lab.tier", "web")));
  EXPECT_THAT(origin_of(c, "labels"), HasSubstr("config.json and unix:/run/it.sock"));
  EXPECT_THAT(c.health, Optional(std::string("healthy")));
  EXPECT_EQ(origin_of(c, "health"), "unix:/run/it.sock");
  EXPECT_FALSE(resolver().merge("podman", {{kA, report_of("podman", kA, "another")}}, now_)) << "nothing has changed";
  // Reports are kept when the list of cgroups or the state on disk changes.
  see({podman_, "/another"});
  podman(kA, "renamed");
  resolver().refresh(now_);
  EXPECT_THAT(at(podman_).name, Optional(std::string("renamed")));
  EXPECT_THAT(at(podman_).labels, SizeIs(2));
}

TEST_F(ResolverWithDaemon, QueriesDockerOnlyIfStateFileIsMissing) {
  see({docker_});
  EXPECT_THAT(resolver().wanted("docker"), ElementsAre(kB));
  EXPECT_TRUE(resolver().merge("docker", {{kB, report_of("docker", kB, "shop")}}, now_));
  EXPECT_THAT(at(docker_).name, Optional(std::string("shop")));
  EXPECT_THAT(resolver().wanted("docker"), ElementsAre(kB)) << "its health may change";
  write("/var/lib/docker/containers/" + kB + "/config.v2.json",
        R"({"ID":")" + kB + R"(","Name":"/web","Config":{},"State":{}})");
  resolver().refresh(now_ + 1s);
  EXPECT_THAT(at(docker_).name, Optional(std::string("web")));
  EXPECT_THAT(resolver().wanted("docker"), IsEmpty());
}

TEST_F(ResolverWithDaemon, SetsRuntimeOfPathWithoutRuntime) {
  const std::string path = "/somewhere/" + kA;
  see({path});
  EXPECT_FALSE(knows(path));
  EXPECT_THAT(resolver().wanted("docker"), ElementsAre(kA));
  EXPECT_THAT(resolver().wanted("podman"), ElementsAre(kA));
  resolver().merge("podman", {{kA, nullptr}}, now_);
  resolver().merge("docker", {{kA, report_of("docker", kA, "shop")}}, now_);
  EXPECT_THAT(at(path).runtime, Optional(std::string("docker")));
  EXPECT_THAT(at(path).name, Optional(std::string("shop")));
  EXPECT_THAT(resolver().wanted("podman"), IsEmpty());
  // runC's state supplies the pid but does not change the runtime.
  write("/run/runc/" + kA + "/state.json", R"({"id":")" + kA + R"(","init_process_pid":7})");
  write("/proc/7/comm", "");
  resolver().refresh(now_ + 1s);
  EXPECT_THAT(at(path).pid, Optional(7));
  EXPECT_THAT(at(path).runtime, Optional(std::string("docker")));
}

TEST_F(ResolverWithDaemon, RecognizesInfraContainerOfPodman) {
  see({podman_});
  resolver().merge("podman", {{kA, report_of("podman", kA, "a6dd3b264c35-infra")}}, now_);
  EXPECT_EQ(at(podman_).role, model::Role::sandbox);
}

TEST_F(ResolverWithDaemon, DropsStaleFactsWhenTheDaemonIsUnreachable) {
  podman(kA, "web");
  options_.labels = {"org.lab.*"};
  see({podman_});
  resolver().merge("podman", {{kA, report_of("podman", kA, "web")}}, now_);
  EXPECT_FALSE(resolver().invalidate("docker", now_));
  EXPECT_TRUE(resolver().invalidate("podman", now_));
  EXPECT_EQ(at(podman_).health, std::nullopt);
  EXPECT_EQ(at(podman_).restart_count, std::nullopt);
  EXPECT_THAT(at(podman_).labels, SizeIs(2));
  EXPECT_FALSE(resolver().invalidate("podman", now_));
  EXPECT_TRUE(resolver().merge("podman", {{kA, report_of("podman", kA, "web")}}, now_));
  EXPECT_THAT(at(podman_).health, Optional(std::string("healthy")));
}

TEST_F(ResolverWithDaemon, KeepsFactsOfExitedContainer) {
  see({docker_});
  resolver().merge("docker", {{kB, report_of("docker", kB, "shop")}}, now_);
  const auto table = see({"/"});
  ASSERT_THAT(table->exited, SizeIs(1));
  EXPECT_THAT(table->exited[0].container->name, Optional(std::string("shop")));
  EXPECT_THAT(table->exited[0].container->state, Optional(std::string("exited")));
  EXPECT_EQ(table->exited[0].container->exit_code, std::nullopt);
}

TEST_F(ResolverWithDaemon, AddsExitCodeToExitedContainer) {
  see({docker_});
  resolver().merge("docker", {{kB, report_of("docker", kB, "shop")}}, now_);
  EXPECT_THAT(resolver().take_changed(), IsEmpty());
  see({"/"});
  EXPECT_THAT(resolver().take_changed(), ElementsAre(kB)) << "earlier reports are stale";
  EXPECT_THAT(resolver().wanted("docker"), ElementsAre(kB));
  EXPECT_TRUE(resolver().merge("docker", {{kB, exited_report_of("docker", kB)}}, now_));
  ASSERT_THAT(resolver().table()->exited, SizeIs(1));
  const auto& c = *resolver().table()->exited[0].container;
  EXPECT_THAT(c.exit_code, Optional(137));
  EXPECT_EQ(c.finished, parse_time("2026-11-24T11:00:00Z"));
  EXPECT_EQ(origin_of(c, "exit_code"), "unix:/run/it.sock");
  EXPECT_THAT(resolver().wanted("docker"), IsEmpty()) << "all exit facts are known";
}

TEST_F(ResolverWithDaemon, DropsExitFactsOfPreviousRunAfterRestart) {
  see({docker_});
  see({"/"});
  resolver().merge("docker", {{kB, exited_report_of("docker", kB)}}, now_);
  resolver().take_changed();
  see({docker_});
  EXPECT_EQ(at(docker_).exit_code, std::nullopt);
  EXPECT_EQ(at(docker_).state, std::nullopt);
  EXPECT_THAT(resolver().take_changed(), ElementsAre(kB));
}

TEST_F(ResolverWithDaemon, IgnoresExitCodeOfRunningContainer) {
  const auto running = report_of("docker", kB, "shop");
  EXPECT_EQ(running->exit_code, std::nullopt);
  EXPECT_EQ(running->finished, std::nullopt);
  EXPECT_THAT(running->writable_layer, Optional(std::string("/data/overlay2/9/diff")));
}

TEST_F(ResolverWithDaemon, QueriesContainersButNotHelpersAndUnits) {
  see({"/machine.slice/libpod-conmon-" + kA + ".scope", "/system.slice/ssh.service",
       "/kubepods/burstable/pod11/" + kSandboxed, "/system.slice/docker-" + kB + ".scope"});
  EXPECT_THAT(resolver().wanted("docker"), UnorderedElementsAre(kB, kSandboxed));
  EXPECT_THAT(resolver().wanted("podman"), ElementsAre(kSandboxed));
}

}  // namespace
}  // namespace cgwarden::discovery
