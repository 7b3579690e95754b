// SPDX-License-Identifier: Apache-2.0
// Namespace membership on the kernel of this machine: new namespaces of each kind, shared namespaces, chroots, reused
// PIDs, and processes that cannot be read. Compared with readlink on /proc/PID/ns.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "src/cgroup/processes.h"
#include "tests/kernel/collected.h"
#include "tests/temp_dir.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace cgwarden {
namespace {

using model::Value;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing_kernel::host;
using testing_kernel::read;
using testing_kernel::write;

std::string link_of(pid_t pid, const std::string& kind) {
  std::error_code error;
  const auto link = std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/ns/" + kind, error).string();
  return error ? "" : link.substr(kind.size() + 2, link.size() - kind.size() - 3);
}

class NamespacesCollector : public testing_kernel::CollectedTest {
 protected:
  // Returns the numbers of the cgroup's namespaces of one kind.
  [[nodiscard]] std::vector<std::string> numbers(const std::string& cgroup, const std::string& kind) const {
    std::vector<std::string> out;
    for (const auto& one : series("namespace", cgroup)) {
      if (one.labels[0] == kind) out.push_back(one.labels[1]);
    }
    return out;
  }

  // Returns the value of the series without a cgroup for that namespace, or -1.
  [[nodiscard]] std::int64_t of_namespace(const std::string& field, const std::string& number) const {
    for (const auto& one : series(field, model::kNoCgroup)) {
      if (one.labels[1] == number) return one.value;
    }
    return -1;
  }

  [[nodiscard]] std::string procs_file(const std::string& cgroup) const {
    return host().all.front().mount_point + path(cgroup) + "/cgroup.procs";
  }

  // Mounts, in a new mount namespace, a /proc that hides the processes of other users.
  static bool mount_hiding_proc() {
    return ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           ::mount("proc", "/proc", "proc", 0, "hidepid=invisible") == 0;
  }

  // Drops all privileges but the given capabilities, as a service with User= and AmbientCapabilities= has.
  static bool become_nobody_with(std::initializer_list<unsigned> capabilities) {
    if (::prctl(PR_SET_KEEPCAPS, 1) != 0 || ::setgid(65534) != 0 || ::setuid(65534) != 0) return false;
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, 2> sets{};
    for (const auto one : capabilities) sets[0].effective |= 1U << one;
    sets[0].permitted = sets[0].effective;
    return ::syscall(SYS_capset, &header, sets.data()) == 0;
  }

