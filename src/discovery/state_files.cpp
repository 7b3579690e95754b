// SPDX-License-Identifier: Apache-2.0
#include "src/discovery/state_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <limits>

#include "src/base/file.h"
#include "src/base/text.h"

namespace cgwarden::discovery {
namespace {

constexpr std::size_t kMaxLogged = 256;
constexpr int kMaxJsonDepth = 64;

int open_within(int at, const std::string& path, int flags, std::uint64_t resolve) {
  struct open_how how {};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.resolve = resolve;
  return static_cast<int>(::syscall(SYS_openat2, at, path.c_str(), &how, sizeof how));
}

// Linux before 5.6 (ENOSYS) and seccomp filters that reject openat2() (EPERM).
bool is_openat2_unavailable() { return errno == ENOSYS || errno == EPERM; }

std::string join(std::string_view directory, std::string_view name) {
  std::string out(directory);
  if (!out.empty() && out.back() != '/' && !name.empty()) out += '/';
  out += name;
  return out;
}

// Separates the part of a root that the administrator controls from the part that a user controls.
constexpr std::string_view kUserSeparator = "/./";

bool is_user_root(const std::string& root) { return root.find(kUserSeparator) != std::string::npos; }

std::string parent_of(std::string_view path) {
  const auto slash = path.rfind('/');
  return std::string(path.substr(0, slash == std::string_view::npos ? 0 : slash));
}

}  // namespace

bool is_file_name(std::string_view text) {
  return !text.empty() && text.size() <= 255 && text != "." && text != ".." &&
         text.find('/') == std::string_view::npos && text.find('\0') == std::string_view::npos;
}

std::optional<nlohmann::json> parse_state(std::string_view text) {
  using Event = nlohmann::json::parse_event_t;
  const auto keep = [](int depth, Event event, const nlohmann::json& parsed) {
    if (event == Event::key) return parsed != "env" && parsed != "Env";
    return depth < kMaxJsonDepth;
  };
  auto out = nlohmann::json::parse(text, keep, false);
  if (!out.is_object() && !out.is_array()) return std::nullopt;
  return out;
}

StateFiles::StateFiles(std::string rootfs, std::string procfs, std::function<void(std::string)> log)
    : rootfs_(std::move(rootfs)), procfs_(std::move(procfs)), log_(std::move(log)) {}

// A root is set by the administrator and may be a symbolic link, which is resolved within the host's root directory.
base::Fd StateFiles::open_root(const std::string& root) {
  constexpr int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  const base::Fd host(::open(rootfs_.c_str(), flags));
  if (!host) return {};
  const auto users = root.find(kUserSeparator);
  const auto above = root.substr(0, users);
  base::Fd fd(open_within(host.get(), above, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS));
  if (!fd && is_openat2_unavailable()) fd = base::Fd(::open(join(rootfs_ == "/" ? "" : rootfs_, above).c_str(), flags));
  if (fd && users != std::string::npos) fd = open_below(fd, root.substr(users + kUserSeparator.size()), flags, true);
  return fd;
}

base::Fd StateFiles::open_below(const base::Fd& root, const std::string& relative, int flags, bool of_user) {
  const std::string path = relative.empty() ? "." : relative;
  const std::uint64_t how =
      RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | (of_user ? RESOLVE_NO_XDEV : 0U);
  base::Fd fd(open_within(root.get(), path, flags | O_NOFOLLOW, how));
  if (fd || !is_openat2_unavailable()) return fd;
  // Fallback: open one component at a time, rejecting links.
  base::Fd at(::openat(root.get(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat first {};
  if (at && ::fstat(at.get(), &first) != 0) return {};
  std::string_view rest = path;
  while (at && !rest.empty()) {
    const std::string part(base::take_until(rest, '/'));
    if (part == "..") {
      errno = EXDEV;
      return {};
    }
    const int last = rest.empty() ? flags | O_NOFOLLOW : O_PATH | O_DIRECTORY | O_NOFOLLOW;
    at = base::Fd(::openat(at.get(), part.c_str(), last | O_CLOEXEC));
    struct stat now {};
    if (of_user && at && (::fstat(at.get(), &now) != 0 || now.st_dev != first.st_dev)) {
      errno = EXDEV;
      return {};
    }
  }
  return at;
}

void StateFiles::add_watch_key(const std::string& root, std::string_view relative, bool whole) {
  if (whole) {
    watch_keys_.insert({root, std::string(relative), {}});
  } else {
    watch_keys_.insert({root, parent_of(relative), std::string(base::last_part(relative))});
  }
}

void StateFiles::log_once(const std::string& root, const std::string& relative, std::string_view reason) {
  auto key = root + '\0';
  key += reason;
  if (logged_.size() >= kMaxLogged || !logged_.insert(std::move(key)).second) return;
  log_("discovery: state file ignored: " + base::printable(join(root, relative)) + " (" + std::string(reason) +
       "); further errors of this kind are only counted");
}

FileStatus StateFiles::failed(int error, const std::string& root, const std::string& relative) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return FileStatus::missing;
    case EACCES:
    case EPERM:
      ++stats_.denied;
      log_once(root, relative, "permission denied");
      return FileStatus::unusable;
    case EXDEV:
      ++stats_.refused;
      log_once(root, relative, "symbolic link in the path, or on another file system");
      return FileStatus::unusable;
    case ELOOP:
      ++stats_.refused;
      log_once(root, relative, "symbolic link in the path");
      return FileStatus::unusable;
    default:
      ++stats_.refused;
      log_once(root, relative, std::strerror(error));
      return FileStatus::unusable;
  }
}

FileStatus StateFiles::broken(const std::string& root, const std::string& relative, std::string_view reason) {
  ++stats_.broken;
  log_once(root, relative, reason);
  return FileStatus::unusable;
}

FileStatus StateFiles::read(const std::string& root, const std::string& relative, std::string& out, std::size_t limit,
                            Changes changes) {
  out.clear();
  if (changes == Changes::watched) add_watch_key(root, relative, false);
  const auto dir = open_root(root);
  if (!dir) return failed(errno, root, relative);
  const auto fd = open_below(dir, relative, O_RDONLY | O_NONBLOCK | O_NOCTTY, is_user_root(root));
  if (!fd) return failed(errno, root, relative);
  struct stat about {};
  if (::fstat(fd.get(), &about) != 0) return failed(errno, root, relative);
  if (!S_ISREG(about.st_mode)) {
    ++stats_.refused;
    log_once(root, relative, "not a regular file");
    return FileStatus::unusable;
  }
  const auto too_big = [&] {
    ++stats_.too_big;
    log_once(root, relative, "larger than the limit for state files");
    out.clear();
    return FileStatus::unusable;
  };
  if (static_cast<std::uint64_t>(about.st_size) > limit) return too_big();
  ++stats_.reads;
  // The file may grow while it is read; request one byte more than the limit to detect that.
  std::size_t size = 0;
  std::size_t room = static_cast<std::size_t>(about.st_size) + 1;
  for (;;) {
    out.resize(std::min(size + room, limit + 1));
    const auto got = ::read(fd.get(), out.data() + size, out.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(errno, root, relative);
    size += static_cast<std::size_t>(got);
    if (size > limit) return too_big();
    if (got == 0) break;
    room = 4096;
  }
  out.resize(size);
  if (!base::is_utf8(out)) return broken(root, relative, "not UTF-8");
  return FileStatus::found;
}

FileStatus StateFiles::read_json(const std::string& root, const std::string& relative, nlohmann::json& out,
                                 Changes changes) {
  std::string text;
  if (const auto answer = read(root, relative, text, kFileLimit, changes); answer != FileStatus::found) return answer;
  auto parsed = parse_state(text);
  if (!parsed) return broken(root, relative, "not JSON, or incomplete");
  out = std::move(*parsed);
  return FileStatus::found;
}

std::uint64_t StateFiles::version(const std::string& root, const std::string& relative, Changes changes) {
  if (changes == Changes::watched) add_watch_key(root, relative, false);
  const auto dir = open_root(root);
  const auto fd = dir ? open_below(dir, relative, O_PATH, is_user_root(root)) : base::Fd();
  struct stat about {};
  if (!fd || ::fstat(fd.get(), &about) != 0) {
    failed(errno, root, relative);
    return 0;
  }
  std::uint64_t hash = 1469598103934665603U;  // FNV-1a
  for (const auto part :
       {static_cast<std::uint64_t>(about.st_ino), static_cast<std::uint64_t>(about.st_size),
        static_cast<std::uint64_t>(about.st_ctim.tv_sec), static_cast<std::uint64_t>(about.st_ctim.tv_nsec)}) {
    hash = (hash ^ part) * 1099511628211U;
  }
  return hash == 0 ? 1 : hash;
}

std::optional<base::Wall> StateFiles::changed_at(const std::string& root, const std::string& relative) {
  const auto dir = open_root(root);
  const auto fd = dir ? open_below(dir, relative, O_PATH, is_user_root(root)) : base::Fd();
  struct stat about {};
  if (!fd || ::fstat(fd.get(), &about) != 0) return std::nullopt;
  return base::Wall(std::chrono::seconds(about.st_ctim.tv_sec) + std::chrono::nanoseconds(about.st_ctim.tv_nsec));
}

std::vector<std::string> StateFiles::list(const std::string& root, const std::string& relative) {
  add_watch_key(root, relative, true);
  const auto dir = open_root(root);
  if (!dir) {
    failed(errno, root, relative);
    return {};
  }
  auto fd = open_below(dir, relative, O_RDONLY | O_DIRECTORY, is_user_root(root));
  if (!fd) {
    failed(errno, root, relative);
    return {};
  }
  DIR* const stream = ::fdopendir(fd.get());
  if (stream == nullptr) return {};
  (void)fd.release();  // closedir() closes it
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(stream)) {
    if (entry->d_name[0] == '.') continue;
    if (names.size() == kListLimit) {
      ++stats_.too_big;
      log_once(root, relative, "more than " + std::to_string(kListLimit) + " entries, the rest is skipped");
      break;
    }
    names.emplace_back(entry->d_name);
  }
  ::closedir(stream);
  std::ranges::sort(names);
  return names;
}

bool StateFiles::alive(std::int64_t pid) const {
  if (pid <= 0 || pid > std::numeric_limits<pid_t>::max()) return false;
  if (base::exists(AT_FDCWD, (procfs_ + '/' + std::to_string(pid)).c_str())) return true;
  // With hidepid (proc(5)) the directory is hidden, but kill(2) with signal 0 fails with EPERM if the process exists.
  return procfs_ == "/proc" && ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == EPERM;
}

base::Fd StateFiles::open_for_watch(WatchKey& key) {
  auto dir = open_root(key.root);
  while (!dir && key.root.size() > 1) {
    key = {parent_of(key.root), {}, std::string(base::last_part(key.root))};
    if (key.root.empty()) key.root = "/";
    dir = open_root(key.root);
  }
  if (!dir) return {};
  for (;;) {
    auto fd = open_below(dir, key.directory, O_PATH | O_DIRECTORY, is_user_root(key.root));
    if (fd || key.directory.empty()) return fd;
    key.name = base::last_part(key.directory);
    key.directory = parent_of(key.directory);
  }
}

}  // namespace cgwarden::discovery
