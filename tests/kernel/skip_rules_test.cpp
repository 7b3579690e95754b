// SPDX-License-Identifier: Apache-2.0
// A file that is not read again must not have changed. For each rule of src/cgroup/skip_rules.cpp, a test causes the
// event in a cgroup that has been idle for several snapshots, and compares the next snapshot with the kernel's file.
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <array>
#include <cstring>

#include "tests/kernel/collected.h"

namespace cgwarden::testing_kernel {
namespace {

std::array<int, 2> done_pipe{-1, -1};
void (*work)() = nullptr;

void on_signal(int) {
  work();
  [[maybe_unused]] const auto n = ::write(done_pipe[1], "x", 1);
}

void burn_cpu() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto begin = used.ru_utime.tv_sec * 1'000'000 + used.ru_utime.tv_usec;
  while (used.ru_utime.tv_sec * 1'000'000 + used.ru_utime.tv_usec < begin + 60'000) ::getrusage(RUSAGE_SELF, &used);
}

void touch_memory() {
  constexpr std::size_t size = 24UL << 20U;
  void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return;
  std::memset(at, 1, size);
  ::munmap(at, size);
}

void fork_three_times() {
  for (int i = 0; i < 3; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    if (pid > 0) ::waitpid(pid, nullptr, 0);
  }
}

void fork_sleeper() {
  if (::fork() != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  while (true) ::pause();
}

void enter_namespace() { [[maybe_unused]] const auto done = ::unshare(CLONE_NEWUTS); }

void change_root() { [[maybe_unused]] const auto done = ::chroot("/var"); }

void write_synchronously() {
  const auto path = "/var/tmp/cgwarden-test-" + std::to_string(::getpid());
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_SYNC | O_CLOEXEC, 0600);
  const std::string block(64UL << 10U, 'x');
  for (int i = 0; i < 40 && fd >= 0; ++i) [[maybe_unused]] const auto n = ::write(fd, block.data(), block.size());
  ::close(fd);
  ::unlink(path.c_str());
}

class SkipRules : public CollectedTest {
 protected:
  void SetUp() override {
    CollectedTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    ASSERT_EQ(::pipe2(done_pipe.data(), O_CLOEXEC), 0);
  }
  void TearDown() override {
    for (auto& fd : done_pipe) {
      if (fd >= 0) ::close(std::exchange(fd, -1));
    }
    CollectedTest::TearDown();
  }

