// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/live.h"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "src/base/fd.h"
#include "src/base/file.h"
#include "src/base/text.h"
#include "src/cgroup/hierarchy.h"

namespace cgwarden::cgtop {
namespace {

constexpr std::size_t kMaxCommand = 4096;
constexpr int kMaxDepth = 64;

// Directory of the cgroup in a hierarchy; nullopt if it is outside the mounted part.
std::optional<std::string> directory(const cgroup::Hierarchy& h, std::string_view cgroup) {
  if (h.root != "/") {
    if (!cgroup.starts_with(h.root)) return std::nullopt;
    cgroup.remove_prefix(h.root.size());
  }
  return h.mount_point + (cgroup.empty() || cgroup.front() == '/' ? "" : "/") + std::string(cgroup);
}

std::string user_name(std::uint32_t uid) {
  static std::map<std::uint32_t, std::string> known;
  const auto [at, made] = known.try_emplace(uid);
  if (made) {
    const passwd* entry = ::getpwuid(uid);
    at->second = entry != nullptr ? entry->pw_name : std::to_string(uid);
  }
  return at->second;
}

void list_pids(int dir, bool recursive, int depth, std::set<int>& pids, std::size_t& hidden) {
  auto text = base::read_file(dir, "cgroup.procs");
  if (!text) text = base::read_file(dir, "cgroup.threads");  // EOPNOTSUPP in a threaded cgroup
  std::string_view rest = text ? std::string_view(*text) : std::string_view();
  while (!rest.empty()) {
    const auto pid = base::to_int<int>(base::take_line(rest));
    if (!pid) continue;
    if (*pid > 0) {
      pids.insert(*pid);
    } else {
      ++hidden;
    }
  }
  if (!recursive || depth > kMaxDepth) return;
  const int copy = ::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return;
  DIR* const listing = ::fdopendir(copy);
  if (listing == nullptr) {
    ::close(copy);
    return;
  }
  while (const dirent* entry = ::readdir(listing)) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == ".." || (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN)) continue;
    const base::Fd child(::openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (child) list_pids(child.get(), true, depth + 1, pids, hidden);
  }
  ::closedir(listing);
}

// proc(5), /proc/PID/stat: the fields after the command name, which ends at the last ')'.
bool parse_stat(std::string_view text, Process& out) {
  const auto open = text.find('(');
  const auto close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return false;
  out.command = "[" + std::string(text.substr(open + 1, close - open - 1)) + "]";
  auto rest = text.substr(close + 1);
  const double tick = static_cast<double>(::sysconf(_SC_CLK_TCK));
  for (int field = 3; field <= 24; ++field) {
    const auto word = base::take_word(rest);
    const auto n = base::to_int<std::int64_t>(base::trim_end(word)).value_or(0);
    if (field == 3 && !word.empty()) out.state = word.front();
    if (field == 4) out.parent = static_cast<int>(n);
    if (field == 14 || field == 15) out.cpu_seconds += static_cast<double>(n) / tick;
    if (field == 20) out.threads = static_cast<int>(n);
    if (field == 22) out.started = static_cast<double>(n) / tick;
    if (field == 24) out.rss = n * ::sysconf(_SC_PAGESIZE);
  }
  return true;
}

std::optional<Process> read_process(const std::string& procfs, int pid) {
  const auto folder = procfs + "/" + std::to_string(pid);
  const base::Fd dir(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return std::nullopt;
  Process out;
  out.pid = pid;
  const auto stat = base::read_file(dir.get(), "stat");
  if (!stat || !parse_stat(*stat, out)) return std::nullopt;
  const auto status = base::read_file(dir.get(), "status").value_or("");
  std::string_view rest = status;
  while (!rest.empty()) {
    auto line = base::take_line(rest);
    const auto key = base::take_until(line, ':');
    if (key == "Uid") out.uid = base::to_int<std::uint32_t>(base::take_word(line)).value_or(0);
  }
  out.swap = base::proc_kib(status, "VmSwap");
  out.user = user_name(out.uid);
  if (auto command = base::read_file(dir.get(), "cmdline", kMaxCommand); command && !command->empty()) {
    while (!command->empty() && command->back() == '\0') command->pop_back();
    std::ranges::replace(*command, '\0', ' ');
    if (!command->empty()) out.command = std::move(*command);
  }
  return out;
}

}  // namespace

ContainerNames::ContainerNames(const cgroup::HostPaths& paths)
    : resolver_({.rootfs = paths.rootfs, .procfs = paths.procfs}, [](const std::string&) {}) {}

void ContainerNames::complete(model::Snapshot& snapshot) {
  resolver_.refresh();
  snapshot.containers = resolver_.resolve(snapshot.cgroup_list);
}

collectors::CollectionOptions live_options(const cgroup::HostPaths& paths) {
  collectors::CollectionOptions options;
  options.paths = paths;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    const auto free = limit.rlim_cur > 512 ? limit.rlim_cur - 256 : limit.rlim_cur / 2;
    options.max_open_files = std::min<std::size_t>(options.max_open_files, free / 2);
    options.tree.max_open_dirs = free - options.max_open_files;
  }
  return options;
}

