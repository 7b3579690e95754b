// SPDX-License-Identifier: Apache-2.0
#include "src/discovery/runtimes.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "src/base/text.h"

namespace cgwarden::discovery {
namespace {

using model::Role;

enum Flags : std::uint8_t {
  kNone = 0,
  kNamed = 1,   // the id is the name
  kInside = 2,  // only as a child of a container, a machine, a job or a payload cgroup
  kMaybe = 4,   // only if the state of a runtime contains the id
};

// A pattern matches the last components of a path; '/' separates components.
//   {hex}  64 lower-case hexadecimal digits: the id       {uid}  uid of a pod, with '-' or '_'
//   {id}   one or more bytes: the id                        {num}  digits
//   {esc}  the same, with systemd's escapes                *      any bytes within a component
// The first matching row wins.
struct Row {
  std::string_view pattern;
  std::string_view runtime;
  Role role;
  std::uint8_t flags = kNone;
};

constexpr Row kRows[] = {
    // Docker
    {"docker-{hex}.scope", "docker", Role::container},
    {"docker/{hex}", "docker", Role::container},
    {"moby/{hex}", "docker", Role::container},
    {"*:docker:{hex}", "docker", Role::container},
    {"ecs/*/{hex}", "docker", Role::container},
    {"ecs/*/*/{hex}", "docker", Role::container},
    {"docker/buildkit/{id}", "buildkit", Role::container},

    // containerd, used by Kubernetes and by nerdctl
    {"cri-containerd-{hex}.scope", "containerd", Role::container},
    {"*:cri-containerd:{hex}", "containerd", Role::container},
    {"k8s.io/{hex}", "containerd", Role::container},
    {"nerdctl-{hex}.scope", "containerd", Role::container},

    // CRI-O
    {"crio-conmon-{hex}.scope", "cri-o", Role::helper},
    {"crio-conmon-{hex}", "cri-o", Role::helper},
    {"crio-{hex}.scope", "cri-o", Role::container},
    {"crio-{hex}", "cri-o", Role::container},
    {"*:crio:{hex}", "cri-o", Role::container},

    // Podman
    {"libpod-conmon-{hex}.scope", "podman", Role::helper},
    {"libpod-conmon-{hex}", "podman", Role::helper},
    {"libpod-payload-{hex}", "podman", Role::container},
    {"libpod-{hex}.scope", "podman", Role::container},
    {"libpod-{hex}", "podman", Role::container},
    {"*:libpod:{hex}", "podman", Role::container},
    {"*libpod_pod_{hex}.slice", "podman", Role::pod},
    {"libpod_parent/{hex}", "podman", Role::pod},
    {"libpod_parent/conmon", "podman", Role::helper},
    {"{hex}/conmon", "podman", Role::helper},
    {"podman-{num}.scope", "podman", Role::helper},
    {"podman-pause-*.scope", "podman", Role::helper},

    // runC and crun with the systemd driver; with cgroupfs they accept any path
    {"runc-{id}.scope", "runc", Role::container, kNamed},
    {"crun-{id}.scope", "crun", Role::container, kNamed},

    // LXC, LXD, Incus
    {"lxc.payload.{id}", "lxc", Role::container, kNamed},
    {"lxc.payload/{id}", "lxc", Role::container, kNamed},
    {"lxc.monitor.{id}", "lxc", Role::helper},
    {"lxc.monitor/{id}", "lxc", Role::helper},
    {"lxc.pivot", "lxc", Role::helper},
    {"lxc/{id}", "lxc", Role::container, kNamed},

    // libvirt, then systemd-nspawn for all other machines that systemd-machined registers
    {"machine-qemu\\x2d{num}\\x2d{esc}.scope", "libvirt-qemu", Role::machine, kNamed},
    {"machine-lxc\\x2d{num}\\x2d{esc}.scope", "libvirt-lxc", Role::container, kNamed},
    {"qemu-{num}-{id}.libvirt-qemu", "libvirt-qemu", Role::machine, kNamed},
    {"lxc-{num}-{id}.libvirt-lxc", "libvirt-lxc", Role::container, kNamed},
    {"libvirt", "", Role::payload, kInside},
    {"emulator", "", Role::payload, kInside},
    {"vcpu{num}", "", Role::payload, kInside},
    {"iothread{num}", "", Role::payload, kInside},
    {"machine-{esc}.scope", "systemd-nspawn", Role::container, kNamed},
    {"systemd-nspawn@{esc}.service", "systemd-nspawn", Role::container, kNamed},

    // Kubernetes pods: systemd driver, cgroupfs driver
    {"*kubepods*-pod{uid}.slice", "", Role::pod},
    {"*kubepods/pod{uid}", "", Role::pod},
    {"*kubepods/burstable/pod{uid}", "", Role::pod},
    {"*kubepods/besteffort/pod{uid}", "", Role::pod},
    {"pod{uid}/{hex}", "", Role::container},

    // Batch systems and other runtimes
    {"slurm*/uid_*/job_{id}", "slurm", Role::job},
    {"*slurmstepd.scope/job_{id}", "slurm", Role::job},
    {"job_*/step_*", "slurm", Role::payload, kInside},
    {"step_*/task_*", "slurm", Role::payload, kInside},
    {"step_*/user", "slurm", Role::payload, kInside},
    {"step_*/slurm", "slurm", Role::helper, kInside},
    {"user/task_*", "slurm", Role::payload, kInside},
    {"mesos/{id}", "mesos", Role::container},

    // Child cgroups that runtimes and init systems create inside the cgroup of a container
    {"container", "", Role::payload, kInside},
    {"payload", "", Role::payload, kInside},
    {"libcrun", "", Role::payload, kInside},
    {"supervisor", "", Role::helper, kInside},
    {"init.scope", "", Role::payload, kInside},

    // systemd
    {"session-*.scope", "systemd", Role::session},
    {"user@{num}.service", "systemd", Role::user_manager},
    {"*.service", "systemd", Role::service},
    {"*.slice", "systemd", Role::slice},
    {"*.scope", "systemd", Role::scope},
    {"*.mount", "systemd", Role::unit},
    {"*.automount", "systemd", Role::unit},
    {"*.socket", "systemd", Role::unit},
    {"*.swap", "systemd", Role::unit},

    // Any parent, as with --cgroup-parent
    {"{hex}", "", Role::container, kMaybe},
};

constexpr std::size_t kIdDigits = 64;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }

struct Captured {
  std::string_view id;
  std::string_view uid;
  bool escaped = false;
};

// True if `pattern` matches `text` completely. Both are one component.
bool fits(std::string_view pattern, std::string_view text, Captured& out) {
  while (!pattern.empty()) {
    if (pattern.front() == '*') {
      pattern.remove_prefix(1);
      if (pattern.empty()) return true;
      for (std::size_t skip = 0; skip <= text.size(); ++skip) {
        if (fits(pattern, text.substr(skip), out)) return true;
      }
      return false;
    }
    if (pattern.front() != '{') {
      if (text.empty() || text.front() != pattern.front()) return false;
      pattern.remove_prefix(1);
      text.remove_prefix(1);
      continue;
    }
    pattern.remove_prefix(1);
    const auto kind = base::take_until(pattern, '}');
    if (kind == "id" || kind == "esc") {
      // In the table, only literal text follows.
      if (text.size() <= pattern.size() || !text.ends_with(pattern)) return false;
      out.id = text.substr(0, text.size() - pattern.size());
      out.escaped = kind == "esc";
      return true;
    }
    std::size_t n = 0;
    if (kind == "hex") {
      while (n < text.size() && n < kIdDigits && is_hex(text[n])) ++n;
      if (n != kIdDigits) return false;
      out.id = text.substr(0, n);
    } else if (kind == "uid") {
      while (n < text.size() && (is_hex(text[n]) || text[n] == '-' || text[n] == '_')) ++n;
      if (n != 32 && n != 36) return false;
      out.uid = text.substr(0, n);
    } else {
      while (n < text.size() && is_digit(text[n])) ++n;
      if (n == 0) return false;
    }
    text.remove_prefix(n);
  }
  return text.empty();
}

// True if `pattern` matches the last components of `path`.
bool fits_end(std::string_view pattern, std::string_view path, Captured& out) {
  for (;;) {
    const auto pattern_at = pattern.rfind('/');
    const auto path_at = path.rfind('/');
    const auto last = path.substr(path_at == std::string_view::npos ? 0 : path_at + 1);
    if (last.empty()) return false;
    if (!fits(pattern.substr(pattern_at == std::string_view::npos ? 0 : pattern_at + 1), last, out)) return false;
    if (pattern_at == std::string_view::npos) return true;
    if (path_at == std::string_view::npos) return false;
    pattern = pattern.substr(0, pattern_at);
    path = path.substr(0, path_at);
  }
}

bool may_contain_cgroups(Role role) {
  return role == Role::container || role == Role::machine || role == Role::job || role == Role::payload;
}

std::string_view qos_of(std::string_view path) {
  const auto last = path.rfind("kubepods");
  const auto rest = last == std::string_view::npos ? std::string_view{} : path.substr(last);
  if (rest.find("burstable") != std::string_view::npos) return "burstable";
  if (rest.find("besteffort") != std::string_view::npos) return "besteffort";
  return "guaranteed";
}

std::string dashes(std::string_view uid) {
  std::string out(uid);
  std::ranges::replace(out, '_', '-');
  return out;
}

// Match of the last component of `path`; `enclosing` is the match of its parent.
std::optional<PathMatch> locate_last(std::string_view path, const std::optional<PathMatch>& enclosing) {
  for (const auto& row : kRows) {
    if ((row.flags & kInside) != 0 && !(enclosing && enclosing->certain && may_contain_cgroups(enclosing->role)))
      continue;
    Captured captured;
    if (!fits_end(row.pattern, path, captured)) continue;
    PathMatch match;
    match.role = row.role;
    match.runtime = row.runtime;
    match.named = (row.flags & kNamed) != 0;
    match.certain = (row.flags & kMaybe) == 0;
    if (!captured.id.empty()) {
      match.id = base::to_utf8(captured.escaped ? unescape_unit(captured.id) : std::string(captured.id));
    } else if (row.runtime == "systemd") {
      match.id = base::to_utf8(path.substr(path.rfind('/') + 1));
    }
    if (!captured.uid.empty()) {
      match.pod_uid = dashes(captured.uid);
      match.qos = qos_of(path);
    } else if (enclosing && enclosing->role == Role::pod) {
      match.pod_uid = enclosing->pod_uid;
      match.qos = enclosing->qos;
    }
    return match;
  }
  return std::nullopt;
}

}  // namespace

