// SPDX-License-Identifier: Apache-2.0
// Requests to the APIs of Docker and Podman, and daemons that hang, refuse or respond with invalid data.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "src/control/runtime_api.h"
#include "tests/temp_dir.h"
#include "tests/threads/fake_daemon.h"

namespace cgwarden::control {
namespace {

using discovery::FakeDaemon;
using model::Value;
using nlohmann::json;
using std::chrono::milliseconds;
using testing::HasSubstr;

const std::string kContainerId(64, 'a');
const std::string kContainerCgroup = "/docker/" + kContainerId;

RuntimeLimits memory_limits(Value limit, Value swap) {
  RuntimeLimits out;
  out.memory = limit;
  out.swap = swap;
  return out;
}

RuntimeLimits cpu_limits(Value quota, std::int64_t period) {
  RuntimeLimits out;
  out.cpu_quota = quota;
  out.cpu_period = Value::of(period);
  return out;
}

TEST(RuntimeUpdate, SendsMemoryPlusSwapAsTheSwapLimit) {
  const auto limits = memory_limits(Value::of(64 << 20), Value::of(32 << 20));
  EXPECT_EQ(json::parse(docker_update(limits, true)), json::parse(R"({"Memory":67108864,"MemorySwap":100663296})"));
  EXPECT_EQ(json::parse(podman_update(limits)), json::parse(R"({"memory":{"limit":67108864,"swap":100663296}})"));
}

TEST(RuntimeUpdate, SendsUnlimitedInTheFormOfTheRuntime) {
  auto limits = memory_limits(Value::unlimited(), Value::unlimited());
  limits.cpu_quota = Value::unlimited();
  limits.pids = Value::unlimited();
  EXPECT_EQ(json::parse(docker_update(limits, true)),
            json::parse(R"({"Memory":9223372036854771712,"MemorySwap":-1,"CpuQuota":-1,"PidsLimit":-1})"));
  EXPECT_EQ(json::parse(podman_update(limits)),
            json::parse(R"({"memory":{"limit":-1,"swap":-1},"cpu":{"quota":-1},"pids":{"limit":-1}})"));
}

TEST(RuntimeUpdate, OmitsLimitsThatTheKernelDoesNotHave) {
  EXPECT_EQ(docker_update({}, true), "");
  EXPECT_EQ(podman_update({}), "");
  const auto without_swap = memory_limits(Value::of(64 << 20), Value::absent());
  EXPECT_EQ(json::parse(docker_update(without_swap, true)), json::parse(R"({"Memory":67108864})"));
}

TEST(DockerUpdate, SendsTheCpuLimitInTheFormInWhichItWasSet) {
  const auto half = cpu_limits(Value::of(50'000), 100'000);
  EXPECT_EQ(json::parse(docker_update(half, true)), json::parse(R"({"NanoCpus":500000000})"));
  EXPECT_EQ(json::parse(docker_update(half, false)), json::parse(R"({"CpuQuota":50000,"CpuPeriod":100000})"));
  // NanoCpus cannot express another period.
  EXPECT_EQ(docker_update(cpu_limits(Value::of(5'000), 10'000), true), "");
}

TEST(ParseRuntimeContainer, ReadsThePauseStateAndTheFormOfTheCpuLimit) {
  const auto parse = [](const std::string& state, const std::string& host) {
    return parse_runtime_container(
        R"({"Id":")" + kContainerId + R"(","State":{"Paused":)" + state + R"(},"HostConfig":)" + host + "}",
        kContainerId);
  };
  EXPECT_TRUE(parse("true", "{}")->paused);
  EXPECT_FALSE(parse("false", "{}")->paused);
  EXPECT_FALSE(parse("7", "{}")->paused);
  EXPECT_TRUE(parse("true", R"({"NanoCpus":500000000,"CpuQuota":0,"CpuPeriod":0})")->by_cores);
  EXPECT_TRUE(parse("true", R"({"NanoCpus":0,"CpuQuota":0,"CpuPeriod":0})")->by_cores);
  EXPECT_FALSE(parse("true", R"({"NanoCpus":0,"CpuQuota":20000,"CpuPeriod":0})")->by_cores);
  EXPECT_FALSE(parse("true", R"({"NanoCpus":0,"CpuQuota":-1,"CpuPeriod":100000})")->by_cores);
  EXPECT_TRUE(parse("true", R"({"NanoCpus":"many"})")->by_cores);
}

TEST(ParseRuntimeContainer, RejectsInvalidResponsesAndThoseOfOtherContainers) {
  for (const std::string text : {R"({"Id":"b"})", "{}", "[]", "7", "", R"({"Id":7})", "\xff"}) {
    EXPECT_FALSE(parse_runtime_container(text, kContainerId)) << text;
  }
}

TEST(RuntimeOf, ReturnsTheRuntimeOfContainerCgroupsOnly) {
  EXPECT_EQ(runtime_of(kContainerCgroup), "docker");
  EXPECT_EQ(runtime_of("/system.slice/docker-" + kContainerId + ".scope"), "docker");
  EXPECT_EQ(runtime_of("/machine.slice/libpod-" + kContainerId + ".scope"), "podman");
  EXPECT_EQ(runtime_of(kContainerCgroup + "/system.slice"), "");
  EXPECT_EQ(runtime_of("/system.slice/docker.service"), "");
  EXPECT_EQ(runtime_of("/a/" + kContainerId), "") << "the runtime is ambiguous";
  EXPECT_EQ(runtime_of("/"), "");
}

class RuntimeApi : public testing::Test {
 protected:
  [[nodiscard]] RuntimeSockets sockets() const { return {.docker = socket_, .podman = ""}; }
  [[nodiscard]] base::Result<std::optional<RuntimeContainer>> find(const std::string& cgroup = kContainerCgroup) const {
    return find_runtime_container(sockets(), cgroup);
  }
  static std::string container(bool paused = false) {
    return R"({"Id":")" + kContainerId + R"(","State":{"Paused":)" + (paused ? "true" : "false") + "}}";
  }

  const testing_files::TempDir folder_;
  const std::string socket_ = folder_.path() + "/docker.sock";
};

TEST_F(RuntimeApi, FindsNoContainerWithoutADaemon) {
  const auto found = find();
  ASSERT_TRUE(found) << found.error().what;
  EXPECT_FALSE(*found);
}

TEST_F(RuntimeApi, DoesNotQueryForCgroupsOfOtherRuntimes) {
  FakeDaemon daemon(socket_,
                    [](int fd, const std::string&) { return FakeDaemon::send(fd, FakeDaemon::http(200, "{}")); });
  for (const auto& cgroup :
       {"/machine.slice/libpod-" + kContainerId + ".scope", std::string("/user.slice"), kContainerCgroup + "/inner"}) {
    const auto found = find(cgroup);
    EXPECT_TRUE(found && !*found) << cgroup;
  }
  EXPECT_EQ(daemon.connections(), 0);
}

TEST_F(RuntimeApi, FindsContainersOfTheDaemon) {
  FakeDaemon daemon(socket_, [](int fd, const std::string& target) {
    return FakeDaemon::send(fd, target == "/containers/" + kContainerId + "/json"
                                    ? FakeDaemon::http(200, container(true))
                                    : FakeDaemon::http(404, "{}"));
  });
  const auto found = find();
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->runtime, "docker");
  EXPECT_EQ((*found)->id, kContainerId);
  EXPECT_TRUE((*found)->paused);
  const auto other = find("/docker/" + std::string(64, 'b'));
  EXPECT_TRUE(other && !*other);
}

TEST_F(RuntimeApi, ReportsInvalidAndFailedResponses) {
  for (const auto& [text, why] : {std::pair(FakeDaemon::http(200, R"({"Id":"another"})"), "another container"),
                                  {"SSH-2.0-OpenSSH\r\n\r\n", "invalid HTTP"},
                                  {FakeDaemon::http(500, R"({"message":"no \u001b[31m space"})"), "space"},
                                  {FakeDaemon::http(503, "<html>"), "HTTP status 503"}}) {
    FakeDaemon daemon(socket_,
                      [answer = text](int fd, const std::string&) { return FakeDaemon::send(fd, answer) && false; });
    const auto found = find();
    ASSERT_FALSE(found) << text;
    EXPECT_THAT(found.error().what, HasSubstr(why));
    EXPECT_EQ(found.error().what.find('\x1b'), std::string::npos);
  }
}

TEST_F(RuntimeApi, TimesOutWhenTheDaemonHangs) {
  std::atomic<FakeDaemon*> daemon = nullptr;
  FakeDaemon hanging(socket_, [&](int fd, const std::string&) { return daemon.load()->hang(fd); });
  daemon = &hanging;
  const auto found = find();
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().what, HasSubstr("timed out"));
  const RuntimeContainer container{.runtime = "docker", .id = kContainerId, .socket = socket_};
  EXPECT_FALSE(pause(container, milliseconds(50)));
}

TEST_F(RuntimeApi, ReportsTheErrorMessageOfTheDaemon) {
  FakeDaemon daemon(socket_, [](int fd, const std::string&) {
    return FakeDaemon::send(fd, FakeDaemon::http(400, R"({"message":"Minimum memory limit allowed is 6MB\n"})"));
  });
  const RuntimeContainer container{.runtime = "docker", .id = kContainerId, .socket = socket_};
  const auto updated = update_limits(container, memory_limits(Value::of(4 << 20), Value::absent()));
  ASSERT_FALSE(updated);
  EXPECT_EQ(updated.error().what, "docker: Minimum memory limit allowed is 6MB");
  EXPECT_EQ(daemon.posted("/update"), std::vector<std::string>{R"({"Memory":4194304})"});
}

}  // namespace
}  // namespace cgwarden::control
