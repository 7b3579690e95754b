// SPDX-License-Identifier: Apache-2.0
// containerd, played by a thread that behaves as badly as one can. The real one: tests/integration/containerd_test.py.
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

const std::string kEngine = engine_id('a');
const Labels kOfAPod = {
    {"io.kubernetes.pod.name", "shop-0"}, {"io.kubernetes.pod.namespace", "default"}, {"io.kubernetes.pod.uid", kUid}};

Labels with(Labels labels, const Labels& more) {
  labels.insert(more.begin(), more.end());
  return labels;
}

// Every container is in "default", has an image and runs.
bool knows_all(int fd, const Request& request) {
  const auto id = request.body.substr(2);
  auto body =
      request.method == "containers.v1.Containers/Get" ? told_container(id, "docker.io/lab/box:1") : told_task(id, 2);
  return FakeContainerd::send(fd, http2::answer(request.stream, body));
}

class AContainerd : public testing::Test {
 protected:
  Daemon::Round ask(const std::vector<std::string>& ids, FakeContainerd::Answer answer, bool greets = true) {
    FakeContainerd fake(options_.socket, std::move(answer), greets);
    fake_ = &fake;
    const auto begin = Clock::now();
    auto round = make_daemon(options_)->ask(ids);
    took_ = Clock::now() - begin;
    methods_ = fake.methods();
    connections_ = fake.connections();
    return round;
  }
  // What is sent instead of an answer; then the connection hangs, or ends.
  Daemon::Round ask_and_get(const std::function<std::string(std::int32_t stream)>& bytes, bool ends = false) {
    return ask({"default/web", "default/shop"}, [this, bytes, ends](int fd, const Request& request) {
      return FakeContainerd::send(fd, bytes(request.stream)) && !ends && fake_->hang(fd);
    });
  }
  // How often that went wrong; all other counts are zero.
  std::uint64_t only(const Daemon::Round& round, Failure failure) {
    const auto count = round.failures[static_cast<std::size_t>(failure)];
    std::uint64_t all = 0;
    for (const auto one : round.failures) all += one;
    EXPECT_EQ(all, count) << round.problem;
    return count;
  }
  model::ContainerPtr parse(const std::string& key, const std::string& container, const std::string& task = {}) {
    return parse_containerd(container, task, key, "unix:/run/it.sock", LabelFilter(options_.labels)).container;
  }

  const testing_files::TempDir temporary_;
  Daemon::Options options_{.title = "containerd",
                           .socket = temporary_.path() + "/containerd.sock",
                           .labels = {"org.lab.*"},
                           .answer_within = 200ms,
                           .round_within = 2000ms};
  FakeContainerd* fake_ = nullptr;
  Clock::duration took_{};
  std::vector<std::string> methods_;
  int connections_ = 0;
};

