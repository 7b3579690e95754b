// SPDX-License-Identifier: Apache-2.0
#include "src/policy/selector.h"

#include <algorithm>
#include <array>

#include "src/base/text.h"

namespace cgwarden::policy {
namespace {

using model::CgroupIndex;
using model::Snapshot;

constexpr std::size_t kMaxPattern = 256;

constexpr std::string_view kRuntimes[] = {"buildkit",    "containerd",   "cri-o", "crun",    "docker",        "incus",
                                          "libvirt-lxc", "libvirt-qemu", "lxc",   "lxd",     "mesos",         "podman",
                                          "runc",        "runsc",        "slurm", "systemd", "systemd-nspawn"};
constexpr std::string_view kPathKinds[] = {"root", "slice", "service", "scope", "mount", "socket", "swap", "cgroup"};

const model::Container* container_of(const Snapshot& now, CgroupIndex cgroup) {
  const auto& g = *now.cgroup_list->cgroups[cgroup];
  return now.containers ? now.containers->find(g.id, g.path) : nullptr;
}

std::string_view kind_of_path(std::string_view path) {
  if (path == "/") return "root";
  const auto dot = path.rfind('.');
  const auto end = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
  for (const auto kind : {"slice", "service", "scope", "mount", "socket", "swap"}) {
    if (end == kind) return kind;
  }
  return "cgroup";
}

using Texts = std::vector<std::string_view>;

Texts kinds_of(const Snapshot& now, CgroupIndex cgroup) {
  Texts out;
  if (const auto* const c = container_of(now, cgroup); c != nullptr) {
    if (c->runtime && (c->role == model::Role::container || c->role == model::Role::machine))
      out.push_back(*c->runtime);
    out.push_back(model::name(c->role));
  }
  out.push_back(kind_of_path(now.cgroup_list->cgroups[cgroup]->path));
  return out;
}

Texts one(const model::Container::Text& text) {
  if (!text || text->empty()) return {};
  return {*text};
}

Texts fact_of(const Snapshot& now, CgroupIndex cgroup, model::Container::Text model::Container::*fact) {
  const auto* const c = container_of(now, cgroup);
  return c != nullptr ? one(c->*fact) : Texts{};
}

Texts units_of(const Snapshot& now, CgroupIndex cgroup) {
  if (auto unit = fact_of(now, cgroup, &model::Container::unit); !unit.empty()) return unit;
  const std::string_view path = now.cgroup_list->cgroups[cgroup]->path;
  const auto kind = kind_of_path(path);
  return kind == "root" || kind == "cgroup" ? Texts{} : Texts{base::last_part(path)};
}

Texts slices_of(std::string_view path) {
  Texts out;
  while (!path.empty()) {
    const auto part = base::take_until(path, '/');
    if (part.ends_with(".slice")) out.push_back(part);
  }
  return out;
}

Texts label_of(const Snapshot& now, CgroupIndex cgroup, std::string_view label) {
  const auto* const c = container_of(now, cgroup);
  if (c == nullptr) return {};
  for (const auto& [name, value] : c->labels) {
    if (name == label) return {value};
  }
  return {};
}

bool any_matches(const Selector::Patterns& patterns, const Texts& texts, bool path) {
  return std::ranges::any_of(patterns, [&](const std::string& pattern) {
    return std::ranges::any_of(texts, [&](std::string_view text) { return glob_matches(pattern, text, path); });
  });
}

std::string listed(const Selector::Patterns& patterns) {
  std::string out;
  for (const auto& pattern : patterns) out += (out.empty() ? "" : " or ") + pattern;
  return out;
}

// Calls `differs` with a function that returns the description of a criterion that does not match. Stops and returns
// false when `differs` returns true; returns true at the end.
template <class Differs>
bool check_stable(const Selector& s, const Snapshot& now, CgroupIndex cgroup, Differs differs) {
  const auto& g = *now.cgroup_list->cgroups[cgroup];
  const auto text = [&](std::string_view what, const Selector::Patterns& patterns, const auto& get, bool path = false) {
    if (patterns.empty()) return false;
    const Texts texts = get();
    if (any_matches(patterns, texts, path)) return false;
    return differs([&] {
      return std::string(what) + " is " + (texts.empty() ? "unknown" : base::printable(texts.front())) + ", not " +
             base::printable(listed(patterns));
    });
  };
  const auto fact = [&](model::Container::Text model::Container::*member) {
    return [&now, cgroup, member] { return fact_of(now, cgroup, member); };
  };
  if (text(
          "path", s.path, [&] { return Texts{g.path}; }, true))
    return false;
  if (text("kind", s.kind, [&] { return kinds_of(now, cgroup); })) return false;
  if (text("name", s.name, [&] { return Texts{name_of(now, cgroup)}; })) return false;
  if (text("image", s.image, fact(&model::Container::image))) return false;
  if (text("unit", s.unit, [&] { return units_of(now, cgroup); })) return false;
  if (text("slice", s.slice, [&] { return slices_of(g.path); })) return false;
  if (text("pod", s.pod, fact(&model::Container::pod))) return false;
  if (text("namespace", s.pod_namespace, fact(&model::Container::pod_namespace))) return false;
  if (text("id", s.id, fact(&model::Container::id))) return false;
  if (const auto user = base::to_int<std::uint32_t>(model::host_user_of(g.path));
      !s.users.empty() && (!user || std::ranges::find(s.users, *user) == s.users.end()) && differs([&] {
        Selector::Patterns wanted;
        for (const auto id : s.users) wanted.push_back(std::to_string(id));
        return "user is " + (user ? std::to_string(*user) : "unknown") + ", not " + listed(wanted);
      }))
    return false;
  for (const auto& [label, patterns] : s.labels) {
    if (text("label " + label, patterns, [&now, cgroup, &name = label] { return label_of(now, cgroup, name); }))
      return false;
  }
  return true;
}

template <class Differs>
bool check(const Selector& s, const SelectorFields& fields, const Snapshot& now, CgroupIndex cgroup, Criteria criteria,
           Differs differs) {
  if (criteria != Criteria::variable && !check_stable(s, now, cgroup, differs)) return false;
  if (criteria == Criteria::stable) return true;
  const auto& g = *now.cgroup_list->cgroups[cgroup];
  if (s.min_memory) {
    const auto value = fields.memory_current ? now.value(*fields.memory_current, cgroup) : model::Value::absent();
    if ((!value.is_number() || static_cast<double>(value.fixed()) < *s.min_memory) && differs([&] {
          return "memory is " +
                 (value.is_number()
                      ? format_quantity(model::Unit::bytes, static_cast<double>(value.fixed())) + ", less than "
                      : std::string("unknown, must be at least ")) +
                 format_quantity(model::Unit::bytes, *s.min_memory);
        }))
      return false;
  }
  if (s.older_than) {
    const auto age = std::chrono::duration_cast<Duration>(now.taken_wall - g.created);
    if (age < *s.older_than && differs([&] {
          return "cgroup is " + format_duration(std::chrono::duration_cast<std::chrono::seconds>(age)) +
                 " old, less than " + format_duration(*s.older_than);
        }))
      return false;
  }
  if (s.populated) {
    const auto value = fields.populated ? now.value(*fields.populated, cgroup) : model::Value::absent();
    if ((!value.is_number() || (value.fixed() != 0) != *s.populated) && differs([&] {
          if (!value.is_number()) return std::string("populated is unknown");
          return std::string(*s.populated ? "cgroup is not populated" : "cgroup is populated");
        }))
      return false;
  }
  for (const auto& excluded : s.excluded) {
    if (matches(excluded, fields, now, cgroup) && differs([] { return std::string("excluded by 'not'"); }))
      return false;
  }
  return true;
}

}  // namespace

bool glob_matches(std::string_view pattern, std::string_view text, bool path) {
  if (pattern.size() > kMaxPattern) return false;
  // Fast path: most patterns differ in their literal prefix.
  while (!pattern.empty() && pattern.front() != '*' && pattern.front() != '?') {
    if (text.empty() || text.front() != pattern.front()) return false;
    pattern.remove_prefix(1);
    text.remove_prefix(1);
  }
  // reach[i]: the first i bytes of the pattern match the text so far.
  std::array<bool, kMaxPattern + 1> reach{};
  const auto star = [&](std::size_t i) { return i < pattern.size() && pattern[i] == '*'; };
  const auto skip_stars = [&] {
    for (std::size_t i = 0; i < pattern.size(); ++i) {
      if (reach[i] && star(i)) reach[i + 1] = true;
    }
  };
  reach[0] = true;
  skip_stars();
  for (const char c : text) {
    bool alive = false;
    for (std::size_t i = pattern.size() + 1; i-- > 0;) {
      bool next = false;
      if (i > 0 && reach[i - 1] && !star(i - 1)) {
        next = pattern[i - 1] == c || (pattern[i - 1] == '?' && (!path || c != '/'));
      }
      // A star matches any byte; in a path a single star does not match a slash.
      const bool pair = star(i) && (star(i + 1) || (i > 0 && star(i - 1)));
      if (reach[i] && star(i) && (!path || pair || c != '/')) next = true;
      reach[i] = next;
      alive = alive || next;
    }
    if (!alive) return false;
    skip_stars();
  }
  return reach[pattern.size()];
}

std::vector<std::string_view> known_kinds() {
  std::vector<std::string_view> out(std::begin(kRuntimes), std::end(kRuntimes));
  for (auto role = 0; role <= static_cast<int>(model::Role::unit); ++role) {
    out.push_back(model::name(static_cast<model::Role>(role)));
  }
  out.insert(out.end(), std::begin(kPathKinds), std::end(kPathKinds));
  return out;
}

bool matches(const Selector& selector, const SelectorFields& fields, const Snapshot& now, CgroupIndex cgroup,
             Criteria criteria) {
  return check(selector, fields, now, cgroup, criteria, [](const auto&) { return true; });
}

std::string mismatch(const Selector& selector, const SelectorFields& fields, const Snapshot& now, CgroupIndex cgroup) {
  std::string out;
  check(selector, fields, now, cgroup, Criteria::all, [&](const auto& what) {
    out = what();
    return true;
  });
  return out;
}

std::string_view name_of(const Snapshot& now, CgroupIndex cgroup) {
  if (const auto* const c = container_of(now, cgroup); c != nullptr && model::is_workload(c->role)) {
    if (c->role == model::Role::pod && c->pod && !c->pod->empty()) return *c->pod;
    for (const auto& name : {&c->name, &c->pod_container}) {
      if (*name && !(*name)->empty()) return **name;
    }
  }
  return base::last_part(now.cgroup_list->cgroups[cgroup]->path);
}

}  // namespace cgwarden::policy
