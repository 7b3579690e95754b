// SPDX-License-Identifier: Apache-2.0
#include "src/control/operations.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "src/base/text.h"

namespace cgwarden::control {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kRetry{10};
constexpr int kRetriesPerThaw = 50;  // tries
constexpr std::int64_t kReclaimStep = 64LL << 20U;

bool is(const CgroupHandle::Dir& dir, const char* file, std::string_view value) {
  const auto text = read_file(dir.fd.get(), file);
  return text && base::trim_end(*text) == value;
}

// Waits until `key` of cgroup.events is `wanted`. The kernel notifies with POLLPRI (cgroup_file_notify).
bool wait_for_event(const CgroupHandle::Dir& dir, std::string_view key, std::int64_t wanted, base::Monotonic deadline) {
  const base::Fd events(::openat(dir.fd.get(), "cgroup.events", O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!events) return false;
  while (true) {
    std::array<char, 256> text{};
    const auto n = ::pread(events.get(), text.data(), text.size(), 0);
    if (n < 0) return errno == ENODEV && key == "populated";  // removed, so it is empty
    if (flat_key({text.data(), static_cast<std::size_t>(n)}, key) == wanted) return true;
    if (base::monotonic_now() >= deadline) return false;
    pollfd wait{events.get(), POLLPRI, 0};
    ::poll(&wait, 1, std::min(base::milliseconds_left(deadline), 1000));
  }
}

base::Result<bool> freeze_v1(const CgroupHandle::Dir& dir, base::Monotonic deadline) {
  // Some tasks stay FREEZING until FROZEN is written again, and some until the cgroup was thawed for a moment.
  for (int tries = 1;; ++tries) {
    if (const auto done = write_file(dir.fd.get(), "freezer.state", "FROZEN"); !done)
      return tl::unexpected(done.error());
    const auto state = read_file(dir.fd.get(), "freezer.state");
    if (!state) return tl::unexpected(state.error());
    if (base::trim_end(*state) == "FROZEN") return true;
    if (base::monotonic_now() >= deadline) return false;
    if (tries % kRetriesPerThaw == 0) (void)write_file(dir.fd.get(), "freezer.state", "THAWED");
    std::this_thread::sleep_for(kRetry);
  }
}

std::set<pid_t> difference(const std::set<pid_t>& all, const std::set<pid_t>& some) {
  std::set<pid_t> out;
  std::ranges::set_difference(all, some, std::inserter(out, out.end()));
  return out;
}

// v2 lists a task of a pid namespace that is not a descendant of ours as 0, v1 omits it (kernel/cgroup/cgroup-v1.c,
// pidlist_array_load). A task that pids.current counts and `tasks` does not list is such a task or a zombie.
std::size_t count_hidden_on_v1(const CgroupHandle& handle) {
  constexpr ino_t initial_pid_namespace = 0xEFFFFFFC;  // include/uapi/linux/nsfs.h, PROC_PID_INIT_INO
  struct stat st {};
  const auto* const pids = handle.dir_of_v1_controller("pids");
  if (pids == nullptr || ::stat("/proc/self/ns/pid", &st) != 0 || st.st_ino == initial_pid_namespace) return 0;
  const auto text = read_file(pids->fd.get(), "pids.current");
  const auto counted = text ? base::to_int<std::size_t>(base::trim_end(*text)).value_or(0) : 0;
  std::size_t listed = 0;
  walk_subtree(pids->fd.get(), [&listed](int dir, const std::string&) {
    const auto list = read_file(dir, "tasks");
    listed += list ? static_cast<std::size_t>(std::ranges::count(*list, '\n')) : 0;
    return true;
  });
  return counted > listed ? counted - listed : 0;
}

bool populated(const CgroupHandle::Dir& dir) {
  const auto events = read_file(dir.fd.get(), "cgroup.events");
  return events && flat_key(*events, "populated") == 1;
}

// On v1 a frozen task does not handle SIGKILL, so the cgroup and all descendants with a freeze of their own are thawed.
// Returns false if one of them could not be thawed.
bool thaw_v1_subtree(const CgroupHandle::Dir& freezer) {
  bool all = true;
  walk_subtree(freezer.fd.get(), [&all](int dir, const std::string&) {
    const auto own = read_file(dir, "freezer.self_freezing");
    if (own && base::trim_end(*own) == "1") all = write_file(dir, "freezer.state", "THAWED").has_value() && all;
    return true;
  });
  return all;
}

}  // namespace

FreezeState freeze_state(const CgroupHandle& handle) {
  FreezeState out;
  for (const auto& dir : handle.dirs()) {
    if (dir.is_v2()) {
      out.frozen_here = out.frozen_here || is(dir, "cgroup.freeze", "1");
      const auto events = read_file(dir.fd.get(), "cgroup.events");
      out.complete = out.complete || (events && flat_key(*events, "frozen") == 1);
      handle.for_each_ancestor(dir, [&](int fd, const std::string& path) {
        const auto above = read_file(fd, "cgroup.freeze");
        if (!above || base::trim_end(*above) != "1") return true;
        out.by_ancestor = true;
        out.ancestor = path;
        return false;
      });
    } else if (dir.hierarchy->has("freezer")) {
      out.frozen_here = out.frozen_here || is(dir, "freezer.self_freezing", "1");
      out.complete = out.complete || is(dir, "freezer.state", "FROZEN");
      if (!is(dir, "freezer.parent_freezing", "1")) continue;
      out.by_ancestor = true;
      handle.for_each_ancestor(dir, [&](int fd, const std::string& path) {
        const auto above = read_file(fd, "freezer.self_freezing");
        if (!above || base::trim_end(*above) != "1") return true;
        out.ancestor = path;
        return false;
      });
    }
  }
  return out;
}

Checked<Freezers> plan_freeze(const CgroupHandle& handle, bool as_runtimes_do) {
  const auto shown = base::printable(handle.path());
  Freezers out;
  const auto* v2 = handle.v2();
  if (v2 != nullptr && !read_file(v2->fd.get(), "cgroup.freeze")) v2 = nullptr;
  const auto* const v1 = handle.dir_of_v1_controller("freezer");
  const auto all = handle.members().pids;
  if (v2 == nullptr && v1 == nullptr) {
    return refuse("controller", shown +
                                    ": cannot freeze: the cgroup has no freezer, neither cgroup.freeze of v2 (Linux "
                                    "5.2) nor v1's freezer hierarchy");
  }
  const auto in_v2 = v2 != nullptr ? handle.members(*v2).pids : std::set<pid_t>{};
  const auto in_v1 = v1 != nullptr ? handle.members(*v1).pids : std::set<pid_t>{};
  const bool v2_has_all = v2 != nullptr && difference(all, in_v2).empty();
  const bool v1_has_all = v1 != nullptr && difference(all, in_v1).empty();
  // v2's freezer is preferred: tasks that it has stopped can still be killed.
  if (v2_has_all && !(as_runtimes_do && v1_has_all)) {
    out.v2 = v2;
  } else if (v1_has_all) {
    out.v1 = v1;
  } else {
    auto both = in_v2;
    both.insert(in_v1.begin(), in_v1.end());
    const auto unreachable = difference(all, both);
    if (!unreachable.empty()) {
      return refuse("controller", shown + ": cannot freeze: " + std::to_string(unreachable.size()) + " of " +
                                      std::to_string(all.size()) +
                                      " processes are in none of its freezers, such as pid " +
                                      std::to_string(*unreachable.begin()));
    }
    out.v2 = v2;
    out.v1 = v1;
  }
  return out;
}

base::Result<bool> freeze(const Freezers& freezers, base::Monotonic deadline) {
  if (freezers.v2 != nullptr) {
    if (const auto done = write_file(freezers.v2->fd.get(), "cgroup.freeze", "1"); !done)
      return tl::unexpected(done.error());
  }
  if (freezers.v1 != nullptr) {
    auto done = freeze_v1(*freezers.v1, deadline);
    if (!done || !*done) return done;
  }
  return freezers.v2 == nullptr || wait_for_event(*freezers.v2, "frozen", 1, deadline);
}

base::Result<void> thaw(const CgroupHandle& handle) {
  base::Result<void> result;
  for (const auto& dir : handle.dirs()) {
    base::Result<void> done;
    if (dir.is_v2()) {
      if (!is(dir, "cgroup.freeze", "1")) continue;
      done = write_file(dir.fd.get(), "cgroup.freeze", "0");
    } else if (dir.hierarchy->has("freezer") && is(dir, "freezer.self_freezing", "1")) {
      done = write_file(dir.fd.get(), "freezer.state", "THAWED");
    }
    if (!done && !base::is_gone(done.error().code)) result = done;
  }
  return result;
}

SignalResult signal_processes(const CgroupHandle& handle, const std::string& proc, const std::set<pid_t>& pids,
                              int signal) {
  SignalResult out;
  for (const auto pid : pids) {
    if (pid <= 1 || pid == ::getpid()) continue;
    // The pidfd pins the process before its cgroup is verified, so a reused pid is never signaled.
    const base::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!process || !handle.contains(proc, pid)) {
      ++out.gone;
      continue;
    }
    if (::syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0) == 0) {
      ++out.sent;
    } else if (errno == EPERM) {
      ++out.refused;
    } else {
      ++out.gone;
    }
  }
  return out;
}