TEST_F(AContainerd, TellsWhatItKnowsOfEachContainerOverOneConnection) {
  const auto round = ask({"default/web", "other/shop"}, knows_all);
  EXPECT_THAT(methods_,
              ElementsAre("Containers/Get default", "Tasks/Get default", "Containers/Get other", "Tasks/Get other"));
  EXPECT_EQ(connections_, 1);
  ASSERT_THAT(round.told, SizeIs(2)) << round.problem;
  EXPECT_EQ(round.told[1].first, "other/shop");
  const auto& c = *round.told[0].second;
  EXPECT_THAT(c.runtime, Optional(std::string("containerd")));
  EXPECT_THAT(c.id, Optional(std::string("web")));
  EXPECT_THAT(c.name, Optional(std::string("web")));
  EXPECT_THAT(c.image, Optional(std::string("docker.io/lab/box:1")));
  EXPECT_THAT(c.state, Optional(std::string("running")));
  EXPECT_THAT(c.created, Optional(base::Wall{} + 1'795'000'000s + 250ms));
  EXPECT_EQ(c.exit_code, std::nullopt);
  EXPECT_EQ(c.pid, std::nullopt) << "a daemon may not say which process is whose";
  EXPECT_EQ(origin_of(c, "image"), "unix:" + options_.socket);
}

TEST_F(AContainerd, IsAskedForAnEnginesIdInTheNamespaceThatHasIt) {
  const auto round = ask({kEngine, engine_id('b')}, [](int fd, const Request& request) {
    if (request.method == "namespaces.v1.Namespaces/List") {
      return FakeContainerd::send(
          fd, http2::answer(request.stream, told_namespaces({"k8s.io", "moby", "a b", "../x", "nerds", "more"})));
    }
    if (request.space != "nerds") return FakeContainerd::send(fd, http2::refusal(request.stream, 5));
    return knows_all(fd, request);
  });
  EXPECT_THAT(methods_,
              ElementsAre("Containers/Get k8s.io", "Namespaces/List", "Containers/Get nerds", "Tasks/Get nerds",
                          "Containers/Get k8s.io", "Containers/Get nerds", "Tasks/Get nerds"));
  ASSERT_THAT(round.told, SizeIs(2));
  EXPECT_EQ(round.told[0].second->name, std::nullopt) << "an id that an engine made is no name";
}

TEST_F(AContainerd, MayNotKnowAContainerOrItsTaskAndThatIsAnAnswer) {
  const auto round = ask({"default/web", "default/shop"}, [](int fd, const Request& request) {
    const bool known = request.method == "containers.v1.Containers/Get" && request.body == proto(1, "shop");
    return known ? knows_all(fd, request) : FakeContainerd::send(fd, http2::refusal(request.stream, 5));
  });
  ASSERT_THAT(round.told, SizeIs(2));
  EXPECT_THAT(round.told[0], Pair("default/web", nullptr));
  EXPECT_EQ(round.told[1].second->state, std::nullopt);
  EXPECT_EQ(round.problem, "");
}

TEST_F(AContainerd, TellsHowATaskHasEnded) {
  const auto c = parse("default/web", told_container("web", ""), told_task("web", 3, 137));
  ASSERT_TRUE(c);
  EXPECT_THAT(c->state, Optional(std::string("exited")));
  EXPECT_THAT(c->exit_code, Optional(137));
  EXPECT_THAT(c->finished, Optional(base::Wall{} + 1'795'000'100s));
  EXPECT_EQ(c->image, std::nullopt);
  EXPECT_THAT(parse("default/web", told_container("web", ""), told_task("web", 4))->state,
              Optional(std::string("paused")));
}

TEST_F(AContainerd, TellsOfPodsByTheLabelsThatItsCriWrites) {
  const auto labels = with(kOfAPod, {{"io.cri-containerd.kind", "container"}, {"io.kubernetes.container.name", "web"}});
  const auto c = parse(kEngine, told_container(kEngine, "docker.io/lab/box:1", labels));
  ASSERT_TRUE(c);
  EXPECT_EQ(c->role, model::Role::container);
  EXPECT_THAT(c->name, Optional(std::string("web")));
  EXPECT_THAT(c->pod, Optional(std::string("shop-0")));
  EXPECT_THAT(c->pod_namespace, Optional(std::string("default")));
  EXPECT_THAT(c->pod_uid, Optional(kUid));
  EXPECT_THAT(c->labels, IsEmpty()) << "none of these is allowed";
  const auto pause =
      parse(kEngine, told_container(kEngine, "pause",
                                    with(kOfAPod, {{"io.cri-containerd.kind", "sandbox"}, {"org.lab.app", "shop"}})));
  EXPECT_EQ(pause->role, model::Role::sandbox);
  EXPECT_EQ(pause->name, std::nullopt);
  EXPECT_THAT(pause->labels, ElementsAre(Pair("org.lab.app", "shop")));
}

TEST_F(AContainerd, NamesAnImageByItsDigestWhereThatIsAllTheNameThereIs) {
  const auto c = parse(kEngine, told_container(kEngine, "sha256:52fb"));
  EXPECT_EQ(c->image, std::nullopt);
  EXPECT_THAT(c->image_digest, Optional(std::string("sha256:52fb")));
}

TEST_F(AContainerd, HasContainersOfNerdctlWithTheNameInALabelAndOfDockerThatAreDockers) {
  EXPECT_THAT(parse(kEngine, told_container(kEngine, "box", {{"nerdctl/name", "web"}}))->name,
              Optional(std::string("web")));
  const auto dockers = parse_containerd(
      told_container(kEngine, "", {{"com.docker/engine.bundle.path", "/var/run/docker"}}), {}, kEngine, "", {});
  EXPECT_FALSE(dockers.broken);
  EXPECT_EQ(dockers.container, nullptr);
}

TEST_F(AContainerd, TellsOnlyAllowedLabelsWhateverTheyHoldAndNoEnvironment) {
  options_.labels = {"*"};
  const auto labels = Labels{{"a\"b\n", "\"quoted\"\nline\t\\"}, {"big", std::string(5000, 'x')}, {"", "empty"}};
  EXPECT_THAT(parse("default/web", told_container("web", "box", labels))->labels,
              ElementsAre(Pair("", "empty"), Pair("a\"b\n", "\"quoted\"\nline\t\\")));
  Labels many;
  for (int i = 0; i < 500; ++i) many["label" + std::to_string(i)] = "x";
  EXPECT_THAT(parse("default/web", told_container("web", "box", many))->labels, SizeIs(ContainerFacts::kMaxLabels));
  options_.labels = {"other"};
  EXPECT_THAT(parse("default/web", told_container("web", "box", labels))->labels, IsEmpty());
}

TEST_F(AContainerd, WhoseAnswerOnOneContainerIsBrokenTellsOfTheNext) {
  for (const std::string& broken : std::vector<std::string>{
           "", "\xFF", proto(1, ""), told_container("other", "box"), told_container("web", "box\xFF"),
           told_container("web", "box").substr(0, 20), told_container("web", "box", {{"org.lab.a", "\xC3\x28"}}),
           proto(1, proto(1, "web") + proto(2, "\x0A\x05x")), proto(1, proto(1, std::uint64_t{5}))}) {
    const auto round = ask({"default/web", "default/shop"}, [&](int fd, const Request& request) {
      if (request.method != "containers.v1.Containers/Get" || request.body != proto(1, "web")) {
        return knows_all(fd, request);
      }
      return FakeContainerd::send(fd, http2::answer(request.stream, broken));
    });
    EXPECT_EQ(only(round, Failure::broken), 1) << testing::PrintToString(broken);
    ASSERT_THAT(round.told, SizeIs(1));
    EXPECT_THAT(round.told[0].second->name, Optional(std::string("shop")));
  }
}

TEST_F(AContainerd, ThatHangsCostsOneDeadlineAndNotOneForEachContainer) {
  const auto hangs = [&](int fd, const Request&) { return fake_->hang(fd); };
  for (const bool greets : {true, false}) {
    const auto round = ask({"default/web", "default/shop"}, hangs, greets);
    EXPECT_EQ(only(round, Failure::timeout), 1);
    EXPECT_EQ(round.asked, 1);
    EXPECT_THAT(round.told, IsEmpty());
    EXPECT_GE(took_, 200ms);
    EXPECT_LT(took_, 1500ms);
  }
}

TEST_F(AContainerd, WhoseTaskHangsTellsOfTheContainerAllTheSame) {
  const auto round = ask({"default/web"}, [&](int fd, const Request& request) {
    return request.method == "tasks.v1.Tasks/Get" ? fake_->hang(fd) : knows_all(fd, request);
  });
  EXPECT_EQ(only(round, Failure::timeout), 1);
  ASSERT_THAT(round.told, SizeIs(1));
  EXPECT_THAT(round.told[0].second->image, Optional(std::string("docker.io/lab/box:1")));
}

TEST_F(AContainerd, ThatSendsHalfAnAnswerAndNoMoreCostsOneDeadline) {
  const auto whole = http2::answer(1, told_container("web", "box"));
  for (std::size_t half = 1; half < whole.size(); half += 9) {
    options_.answer_within = 50ms;
    const auto hung = ask_and_get([&](std::int32_t) { return whole.substr(0, half); });
    EXPECT_EQ(only(hung, Failure::timeout), 1) << half;
    EXPECT_LT(took_, 1000ms);
    const auto closed = ask_and_get([&](std::int32_t) { return whole.substr(0, half); }, true);
    EXPECT_EQ(only(closed, Failure::unreachable), 1) << half << closed.problem;
    EXPECT_THAT(closed.told, IsEmpty());
  }
}

TEST_F(AContainerd, ThatDripsItsAnswerHasNoMoreTimeThanOneThatHangs) {
  const auto round = ask({"default/web"}, [&](int fd, const Request& request) {
    for (const char c : http2::answer(request.stream, told_container("web", "box"))) {
      if (!FakeContainerd::send(fd, std::string(1, c))) return false;
      std::this_thread::sleep_for(5ms);
    }
    return true;
  });
  EXPECT_EQ(only(round, Failure::timeout), 1);
  EXPECT_LT(took_, 1500ms);
}

TEST_F(AContainerd, ThatAnnouncesOrSendsMoreThanItMayIsNotReadToItsEnd) {
  options_.answer_within = 2000ms;
  const auto announced = ask_and_get([](std::int32_t stream) {
    return http2::head(stream) + http2::data(stream, std::string(1, '\0') + http2::big_endian(1U << 30U, 4));
  });
  EXPECT_EQ(only(announced, Failure::too_big), 2) << "the next answer may be a small one";
  EXPECT_LT(took_, 1000ms);
  // A small answer, and then no end of them.
  std::size_t sent = 0;
  const auto flood = ask({"default/web"}, [&](int fd, const Request& request) {
    if (!FakeContainerd::send(fd, http2::head(request.stream))) return false;
    std::string piece;
    for (int i = 0; i < 100; ++i) piece += http2::data(request.stream, http2::message("x"));
    while (sent < std::size_t{1} << 30U && FakeContainerd::send(fd, piece)) sent += piece.size();
    return false;
  });
  EXPECT_EQ(only(flood, Failure::broken), 1);
  EXPECT_LT(sent, std::size_t{4} << 20U);
}

TEST_F(AContainerd, ThatSaysWhatIsNoGrpcIsCountedAndLeftAlone) {
  using http2::data, http2::frame, http2::head, http2::tail;
  const std::function<std::string(std::int32_t)> cases[] = {
      [](std::int32_t) { return "HTTP/1.1 400 Bad Request\r\n\r\n" + std::string(1000, 'x'); },
      [](std::int32_t) { return std::string(4000, '\xFF'); },
      [](std::int32_t s) { return frame(http2::kHeaders, http2::kEndHeaders, s, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF"); },
      // compressed, which was not asked for; two messages for one; none; half of one; no word on how it went
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
    const auto round = ask_and_get(bytes);
    EXPECT_EQ(round.failures[static_cast<std::size_t>(Failure::broken)] +
                  round.failures[static_cast<std::size_t>(Failure::unreachable)],
              1)
        << round.problem << testing::PrintToString(bytes(1));
    EXPECT_EQ(round.asked, 1);
    EXPECT_THAT(round.told, IsEmpty());
    EXPECT_LT(took_, 150ms) << "what is wrong is not waited for";
  }
}

TEST_F(AContainerd, ThatAnswersWithAnotherStatusTellsNothing) {
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
    const auto round = ask({"default/web", "default/shop"}, [&](int fd, const Request& request) {
      return FakeContainerd::send(fd, bytes(request.stream));
    });
    EXPECT_EQ(only(round, Failure::status), 2);
    EXPECT_THAT(round.told, IsEmpty());
  }
}

TEST_F(AContainerd, ThatGoesAwayIsLeftAndFoundAgain) {
  const auto refuses = ask_and_get([](std::int32_t) { return http2::go_away(0); });
  EXPECT_EQ(only(refuses, Failure::unreachable), 1);
  EXPECT_LT(took_, 150ms);
  const auto resets =
      ask_and_get([](std::int32_t stream) { return http2::frame(http2::kReset, 0, stream, http2::big_endian(8, 4)); });
  EXPECT_EQ(only(resets, Failure::unreachable), 1);
  // What was asked is still answered; the next question takes another connection.
  const auto answers = ask({"default/web", "default/shop"}, [](int fd, const Request& request) {
    return FakeContainerd::send(fd, http2::go_away(request.stream)) && knows_all(fd, request);
  });
  EXPECT_THAT(answers.told, SizeIs(2)) << answers.problem;
  EXPECT_EQ(connections_, 4);
}

TEST_F(AContainerd, ThatIsAwayCostsNothing) {
  const auto begin = Clock::now();
  const auto round = make_daemon(options_)->ask({"default/web", "default/shop"});
  EXPECT_EQ(only(round, Failure::unreachable), 1);
  EXPECT_EQ(round.asked, 1);
  EXPECT_LT(Clock::now() - begin, 150ms);
}

TEST_F(AContainerd, IsAskedForNoMoreThanSoManyAndForNoNamesThatItCannotHave) {
  options_.max_asked = 9;
  const auto round = ask({"web", "../../etc/web", "default/../web", "a b/web", "/web", "default/", "default/we\nb",
                          "default/" + std::string(77, 'x'), "default/web", "default/shop"},
                         knows_all);
  EXPECT_EQ(round.asked, 9);
  EXPECT_THAT(methods_, ElementsAre("Containers/Get default", "Tasks/Get default"));
}

TEST_F(AContainerd, IsLeftAtOnceWhenTheAgentEnds) {
  options_.answer_within = options_.round_within = 60s;
  FakeContainerd fake(options_.socket, [&](int fd, const Request&) { return fake_->hang(fd); });
  fake_ = &fake;
  const auto daemon = make_daemon(options_);
  std::thread ends([&] {
    while (fake.methods().empty()) std::this_thread::sleep_for(1ms);
    daemon->cancel();
  });
  EXPECT_THAT(daemon->ask({"default/web", kEngine}).told, IsEmpty());
  ends.join();
  EXPECT_THAT(daemon->ask({"default/web"}).told, IsEmpty());
}

class EventsOfContainerd : public AContainerd {
 protected:
  // Until there is no more to hear.
  ContainerdEvents::End listen(FakeContainerd::Answer answer, bool greets = true) {
    FakeContainerd fake(options_.socket, std::move(answer), greets);
    fake_ = &fake;
    ContainerdEvents events(options_);
    return events.listen([this] { begun_ = true; }, [this](const ContainerdEvent& event) { heard_.push_back(event); });
  }

  bool begun_ = false;
  std::vector<ContainerdEvent> heard_;
};

TEST_F(EventsOfContainerd, SayWhichContainerIsNewAndWhichHasEnded) {
  std::string asked;
  const auto end = listen([&](int fd, const Request& request) {
    asked = request.method + request.body;
    auto bytes = http2::head(request.stream);
    for (const auto& event :
         {told_event("default", "/containers/create", proto(1, "web") + proto(2, "docker.io/lab/box:1")),
          told_event("k8s.io", "/tasks/start", proto(1, kEngine) + proto(2, std::uint64_t{17})),
          told_event("moby", "/containers/create", proto(1, kEngine)), told_event("", "/tasks/start", proto(1, "web")),
          told_event("default", "/tasks/start", proto(1, "../web")), told_event("default", "/tasks/start", "\xFF"),
          std::string("\xFF"), std::string(), told_exit("default", "web", "exec-1", 9),
          told_exit("default", "web", "web", 3), told_exit("k8s.io", kEngine, kEngine, 4'294'967'295)}) {
      bytes += http2::data(request.stream, http2::message(event));
    }
    return FakeContainerd::send(fd, bytes + http2::tail(request.stream, 0)) && fake_->hang(fd);
  });
  EXPECT_THAT(asked, testing::StartsWith("events.v1.Events/Subscribe"));
  EXPECT_THAT(asked, HasSubstr("topic==\"/tasks/exit\""));
  EXPECT_TRUE(begun_);
  ASSERT_THAT(heard_, SizeIs(4));
  EXPECT_EQ(heard_[0].key, "default/web");
  EXPECT_FALSE(heard_[0].ended);
  EXPECT_EQ(heard_[1].key, kEngine) << "an engine's id is unique in the world";
  EXPECT_EQ(heard_[2].key, "default/web");
  EXPECT_TRUE(heard_[2].ended);
  EXPECT_EQ(heard_[2].exit_code, 3);
  EXPECT_THAT(heard_[2].finished, Optional(base::Wall{} + 1'795'000'100s));
  EXPECT_EQ(heard_[3].exit_code, 4'294'967'295);
  EXPECT_THAT(end.failure, Optional(Failure::unreachable)) << "a stream that ends is one that is heard no longer";
}

TEST_F(EventsOfContainerd, AreWaitedForLongerThanAnyAnswer) {
  options_.answer_within = 50ms;
  listen([&](int fd, const Request& request) {
    FakeContainerd::send(fd, http2::head(request.stream) + http2::frame(http2::kPing, 0, 0, "12345678"));
    std::this_thread::sleep_for(300ms);
    const auto event = http2::data(request.stream, http2::message(told_exit("default", "web", "web", 3)));
    FakeContainerd::send(fd, event.substr(0, 12));
    std::this_thread::sleep_for(300ms);
    FakeContainerd::send(fd, event.substr(12));
    return false;
  });
  EXPECT_THAT(heard_, SizeIs(1));
}

TEST_F(EventsOfContainerd, EndWithTheConnectionOrWithWhatIsNoEvent) {
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
  EXPECT_THAT(heard_, IsEmpty());
}

TEST_F(EventsOfContainerd, AreNotWaitedForWhereNobodySpeaks) {
  const auto begin = Clock::now();
  EXPECT_THAT(listen([&](int fd, const Request&) { return fake_->hang(fd); }, false).failure,
              Optional(Failure::timeout));
  EXPECT_LT(Clock::now() - begin, 1500ms);
  EXPECT_FALSE(begun_);
}

TEST_F(EventsOfContainerd, EndAtOnceWhenTheAgentDoes) {
  FakeContainerd fake(options_.socket, [&](int fd, const Request&) { return fake_->hang(fd); });
  fake_ = &fake;
  ContainerdEvents events(options_);
  std::atomic<bool> begun = false;
  std::thread ends([&] {
    while (!begun) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(20ms);
    events.cancel();
  });
  const auto begin = Clock::now();
  const auto end = events.listen([&] { begun = true; }, [](const ContainerdEvent&) {});
  ends.join();
  EXPECT_EQ(end.failure, std::nullopt);
  EXPECT_LT(Clock::now() - begin, 1000ms);
}

class ToldByContainerdTest : public DiscoveryTest {
 protected:
  ToldByContainerdTest() { options_.labels = {"org.lab.*"}; }
  Daemon::Told says(const std::string& key, const std::string& image, const Labels& labels = {},
                    const std::string& task = {}) {
    const auto id = key.substr(key.find('/') + 1);
    return {{key, parse_containerd(told_container(id, image, labels), task, key, "unix:/run/it.sock",
                                   LabelFilter({"org.lab.*"}))
                      .container}};
  }
  // As `ctr run` leaves it, with a process that runs.
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

TEST_F(ToldByContainerdTest, AContainerThatAPersonNamedHasItsImageAndLabels) {
  make_bundle("default", "web", web_);
  see({web_});
  EXPECT_THAT(resolver().wanted("containerd"), ElementsAre("default/web"));
  EXPECT_THAT(resolver().wanted("docker"), IsEmpty());
  EXPECT_TRUE(resolver().tell("containerd", says("default/web", "docker.io/lab/box:1", {{"org.lab.tier", "x"}}), now_));
  const auto c = at(web_);
  EXPECT_THAT(c.image, Optional(std::string("docker.io/lab/box:1")));
  EXPECT_EQ(origin_of(c, "image"), "unix:/run/it.sock");
  EXPECT_THAT(origin_of(c, "name"), HasSubstr("config.json")) << "the disk comes first";
  EXPECT_THAT(c.labels, ElementsAre(Pair("org.lab.annotation", "disk"), Pair("org.lab.tier", "x")));
  EXPECT_THAT(c.pid, Optional(7));
}

TEST_F(ToldByContainerdTest, OneOfTheSameNameInAnotherNamespaceIsAnother) {
  make_bundle("default", "web", web_, 7);
  make_bundle("other", "web", "/other/web", 8);
  see({web_, "/other/web"});
  EXPECT_THAT(resolver().wanted("containerd"), testing::UnorderedElementsAre("default/web", "other/web"));
  resolver().tell("containerd", says("other/web", "box:2"), now_);
  EXPECT_EQ(at(web_).image, std::nullopt);
  EXPECT_THAT(at("/other/web").image, Optional(std::string("box:2")));
}

TEST_F(ToldByContainerdTest, OfAContainerBeforeItsCgroupIsSeenItIsKeptForAMoment) {
  see({"/"});
  EXPECT_FALSE(resolver().tell("containerd", says("default/web", "box:1"), now_));
  see({"/", "/another"});
  make_bundle("default", "web", web_);
  now_ += 5s;
  see({"/", web_});
  EXPECT_THAT(at(web_).image, Optional(std::string("box:1")));
  resolver().tell("containerd", says("default/never", "box:1"), now_);
  now_ += 11s;
  see({"/", web_, "/more"});
  make_bundle("default", "never", "/default/never", 9);
  now_ += 1s;
  see({"/", web_, "/default/never"});
  EXPECT_EQ(at("/default/never").image, std::nullopt);
  EXPECT_THAT(at(web_).image, Optional(std::string("box:1"))) << "that of a cgroup which is there stays";
}

TEST_F(ToldByContainerdTest, OfContainersThatNeverComeNoMoreThanSoManyAreKept) {
  see({"/"});
  for (int i = 0; i < 3000; ++i) resolver().tell("containerd", says("default/c" + std::to_string(i), "box:1"), now_);
  make_bundle("default", "c2999", web_);
  see({"/", web_});
  EXPECT_EQ(at(web_).image, std::nullopt);
}

TEST_F(ToldByContainerdTest, AnExitCodeStaysWithTheContainerThatHasEnded) {
  make_bundle("default", "web", web_);
  see({web_});
  resolver().tell("containerd", says("default/web", "box:1"), now_);
  remove("/proc/7");
  EXPECT_TRUE(resolver().record_exit("default/web", 3, base::Wall{} + 1'795'000'100s, "unix:/run/it.sock", now_));
  EXPECT_THAT(at(web_).exit_code, Optional(3));
  EXPECT_THAT(at(web_).state, Optional(std::string("exited")));
  EXPECT_EQ(origin_of(at(web_), "exit_code"), "unix:/run/it.sock");
  // The runtime forgets it, then the cgroup goes.
  remove(bundle_of("default", "web"));
  resolver().refresh(now_ + 1s);
  const auto table = see({"/"});
  ASSERT_THAT(table->ended, SizeIs(1));
  EXPECT_THAT(table->ended[0].container->exit_code, Optional(3));
  EXPECT_THAT(table->ended[0].container->image, Optional(std::string("box:1")));
}

TEST_F(ToldByContainerdTest, AnExitCodeThatIsToldWhenTheCgroupIsGoneIsNotLost) {
  make_bundle("default", "web", web_);
  see({web_});
  remove("/proc/7");
  remove(bundle_of("default", "web"));
  see({"/"});
  EXPECT_TRUE(resolver().record_exit("default/web", 3, std::nullopt, "unix:/run/it.sock", now_));
  ASSERT_THAT(resolver().table()->ended, SizeIs(1));
  EXPECT_THAT(resolver().table()->ended[0].container->exit_code, Optional(3));
  EXPECT_FALSE(resolver().record_exit("default/nobody", 3, std::nullopt, "unix:/run/it.sock", now_));
}

TEST_F(ToldByContainerdTest, AContainerThatIsStartedAgainHasNotEnded) {
  make_bundle("default", "web", web_);
  see({web_});
  resolver().record_exit("default/web", 3, std::nullopt, "unix:/run/it.sock", now_);
  EXPECT_EQ(at(web_).exit_code, std::nullopt) << "its process is there";
  EXPECT_THAT(at(web_).state, Optional(std::string("running")));
  remove("/proc/7");
  resolver().record_exit("default/web", 4, std::nullopt, "unix:/run/it.sock", now_);
  see({"/"});
  make_bundle("default", "web", web_, 8);
  see({"/", web_});
  EXPECT_EQ(at(web_).exit_code, std::nullopt);
}

TEST_F(ToldByContainerdTest, APodsLabelsAreThoseOfItsContainersToo) {
  const std::string pod = "/kubepods/burstable/pod" + kUid, pause = pod + '/' + engine_id('b'),
                    web = pod + '/' + kEngine;
  see({pod, pause, web});
  EXPECT_THAT(resolver().wanted("containerd"), testing::UnorderedElementsAre(kEngine, engine_id('b')));
  resolver().tell("containerd",
                  says(kEngine, "box:1",
                       with(kOfAPod, {{"io.cri-containerd.kind", "container"},
                                      {"io.kubernetes.container.name", "web"},
                                      {"org.lab.own", "web"}})),
                  now_);
  resolver().tell(
      "containerd",
      says(engine_id('b'), "pause",
           with(kOfAPod, {{"io.cri-containerd.kind", "sandbox"}, {"org.lab.app", "shop"}, {"org.lab.own", "pause"}})),
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

TEST_F(ToldByContainerdTest, DoubtLeavesWhatCannotHaveChanged) {
  make_bundle("default", "web", web_);
  remove("/proc/7");
  see({web_});
  resolver().tell("containerd", says("default/web", "box:1", {}, told_task("web", 3, 3)), now_);
  EXPECT_THAT(at(web_).state, Optional(std::string("exited")));
  EXPECT_TRUE(resolver().invalidate("containerd", now_));
  EXPECT_EQ(at(web_).state, std::nullopt);
  EXPECT_THAT(at(web_).image, Optional(std::string("box:1")));
}

}  // namespace
}  // namespace cgwarden::discovery