std::string unescape_unit(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    if (text.size() >= 4 && text[0] == '\\' && text[1] == 'x') {
      if (const auto byte = base::to_int<std::uint8_t>(text.substr(2, 2), 16); byte && *byte != 0) {
        out += static_cast<char>(*byte);
        text.remove_prefix(4);
        continue;
      }
    }
    out += text.front();
    text.remove_prefix(1);
  }
  return out;
}

std::string_view enclosing_slice(std::string_view cgroup_path) {
  for (auto end = cgroup_path.rfind('/'); end != std::string_view::npos && end != 0;) {
    cgroup_path = cgroup_path.substr(0, end);
    end = cgroup_path.rfind('/');
    const auto last = cgroup_path.substr(end == std::string_view::npos ? 0 : end + 1);
    if (last.ends_with(".slice")) return last;
  }
  return {};
}

std::string_view user_of(std::string_view cgroup_path) {
  while (!cgroup_path.empty()) {
    auto component = base::take_until(cgroup_path, '/');
    if (!component.starts_with("user-") || !component.ends_with(".slice")) continue;
    component = component.substr(5, component.size() - 11);
    if (!component.empty() && std::ranges::all_of(component, is_digit)) return component;
  }
  return {};
}

std::optional<PathMatch> locate(std::string_view cgroup_path) {
  std::optional<PathMatch> match;
  for (std::size_t end = 0; end < cgroup_path.size();) {
    end = cgroup_path.find('/', end + 1);
    if (end == std::string_view::npos) end = cgroup_path.size();
    match = locate_last(cgroup_path.substr(0, end), match);
  }
  return match;
}

std::vector<std::string_view> known_runtimes() {
  std::vector<std::string_view> out;
  for (const auto& row : kRows) {
    if (!row.runtime.empty() && std::ranges::find(out, row.runtime) == out.end()) out.push_back(row.runtime);
  }
  return out;
}

}  // namespace cgwarden::discovery