bool wait_until_empty(const CgroupHandle& handle, base::Monotonic deadline) {
  if (handle.dirs().size() == 1 && handle.v2() != nullptr)
    return wait_for_event(*handle.v2(), "populated", 0, deadline);
  while (true) {
    const auto now = handle.members();
    if (now.pids.empty() && now.foreign == 0) return true;
    if (base::monotonic_now() >= deadline) return false;
    std::this_thread::sleep_for(kRetry);
  }
}

Checked<KillResult> kill_all(const CgroupHandle& handle, const std::string& proc, base::Monotonic deadline) {
  KillResult out;
  const auto before = handle.members();
  out.processes = before.pids.size() + before.foreign;
  const auto* const v2 = handle.v2();
  const bool has_kill =
      v2 != nullptr && ::faccessat(v2->fd.get(), "cgroup.kill", W_OK, AT_EACCESS | AT_SYMLINK_NOFOLLOW) == 0;
  const auto by_v2 = has_kill ? handle.members(*v2) : CgroupHandle::Members{};
  const auto hidden = count_hidden_on_v1(handle);
  if (before.foreign > by_v2.foreign || (hidden > 0 && by_v2.foreign == 0)) {
    return refuse(
        "namespace",
        base::printable(handle.path()) + ": cannot kill: " + std::to_string(std::max(before.foreign, hidden)) +
            " processes are in a pid namespace that is not visible from here (run this in the host's pid namespace)");
  }
  const auto by_signal = difference(before.pids, by_v2.pids);
  if (const auto probe = signal_processes(handle, proc, by_signal, 0); probe.refused > 0) {
    return tl::unexpected(Refusal{model::Outcome::Kind::denied,
                                  {},
                                  base::printable(handle.path()) + ": cannot kill: no permission to signal " +
                                      std::to_string(probe.refused) + " of " + std::to_string(before.pids.size()) +
                                      " processes; nothing was killed"});
  }
  const auto* const freezer = handle.dir_of_v1_controller("freezer");
  const bool frozen_by_ancestor = freezer != nullptr && is(*freezer, "freezer.parent_freezing", "1");
  if (frozen_by_ancestor && !handle.members(*freezer).pids.empty()) {
    const auto state = freeze_state(handle);
    return refuse("frozen-ancestor", base::printable(handle.path()) + ": cannot kill: its ancestor " +
                                         base::printable(state.ancestor) +
                                         " is frozen, and v1 does not kill frozen processes (thaw the ancestor first)");
  }
  if (has_kill && (populated(*v2) || !by_v2.pids.empty())) {
    // ENODEV: removed meanwhile, because systemd stopped the unit first.
    if (const auto done = write_file(v2->fd.get(), "cgroup.kill", "1"); !done && !base::is_gone(done.error().code)) {
      if (done.error().code == EOPNOTSUPP) {
        return refuse("threaded", base::printable(handle.path()) +
                                      ": cannot kill: the cgroup is threaded, and only whole processes can be killed "
                                      "(kill its threaded domain, an ancestor)");
      }
      return tl::unexpected(Refusal{model::Outcome::Kind::failed, {}, done.error().what});
    }
    if (is(*v2, "cgroup.freeze", "1")) (void)write_file(v2->fd.get(), "cgroup.freeze", "0");
    if (freezer != nullptr) (void)thaw_v1_subtree(*freezer);
  }
  // v1: freeze all tasks so that none can fork, send SIGKILL, and thaw. A task that is being forked may escape one
  // round, so this repeats until the cgroup is empty.
  bool left_frozen = false;
  while (true) {
    const auto now = handle.members();
    if (now.pids.empty() && now.foreign == 0) break;
    const auto rest = has_kill ? difference(now.pids, handle.members(*v2).pids) : now.pids;
    if (!rest.empty()) {
      if (freezer != nullptr) {
        const auto moment = std::min(deadline, base::monotonic_now() + milliseconds(500));
        left_frozen = true;
        (void)freeze_v1(*freezer, moment);
        (void)signal_processes(handle, proc, handle.members().pids, SIGKILL);
        left_frozen = !thaw_v1_subtree(*freezer);
      } else {
        // Stopped processes cannot fork.
        (void)signal_processes(handle, proc, rest, SIGSTOP);
        (void)signal_processes(handle, proc, handle.members().pids, SIGKILL);
      }
    }
    if (base::monotonic_now() >= deadline) {
      const auto last = handle.members();
      out.remaining.assign(last.pids.begin(), last.pids.end());
      out.foreign = last.foreign;
      break;
    }
    if (handle.dirs().size() == 1 && v2 != nullptr && has_kill) {
      (void)wait_for_event(*v2, "populated", 0, deadline);
    } else {
      std::this_thread::sleep_for(kRetry);
    }
  }
  if (hidden > 0) out.foreign = std::max(out.foreign, count_hidden_on_v1(handle));
  if (left_frozen) (void)thaw_v1_subtree(*freezer);
  return out;
}

