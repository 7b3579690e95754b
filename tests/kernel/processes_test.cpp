// SPDX-License-Identifier: Apache-2.0
// Processes, threads, states, files and sockets of cgroups, with processes that the test starts.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <map>

#include "tests/kernel/collected.h"

namespace cgwarden {
namespace {

using model::Value;

class ProcessesCollector : public testing_kernel::CollectedTest {
 protected:
  [[nodiscard]] std::map<std::string, std::int64_t> states(const std::string& cgroup) const {
    std::map<std::string, std::int64_t> out;
    for (const auto& one : series("process_states", cgroup)) out[one.labels.front()] = one.value;
    return out;
  }
};

TEST_F(ProcessesCollector, CountsProcessesWithoutDescendantCgroups) {
  make("/a");
  make("/a/b");
  make("/empty");
  spawn("/a", [] {});
  spawn("/a/b", [] {});
  spawn("/a/b", [] {});
  open({"processes"});
  collect();
  EXPECT_EQ(value("processes", "/a"), Value::of(1));
  EXPECT_EQ(value("processes", "/a/b"), Value::of(2));
  EXPECT_EQ(value("processes", "/empty"), Value::of(0));
}

TEST_F(ProcessesCollector, CountsStatesAndThreads) {
  make("/s");
  spawn("/s", [] { std::thread([] { ::pause(); }).detach(); });
  const auto stopped = spawn("/s", [] {});
  spawn("/s", [] {
    if (::fork() != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (true) {
    }
  });
  ASSERT_EQ(::kill(stopped, SIGSTOP), 0);
  ASSERT_EQ(::waitpid(stopped, nullptr, WUNTRACED), stopped);
  open({"process_states"});
  collect();
  for (int tries = 0; tries < 100 && states("/s")["sleeping"] != 2; ++tries) {  // until the started processes sleep
    ::usleep(10'000);
    collect();
  }
  EXPECT_EQ(states("/s")["sleeping"], 2);
  EXPECT_EQ(states("/s")["stopped"], 1);
  EXPECT_EQ(states("/s")["running"], 1);
  EXPECT_EQ(states("/s")["disk_sleep"], 0);
  EXPECT_EQ(states("/s").count("unknown"), 0U);
  EXPECT_EQ(value("threads", "/s"), Value::of(5));
}

TEST_F(ProcessesCollector, CountsOpenFilesAndSockets) {
  make("/f");
  const auto pid = spawn("/f", [] {
    for (int fd = 3; fd < 1024; ++fd) {
      if (::fcntl(fd, F_GETFD) >= 0 && fd > 40) ::close(fd);
    }
    for (int i = 0; i < 7; ++i) [[maybe_unused]] const int file = ::open("/dev/null", O_RDONLY);
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) ::_exit(1);
  });
  const auto open_in = [pid](std::string_view prefix) {
    std::int64_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
      count += std::filesystem::read_symlink(entry.path()).string().starts_with(prefix) ? 1 : 0;
    }
    return count;
  };
  open({"process_files"});
  collect();
  EXPECT_EQ(value("open_files", "/f"), Value::of(open_in("")));
  EXPECT_EQ(value("sockets", "/f"), Value::of(open_in("socket:[")));
  EXPECT_GE(open_in("socket:["), 2);
  EXPECT_EQ(errors("process_files"), 0U);
}

TEST_F(ProcessesCollector, ExportsNoFileCountsWithoutPermission) {
  make("/closed");
  spawn("/closed", [] {});
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(1);
    open({"process_files", "process_states"});
    collect();
    if (!value("open_files", "/closed").is_absent() || !value("sockets", "/closed").is_absent()) ::_exit(2);
    if (value("threads", "/closed") != Value::of(1)) ::_exit(3);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace cgwarden