  // Runs `body` in a child process, which exits with its result. Returns the exit status.
  static int in_child(const std::function<int()>& body) {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(body());
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
};

struct NamespaceKind {
  const char* name;
  int flag;
  bool of_children;  // unshare() affects only child processes created later
};

class NamespacesCollectorKinds : public NamespacesCollector, public testing::WithParamInterface<NamespaceKind> {};

TEST_P(NamespacesCollectorKinds, ReportsANewNamespaceOfTheCgroup) {
  const auto [kind, flag, of_children] = GetParam();
  if (link_of(::getpid(), kind).empty()) GTEST_SKIP() << "this kernel has no such namespaces";
  make("/own");
  make("/other");
  spawn("/other", [] {});
  const auto pid = spawn("/own", [flag = flag, of_children = of_children] {
    if (::unshare(flag) != 0) ::_exit(1);
    if (of_children && ::fork() == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      while (true) ::pause();
    }
  });
  auto member = pid;
  if (of_children) {
    std::istringstream pids(read(procs_file("/own")));
    while (pids >> member && member == pid) {
    }
  }
  const auto expected = link_of(member, kind);
  ASSERT_FALSE(expected.empty());
  ASSERT_NE(expected, link_of(::getpid(), kind));
  open({"namespaces"});
  collect();
  EXPECT_THAT(numbers("/own", kind), Contains(expected));
  EXPECT_THAT(numbers("/other", kind), ElementsAre(link_of(::getpid(), kind)));
  for (const auto& one : series("namespace", "/own")) {
    if (one.labels[1] == expected) {
      EXPECT_THAT(one.labels[2], testing::AnyOf("false", "unknown"));
    }
  }
  EXPECT_EQ(of_namespace("namespace_cgroups", expected), 1);
  EXPECT_EQ(of_namespace("namespace_processes", expected), 1);
  EXPECT_EQ(value("namespace_unknown_processes", "/own"), Value::of(0));
  EXPECT_EQ(errors("namespaces"), 0U);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, NamespacesCollectorKinds,
    testing::Values(NamespaceKind{"mnt", CLONE_NEWNS, false}, NamespaceKind{"uts", CLONE_NEWUTS, false},
                    NamespaceKind{"ipc", CLONE_NEWIPC, false}, NamespaceKind{"net", CLONE_NEWNET, false},
                    NamespaceKind{"user", CLONE_NEWUSER, false}, NamespaceKind{"cgroup", CLONE_NEWCGROUP, false},
                    NamespaceKind{"pid", CLONE_NEWPID, true}, NamespaceKind{"time", CLONE_NEWTIME, true}),
    [](const auto& kind) { return std::string(kind.param.name); });

TEST_F(NamespacesCollector, MarksNamespacesOfTheHost) {
  const auto hosts = link_of(1, "net").empty() ? link_of(2, "net") : link_of(1, "net");
  if (hosts.empty()) GTEST_SKIP() << "neither /proc/1/ns nor /proc/2/ns may be read";
  make("/host");
  const auto pid = spawn("/host", [] {});
  open({"namespaces"});
  collect();
  const auto marked = [&](const std::string& mark) {
    std::size_t kinds = 0;
    for (const auto& one : series("namespace", "/host")) kinds += one.labels[2] == mark ? 1 : 0;
    return kinds;
  };
  EXPECT_EQ(series("namespace", "/host").size(), 8U);
  EXPECT_THAT(numbers("/host", "net"), ElementsAre(link_of(pid, "net")));
  EXPECT_EQ(marked("true") + marked("false"), 8U);
  EXPECT_EQ(marked("true") == 8U, link_of(pid, "net") == hosts && link_of(pid, "mnt") == link_of(2, "mnt"));
  EXPECT_EQ(value("chroot_processes", "/host"), Value::of(0));
}

TEST_F(NamespacesCollector, CountsBothCgroupsOfASharedNamespace) {
  make("/first");
  make("/second");
  const auto owner = spawn("/first", [] {
    if (::unshare(CLONE_NEWNET) != 0) ::_exit(1);
  });
  spawn("/second", [owner] {
    const int ns = ::open(("/proc/" + std::to_string(owner) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC);
    if (::setns(ns, CLONE_NEWNET) != 0) ::_exit(1);
  });
  open({"namespaces"});
  collect();
  const auto number = link_of(owner, "net");
  EXPECT_THAT(numbers("/first", "net"), ElementsAre(number));
  EXPECT_THAT(numbers("/second", "net"), ElementsAre(number));
  EXPECT_EQ(of_namespace("namespace_cgroups", number), 2);
  EXPECT_EQ(of_namespace("namespace_processes", number), 2);
  for (const auto& one : series("namespace_first_cgroup", model::kNoCgroup)) {
    if (one.labels[1] == number) {
      EXPECT_EQ(one.labels[3], path("/first"));
    }
  }
}

TEST_F(NamespacesCollector, NoticesThatAKnownProcessEntersANamespace) {
  make("/late");
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  const auto pid = spawn("/late", [&] {
    if (::fork() != 0) return;  // the parent reports that it is ready; the child waits for a byte
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    char c = 0;
    if (::read(go[0], &c, 1) == 1) [[maybe_unused]]
      const int done = ::unshare(CLONE_NEWUTS);
    while (true) ::pause();
  });
  open({"namespaces"});
  collect();
  EXPECT_THAT(numbers("/late", "uts"), ElementsAre(link_of(pid, "uts")));
  ASSERT_EQ(::write(go[1], "x", 1), 1);
  for (int tries = 0; tries < 100 && numbers("/late", "uts").size() < 2; ++tries) {
    ::usleep(10'000);
    collect();
  }
  EXPECT_EQ(numbers("/late", "uts").size(), 2U);
  ::close(go[0]);
  ::close(go[1]);
}

TEST_F(NamespacesCollector, ReportsTheRootDirectoryOfAChrootedProcess) {
  make("/chroot");
  const testing_files::TempDir folder;
  const auto& root = folder.path();
  spawn("/chroot", [&] {
    if (::chroot(root.c_str()) != 0) ::_exit(1);
  });
  spawn("/chroot", [] {});
  open({"namespaces"});
  collect();
  EXPECT_EQ(value("chroot_processes", "/chroot"), Value::of(1));
  const auto roots = series("chroot", "/chroot");
  ASSERT_EQ(roots.size(), 1U);
  EXPECT_THAT(roots.front().labels, ElementsAre(root));
}

TEST_F(NamespacesCollector, ReportsNothingForACgroupWithoutProcesses) {
  make("/empty");
  open({"namespaces"});
  collect();
  EXPECT_TRUE(series("namespace", "/empty").empty());
  EXPECT_TRUE(value("namespace_unknown_processes", "/empty").is_absent());
}

TEST_F(NamespacesCollector, AttributesThreadsOfAThreadedCgroupToTheirProcess) {
  const auto v2 = dir("v2");
  if (v2.empty()) GTEST_SKIP() << "no v2 hierarchy on this kernel";
  make("/domain");
  make("/domain/threads");
  const auto pid = spawn("/domain", [] {
    if (::unshare(CLONE_NEWUTS) != 0) ::_exit(1);
  });
  ASSERT_TRUE(write(v2 + "/domain/threads/cgroup.type", "threaded"));
  ASSERT_TRUE(write(v2 + "/domain/threads/cgroup.threads", std::to_string(pid)));
  open({"namespaces"});
  collect();
  EXPECT_THAT(numbers("/domain/threads", "uts"), ElementsAre(link_of(pid, "uts")));
  EXPECT_EQ(of_namespace("namespace_processes", link_of(pid, "uts")), 1);
  EXPECT_EQ(errors("namespaces"), 0U);
}

// Forks a process with that PID (clone3() with set_tid). Returns -1 if the kernel does not permit it.
pid_t fork_with_pid(pid_t wanted) {
  clone_args args{};
  args.exit_signal = SIGCHLD;
  args.set_tid = reinterpret_cast<std::uint64_t>(&wanted);
  args.set_tid_size = 1;
  return static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
}

TEST_F(NamespacesCollector, ReadsAgainAfterAPidWasReused) {
  make("/reuse");
  const auto pid = spawn("/reuse", [] {});
  open({"namespaces"});
  collect();
  const auto before = link_of(pid, "uts");
  EXPECT_THAT(numbers("/reuse", "uts"), ElementsAre(before));
  end(pid);
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const auto again = fork_with_pid(pid);
  if (again == 0) {
    for (const auto& h : host().all) write(h.mount_point + path("/reuse") + "/cgroup.procs", std::to_string(pid));
    if (::unshare(CLONE_NEWUTS) != 0) ::_exit(1);
    [[maybe_unused]] const auto n = ::write(ready[1], "x", 1);
    while (true) ::pause();
  }
  if (again < 0) GTEST_SKIP() << "cannot choose a PID: " << std::strerror(errno);
  ASSERT_EQ(again, pid);
  char c = 0;
  ASSERT_EQ(::read(ready[0], &c, 1), 1);
  const auto after = link_of(pid, "uts");
  collect();
  EXPECT_NE(after, before);
  EXPECT_THAT(numbers("/reuse", "uts"), ElementsAre(after));
  end(pid);
}

TEST_F(NamespacesCollector, IgnoresAPidThatWasReusedAfterItsCgroupWasListed) {
  make("/listed");
  const auto pid = spawn("/listed", [] {});
  cgroup::Tree tree(host().all, {}, [](const std::string&) {});
  cgroup::ProcessTable table(host(), {}, {}, [](const std::string&) {});
  model::CollectorStats stats;
  cgroup::Node* node = nullptr;
  for (auto* each : tree.nodes()) node = each->cgroup->path == path("/listed") ? each : node;
  ASSERT_NE(node, nullptr);
  table.begin_sample();
  ASSERT_THAT(table.list(tree, *node, 0, stats).pids, ElementsAre(pid));
  end(pid);
  const auto again = fork_with_pid(pid);
  if (again == 0) {
    while (true) ::pause();
  }
  if (again < 0) GTEST_SKIP() << "cannot choose a PID: " << std::strerror(errno);
  const auto& found = table.inspect(tree, *node, 0, stats);
  EXPECT_TRUE(found.known.empty());
  EXPECT_EQ(found.unknown, 0U);
  end(again);
}

TEST_F(NamespacesCollector, ReportsProcessesAsUnknownWithoutPermission) {
  make("/closed");
  spawn("/closed", [] {});
  spawn("/closed", [] {});
  const auto status = in_child([this] {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) return 1;
    open({"namespaces"});
    collect();
    if (value("namespace_unknown_processes", "/closed") != Value::of(2)) return 2;
    if (!series("namespace", "/closed").empty()) return 3;
    if (!value("chroot_processes", "/closed").is_absent()) return 4;
    if (errors("namespaces") != 0) return 5;
    return 0;
  });
  EXPECT_EQ(status, 0);
}

TEST_F(NamespacesCollector, ReportsProcessesAsUnknownWhereProcHidesThem) {
  make("/hidden");
  spawn("/hidden", [] {});
  spawn("/hidden", [] {});
  const auto status = in_child([this] {
    if (!mount_hiding_proc()) return 77;
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) return 1;
    open({"namespaces", "process_states", "process_files"});
    collect();
    if (value("namespace_unknown_processes", "/hidden") != Value::of(2)) return 2;
    if (!series("namespace", "/hidden").empty()) return 3;
    if (!value("threads", "/hidden").is_absent()) return 4;
    if (!value("open_files", "/hidden").is_absent()) return 5;
    return log_lines.empty() ? 6 : 0;
  });
  if (status == 77) GTEST_SKIP() << "cannot mount a /proc that hides processes";
  EXPECT_EQ(status, 0);
}

TEST_F(NamespacesCollector, ReadsHiddenProcessesWithCapSysPtrace) {
  make("/shown");
  spawn("/shown", [] {});
  const auto status = in_child([this] {
    if (!mount_hiding_proc()) return 77;
    if (!become_nobody_with({CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE})) return 1;
    for (const bool by_pidfd : {true, false}) {
      open({"namespaces"}, {.by_pidfd = by_pidfd});
      collect();
      if (value("namespace_unknown_processes", "/shown") != Value::of(0)) return 2;
      if (numbers("/shown", "mnt").size() != 1) return 3;
      if (value("chroot_processes", "/shown") != Value::of(0)) return 4;
    }
    return 0;
  });
  if (status == 77) GTEST_SKIP() << "cannot mount a /proc that hides processes";
  EXPECT_EQ(status, 0);
}

TEST_F(NamespacesCollector, ReportsNothingFromAnotherPidNamespace) {
  make("/outside");
  spawn("/outside", [] {});
  const auto status = in_child([this] {
    if (::unshare(CLONE_NEWPID) != 0) return 1;
    return in_child([this] {
      open({"namespaces"});
      collect();
      if (!series("namespace", "/outside").empty()) return 2;
      if (!value("namespace_unknown_processes", "/outside").is_absent()) return 3;
      return log_lines.empty() ? 4 : 0;
    });
  });
  EXPECT_EQ(status, 0);
}

TEST_F(NamespacesCollector, CountsProcessesBeyondTheLimitsAsUnknown) {
  make("/many");
  for (int i = 0; i < 5; ++i) spawn("/many", [] {});
  cgroup::Tree tree(host().all, {}, [](const std::string&) {});
  model::CollectorStats stats;
  cgroup::Node* node = nullptr;
  for (auto* each : tree.nodes()) node = each->cgroup->path == path("/many") ? each : node;
  ASSERT_NE(node, nullptr);
  for (const auto& options : {cgroup::ProcessTable::Options{.max_per_cgroup = 2}, {.max_known = 2}, {.max_new = 2}}) {
    std::vector<std::string> lines;
    cgroup::ProcessTable table(host(), {}, options, [&](const std::string& line) { lines.push_back(line); });
    table.begin_sample();
    const auto& found = table.inspect(tree, *node, 0, stats);
    EXPECT_EQ(found.count(), 5U);
    EXPECT_EQ(found.known.size(), 2U);
    EXPECT_EQ(found.unknown, 3U);
  }
}

}  // namespace
}  // namespace cgwarden
