// SPDX-License-Identifier: Apache-2.0
#include "src/control/cgroup_handle.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "src/base/file.h"
#include "src/base/text.h"

namespace cgwarden::control {
namespace {

constexpr std::size_t kMaxFile = 16U << 20U;  // cgroup.procs of two million processes
constexpr std::size_t kMaxMembers = 1U << 20U;
constexpr int kMaxDepth = 512;

// Never leaves the hierarchy, whatever the path contains and whatever is mounted inside it. It opens one component at a
// time: openat2() with RESOLVE_BENEATH would do it in one call, but Linux 5.4 lacks it and systemd's
// RestrictSUIDSGID= blocks it.
base::Fd open_beneath(int root, std::string_view path) {
  base::Fd at(::openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat top {};
  if (!at || ::fstat(at.get(), &top) != 0) return {};
  while (!path.empty()) {
    const std::string part(base::take_until(path, '/'));
    base::Fd next(::openat(at.get(), part.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat st {};
    if (!next || ::fstat(next.get(), &st) != 0) return {};
    if (part == ".." || st.st_dev != top.st_dev) {
      errno = EXDEV;
      return {};
    }
    at = std::move(next);
  }
  return at;
}

int open_root(const cgroup::Hierarchy& hierarchy) {
  return ::open(hierarchy.mount_point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

bool is_valid_path(std::string_view path) {
  if (path.empty() || path.front() != '/' || path.size() > 4095 || path.find('\0') != std::string_view::npos) {
    return false;
  }
  path.remove_prefix(1);
  while (!path.empty()) {
    const auto part = base::take_until(path, '/');
    if (part.empty() || part == "." || part == "..") return false;
  }
  return true;
}

// The cgroup's path relative to the root of the mount; nullopt if the cgroup is outside that root.
std::optional<std::string> relative_to_mount(const cgroup::Hierarchy& hierarchy, std::string_view path) {
  if (hierarchy.root != "/") {
    if (!is_within(path, hierarchy.root)) return std::nullopt;
    path.remove_prefix(hierarchy.root.size());
  }
  if (path.starts_with('/')) path.remove_prefix(1);
  return std::string(path);
}

base::Fd open_regular(int dir, const std::string& file, int flags) {
  base::Fd fd(::openat(dir, file.c_str(), flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  struct stat st {};
  if (fd && (::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode))) {
    fd.reset();
    errno = ENOENT;
  }
  if (!fd && errno == EISDIR) errno = ENOENT;
  return fd;
}

std::string io_error_text(std::string_view doing, const std::string& file) {
  return base::printable(file) + ": cannot " + std::string(doing);
}

// The process (Tgid) of a thread; 0 if the thread has exited.
pid_t thread_group_of(const std::string& tid) {
  const base::Fd proc(::open(("/proc/" + tid).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!proc) return 0;
  const auto status = read_file(proc.get(), "status");
  if (!status) return 0;
  const auto at = status->find("\nTgid:");
  if (at == std::string::npos) return 0;
  auto rest = std::string_view(*status).substr(at + 6);
  auto line = base::take_line(rest);
  return base::to_int<pid_t>(base::take_word(line)).value_or(0);
}

// Returns false if kMaxMembers is reached.
bool collect_pids(int dir, CgroupHandle::Members& out) {
  ++out.cgroups;
  auto list = read_file(dir, "cgroup.procs");
  const bool threaded = !list && list.error().code == EOPNOTSUPP;
  if (threaded) list = read_file(dir, "cgroup.threads");
  std::string_view rest = list ? std::string_view(*list) : std::string_view();
  while (!rest.empty()) {
    const auto line = base::take_line(rest);
    auto pid = base::to_int<pid_t>(line).value_or(0);
    if (threaded && pid > 0) pid = thread_group_of(std::string(line));
    if (pid > 0) {
      out.pids.insert(pid);
    } else if (line == "0") {
      ++out.foreign;
    }
    if (out.pids.size() >= kMaxMembers) return false;
  }
  return true;
}

bool is_in_hierarchy(const Membership& membership, const cgroup::Hierarchy& hierarchy) {
  if (hierarchy.version == 2) return membership.controllers.empty();
  std::string_view rest = membership.controllers;
  while (!rest.empty()) {
    const auto word = base::take_until(rest, ',');
    if (word.starts_with("name=") ? word.substr(5) == hierarchy.name : hierarchy.has(word)) return true;
  }
  return false;
}

}  // namespace

base::Result<std::string> read_file(int dir, const std::string& file) {
  const auto fd = open_regular(dir, file, O_RDONLY);
  if (!fd) return base::fail_errno(io_error_text("read", file));
  auto text = base::read_to_end(fd.get(), kMaxFile);
  if (!text) return base::fail_errno(io_error_text("read", file));
  if (text->size() < kMaxFile) return std::move(*text);
  return tl::unexpected(base::Error::from_errno(EFBIG, io_error_text("read", file)));
}

base::Result<void> write_file(int dir, const std::string& file, std::string_view text) {
  const auto fd = open_regular(dir, file, O_WRONLY);
  if (!fd) return base::fail_errno(io_error_text("write", file));
  ssize_t n = 0;
  do {
    n = ::write(fd.get(), text.data(), text.size());
  } while (n < 0 && errno == EINTR);
  if (n < 0) return base::fail_errno(io_error_text("write", file));
  if (static_cast<std::size_t>(n) != text.size()) {
    return tl::unexpected(base::Error::from_errno(EIO, io_error_text("write", file)));
  }
  return {};
}

std::vector<std::string> child_directories(int dir) {
  std::vector<std::string> names;
  const int copy = ::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return names;
  DIR* const listing = ::fdopendir(copy);
  if (listing == nullptr) {
    ::close(copy);
    return names;
  }
  while (const auto* entry = ::readdir(listing)) {
    const std::string_view name(entry->d_name);
    if (entry->d_type == DT_DIR && name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(listing);
  return names;
}

bool walk_subtree(int dir, const std::function<bool(int dir, const std::string& path)>& visit, const std::string& path,
                  int depth) {
  if (!visit(dir, path) || depth >= kMaxDepth) return false;
  bool whole = true;
  for (const auto& name : child_directories(dir)) {
    const base::Fd child(::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    whole = (!child || walk_subtree(child.get(), visit, path + '/' + name, depth + 1)) && whole;
  }
  return whole;
}

std::int64_t flat_key(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    auto line = base::take_line(text);
    if (base::take_word(line) == key) return base::to_int<std::int64_t>(base::take_word(line)).value_or(-1);
  }
  return -1;
}

std::string CgroupHandle::Dir::where(std::string_view file) const {
  return is_v2() ? std::string(file) : hierarchy->title() + ':' + std::string(file);
}

base::Result<CgroupHandle> CgroupHandle::open(const cgroup::HostHierarchies& host, const model::CgroupRef& ref) {
  const auto shown = base::printable(ref.path);
  if (!is_valid_path(ref.path)) {
    return tl::unexpected(base::Error{
        EINVAL, "cgroup '" + shown + "': invalid path (expected a path such as /system.slice/ssh.service)"});
  }
  CgroupHandle handle;
  handle.path_ = ref.path;
  int failed = ENOENT;
  for (const auto& hierarchy : host.all) {
    auto below = relative_to_mount(hierarchy, ref.path);
    if (!below) continue;
    const base::Fd root(open_root(hierarchy));
    if (!root) continue;
    Dir dir;
    dir.fd = open_beneath(root.get(), *below);
    struct stat st {};
    if (!dir.fd || ::fstat(dir.fd.get(), &st) != 0) {
      if (errno != ENOENT) failed = errno;
      continue;
    }
    dir.hierarchy = &hierarchy;
    dir.inode = st.st_ino;
    dir.relative_path = std::move(*below);
    handle.dirs_.push_back(std::move(dir));
  }
  if (handle.dirs_.empty()) {
    if (failed == ENOENT) return tl::unexpected(base::Error{ENOENT, "cgroup " + shown + ": not found"});
    return tl::unexpected(base::Error::from_errno(failed, "cgroup " + shown + ": cannot open"));
  }
  const auto* const unified = handle.v2();
  handle.id_ = unified != nullptr ? unified->inode : handle.dirs_.front().inode;
  if (ref.id != 0 && ref.id != handle.id_) {
    return tl::unexpected(
        base::Error{ESTALE, "cgroup " + shown + ": removed and created again since it was selected (select it again)"});
  }
  return handle;
}

const CgroupHandle::Dir* CgroupHandle::v2() const {
  const auto at = std::ranges::find_if(dirs_, [](const Dir& dir) { return dir.is_v2(); });
  return at == dirs_.end() ? nullptr : &*at;
}

const CgroupHandle::Dir* CgroupHandle::dir_of_v1_controller(std::string_view controller) const {
  const auto at =
      std::ranges::find_if(dirs_, [&](const Dir& dir) { return !dir.is_v2() && dir.hierarchy->has(controller); });
  return at == dirs_.end() ? nullptr : &*at;
}

const CgroupHandle::Dir* CgroupHandle::dir_of_controller(std::string_view controller) const {
  if (const auto* dir = dir_of_v1_controller(controller)) return dir;
  const auto* const dir = v2();
  if (dir == nullptr) return nullptr;
  const auto on = read_file(dir->fd.get(), "cgroup.controllers");
  if (!on) return nullptr;
  auto rest = base::trim_end(*on);
  while (!rest.empty()) {
    if (base::take_word(rest) == controller) return dir;
  }
  return nullptr;
}

bool CgroupHandle::still_exists() const {
  return std::ranges::all_of(dirs_, [](const Dir& dir) {
    const base::Fd root(open_root(*dir.hierarchy));
    const auto now = root ? open_beneath(root.get(), dir.relative_path) : base::Fd();
    struct stat st {};
    return now && ::fstat(now.get(), &st) == 0 && st.st_ino == dir.inode;
  });
}

void CgroupHandle::for_each_ancestor(const Dir& dir, const std::function<bool(int, const std::string&)>& visit) const {
  const base::Fd root(open_root(*dir.hierarchy));
  auto below = dir.relative_path;
  const auto prefix = dir.hierarchy->root == "/" ? std::string() : dir.hierarchy->root;
  while (root && !below.empty()) {
    const auto slash = below.rfind('/');
    below.resize(slash == std::string::npos ? 0 : slash);
    const auto parent = open_beneath(root.get(), below);
    const auto path = prefix + '/' + below;
    if (!parent || !visit(parent.get(), path)) return;
  }
}

CgroupHandle::Members CgroupHandle::members(const Dir& dir) const {
  Members out;
  out.truncated =
      !walk_subtree(dir.fd.get(), [&out](int below, const std::string&) { return collect_pids(below, out); });
  return out;
}

CgroupHandle::Members CgroupHandle::members() const {
  Members out;
  for (const auto& dir : dirs_) {
    Members one;
    one.truncated =
        !walk_subtree(dir.fd.get(), [&one](int below, const std::string&) { return collect_pids(below, one); });
    out.pids.merge(one.pids);
    out.foreign = std::max(out.foreign, one.foreign);
    out.cgroups = std::max(out.cgroups, one.cgroups);
    out.truncated = out.truncated || one.truncated;
  }
  return out;
}

bool CgroupHandle::contains(const std::string& proc, pid_t pid) const {
  const base::Fd dir(::open((proc + '/' + std::to_string(pid)).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return false;
  const auto text = read_file(dir.get(), "cgroup");
  if (!text) return false;
  const auto memberships = parse_memberships(*text);
  return std::ranges::any_of(dirs_, [&](const Dir& mine) {
    return std::ranges::any_of(memberships, [&](const Membership& membership) {
      return is_in_hierarchy(membership, *mine.hierarchy) && is_within(membership.path, path_);
    });
  });
}

std::vector<Membership> parse_memberships(std::string_view text) {
  std::vector<Membership> out;
  while (!text.empty()) {
    auto line = base::take_line(text);
    if (line.find(':') == std::string_view::npos) continue;
    base::take_until(line, ':');
    if (line.find(':') == std::string_view::npos) continue;
    Membership membership;
    membership.controllers = std::string(base::take_until(line, ':'));
    membership.path = std::string(line);
    out.push_back(std::move(membership));
  }
  return out;
}

bool is_within(std::string_view path, std::string_view top) {
  if (top == "/") return true;
  return path == top || (path.size() > top.size() && path.starts_with(top) && path[top.size()] == '/');
}

}  // namespace cgwarden::control
