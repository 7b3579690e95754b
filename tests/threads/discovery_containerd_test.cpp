// SPDX-License-Identifier: Apache-2.0
// The containerd client against a fake server that misbehaves. The real containerd:
// tests/integration/containerd_test.py.
#include <gmock/gmock.h>

#include "src/discovery/containerd.h"
#include "tests/threads/fake_containerd.h"
#include "tests/unit/discovery_fixture.h"

namespace cgwarden::discovery {
namespace {

using namespace std::chrono_literals;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Optional;
using testing::Pair;
using testing::SizeIs;
using Clock = std::chrono::steady_clock;
using Failure = Daemon::Failure;
using Request = FakeContainerd::Request;

const std::string kContainerId = container_id('a');
const Labels kPodLabels = {
    {"io.kubernetes.pod.name", "shop-0"}, {"io.kubernetes.pod.namespace", "default"}, {"io.kubernetes.pod.uid", kUid}};

Labels with(Labels labels, const Labels& more) {
  labels.insert(more.begin(), more.end());
  return labels;
}

// Answers that every container exists, has an image and is running.
bool answer_all(int fd, const Request& request) {
  const auto id = request.body.substr(2);
  auto body = request.method == "containers.v1.Containers/Get" ? container_message(id, "docker.io/lab/box:1")
                                                               : task_message(id, 2);
  return FakeContainerd::send(fd, http2::answer(request.stream, body));
}

class ContainerdTest : public testing::Test {
 protected:
  Daemon::Round query(const std::vector<std::string>& ids, FakeContainerd::Handler answer, bool sends_settings = true) {
    FakeContainerd fake(options_.socket, std::move(answer), sends_settings);
    fake_ = &fake;
    const auto begin = Clock::now();
    auto round = make_daemon(options_)->query(ids);
    elapsed_ = Clock::now() - begin;
    methods_ = fake.methods();
    connections_ = fake.connections();
    return round;
  }
  // Queries a server that sends these bytes instead of a response, then hangs or closes the connection.
  Daemon::Round query_with_response(const std::function<std::string(std::int32_t stream)>& bytes, bool ends = false) {
    return query({"default/web", "default/shop"}, [this, bytes, ends](int fd, const Request& request) {
      return FakeContainerd::send(fd, bytes(request.stream)) && !ends && fake_->hang(fd);
    });
  }
  // Number of failures of this kind. Expects that there are no other failures.
  std::uint64_t only_failure(const Daemon::Round& round, Failure failure) {
    const auto count = round.failures[static_cast<std::size_t>(failure)];
    std::uint64_t all = 0;
    for (const auto one : round.failures) all += one;
    EXPECT_EQ(all, count) << round.error;
    return count;
  }
  model::ContainerPtr parse(const std::string& key, const std::string& container, const std::string& task = {}) {
    return parse_containerd(container, task, key, "unix:/run/it.sock", LabelFilter(options_.labels)).container;
  }

