// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "tests/unit/discovery_fixture.h"

namespace cgwarden::discovery {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::IsEmpty;
using testing::Optional;
using testing::SizeIs;

const std::string kCgroup = "/docker/" + kId;

class ResolverTest : public DiscoveryTest {
 protected:
  void docker(const std::string& id, const std::string& name, const std::string& state = R"("Running":true,"Pid":5)") {
    write("/var/lib/docker/containers/" + id + "/config.v2.json",
          R"({"ID":")" + id + R"(","Name":"/)" + name + R"(","Config":{"Image":"i"},"Created":"2026-11-24T10:00:00Z",
"State":{)" + state +
              R"(,"StartedAt":"2026-11-24T10:00:00Z"}})");
  }
};

TEST_F(ResolverTest, CountsContainerImmediatelyAndNamesItWhenStateAppears) {
  std::filesystem::create_directories(root_ + "/var/lib/docker/containers");
  see({kCgroup});
  EXPECT_THAT(at(kCgroup).runtime, Optional(std::string("docker")));
  EXPECT_EQ(at(kCgroup).name, std::nullopt);
  docker(kId, "web");
  // now_ is unchanged, so the inotify event triggers the lookup.
  EXPECT_TRUE(resolver().refresh(now_));
  EXPECT_THAT(at(kCgroup).name, Optional(std::string("web")));
}

TEST_F(ResolverTest, NamesRunningContainersAmongThousandsOfExitedOnes) {
  const auto id_of = [](int n) {
    auto number = std::to_string(n);
    return std::string(64 - number.size(), 'd') + number;
  };
  std::string list;
  for (int n = 0; n < 3000; ++n) {
    docker(id_of(n), "exited-" + std::to_string(n), R"("Running":false,"ExitCode":1)");
    list += R"({"id":")" + id_of(10'000 + n) + R"(","names":["gone-)" + std::to_string(n) + R"("]},)";
  }
  const auto pod = container_id('b');
  docker(kId, "web");
  write("/var/lib/containers/storage/overlay-containers/containers.json",
        "[" + list + R"({"id":")" + pod + R"(","names":["shop"]}])");
  const auto cgroup = "/machine.slice/libpod-" + pod + ".scope";
  see({kCgroup, cgroup});
  EXPECT_THAT(at(kCgroup).name, Optional(std::string("web")));
  EXPECT_THAT(at(cgroup).name, Optional(std::string("shop")));
  EXPECT_THAT(resolver().table()->by_cgroup, SizeIs(2));
  EXPECT_LT(resolver().stats().watches, 40U) << "state of exited containers is not watched";
}

TEST_F(ResolverTest, FindsRuntimeInstalledAfterStart) {
  see({kCgroup});
  docker(kId, "web");
  EXPECT_TRUE(resolver().refresh(now_));
  EXPECT_THAT(at(kCgroup).name, Optional(std::string("web")));
}

TEST_F(ResolverTest, UpdatesNameAfterRename) {
  docker(kId, "web");
  see({kCgroup});
  const auto before = resolver().table()->generation;
  docker(kId, "shop");
  EXPECT_TRUE(resolver().refresh(now_));
  EXPECT_THAT(at(kCgroup).name, Optional(std::string("shop")));
  EXPECT_GT(resolver().table()->generation, before);
  EXPECT_FALSE(resolver().refresh(now_));
}

TEST_F(ResolverTest, RetriesMissingStateWithExponentialBackoff) {
  see({kCgroup});
  std::vector<std::int64_t> waits;
  for (int i = 0; i < 14; ++i) {
    const auto next = resolver().next();
    ASSERT_TRUE(next);
    waits.push_back(std::chrono::duration_cast<milliseconds>(*next - now_).count());
    now_ = *next;
    resolver().refresh(now_);
  }
  EXPECT_EQ(waits.front(), 100);
  EXPECT_EQ(waits[1], 200);
  EXPECT_EQ(waits.back(), 60'000);
}

TEST_F(ResolverTest, SchedulesNothingOnceAllContainersAreNamed) {
  docker(kId, "web");
  see({kCgroup});
  now_ += seconds(2);
  resolver().refresh(now_);
  EXPECT_FALSE(resolver().next());
}

TEST_F(ResolverTest, KeepsExitedContainerWithExitCodeForExitedFor) {
  docker(kId, "web");
  see({kCgroup, "/docker"});
  docker(kId, "web", R"("Running":false,"Pid":0,"ExitCode":137,"FinishedAt":"2026-11-24T11:00:00Z")");
  auto table = see({"/docker"});
  ASSERT_THAT(table->exited, SizeIs(1));
  EXPECT_EQ(table->exited[0].path, kCgroup);
  EXPECT_THAT(table->exited[0].container->exit_code, Optional(137));
  EXPECT_THAT(table->exited[0].container->name, Optional(std::string("web")));
  EXPECT_TRUE(table->exited[0].container->finished);
  // The runtime removes its state; the entry is kept.
  remove("/var/lib/docker/containers/" + kId);
  resolver().refresh(now_);
  ASSERT_THAT(resolver().table()->exited, SizeIs(1));
  EXPECT_THAT(resolver().table()->exited[0].container->name, Optional(std::string("web")));
  now_ += options_.exited_for + seconds(1);
  EXPECT_TRUE(resolver().refresh(now_));
  EXPECT_THAT(resolver().table()->exited, IsEmpty());
}

TEST_F(ResolverTest, ReadsExitCodeWrittenAfterCgroupWasRemoved) {
  docker(kId, "web");
  see({kCgroup});
  see({"/docker"});
  EXPECT_THAT(resolver().table()->exited.at(0).container->state, Optional(std::string("exited")));
  docker(kId, "web", R"("Running":false,"Pid":0,"ExitCode":1)");
  EXPECT_TRUE(resolver().refresh(now_));
  EXPECT_THAT(resolver().table()->exited.at(0).container->exit_code, Optional(1));
}

TEST_F(ResolverTest, KeepsExitCodeThatPodmanDeletes) {
  const std::string storage = "/var/lib/containers/storage/overlay-containers/";
  write(storage + "containers.json", R"([{"id":")" + kId + R"(","names":["web"]}])");
  write("/run/containers/storage/overlay-containers/" + kId + "/userdata/pidfile", "5");
  write("/proc/5/comm", "");
  std::filesystem::create_directories(root_ + "/run/libpod/exits");
  const auto cgroup = "/libpod_parent/libpod-" + kId;
  see({cgroup});
  EXPECT_THAT(at(cgroup).state, Optional(std::string("running")));
  remove("/proc/5");
  write("/run/libpod/exits/" + kId, "3");
  EXPECT_TRUE(resolver().refresh(now_));
  EXPECT_THAT(at(cgroup).exit_code, Optional(3));
  remove("/run/libpod/exits/" + kId);
  resolver().refresh(now_);
  const auto table = see({"/libpod_parent"});
  ASSERT_THAT(table->exited, SizeIs(1));
  EXPECT_TRUE(table->exited[0].container->finished);
  EXPECT_THAT(table->exited[0].container->exit_code, Optional(3));
  EXPECT_THAT(table->exited[0].container->state, Optional(std::string("exited")));
}

TEST_F(ResolverTest, TreatsRestartedContainerAsNewEntry) {
  docker(kId, "web");
  see({kCgroup});
  const auto first = cgroups_.at(kCgroup)->id;
  see({"/docker"});
  ASSERT_THAT(resolver().table()->exited, SizeIs(1));
  docker(kId, "web", R"("Running":true,"Pid":6)");
  see({kCgroup});
  EXPECT_NE(cgroups_.at(kCgroup)->id, first);
  EXPECT_THAT(at(kCgroup).pid, Optional(6));
  EXPECT_THAT(resolver().table()->exited, IsEmpty());
  EXPECT_EQ(resolver().table()->find(first, kCgroup), nullptr);
}

TEST_F(ResolverTest, BoundsNumberOfExitedContainers) {
  options_.max_exited = 10;
  std::vector<std::string> paths = {"/docker"};
  for (int i = 0; i < 30; ++i) {
    auto id = std::to_string(i);
    id = std::string(64 - id.size(), 'a') + id;
    docker(id, "c" + std::to_string(i));
    paths.push_back("/docker/" + id);
  }
  see(paths);
  EXPECT_EQ(resolver().stats().named, 30U);
  see({"/docker"});
  EXPECT_THAT(resolver().table()->exited, SizeIs(10));
}

TEST_F(ResolverTest, SetsParentOfNestedContainer) {
  write("/var/lib/lxc/host/config", "");
  const auto inner = "/lxc.payload.host/system.slice/docker-" + kId + ".scope";
  see({"/lxc.payload.host", "/lxc.payload.host/system.slice", inner});
  EXPECT_THAT(at(inner).runtime, Optional(std::string("docker")));
  EXPECT_THAT(at(inner).parent, Optional(std::string("host")));
  EXPECT_THAT(at("/lxc.payload.host/system.slice").parent, Optional(std::string("host")));
  EXPECT_EQ(at("/lxc.payload.host").parent, std::nullopt);
}

TEST_F(ResolverTest, NamesRuncContainerWhenStateAppearsAfterCgroup) {
  see({"/any/where"});
  EXPECT_FALSE(knows("/any/where"));
  write("/run/runc/web/state.json", R"({"id":"web","config":{"cgroups":{"path":"/any/where"}}})");
  EXPECT_TRUE(resolver().refresh(now_));
  EXPECT_THAT(at("/any/where").name, Optional(std::string("web")));
}

TEST_F(ResolverTest, FindsContainerdContainerCreatedDuringLookup) {
  const auto bundles = root_ + "/run/containerd/io.containerd.runtime.v2.task/default/";
  const auto write_bundle = [&](const std::string& id) {
    write(bundles.substr(root_.size()) + id + "/config.json", R"({"linux":{"cgroupsPath":"/any/)" + id + R"("}})");
  };
  for (int n = 0; n < 100; ++n) write_bundle("web-" + std::to_string(n));  // make the lookup slow
  for (int n = 0; n < 30; ++n) {
    const auto id = "a-" + std::to_string(n);  // sorts before the others
    see({"/any/" + id});
    std::atomic<bool> done = false;
    std::thread containerd([&] {
      std::filesystem::create_directories(bundles + id);
      std::this_thread::sleep_for(std::chrono::microseconds(50 * n));  // at different points of the lookup
      write_bundle(id);
      done = true;
    });
    while (!done) resolver().refresh(now_);
    containerd.join();
    resolver().refresh(now_);  // now_ is unchanged
    EXPECT_TRUE(at("/any/" + id).name) << id;
  }
}

TEST_F(ResolverTest, KeepsFactsWhenStateIsRemovedBeforeCgroup) {
  docker(kId, "web");
  write("/run/runc/web/state.json", R"({"id":"web","config":{"cgroups":{"path":"/any/where"}}})");
  see({kCgroup, "/any/where", "/docker"});
  remove("/run/runc/web");
  remove("/var/lib/docker/containers/" + kId);
  resolver().refresh(now_);
  EXPECT_THAT(at(kCgroup).name, Optional(std::string("web")));
  EXPECT_THAT(at("/any/where").name, Optional(std::string("web")));
  const auto table = see({"/docker"});
  ASSERT_THAT(table->exited, SizeIs(2));
  for (const auto& exited : table->exited) {
    EXPECT_THAT(exited.container->name, Optional(std::string("web")));
    EXPECT_THAT(exited.container->state, Optional(std::string("exited")));
  }
}

TEST_F(ResolverTest, SeparatesEqualNamesOfDifferentRuntimes) {
  docker(kId, "web");
  write("/run/runc/web/state.json", R"({"id":"web","config":{"cgroups":{"path":"/lab/web"}}})");
  write("/run/crun/web/status", R"({"pid":9,"cgroup-path":"/lab/other"})");
  write("/var/lib/lxc/web/config", "");
  see({kCgroup, "/lab/web", "/lab/other", "/lxc.payload.web"});
  EXPECT_THAT(at(kCgroup).runtime, Optional(std::string("docker")));
  EXPECT_THAT(at("/lab/web").runtime, Optional(std::string("runc")));
  EXPECT_THAT(at("/lab/other").runtime, Optional(std::string("crun")));
  EXPECT_THAT(at("/lxc.payload.web").runtime, Optional(std::string("lxc")));
  EXPECT_EQ(at("/lxc.payload.web").pid, std::nullopt);
}

TEST_F(ResolverTest, LeaksNoDescriptorsOrWatchesAfterManyStartsAndStops) {
  options_.max_exited = 16;
  see({"/docker"});
  const auto fds = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  const auto before = fds();
  for (int i = 0; i < 500; ++i) {
    auto id = std::to_string(i);
    id = std::string(64 - id.size(), 'b') + id;
    docker(id, "c");
    see({"/docker", "/docker/" + id});
    remove("/var/lib/docker/containers/" + id);
  }
  see({"/docker"});
  EXPECT_EQ(fds(), before);
  EXPECT_LE(resolver().stats().watches, 16U + 16U);
  EXPECT_EQ(resolver().stats().named, 0U);
  EXPECT_EQ(resolver().stats().exited, 16U);
}

TEST_F(ResolverTest, PollsWhenWatchesAreExhausted) {
  options_.max_watches = 0;
  see({kCgroup});
  docker(kId, "web");
  EXPECT_FALSE(resolver().refresh(now_));
  now_ += milliseconds(100);
  EXPECT_TRUE(resolver().refresh(now_));
  EXPECT_THAT(at(kCgroup).name, Optional(std::string("web")));
  docker(kId, "shop");
  now_ += seconds(31);
  EXPECT_TRUE(resolver().refresh(now_));
  EXPECT_THAT(at(kCgroup).name, Optional(std::string("shop")));
}

}  // namespace
}  // namespace cgwarden::discovery
