// SPDX-License-Identifier: Apache-2.0
// All cgroups of the host as one tree by path, over all hierarchies.
//
//   Node "/a"   dirs: cpu -> fd, inode    memory -> fd, inode    v2 -> fd, inode
//
// Births and deaths come from inotify on the directories. Where the kernel gives no watches, or its queue overflowed,
// the tree is found again by a walk. A directory that comes back with another inode is another cgroup (another life).
//
// Thread: the sampler's. Errors: none but at construction; what cannot be watched or opened is counted in stats().
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
#include "src/cgroup/hierarchy.h"
#include "src/cgroup/kept_text.h"
#include "src/model/snapshot.h"

namespace cgwarden::cgroup {

// The cgroup's directory in one hierarchy.
struct Dir {
  base::Fd fd;  // empty when descriptors ran out: open by path then
  int watch = -1;
  std::uint64_t inode = 0;  // 0: the cgroup is not in this hierarchy
  std::uint64_t last_inode = 0;
  std::uint32_t seen_in_walk = 0;
  // Counts writes to files of this directory and of those above it (descendants inherit), and its children's births and
  // deaths, as far as it is watched.
  std::uint32_t writes = 0;
  // The Reader's: how long tasks of the cgroup have run, and whether none ran since the reading before the last.
  std::uint64_t run_time : 63 = 0;  // nanoseconds at most: 292 years
  std::uint64_t idle : 1 = 0;

  void ran_for(std::uint64_t time, bool known) {
    constexpr auto most = ~std::uint64_t{0} >> 1U;
    idle = known && run_time == (time & most) ? 1 : 0;
    run_time = time & most;
  }
};
static_assert(sizeof(Dir) == 40);  // there are up to ten of them a cgroup

// State of one interface file of one cgroup, kept by the Reader.
struct OpenFile {
  int fd = -1;
  std::uint32_t looked_at : 30 = 0;  // second in which it was read or found absent; 0: never
  bool absent : 1 = false;
  bool quiet : 1 = false;          // it said the same twice under its rule
  std::uint32_t writes = 0;        // Dir::writes at that time
  std::uint32_t change_count = 0;  // of the other things its rule depends on, at that time
  KeptText text;                   // of a steady file or one with a rule: what it said then

  void look(std::uint32_t second) { looked_at = second & 0x3FFF'FFFFU; }  // 34 years
};
static_assert(sizeof(OpenFile) == 32);  // there are 60 of them a cgroup

// The processes that a cgroup had, kept by the ProcessTable while none of them ran or moved.
struct KeptList {
  std::vector<pid_t> pids;
  std::size_t hierarchies = 0;  // how many were asked until one had some
  std::uint32_t writes = 0;
  std::uint32_t moves = 0;
  bool listed = false;
  bool quiet = false;
};

struct Node {
  std::string name;
  Node* parent = nullptr;
  std::map<std::string, std::unique_ptr<Node>, std::less<>> children;
  std::vector<Dir> dirs;   // by hierarchy
  std::uint32_t mask = 0;  // bit h: it is in hierarchy h
  std::shared_ptr<const model::Cgroup> cgroup;

  // Of its interface files, as list_files() met them, by the number of the file's name: how far the file's inode number
  // is from that of its directory. kNoFile: there is none. kFarFile: further than that, so it is opened by name.
  static constexpr std::uint16_t kNoFile = 0, kFarFile = 0xFFFF;
  std::vector<std::uint16_t> files_at;
  std::uint32_t listed = 0;     // bit h: files_at says what there is in hierarchy h
  std::uint32_t listed_at = 0;  // the Reader's: second of that

  int plan = -1;  // the Reader's: which files it reads of this cgroup
  std::vector<OpenFile> files;
  std::uint8_t limits = 0xFF;       // that may be set on it (quiet.h)
  std::uint8_t path_limits = 0xFF;  // on it or above
  KeptList processes;
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
    std::size_t max_open_dirs = 10'000;  // kept directory descriptors
    bool watch = true;                   // false: as on a host that refuses inotify
    bool by_inode = true;                // false: as on a kernel before 5.5, or without the right
  };

