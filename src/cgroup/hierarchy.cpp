// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/hierarchy.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "src/base/fd.h"
#include "src/base/file.h"
#include "src/base/text.h"

namespace cgwarden::cgroup {
namespace {

using base::take_line;
using base::take_until;
using base::take_word;

constexpr std::string_view kDefaultMount = "/sys/fs/cgroup";

// Controllers of Linux up to 6.18. Any other mount option, except name=, is not a controller (rw, xattr, ...).
constexpr std::array<std::string_view, 15> kV1Controllers = {"cpu",     "cpuacct", "cpuset",  "memory",   "blkio",
                                                             "devices", "freezer", "net_cls", "net_prio", "perf_event",
                                                             "hugetlb", "pids",    "rdma",    "misc",     "debug"};

base::Result<std::string> read_text(const std::string& path) {
  auto text = base::read_file(path);
  if (!text) return base::fail_errno(base::printable(path) + ": cannot read");
  if (text->size() < base::kMaxFileSize) return std::move(*text);
  return base::fail(base::printable(path) + ": cannot read: larger than 4 MiB");
}

// For a mount whose root lies outside of the reader's cgroup namespace, the kernel shows "/.." (cgroup_namespaces(7)).
// Its mount point is taken for the root cgroup.
std::string normalized_root(std::string_view root) {
  return root == "/.." || root.starts_with("/../") ? "/" : std::string(root);
}

bool same_hierarchy(const Hierarchy& a, const Hierarchy& b) {
  return a.version == b.version && a.controllers == b.controllers && a.name == b.name;
}

std::string translate(const std::string& mount_point, const HostPaths& paths) {
  if (!paths.cgroupfs.empty() && mount_point.starts_with(kDefaultMount)) {
    return paths.cgroupfs + mount_point.substr(kDefaultMount.size());
  }
  return paths.rootfs == "/" ? mount_point : paths.rootfs + mount_point;
}

// Without this check, an agent that cannot open any hierarchy would report a host without cgroups and no error.
base::Result<void> check_one_opens(const std::vector<Hierarchy>& all) {
  std::string first;
  for (const auto& h : all) {
    if (base::Fd(::open(h.mount_point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC))) return {};
    if (first.empty()) first = base::Error::from_errno(errno, base::printable(h.mount_point)).what;
  }
  return base::fail("cgroup file systems: none can be opened: " + first);
}

std::string joined(const std::vector<std::string>& words, char separator) {
  std::string out;
  for (const auto& word : words) {
    if (!out.empty()) out += separator;
    out += word;
  }
  return out;
}

}  // namespace

bool Hierarchy::has(std::string_view controller) const {
  return std::ranges::find(controllers, controller) != controllers.end();
}

std::string Hierarchy::title() const {
  if (version == 2) return "v2";
  auto list = joined(controllers, ',');
  if (name.empty()) return list;
  return list.empty() ? "name=" + name : list + ",name=" + name;
}

std::vector<Hierarchy> parse_mountinfo(std::string_view mountinfo) {
  std::vector<Hierarchy> found;
  while (!mountinfo.empty()) {
    // 31 23 0:28 /root /mount/point options [optional...] - cgroup source super-options
    auto line = take_line(mountinfo);
    for (int skipped = 0; skipped < 3; ++skipped) take_word(line);
    const auto root = take_word(line);
    const auto mount_point = take_word(line);
    const auto dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    line.remove_prefix(dash + 3);
    const auto type = take_word(line);
    if (type != "cgroup" && type != "cgroup2") continue;
    take_word(line);  // mount source, which is arbitrary
    Hierarchy h;
    h.version = type == "cgroup2" ? 2 : 1;
    h.mount_point = base::unescape_octal(mount_point);
    h.root = normalized_root(base::unescape_octal(root));
    if (h.version == 1) {
      auto options = take_word(line);
      while (!options.empty()) {
        const auto option = take_until(options, ',');
        if (option.starts_with("name=")) h.name = base::unescape_octal(option.substr(5));
        if (std::ranges::find(kV1Controllers, option) != kV1Controllers.end()) h.controllers.emplace_back(option);
      }
      if (h.name.empty() && h.controllers.empty()) continue;
    }
    const auto known = std::ranges::find_if(found, [&](const Hierarchy& f) { return same_hierarchy(f, h); });
    if (known == found.end()) {
      found.push_back(std::move(h));
    } else if (h.root.size() < known->root.size()) {
      *known = std::move(h);
    }
  }
  return found;
}

std::vector<std::string> parse_unbound_controllers(std::string_view proc_cgroups) {
  std::vector<std::string> unbound;
  while (!proc_cgroups.empty()) {
    auto line = take_line(proc_cgroups);
    if (line.starts_with('#')) continue;
    const auto controller = take_word(line);
    const auto hierarchy = take_word(line);
    take_word(line);
    const auto enabled = take_word(line);
    if (!controller.empty() && hierarchy == "0" && enabled == "1") unbound.emplace_back(controller);
  }
  return unbound;
}

const Hierarchy* HostHierarchies::v2() const {
  const auto at = std::ranges::find(all, 2, &Hierarchy::version);
  return at == all.end() ? nullptr : &*at;
}

std::string_view HostHierarchies::layout() const {
  if (all.empty()) return "none";
  const bool any_v1 = std::ranges::find(all, 1, &Hierarchy::version) != all.end();
  if (v2() == nullptr) return "v1";
  return any_v1 ? "hybrid" : "v2";
}

std::string HostHierarchies::summary() const {
  std::string out(layout());
  std::string_view separator = ": v1 ";  // " " after the first
  for (const auto& h : all) {
    if (h.version != 1) continue;
    out += separator;
    out += base::printable(h.title());
    if (h.root != "/") out += "(from " + base::printable(h.root) + ")";
    separator = " ";
  }
  if (const auto* h = v2()) {
    out += separator == " " ? "; v2 " : ": v2 ";
    out += h->controllers.empty() ? "no controllers" : joined(h->controllers, ' ');
    if (h->root != "/") out += " (from " + base::printable(h->root) + ")";
  }
  if (!unbound.empty()) out += "; not mounted: " + joined(unbound, ' ');
  return out;
}

base::Result<HostHierarchies> find_hierarchies(const HostPaths& paths) {
  // For the proc file system of another host, the mounts of PID 1 count; for our own, those of this process.
  std::string source = paths.procfs + (paths.procfs == "/proc" ? "/self/mountinfo" : "/1/mountinfo");
  auto mounts = read_text(source);
  if (!mounts && paths.procfs != "/proc") {
    source = paths.procfs + "/self/mountinfo";
    mounts = read_text(source);
  }
  if (!mounts) return tl::unexpected(mounts.error());

  HostHierarchies host;
  host.all = parse_mountinfo(*mounts);
  if (host.all.empty()) {
    return base::fail(base::printable(source) +
                      ": no cgroup file system is mounted (to mount one: mount -t cgroup2 none /sys/fs/cgroup)");
  }
  for (auto& h : host.all) {
    h.mount_point = translate(h.mount_point, paths);
  }
  if (auto openable = check_one_opens(host.all); !openable) return tl::unexpected(std::move(openable.error()));
  for (auto& h : host.all) {
    if (h.version != 2) continue;
    const auto offered = read_text(h.mount_point + "/cgroup.controllers");
    if (!offered) continue;  // no controllers, core files only
    auto rest = base::trim_end(*offered);
    while (!rest.empty()) h.controllers.emplace_back(take_word(rest));
  }
  if (const auto table = read_text(paths.procfs + "/cgroups")) {
    for (auto& name : parse_unbound_controllers(*table)) {
      const auto* h = host.v2();
      const std::string_view v2_name = name == "blkio" ? "io" : std::string_view(name);
      if (h != nullptr && (h->has(v2_name) || name == "cpuacct" || name == "freezer" || name == "devices")) continue;
      host.unbound.push_back(std::move(name));
    }
  }
  return host;
}

}  // namespace cgwarden::cgroup
