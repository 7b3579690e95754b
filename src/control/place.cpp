// SPDX-License-Identifier: Apache-2.0
#include "src/control/place.h"

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
constexpr int kDeepest = 512;

// Never out of the hierarchy, whatever the path says and whatever is mounted within. Part by part: openat2() does it at
// once, but is not in 5.4, and systemd's RestrictSUIDSGID= takes it away.
base::Fd open_below(int root, std::string_view path) {
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

// The cgroup's path below the mount's topmost cgroup; nothing when it is not below that.
std::optional<std::string> below_mount(const cgroup::Hierarchy& hierarchy, std::string_view path) {
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

std::string why_not(std::string_view doing, const std::string& file) {
  return "cannot " + std::string(doing) + ' ' + base::printable(file);
}

// Whose thread this is; 0: nobody's any more.
pid_t process_of(const std::string& tid) {
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

// False: there are more than anybody wants.
bool collect(int dir, CgroupHandle::Members& out) {
  ++out.cgroups;
  auto list = read_file(dir, "cgroup.procs");
  const bool threaded = !list && list.error().code == EOPNOTSUPP;
  if (threaded) list = read_file(dir, "cgroup.threads");
  std::string_view rest = list ? std::string_view(*list) : std::string_view();
  while (!rest.empty()) {
    const auto line = base::take_line(rest);
    auto pid = base::to_int<pid_t>(line).value_or(0);
    if (threaded && pid > 0) pid = process_of(std::string(line));
    if (pid > 0) {
      out.pids.insert(pid);
    } else if (line == "0") {
      ++out.foreign;
    }
    if (out.pids.size() >= kMaxMembers) return false;
  }
  return true;
}

bool names_hierarchy(const Membership& membership, const cgroup::Hierarchy& hierarchy) {
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
  if (!fd) return base::fail_errno(why_not("read", file));
  auto text = base::read_to_end(fd.get(), kMaxFile);
  if (!text) return base::fail_errno(why_not("read", file));
  if (text->size() < kMaxFile) return std::move(*text);
  return tl::unexpected(base::Error::from_errno(EFBIG, why_not("read", file)));
}

base::Result<void> write_file(int dir, const std::string& file, std::string_view text) {
  const auto fd = open_regular(dir, file, O_WRONLY);
  if (!fd) return base::fail_errno(why_not("write", file));
  ssize_t n = 0;
  do {
    n = ::write(fd.get(), text.data(), text.size());
  } while (n < 0 && errno == EINTR);
  if (n < 0) return base::fail_errno(why_not("write", file));
  if (static_cast<std::size_t>(n) != text.size()) {
    return tl::unexpected(base::Error::from_errno(EIO, why_not("write", file)));
  }
  return {};
}

std::vector<std::string> children_of(int dir) {
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

bool look_below(int dir, const std::function<bool(int dir, const std::string& path)>& look, const std::string& path,
                int depth) {
  if (!look(dir, path) || depth >= kDeepest) return false;
  bool whole = true;
  for (const auto& name : children_of(dir)) {
    const base::Fd child(::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    whole = (!child || look_below(child.get(), look, path + '/' + name, depth + 1)) && whole;
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
    return tl::unexpected(
        base::Error{EINVAL, "'" + shown + "' is no path of a cgroup, such as /system.slice/ssh.service"});
  }
  CgroupHandle place;
  place.path_ = ref.path;
  int failed = ENOENT;
  for (const auto& hierarchy : host.all) {
    auto below = below_mount(hierarchy, ref.path);
    if (!below) continue;
    const base::Fd root(open_root(hierarchy));
    if (!root) continue;
    Dir dir;
    dir.fd = open_below(root.get(), *below);
    struct stat st {};
    if (!dir.fd || ::fstat(dir.fd.get(), &st) != 0) {
      if (errno != ENOENT) failed = errno;
      continue;
    }
    dir.hierarchy = &hierarchy;
    dir.inode = st.st_ino;
    dir.below = std::move(*below);
    place.dirs_.push_back(std::move(dir));
  }
  if (place.dirs_.empty()) {
    if (failed == ENOENT) return tl::unexpected(base::Error{ENOENT, "there is no cgroup " + shown});
    return tl::unexpected(base::Error::from_errno(failed, "cannot open the cgroup " + shown));
  }
  const auto* const unified = place.v2();
  place.id_ = unified != nullptr ? unified->inode : place.dirs_.front().inode;
  if (ref.id != 0 && ref.id != place.id_) {
    return tl::unexpected(base::Error{ESTALE, "the cgroup " + shown +
                                                  " was removed and made again meanwhile: it is not "
                                                  "the one that was looked at; look again"});
  }
  return place;
}

const CgroupHandle::Dir* CgroupHandle::v2() const {
  const auto at = std::ranges::find_if(dirs_, [](const Dir& dir) { return dir.is_v2(); });
  return at == dirs_.end() ? nullptr : &*at;
}

const CgroupHandle::Dir* CgroupHandle::of_v1(std::string_view controller) const {
  const auto at =
      std::ranges::find_if(dirs_, [&](const Dir& dir) { return !dir.is_v2() && dir.hierarchy->has(controller); });
  return at == dirs_.end() ? nullptr : &*at;
}

const CgroupHandle::Dir* CgroupHandle::of_controller(std::string_view controller) const {
  if (const auto* dir = of_v1(controller)) return dir;
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

bool CgroupHandle::still_there() const {
  return std::ranges::all_of(dirs_, [](const Dir& dir) {
    const base::Fd root(open_root(*dir.hierarchy));
    const auto now = root ? open_below(root.get(), dir.below) : base::Fd();
    struct stat st {};
    return now && ::fstat(now.get(), &st) == 0 && st.st_ino == dir.inode;
  });
}

void CgroupHandle::above(const Dir& dir, const std::function<bool(int, const std::string&)>& visit) const {
  const base::Fd root(open_root(*dir.hierarchy));
  auto below = dir.below;
  const auto prefix = dir.hierarchy->root == "/" ? std::string() : dir.hierarchy->root;
  while (root && !below.empty()) {
    const auto slash = below.rfind('/');
    below.resize(slash == std::string::npos ? 0 : slash);
    const auto parent = open_below(root.get(), below);
    const auto path = prefix + '/' + below;
    if (!parent || !visit(parent.get(), path)) return;
  }
}

CgroupHandle::Members CgroupHandle::members(const Dir& dir) const {
  Members out;
  out.cut = !look_below(dir.fd.get(), [&out](int below, const std::string&) { return collect(below, out); });
  return out;
}

CgroupHandle::Members CgroupHandle::members() const {
  Members out;
  for (const auto& dir : dirs_) {
    Members one;
    one.cut = !look_below(dir.fd.get(), [&one](int below, const std::string&) { return collect(below, one); });
    out.pids.merge(one.pids);
    out.foreign = std::max(out.foreign, one.foreign);
    out.cgroups = std::max(out.cgroups, one.cgroups);
    out.cut = out.cut || one.cut;
  }
  return out;
}

bool CgroupHandle::has(const std::string& proc, pid_t pid) const {
  const base::Fd dir(::open((proc + '/' + std::to_string(pid)).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return false;
  const auto text = read_file(dir.get(), "cgroup");
  if (!text) return false;
  const auto memberships = parse_memberships(*text);
  return std::ranges::any_of(dirs_, [&](const Dir& mine) {
    return std::ranges::any_of(memberships, [&](const Membership& membership) {
      return names_hierarchy(membership, *mine.hierarchy) && is_within(membership.path, path_);
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
