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

// Everything the helper has. Made before fork(): the writer may have threads, so afterwards nothing may be allocated.
struct Hand {
  base::Fd v2;      // cgroup.freeze
  base::Fd v1;      // freezer.state
  base::Fd ledger;  // the state directory
  base::Fd timer;
  base::Fd owner;    // pidfd
  base::Fd removal;  // inotify on the lease file
  base::Fd audit;
  std::string file;
  std::string audit_line;
  std::vector<std::string> command;
  std::vector<char*> argv;  // null-terminated; empty: nothing is started
  std::vector<char*> told;
  std::optional<sockaddr_un> engine;
  std::string unpause;  // what it is sent
};

bool is_there(const Hand& hand) {
  struct stat st {};
  return ::fstatat(hand.ledger.get(), hand.file.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
}

// For ever, as a cgroup that stays frozen is the worst that can happen; the cgroup being gone ends it.
void write_until_done(int fd, const char* text, std::size_t size) {
  timespec pause{0, 10'000'000};
  while (fd >= 0) {
    if (::pwrite(fd, text, size, 0) >= 0 || errno == ENODEV || errno == EBADF) return;
    ::nanosleep(&pause, nullptr);
    if (pause.tv_nsec < 640'000'000) pause.tv_nsec *= 2;
  }
}

// Once the kernel has thawed it, an engine refuses to, and shows it as paused for ever. So it comes first, for a
// second.
void query_engine(const Hand& hand) {
  if (!hand.engine) return;
  const int server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (server < 0) return;
  if (::connect(server, reinterpret_cast<const sockaddr*>(&*hand.engine), sizeof(*hand.engine)) == 0 &&
      ::send(server, hand.unpause.data(), hand.unpause.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(hand.unpause.size())) {
    pollfd answer{server, POLLIN, 0};
    ::poll(&answer, 1, 1000);
  }
  ::close(server);
}

void let_go(const Hand& hand) {
  query_engine(hand);
  write_until_done(hand.v2.get(), "0", 1);
  write_until_done(hand.v1.get(), "THAWED", 6);
  ::unlinkat(hand.ledger.get(), hand.file.c_str(), 0);
  if (!hand.audit) return;
  std::array<char, 4096> line{};
  std::size_t n = 0;
  const auto add = [&](std::string_view text) {
    for (const char c : text.substr(0, line.size() - n)) line[n++] = c;
  };
  add("{\"time\":\"");
  add(time_text(base::wall_now()).view());
  add("\",");
  add(hand.audit_line);
  add("\n");
  [[maybe_unused]] const auto written = ::write(hand.audit.get(), line.data(), n);
}

void run(const std::vector<char*>& argv) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int fd = 0; fd <= 2; ++fd) (void)::open("/dev/null", O_RDWR);
  ::execv(argv[0], argv.data());
}

// The cgroup goes on already; a bus that hangs only leaves systemd with an old idea of it.
void tell_systemd(const Hand& hand) {
  if (!hand.told.empty()) run(hand.told);
}

void close_between(unsigned first, unsigned last) {
  if (::syscall(SYS_close_range, first, last, 0) == 0) return;
  // Before Linux 5.9, one by one; no descriptor is above the limit, as nobody lowers it here.
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == 0) return;
  const auto most = static_cast<unsigned>(std::min<rlim_t>(limit.rlim_cur - 1, last));
  for (auto fd = first; fd <= most; ++fd) ::close(static_cast<int>(fd));
}

[[noreturn]] void watch(const Hand& hand, int ready) {
  ::setsid();
  ::prctl(PR_SET_NAME, "cgwarden-thaw");
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  sigset_t asked;
  ::sigemptyset(&asked);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) ::sigaddset(&asked, signal);
  const int signals = ::signalfd(-1, &asked, SFD_CLOEXEC);
  [[maybe_unused]] int result = ::chdir("/");
  const int score = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (score >= 0) {
    [[maybe_unused]] const auto n = ::write(score, "-1000", 5);
    ::close(score);
  }
  // The writer's other descriptors (sockets, locks, pipes) are not ours to hold. The list is short: gaps between are
  // closed.
  std::array<unsigned, 16> keep{};
  std::size_t kept = 0;
  for (const int fd : {hand.v2.get(), hand.v1.get(), hand.ledger.get(), hand.timer.get(), hand.owner.get(),
                       hand.removal.get(), hand.audit.get(), signals, ready}) {
    if (fd >= 0) keep[kept++] = static_cast<unsigned>(fd);
  }
  std::sort(keep.begin(), keep.begin() + static_cast<std::ptrdiff_t>(kept));
  unsigned from = 0;
  for (std::size_t i = 0; i < kept; ++i) {
    if (keep[i] > from) close_between(from, keep[i] - 1);
    from = keep[i] + 1;
  }
  close_between(from, ~0U);
  [[maybe_unused]] const auto told = ::write(ready, "x", 1);
  ::close(ready);

  while (true) {
    std::array<pollfd, 4> waits{{{hand.timer.get(), POLLIN, 0},
                                 {hand.owner.get(), POLLIN, 0},
                                 {hand.removal.get(), POLLIN, 0},
                                 {signals, POLLIN, 0}}};
    ::poll(waits.data(), waits.size(), -1);
    if (!is_there(hand)) ::_exit(0);
    const bool due = ((waits[0].revents | waits[1].revents | waits[3].revents) & (POLLIN | POLLERR | POLLHUP)) != 0;
    if (hand.argv.empty()) {
      if (!due) continue;
      let_go(hand);
      tell_systemd(hand);
      ::_exit(0);
    }
    // A limit waits for its time, and survives those who asked for it.
    if ((waits[0].revents & POLLIN) == 0) {
      if ((waits[3].revents & POLLIN) != 0) ::_exit(0);
      continue;
    }
    run(hand.argv);
    ::_exit(127);
  }
}

