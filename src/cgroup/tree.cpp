// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "src/base/result.h"
#include "src/base/text.h"

namespace cgwarden::cgroup {
namespace {

constexpr std::uint32_t kEvents =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_ONLYDIR | IN_EXCL_UNLINK;
constexpr int kOpenDir = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr std::size_t kEventBuffer = 64UL << 10U;

// Calls `entry` with each dirent64 of `dir`. Uses getdents64 on the open descriptor, which needs no second open and no
// DIR. Returns false if not all entries could be read.
template <class Entry>
bool for_each_entry(int dir, Entry entry) {
  alignas(8) std::array<char, 16384> buffer{};
  if (::lseek(dir, 0, SEEK_SET) < 0) return false;
  while (true) {
    const auto n = ::syscall(SYS_getdents64, dir, buffer.data(), buffer.size());
    if (n <= 0) return n == 0;
    for (long at = 0; at < n;) {
      const auto* found = reinterpret_cast<const dirent64*>(buffer.data() + at);
      at += found->d_reclen;
      entry(*found);
    }
  }
}

std::vector<std::string> subdirectories(int dir) {
  std::vector<std::string> names;
  for_each_entry(dir, [&](const dirent64& entry) {
    const std::string_view name(entry.d_name);
    if (name == "." || name == "..") return;
    bool is_dir = entry.d_type == DT_DIR;
    if (entry.d_type == DT_UNKNOWN) {
      struct stat st {};
      is_dir = ::fstatat(dir, entry.d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    }
    if (is_dir) names.emplace_back(name);
  });
  return names;
}

// Opens the file with that inode number on `mount`, a cgroup file system (fs/kernfs/mount.c, __kernfs_fh_to_dentry()).
// FILEID_KERNFS is not in the kernel's UAPI headers, but it is stable because programs store such handles. Since
// Linux 5.5; needs CAP_DAC_READ_SEARCH. ESTALE: the file was removed; inode numbers are not reused.
int open_by_inode(int mount, std::uint64_t inode, int flags) {
  constexpr int fileid_kernfs = 0xfe;
  struct Handle {
    unsigned size = sizeof inode;
    int type = fileid_kernfs;
    std::uint64_t inode = 0;
  } handle{.inode = inode};
  static_assert(offsetof(Handle, inode) == offsetof(file_handle, f_handle));
  return static_cast<int>(::syscall(SYS_open_by_handle_at, mount, &handle, flags | O_CLOEXEC));
}

// Returns whether files can be opened by inode number. Tests it with a file that every cgroup has.
bool opens_by_inode(int dir) {
  std::uint64_t inode = 0;
  for_each_entry(dir, [&](const dirent64& entry) {
    if (std::string_view(entry.d_name) == "cgroup.procs") inode = entry.d_ino;
  });
  const base::Fd fd(inode == 0 ? -1 : open_by_inode(dir, inode, O_RDONLY));
  struct stat st {};
  return fd && ::fstat(fd.get(), &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == inode;
}

// In a cgroup file system, the link count of a directory is the number of its children plus 2 (fs/kernfs/inode.c,
// kernfs_refresh_inode()). Most cgroups have no children, so that their many interface files need not be listed.
bool has_no_child(int dir) {
  struct stat st {};
  return ::fstat(dir, &st) == 0 && st.st_nlink == 2;
}

bool is_cgroupfs(int dir) {
  struct statfs fs {};
  return ::fstatfs(dir, &fs) == 0 && (fs.f_type == CGROUP_SUPER_MAGIC || fs.f_type == CGROUP2_SUPER_MAGIC);
}

// Returns whether this process is in the initial cgroup namespace. In another one, a mount also has the root "/",
// although it is not the root of the hierarchy.
bool sees_all_cgroups() {
  constexpr ino_t initial_cgroup_namespace = 0xEFFFFFFB;  // include/uapi/linux/nsfs.h, PROC_CGROUP_INIT_INO
  struct stat st {};
  return ::stat("/proc/self/ns/cgroup", &st) == 0 && st.st_ino == initial_cgroup_namespace;
}

base::Wall to_wall(const timespec& ts) {
  return base::Wall(std::chrono::duration_cast<base::Wall::duration>(std::chrono::seconds(ts.tv_sec) +
                                                                     std::chrono::nanoseconds(ts.tv_nsec)));
}

}  // namespace

Node::~Node() {
  for (auto& file : files) {
    if (file.fd >= 0) ::close(file.fd);
  }
}

Tree::Tree(const std::vector<Hierarchy>& hierarchies, Options options, std::function<void(std::string)> log)
    : options_(options), log_(std::move(log)), top_(std::make_unique<Node>()), buffer_(kEventBuffer) {
  const auto count = std::min(hierarchies.size(), kMaxHierarchies);
  for (std::size_t h = 0; h < count; ++h) {
    const auto& hierarchy = hierarchies[h];
    if (hierarchy.version == 2) v2_ = h;
    base::Fd fd(::open(hierarchy.mount_point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd)
      log_(base::Error::from_errno(errno, "cannot open hierarchy: " + base::printable(hierarchy.mount_point)).what);
    const bool is_kernel_mount = fd && is_cgroupfs(fd.get());
    const bool by_inode = options_.by_inode && is_kernel_mount && opens_by_inode(fd.get());
    roots_.push_back({std::move(fd),
                      hierarchy.root,
                      hierarchy.mount_point,
                      hierarchy.root == "/" && sees_all_cgroups(),
                      is_kernel_mount,
                      by_inode,
                      {}});
  }
  top_->dirs.resize(count);
  dropped_.resize(count);
  if (options_.watch) {
    inotify_ = base::Fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!inotify_) {
      log_once(logged_watches_,
               base::Error::from_errno(errno, "inotify not available, walking the cgroup tree instead").what);
    }
  }
  stats_.inotify_active = static_cast<bool>(inotify_);
  walk_all(false);
  started_ = true;
  stats_.cgroups_created = stats_.cgroups_removed = stats_.walks = 0;
  removals_.clear();
}

void Tree::log_once(bool& logged, std::string text) {
  if (!std::exchange(logged, true)) log_(std::move(text));
}

std::string Tree::path_of(const Node& node) const {
  if (node.parent == nullptr) return "/";
  std::vector<const Node*> chain;
  for (const Node* at = &node; at->parent != nullptr; at = at->parent) chain.push_back(at);
  std::string path;
  for (auto at = chain.rbegin(); at != chain.rend(); ++at) path += "/" + (*at)->name;
  return path;
}

std::string Tree::path_below_root(const Node& node, std::size_t h) const {
  auto path = path_of(node);
  if (roots_[h].path != "/") path.erase(0, roots_[h].path.size());
  path.erase(0, path.starts_with('/') ? 1 : 0);
  return path.empty() ? "." : path;
}

Node* Tree::find_or_create(std::string_view path) {
  Node* at = top_.get();
  while (!path.empty()) {
    const auto name = base::take_until(path, '/');
    if (name.empty()) continue;
    auto child = at->children.find(name);
    if (child == at->children.end()) {
      auto created_node = std::make_unique<Node>();
      created_node->name = std::string(name);
      created_node->parent = at;
      created_node->dirs.resize(roots_.size());
      child = at->children.emplace(std::string(name), std::move(created_node)).first;
    }
    at = child->second.get();
  }
  return at;
}

base::Fd Tree::open_dir(const Node* parent, std::size_t h, const std::string& name) const {
  if (parent->dirs[h].fd) return base::Fd(::openat(parent->dirs[h].fd.get(), name.c_str(), kOpenDir));
  return base::Fd(::openat(roots_[h].fd.get(), (path_below_root(*parent, h) + "/" + name).c_str(), kOpenDir));
}

int Tree::dir_of(const Node& node, std::size_t h, base::Fd& by_path) const {
  if (node.dirs[h].fd) return node.dirs[h].fd.get();
  by_path = base::Fd(::openat(roots_[h].fd.get(), path_below_root(node, h).c_str(), kOpenDir));
  return by_path.get();
}

int Tree::open_file(const Node& node, std::size_t h, const char* file, int flags) const {
  const auto& dir = node.dirs[h];
  if ((node.listed >> h & 1U) != 0 && (flags & O_DIRECTORY) == 0) {
    const auto& file_numbers = roots_[h].file_numbers;
    const auto number = file_numbers.find(std::string_view(file));
    const auto at = number == file_numbers.end() || number->second >= node.file_offsets.size()
                        ? Node::kNoFile
                        : node.file_offsets[number->second];
    // Files are added only after a write to this directory or its parent, which inotify would have reported.
    const bool up_to_date = dir.watch >= 0 && node.parent != nullptr && node.parent->dirs[h].watch >= 0;
    if (at == Node::kNoFile && up_to_date) {
      errno = ENOENT;
      return -1;
    }
    if (at != Node::kNoFile && at != Node::kFarFile) {
      const int fd = open_by_inode(roots_[h].fd.get(), dir.inode + at, flags);
      if (fd >= 0) return fd;
    }
  }
  if (dir.fd) return ::openat(dir.fd.get(), file, flags | O_CLOEXEC);
  return ::openat(roots_[h].fd.get(), (path_below_root(node, h) + "/" + file).c_str(), flags | O_CLOEXEC);
}

void Tree::list_files(Node& node) {
  node.listed = 0;
  std::ranges::fill(node.file_offsets, Node::kNoFile);
  for (std::size_t h = 0; h < roots_.size(); ++h) {
    if ((node.mask >> h & 1U) != 0 && roots_[h].by_inode && list_files(node, h)) node.listed |= 1U << h;
  }
}

bool Tree::list_files(Node& node, std::size_t h) {
  base::Fd by_path;
  const int dir = dir_of(node, h, by_path);
  if (dir < 0) return false;
  auto& file_numbers = roots_[h].file_numbers;
  bool numbers_left = true;
  const bool all = for_each_entry(dir, [&](const dirent64& entry) {
    if (entry.d_type != DT_REG) return;
    auto number = file_numbers.find(std::string_view(entry.d_name));
    if (number == file_numbers.end()) {
      numbers_left = numbers_left && file_name_count_ < kMaxFileNames;
      if (!numbers_left) return;
      number = file_numbers.emplace(entry.d_name, file_name_count_++).first;
    }
    if (node.file_offsets.size() <= number->second) node.file_offsets.resize(file_name_count_);
    const auto distance = entry.d_ino - node.dirs[h].inode;
    node.file_offsets[number->second] =
        distance > 0 && distance < Node::kFarFile ? static_cast<std::uint16_t>(distance) : Node::kFarFile;
  });
  return all && numbers_left;
}

void Tree::create_cgroup(Node& node, bool observed) {
  auto cgroup = std::make_shared<model::Cgroup>();
  cgroup->path = path_of(node);
  cgroup->creation_observed = observed;
  cgroup->created = base::wall_now();
  node.cgroup = std::move(cgroup);
}

void Tree::attach(Node& node, std::size_t h, base::Fd dir, bool observed) {
  auto& slot = node.dirs[h];
  struct stat st {};
  if (::fstat(dir.get(), &st) != 0) return;
  const bool first = node.mask == 0;
  if (first && cgroup_count_ >= options_.max_cgroups) {
    ++dropped_[h];
    stats_.dropped_cgroups = *std::ranges::max_element(dropped_);
    log_once(logged_cgroups_, "cgroup limit reached, further cgroups are not read: " +
                                  std::to_string(options_.max_cgroups) + " (raise --sampler.max-cgroups)");
    return;
  }
  const bool replaced = slot.last_inode != 0 && slot.last_inode != st.st_ino;
  slot.inode = slot.last_inode = st.st_ino;
  node.listed &= ~(1U << h);
  slot.seen_in_walk = walk_;
  if (open_dirs_ < options_.max_open_dirs) {
    slot.fd = std::move(dir);
    ++open_dirs_;
  } else {
    log_once(logged_dirs_, "file descriptor limit reached, further cgroup directories are opened by path: " +
                               std::to_string(options_.max_open_dirs) + " (raise LimitNOFILE=, RLIMIT_NOFILE)");
  }
  node.mask |= 1U << h;
  node.plan = -1;
  changed_ = true;
  if (first) {
    ++cgroup_count_;
    ++stats_.cgroups_created;
    node.cgroup.reset();
  }
  if (replaced && !first) {  // one of its directories was removed and created again: another cgroup
    ++stats_.cgroups_created;
    note_removal(node);
    node.cgroup.reset();
  }
  if (!node.cgroup) create_cgroup(node, observed);
  // The directories of a cgroup in several hierarchies are found one after the other. The creation time stays; the ID
  // is the inode number in v2, else in the first hierarchy.
  auto cgroup = std::make_shared<model::Cgroup>(*node.cgroup);
  for (auto i = node.dirs.size(); i-- > 0;) {
    if (node.dirs[i].inode != 0) cgroup->id = node.dirs[i].inode;
  }
  if (v2_ < node.dirs.size() && node.dirs[v2_].inode != 0) cgroup->id = node.dirs[v2_].inode;
  if (!cgroup->creation_observed) cgroup->created = std::min(cgroup->created, to_wall(st.st_ctim));
  node.cgroup = std::move(cgroup);
  watch(node, h);
}

void Tree::note_removal(const Node& node) {
  ++stats_.cgroups_removed;
  if (removals_.size() < kMaxRemovals) removals_.push_back({node.cgroup, base::wall_now()});
}

void Tree::detach(Node& node, std::size_t h) {
  auto& slot = node.dirs[h];
  if (slot.inode == 0) return;
  forget_watch(node, h);
  if (slot.fd) {
    --open_dirs_;
    slot.fd.reset();
  }
  slot.inode = 0;
  node.mask &= ~(1U << h);
  node.plan = -1;
  changed_ = true;
  if (node.mask == 0) {
    --cgroup_count_;
    note_removal(node);
  }
}

void Tree::detach_subtree(Node& node, std::size_t h) {
  for (auto at = node.children.begin(); at != node.children.end();) {
    auto& child = *(at++)->second;
    detach_subtree(child, h);
    remove_if_gone(child);
  }
  detach(node, h);
}

void Tree::remove_if_gone(Node& node) {
  if (node.mask == 0 && node.children.empty() && node.parent != nullptr) {
    auto& siblings = node.parent->children;
    siblings.erase(siblings.find(node.name));
  }
}

void Tree::watch(Node& node, std::size_t h) {
  if (!inotify_ || !stats_.inotify_active) return;
  auto& slot = node.dirs[h];
  const auto by_fd = [](int fd) { return "/proc/self/fd/" + std::to_string(fd); };
  // The path goes through the parent's descriptor, not through the cgroup's own: the kernel caches an inode of /proc
  // for each descriptor used in such a path, 0.9 kB per cgroup and hierarchy.
  const int parent = node.parent != nullptr ? node.parent->dirs[h].fd.get() : -1;
  const std::string path = parent >= 0 ? by_fd(parent) + "/" + node.name
                           : slot.fd   ? by_fd(slot.fd.get())
                                       : roots_[h].mount_point + "/" + path_below_root(node, h);
  const int wd = ::inotify_add_watch(inotify_.get(), path.c_str(), kEvents);
  if (wd >= 0) {
    // The watched directory must be this one and no later one of the same name; inode numbers are not reused.
    struct stat st {};
    if (parent >= 0 &&
        (::fstatat(parent, node.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_ino != slot.inode)) {
      ::inotify_rm_watch(inotify_.get(), wd);
      return;  // already removed: the watch of the parent reports it
    }
    slot.watch = wd;
    watched_[wd] = {&node, h};
    stats_.watches = watched_.size();
    return;
  }
  if (errno == ENOENT) return;  // already removed
  stats_.inotify_active = false;
  log_once(logged_watches_, "no further inotify watch, walking the cgroup tree instead, which costs more: " +
                                std::string(std::strerror(errno)) + " (raise fs.inotify.max_user_watches)");
}

void Tree::forget_watch(Node& node, std::size_t h) {
  auto& slot = node.dirs[h];
  if (slot.watch < 0) return;
  ::inotify_rm_watch(inotify_.get(), slot.watch);  // EINVAL if the directory, and with it the watch, was removed
  const auto at = watched_.find(slot.watch);
  if (at != watched_.end() && at->second.node == &node) watched_.erase(at);
  slot.watch = -1;
  stats_.watches = watched_.size();
}

void Tree::visit_child(Node& parent, std::size_t h, const std::string& name, bool observed) {
  auto dir = open_dir(&parent, h, name);
  if (!dir) {
    if (errno == EACCES) {
      log_once(logged_closed_, "no permission to open cgroup, such cgroups are not shown: " +
                                   base::printable((parent.parent == nullptr ? "" : path_of(parent)) + '/' + name) +
                                   " (run as root or with CAP_DAC_READ_SEARCH)");
    }
    return;
  }
  struct stat st {};
  if (::fstat(dir.get(), &st) != 0) return;
  const auto known = parent.children.find(name);
  if (known != parent.children.end() && known->second->dirs[h].inode != 0) {
    Node& child = *known->second;
    if (child.dirs[h].inode == st.st_ino) {
      child.dirs[h].seen_in_walk = walk_;
      walk(child, h, observed);
      return;
    }
    detach_subtree(child, h);
    remove_if_gone(child);
  }
  auto path = path_of(parent);
  if (path.size() > 1) path += '/';
  Node& child = *find_or_create(path + name);
  attach(child, h, std::move(dir), observed);
  if (child.dirs[h].inode != 0) {
    walk(child, h, observed);
  } else {
    remove_if_gone(child);
  }
}

void Tree::walk(Node& node, std::size_t h, bool observed) {
  base::Fd by_path;
  const int dir = dir_of(node, h, by_path);
  if (dir < 0) return;
  if (!roots_[h].counts_children || !has_no_child(dir)) {
    for (const auto& name : subdirectories(dir)) visit_child(node, h, name, observed);
  }
  if (!started_) return;
  // Children that this walk did not find were removed.
  for (auto at = node.children.begin(); at != node.children.end();) {
    auto& child = *(at++)->second;
    if (child.dirs[h].inode != 0 && child.dirs[h].seen_in_walk != walk_) {
      detach_subtree(child, h);
      remove_if_gone(child);
    }
  }
}

void Tree::walk_all(bool observed) {
  ++walk_;
  ++stats_.walks;
  std::ranges::fill(dropped_, 0);
  stats_.dropped_cgroups = 0;
  for (std::size_t h = 0; h < roots_.size(); ++h) {
    if (!roots_[h].fd) continue;
    Node& node = *find_or_create(roots_[h].path);
    if (node.dirs[h].inode == 0) attach(node, h, base::Fd(::openat(roots_[h].fd.get(), ".", kOpenDir)), observed);
    node.dirs[h].seen_in_walk = walk_;
    walk(node, h, observed);
  }
}

void Tree::count_write(Node& node, std::size_t h) {
  ++node.dirs[h].writes;
  for (auto& [name, child] : node.children) count_write(*child, h);
}

void Tree::handle(int watch_descriptor, std::uint32_t mask, std::string_view name) {
  if ((mask & IN_Q_OVERFLOW) != 0) {
    ++stats_.watch_overflows;
    must_walk_ = true;
    log_once(logged_overflow_,
             "inotify event queue overflowed, walking the cgroup tree again, which costs more "
             "(raise fs.inotify.max_queued_events)");
    for (std::size_t h = 0; h < roots_.size(); ++h) {  // the lost events may also have been writes and migrations
      count_write(*top_, h);
      ++roots_[h].migrations;
    }
    return;
  }
  const auto at = watched_.find(watch_descriptor);
  if (at == watched_.end()) return;
  const auto [node, h] = at->second;
  if ((mask & IN_IGNORED) != 0) {
    node->dirs[h].watch = -1;
    watched_.erase(at);
    stats_.watches = watched_.size();
    return;
  }
  if ((mask & IN_MODIFY) != 0) {
    // Controllers were enabled or disabled for the children, which adds or removes files of them.
    if (name == "cgroup.subtree_control") {
      for (auto& [child_name, child] : node->children) child->plan = -1;
    }
    if (name == "cgroup.pressure") node->plan = -1;  // adds or removes files of this cgroup
    if (name == "cgroup.events") {
      ++node->dirs[h].writes;  // "populated" or "frozen" changed, of this cgroup only
    } else if (name.starts_with("cpuset.") || name == "cgroup.type") {
      count_write(*top_, h);  // affects siblings and ancestors, too: partitions, threaded subtrees
    } else if (name == "cgroup.procs" || name == "tasks" || name == "cgroup.threads") {
      ++roots_[h].migrations;  // a migration from any cgroup; not a setting
    } else {
      count_write(*node, h);
    }
    return;
  }
  if ((mask & IN_ISDIR) == 0 || name.empty()) return;
  ++node->dirs[h].writes;
  if ((mask & (IN_CREATE | IN_MOVED_TO)) != 0) {
    visit_child(*node, h, std::string(name), true);
  } else if ((mask & (IN_DELETE | IN_MOVED_FROM)) != 0) {
    const auto child = node->children.find(name);
    if (child == node->children.end()) return;
    // The event may be older than the current directory: created, removed and created again.
    struct stat st {};
    const auto& slot = child->second->dirs[h];
    if (slot.inode != 0 && node->dirs[h].fd &&
        ::fstatat(node->dirs[h].fd.get(), child->first.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_ino == slot.inode) {
      return;
    }
    detach_subtree(*child->second, h);
    remove_if_gone(*child->second);
  }
}

void Tree::take_events() {
  if (!inotify_) return;
  while (true) {
    const auto n = ::read(inotify_.get(), buffer_.data(), buffer_.size());
    if (n <= 0) break;
    for (ssize_t at = 0; at < n;) {
      inotify_event event{};
      std::memcpy(&event, buffer_.data() + at, sizeof event);
      const char* name = buffer_.data() + at + sizeof event;
      handle(event.wd, event.mask,
             event.len > 0 ? std::string_view(name, ::strnlen(name, event.len)) : std::string_view());
      at += static_cast<ssize_t>(sizeof event + event.len);
    }
  }
}

void Tree::refresh() {
  take_events();
  for (auto& root : roots_) root.migrations += !stats_.inotify_active || !root.shows_all_cgroups ? 1 : 0;
  const bool below_limit_again = stats_.dropped_cgroups > 0 && cgroup_count_ < options_.max_cgroups;
  if (must_walk_ || below_limit_again || !stats_.inotify_active) {
    must_walk_ = false;
    walk_all(true);
  }
}

void Tree::rebuild_cgroup_list() {
  changed_ = false;
  nodes_.clear();
  auto cgroup_list = std::make_shared<model::CgroupList>();
  cgroup_list->generation = ++generation_;
  const auto visit = [&](const auto& self, Node& node, model::CgroupIndex parent) -> void {
    if (node.mask != 0) {
      cgroup_list->cgroups.push_back(node.cgroup);
      cgroup_list->parents.push_back(parent);
      parent = static_cast<model::CgroupIndex>(nodes_.size());
      nodes_.push_back(&node);
    }
    for (auto& [name, child] : node.children) self(self, *child, parent);
  };
  visit(visit, *top_, model::kNoCgroup);
  cgroup_list_ = std::move(cgroup_list);
}

const std::vector<Node*>& Tree::nodes() {
  if (changed_) rebuild_cgroup_list();
  return nodes_;
}

std::shared_ptr<const model::CgroupList> Tree::cgroup_list() {
  if (changed_) rebuild_cgroup_list();
  return cgroup_list_;
}

}  // namespace cgwarden::cgroup
