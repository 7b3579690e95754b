// SPDX-License-Identifier: Apache-2.0
// All cgroups of the host as one tree of paths over all hierarchies.
//
//   Node "/a"   dirs: cpu -> fd, inode    memory -> fd, inode    v2 -> fd, inode
//
// Created and removed cgroups are reported by inotify on the directories. If no inotify watches are available, or the
// event queue overflowed, the tree is walked again. A directory of the same name with another inode is another cgroup.
//
// Thread: the sampler's. Errors: none are returned; failures are logged once per cause and counted in stats().
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/base/fd.h"
#include "src/cgroup/cached_text.h"
#include "src/cgroup/hierarchy.h"
#include "src/model/snapshot.h"

namespace cgwarden::cgroup {

// The cgroup's directory in one hierarchy.
struct Dir {
  base::Fd fd;                     // empty beyond Options::max_open_dirs; the directory is then opened by path
  int watch = -1;                  // inotify watch descriptor; -1: not watched
  std::uint64_t inode = 0;         // 0: the cgroup is not in this hierarchy
  std::uint64_t last_inode = 0;    // kept after the cgroup was removed
  std::uint32_t seen_in_walk = 0;  // number of the last walk that found it
  // Number of writes to files of this directory and of its ancestors, and of created and removed children, as reported
  // by inotify.
  std::uint32_t writes = 0;
  // Set by the Reader: run time of the cgroup's tasks, and whether none of them ran between the last two reads.
  std::uint64_t run_time : 63 = 0;  // microseconds (v2) or nanoseconds (v1, enough for 292 years)
  std::uint64_t idle : 1 = 0;

  void update_run_time(std::uint64_t time, bool known) {
    constexpr auto mask = ~std::uint64_t{0} >> 1U;
    idle = known && run_time == (time & mask) ? 1 : 0;
    run_time = time & mask;
  }
};
static_assert(sizeof(Dir) == 40);  // up to ten per cgroup

// State of one interface file of one cgroup, owned by the Reader.
struct OpenFile {
  int fd = -1;
  std::uint32_t read_at : 30 = 0;  // second of the last read, or of the check that found it absent; 0: never
  bool absent : 1 = false;
  bool unchanged : 1 = false;      // two reads under the conditions of its SkipRule were equal
  std::uint32_t writes = 0;        // Dir::writes at that time
  std::uint32_t change_count = 0;  // count of the other events that its SkipRule depends on, at that time
  CachedText text;                 // content, if the file can be skipped (SkipRule, or changes only on write)

  void mark_read(std::uint32_t second) { read_at = second & 0x3FFF'FFFFU; }  // 34 years
};
static_assert(sizeof(OpenFile) == 32);  // about 60 per cgroup

// Process list of a cgroup, cached by the ProcessTable while none of the processes ran or was migrated.
struct CachedPids {
  std::vector<pid_t> pids;
  std::size_t hierarchies = 0;  // number of hierarchies that were read until one listed a process
  std::uint32_t writes = 0;
  std::uint32_t migrations = 0;
  bool listed = false;     // false: the list could not be read or is too long to be cached
  bool unchanged = false;  // the last two lists were equal
};

struct Node {
  std::string name;
  Node* parent = nullptr;
  std::map<std::string, std::unique_ptr<Node>, std::less<>> children;
  std::vector<Dir> dirs;   // by hierarchy
  std::uint32_t mask = 0;  // bit h: the cgroup is in hierarchy h
  std::shared_ptr<const model::Cgroup> cgroup;

  // Interface files that list_files() found, indexed by the number of the file's name: inode number of the file minus
  // that of its directory. kNoFile: no such file. kFarFile: the difference is too large; the file is opened by name.
  static constexpr std::uint16_t kNoFile = 0, kFarFile = 0xFFFF;
  std::vector<std::uint16_t> file_offsets;
  std::uint32_t listed = 0;     // bit h: file_offsets is valid for hierarchy h
  std::uint32_t listed_at = 0;  // set by the Reader: second of that

  int plan = -1;  // set by the Reader: number of its Plan; -1: to be chosen again
  std::vector<OpenFile> files;
  std::uint8_t limits = 0xFF;       // limits that may be set on it (skip_rules.h)
  std::uint8_t path_limits = 0xFF;  // limits that may be set on it or an ancestor
  CachedPids processes;
  ~Node();
  Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
};

class Tree {
 public:
  static constexpr std::size_t kMaxHierarchies = 32;

  struct Options {
    std::size_t max_cgroups = 65'536;
    std::size_t max_open_dirs = 10'000;  // directory descriptors that stay open
    bool watch = true;                   // false: behave as without inotify (for tests)
    bool by_inode = true;                // false: as on a kernel before 5.5 or without CAP_DAC_READ_SEARCH (for tests)
  };

  // Walks all hierarchies once. `log` gets single lines for the log, once per cause.
  Tree(const std::vector<Hierarchy>& hierarchies, Options options, std::function<void(std::string)> log);