Checked<ReclaimResult> reclaim(const CgroupHandle& handle, std::int64_t bytes, base::Monotonic deadline) {
  const auto* const dir = handle.dir_of_controller("memory");
  const auto shown = base::printable(handle.path());
  if (dir == nullptr) return refuse("controller", shown + ": cannot reclaim: the memory controller is not enabled");
  if (!dir->is_v2()) {
    return refuse(
        "kernel",
        shown +
            ": cannot reclaim: v1 does not support it for a cgroup in use; memory.reclaim requires v2 (Linux 5.19)");
  }
  const auto used = [&] {
    const auto text = read_file(dir->fd.get(), "memory.current");
    return text ? base::to_int<std::int64_t>(base::trim_end(*text)).value_or(0) : 0;
  };
  const auto before = used();
  ReclaimResult out;
  std::int64_t requested = 0;
  while (requested < bytes && base::monotonic_now() < deadline) {
    const auto step = std::min(bytes - requested, kReclaimStep);
    const auto done = write_file(dir->fd.get(), "memory.reclaim", std::to_string(step));
    if (!done) {
      const auto code = done.error().code;
      if (code == EAGAIN) break;  // less than requested was reclaimed: no more is available
      if (code == ENOENT)
        return refuse("kernel", shown + ": cannot reclaim: this kernel has no memory.reclaim (Linux 5.19)");
      return tl::unexpected(Refusal{base::is_gone(code)                                ? model::Outcome::Kind::gone
                                    : code == EACCES || code == EPERM || code == EROFS ? model::Outcome::Kind::denied
                                                                                       : model::Outcome::Kind::failed,
                                    {},
                                    done.error().what});
    }
    requested += step;
  }
  out.all = requested >= bytes;
  out.bytes = std::max<std::int64_t>(0, before - used());
  return out;
}

}  // namespace cgwarden::control
