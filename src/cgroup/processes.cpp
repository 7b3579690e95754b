// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/processes.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "src/base/file.h"
#include "src/base/result.h"
#include "src/base/text.h"

namespace cgwarden::cgroup {
namespace {

constexpr std::size_t kInitialProcBufferSize = 64UL << 10U;
constexpr std::size_t kMaxProcFileSize = 4UL << 20U;
constexpr int kRead = O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC;
constexpr int kDirectory = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr std::uint64_t kKernelThread = 0x00200000;  // PF_KTHREAD

// PIDFD_GET_..._NAMESPACE of <linux/pidfd.h>, indexed as kNamespaceKinds. Since Linux 6.11 (fs/pidfs.c).
constexpr std::array<unsigned long, kNamespaceKinds.size()> kPidfdGetNamespace = {
    _IO(0xFF, 1), _IO(0xFF, 2), _IO(0xFF, 3), _IO(0xFF, 4), _IO(0xFF, 5), _IO(0xFF, 7), _IO(0xFF, 9), _IO(0xFF, 10)};

// Formats a PID as a C string for openat() without an allocation.
class PidName {
 public:
  explicit PidName(pid_t pid) { *std::to_chars(text_, text_ + sizeof text_ - 1, pid).ptr = '\0'; }
  [[nodiscard]] const char* c_str() const { return text_; }

