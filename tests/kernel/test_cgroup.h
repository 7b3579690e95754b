// SPDX-License-Identifier: Apache-2.0
// Cgroups for tests in the real hierarchies of this machine. They are created under one directory per hierarchy, and
// removed at the end of the test. A guard process removes them if the test process is killed (by a sanitizer, a
// timeout). Processes are killed by PID only.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "src/base/fd.h"
#include "src/cgroup/hierarchy.h"

namespace cgwarden::testing_kernel {

inline cgroup::HostHierarchies& mutable_host() {
  static auto found = cgroup::find_hierarchies({});
  return *found;
}
inline const cgroup::HostHierarchies& host() { return mutable_host(); }
// To be called after a hierarchy was mounted or unmounted.
inline void refresh_host() { mutable_host() = *cgroup::find_hierarchies({}); }

inline std::string read(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline bool write(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  return static_cast<bool>(file);
}

// Returns why tests that create cgroups cannot run here, or an empty string if they can.
inline std::string skip_reason() {
  if (::geteuid() != 0) return "cannot create cgroups: not root";
  if (!cgroup::find_hierarchies({})) return "no cgroup file system is mounted";
  const auto probe = host().all.front().mount_point + "/cgwarden-test-probe-" + std::to_string(::getpid());
  if (::mkdir(probe.c_str(), 0755) != 0) return "cannot create cgroups in " + host().all.front().mount_point;
  ::rmdir(probe.c_str());
  return {};
}

class CgroupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = skip_reason(); !why.empty()) GTEST_SKIP() << why;
    top_ = "/cgwarden-test-" + std::to_string(::getpid());
    ASSERT_NO_FATAL_FAILURE(start_guard());
    make("");
  }

  void TearDown() override {
    for (const auto pid : children_) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    if (top_.empty()) return;
    for (const auto& h : host().all) remove_tree(h.mount_point + top_);
    EXPECT_EQ(::send(guard_.get(), "x", 1, MSG_NOSIGNAL), 1);
    char c = 0;
    EXPECT_EQ(::read(guard_.get(), &c, 1), 0);  // it has exited and cannot remove the cgroups of the next test
  }

  // Returns the directory of `cgroup` (relative to the test's own) in the hierarchy of `controller`; "v2": the v2
  // hierarchy.
  [[nodiscard]] std::string dir(const std::string& controller, const std::string& cgroup = "") const {
    for (const auto& h : host().all) {
      if (controller == "v2" ? h.version == 2 : h.version == 1 && h.has(controller))
        return h.mount_point + top_ + cgroup;
    }
    const auto* v2 = host().v2();
    return v2 != nullptr && v2->has(controller) ? v2->mount_point + top_ + cgroup : "";
  }

  [[nodiscard]] std::string path(const std::string& cgroup = "") const { return top_ + cgroup; }

  // Creates `cgroup` in every hierarchy. If v2 has the memory controller, all controllers of v2 are enabled for it.
  void make(const std::string& cgroup) const {
    for (const auto& h : host().all) {
      const auto path = h.mount_point + top_ + cgroup;
      for (const auto& controller : h.controllers) {
        if (h.version == 2 && h.has("memory"))
          write(path.substr(0, path.rfind('/')) + "/cgroup.subtree_control", "+" + controller);
      }
      ASSERT_EQ(::mkdir(path.c_str(), 0755), 0) << path << ": " << std::strerror(errno);
      if (h.has("cpuset") && h.version == 1) {
        write(path + "/cpuset.cpus", read(h.mount_point + "/cpuset.cpus"));
        write(path + "/cpuset.mems", read(h.mount_point + "/cpuset.mems"));
      }
    }
  }
  void remove(const std::string& cgroup) const {
    for (const auto& h : host().all) remove_tree(h.mount_point + top_ + cgroup);
  }

  // Starts a child process in `cgroup` of every hierarchy. It runs `body` and then waits until it is killed.
  pid_t spawn(const std::string& cgroup, const std::function<void()>& body) {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      bool joined = false;
      for (const auto& h : host().all) {
        const auto directory = h.mount_point + top_ + cgroup;
        if (::access(directory.c_str(), F_OK) != 0) continue;
        joined = write(directory + "/cgroup.procs", std::to_string(::getpid()));
        if (!joined) break;
      }
      if (!joined) ::_exit(1);  // `body` must not run in a cgroup of the machine
      body();
      [[maybe_unused]] const auto n = ::write(ready[1], "x", 1);
      while (true) ::pause();
    }
    children_.push_back(pid);
    ::close(ready[1]);
    char c = 0;
    EXPECT_EQ(::read(ready[0], &c, 1), 1);
    ::close(ready[0]);
    return pid;
  }

  void end(pid_t pid) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    std::erase(children_, pid);
  }

 private:
  // Starts a process that kills the remaining processes and removes the remaining cgroups after the test process has
  // exited for any reason (pidfd). It is in another process group and no descendant of the test process, because ctest
  // kills both after a timeout.
  void start_guard() {
    const base::Fd test_process(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
    ASSERT_TRUE(test_process) << "pidfd_open: " << std::strerror(errno);
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    base::Fd control(ends[0]);
    guard_ = base::Fd(ends[1]);
    const pid_t between = ::fork();
    ASSERT_GE(between, 0);
    if (between != 0) {
      ::waitpid(between, nullptr, 0);
      return;
    }
    if (::fork() != 0) ::_exit(0);
    ::setsid();
    guard_.reset();
    for (int fd = 0; fd <= 2; ++fd) ::close(fd);  // nothing may wait for the guard to close them
    pollfd events[] = {{test_process.get(), POLLIN, 0}, {control.get(), POLLIN, 0}};
    while (::poll(events, 2, -1) < 0 && errno == EINTR) continue;
    char c = 0;
    (void)::recv(control.get(), &c, 1, MSG_DONTWAIT);  // unread data would make the peer's read fail with ECONNRESET
    for (const auto& h : host().all) {
      kill_all(h.mount_point + top_);
      remove_tree(h.mount_point + top_);
    }
    ::_exit(0);
  }

  static void kill_all(const std::string& path) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
      if (entry.is_directory(error)) kill_all(entry.path());
    }
    std::ifstream processes(path + "/cgroup.procs");
    for (pid_t pid = 0; processes >> pid;) {
      if (pid > 1) ::kill(pid, SIGKILL);
    }
  }

  static void remove_tree(const std::string& path) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
      if (entry.is_directory(error)) remove_tree(entry.path());
    }
    // A killed process leaves its cgroup with a delay.
    for (int tries = 0; tries < 200 && ::rmdir(path.c_str()) != 0 && errno == EBUSY; ++tries) ::usleep(10'000);
  }

  std::string top_;
  base::Fd guard_;  // a byte written to it makes the guard clean up and exit, which ends the stream
  std::vector<pid_t> children_;
};

}  // namespace cgwarden::testing_kernel
