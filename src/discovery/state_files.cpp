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

constexpr std::size_t kMaxTold = 256;
constexpr int kMaxAbove = 64;

int open_within(int at, const std::string& path, int flags, std::uint64_t resolve) {
  struct open_how how {};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.resolve = resolve;
  return static_cast<int>(::syscall(SYS_openat2, at, path.c_str(), &how, sizeof how));
}

// Kernels before 5.6 and seccomp filters that do not know the call.
bool no_such_call() { return errno == ENOSYS || errno == EPERM; }

std::string join(std::string_view directory, std::string_view name) {
  std::string out(directory);
  if (!out.empty() && out.back() != '/' && !name.empty()) out += '/';
  out += name;
  return out;
}

// Between what is the administrator's of a root and what is a user's.
constexpr std::string_view kUsers = "/./";

bool is_users(const std::string& root) { return root.find(kUsers) != std::string::npos; }

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
    return depth < kMaxAbove;
  };
  auto out = nlohmann::json::parse(text, keep, false);
  if (!out.is_object() && !out.is_array()) return std::nullopt;
  return out;
}

StateFiles::StateFiles(std::string rootfs, std::string procfs, std::function<void(std::string)> notice)
    : rootfs_(std::move(rootfs)), procfs_(std::move(procfs)), notice_(std::move(notice)) {}

// A root is the administrator's own choice and may be a link, which then leads within the host's root.
base::Fd StateFiles::open_root(const std::string& root) {
  constexpr int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  const base::Fd host(::open(rootfs_.c_str(), flags));
  if (!host) return {};
  const auto users = root.find(kUsers);
  const auto above = root.substr(0, users);
  base::Fd fd(open_within(host.get(), above, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS));
  if (!fd && no_such_call()) fd = base::Fd(::open(join(rootfs_ == "/" ? "" : rootfs_, above).c_str(), flags));
  if (fd && users != std::string::npos) fd = open_below(fd, root.substr(users + kUsers.size()), flags, true);
  return fd;
}

base::Fd StateFiles::open_below(const base::Fd& root, const std::string& relative, int flags, bool of_user) {
  const std::string path = relative.empty() ? "." : relative;
  const std::uint64_t how =
      RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | (of_user ? RESOLVE_NO_XDEV : 0U);
  base::Fd fd(open_within(root.get(), path, flags | O_NOFOLLOW, how));
  if (fd || !no_such_call()) return fd;
  // One component after the other, none of them a link.
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

void StateFiles::look(const std::string& root, std::string_view relative, bool whole) {
  if (whole) {
    looks_.insert({root, std::string(relative), {}});
  } else {
    looks_.insert({root, parent_of(relative), std::string(base::last_part(relative))});
  }
}

void StateFiles::tell(const std::string& root, const std::string& relative, std::string_view why) {
  auto key = root + '\0';
  key += why;
  if (told_.size() >= kMaxTold || !told_.insert(std::move(key)).second) return;
  notice_("discovery: " + base::printable(join(root, relative)) + ": " + std::string(why) +
          "; ignoring, and counting further ones");
}

Answer StateFiles::failed(int error, const std::string& root, const std::string& relative) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return Answer::absent;
    case EACCES:
    case EPERM:
      ++stats_.denied;
      tell(root, relative, "no right to read it");
      return Answer::unusable;
    case EXDEV:
      ++stats_.refused;
      tell(root, relative, "is or is below a symbolic link, or is on another file system");
      return Answer::unusable;
    case ELOOP:
      ++stats_.refused;
      tell(root, relative, "is or is below a symbolic link");
      return Answer::unusable;
    default:
      ++stats_.refused;
      tell(root, relative, std::strerror(error));
      return Answer::unusable;
  }
}

Answer StateFiles::broken(const std::string& root, const std::string& relative, std::string_view why) {
  ++stats_.broken;
  tell(root, relative, why);
  return Answer::unusable;
}

