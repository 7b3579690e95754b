// SPDX-License-Identifier: Apache-2.0
// Series of removed cgroups and OOM kills in removed cgroups, on the running kernel.
#include <gmock/gmock.h>
#include <sys/mman.h>

#include <cstring>
#include <ctime>
#include <optional>
#include <set>

#include "src/cgroup/kernel_log.h"
#include "tests/kernel/collected.h"

namespace cgwarden {
namespace {

using model::Value;
using testing_kernel::host;
using testing_kernel::read;
using testing_kernel::write;

class RemovedCollector : public testing_kernel::CollectedTest {
 protected:
  void open_with(collectors::CustomOptions custom) {
    auto opened = collectors::Collection::open(catalogue, {.custom = custom},
                                               [this](const std::string& line) { log_lines.push_back(line); });
    ASSERT_TRUE(opened) << opened.error().what;
    collection = std::move(*opened);
  }

  // Value of a removed test cgroup; nullopt if it is not exported.
  [[nodiscard]] std::optional<std::int64_t> removed_value(const std::string& field, const std::string& cgroup) const {
    for (const auto& one : series(field, model::kNoCgroup)) {
      if (one.labels.front() == path(cgroup)) return one.value;
    }
    return std::nullopt;
  }

  // Runs a process in `cgroup` that exceeds the memory limit; returns after the kernel has killed it.
  void run_out_of_memory(const std::string& cgroup) {
    constexpr std::size_t limit = 16 << 20;
    const auto v1 = dir("memory", cgroup) + "/memory.limit_in_bytes";
    if (::access(v1.c_str(), F_OK) == 0) {
      ASSERT_TRUE(write(v1, std::to_string(limit)));
      write(dir("memory", cgroup) + "/memory.memsw.limit_in_bytes", std::to_string(limit));
    } else {
      write(dir("v2") + "/cgroup.subtree_control", "+memory");
      write(dir("v2", std::filesystem::path(cgroup).parent_path()) + "/cgroup.subtree_control", "+memory");
      ASSERT_TRUE(write(dir("v2", cgroup) + "/memory.max", std::to_string(limit)));
      write(dir("v2", cgroup) + "/memory.swap.max", "0");
    }
    const pid_t pid = ::fork();
    if (pid == 0) {
      for (const auto& h : host().all)
        write(h.mount_point + path(cgroup) + "/cgroup.procs", std::to_string(::getpid()));
      void* at = ::mmap(nullptr, 4 * limit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      std::memset(at, 1, 4 * limit);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "the kernel did not kill the process";
  }

  [[nodiscard]] static std::int64_t host_kills() {
    const auto vmstat = read("/proc/vmstat");
    const auto at = vmstat.find("\noom_kill ");
    return at == std::string::npos ? -1 : std::stoll(vmstat.substr(at + 10));
  }
};

TEST_F(RemovedCollector, ExportsTheLastValuesOfARemovedCgroup) {
  make("/a");
  const auto pid = spawn("/a", [] {
    while (std::clock() < CLOCKS_PER_SEC / 5) {
    }
  });
  open();
  collect();
  const auto cpu = value("cpu_usage", "/a");
  ASSERT_TRUE(cpu.is_number());
  EXPECT_FALSE(removed_value("removed_time", "/a"));
  const auto before = base::wall_now();
  end(pid);
  remove("/a");
  collect();
  EXPECT_EQ(removed_value("removed_cpu_usage", "/a"), cpu.fixed());
  const auto at = base::Wall(std::chrono::duration_cast<base::Wall::duration>(
      std::chrono::nanoseconds(removed_value("removed_time", "/a").value_or(0))));
  EXPECT_GE(at, before);
  EXPECT_LE(at, base::wall_now());
  EXPECT_GE(removed_value("removed_lifetime", "/a").value_or(-1), 200'000'000);
  collect();
  EXPECT_EQ(removed_value("removed_cpu_usage", "/a"), cpu.fixed());  // still exported
}

TEST_F(RemovedCollector, ExportsACgroupThatNoSampleContained) {
  open();
  collect();
  make("/short");
  collection->take_events();  // as the sampler thread does immediately
  remove("/short");
  collect();
  EXPECT_TRUE(removed_value("removed_time", "/short"));
  EXPECT_FALSE(removed_value("removed_cpu_usage", "/short"));
}

TEST_F(RemovedCollector, DistinguishesInstancesWithTheSamePath) {
  make("/again");
  open();
  collect();
  remove("/again");
  make("/again");
  collect();
  EXPECT_TRUE(removed_value("removed_time", "/again"));
  EXPECT_NE(index_of(path("/again")), model::kNoCgroup);
  remove("/again");
  collect();
  std::set<std::string> ids;
  for (const auto& one : series("removed_time", model::kNoCgroup)) {
    if (one.labels[0] == path("/again")) ids.insert(one.labels[1]);
  }
  EXPECT_EQ(ids.size(), 2U);
}

TEST_F(RemovedCollector, DropsCgroupsBeyondTheMaximumAgeAndNumber) {
  open_with({.max_removed = 3, .removed_for = std::chrono::seconds(1)});
  for (int i = 0; i < 5; ++i) {
    make("/n" + std::to_string(i));
    collection->take_events();
    remove("/n" + std::to_string(i));
  }
  collect();
  EXPECT_FALSE(removed_value("removed_time", "/n1"));
  EXPECT_TRUE(removed_value("removed_time", "/n4"));
  EXPECT_LE(series("removed_time", model::kNoCgroup).size(), 3U);
  EXPECT_THAT(log_lines, testing::Contains(testing::HasSubstr("--collector.removed.max")));
  ::usleep(1'100'000);
  collect();
  EXPECT_FALSE(removed_value("removed_time", "/n4"));
}

TEST_F(RemovedCollector, KeepsOomKillsOfARemovedCgroupInItsAncestors) {
  if (dir("memory").empty()) GTEST_SKIP() << "no memory controller on this kernel";
  make("/p");
  make("/p/oom");
  open();
  collect();
  const auto kills = [this](const std::string& cgroup) {
    const auto own = value("memory_events_oom_kill", cgroup);
    const auto below = value("removed_descendants_oom_kill", cgroup);
    return own.fixed() + (below.is_number() ? below.fixed() : 0);
  };
  const auto on_the_host = host_kills();
  EXPECT_EQ(kills("/p"), 0);
  run_out_of_memory("/p/oom");
  collect();
  EXPECT_EQ(value("memory_events_oom_kill", "/p/oom"), Value::of(1));
  remove("/p/oom");
  collect();
  EXPECT_EQ(removed_value("removed_oom_kills", "/p/oom"), 1);
  EXPECT_EQ(kills("/p"), 1);
  EXPECT_EQ(kills(""), 1);
  collect();
  EXPECT_EQ(kills("/p"), 1);
  remove("/p");
  collect();
  EXPECT_EQ(kills(""), 1);
  if (on_the_host >= 0) {
    EXPECT_GE(snapshot->value(catalogue->find("host_oom_kill").value(), 0).fixed(), on_the_host + 1);
  }
}

TEST_F(RemovedCollector, CountsHostOomKillsOfACgroupRemovedBeforeTheNextSample) {
  if (dir("memory").empty() || host_kills() < 0) GTEST_SKIP() << "no memory controller on this kernel";
  make("/quick");
  open();
  collect();
  const auto before = snapshot->value(catalogue->find("host_oom_kill").value(), 0);
  ASSERT_TRUE(before.is_number());
  run_out_of_memory("/quick");
  remove("/quick");
  collect();
  EXPECT_GE(snapshot->value(catalogue->find("host_oom_kill").value(), 0).fixed(), before.fixed() + 1);
  EXPECT_EQ(errors("removed"), 0U);
}

TEST_F(RemovedCollector, TakesOomKillsAfterTheLastSampleFromTheKernelLog) {
  if (dir("memory").empty()) GTEST_SKIP() << "no memory controller on this kernel";
  cgroup::KernelLog log({});
  if (!log.is_readable()) GTEST_SKIP() << "/dev/kmsg cannot be read";
  const auto logged = [&] {
    int kills = 0;
    while (const auto record = log.next()) {
      if (const auto cgroup = cgroup::cgroup_of_oom_kill(*record)) kills += cgroup->starts_with(path("/p/")) ? 1 : 0;
    }
    return kills;
  };
  for (int tries = 0;; ++tries) {
    ASSERT_LT(tries, 10) << "kernel log messages are rate-limited";
    make("/p");
    make("/p/read");
    open();
    run_out_of_memory("/p/read");
    collect();
    ASSERT_EQ(value("memory_events_oom_kill", "/p/read"), Value::of(1));
    run_out_of_memory("/p/read");
    make("/p/never");
    collection->take_events();
    run_out_of_memory("/p/never");
    make("/p/unseen");
    run_out_of_memory("/p/unseen");
    for (const auto* cgroup : {"/p/read", "/p/never", "/p/unseen"}) remove(cgroup);
    make("/p/unseen");
    collect();
    if (logged() == 4) break;
    remove("/p");
    std::this_thread::sleep_for(std::chrono::seconds(6));  // the kernel logs ten kills per five seconds, shared by all
  }
  EXPECT_EQ(removed_value("removed_oom_kills", "/p/read"), 2);
  EXPECT_EQ(removed_value("removed_oom_kills", "/p/never"), 1);
  remove("/p/unseen");
  collect();
  if (host().v2() == nullptr || !host().v2()->has("memory")) {
    EXPECT_EQ(value("removed_descendants_oom_kill", "/p"), Value::of(4));
  }
}

}  // namespace
}  // namespace cgwarden
