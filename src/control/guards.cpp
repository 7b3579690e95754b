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
#include "src/control/cgroup_handle.h"

namespace cgwarden::control {
namespace {

using model::Verb;

constexpr uid_t kFirstRegularUid = 1000;
constexpr std::size_t kMaxAncestors = 256;
constexpr std::size_t kMaxProcesses = 1U << 20U;

constexpr std::string_view kProtectedPrograms[] = {
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

// Units of those programs, so that they are protected while they start as well.
constexpr std::string_view kProtectedUnits[] = {
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

constexpr std::string_view kTopLevelSlices[] = {"/machine.slice", "/system.slice", "/user.slice"};

struct ProcessInfo {
  pid_t parent = 0;
  uid_t uid = 0;
  bool first_namespace = true;
  std::string name;  // file name of the executable, or `comm` if the executable cannot be read
  std::vector<std::string> paths;
};

std::string_view field_of(std::string_view status, std::string_view key) {
  while (!status.empty()) {
    auto line = base::take_line(status);
    if (line.starts_with(key)) {
      line.remove_prefix(key.size());
      return line;
    }
  }
  return {};
}

// File name of the executable, or `comm` if it cannot be read; empty for a kernel thread or an exited process.
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
  auto rest = field_of(*status, "Name:");
  return std::string(base::take_word(rest));
}

std::optional<ProcessInfo> read_process(int proc, const std::string& pid) {
  const base::Fd dir(::openat(proc, pid.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return std::nullopt;
  const auto status = read_file(dir.get(), "status");
  const auto cgroups = read_file(dir.get(), "cgroup");
  if (!status || !cgroups) return std::nullopt;
  ProcessInfo info;
  auto rest = field_of(*status, "PPid:");
  info.parent = base::to_int<pid_t>(base::take_word(rest)).value_or(0);
  rest = field_of(*status, "Uid:");
  info.uid = base::to_int<uid_t>(base::take_word(rest)).value_or(kFirstRegularUid);
  rest = field_of(*status, "NSpid:");
  base::take_word(rest);
  info.first_namespace = base::take_word(rest).empty();
  info.name = program_of(proc, pid);
  for (auto& membership : parse_memberships(*cgroups)) {
    if (std::ranges::find(info.paths, membership.path) == info.paths.end()) {
      info.paths.push_back(std::move(membership.path));
    }
  }
  return info;
}

bool has_omit_mark(int dir) {
  struct stat st {};
  char value = 0;
  const auto has_mark = [&](const char* name) { return ::fgetxattr(dir, name, &value, 1) == 1 && value == '1'; };
  return has_mark("trusted.oomd_omit") ||
         (::fstat(dir, &st) == 0 && st.st_uid == 0 && has_mark("user.oomd_omit"));  // since systemd 250
}

bool is_kubernetes(std::string_view path) {
  path.remove_prefix(1);
  while (!path.empty()) {
    if (base::take_until(path, '/').starts_with("kubepods")) return true;
  }
  return false;
}

}  // namespace

std::span<const std::string_view> protected_programs() { return kProtectedPrograms; }

GuardFacts find_protected_processes(const std::string& proc, std::span<const pid_t> requesters) {
  GuardFacts facts;
  const base::Fd dir(::open(proc.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return facts;
  const auto add = [&](std::string guard, pid_t pid, const ProcessInfo& info) {
    facts.processes.push_back(
        {std::move(guard), base::printable(info.name) + " (pid " + std::to_string(pid) + ")", info.paths});
  };
  if (const auto first = read_process(dir.get(), "1")) add("init", 1, *first);
  // One system call for each process, and more only for protected programs: there may be a fork bomb.
  std::size_t examined = 0;
  for (const auto& name : child_directories(dir.get())) {
    const auto pid = base::to_int<pid_t>(name);
    if (!pid || ++examined > kMaxProcesses) continue;
    const auto program = program_of(dir.get(), name);
    if (std::ranges::find(kProtectedPrograms, std::string_view(program)) == std::end(kProtectedPrograms)) continue;
    const auto info = read_process(dir.get(), name);
    if (info && info->uid < kFirstRegularUid && info->first_namespace) add("system", *pid, *info);
  }
  const auto with_ancestors = [&](const char* guard, pid_t pid) {
    for (std::size_t steps = 0; pid > 1 && steps < kMaxAncestors; ++steps) {
      const auto info = read_process(dir.get(), std::to_string(pid));
      if (!info) return;
      add(guard, pid, *info);
      pid = info->parent;
    }
  };
  with_ancestors("self", ::getpid());
  for (const auto pid : requesters) with_ancestors("session", pid);
  return facts;
}

std::optional<GuardVerdict> check_guards(const GuardFacts& facts, Verb verb, std::string_view path) {
  const auto shown = base::printable(path);
  if (path == "/") return GuardVerdict{"root", "/: refused: the root cgroup is the whole machine (name a descendant)"};
  if (verb == Verb::thaw || verb == Verb::unlimit) return std::nullopt;
  if (is_kubernetes(path)) {
    return GuardVerdict{"kubepods", shown +
                                        ": refused: the kubelet manages this cgroup and overwrites changes within a "
                                        "minute (change the pod: kubectl patch, kubectl delete pod)"};
  }
  for (const auto unit : kProtectedUnits) {
    if (is_within(unit, path) || is_within(path, unit)) {
      // Limits on a slice of many services are common; the processes in it are checked below.
      if (is_within(path, unit)) {
        return GuardVerdict{unit == "/init.scope" ? "init" : "system",
                            shown + ": refused: the unit is essential to the machine and always protected"};
      }
    }
  }
  if (verb == Verb::freeze || verb == Verb::kill || verb == Verb::signal) {
    for (const auto slice : kTopLevelSlices) {
      if (path == slice)
        return GuardVerdict{"slice",
                            shown + ": refused: the slice contains a whole class of services (name a descendant)"};
    }
  }
  for (const auto& one : facts.processes) {
    for (const auto& own : one.paths) {
      if (!is_within(own, path)) continue;
      std::string role = "the protected process ";
      if (one.guard == "self") role = "this program or its ancestor ";
      if (one.guard == "session") role = "the caller or its ancestor ";
      return GuardVerdict{one.guard, shown + ": refused: it contains " + role + one.description};
    }
  }
  const std::string whole(path);
  for (const auto& pattern : facts.patterns) {
    // Covers the matching cgroups, and their ancestors as far as the pattern names them literally.
    if (::fnmatch(pattern.c_str(), whole.c_str(), 0) == 0 || is_within(pattern, path)) {
      return GuardVerdict{"protected",
                          shown + ": refused: it matches the protected pattern '" + base::printable(pattern) + "'"};
    }
  }
  return std::nullopt;
}

std::optional<GuardVerdict> check_oom_preference(const CgroupHandle& handle) {
  std::optional<std::string> marked;
  if (handle.v2() == nullptr) return std::nullopt;
  walk_subtree(handle.v2()->fd.get(), [&marked](int dir, const std::string& path) {
    if (!marked && has_omit_mark(dir)) marked = path;
    return !marked;
  });
  if (!marked) return std::nullopt;
  return GuardVerdict{"oom-preference", base::printable(handle.path()) +
                                            ": refused: " + base::printable(handle.path() + *marked) +
                                            " has ManagedOOMPreference=omit, so no rule may kill it"};
}

std::optional<GuardVerdict> check_permissions(const Permissions& rights, const cgroup::HostHierarchies& host, Verb verb,
                                              const model::CgroupRef& cgroup) {
  if (rights.admin || rights.uid == 0) return std::nullopt;
  const auto shown = base::printable(cgroup.path);
  if (host.layout() != "v2") {
    return GuardVerdict{"owner", shown +
                                     ": permission denied: on v1 only root and members of the enforcer's Unix group "
                                     "may act, because ownership is not a security boundary there"};
  }
  const auto owns = [&](const model::CgroupRef& one) {
    const auto handle = CgroupHandle::open(host, one);
    struct stat dir {};
    struct stat procs {};
    const int fd = handle && handle->v2() != nullptr ? handle->v2()->fd.get() : -1;
    return fd >= 0 && ::fstat(fd, &dir) == 0 && ::fstatat(fd, "cgroup.procs", &procs, AT_SYMLINK_NOFOLLOW) == 0 &&
           dir.st_uid == rights.uid && procs.st_uid == rights.uid;
  };
  if (!owns(cgroup)) {
    return GuardVerdict{"owner", shown +
                                     ": permission denied: only root, members of the enforcer's Unix group and the "
                                     "owner of a delegated cgroup may act on it"};
  }
  const bool ends = verb == Verb::freeze || verb == Verb::thaw || verb == Verb::kill || verb == Verb::signal;
  const auto parent = cgroup.path.substr(0, cgroup.path.rfind('/'));
  if (!ends && !owns({parent.empty() ? "/" : parent, 0})) {
    return GuardVerdict{"owner", shown +
                                     ": permission denied: it is the root of a delegated subtree, whose limits belong "
                                     "to the delegating user (limit a descendant)"};
  }
  return std::nullopt;
}

}  // namespace cgwarden::control
