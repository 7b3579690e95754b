// SPDX-License-Identifier: Apache-2.0
#include "src/control/guards.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "src/base/fd.h"
#include "src/base/text.h"
#include "src/control/place.h"

namespace cgwarden::control {
namespace {

using model::Verb;

constexpr uid_t kFirstOfPeople = 1000;
constexpr std::size_t kMaxAncestors = 256;
constexpr std::size_t kMaxProcesses = 1U << 20U;

constexpr std::string_view kPrograms[] = {
    "NetworkManager",
    "agetty",
    "conmon",
    "containerd",
    "containerd-shim",
    "containerd-shim-runc-v2",
    "crio",
    "dbus-broker",
    "dbus-broker-launch",
    "dbus-daemon",
    "dockerd",
    "iscsid",
    "kubelet",
    "login",
    "multipathd",
    "polkitd",
    "screen",
    "sshd",
    "sshd-session",
    "systemd-journald",
    "systemd-logind",
    "systemd-networkd",
    "systemd-resolved",
    "systemd-udevd",
    "tmux",
    "udevd",
};

// Units that hold those programs, so that they are protected also while they are just being started.
constexpr std::string_view kUnits[] = {
    "/init.scope",
    "/system.slice/NetworkManager.service",
    "/system.slice/containerd.service",
    "/system.slice/dbus-broker.service",
    "/system.slice/dbus.service",
    "/system.slice/docker.service",
    "/system.slice/k3s.service",
    "/system.slice/kubelet.service",
    "/system.slice/polkit.service",
    "/system.slice/ssh.service",
    "/system.slice/sshd.service",
    "/system.slice/systemd-journald.service",
    "/system.slice/systemd-logind.service",
    "/system.slice/systemd-networkd.service",
    "/system.slice/systemd-resolved.service",
    "/system.slice/systemd-udevd.service",
};

constexpr std::string_view kWholeSlices[] = {"/machine.slice", "/system.slice", "/user.slice"};

struct Seen {
  pid_t parent = 0;
  uid_t uid = 0;
  bool first_namespace = true;
  std::string name;  // of its program, or what it calls itself where the program is not to be seen
  std::vector<std::string> paths;
};

std::string_view value_of(std::string_view status, std::string_view key) {
  while (!status.empty()) {
    auto line = base::take_line(status);
    if (line.starts_with(key)) {
      line.remove_prefix(key.size());
      return line;
    }
  }
  return {};
}

// Of its executable file; what it calls itself where that is not to be seen; empty: a kernel thread, or gone.
std::string program_of(int proc, const std::string& pid) {
  std::array<char, 4096> link{};
  const auto n = ::readlinkat(proc, (pid + "/exe").c_str(), link.data(), link.size());
  if (n > 0) {
    std::string_view program(link.data(), static_cast<std::size_t>(n));
    if (program.ends_with(" (deleted)")) program.remove_suffix(10);  // replaced by an upgrade
    return std::string(program.substr(program.rfind('/') + 1));
  }
  if (errno != EACCES && errno != EPERM) return {};
  const auto status = read_file(proc, pid + "/status");
  if (!status) return {};
  auto rest = value_of(*status, "Name:");
  return std::string(base::take_word(rest));
}

std::optional<Seen> look(int proc, const std::string& pid) {
  const base::Fd dir(::openat(proc, pid.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return std::nullopt;
  const auto status = read_file(dir.get(), "status");
  const auto cgroups = read_file(dir.get(), "cgroup");
  if (!status || !cgroups) return std::nullopt;
  Seen seen;
  auto rest = value_of(*status, "PPid:");
  seen.parent = base::to_int<pid_t>(base::take_word(rest)).value_or(0);
  rest = value_of(*status, "Uid:");
  seen.uid = base::to_int<uid_t>(base::take_word(rest)).value_or(kFirstOfPeople);
  rest = value_of(*status, "NSpid:");
  base::take_word(rest);
  seen.first_namespace = base::take_word(rest).empty();
  seen.name = program_of(proc, pid);
  for (auto& membership : parse_memberships(*cgroups)) {
    if (std::ranges::find(seen.paths, membership.path) == seen.paths.end()) {
      seen.paths.push_back(std::move(membership.path));
    }
  }
  return seen;
}

bool is_marked_omit(int dir) {
  struct stat st {};
  char value = 0;
  const auto says_so = [&](const char* name) { return ::fgetxattr(dir, name, &value, 1) == 1 && value == '1'; };
  return says_so("trusted.oomd_omit") ||
         (::fstat(dir, &st) == 0 && st.st_uid == 0 && says_so("user.oomd_omit"));  // since systemd 250
}

bool is_kubernetes(std::string_view path) {
  path.remove_prefix(1);
  while (!path.empty()) {
    if (base::take_until(path, '/').starts_with("kubepods")) return true;
  }
  return false;
}

}  // namespace

std::span<const std::string_view> protected_programs() { return kPrograms; }

GuardFacts look_at_processes(const std::string& proc, std::span<const pid_t> asking) {
  GuardFacts facts;
  const base::Fd dir(::open(proc.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return facts;
  const auto add = [&](std::string guard, pid_t pid, const Seen& seen) {
    facts.processes.push_back(
        {std::move(guard), base::printable(seen.name) + " (pid " + std::to_string(pid) + ")", seen.paths});
  };
  if (const auto first = look(dir.get(), "1")) add("init", 1, *first);
  // One system call for each process, and more only for those that count: there may be a fork bomb.
  std::size_t looked = 0;
  for (const auto& name : children_of(dir.get())) {
    const auto pid = base::to_int<pid_t>(name);
    if (!pid || ++looked > kMaxProcesses) continue;
    const auto program = program_of(dir.get(), name);
    if (std::ranges::find(kPrograms, std::string_view(program)) == std::end(kPrograms)) continue;
    const auto seen = look(dir.get(), name);
    if (seen && seen->uid < kFirstOfPeople && seen->first_namespace) add("system", *pid, *seen);
  }
  const auto with_ancestors = [&](const char* guard, pid_t pid) {
    for (std::size_t steps = 0; pid > 1 && steps < kMaxAncestors; ++steps) {
      const auto seen = look(dir.get(), std::to_string(pid));
      if (!seen) return;
      add(guard, pid, *seen);
      pid = seen->parent;
    }
  };
  with_ancestors("self", ::getpid());
  for (const auto pid : asking) with_ancestors("session", pid);
  return facts;
}

std::optional<Guarded> guard_of(const GuardFacts& facts, Verb verb, std::string_view path) {
  const auto shown = base::printable(path);
  if (path == "/") return Guarded{"root", "the root cgroup is the whole machine; name a cgroup below it"};
  if (verb == Verb::thaw || verb == Verb::unlimit) return std::nullopt;
  if (is_kubernetes(path)) {
    return Guarded{"kubepods", shown +
                                   " belongs to the kubelet, which sets it again within a minute; change the pod "
                                   "(kubectl patch, kubectl delete pod)"};
  }
  for (const auto unit : kUnits) {
    if (is_within(unit, path) || is_within(path, unit)) {
      // Limits on the slice of many services are usual; what is in them is looked at below.
      if (is_within(path, unit)) {
        return Guarded{unit == "/init.scope" ? "init" : "system",
                       shown + " is what this machine is kept alive by; it is never touched"};
      }
    }
  }
  if (verb == Verb::freeze || verb == Verb::kill || verb == Verb::signal) {
    for (const auto slice : kWholeSlices) {
      if (path == slice) return Guarded{"slice", shown + " is a whole part of the machine; name a cgroup below it"};
    }
  }
  for (const auto& one : facts.processes) {
    for (const auto& own : one.paths) {
      if (!is_within(own, path)) continue;
      std::string why = " lives in it";
      if (one.guard == "self") why = ", which would do it or was started by who does, lives in it";
      if (one.guard == "session") why = ", from which it was asked, lives in it";
      return Guarded{one.guard, shown + " is not touched: " + one.who + why};
    }
  }
  const std::string whole(path);
  for (const auto& pattern : facts.patterns) {
    // Neither what is protected nor what contains it, as far as the pattern says so.
    if (::fnmatch(pattern.c_str(), whole.c_str(), 0) == 0 || is_within(pattern, path)) {
      return Guarded{"protected", shown + " is protected by '" + base::printable(pattern) + "'"};
    }
  }
  return std::nullopt;
}

std::optional<Guarded> spared_from_kills(const CgroupHandle& place) {
  std::optional<std::string> marked;
  if (place.v2() == nullptr) return std::nullopt;
  look_below(place.v2()->fd.get(), [&marked](int dir, const std::string& path) {
    if (!marked && is_marked_omit(dir)) marked = path;
    return !marked;
  });
  if (!marked) return std::nullopt;
  return Guarded{"oom-preference",
                 base::printable(place.path() + *marked) + " has ManagedOOMPreference=omit: no rule kills it"};
}

std::optional<Guarded> rights_of(const Rights& rights, const cgroup::HostHierarchies& host, Verb verb,
                                 const model::CgroupRef& cgroup) {
  if (rights.admin || rights.uid == 0) return std::nullopt;
  const auto shown = base::printable(cgroup.path);
  if (host.layout() != "v2") {
    return Guarded{"owner", "on v1 only root and the enforcer's group may act: ownership there is no border"};
  }
  const auto owns = [&](const model::CgroupRef& one) {
    const auto place = CgroupHandle::open(host, one);
    struct stat dir {};
    struct stat procs {};
    const int fd = place && place->v2() != nullptr ? place->v2()->fd.get() : -1;
    return fd >= 0 && ::fstat(fd, &dir) == 0 && ::fstatat(fd, "cgroup.procs", &procs, AT_SYMLINK_NOFOLLOW) == 0 &&
           dir.st_uid == rights.uid && procs.st_uid == rights.uid;
  };
  if (!owns(cgroup)) {
    return Guarded{"owner",
                   shown +
                       " is not yours: only root, the enforcer's group and the owner of a delegated cgroup may "
                       "act on it"};
  }
  const bool ends = verb == Verb::freeze || verb == Verb::thaw || verb == Verb::kill || verb == Verb::signal;
  const auto parent = cgroup.path.substr(0, cgroup.path.rfind('/'));
  if (!ends && !owns({parent.empty() ? "/" : parent, 0})) {
    return Guarded{"owner",
                   shown + " is the top of what was delegated to you: its limits are not yours, those below are"};
  }
  return std::nullopt;
}

}  // namespace cgwarden::control