  // Starts a process that sleeps, and calls `task` on each wake().
  pid_t spawn_sleeper(const std::string& cgroup, void (*task)()) {
    return spawn(cgroup, [task] {
      work = task;
      struct sigaction action {};
      action.sa_handler = on_signal;
      ::sigaction(SIGUSR1, &action, nullptr);
    });
  }
  static void wake(pid_t pid) {
    ::kill(pid, SIGUSR1);
    char c = 0;
    EXPECT_EQ(::read(done_pipe[0], &c, 1), 1);
    ::usleep(20'000);  // until it sleeps again
  }

  // Takes snapshots until unchanged files are skipped.
  void settle() {
    for (int i = 0; i < 5; ++i) collect();
  }

  // Reads the number after `key` in a file of the cgroup.
  [[nodiscard]] std::int64_t kernel(const std::string& controller, const std::string& cgroup, const std::string& file,
                                    const std::string& key = "") const {
    std::istringstream text(read(dir(controller, cgroup) + "/" + file));
    std::string word;
    while (!key.empty() && text >> word && word != key) {
    }
    std::int64_t number = -1;
    text >> number;
    return number;
  }
  [[nodiscard]] std::uint64_t reads(const std::string& collector) const {
    return snapshot->collectors[catalogue->find_collector(collector).value()].reads;
  }
  [[nodiscard]] bool has(const std::string& controller, const std::string& file) const {
    return !dir(controller).empty() && ::access((dir(controller) + "/" + file).c_str(), F_OK) == 0;
  }
};

TEST_F(SkipRules, ReadIdleCgroupsLessOftenThanBusyOnes) {
  constexpr int count = 10;
  for (int i = 0; i < count; ++i) make("/g" + std::to_string(i));
  std::vector<pid_t> pids;
  for (int i = 0; i < count; ++i) pids.push_back(spawn_sleeper("/g" + std::to_string(i), burn_cpu));
  open({"cgroup", "cpu", "pressure", "pids", "freezer"});
  const auto total = [this] {
    std::uint64_t sum = 0;
    for (const auto* name : {"cgroup", "cpu", "pressure", "pids", "freezer"}) sum += reads(name);
    return sum;
  };
  const auto reads_of_one_sample = [&] {
    const auto before = total();
    collect();
    return total() - before;
  };
  settle();
  const auto idle = reads_of_one_sample();
  for (const auto pid : pids) wake(pid);
  const auto busy = reads_of_one_sample();
  EXPECT_GT(busy, idle + count * 2) << "reads after " << count << " cgroups ran";
}

TEST_F(SkipRules, ReadCpuacctStatAfterATaskRan) {
  if (!has("cpuacct", "cpuacct.stat")) GTEST_SKIP() << "no cpuacct.stat (v1 only)";
  make("/g");
  const auto pid = spawn_sleeper("/g", burn_cpu);
  open({"cpu"});
  settle();
  const auto before = value("cpu_user", "/g");
  wake(pid);
  collect();
  EXPECT_EQ(value("cpu_user", "/g").fixed(), kernel("cpuacct", "/g", "cpuacct.stat", "user") * 10'000'000);
  EXPECT_GT(value("cpu_user", "/g").fixed() + value("cpu_system", "/g").fixed(), before.fixed());
}

TEST_F(SkipRules, ReadCpuStatAfterAQuotaIsSet) {
  if (!has("cpu", "cpu.stat")) GTEST_SKIP() << "no cpu controller";
  make("/g");
  const auto pid = spawn_sleeper("/g", burn_cpu);
  open({"cpu"});
  settle();
  const bool v1 = ::access((dir("cpu", "/g") + "/cpu.cfs_quota_us").c_str(), F_OK) == 0;
  ASSERT_TRUE(v1 ? write(dir("cpu", "/g") + "/cpu.cfs_quota_us", "5000")
                 : write(dir("cpu", "/g") + "/cpu.max", "5000 100000"));
  wake(pid);
  collect();
  EXPECT_EQ(value("cpu_throttled_periods", "/g").fixed(), kernel("cpu", "/g", "cpu.stat", "nr_throttled"));
  EXPECT_GT(value("cpu_throttled_periods", "/g").fixed(), 0);
  ASSERT_TRUE(v1 ? write(dir("cpu", "/g") + "/cpu.cfs_quota_us", "-1") : write(dir("cpu", "/g") + "/cpu.max", "max"));
  settle();
  EXPECT_EQ(value("cpu_periods", "/g").fixed(), kernel("cpu", "/g", "cpu.stat", "nr_periods"));
}

TEST_F(SkipRules, ReadMemoryFailcntAfterALimitIsSet) {
  if (!has("memory", "memory.failcnt")) GTEST_SKIP() << "no memory.failcnt (v1 only)";
  make("/g");
  const auto pid = spawn_sleeper("/g", write_synchronously);  // page cache, which can be reclaimed
  open({"memory"});
  settle();
  ASSERT_TRUE(write(dir("memory", "/g") + "/memory.limit_in_bytes", std::to_string(1U << 20U)));
  wake(pid);
  collect();
  EXPECT_EQ(value("memory_failcnt", "/g").fixed(), kernel("memory", "/g", "memory.failcnt"));
  EXPECT_GT(value("memory_failcnt", "/g").fixed(), 0);
}

TEST_F(SkipRules, ReadOomKillsAfterALimitOfTheParentIsSet) {
  const bool v1 = has("memory", "memory.oom_control");
  if (!v1 && !has("memory", "memory.events")) GTEST_SKIP() << "no memory controller";
  make("/parent");
  make("/parent/g");
  const auto pid = spawn_sleeper("/parent/g", touch_memory);
  open({"memory"});
  settle();
  EXPECT_EQ(value("memory_events_oom_kill", "/parent/g"), model::Value::of(0));
  ASSERT_TRUE(
      write(dir("memory", "/parent") + (v1 ? "/memory.limit_in_bytes" : "/memory.max"), std::to_string(8U << 20U)));
  if (!v1) write(dir("memory", "/parent") + "/memory.swap.max", "0");
  ::kill(pid, SIGUSR1);
  ::waitpid(pid, nullptr, 0);
  collect();
  EXPECT_EQ(value("memory_events_oom_kill", "/parent/g").fixed(),
            kernel("memory", "/parent/g", v1 ? "memory.oom_control" : "memory.events", "oom_kill"));
  EXPECT_EQ(value("memory_events_oom_kill", "/parent/g"), model::Value::of(1));
}

TEST_F(SkipRules, ReadPidsEventsAfterALimitOfTheParentIsSet) {
  if (!has("pids", "pids.events")) GTEST_SKIP() << "no pids.events";
  make("/parent");
  make("/parent/g");
  const auto pid = spawn_sleeper("/parent/g", fork_three_times);
  open({"pids"});
  settle();
  ASSERT_TRUE(write(dir("pids", "/parent") + "/pids.max", "1"));
  wake(pid);
  collect();
  for (const auto* cgroup : {"/parent", "/parent/g"}) {
    EXPECT_EQ(value("pids_events_max", cgroup).fixed(), kernel("pids", cgroup, "pids.events", "max")) << cgroup;
  }
  EXPECT_GT(value("pids_events_max", "/parent").fixed() + value("pids_events_max", "/parent/g").fixed(), 0);
}

TEST_F(SkipRules, ReadFreezerStateAfterAFreezeOfTheParent) {
  if (!has("freezer", "freezer.state")) GTEST_SKIP() << "no v1 freezer";
  make("/parent");
  make("/parent/g");
  spawn_sleeper("/parent/g", burn_cpu);
  open({"freezer"});
  settle();
  for (const auto* state : {"FROZEN", "THAWED", "FROZEN", "THAWED"}) {
    ASSERT_TRUE(write(dir("freezer", "/parent") + "/freezer.state", state));
    ::usleep(50'000);
    collect();
    const auto reported = series("freezer_state", "/parent/g");
    ASSERT_EQ(reported.size(), 1U);
    EXPECT_EQ(reported.front().labels.front() + "\n", read(dir("freezer", "/parent/g") + "/freezer.state"));
  }
}

TEST_F(SkipRules, ReadCgroupStatAfterChildrenAreCreatedOrRemoved) {
  if (!has("v2", "cgroup.stat")) GTEST_SKIP() << "no v2 hierarchy";
  make("/g");
  open({"cgroup"});
  settle();
  const auto checked_descendants = [this] {
    collect();
    EXPECT_EQ(value("descendants", "/g").fixed(), kernel("v2", "/g", "cgroup.stat", "nr_descendants"));
    return value("descendants", "/g").fixed();
  };
  EXPECT_EQ(checked_descendants(), 0);
  make("/g/child");
  make("/g/child/grandchild");
  EXPECT_EQ(checked_descendants(), 2);
  remove("/g/child");
  EXPECT_EQ(checked_descendants(), 0);
  // Created and removed between two snapshots: the kernel releases a dying cgroup later.
  settle();
  make("/g/short-lived");
  remove("/g/short-lived");
  collect();
  for (int tries = 0; tries < 200 && kernel("v2", "/g", "cgroup.stat", "nr_dying_descendants") != 0; ++tries) {
    ::usleep(10'000);
  }
  collect();
  EXPECT_EQ(value("dying_descendants", "/g").fixed(), kernel("v2", "/g", "cgroup.stat", "nr_dying_descendants"));
}

TEST_F(SkipRules, ReadCgroupEventsAndProcessesAfterAMigration) {
  if (!has("v2", "cgroup.events")) GTEST_SKIP() << "no v2 hierarchy";
  make("/from");
  make("/to");
  const auto pid = spawn_sleeper("/from", burn_cpu);
  open({"cgroup", "namespaces", "processes"});
  settle();
  EXPECT_EQ(value("populated", "/from"), model::Value::of(1));
  EXPECT_EQ(value("processes", "/from"), model::Value::of(1));
  EXPECT_EQ(value("processes", "/to"), model::Value::of(0));
  for (const auto& h : host().all) {
    ASSERT_TRUE(write(h.mount_point + path("/to") + "/cgroup.procs", std::to_string(pid)));
  }
  for (int tries = 0; tries < 200 && kernel("v2", "/from", "cgroup.events", "populated") != 0; ++tries) {
    ::usleep(10'000);
  }
  collect();
  EXPECT_EQ(value("populated", "/from"), model::Value::of(0));
  EXPECT_EQ(value("populated", "/to"), model::Value::of(1));
  EXPECT_EQ(value("processes", "/from"), model::Value::of(0));
  EXPECT_EQ(value("processes", "/to"), model::Value::of(1));
}

TEST_F(SkipRules, ReadCgroupEventsAndProcessesAfterAForkOrExit) {
  if (!has("v2", "cgroup.events")) GTEST_SKIP() << "no v2 hierarchy";
  make("/g");
  const auto pid = spawn_sleeper("/g", fork_sleeper);
  open({"cgroup", "namespaces", "processes"});
  settle();
  wake(pid);
  collect();
  EXPECT_EQ(value("processes", "/g"), model::Value::of(2));
  settle();
  EXPECT_EQ(value("processes", "/g"), model::Value::of(2));
  end(pid);  // and its child (PR_SET_PDEATHSIG)
  for (int tries = 0; tries < 200 && kernel("v2", "/g", "cgroup.events", "populated") != 0; ++tries) ::usleep(10'000);
  collect();
  EXPECT_EQ(value("processes", "/g"), model::Value::of(0));
  EXPECT_EQ(value("populated", "/g"), model::Value::of(0));
  settle();
  EXPECT_EQ(value("populated", "/g"), model::Value::of(0));
}

TEST_F(SkipRules, ReadIoPressureAfterATaskWaitedForADisk) {
  if (!has("v2", "io.pressure") || read(dir("v2") + "/io.pressure").empty()) GTEST_SKIP() << "no io.pressure";
  make("/g");
  const auto pid = spawn_sleeper("/g", write_synchronously);
  open({"pressure"});
  settle();
  EXPECT_EQ(value("pressure_io_some", "/g"), model::Value::of(0));
  wake(pid);
  ::usleep(50'000);
  collect();
  auto text = read(dir("v2", "/g") + "/io.pressure");
  const auto at = text.find("total=");
  ASSERT_NE(at, std::string::npos);
  EXPECT_EQ(value("pressure_io_some", "/g").fixed(), std::atoll(text.c_str() + at + 6) * 1000);
  EXPECT_GT(value("pressure_io_some", "/g").fixed(), 0) << "synchronous writes did not wait for the disk";
}

TEST_F(SkipRules, SkipNamespacesOfIdleCgroups) {
  if (!has("v2", "cgroup.events")) GTEST_SKIP() << "no v2 hierarchy";
  constexpr int count = 20;
  std::vector<pid_t> pids;
  for (int i = 0; i < count; ++i) {
    make("/g" + std::to_string(i));
    pids.push_back(spawn_sleeper("/g" + std::to_string(i), enter_namespace));
  }
  open({"cgroup", "namespaces"});
  settle();
  const auto reads_of_one_sample = [this] {
    const auto before = reads("namespaces");
    collect();
    return reads("namespaces") - before;
  };
  const auto idle = reads_of_one_sample();
  for (const auto pid : pids) wake(pid);
  const auto busy = reads_of_one_sample();
  EXPECT_GE(busy, idle + count + count / 2) << "the list and one process of each cgroup that ran";
}

TEST_F(SkipRules, ReadNamespacesAfterAProcessEntersOne) {
  make("/g");
  const auto pid = spawn_sleeper("/g", enter_namespace);
  open({"cgroup", "namespaces"});
  settle();
  const auto shown = [this] {
    std::string out;
    for (const auto& one : series("namespace", "/g"))
      out += one.labels[0] == "uts" ? "uts:[" + one.labels[1] + "]" : "";
    return out;
  };
  const auto link = [pid] {
    return std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/ns/uts").string();
  };
  const auto before = shown();
  EXPECT_EQ(before, link());
  wake(pid);
  collect();
  EXPECT_EQ(shown(), link());
  EXPECT_NE(shown(), before);
}

// Two processes share a root directory (CLONE_FS); only the process of the other cgroup runs.
TEST_F(SkipRules, ReadTheRootThatAProcessOfAnotherCgroupChanges) {
  make("/runs");
  make("/sleeps");
  const auto runs = spawn("/runs", [] {
    work = change_root;
    struct sigaction action {};
    action.sa_handler = on_signal;
    ::sigaction(SIGUSR1, &action, nullptr);
    if (::syscall(SYS_clone, CLONE_FS | SIGCHLD, 0, 0, 0, 0) != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (true) ::pause();
  });
  std::istringstream listed(read(host().all.front().mount_point + path("/runs") + "/cgroup.procs"));
  pid_t sleeps = 0;
  while (listed >> sleeps && sleeps == runs) {
  }
  for (const auto& h : host().all) {
    ASSERT_TRUE(write(h.mount_point + path("/sleeps") + "/cgroup.procs", std::to_string(sleeps)));
  }
  open({"cgroup", "namespaces"});
  settle();
  EXPECT_EQ(value("chroot_processes", "/sleeps"), model::Value::of(0));
  wake(runs);
  collect();
  EXPECT_EQ(value("chroot_processes", "/runs"), model::Value::of(1));
  EXPECT_EQ(value("chroot_processes", "/sleeps"), model::Value::of(1));
}

}  // namespace
}  // namespace cgwarden::testing_kernel