  // Returns a descriptor that is readable if there are events; -1 if nothing is watched.
  [[nodiscard]] int event_fd() const { return inotify_.get(); }
  // Processes all pending events. Never blocks.
  void take_events();
  // Brings the tree up to date: processes events, or walks the tree if events are not available.
  void refresh();

  // Returns the nodes that are cgroups, parents first. The index is the model::CgroupIndex in cgroup_list().
  [[nodiscard]] const std::vector<Node*>& nodes();
  [[nodiscard]] std::shared_ptr<const model::CgroupList> cgroup_list();
  [[nodiscard]] const model::TreeStats& stats() const { return stats_; }
  [[nodiscard]] std::size_t hierarchy_count() const { return roots_.size(); }
  // Returns a number that changes if a write may have migrated a task between cgroups of the hierarchy.
  [[nodiscard]] std::uint32_t migrations(std::size_t h) const { return roots_[h].migrations; }
  // Returns the cgroups that were removed since the last call, with the time at which the agent noticed it. Includes
  // cgroups that no snapshot contained. At most kMaxRemovals.
  struct Removal {
    std::shared_ptr<const model::Cgroup> cgroup;
    base::Wall when;
  };
  [[nodiscard]] std::vector<Removal> take_removals() { return std::exchange(removals_, {}); }
  // Opens `file` of the cgroup in hierarchy h; returns -1 and sets errno on failure. If the files of the cgroup were
  // listed, the file is opened by inode number: the kernel then caches no dentry and no inode (0.9 kB per file), and
  // the file cannot be that of another cgroup of the same name.
  [[nodiscard]] int open_file(const Node& node, std::size_t h, const char* file, int flags) const;
  // Lists the interface files of the cgroup. To be called again if files may have been added or removed.
  void list_files(Node& node);

 private:
  struct NameHash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using FileNumbers = std::unordered_map<std::string, std::uint16_t, NameHash, std::equal_to<>>;
  struct Root {
    base::Fd fd;
    std::string path;  // Hierarchy::root: path of the cgroup at the mount point
    std::string mount_point;
    bool shows_all_cgroups = false;  // no task can be migrated to or from a cgroup outside of the mount
    bool counts_children = false;    // st_nlink of a directory is the number of its children plus 2
    bool by_inode = false;           // its files can be opened by inode number
    FileNumbers file_numbers;        // index in Node::file_offsets by name of the file
    std::uint32_t migrations = 0;
  };
  struct Watched {
    Node* node = nullptr;
    std::size_t hierarchy = 0;
  };
  static constexpr std::size_t kMaxRemovals = 4096;
  static constexpr std::uint16_t kMaxFileNames = 4096;  // about 150 are needed

  void note_removal(const Node& node);
  Node* find_or_create(std::string_view path);
  base::Fd open_dir(const Node* parent, std::size_t h, const std::string& name) const;
  // Returns the descriptor of the cgroup's directory: the open one, or one opened by path into `by_path`. -1: removed.
  [[nodiscard]] int dir_of(const Node& node, std::size_t h, base::Fd& by_path) const;
  bool list_files(Node& node, std::size_t h);
  void attach(Node& node, std::size_t h, base::Fd dir, bool observed);
  void detach(Node& node, std::size_t h);
  void detach_subtree(Node& node, std::size_t h);
  void remove_if_gone(Node& node);
  void visit_child(Node& parent, std::size_t h, const std::string& name, bool observed);
  void walk(Node& node, std::size_t h, bool observed);
  void walk_all(bool observed);
  void watch(Node& node, std::size_t h);
  void forget_watch(Node& node, std::size_t h);
  void handle(int watch_descriptor, std::uint32_t mask, std::string_view name);
  static void count_write(Node& node, std::size_t h);
  void create_cgroup(Node& node, bool observed);
  void rebuild_cgroup_list();
  void log_once(bool& logged, std::string text);
  [[nodiscard]] std::string path_of(const Node& node) const;
  [[nodiscard]] std::string path_below_root(const Node& node, std::size_t h) const;

  Options options_;
  std::function<void(std::string)> log_;
  std::vector<Root> roots_;
  std::uint16_t file_name_count_ = 0;  // numbers assigned in Root::file_numbers, over all hierarchies
  std::unique_ptr<Node> top_;
  base::Fd inotify_;
  std::unordered_map<int, Watched> watched_;
  std::vector<Node*> nodes_;
  std::shared_ptr<const model::CgroupList> cgroup_list_;
  model::TreeStats stats_;
  std::vector<Removal> removals_;
  std::uint64_t generation_ = 0;
  std::uint32_t walk_ = 0;
  std::size_t cgroup_count_ = 0;
  std::vector<std::size_t> dropped_;  // cgroups beyond Options::max_cgroups, by hierarchy
  std::size_t v2_ = kMaxHierarchies;  // index of the v2 hierarchy
  std::size_t open_dirs_ = 0;
  bool changed_ = true;
  bool started_ = false;
  bool must_walk_ = false;
  bool logged_watches_ = false;
  bool logged_overflow_ = false;
  bool logged_closed_ = false;
  bool logged_cgroups_ = false;
  bool logged_dirs_ = false;
  std::vector<char> buffer_;
};

}  // namespace cgwarden::cgroup
