// SPDX-License-Identifier: Apache-2.0
// The processes of cgroups, and what /proc says about each: namespaces and root. Shared by the collectors that need it,
// so a cgroup is listed once and a process is looked at once in a round.
//
// A pid is not a process. A process is held by a descriptor of its /proc/PID while it is read, so all that is read is
// of one process; it is known again by the inode of /proc/PID, which the kernel gives once, or else by pid and start
// time. One that started after its cgroup was listed is asked for its cgroup, so a pid that was used again between the
// two is not counted where its predecessor was.
//
// Namespaces change seldom: they are read at first sight, again while the process is young (runtimes set them up then),
// and slowly afterwards; hardly ever while its cgroup sleeps, as a process enters a namespace by running. Its root can
// be moved by others: pivot_root(2), chroot(2) of one that shares it, renames. Everything is bounded, and what a bound
// leaves out is unknown, never 0.
//
// Thread: the sampler's. Errors: "permission denied" and "not looked at" make a process unknown; vanished ones are left
// out.
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
inline constexpr std::size_t kNet = 3;  // of kNamespaceKinds

// Inode numbers of namespaces, by kind; 0: unknown.
using NamespaceIds = std::array<std::uint64_t, kNamespaceKinds.size()>;

struct Process {
  pid_t pid = 0;
  std::uint64_t start = 0;    // ticks since boot
  std::uint64_t proc_id = 0;  // inode of /proc/PID
  NamespaceIds namespaces{};
  std::string root;  // "/": as its mount namespace has it; another path: a chroot; empty: unknown
  base::Monotonic read_at{};
  base::Monotonic root_read_at{};
  std::uint32_t round = 0;              // in which it was last met
  model::CgroupIndex first_cgroup = 0;  // that listed it in that round; on v1 several can, each in its hierarchy
  bool complete = false;                // all namespaces of this kernel are known
  bool ran = false;                     // it may have, since it was read
};

// "net:[4026531840]" -> 4026531840; 0 for anything else.
std::uint64_t parse_namespace_link(std::string_view link, std::string_view kind);

// What is wanted of /proc/PID/stat. The command in it is any bytes, also ')' and newline.
struct ProcessStat {
  char state = '?';
  std::uint64_t threads = 0;
  std::uint64_t start = 0;
  std::uint64_t flags = 0;
};
bool parse_process_stat(std::string_view text, ProcessStat& out);

class ProcessTable {
 public:
  struct Options {
    std::size_t max_per_cgroup = 4096;   // processes looked at in one cgroup
    std::size_t max_known = 65'536;      // kept in all
    std::size_t max_fresh = 8192;        // read anew in one round
    std::chrono::seconds young{10};      // so long namespaces are read in each round
    std::chrono::seconds age_limit{60};  // and then so often
    std::chrono::seconds asleep{300};    // but no sooner, up to twice that, when no task of its cgroup ran
    bool by_pidfd = true;                // false: as on a kernel before 6.11
  };

  struct Cgroup {
    std::vector<pid_t> pids;        // ascending, none twice
    std::uint64_t out_of_view = 0;  // processes of a pid namespace that this agent does not see: pid 0
    bool listed = false;            // false: the list could not be read, or there is no live /proc
    std::vector<const Process*> known;
    std::uint64_t unknown = 0;  // neither known nor gone

    [[nodiscard]] std::uint64_t count() const { return pids.size() + out_of_view; }
  };

  ProcessTable(const HostHierarchies& host, const HostPaths& paths, Options options,
               std::function<void(std::string)> notice);

  // False: no live /proc of this very view of pids, such as a recording.
  [[nodiscard]] bool usable() const { return usable_; }
  // A failed open() with this errno means that the process ended.
  [[nodiscard]] bool means_exited(int code) const { return !hides_ && (code == ENOENT || code == ESRCH); }
  void begin_round();
  // Forgets processes not met since begin_round().
  void end_round();

  // The cgroup's own processes, from the hierarchy that has them: v2, named, then v1. Valid until the next call.
  // Not read again while the kernel shows that none of them ran and none was moved.
  const Cgroup& list(const Tree& tree, Node& node, model::CgroupIndex cgroup, model::CollectorStats& stats);
  // The same, with each process looked at.
  const Cgroup& look(const Tree& tree, Node& node, model::CgroupIndex cgroup, model::CollectorStats& stats);

  // The namespaces of the host's first process, or of a kernel thread where that one may not be looked at.
  [[nodiscard]] const NamespaceIds& host_namespaces() const { return host_; }
  // Which kinds this kernel has.
  [[nodiscard]] bool has_kind(std::size_t kind) const { return kinds_[kind]; }
  // /proc/PID of this very process; not open when it is gone.
  [[nodiscard]] base::Fd open(const Process& process) const;
  // Opens /proc/PID of whatever has that pid now.
  [[nodiscard]] base::Fd open(pid_t pid) const;
  // Reads a file below an open /proc/PID; nothing when it cannot be. Valid until the next call.
  std::string_view read_file(int process, const char* file, model::CollectorStats& stats);

  [[nodiscard]] std::size_t known_count() const { return known_.size(); }

 private:
  enum class Seen { known, gone, unknown };

  Seen look_at(pid_t pid, const Node& node, model::CollectorStats& stats, const Process*& out);
  Seen read_process(pid_t pid, const Node& node, Process& process, model::CollectorStats& stats);
  void read_root(Process& process) const;
  bool read_namespaces(int process, pid_t pid, NamespaceIds& ids) const;
  bool ask_for_namespaces(int process, pid_t pid, NamespaceIds& ids) const;
  bool is_member(int process, const Node& node, model::CollectorStats& stats);
  [[nodiscard]] bool nothing_moved(const Tree& tree, const Node& node, const KeptList& kept) const;
  bool keep_list(const Tree& tree, Node& node, std::size_t hierarchies);
  bool read_list(const Tree& tree, const Node& node, std::size_t hierarchy, model::CollectorStats& stats);
  void owners_of_threads(model::CollectorStats& stats);
  void find_host_namespaces();

  std::vector<Hierarchy> hierarchies_;
  Options options_;
  std::function<void(std::string)> notice_;
  base::Fd proc_;
  bool usable_ = false;
  bool hides_ = false;  // /proc hides processes of others (hidepid): one that is not there may be there all the same
  std::array<bool, kNamespaceKinds.size()> kinds_{};
  bool by_pidfd_ = false;  // this kernel tells the namespaces of a pidfd
  NamespaceIds host_{};
  std::vector<std::size_t> order_;  // of hierarchies: where to look for processes first
  std::unordered_map<pid_t, Process> known_;
  Cgroup cgroup_;
  model::CgroupIndex cgroup_index_ = model::kNoCgroup;
  bool looked_ = false;
  bool quiet_ = false;             // group_ is as it was: no process ended, so no pid is another's
  bool asleep_ = false;            // none of group_ ran or came since the last round
  std::size_t listed_in_ = 0;      // hierarchy of group_.pids
  std::uint64_t listed_tick_ = 0;  // when, in ticks since boot
  std::uint32_t round_ = 0;
  std::size_t fresh_ = 0;
  bool told_bound_ = false;
  base::Monotonic now_{};
  std::vector<char> buffer_;
};

}  // namespace cgwarden::cgroup