  const testing_files::TempDir temporary_;
  Daemon::Options options_{.title = "containerd",
                           .socket = temporary_.path() + "/containerd.sock",
                           .labels = {"org.lab.*"},
                           .answer_timeout = 200ms,
                           .round_timeout = 2000ms};
  FakeContainerd* fake_ = nullptr;
  Clock::duration elapsed_{};
  std::vector<std::string> methods_;
  int connections_ = 0;
};

TEST_F(ContainerdTest, QueriesAllContainersOverOneConnection) {
  const auto round = query({"default/web", "other/shop"}, answer_all);
  EXPECT_THAT(methods_,
              ElementsAre("Containers/Get default", "Tasks/Get default", "Containers/Get other", "Tasks/Get other"));
  EXPECT_EQ(connections_, 1);
  ASSERT_THAT(round.results, SizeIs(2)) << round.error;
  EXPECT_EQ(round.results[1].first, "other/shop");
  const auto& c = *round.results[0].second;
  EXPECT_THAT(c.runtime, Optional(std::string("containerd")));
  EXPECT_THAT(c.id, Optional(std::string("web")));
  EXPECT_THAT(c.name, Optional(std::string("web")));
  EXPECT_THAT(c.image, Optional(std::string("docker.io/lab/box:1")));
  EXPECT_THAT(c.state, Optional(std::string("running")));
  EXPECT_THAT(c.created, Optional(base::Wall{} + 1'795'000'000s + 250ms));
  EXPECT_EQ(c.exit_code, std::nullopt);
  EXPECT_EQ(c.pid, std::nullopt) << "pids from a daemon are not trusted";
  EXPECT_EQ(origin_of(c, "image"), "unix:" + options_.socket);
}

TEST_F(ContainerdTest, SearchesAllNamespacesForGeneratedId) {
  const auto round = query({kContainerId, container_id('b')}, [](int fd, const Request& request) {
    if (request.method == "namespaces.v1.Namespaces/List") {
      return FakeContainerd::send(
          fd, http2::answer(request.stream, namespaces_message({"k8s.io", "moby", "a b", "../x", "nerds", "more"})));
    }
    if (request.name_space != "nerds") return FakeContainerd::send(fd, http2::refusal(request.stream, 5));
    return answer_all(fd, request);
  });
  EXPECT_THAT(methods_,
              ElementsAre("Containers/Get k8s.io", "Namespaces/List", "Containers/Get nerds", "Tasks/Get nerds",
                          "Containers/Get k8s.io", "Containers/Get nerds", "Tasks/Get nerds"));
  ASSERT_THAT(round.results, SizeIs(2));
  EXPECT_EQ(round.results[0].second->name, std::nullopt) << "a generated id is not a name";
}

TEST_F(ContainerdTest, ReportsUnknownContainerAndMissingTask) {
  const auto round = query({"default/web", "default/shop"}, [](int fd, const Request& request) {
    const bool known = request.method == "containers.v1.Containers/Get" && request.body == proto(1, "shop");
    return known ? answer_all(fd, request) : FakeContainerd::send(fd, http2::refusal(request.stream, 5));
  });
  ASSERT_THAT(round.results, SizeIs(2));
  EXPECT_THAT(round.results[0], Pair("default/web", nullptr));
  EXPECT_EQ(round.results[1].second->state, std::nullopt);
  EXPECT_EQ(round.error, "");
}

TEST_F(ContainerdTest, ReportsExitStatusOfTask) {
  const auto c = parse("default/web", container_message("web", ""), task_message("web", 3, 137));
  ASSERT_TRUE(c);
  EXPECT_THAT(c->state, Optional(std::string("exited")));
  EXPECT_THAT(c->exit_code, Optional(137));
  EXPECT_THAT(c->finished, Optional(base::Wall{} + 1'795'000'100s));
  EXPECT_EQ(c->image, std::nullopt);
  EXPECT_THAT(parse("default/web", container_message("web", ""), task_message("web", 4))->state,
              Optional(std::string("paused")));
}

TEST_F(ContainerdTest, ReadsPodFactsFromCriLabels) {
  const auto labels =
      with(kPodLabels, {{"io.cri-containerd.kind", "container"}, {"io.kubernetes.container.name", "web"}});
  const auto c = parse(kContainerId, container_message(kContainerId, "docker.io/lab/box:1", labels));
  ASSERT_TRUE(c);
  EXPECT_EQ(c->role, model::Role::container);
  EXPECT_THAT(c->name, Optional(std::string("web")));
  EXPECT_THAT(c->pod, Optional(std::string("shop-0")));
  EXPECT_THAT(c->pod_namespace, Optional(std::string("default")));
  EXPECT_THAT(c->pod_uid, Optional(kUid));
  EXPECT_THAT(c->labels, IsEmpty()) << "the filter allows none of these";
  const auto pause =
      parse(kContainerId,
            container_message(kContainerId, "pause",
                              with(kPodLabels, {{"io.cri-containerd.kind", "sandbox"}, {"org.lab.app", "shop"}})));
  EXPECT_EQ(pause->role, model::Role::sandbox);
  EXPECT_EQ(pause->name, std::nullopt);
  EXPECT_THAT(pause->labels, ElementsAre(Pair("org.lab.app", "shop")));
}

TEST_F(ContainerdTest, ReportsImageDigestIfImageHasNoName) {
  const auto c = parse(kContainerId, container_message(kContainerId, "sha256:52fb"));
  EXPECT_EQ(c->image, std::nullopt);
  EXPECT_THAT(c->image_digest, Optional(std::string("sha256:52fb")));
}

TEST_F(ContainerdTest, ReadsNerdctlNameAndSkipsContainersOfDocker) {
  EXPECT_THAT(parse(kContainerId, container_message(kContainerId, "box", {{"nerdctl/name", "web"}}))->name,
              Optional(std::string("web")));
  const auto dockers =
      parse_containerd(container_message(kContainerId, "", {{"com.docker/engine.bundle.path", "/var/run/docker"}}), {},
                       kContainerId, "", {});
  EXPECT_FALSE(dockers.broken);
  EXPECT_EQ(dockers.container, nullptr);
}

TEST_F(ContainerdTest, ReportsOnlyAllowedLabels) {
  options_.labels = {"*"};
  const auto labels = Labels{{"a\"b\n", "\"quoted\"\nline\t\\"}, {"big", std::string(5000, 'x')}, {"", "empty"}};
  EXPECT_THAT(parse("default/web", container_message("web", "box", labels))->labels,
              ElementsAre(Pair("", "empty"), Pair("a\"b\n", "\"quoted\"\nline\t\\")));
  Labels many;
  for (int i = 0; i < 500; ++i) many["label" + std::to_string(i)] = "x";
  EXPECT_THAT(parse("default/web", container_message("web", "box", many))->labels, SizeIs(ContainerFacts::kMaxLabels));
  options_.labels = {"other"};
  EXPECT_THAT(parse("default/web", container_message("web", "box", labels))->labels, IsEmpty());
}

TEST_F(ContainerdTest, ContinuesAfterMalformedResponse) {
  for (const std::string& broken : std::vector<std::string>{
           "", "\xFF", proto(1, ""), container_message("other", "box"), container_message("web", "box\xFF"),
           container_message("web", "box").substr(0, 20), container_message("web", "box", {{"org.lab.a", "\xC3\x28"}}),
           proto(1, proto(1, "web") + proto(2, "\x0A\x05x")), proto(1, proto(1, std::uint64_t{5}))}) {
    const auto round = query({"default/web", "default/shop"}, [&](int fd, const Request& request) {
      if (request.method != "containers.v1.Containers/Get" || request.body != proto(1, "web")) {
        return answer_all(fd, request);
      }
      return FakeContainerd::send(fd, http2::answer(request.stream, broken));
    });
    EXPECT_EQ(only_failure(round, Failure::broken), 1) << testing::PrintToString(broken);
    ASSERT_THAT(round.results, SizeIs(1));
    EXPECT_THAT(round.results[0].second->name, Optional(std::string("shop")));
  }
}

TEST_F(ContainerdTest, EndsRoundAfterOneTimeoutWhenDaemonHangs) {
  const auto hangs = [&](int fd, const Request&) { return fake_->hang(fd); };
  for (const bool sends_settings : {true, false}) {
    const auto round = query({"default/web", "default/shop"}, hangs, sends_settings);
    EXPECT_EQ(only_failure(round, Failure::timeout), 1);
    EXPECT_EQ(round.queried, 1);
    EXPECT_THAT(round.results, IsEmpty());
    EXPECT_GE(elapsed_, 200ms);
    EXPECT_LT(elapsed_, 1500ms);
  }
}

TEST_F(ContainerdTest, ReportsContainerWhenTaskHangs) {
  const auto round = query({"default/web"}, [&](int fd, const Request& request) {
    return request.method == "tasks.v1.Tasks/Get" ? fake_->hang(fd) : answer_all(fd, request);
  });
  EXPECT_EQ(only_failure(round, Failure::timeout), 1);
  ASSERT_THAT(round.results, SizeIs(1));
  EXPECT_THAT(round.results[0].second->image, Optional(std::string("docker.io/lab/box:1")));
}

TEST_F(ContainerdTest, EndsRoundAfterPartialResponse) {
  const auto whole = http2::answer(1, container_message("web", "box"));
  for (std::size_t half = 1; half < whole.size(); half += 9) {
    options_.answer_timeout = 50ms;
    const auto hung = query_with_response([&](std::int32_t) { return whole.substr(0, half); });
    EXPECT_EQ(only_failure(hung, Failure::timeout), 1) << half;
    EXPECT_LT(elapsed_, 1000ms);
    const auto closed = query_with_response([&](std::int32_t) { return whole.substr(0, half); }, true);
    EXPECT_EQ(only_failure(closed, Failure::unreachable), 1) << half << closed.error;
    EXPECT_THAT(closed.results, IsEmpty());
  }
}

TEST_F(ContainerdTest, TimesOutOnSlowResponse) {
  const auto round = query({"default/web"}, [&](int fd, const Request& request) {
    for (const char c : http2::answer(request.stream, container_message("web", "box"))) {
      if (!FakeContainerd::send(fd, std::string(1, c))) return false;
      std::this_thread::sleep_for(5ms);
    }
    return true;
  });
  EXPECT_EQ(only_failure(round, Failure::timeout), 1);
  EXPECT_LT(elapsed_, 1500ms);
}

TEST_F(ContainerdTest, StopsReadingOversizedResponse) {
  options_.answer_timeout = 2000ms;
  const auto announced = query_with_response([](std::int32_t stream) {
    return http2::head(stream) + http2::data(stream, std::string(1, '\0') + http2::big_endian(1U << 30U, 4));
  });
  EXPECT_EQ(only_failure(announced, Failure::too_big), 2) << "the next response may be smaller";
  EXPECT_LT(elapsed_, 1000ms);
  // A small response, followed by an endless stream of others.
  std::size_t sent = 0;
  const auto flood = query({"default/web"}, [&](int fd, const Request& request) {
    if (!FakeContainerd::send(fd, http2::head(request.stream))) return false;
    std::string piece;
    for (int i = 0; i < 100; ++i) piece += http2::data(request.stream, http2::message("x"));
    while (sent < std::size_t{1} << 30U && FakeContainerd::send(fd, piece)) sent += piece.size();
    return false;
  });
  EXPECT_EQ(only_failure(flood, Failure::broken), 1);
  EXPECT_LT(sent, std::size_t{4} << 20U);
}

TEST_F(ContainerdTest, EndsRoundOnInvalidGrpc) {
  using http2::data, http2::frame, http2::head, http2::tail;
  const std::function<std::string(std::int32_t)> cases[] = {
      [](std::int32_t) { return "HTTP/1.1 400 Bad Request\r\n\r\n" + std::string(1000, 'x'); },
      [](std::int32_t) { return std::string(4000, '\xFF'); },
      [](std::int32_t s) { return frame(http2::kHeaders, http2::kEndHeaders, s, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF"); },
      // compressed without request; two messages; none; half of one; no gRPC status
      [](std::int32_t s) { return head(s) + data(s, std::string("\x01\x00\x00\x00\x01x", 6)) + tail(s, 0); },
      [](std::int32_t s) { return head(s) + data(s, http2::message("a") + http2::message("b")) + tail(s, 0); },
      [](std::int32_t s) { return head(s) + tail(s, 0); },
      [](std::int32_t s) { return head(s) + data(s, http2::message("abc").substr(0, 6)) + tail(s, 0); },
      [](std::int32_t s) { return head(s) + frame(http2::kData, http2::kEndStream, s, http2::message("a")); },
      [](std::int32_t s) {
        return frame(http2::kHeaders, http2::kEndHeaders, s,
                     http2::fields({{":status", "200"}, {"content-type", "text/html"}})) +
               data(s, http2::message("a")) + tail(s, 0);
      },
  };
  for (const auto& bytes : cases) {
    const auto round = query_with_response(bytes);
    EXPECT_EQ(round.failures[static_cast<std::size_t>(Failure::broken)] +
                  round.failures[static_cast<std::size_t>(Failure::unreachable)],
              1)
        << round.error << testing::PrintToString(bytes(1));
    EXPECT_EQ(round.queried, 1);
    EXPECT_THAT(round.results, IsEmpty());
    EXPECT_LT(elapsed_, 150ms) << "the round does not wait for the timeout";
  }
}

TEST_F(ContainerdTest, CountsErrorStatusAndContinues) {
  const std::function<std::string(std::int32_t)> cases[] = {
      [](std::int32_t s) { return http2::refusal(s, 13); },
      [](std::int32_t s) { return http2::head(s) + http2::tail(s, 14); },
      [](std::int32_t s) { return http2::head(s) + http2::data(s, http2::message("x")) + http2::tail(s, 2); },
      [](std::int32_t s) {
        return http2::frame(http2::kHeaders, http2::kEndHeaders | http2::kEndStream, s,
                            http2::fields({{":status", "404"}}));
      },
  };
  for (const auto& bytes : cases) {
    const auto round = query({"default/web", "default/shop"}, [&](int fd, const Request& request) {
      return FakeContainerd::send(fd, bytes(request.stream));
    });
    EXPECT_EQ(only_failure(round, Failure::status), 2);
    EXPECT_THAT(round.results, IsEmpty());
  }
}

TEST_F(ContainerdTest, ReconnectsAfterGoAway) {
  const auto refuses = query_with_response([](std::int32_t) { return http2::go_away(0); });
  EXPECT_EQ(only_failure(refuses, Failure::unreachable), 1);
  EXPECT_LT(elapsed_, 150ms);
  const auto resets = query_with_response(
      [](std::int32_t stream) { return http2::frame(http2::kReset, 0, stream, http2::big_endian(8, 4)); });
  EXPECT_EQ(only_failure(resets, Failure::unreachable), 1);
  // The pending call is still answered; the next call uses a new connection.
  const auto answers = query({"default/web", "default/shop"}, [](int fd, const Request& request) {
    return FakeContainerd::send(fd, http2::go_away(request.stream)) && answer_all(fd, request);
  });
  EXPECT_THAT(answers.results, SizeIs(2)) << answers.error;
  EXPECT_EQ(connections_, 4);
}

TEST_F(ContainerdTest, EndsRoundImmediatelyWhenDaemonIsNotRunning) {
  const auto begin = Clock::now();
  const auto round = make_daemon(options_)->query({"default/web", "default/shop"});
  EXPECT_EQ(only_failure(round, Failure::unreachable), 1);
  EXPECT_EQ(round.queried, 1);
  EXPECT_LT(Clock::now() - begin, 150ms);
}

TEST_F(ContainerdTest, LimitsQueriesPerRoundAndSkipsInvalidNames) {
  options_.max_queries = 9;
  const auto round = query({"web", "../../etc/web", "default/../web", "a b/web", "/web", "default/", "default/we\nb",
                            "default/" + std::string(77, 'x'), "default/web", "default/shop"},
                           answer_all);
  EXPECT_EQ(round.queried, 9);
  EXPECT_THAT(methods_, ElementsAre("Containers/Get default", "Tasks/Get default"));
}

TEST_F(ContainerdTest, EndsRoundImmediatelyWhenCanceled) {
  options_.answer_timeout = options_.round_timeout = 60s;
  FakeContainerd fake(options_.socket, [&](int fd, const Request&) { return fake_->hang(fd); });
  fake_ = &fake;
  const auto daemon = make_daemon(options_);
  std::thread ends([&] {
    while (fake.methods().empty()) std::this_thread::sleep_for(1ms);
    daemon->cancel();
  });
  EXPECT_THAT(daemon->query({"default/web", kContainerId}).results, IsEmpty());
  ends.join();
  EXPECT_THAT(daemon->query({"default/web"}).results, IsEmpty());
}

class ContainerdEventsTest : public ContainerdTest {
 protected:
  // Runs listen() until the stream ends.
  ContainerdEvents::End listen(FakeContainerd::Handler answer, bool sends_settings = true) {
    FakeContainerd fake(options_.socket, std::move(answer), sends_settings);
    fake_ = &fake;
    ContainerdEvents events(options_);
    return events.listen([this] { subscribed_ = true; },
                         [this](const ContainerdEvent& event) { events_.push_back(event); });
  }

  bool subscribed_ = false;
  std::vector<ContainerdEvent> events_;
};

TEST_F(ContainerdEventsTest, ReportsCreatedAndExitedContainers) {
  std::string queried;
  const auto end = listen([&](int fd, const Request& request) {
    queried = request.method + request.body;
    auto bytes = http2::head(request.stream);
    for (const auto& event :
         {event_message("default", "/containers/create", proto(1, "web") + proto(2, "docker.io/lab/box:1")),
          event_message("k8s.io", "/tasks/start", proto(1, kContainerId) + proto(2, std::uint64_t{17})),
          event_message("moby", "/containers/create", proto(1, kContainerId)),
          event_message("", "/tasks/start", proto(1, "web")),
          event_message("default", "/tasks/start", proto(1, "../web")),
          event_message("default", "/tasks/start", "\xFF"), std::string("\xFF"), std::string(),
          exit_message("default", "web", "exec-1", 9), exit_message("default", "web", "web", 3),
          exit_message("k8s.io", kContainerId, kContainerId, 4'294'967'295)}) {
      bytes += http2::data(request.stream, http2::message(event));
    }
    return FakeContainerd::send(fd, bytes + http2::tail(request.stream, 0)) && fake_->hang(fd);
  });
  EXPECT_THAT(queried, testing::StartsWith("events.v1.Events/Subscribe"));
  EXPECT_THAT(queried, HasSubstr("topic==\"/tasks/exit\""));
  EXPECT_TRUE(subscribed_);
  ASSERT_THAT(events_, SizeIs(4));
  EXPECT_EQ(events_[0].key, "default/web");
  EXPECT_FALSE(events_[0].exited);
  EXPECT_EQ(events_[1].key, kContainerId) << "a generated id is globally unique";
  EXPECT_EQ(events_[2].key, "default/web");
  EXPECT_TRUE(events_[2].exited);
  EXPECT_EQ(events_[2].exit_code, 3);
  EXPECT_THAT(events_[2].finished, Optional(base::Wall{} + 1'795'000'100s));
  EXPECT_EQ(events_[3].exit_code, 4'294'967'295);
  EXPECT_THAT(end.failure, Optional(Failure::unreachable)) << "the end of the stream is a failure";
}

TEST_F(ContainerdEventsTest, WaitsForEventsLongerThanAnswerTimeout) {
  options_.answer_timeout = 50ms;
  listen([&](int fd, const Request& request) {
    FakeContainerd::send(fd, http2::head(request.stream) + http2::frame(http2::kPing, 0, 0, "12345678"));
    std::this_thread::sleep_for(300ms);
    const auto event = http2::data(request.stream, http2::message(exit_message("default", "web", "web", 3)));
    FakeContainerd::send(fd, event.substr(0, 12));
    std::this_thread::sleep_for(300ms);
    FakeContainerd::send(fd, event.substr(12));
    return false;
  });
  EXPECT_THAT(events_, SizeIs(1));
}

TEST_F(ContainerdEventsTest, EndsOnDisconnectErrorStatusAndInvalidData) {
  const auto closes = [](int, const Request&) { return false; };
  EXPECT_THAT(listen(closes).failure, Optional(Failure::unreachable));
  const auto refuses = [](int fd, const Request& request) {
    return FakeContainerd::send(fd, http2::refusal(request.stream, 12));
  };
  EXPECT_THAT(listen(refuses).failure, Optional(Failure::status));
  const auto garbage = [&](int fd, const Request&) {
    return FakeContainerd::send(fd, std::string(100, '\xFF')) && fake_->hang(fd);
  };
  EXPECT_THAT(listen(garbage).failure, testing::AnyOf(Optional(Failure::broken), Optional(Failure::unreachable)));
  const auto huge = [&](int fd, const Request& request) {
    const auto head = std::string(1, '\0') + http2::big_endian(0xFFFF'FFFFU, 4);
    return FakeContainerd::send(fd, http2::head(request.stream) + http2::data(request.stream, head)) && fake_->hang(fd);
  };
  EXPECT_THAT(listen(huge).failure, Optional(Failure::too_big));
  EXPECT_THAT(events_, IsEmpty());
}

TEST_F(ContainerdEventsTest, TimesOutIfServerSendsNoSettings) {
  const auto begin = Clock::now();
  EXPECT_THAT(listen([&](int fd, const Request&) { return fake_->hang(fd); }, false).failure,
              Optional(Failure::timeout));
  EXPECT_LT(Clock::now() - begin, 1500ms);
  EXPECT_FALSE(subscribed_);
}

TEST_F(ContainerdEventsTest, EndsImmediatelyWhenCanceled) {
  FakeContainerd fake(options_.socket, [&](int fd, const Request&) { return fake_->hang(fd); });
  fake_ = &fake;
  ContainerdEvents events(options_);
  std::atomic<bool> subscribed = false;
  std::thread ends([&] {
    while (!subscribed) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(20ms);
    events.cancel();
  });
  const auto begin = Clock::now();
  const auto end = events.listen([&] { subscribed = true; }, [](const ContainerdEvent&) {});
  ends.join();
  EXPECT_EQ(end.failure, std::nullopt);
  EXPECT_LT(Clock::now() - begin, 1000ms);
}

class ResolverWithContainerd : public DiscoveryTest {
 protected:
  ResolverWithContainerd() { options_.labels = {"org.lab.*"}; }
  Daemon::Results report_of(const std::string& key, const std::string& image, const Labels& labels = {},
                            const std::string& task = {}) {
    const auto id = key.substr(key.find('/') + 1);
    return {{key, parse_containerd(container_message(id, image, labels), task, key, "unix:/run/it.sock",
                                   LabelFilter({"org.lab.*"}))
                      .container}};
  }
  // Writes the bundle as `ctr run` does, with a running process.
  void make_bundle(const std::string& space, const std::string& id, const std::string& cgroup, int pid = 7) {
    const auto bundle = bundle_of(space, id);
    write(bundle + "/config.json",
          R"({"annotations":{"org.lab.annotation":"disk"},"linux":{"cgroupsPath":")" + cgroup + R"("}})");
    write(bundle + "/init.pid", std::to_string(pid));
    write("/proc/" + std::to_string(pid) + "/comm", "");
  }
  static std::string bundle_of(const std::string& space, const std::string& id) {
    return "/run/containerd/io.containerd.runtime.v2.task/" + space + '/' + id;
  }
  const std::string web_ = "/default/web";
};

TEST_F(ResolverWithContainerd, AddsImageAndLabelsToNamedContainer) {
  make_bundle("default", "web", web_);
  see({web_});
  EXPECT_THAT(resolver().wanted("containerd"), ElementsAre("default/web"));
  EXPECT_THAT(resolver().wanted("docker"), IsEmpty());
  EXPECT_TRUE(
      resolver().merge("containerd", report_of("default/web", "docker.io/lab/box:1", {{"org.lab.tier", "x"}}), now_));
  const auto c = at(web_);
  EXPECT_THAT(c.image, Optional(std::string("docker.io/lab/box:1")));
  EXPECT_EQ(origin_of(c, "image"), "unix:/run/it.sock");
  EXPECT_THAT(origin_of(c, "name"), HasSubstr("config.json")) << "state on disk takes precedence";
  EXPECT_THAT(c.labels, ElementsAre(Pair("org.lab.annotation", "disk"), Pair("org.lab.tier", "x")));
  EXPECT_THAT(c.pid, Optional(7));
}

TEST_F(ResolverWithContainerd, SeparatesEqualNamesInDifferentNamespaces) {
  make_bundle("default", "web", web_, 7);
  make_bundle("other", "web", "/other/web", 8);
  see({web_, "/other/web"});
  EXPECT_THAT(resolver().wanted("containerd"), testing::UnorderedElementsAre("default/web", "other/web"));
  resolver().merge("containerd", report_of("other/web", "box:2"), now_);
  EXPECT_EQ(at(web_).image, std::nullopt);
  EXPECT_THAT(at("/other/web").image, Optional(std::string("box:2")));
}

TEST_F(ResolverWithContainerd, KeepsReportUntilCgroupAppears) {
  see({"/"});
  EXPECT_FALSE(resolver().merge("containerd", report_of("default/web", "box:1"), now_));
  see({"/", "/another"});
  make_bundle("default", "web", web_);
  now_ += 5s;
  see({"/", web_});
  EXPECT_THAT(at(web_).image, Optional(std::string("box:1")));
  resolver().merge("containerd", report_of("default/never", "box:1"), now_);
  now_ += 11s;
  see({"/", web_, "/more"});
  make_bundle("default", "never", "/default/never", 9);
  now_ += 1s;
  see({"/", web_, "/default/never"});
  EXPECT_EQ(at("/default/never").image, std::nullopt);
  EXPECT_THAT(at(web_).image, Optional(std::string("box:1"))) << "reports are kept while the cgroup exists";
}

TEST_F(ResolverWithContainerd, BoundsReportsOfContainersWithoutCgroup) {
  see({"/"});
  for (int i = 0; i < 3000; ++i)
    resolver().merge("containerd", report_of("default/c" + std::to_string(i), "box:1"), now_);
  make_bundle("default", "c2999", web_);
  see({"/", web_});
  EXPECT_EQ(at(web_).image, std::nullopt);
}

TEST_F(ResolverWithContainerd, KeepsExitCodeOfExitedContainer) {
  make_bundle("default", "web", web_);
  see({web_});
  resolver().merge("containerd", report_of("default/web", "box:1"), now_);
  remove("/proc/7");
  EXPECT_TRUE(resolver().record_exit("default/web", 3, base::Wall{} + 1'795'000'100s, "unix:/run/it.sock", now_));
  EXPECT_THAT(at(web_).exit_code, Optional(3));
  EXPECT_THAT(at(web_).state, Optional(std::string("exited")));
  EXPECT_EQ(origin_of(at(web_), "exit_code"), "unix:/run/it.sock");
  // The runtime removes its state, then the cgroup is removed.
  remove(bundle_of("default", "web"));
  resolver().refresh(now_ + 1s);
  const auto table = see({"/"});
  ASSERT_THAT(table->exited, SizeIs(1));
  EXPECT_THAT(table->exited[0].container->exit_code, Optional(3));
  EXPECT_THAT(table->exited[0].container->image, Optional(std::string("box:1")));
}

TEST_F(ResolverWithContainerd, RecordsExitCodeReportedAfterCgroupWasRemoved) {
  make_bundle("default", "web", web_);
  see({web_});
  remove("/proc/7");
  remove(bundle_of("default", "web"));
  see({"/"});
  EXPECT_TRUE(resolver().record_exit("default/web", 3, std::nullopt, "unix:/run/it.sock", now_));
  ASSERT_THAT(resolver().table()->exited, SizeIs(1));
  EXPECT_THAT(resolver().table()->exited[0].container->exit_code, Optional(3));
  EXPECT_FALSE(resolver().record_exit("default/nobody", 3, std::nullopt, "unix:/run/it.sock", now_));
}

TEST_F(ResolverWithContainerd, DropsExitCodeOfRestartedContainer) {
  make_bundle("default", "web", web_);
  see({web_});
  resolver().record_exit("default/web", 3, std::nullopt, "unix:/run/it.sock", now_);
  EXPECT_EQ(at(web_).exit_code, std::nullopt) << "its process is running";
  EXPECT_THAT(at(web_).state, Optional(std::string("running")));
  remove("/proc/7");
  resolver().record_exit("default/web", 4, std::nullopt, "unix:/run/it.sock", now_);
  see({"/"});
  make_bundle("default", "web", web_, 8);
  see({"/", web_});
  EXPECT_EQ(at(web_).exit_code, std::nullopt);
}

TEST_F(ResolverWithContainerd, AddsPodLabelsToContainersOfThePod) {
  const std::string pod = "/kubepods/burstable/pod" + kUid, pause = pod + '/' + container_id('b'),
                    web = pod + '/' + kContainerId;
  see({pod, pause, web});
  EXPECT_THAT(resolver().wanted("containerd"), testing::UnorderedElementsAre(kContainerId, container_id('b')));
  resolver().merge("containerd",
                   report_of(kContainerId, "box:1",
                             with(kPodLabels, {{"io.cri-containerd.kind", "container"},
                                               {"io.kubernetes.container.name", "web"},
                                               {"org.lab.own", "web"}})),
                   now_);
  resolver().merge(
      "containerd",
      report_of(
          container_id('b'), "pause",
          with(kPodLabels, {{"io.cri-containerd.kind", "sandbox"}, {"org.lab.app", "shop"}, {"org.lab.own", "pause"}})),
      now_);
  EXPECT_EQ(at(pause).role, model::Role::sandbox);
  EXPECT_THAT(at(web).name, Optional(std::string("web")));
  EXPECT_THAT(at(web).pod, Optional(std::string("shop-0")));
  EXPECT_THAT(at(web).labels, ElementsAre(Pair("org.lab.app", "shop"), Pair("org.lab.own", "web")));
  EXPECT_THAT(at(pod).labels, ElementsAre(Pair("org.lab.app", "shop"), Pair("org.lab.own", "pause")));
  EXPECT_THAT(at(pod).pod, Optional(std::string("shop-0")));
  const auto& labels = at(web).labels;
  EXPECT_THAT(labels, Each(testing::Key(testing::StartsWith("org.lab."))));
}

TEST_F(ResolverWithContainerd, InvalidateKeepsFactsThatCannotChange) {
  make_bundle("default", "web", web_);
  remove("/proc/7");
  see({web_});
  resolver().merge("containerd", report_of("default/web", "box:1", {}, task_message("web", 3, 3)), now_);
  EXPECT_THAT(at(web_).state, Optional(std::string("exited")));
  EXPECT_TRUE(resolver().invalidate("containerd", now_));
  EXPECT_EQ(at(web_).state, std::nullopt);
  EXPECT_THAT(at(web_).image, Optional(std::string("box:1")));
}

}  // namespace
}  // namespace cgwarden::discovery