base::Result<void> prepare(const Ledger& ledger, const DeadMan& deadman, Hand& hand) {
  hand.file = Ledger::file_of(deadman.lease);
  hand.ledger = base::Fd(::openat(ledger.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  hand.timer = base::Fd(::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC));
  if (!hand.ledger || !hand.timer) return base::fail_errno("cannot start the timer that ends a lease");
  itimerspec when{};
  when.it_value.tv_sec = deadman.expires / 1'000'000'000;
  when.it_value.tv_nsec = deadman.expires % 1'000'000'000;
  if (::timerfd_settime(hand.timer.get(), TFD_TIMER_ABSTIME, &when, nullptr) != 0) {
    return base::fail_errno("cannot start the timer that ends a lease");
  }
  hand.removal = base::Fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  // Without it the helper stays until its time is up, and finds the lease gone then.
  if (hand.removal) {
    (void)::inotify_add_watch(hand.removal.get(), (ledger.directory() + '/' + hand.file).c_str(),
                              IN_DELETE_SELF | IN_MOVE_SELF);
  }
  if (deadman.with_owner) {
    hand.owner = base::Fd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
    if (!hand.owner) return base::fail_errno("cannot watch this process for its end");
  }
  return {};
}

base::Result<void> start(const Hand& hand) {
  std::array<int, 2> ready{};
  if (::pipe2(ready.data(), O_CLOEXEC) != 0) return base::fail_errno("cannot start the process that ends a lease");
  base::Fd read_end(ready[0]);
  base::Fd write_end(ready[1]);
  const pid_t between = ::fork();
  if (between < 0) return base::fail_errno("cannot start the process that ends a lease");
  if (between == 0) {
    // Once more, so that the helper is nobody's child here and leaves no zombie.
    const pid_t helper = ::fork();
    if (helper == 0) watch(hand, write_end.get());
    ::_exit(helper < 0 ? 1 : 0);
  }
  write_end.reset();
  int status = 0;
  while (::waitpid(between, &status, 0) < 0 && errno == EINTR) {
  }
  char byte = 0;
  ssize_t n = 0;
  do {
    n = ::read(read_end.get(), &byte, 1);
  } while (n < 0 && errno == EINTR);
  if (n != 1) return base::fail("the process that ends a lease did not start; there may be too many processes");
  return {};
}

}  // namespace

base::Result<void> start_thawer(const Ledger& ledger, const Freezers& freezers, const DeadMan& deadman) {
  Hand hand;
  if (auto done = prepare(ledger, deadman, hand); !done) return done;
  const auto open_in = [](const CgroupHandle::Dir* dir, const char* file) {
    return base::Fd(dir == nullptr ? -1 : ::openat(dir->fd.get(), file, O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
  };
  hand.v2 = open_in(freezers.v2, "cgroup.freeze");
  hand.v1 = open_in(freezers.v1, "freezer.state");
  if ((freezers.v2 != nullptr && !hand.v2) || (freezers.v1 != nullptr && !hand.v1)) {
    return base::fail_errno("cannot open the file that would thaw the cgroup again");
  }
  if (deadman.audit_fd >= 0) hand.audit = base::Fd(::fcntl(deadman.audit_fd, F_DUPFD_CLOEXEC, 0));
  hand.audit_line = deadman.audit_line;
  if (!deadman.unit.empty()) {
    hand.command = {"/usr/bin/systemctl", "--no-ask-password", "--quiet", "thaw", "--", deadman.unit};
    for (auto& word : hand.command) hand.told.push_back(word.data());
    hand.told.push_back(nullptr);
  }
  if (deadman.engine) {
    hand.engine = address_of(deadman.engine->socket);
    hand.unpause = unpause_request(*deadman.engine);
  }
  return start(hand);
}

base::Result<void> start_restorer(const Ledger& ledger, const DeadMan& deadman,
                                  const std::vector<std::string>& command) {
  Hand hand;
  if (auto done = prepare(ledger, deadman, hand); !done) return done;
  hand.command = command;
  for (auto& word : hand.command) hand.argv.push_back(word.data());
  hand.argv.push_back(nullptr);
  return start(hand);
}

}  // namespace cgwarden::control
