// SPDX-License-Identifier: Apache-2.0
// The processes of cgroups with their namespaces and root directories from /proc. Shared by all collectors that need
// them, so that a cgroup is listed once and a process is read once per sample.
//
// A PID does not identify a process, because PIDs are reused. While a process is read, a file descriptor of its
// /proc/PID is open, so that all values belong to one process. A process is recognized by the inode number of
// /proc/PID, which the kernel assigns anew to each process. If a process started after its cgroup was listed, its
// membership is read from /proc/PID/cgroup, so that a PID reused in between is not counted in the cgroup of its
// predecessor.
//
// Namespaces rarely change. They are read when a process is first seen, in each sample while the process is young
// (runtimes set up namespaces then), then at long intervals, and still less often while its cgroup is idle, because a
// process must run to enter a namespace. Others can change its root directory, though: pivot_root(2), chroot(2) by a
// process that shares it (CLONE_FS), or a rename. All memory is bounded; a value that a limit excludes is unknown,
// never 0.
//
// Thread: the sampler's. Errors: a process that cannot be read (EACCES) or that exceeds a limit is unknown; an exited
// one is omitted.
#pragma once

#include <sys/types.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "src/base/clock.h"
#include "src/base/fd.h"
#include "src/cgroup/hierarchy.h"
#include "src/cgroup/tree.h"
#include "src/model/snapshot.h"

namespace cgwarden::cgroup {

inline constexpr std::array<std::string_view, 8> kNamespaceKinds = {"cgroup", "ipc",  "mnt",  "net",
                                                                    "pid",    "time", "user", "uts"};
inline constexpr std::size_t kNet = 3;  // index in kNamespaceKinds

// Inode numbers of namespaces, indexed as kNamespaceKinds; 0: unknown.
using NamespaceIds = std::array<std::uint64_t, kNamespaceKinds.size()>;

struct Process {
  pid_t pid = 0;
  std::uint64_t start = 0;    // start time, clock ticks since boot
  std::uint64_t proc_id = 0;  // inode of /proc/PID
  NamespaceIds namespaces{};
  std::string root;  // "/": the root of its mount namespace; another path: a chroot; empty: unknown
  base::Monotonic read_at{};
  base::Monotonic root_read_at{};
  std::uint32_t last_sample = 0;        // number of the last sample that saw it
  model::CgroupIndex first_cgroup = 0;  // first cgroup that listed it in that sample; v1 has one per hierarchy
  bool complete = false;                // all namespace kinds of this kernel are known
  bool ran = false;                     // it may have run since it was read
};

// Returns the inode number of a link in /proc/PID/ns: "net:[4026531840]" -> 4026531840; 0 for any other text.
std::uint64_t parse_namespace_link(std::string_view link, std::string_view kind);

// The fields of /proc/PID/stat that are needed. The command name may contain any bytes, ')' and newline included.
struct ProcessStat {
  char state = '?';
  std::uint64_t threads = 0;
  std::uint64_t start = 0;
  std::uint64_t flags = 0;
};
// Returns false if `text` is truncated or malformed.
bool parse_process_stat(std::string_view text, ProcessStat& out);

class ProcessTable {
 public:
  struct Options {
    std::size_t max_per_cgroup = 4096;                // processes read in one cgroup
    std::size_t max_known = 65'536;                   // processes remembered in total
    std::size_t max_new = 8192;                       // processes read for the first time, or again, in one sample
    std::chrono::seconds young_age{10};               // up to this age, namespaces are read in each sample
    std::chrono::seconds refresh_interval{60};        // afterwards, they are read at this interval
    std::chrono::seconds idle_refresh_interval{300};  // or at one to two times this one if no task of the cgroup ran
    bool by_pidfd = true;                             // false: behave as on a kernel before 6.11 (for tests)
  };

  struct Cgroup {
    std::vector<pid_t> pids;        // sorted, without duplicates
    std::uint64_t out_of_view = 0;  // processes of a PID namespace that the agent cannot see (listed as PID 0)
    bool listed = false;            // false: the list could not be read, or /proc is not usable
    std::vector<const Process*> known;
    std::uint64_t unknown = 0;  // processes that could not be read although they have not exited

    [[nodiscard]] std::uint64_t count() const { return pids.size() + out_of_view; }
  };