std::optional<std::string> cgroup_of_pid(const cgroup::HostPaths& paths, int pid) {
  const auto text = base::read_file(paths.procfs + "/" + std::to_string(pid) + "/cgroup");
  if (!text) return std::nullopt;
  std::optional<std::string> best;
  std::string_view rest = *text;
  while (!rest.empty()) {
    auto line = base::take_line(rest);  // "4:memory:/a:b": the path may contain colons
    const auto number = base::take_until(line, ':');
    const auto controllers = base::take_until(line, ':');
    // Prefer the deepest path; skip named hierarchies, which have no controller.
    if (number.empty() || line.empty() || controllers.starts_with("name=")) continue;
    if (!best || line.size() > best->size()) best = std::string(line);
  }
  return best;
}

Processes read_processes(const cgroup::HostPaths& paths, const cgroup::HostHierarchies& hierarchies,
                         const std::string& cgroup, bool recursive) {
  Processes out;
  std::set<int> pids;
  for (const auto& h : hierarchies.all) {
    const auto path = directory(h, cgroup);
    if (!path) continue;
    const base::Fd dir(::open(path->c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (!dir) continue;
    std::size_t hidden = 0;
    list_pids(dir.get(), recursive, 0, pids, hidden);
    out.hidden = std::max(out.hidden, hidden);
  }
  out.at = base::to_double(base::read_file(paths.procfs + "/uptime").value_or("")).value_or(0);
  for (const int pid : pids) {
    if (auto process = read_process(paths.procfs, pid)) {
      process->age = std::max(0.0, out.at - process->started);
      out.all.push_back(std::move(*process));
    }
  }
  return out;
}

std::vector<Finding> examine(const cgroup::HostPaths& paths) {
  using enum Finding::Grade;
  std::vector<Finding> out;
  const auto add = [&](Finding::Grade grade, std::string what, std::string remedy = {}) {
    out.push_back({grade, std::move(what), std::move(remedy)});
  };

  const auto host = cgroup::find_hierarchies(paths);
  if (!host) {
    add(problem, host.error().what, "mount cgroup v2: mount -t cgroup2 none /sys/fs/cgroup");
    return out;
  }
  add(good, "cgroup hierarchies: mounted, " + host->summary());

  const auto* const v2 = host->v2();
  for (const std::string_view controller : {"cpu", "memory", "io", "pids", "cpuset"}) {
    const std::string v1_name = controller == "io" ? "blkio" : std::string(controller);
    const cgroup::Hierarchy* where = nullptr;
    for (const auto& h : host->all) {
      if (h.version == 1 ? h.has(v1_name) : h.has(controller)) where = &h;
    }
    if (where != nullptr) {
      add(good, "controller " + std::string(controller) + ": available on cgroup v" + std::to_string(where->version));
      if (where->version != 2) continue;
      const auto on =
          " " +
          std::string(base::trim_end(base::read_file(where->mount_point + "/cgroup.subtree_control").value_or(""))) +
          " ";
      if (on.find(" " + std::string(controller) + " ") == std::string::npos) {
        add(note, "controller " + std::string(controller) + ": not enabled for the children of the root cgroup",
            "with systemd, set DefaultCPUAccounting=, DefaultMemoryAccounting=, DefaultIOAccounting= or "
            "DefaultTasksAccounting=yes in /etc/systemd/system.conf; otherwise: echo +" +
                std::string(controller) + " > " + where->mount_point + "/cgroup.subtree_control");
      }
    } else if (std::ranges::find(host->unbound, std::string(controller)) != host->unbound.end() ||
               std::ranges::find(host->unbound, v1_name) != host->unbound.end()) {
      std::string remedy =
          "boot with systemd.unified_cgroup_hierarchy=1, or mount the v1 hierarchy: mount -t cgroup -o ";
      remedy.append(v1_name).append(" none /sys/fs/cgroup/").append(v1_name);
      add(problem,
          "controller " + std::string(controller) + ": enabled in the kernel, but not in any mounted hierarchy",
          remedy);
    } else {
      const bool memory = controller == "memory";
      add(problem, "controller " + std::string(controller) + ": missing from the kernel or disabled at boot",
          memory ? "boot with cgroup_enable=memory"
                 : "check cgroup_disable= in /proc/cmdline, or use a kernel with this controller");
    }
  }

  if (!base::read_file(paths.procfs + "/pressure/cpu")) {
    add(problem, "pressure (PSI): not accounted by the kernel",
        "boot with psi=1 (needed with CONFIG_PSI_DEFAULT_DISABLED=y)");
  } else if (v2 == nullptr) {
    add(note, "pressure (PSI): available for the host only, because cgroup v1 has no pressure files",
        "boot with cgroup v2");
  } else {
    add(good, "pressure (PSI): accounted by the kernel");
    if (base::read_file(v2->mount_point + "/cgroup.pressure").value_or("1").starts_with("0")) {
      add(note, "pressure (PSI): disabled for the root cgroup", "echo 1 > " + v2->mount_point + "/cgroup.pressure");
    }
  }
  if (v2 == nullptr && !host->all.empty()) {
    add(note, "cgroup v2: not mounted, so pressure, memory.high and cgroup.freeze are missing",
        "boot with systemd.unified_cgroup_hierarchy=1");
  }

  if (const auto cgroup = base::read_file(paths.procfs + "/self/cgroup"); cgroup && v2 != nullptr && v2->root != "/") {
    add(note, "cgroup namespace or container: only the cgroups under " + base::printable(v2->root) + " are visible",
        "run cgtop on the host");
  }
  const auto status = base::read_file(paths.procfs + "/self/status").value_or("");
  std::string_view rest = status;
  while (!rest.empty()) {
    auto line = base::take_line(rest);
    if (base::take_until(line, ':') != "CapEff") continue;
    const auto caps = base::to_int<std::uint64_t>(base::take_word(line), 16).value_or(0);
    constexpr std::uint64_t dac_read_search = 1U << 2U;
    constexpr std::uint64_t dac_override = 1U << 1U;
    constexpr std::uint64_t ptrace = 1U << 19U;
    if (::geteuid() == 0 || (caps & (dac_read_search | dac_override)) != 0) {
      add(good, "permissions: all cgroups are readable");
    } else {
      add(note, "permissions: cgroups with mode 0700 are not readable", "run as root, or with CAP_DAC_READ_SEARCH");
    }
    if ((caps & ptrace) == 0) {
      add(note, "permissions: I/O of processes of other users is not readable", "run as root, or with CAP_SYS_PTRACE");
    }
  }

  const std::string root = paths.rootfs == "/" ? "" : paths.rootfs;
  for (const auto& [name, path] : {std::pair<const char*, const char*>{"Docker", "/var/lib/docker"},
                                   {"containerd", "/run/containerd"},
                                   {"Podman", "/var/lib/containers/storage"},
                                   {"CRI-O", "/run/crio"},
                                   {"Kubernetes", "/var/lib/kubelet"},
                                   {"LXC", "/var/lib/lxc"}}) {
    if (base::exists(AT_FDCWD, (root + path).c_str())) add(good, std::string(name) + ": found (" + path + ")");
  }
  if (!base::exists(AT_FDCWD, (root + "/run/systemd/system").c_str())) {
    add(note, "systemd: not running, so no unit sets limits or delegates cgroups");
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < 4096) {
    add(note, "open files: the hard limit is " + std::to_string(limit.rlim_max) + ", which slows reading many cgroups",
        "raise it: ulimit -Hn 65536");
  }
  return out;
}

}  // namespace cgwarden::cgtop
