// SPDX-License-Identifier: Apache-2.0
#include "src/control/acts.h"

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
constexpr int kThawEvery = 50;  // tries
constexpr std::int64_t kReclaimStep = 64LL << 20U;

bool is(const CgroupHandle::Dir& dir, const char* file, std::string_view value) {
  const auto text = read_file(dir.fd.get(), file);
  return text && base::trim_end(*text) == value;
}

// Waits until `key` of cgroup.events is `wanted`: the kernel tells by POLLPRI.
bool wait_for_event(const CgroupHandle::Dir& dir, std::string_view key, std::int64_t wanted, base::Monotonic deadline) {
  const base::Fd events(::openat(dir.fd.get(), "cgroup.events", O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!events) return false;
  while (true) {
    std::array<char, 256> text{};
    const auto n = ::pread(events.get(), text.data(), text.size(), 0);
    if (n < 0) return errno == ENODEV && key == "populated";  // removed: nobody is in it
    if (flat_key({text.data(), static_cast<std::size_t>(n)}, key) == wanted) return true;
    if (base::monotonic_now() >= deadline) return false;
    pollfd wait{events.get(), POLLPRI, 0};
    ::poll(&wait, 1, std::min(base::milliseconds_left(deadline), 1000));
  }
}

base::Result<bool> freeze_v1(const CgroupHandle::Dir& dir, base::Monotonic deadline) {
  // A task in the wrong place stays FREEZING for ever unless it is asked again, and some only if all are let go for a
  // moment.
  for (int tries = 1;; ++tries) {
    if (const auto done = write_file(dir.fd.get(), "freezer.state", "FROZEN"); !done)
      return tl::unexpected(done.error());
    const auto state = read_file(dir.fd.get(), "freezer.state");
    if (!state) return tl::unexpected(state.error());
    if (base::trim_end(*state) == "FROZEN") return true;
    if (base::monotonic_now() >= deadline) return false;
    if (tries % kThawEvery == 0) (void)write_file(dir.fd.get(), "freezer.state", "THAWED");
    std::this_thread::sleep_for(kRetry);
  }
}

std::set<pid_t> missing(const std::set<pid_t>& all, const std::set<pid_t>& some) {
  std::set<pid_t> out;
  std::ranges::set_difference(all, some, std::inserter(out, out.end()));
  return out;
}

// v2 shows a task of a pid namespace that is not below ours as 0, v1 leaves it out (kernel/cgroup/cgroup-v1.c,
// pidlist_array_load). What pids.current counts and `tasks` does not list is such a one, or has died and waits for its
// parent.
std::size_t left_out_by_v1(const CgroupHandle& place) {
  constexpr ino_t initial_pid_namespace = 0xEFFFFFFC;  // include/uapi/linux/nsfs.h, PROC_PID_INIT_INO
  struct stat st {};
  const auto* const pids = place.of_v1("pids");
  if (pids == nullptr || ::stat("/proc/self/ns/pid", &st) != 0 || st.st_ino == initial_pid_namespace) return 0;
  const auto text = read_file(pids->fd.get(), "pids.current");
  const auto counted = text ? base::to_int<std::size_t>(base::trim_end(*text)).value_or(0) : 0;
  std::size_t listed = 0;
  look_below(pids->fd.get(), [&listed](int dir, const std::string&) {
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

// v1: what is frozen does not die, by whatever it is killed. So all of it goes on, also what cgroups below were told.
// False: some could not be let go.
bool let_go_v1(const CgroupHandle::Dir& freezer) {
  bool all = true;
  look_below(freezer.fd.get(), [&all](int dir, const std::string&) {
    const auto own = read_file(dir, "freezer.self_freezing");
    if (own && base::trim_end(*own) == "1") all = write_file(dir, "freezer.state", "THAWED").has_value() && all;
    return true;
  });
  return all;
}

}  // namespace

FreezeState freeze_state(const CgroupHandle& place) {
  FreezeState out;
  for (const auto& dir : place.dirs()) {
    if (dir.is_v2()) {
      out.self = out.self || is(dir, "cgroup.freeze", "1");
      const auto events = read_file(dir.fd.get(), "cgroup.events");
      out.complete = out.complete || (events && flat_key(*events, "frozen") == 1);
      place.above(dir, [&](int fd, const std::string& path) {
        const auto above = read_file(fd, "cgroup.freeze");
        if (!above || base::trim_end(*above) != "1") return true;
        out.above = true;
        out.ancestor = path;
        return false;
      });
    } else if (dir.hierarchy->has("freezer")) {
      out.self = out.self || is(dir, "freezer.self_freezing", "1");
      out.complete = out.complete || is(dir, "freezer.state", "FROZEN");
      if (!is(dir, "freezer.parent_freezing", "1")) continue;
      out.above = true;
      place.above(dir, [&](int fd, const std::string& path) {
        const auto above = read_file(fd, "freezer.self_freezing");
        if (!above || base::trim_end(*above) != "1") return true;
        out.ancestor = path;
        return false;
      });
    }
  }
  return out;
}

Checked<Freezers> plan_freeze(const CgroupHandle& place, bool as_runtimes_do) {
  const auto shown = base::printable(place.path());
  Freezers out;
  const auto* v2 = place.v2();
  if (v2 != nullptr && !read_file(v2->fd.get(), "cgroup.freeze")) v2 = nullptr;
  const auto* const v1 = place.of_v1("freezer");
  const auto all = place.members().pids;
  if (v2 == nullptr && v1 == nullptr) {
    return refuse("controller", shown + " has no freezer: it is neither in v2 (5.2) nor in v1's freezer hierarchy");
  }
  const auto in_v2 = v2 != nullptr ? place.members(*v2).pids : std::set<pid_t>{};
  const auto in_v1 = v1 != nullptr ? place.members(*v1).pids : std::set<pid_t>{};
  const bool v2_has_all = v2 != nullptr && missing(all, in_v2).empty();
  const bool v1_has_all = v1 != nullptr && missing(all, in_v1).empty();
  // v2's is the better one: tasks stopped by it can still be killed.
  if (v2_has_all && !(as_runtimes_do && v1_has_all)) {
    out.v2 = v2;
  } else if (v1_has_all) {
    out.v1 = v1;
  } else {
    auto both = in_v2;
    both.insert(in_v1.begin(), in_v1.end());
    const auto outside = missing(all, both);
    if (!outside.empty()) {
      return refuse("controller", std::to_string(outside.size()) + " of the " + std::to_string(all.size()) +
                                      " processes of " + shown + " are in none of its freezers, such as pid " +
                                      std::to_string(*outside.begin()));
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

base::Result<void> thaw(const CgroupHandle& place) {
  base::Result<void> result;
  for (const auto& dir : place.dirs()) {
    base::Result<void> done;
    if (dir.is_v2()) {
      if (!is(dir, "cgroup.freeze", "1")) continue;
      done = write_file(dir.fd.get(), "cgroup.freeze", "0");
    } else if (dir.hierarchy->has("freezer") && is(dir, "freezer.self_freezing", "1")) {
      done = write_file(dir.fd.get(), "freezer.state", "THAWED");
    }
    if (!done && !base::means_vanished(done.error().code)) result = done;
  }
  return result;
}

Signalled signal_each(const CgroupHandle& place, const std::string& proc, const std::set<pid_t>& pids, int signal) {
  Signalled out;
  for (const auto pid : pids) {
    if (pid <= 1 || pid == ::getpid()) continue;
    // The descriptor is of one process; then its cgroup is looked at, so a number that was used again is not hit.
    const base::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!process || !place.has(proc, pid)) {
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

bool wait_until_empty(const CgroupHandle& place, base::Monotonic deadline) {
  if (place.dirs().size() == 1 && place.v2() != nullptr) return wait_for_event(*place.v2(), "populated", 0, deadline);
  while (true) {
    const auto now = place.members();
    if (now.pids.empty() && now.foreign == 0) return true;
    if (base::monotonic_now() >= deadline) return false;
    std::this_thread::sleep_for(kRetry);
  }
}

Checked<Ended> kill_all(const CgroupHandle& place, const std::string& proc, base::Monotonic deadline) {
  Ended out;
  const auto before = place.members();
  out.processes = before.pids.size() + before.foreign;
  const auto* const v2 = place.v2();
  const bool has_kill =
      v2 != nullptr && ::faccessat(v2->fd.get(), "cgroup.kill", W_OK, AT_EACCESS | AT_SYMLINK_NOFOLLOW) == 0;
  const auto by_v2 = has_kill ? place.members(*v2) : CgroupHandle::Members{};
  const auto left_out = left_out_by_v1(place);
  if (before.foreign > by_v2.foreign || (left_out > 0 && by_v2.foreign == 0)) {
    return refuse("namespace", base::printable(place.path()) + ": " +
                                   std::to_string(std::max(before.foreign, left_out)) +
                                   " of its processes are in a pid namespace that is not seen from here; run this in "
                                   "the host's");
  }
  const auto by_hand = missing(before.pids, by_v2.pids);
  if (const auto probe = signal_each(place, proc, by_hand, 0); probe.refused > 0) {
    return tl::unexpected(Refusal{model::Outcome::Kind::denied,
                                  {},
                                  "no right to signal " + std::to_string(probe.refused) + " of the " +
                                      std::to_string(before.pids.size()) + " processes: none was killed"});
  }
  const auto* const freezer = place.of_v1("freezer");
  const bool stopped_above = freezer != nullptr && is(*freezer, "freezer.parent_freezing", "1");
  if (stopped_above && !place.members(*freezer).pids.empty()) {
    const auto state = freeze_state(place);
    return refuse("frozen-ancestor", base::printable(place.path()) + ": on v1 frozen processes do not die, and " +
                                         base::printable(state.ancestor) + " above it is frozen; thaw that first");
  }
  if (has_kill && (populated(*v2) || !by_v2.pids.empty())) {
    // Gone meanwhile: systemd ended the unit first.
    if (const auto done = write_file(v2->fd.get(), "cgroup.kill", "1");
        !done && !base::means_vanished(done.error().code)) {
      if (done.error().code == EOPNOTSUPP) {
        return refuse("threaded", base::printable(place.path()) +
                                      " is threaded: processes die whole, and with all threads they are in a cgroup "
                                      "above it, their domain; kill that");
      }
      return tl::unexpected(Refusal{model::Outcome::Kind::failed, {}, done.error().what});
    }
    if (is(*v2, "cgroup.freeze", "1")) (void)write_file(v2->fd.get(), "cgroup.freeze", "0");
    if (freezer != nullptr) (void)let_go_v1(*freezer);
  }
  // v1: stop all, so that none can be born, signal, and let them go to die. A task that is just being made may escape
  // one round, so again until nobody is left.
  bool left_frozen = false;
  while (true) {
    const auto now = place.members();
    if (now.pids.empty() && now.foreign == 0) break;
    const auto rest = has_kill ? missing(now.pids, place.members(*v2).pids) : now.pids;
    if (!rest.empty()) {
      if (freezer != nullptr) {
        const auto moment = std::min(deadline, base::monotonic_now() + milliseconds(500));
        left_frozen = true;
        (void)freeze_v1(*freezer, moment);
        (void)signal_each(place, proc, place.members().pids, SIGKILL);
        left_frozen = !let_go_v1(*freezer);
      } else {
        // Stopped processes cannot fork, either.
        (void)signal_each(place, proc, rest, SIGSTOP);
        (void)signal_each(place, proc, place.members().pids, SIGKILL);
      }
    }
    if (base::monotonic_now() >= deadline) {
      const auto last = place.members();
      out.left.assign(last.pids.begin(), last.pids.end());
      out.foreign = last.foreign;
      break;
    }
    if (place.dirs().size() == 1 && v2 != nullptr && has_kill) {
      (void)wait_for_event(*v2, "populated", 0, deadline);
    } else {
      std::this_thread::sleep_for(kRetry);
    }
  }
  if (left_out > 0) out.foreign = std::max(out.foreign, left_out_by_v1(place));
  if (left_frozen) (void)let_go_v1(*freezer);
  return out;
}

Checked<Reclaimed> reclaim(const CgroupHandle& place, std::int64_t bytes, base::Monotonic deadline) {
  const auto* const dir = place.of_controller("memory");
  const auto shown = base::printable(place.path());
  if (dir == nullptr) return refuse("controller", "the memory controller is not on for " + shown);
  if (!dir->is_v2()) {
    return refuse("kernel",
                  "v1 has no way to reclaim memory of a cgroup that is in use; memory.reclaim is of v2 (5.19)");
  }
  const auto used = [&] {
    const auto text = read_file(dir->fd.get(), "memory.current");
    return text ? base::to_int<std::int64_t>(base::trim_end(*text)).value_or(0) : 0;
  };
  const auto before = used();
  Reclaimed out;
  std::int64_t asked = 0;
  while (asked < bytes && base::monotonic_now() < deadline) {
    const auto step = std::min(bytes - asked, kReclaimStep);
    const auto done = write_file(dir->fd.get(), "memory.reclaim", std::to_string(step));
    if (!done) {
      const auto code = done.error().code;
      if (code == EAGAIN) break;  // part of it: no more is to be had
      if (code == ENOENT) return refuse("kernel", "this kernel has no memory.reclaim (5.19)");
      return tl::unexpected(Refusal{base::means_vanished(code)                         ? model::Outcome::Kind::gone
                                    : code == EACCES || code == EPERM || code == EROFS ? model::Outcome::Kind::denied
                                                                                       : model::Outcome::Kind::failed,
                                    {},
                                    done.error().what});
    }
    asked += step;
  }
  out.all = asked >= bytes;
  out.bytes = std::max<std::int64_t>(0, before - used());
  return out;
}

}  // namespace cgwarden::control
