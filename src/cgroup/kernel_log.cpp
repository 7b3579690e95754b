// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/kernel_log.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "src/base/text.h"

namespace cgwarden::cgroup {
namespace {

int nibble(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Decodes \x1b: the kernel escapes unprintable bytes and the backslash in this way.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = text.substr(i, 2) == "\\x" && i + 3 < text.size() ? nibble(text[i + 2]) : -1;
    const int low = high >= 0 ? nibble(text[i + 3]) : -1;
    if (low < 0) {
      out += text[i];
      continue;
    }
    out += static_cast<char>(high * 16 + low);
    i += 3;
  }
  return out;
}

// Returns the text between `left` and `right`, or nullopt unless each of them occurs exactly once.
std::optional<std::string_view> between(std::string_view text, std::string_view left, std::string_view right) {
  const auto from = text.find(left);
  const auto to = text.find(right);
  if (from == std::string_view::npos || to == std::string_view::npos || from != text.rfind(left) ||
      to != text.rfind(right) || to < from + left.size()) {
    return std::nullopt;
  }
  return text.substr(from + left.size(), to - from - left.size());
}

}  // namespace

KernelLog::KernelLog(const HostPaths& paths) {
  struct statfs fs {};
  if (::statfs(paths.procfs.c_str(), &fs) != 0 || fs.f_type != PROC_SUPER_MAGIC) return;
  file_ = base::Fd(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (file_ && ::lseek(file_.get(), 0, SEEK_END) < 0) file_.reset();
}

std::optional<std::string_view> KernelLog::next() {
  if (!file_) return std::nullopt;
  while (true) {
    const auto n = ::read(file_.get(), text_.data(), text_.size());
    if (n > 0) return std::string_view(text_.data(), static_cast<std::size_t>(n));
    if (n < 0 && (errno == EPIPE || errno == EINTR))
      continue;  // EPIPE: overwritten, the next read starts at the oldest record
    return std::nullopt;
  }
}

std::optional<std::string> cgroup_of_oom_kill(std::string_view record, std::string_view root) {
  constexpr unsigned facilities_begin = 8;  // smaller priorities are levels of facility 0, the kernel
  auto head = base::take_until(record, ';');
  const auto priority = base::to_int<unsigned>(base::take_until(head, ','));
  if (!priority || *priority >= facilities_begin || !record.starts_with("oom-kill:constraint=")) return std::nullopt;
  const auto line = unescaped(base::take_line(record));
  auto path = between(line, ",task_memcg=", ",task=");
  if (!path) return std::nullopt;
  if (root != "/") {
    if (!path->starts_with(root)) return std::nullopt;
    path->remove_prefix(root.size());
    if (path->empty()) return "/";
  }
  if (!path->starts_with('/')) return std::nullopt;
  return std::string(*path);
}

}  // namespace cgwarden::cgroup