Answer StateFiles::read(const std::string& root, const std::string& relative, std::string& out, std::size_t limit,
                        Changes changes) {
  out.clear();
  if (changes == Changes::watched) look(root, relative, false);
  const auto dir = open_root(root);
  if (!dir) return failed(errno, root, relative);
  const auto fd = open_below(dir, relative, O_RDONLY | O_NONBLOCK | O_NOCTTY, is_users(root));
  if (!fd) return failed(errno, root, relative);
  struct stat about {};
  if (::fstat(fd.get(), &about) != 0) return failed(errno, root, relative);
  if (!S_ISREG(about.st_mode)) {
    ++stats_.refused;
    tell(root, relative, "is no regular file");
    return Answer::unusable;
  }
  const auto too_big = [&] {
    ++stats_.too_big;
    tell(root, relative, "is larger than a state file may be");
    out.clear();
    return Answer::unusable;
  };
  if (static_cast<std::uint64_t>(about.st_size) > limit) return too_big();
  ++stats_.reads;
  // It may grow while it is read; one byte more than allowed is asked for.
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
  if (!base::is_utf8(out)) return broken(root, relative, "is no UTF-8");
  return Answer::found;
}

Answer StateFiles::read_json(const std::string& root, const std::string& relative, nlohmann::json& out,
                             Changes changes) {
  std::string text;
  if (const auto answer = read(root, relative, text, kFileLimit, changes); answer != Answer::found) return answer;
  auto parsed = parse_state(text);
  if (!parsed) return broken(root, relative, "is no JSON, or only half written");
  out = std::move(*parsed);
  return Answer::found;
}

std::uint64_t StateFiles::version(const std::string& root, const std::string& relative, Changes changes) {
  if (changes == Changes::watched) look(root, relative, false);
  const auto dir = open_root(root);
  const auto fd = dir ? open_below(dir, relative, O_PATH, is_users(root)) : base::Fd();
  struct stat about {};
  if (!fd || ::fstat(fd.get(), &about) != 0) {
    failed(errno, root, relative);
    return 0;
  }
  std::uint64_t hash = 1469598103934665603U;  // FNV-1a over what tells two files apart
  for (const auto part :
       {static_cast<std::uint64_t>(about.st_ino), static_cast<std::uint64_t>(about.st_size),
        static_cast<std::uint64_t>(about.st_ctim.tv_sec), static_cast<std::uint64_t>(about.st_ctim.tv_nsec)}) {
    hash = (hash ^ part) * 1099511628211U;
  }
  return hash == 0 ? 1 : hash;
}

std::optional<base::Wall> StateFiles::changed(const std::string& root, const std::string& relative) {
  const auto dir = open_root(root);
  const auto fd = dir ? open_below(dir, relative, O_PATH, is_users(root)) : base::Fd();
  struct stat about {};
  if (!fd || ::fstat(fd.get(), &about) != 0) return std::nullopt;
  return base::Wall(std::chrono::seconds(about.st_ctim.tv_sec) + std::chrono::nanoseconds(about.st_ctim.tv_nsec));
}

std::vector<std::string> StateFiles::list(const std::string& root, const std::string& relative) {
  look(root, relative, true);
  const auto dir = open_root(root);
  if (!dir) {
    failed(errno, root, relative);
    return {};
  }
  auto fd = open_below(dir, relative, O_RDONLY | O_DIRECTORY, is_users(root));
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
      tell(root, relative, "has more entries than are looked at");
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
  // Hidden by the mount's hidepid, it still answers to the question whether it is there.
  return procfs_ == "/proc" && ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == EPERM;
}

base::Fd StateFiles::open_for_watch(Look& look) {
  auto dir = open_root(look.root);
  while (!dir && look.root.size() > 1) {
    look = {parent_of(look.root), {}, std::string(base::last_part(look.root))};
    if (look.root.empty()) look.root = "/";
    dir = open_root(look.root);
  }
  if (!dir) return {};
  for (;;) {
    auto fd = open_below(dir, look.directory, O_PATH | O_DIRECTORY, is_users(look.root));
    if (fd || look.directory.empty()) return fd;
    look.name = base::last_part(look.directory);
    look.directory = parent_of(look.directory);
  }
}

}  // namespace cgwarden::discovery