  // Walks everything once. `notice` gets one line for what a person should know, once per cause.
  Tree(const std::vector<Hierarchy>& hierarchies, Options options, std::function<void(std::string)> notice);

  // Readable when there are events; -1 when nothing is watched.
  [[nodiscard]] int event_fd() const { return inotify_.get(); }
  // Takes in all events that wait. Never blocks.
  void take_events();
  // Up to date as of now: takes in events, or walks where events cannot be had.
  void refresh();

  // Nodes that are cgroups, parents first; index = model::GroupIndex of the roster of the same moment.
  [[nodiscard]] const std::vector<Node*>& nodes();
  [[nodiscard]] std::shared_ptr<const model::CgroupList> cgroup_list();
  [[nodiscard]] const model::TreeStats& stats() const { return stats_; }
  [[nodiscard]] std::size_t hierarchy_count() const { return roots_.size(); }
  // Changes when a task may have been moved from one cgroup of the hierarchy to another by a write.
  [[nodiscard]] std::uint32_t moves(std::size_t h) const { return roots_[h].moves; }
  // Cgroups that died since the last call, with the time the agent learned it: also those no snapshot ever had.
  // Bounded.
  struct Removal {
    std::shared_ptr<const model::Cgroup> cgroup;
    base::Wall when;
  };
  [[nodiscard]] std::vector<Removal> take_removals() { return std::exchange(removals_, {}); }
  // Opens `file` of the cgroup in hierarchy h; -1 and errno. Where the cgroup's files were listed, by inode number: the
  // kernel keeps no name and no inode of what was opened so, 0.9 kB for each file, and it can be no other file.
  [[nodiscard]] int open_file(const Node& node, std::size_t h, const char* file, int flags) const;
  // To be called again when files may have come or gone.
  void list_files(Node& node);

 private:
  struct NameHash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using FileNumbers = std::unordered_map<std::string, std::uint16_t, NameHash, std::equal_to<>>;
  struct Root {
    base::Fd fd;
    std::string path;  // of the mount's topmost cgroup
    std::string mount_point;
    bool whole = false;  // the mount shows all cgroups of the hierarchy, so that no task is moved out of sight
    bool counts_children = false;  // in the links of a directory
    bool by_inode = false;         // its files can be opened by inode number
    FileNumbers numbers;           // of names of files, in Node::files_at
    std::uint32_t moves = 0;
  };
  struct Watched {
    Node* node = nullptr;
    std::size_t hierarchy = 0;
  };
  static constexpr std::size_t kMaxRemovals = 4096;
  static constexpr std::uint16_t kMaxNumbers = 4096;  // some 150 are needed

  void note_removal(const Node& node);
  Node* find_or_make(std::string_view path);
  base::Fd open_dir(const Node* parent, std::size_t h, const std::string& name) const;
  // The cgroup's directory: the kept descriptor, or one opened by path into `by_path`. -1: it is gone.
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
  void make_cgroup(Node& node, bool observed);
  void rebuild_cgroup_list();
  void notice_once(bool& told, std::string text);
  [[nodiscard]] std::string path_of(const Node& node) const;
  [[nodiscard]] std::string path_below_root(const Node& node, std::size_t h) const;

  Options options_;
  std::function<void(std::string)> notice_;
  std::vector<Root> roots_;
  std::uint16_t numbers_ = 0;  // given
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
  std::vector<std::size_t> dropped_;  // directories beyond the bound, by hierarchy
  std::size_t v2_ = kMaxHierarchies;  // which hierarchy is v2's
  std::size_t open_dirs_ = 0;
  bool changed_ = true;
  bool started_ = false;
  bool must_walk_ = false;
  bool told_watches_ = false;
  bool told_overflow_ = false;
  bool told_closed_ = false;
  bool told_cgroups_ = false;
  bool told_dirs_ = false;
  std::vector<char> buffer_;
};

}  // namespace cgwarden::cgroup