  // `log` gets single lines for the log, on this thread.
  ProcessTable(const HostHierarchies& host, const HostPaths& paths, Options options,
               std::function<void(std::string)> log);

  // Returns false if /proc does not belong to the agent's own PID namespace, as on a recorded host.
  [[nodiscard]] bool usable() const { return usable_; }
  // Returns true if a failed open() with this errno means that the process has exited.
  [[nodiscard]] bool is_exited(int code) const { return !hidepid_ && (code == ENOENT || code == ESRCH); }
  void begin_sample();
  // Removes the processes that no cgroup listed since begin_sample().
  void end_sample();

  // Returns the processes of the cgroup without its descendants, from the first hierarchy that has some: v2, named,
  // then v1. Valid until the next call. The list is not read again while none of them ran and no task was migrated.
  const Cgroup& list(const Tree& tree, Node& node, model::CgroupIndex cgroup, model::CollectorStats& stats);
  // As list(), and reads each process (`known`, `unknown`).
  const Cgroup& inspect(const Tree& tree, Node& node, model::CgroupIndex cgroup, model::CollectorStats& stats);

  // Returns the namespaces of PID 1, or of a kernel thread if those of PID 1 cannot be read.
  [[nodiscard]] const NamespaceIds& host_namespaces() const { return host_; }
  // Returns whether this kernel has that kind of namespace (index in kNamespaceKinds).
  [[nodiscard]] bool has_kind(std::size_t kind) const { return kinds_[kind]; }
  // Opens /proc/PID of this process; the result is empty if the process has exited, even if its PID was reused.
  [[nodiscard]] base::Fd open(const Process& process) const;
  // Opens /proc/PID of the process that has that PID now.
  [[nodiscard]] base::Fd open(pid_t pid) const;
  // Reads a file relative to an open /proc/PID; empty if it cannot be read. Valid until the next call.
  std::string_view read_file(int process, const char* file, model::CollectorStats& stats);

  [[nodiscard]] std::size_t known_count() const { return known_.size(); }

 private:
  enum class Inspection { known, gone, unknown };

  Inspection inspect_process(pid_t pid, const Node& node, model::CollectorStats& stats, const Process*& out);
  Inspection read_process(pid_t pid, const Node& node, Process& process, model::CollectorStats& stats);
  void read_root(Process& process) const;
  bool read_namespaces(int process, pid_t pid, NamespaceIds& ids) const;
  bool query_namespaces(int process, pid_t pid, NamespaceIds& ids) const;
  bool is_member(int process, const Node& node, model::CollectorStats& stats);
  [[nodiscard]] bool pids_unchanged(const Tree& tree, const Node& node, const CachedPids& cached) const;
  bool cache_pids(const Tree& tree, Node& node, std::size_t hierarchies);
  bool read_list(const Tree& tree, const Node& node, std::size_t hierarchy, model::CollectorStats& stats);
  void replace_threads_by_processes(model::CollectorStats& stats);
  void find_host_namespaces();

  std::vector<Hierarchy> hierarchies_;
  Options options_;
  std::function<void(std::string)> log_;
  base::Fd proc_;
  bool usable_ = false;
  bool hidepid_ = false;  // /proc hides processes of other users, so that ENOENT does not mean that a process exited
  std::array<bool, kNamespaceKinds.size()> kinds_{};
  bool by_pidfd_ = false;  // this kernel returns namespaces by ioctl on a pidfd
  NamespaceIds host_{};
  std::vector<std::size_t> order_;  // hierarchies in the order in which they are searched for processes
  std::unordered_map<pid_t, Process> known_;
  Cgroup cgroup_;
  model::CgroupIndex cgroup_index_ = model::kNoCgroup;
  bool inspected_ = false;
  bool unchanged_ = false;            // cgroup_ is as in the last sample: no process exited, so no PID was reused
  bool idle_ = false;                 // no process of cgroup_ ran or was added since the last sample
  std::size_t listed_hierarchy_ = 0;  // hierarchy that cgroup_.pids is from
  std::uint64_t listed_tick_ = 0;     // time of that, clock ticks since boot
  std::uint32_t sample_ = 0;
  std::size_t new_count_ = 0;
  bool logged_bound_ = false;
  base::Monotonic now_{};
  std::vector<char> buffer_;
};

}  // namespace cgwarden::cgroup