 private:
  char text_[16]{};
};

std::uint64_t ticks_since_boot() {
  static const auto per_second = static_cast<std::uint64_t>(std::max(1L, ::sysconf(_SC_CLK_TCK)));
  timespec ts{};
  ::clock_gettime(CLOCK_BOOTTIME, &ts);
  return static_cast<std::uint64_t>(ts.tv_sec) * per_second +
         static_cast<std::uint64_t>(ts.tv_nsec) / (1'000'000'000 / per_second);
}

}  // namespace

std::uint64_t parse_namespace_link(std::string_view link, std::string_view kind) {
  if (!link.starts_with(kind)) return 0;
  link.remove_prefix(kind.size());
  if (!link.starts_with(":[") || !link.ends_with(']')) return 0;
  return base::to_int<std::uint64_t>(link.substr(2, link.size() - 3)).value_or(0);
}

bool parse_process_stat(std::string_view text, ProcessStat& out) {
  const auto end_of_command = text.rfind(')');
  if (end_of_command == std::string_view::npos) return false;
  text.remove_prefix(end_of_command + 1);
  text = base::trim_end(text);
  // Field numbers as in proc_pid_stat(5): 3 state, 9 flags, 20 num_threads, 22 starttime.
  for (int field = 3; field <= 22; ++field) {
    const auto word = base::take_word(text);
    if (word.empty()) return false;
    if (field == 3) {
      out.state = word.front();
      continue;
    }
    if (field != 9 && field != 20 && field != 22) continue;
    const auto number = base::to_int<std::uint64_t>(word);
    if (!number) return false;
    (field == 9 ? out.flags : field == 20 ? out.threads : out.start) = *number;
  }
  return true;
}

ProcessTable::ProcessTable(const HostHierarchies& host, const HostPaths& paths, Options options,
                           std::function<void(std::string)> log)
    : hierarchies_(host.all),
      options_(options),
      log_(std::move(log)),
      proc_(::open(paths.procfs.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
      buffer_(kInitialProcBufferSize) {
  struct statfs fs {};
  if (!proc_ || ::fstatfs(proc_.get(), &fs) != 0 || fs.f_type != PROC_SUPER_MAGIC) return;  // a recorded host
  // cgroup.procs lists PIDs of the reader's PID namespace, so /proc must be of the same namespace.
  char self[16];
  const auto n = ::readlinkat(proc_.get(), "self", self, sizeof self);
  if (n <= 0 || base::to_int<pid_t>(std::string_view(self, static_cast<std::size_t>(n))) != ::getpid()) {
    log_("processes are unknown: " + base::printable(paths.procfs) +
         " belongs to another PID namespace than the agent (run the agent in the PID namespace of the host)");
    return;
  }
  usable_ = true;
  const auto add_where = [&](auto&& matches) {
    for (std::size_t h = 0; h < std::min(hierarchies_.size(), Tree::kMaxHierarchies); ++h) {
      if (matches(hierarchies_[h])) order_.push_back(h);
    }
  };
  add_where([](const Hierarchy& h) { return h.version == 2; });
  add_where([](const Hierarchy& h) { return h.version == 1 && !h.name.empty(); });
  // cpuacct first: it shows whether a process ran.
  add_where([](const Hierarchy& h) { return h.version == 1 && h.name.empty() && h.has("cpuacct"); });
  add_where([](const Hierarchy& h) { return h.version == 1 && h.name.empty() && !h.has("cpuacct"); });

  const auto self_fd = open(::getpid());
  for (std::size_t kind = 0; kind < kNamespaceKinds.size(); ++kind) {
    const auto link = "ns/" + std::string(kNamespaceKinds[kind]);
    struct stat st {};
    kinds_[kind] = ::fstatat(self_fd.get(), link.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
  }
  NamespaceIds by_link{}, by_pidfd{};
  by_pidfd_ = options_.by_pidfd && read_namespaces(self_fd.get(), ::getpid(), by_link) &&
              query_namespaces(self_fd.get(), ::getpid(), by_pidfd) && by_link == by_pidfd;
  find_host_namespaces();
}

void ProcessTable::find_host_namespaces() {
  model::CollectorStats unused;
  if (!open(pid_t{1})) {  // every PID namespace has one
    hidepid_ = true;
    log_("processes of other users are unknown: /proc hides them (hidepid=, ProtectProc=; grant CAP_SYS_PTRACE)");
  }
  if (const auto first = open(pid_t{1}); first && read_namespaces(first.get(), 1, host_)) return;
  NamespaceIds ids{};
  ProcessStat stat;
  const auto thread = open(pid_t{2});
  if (thread && parse_process_stat(read_file(thread.get(), "stat", unused), stat) &&
      (stat.flags & kKernelThread) != 0 && read_namespaces(thread.get(), 2, ids)) {
    host_ = ids;
    return;
  }
  log_("host namespaces are unknown: cannot read /proc/1/ns (grant CAP_SYS_PTRACE)");
}

base::Fd ProcessTable::open(pid_t pid) const {
  base::Fd fd(::openat(proc_.get(), PidName(pid).c_str(), kDirectory));
  struct stat st {};
  if (fd && ::fstat(fd.get(), &st) != 0)
    fd.reset();  // with hidepid, a hidden process can be opened by name, but not accessed
  return fd;
}

base::Fd ProcessTable::open(const Process& process) const {
  auto fd = open(process.pid);
  struct stat st {};
  if (fd && (::fstat(fd.get(), &st) != 0 || st.st_ino != process.proc_id)) fd.reset();
  return fd;
}

std::string_view ProcessTable::read_file(int process, const char* file, model::CollectorStats& stats) {
  const base::Fd fd(::openat(process, file, kRead));
  if (!fd) return {};
  ++stats.reads;
  std::size_t size = 0;
  while (true) {
    const auto n = ::read(fd.get(), buffer_.data() + size, buffer_.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    size += static_cast<std::size_t>(n);
    if (size < buffer_.size()) continue;
    if (size >= kMaxProcFileSize) break;
    buffer_.resize(size * 2);
  }
  stats.bytes += size;
  return {buffer_.data(), size};
}

void ProcessTable::begin_sample() {
  ++sample_;
  new_count_ = 0;
  now_ = base::monotonic_now();
  cgroup_index_ = model::kNoCgroup;
}

void ProcessTable::end_sample() {
  std::erase_if(known_, [this](const auto& entry) { return entry.second.last_sample != sample_; });
}

bool ProcessTable::read_list(const Tree& tree, const Node& node, std::size_t hierarchy, model::CollectorStats& stats) {
  bool threads = false;
  std::size_t size = 0;
  while (true) {
    const base::Fd fd(
        tree.open_file(node, hierarchy, threads ? "cgroup.threads" : "cgroup.procs", O_RDONLY | O_NOFOLLOW));
    if (!fd) return base::is_gone(errno);
    ++stats.reads;
    size = 0;
    ssize_t n = 0;
    while ((n = ::pread(fd.get(), buffer_.data() + size, buffer_.size() - size, static_cast<off_t>(size))) != 0) {
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) break;
      size += static_cast<std::size_t>(n);
      if (size < buffer_.size()) continue;
      if (size >= kMaxProcFileSize) break;
      buffer_.resize(size * 2);
    }
    if (n < 0 && errno == EOPNOTSUPP && !threads) {  // a threaded cgroup has threads, not processes
      threads = true;
      continue;
    }
    if (n < 0) return base::is_gone(errno) || errno == EOPNOTSUPP;
    break;
  }
  stats.bytes += size;
  std::string_view text(buffer_.data(), size);
  while (!text.empty()) {
    const auto pid = base::to_int<pid_t>(base::take_line(text));
    if (!pid || *pid < 0) continue;
    if (*pid == 0) {
      ++cgroup_.out_of_view;
    } else {
      cgroup_.pids.push_back(*pid);
    }
  }
  if (threads) replace_threads_by_processes(stats);
  std::ranges::sort(cgroup_.pids);
  cgroup_.pids.erase(std::unique(cgroup_.pids.begin(), cgroup_.pids.end()), cgroup_.pids.end());
  return true;
}

// Replaces thread IDs by the IDs of their processes (Tgid).
void ProcessTable::replace_threads_by_processes(model::CollectorStats& stats) {
  std::size_t cached = 0;
  for (std::size_t i = 0; i < cgroup_.pids.size(); ++i) {
    if (i >= options_.max_per_cgroup) {
      ++cgroup_.out_of_view;
      continue;
    }
    const auto fd = open(cgroup_.pids[i]);
    if (!fd && !is_exited(errno)) ++cgroup_.out_of_view;
    if (!fd) continue;
    auto status = read_file(fd.get(), "status", stats);
    constexpr std::string_view key = "\nTgid:\t";
    const auto at = status.find(key);
    if (at == std::string_view::npos) continue;
    status.remove_prefix(at + key.size());
    if (const auto owner = base::to_int<pid_t>(base::take_line(status))) cgroup_.pids[cached++] = *owner;
  }
  cgroup_.pids.resize(cached);
}

// Returns true if none of the cached processes ran and no task was migrated in the hierarchies that were read for them.
// Hierarchies in which the cgroup had no process had none that could run. A process created directly in the cgroup
// (CLONE_INTO_CGROUP) is noticed as soon as it runs.
bool ProcessTable::pids_unchanged(const Tree& tree, const Node& node, const CachedPids& cached) const {
  std::uint32_t writes = 0;
  std::uint32_t migrations = 0;
  for (std::size_t i = 0; i < cached.hierarchies; ++i) {
    const auto h = order_[i];
    if ((node.mask >> h & 1U) == 0) continue;
    if (!node.dirs[h].idle || node.dirs[h].watch < 0) return false;
    writes += node.dirs[h].writes;
    migrations += tree.migrations(h);
  }
  return cached.listed && cached.writes == writes && cached.migrations == migrations;
}

// Stores the list; returns true if it equals that of the last sample and none of its processes ran since.
bool ProcessTable::cache_pids(const Tree& tree, Node& node, std::size_t hierarchies) {
  auto& cached = node.processes;
  const bool same =
      cached.hierarchies == hierarchies && cached.pids == cgroup_.pids && pids_unchanged(tree, node, cached);
  cached.unchanged = same && cgroup_.out_of_view == 0;
  cached.listed = cgroup_.listed && cgroup_.pids.size() <= options_.max_per_cgroup;
  cached.hierarchies = hierarchies;
  cached.writes = cached.migrations = 0;
  for (std::size_t i = 0; i < hierarchies; ++i) {
    const auto h = order_[i];
    if ((node.mask >> h & 1U) == 0) continue;
    cached.writes += node.dirs[h].writes;
    cached.migrations += tree.migrations(h);
  }
  if (cached.listed) {
    cached.pids = cgroup_.pids;
  } else {
    cached.pids.clear();
  }
  return same;
}

const ProcessTable::Cgroup& ProcessTable::list(const Tree& tree, Node& node, model::CgroupIndex cgroup,
                                               model::CollectorStats& stats) {
  if (cgroup == cgroup_index_) return cgroup_;
  cgroup_index_ = cgroup;
  inspected_ = false;
  cgroup_.pids.clear();
  cgroup_.known.clear();
  cgroup_.out_of_view = cgroup_.unknown = 0;
  cgroup_.listed = false;
  unchanged_ = idle_ = false;
  if (!usable_) return cgroup_;
  listed_tick_ = ticks_since_boot();
  if (node.processes.unchanged && pids_unchanged(tree, node, node.processes)) {
    unchanged_ = idle_ = cgroup_.listed = true;
    cgroup_.pids = node.processes.pids;
    listed_hierarchy_ = order_[node.processes.hierarchies - 1];
    return cgroup_;
  }
  std::size_t tried = 0;
  for (const auto h : order_) {
    ++tried;
    if ((node.mask >> h & 1U) == 0) continue;
    if (!read_list(tree, node, h, stats)) {
      ++stats.errors;
      ++stats.errors_now;
      continue;
    }
    cgroup_.listed = true;
    listed_hierarchy_ = h;
    if (cgroup_.count() != 0) break;
  }
  idle_ = cache_pids(tree, node, tried);
  return cgroup_;
}

const ProcessTable::Cgroup& ProcessTable::inspect(const Tree& tree, Node& node, model::CgroupIndex cgroup,
                                                  model::CollectorStats& stats) {
  list(tree, node, cgroup, stats);
  if (inspected_) return cgroup_;
  inspected_ = true;
  cgroup_.unknown = cgroup_.out_of_view;
  for (std::size_t i = 0; i < cgroup_.pids.size(); ++i) {
    if (i >= options_.max_per_cgroup) {
      cgroup_.unknown += cgroup_.pids.size() - i;
      break;
    }
    const Process* process = nullptr;
    switch (inspect_process(cgroup_.pids[i], node, stats, process)) {
      case Inspection::known:
        cgroup_.known.push_back(process);
        if (!process->complete) ++cgroup_.unknown;
        break;
      case Inspection::gone:
        break;
      case Inspection::unknown:
        ++cgroup_.unknown;
        break;
    }
  }
  return cgroup_;
}

ProcessTable::Inspection ProcessTable::inspect_process(pid_t pid, const Node& node, model::CollectorStats& stats,
                                                       const Process*& out) {
  const auto known = known_.find(pid);
  if (known != known_.end()) {
    auto& process = known->second;
    struct stat st {};
    if (!unchanged_ && ::fstatat(proc_.get(), PidName(pid).c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
      return Inspection::gone;
    // Each process gets a new inode number for /proc/PID; the kernel may also drop the inode and create another one.
    const bool same = unchanged_ || st.st_ino == process.proc_id;
    const bool due = now_ - process.read_at >= options_.refresh_interval;
    const auto age = static_cast<std::int64_t>(listed_tick_) - static_cast<std::int64_t>(process.start);
    static const auto per_second = std::max(1L, ::sysconf(_SC_CLK_TCK));
    const bool young = age < options_.young_age.count() * per_second;
    // setns(), unshare() and exec() change only the namespaces of the calling task (kernel/nsproxy.c). A process with
    // threads in several cgroups is listed by each of them, so that it is noticed whichever of them runs.
    process.ran = process.ran || !idle_ || !process.complete;
    // The interval depends on the PID, so that no sample has to read all processes.
    const bool keep_while_idle =
        !process.ran && now_ - process.read_at < options_.idle_refresh_interval * (1.0 + pid % 64 / 64.0);
    // A process is read at most once in a sample.
    if (process.last_sample == sample_ || (same && (keep_while_idle || (!due && !young)))) {
      if (process.last_sample != sample_) {
        process.first_cgroup = cgroup_index_;
        if (keep_while_idle && (young || now_ - process.root_read_at >= options_.refresh_interval)) read_root(process);
      }
      process.last_sample = sample_;
      out = &process;
      return Inspection::known;
    }
  }
  if (new_count_ >= options_.max_new || (known == known_.end() && known_.size() >= options_.max_known)) {
    if (!std::exchange(logged_bound_, true)) {
      log_("process limit of one sample reached: namespaces of some processes are unknown until a later sample");
    }
    return Inspection::unknown;
  }
  ++new_count_;
  Process process;
  const auto result = read_process(pid, node, process, stats);
  if (result != Inspection::known) return result;
  process.last_sample = sample_;
  process.first_cgroup = cgroup_index_;
  auto& entry = known_[pid];
  entry = std::move(process);
  out = &entry;
  return Inspection::known;
}

ProcessTable::Inspection ProcessTable::read_process(pid_t pid, const Node& node, Process& process,
                                                    model::CollectorStats& stats) {
  const auto fd = open(pid);
  if (!fd) return is_exited(errno) ? Inspection::gone : Inspection::unknown;
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return Inspection::gone;
  process.pid = pid;
  process.proc_id = st.st_ino;
  process.read_at = process.root_read_at = now_;
  ProcessStat stat;
  const auto text = read_file(fd.get(), "stat", stats);
  if (text.empty()) return base::exists(fd.get(), "stat") ? Inspection::unknown : Inspection::gone;
  if (!parse_process_stat(text, stat)) return Inspection::unknown;
  process.start = stat.start;
  if (stat.start >= listed_tick_ && !is_member(fd.get(), node, stats)) return Inspection::gone;
  if (stat.state == 'Z' || stat.state == 'X') return Inspection::gone;  // a zombie has no namespaces
  process.complete = read_namespaces(fd.get(), pid, process.namespaces);
  char root[1024];
  const auto n = ::readlinkat(fd.get(), "root", root, sizeof root);
  if (n > 0) process.root.assign(root, static_cast<std::size_t>(n));
  // A process that exits meanwhile loses links of /proc/PID/ns one by one.
  if (!process.complete && !base::exists(fd.get(), "stat")) return Inspection::gone;
  return Inspection::known;
}

// The caller knows that the process has not exited.
void ProcessTable::read_root(Process& process) const {
  char link[32];
  std::memcpy(std::to_chars(link, link + 16, process.pid).ptr, "/root", sizeof "/root");
  char root[1024];
  const auto n = ::readlinkat(proc_.get(), link, root, sizeof root);
  process.root.assign(root, static_cast<std::size_t>(std::max<ssize_t>(0, n)));
  process.root_read_at = now_;
}

// Reading links of /proc/PID/ns makes the kernel cache a dentry and an inode for each, 8 kB per process; the ioctl on a
// pidfd caches nothing.
bool ProcessTable::query_namespaces(int process, pid_t pid, NamespaceIds& ids) const {
  const base::Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  // /proc/PID is held open; if it still exists, the PID was not reused and the pidfd is that of the same process.
  if (!fd || !base::exists(process, "stat")) return false;
  bool complete = true;
  for (std::size_t kind = 0; kind < kNamespaceKinds.size(); ++kind) {
    if (!kinds_[kind]) continue;
    const base::Fd ns(::ioctl(fd.get(), kPidfdGetNamespace[kind], 0));
    struct stat st {};
    ids[kind] = ns && ::fstat(ns.get(), &st) == 0 ? st.st_ino : 0;
    complete = complete && ids[kind] != 0;
  }
  return complete;
}

bool ProcessTable::read_namespaces(int process, pid_t pid, NamespaceIds& ids) const {
  if (by_pidfd_) return query_namespaces(process, pid, ids);
  static const auto links = [] {
    std::array<std::string, kNamespaceKinds.size()> out;
    for (std::size_t kind = 0; kind < out.size(); ++kind) out[kind] = "ns/" + std::string(kNamespaceKinds[kind]);
    return out;
  }();
  bool complete = true;
  for (std::size_t kind = 0; kind < kNamespaceKinds.size(); ++kind) {
    if (!kinds_[kind]) continue;
    char link[64];
    const auto n = ::readlinkat(process, links[kind].c_str(), link, sizeof link);
    const std::string_view text(link, n > 0 ? static_cast<std::size_t>(n) : 0);
    ids[kind] = parse_namespace_link(text, kNamespaceKinds[kind]);
    complete = complete && ids[kind] != 0;
  }
  return complete;
}

bool ProcessTable::is_member(int process, const Node& node, model::CollectorStats& stats) {
  const auto& hierarchy = hierarchies_[listed_hierarchy_];
  auto text = read_file(process, "cgroup", stats);
  while (!text.empty()) {
    auto line = base::take_line(text);
    const auto id = base::take_until(line, ':');
    auto controllers = base::take_until(line, ':');
    bool matches = hierarchy.version == 2 && id == "0" && controllers.empty();
    while (hierarchy.version == 1 && !controllers.empty() && !matches) {
      const auto word = base::take_until(controllers, ',');
      matches = word.starts_with("name=") ? word.substr(5) == hierarchy.name : hierarchy.has(word);
    }
    if (matches) return line == node.cgroup->path;
  }
  return false;
}

}  // namespace cgwarden::cgroup
