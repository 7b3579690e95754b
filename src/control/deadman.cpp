// SPDX-License-Identifier: Apache-2.0
#include "src/control/deadman.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "src/base/clock.h"
#include "src/base/fd.h"
#include "src/control/audit.h"

namespace cgwarden::control {
namespace {

// State of the helper. Prepared before fork(): the writer may have threads, so the child must not allocate.
struct Helper {
  base::Fd v2;        // cgroup.freeze
  base::Fd v1;        // freezer.state
  base::Fd undo_log;  // the state directory
  base::Fd timer;
  base::Fd owner;    // pidfd
  base::Fd removal;  // inotify on the lease file
  base::Fd audit;
  std::string file;
  std::string audit_line;
  std::vector<std::string> command;
  std::vector<char*> restore_argv;  // null-terminated; empty: thaw instead
  std::vector<char*> systemctl_argv;
  std::optional<sockaddr_un> runtime;
  std::string unpause;  // the HTTP request
};

bool lease_exists(const Helper& helper) {
  struct stat st {};
  return ::fstatat(helper.undo_log.get(), helper.file.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
}

// Retries without limit, because a cgroup that stays frozen is the worst failure; ENODEV (cgroup removed) ends it.
void write_until_done(int fd, const char* text, std::size_t size) {
  timespec pause{0, 10'000'000};
  while (fd >= 0) {
    if (::pwrite(fd, text, size, 0) >= 0 || errno == ENODEV || errno == EBADF) return;
    ::nanosleep(&pause, nullptr);
    if (pause.tv_nsec < 640'000'000) pause.tv_nsec *= 2;
  }
}

// Once the kernel has thawed a container, its runtime refuses to unpause it and reports it as paused. So the runtime
// goes first, with a timeout of one second.
void unpause_runtime(const Helper& helper) {
  if (!helper.runtime) return;
  const int server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (server < 0) return;
  if (::connect(server, reinterpret_cast<const sockaddr*>(&*helper.runtime), sizeof(*helper.runtime)) == 0 &&
      ::send(server, helper.unpause.data(), helper.unpause.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(helper.unpause.size())) {
    pollfd answer{server, POLLIN, 0};
    ::poll(&answer, 1, 1000);
  }
  ::close(server);
}

void end_freeze(const Helper& helper) {
  unpause_runtime(helper);
  write_until_done(helper.v2.get(), "0", 1);
  write_until_done(helper.v1.get(), "THAWED", 6);
  ::unlinkat(helper.undo_log.get(), helper.file.c_str(), 0);
  if (!helper.audit) return;
  std::array<char, 4096> line{};
  std::size_t n = 0;
  const auto add = [&](std::string_view text) {
    for (const char c : text.substr(0, line.size() - n)) line[n++] = c;
  };
  add("{\"time\":\"");
  add(time_text(base::wall_now()).view());
  add("\",");
  add(helper.audit_line);
  add("\n");
  [[maybe_unused]] const auto written = ::write(helper.audit.get(), line.data(), n);
}

void exec_command(const std::vector<char*>& restore_argv) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int fd = 0; fd <= 2; ++fd) (void)::open("/dev/null", O_RDWR);
  ::execv(restore_argv[0], restore_argv.data());
}

// The cgroup is thawed already; if the bus hangs, only systemd's state is stale.
void thaw_in_systemd(const Helper& helper) {
  if (!helper.systemctl_argv.empty()) exec_command(helper.systemctl_argv);
}

void close_fd_range(unsigned first, unsigned last) {
  if (::syscall(SYS_close_range, first, last, 0) == 0) return;
  // Before Linux 5.9: close one by one. No descriptor is above the limit, because this program never lowers it.
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == 0) return;
  const auto most = static_cast<unsigned>(std::min<rlim_t>(limit.rlim_cur - 1, last));
  for (auto fd = first; fd <= most; ++fd) ::close(static_cast<int>(fd));
}

[[noreturn]] void run_helper(const Helper& helper, int ready) {
  ::setsid();
  ::prctl(PR_SET_NAME, "cgwarden-thaw");
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  sigset_t handled_signals;
  ::sigemptyset(&handled_signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) ::sigaddset(&handled_signals, signal);
  const int signals = ::signalfd(-1, &handled_signals, SFD_CLOEXEC);
  [[maybe_unused]] int result = ::chdir("/");
  const int score = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (score >= 0) {
    [[maybe_unused]] const auto n = ::write(score, "-1000", 5);
    ::close(score);
  }
  // Close the writer's other descriptors (sockets, locks, pipes): everything between those of the helper.
  std::array<unsigned, 16> keep{};
  std::size_t kept = 0;
  for (const int fd : {helper.v2.get(), helper.v1.get(), helper.undo_log.get(), helper.timer.get(), helper.owner.get(),
                       helper.removal.get(), helper.audit.get(), signals, ready}) {
    if (fd >= 0) keep[kept++] = static_cast<unsigned>(fd);
  }
  std::sort(keep.begin(), keep.begin() + static_cast<std::ptrdiff_t>(kept));
  unsigned from = 0;
  for (std::size_t i = 0; i < kept; ++i) {
    if (keep[i] > from) close_fd_range(from, keep[i] - 1);
    from = keep[i] + 1;
  }
  close_fd_range(from, ~0U);
  [[maybe_unused]] const auto systemctl_argv = ::write(ready, "x", 1);
  ::close(ready);

  while (true) {
    std::array<pollfd, 4> waits{{{helper.timer.get(), POLLIN, 0},
                                 {helper.owner.get(), POLLIN, 0},
                                 {helper.removal.get(), POLLIN, 0},
                                 {signals, POLLIN, 0}}};
    ::poll(waits.data(), waits.size(), -1);
    if (!lease_exists(helper)) ::_exit(0);
    const bool due = ((waits[0].revents | waits[1].revents | waits[3].revents) & (POLLIN | POLLERR | POLLHUP)) != 0;
    if (helper.restore_argv.empty()) {
      if (!due) continue;
      end_freeze(helper);
      thaw_in_systemd(helper);
      ::_exit(0);
    }
    // A limit lasts until it expires, even if its requester exits.
    if ((waits[0].revents & POLLIN) == 0) {
      if ((waits[3].revents & POLLIN) != 0) ::_exit(0);
      continue;
    }
    exec_command(helper.restore_argv);
    ::_exit(127);
  }
}

base::Result<void> prepare(const UndoLog& undo_log, const Deadman& deadman, Helper& helper) {
  helper.file = UndoLog::file_name_of(deadman.lease);
  helper.undo_log = base::Fd(::openat(undo_log.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  helper.timer = base::Fd(::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC));
  if (!helper.undo_log || !helper.timer) return base::fail_errno("lease helper: cannot start the timer");
  itimerspec when{};
  when.it_value.tv_sec = deadman.expires / 1'000'000'000;
  when.it_value.tv_nsec = deadman.expires % 1'000'000'000;
  if (::timerfd_settime(helper.timer.get(), TFD_TIMER_ABSTIME, &when, nullptr) != 0) {
    return base::fail_errno("lease helper: cannot start the timer");
  }
  helper.removal = base::Fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  // Without inotify the helper runs until the lease expires and finds it removed then.
  if (helper.removal) {
    (void)::inotify_add_watch(helper.removal.get(), (undo_log.directory() + '/' + helper.file).c_str(),
                              IN_DELETE_SELF | IN_MOVE_SELF);
  }
  if (deadman.with_owner) {
    helper.owner = base::Fd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
    if (!helper.owner) return base::fail_errno("lease helper: cannot watch the owner process");
  }
  return {};
}

base::Result<void> start(const Helper& helper) {
  std::array<int, 2> ready{};
  if (::pipe2(ready.data(), O_CLOEXEC) != 0) return base::fail_errno("lease helper: cannot start the process");
  base::Fd read_end(ready[0]);
  base::Fd write_end(ready[1]);
  const pid_t child = ::fork();
  if (child < 0) return base::fail_errno("lease helper: cannot start the process");
  if (child == 0) {
    // Fork twice, so that init reaps the helper and it leaves no zombie here.
    const pid_t grandchild = ::fork();
    if (grandchild == 0) run_helper(helper, write_end.get());
    ::_exit(grandchild < 0 ? 1 : 0);
  }
  write_end.reset();
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  char byte = 0;
  ssize_t n = 0;
  do {
    n = ::read(read_end.get(), &byte, 1);
  } while (n < 0 && errno == EINTR);
  if (n != 1) return base::fail("lease helper: the process did not start (the limit of processes may be reached)");
  return {};
}

}  // namespace

base::Result<void> start_thaw_helper(const UndoLog& undo_log, const Freezers& freezers, const Deadman& deadman) {
  Helper helper;
  if (auto done = prepare(undo_log, deadman, helper); !done) return done;
  const auto open_in = [](const CgroupHandle::Dir* dir, const char* file) {
    return base::Fd(dir == nullptr ? -1 : ::openat(dir->fd.get(), file, O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
  };
  helper.v2 = open_in(freezers.v2, "cgroup.freeze");
  helper.v1 = open_in(freezers.v1, "freezer.state");
  if ((freezers.v2 != nullptr && !helper.v2) || (freezers.v1 != nullptr && !helper.v1)) {
    return base::fail_errno("lease helper: cannot open the freezer file of the cgroup");
  }
  if (deadman.audit_fd >= 0) helper.audit = base::Fd(::fcntl(deadman.audit_fd, F_DUPFD_CLOEXEC, 0));
  helper.audit_line = deadman.audit_line;
  if (!deadman.unit.empty()) {
    helper.command = {"/usr/bin/systemctl", "--no-ask-password", "--quiet", "thaw", "--", deadman.unit};
    for (auto& word : helper.command) helper.systemctl_argv.push_back(word.data());
    helper.systemctl_argv.push_back(nullptr);
  }
  if (deadman.runtime) {
    helper.runtime = address_of(deadman.runtime->socket);
    helper.unpause = unpause_request(*deadman.runtime);
  }
  return start(helper);
}

base::Result<void> start_restore_helper(const UndoLog& undo_log, const Deadman& deadman,
                                        const std::vector<std::string>& command) {
  Helper helper;
  if (auto done = prepare(undo_log, deadman, helper); !done) return done;
  helper.command = command;
  for (auto& word : helper.command) helper.restore_argv.push_back(word.data());
  helper.restore_argv.push_back(nullptr);
  return start(helper);
}

}  // namespace cgwarden::control
