// SPDX-License-Identifier: Apache-2.0
// Namespace membership: namespaces(7), from /proc/PID/ns. Of each group the namespaces that its own processes are in;
// of each namespace who shares it. A process whose namespaces may not be read is unknown: counted as such and in no
// series.
//
// A chroot is a root that is not that of the process's mount namespace: /proc/PID/root is then a link to another path
// than "/". The path is what the kernel has in memory: unlike comparing inodes, it never asks a file system, which may
// be a network's and hang.
#include <algorithm>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "collectors/collectors.h"
#include "collectors/series.h"
#include "src/base/text.h"

namespace cgwarden::collectors {
namespace {

using model::FieldId;
using model::GroupIndex;
using model::Value;
using enum model::Kind;

constexpr std::size_t kMostPerGroup = 256;  // namespaces and roots of one group that are named

// clang-format off
constexpr model::Field kNamespacesRows[] = {
    {.name = "namespace", .kind = info, .derived = "`/proc/PID/ns` of the group's own processes",
     .labels = "kind,namespace,host", .since = "5.4",
     .help = "Namespaces that the group's own processes are in, and whether they are the host's."},
    {.name = "namespace_unknown_processes", .kind = gauge, .derived = "`/proc/PID/ns` of the group's own processes",
     .since = "5.4", .help = "Own processes of the group whose namespaces are not known, for want of permission or time."},
    {.name = "namespace_processes", .kind = gauge, .derived = "`/proc/PID/ns` of all processes",
     .labels = "kind,namespace,host", .since = "5.4", .help = "Processes in the namespace, whatever their group."},
    {.name = "namespace_groups", .kind = gauge, .derived = "`/proc/PID/ns` of all processes",
     .labels = "kind,namespace,host", .since = "5.4", .help = "Groups that have a process in the namespace."},
    {.name = "namespace_first_group", .kind = info, .derived = "`/proc/PID/ns` of all processes",
     .labels = "kind,namespace,host,first_cgroup", .since = "5.4",
     .help = "The namespace and the first group, by path, that has a process in it."},
    {.name = "chroot", .kind = info, .derived = "`/proc/PID/root` of the group's own processes", .labels = "root",
     .since = "5.4", .help = "Roots of own processes that are not the root of their mount namespace."},
    {.name = "chroot_processes", .kind = gauge, .derived = "`/proc/PID/root` of the group's own processes",
     .since = "5.4", .help = "Own processes whose root is not that of their mount namespace."},
};
// clang-format on
static_assert(model::all_well_formed(kNamespacesRows));

class Namespaces : public OddReader {
 public:
  explicit Namespaces(const OddContext& context) : processes_(context.processes), notice_(context.notice) {
    const auto id = [&](std::string_view field) { return context.catalogue.find(field).value(); };
    namespace_ = id("namespace");
    unknown_ = id("namespace_unknown_processes");
    members_ = id("namespace_processes");
    groups_ = id("namespace_groups");
    first_group_ = id("namespace_first_group");
    chroot_ = id("chroot");
    chrooted_ = id("chroot_processes");
  }

  void begin(model::Snapshot&) override {
    for (auto& [key, entry] : entries_) entry.processes = entry.groups = 0;
  }

  void read(const cgroup::Tree& tree, cgroup::Node& node, GroupIndex group, model::Snapshot& snapshot,
            model::CollectorStats& stats) override {
    const auto& found = processes_.look(tree, node, group, stats);
    if (!found.listed || found.count() == 0) return;
    set_value(snapshot, unknown_, group, Value::of(static_cast<std::int64_t>(found.unknown)));
    std::size_t named = 0;
    for (const auto* process : found.known) {
      for (std::size_t kind = 0; kind < process->namespaces.size(); ++kind) {
        if (process->namespaces[kind] == 0) continue;
        auto& entry = entry_of(kind, process->namespaces[kind]);
        if (process->first_group == group) ++entry.processes;
        if (entry.groups != 0 && entry.last_group == group) continue;
        if (entry.groups++ == 0) entry.first_group = node.group;
        entry.last_group = group;
        if (++named > kMostPerGroup) continue;
        add_series(snapshot.columns[namespace_], group, entry.text, Value::of(1));
      }
    }
    if (named > kMostPerGroup) tell_bound(node);
    read_roots(found, group, snapshot);
  }

  void end(model::Snapshot& snapshot, model::CollectorStats&) override {
    std::erase_if(entries_, [](const auto& item) { return item.second.groups == 0; });
    sorted_.clear();
    for (auto& [key, entry] : entries_) {
      if (entry.named_group != entry.first_group) {
        entry.named_group = entry.first_group;
        entry.first_text = entry.text;
        entry.first_text += '\0';
        entry.first_text += entry.first_group->path;
      }
      sorted_.push_back(&entry);
    }
    std::ranges::sort(sorted_, shorter_first, &Entry::text);
    for (const auto* entry : sorted_) {
      add_series(snapshot.columns[members_], model::kNoGroup, entry->text, count(entry->processes));
      add_series(snapshot.columns[groups_], model::kNoGroup, entry->text, count(entry->groups));
    }
    std::ranges::sort(sorted_, shorter_first, &Entry::first_text);
    for (const auto* entry : sorted_) {
      add_series(snapshot.columns[first_group_], model::kNoGroup, entry->first_text, Value::of(1));
    }
  }

 private:
  struct Entry {
    std::string text;        // "net\0" "4026531840\0" "true"
    std::string first_text;  // and the first group's path
    std::uint64_t processes = 0;
    std::uint64_t groups = 0;
    GroupIndex last_group = 0;
    std::shared_ptr<const model::Group> first_group;
    std::shared_ptr<const model::Group> named_group;  // whose path is in first_text
  };

  static Value count(std::uint64_t n) { return Value::of(static_cast<std::int64_t>(n)); }

  Entry& entry_of(std::size_t kind, std::uint64_t id) {
    auto& entry = entries_[id * cgroup::kNamespaceKinds.size() + kind];
    if (entry.text.empty()) {
      entry.text = std::string(cgroup::kNamespaceKinds[kind]) + '\0' + std::to_string(id) + '\0';
      entry.text += host_text(processes_, kind, id);
    }
    return entry;
  }

  void read_roots(const cgroup::ProcessTable::Group& found, GroupIndex group, model::Snapshot& snapshot) {
    std::int64_t chrooted = 0;
    bool known = false;
    roots_.clear();
    for (const auto* process : found.known) {
      if (process->root.empty()) continue;
      known = true;
      if (process->root == "/") continue;
      ++chrooted;
      if (std::ranges::find(roots_, process->root) != roots_.end() || roots_.size() >= kMostPerGroup) continue;
      roots_.emplace_back(process->root);
      add_series(snapshot.columns[chroot_], group, process->root, Value::of(1));
    }
    if (known) set_value(snapshot, chrooted_, group, Value::of(chrooted));
  }

  void tell_bound(const cgroup::Node& node) {
    if (std::exchange(told_bound_, true)) return;
    notice_(base::printable(node.group->path) + " is in more than " + std::to_string(kMostPerGroup) +
            " namespaces: not all are named");
  }

  cgroup::ProcessTable& processes_;
  std::function<void(std::string)> notice_;
  FieldId namespace_ = 0, unknown_ = 0, members_ = 0, groups_ = 0, first_group_ = 0, chroot_ = 0, chrooted_ = 0;
  std::unordered_map<std::uint64_t, Entry> entries_;
  std::vector<Entry*> sorted_;
  std::vector<std::string_view> roots_;  // of the group being read
  bool told_bound_ = false;
};

}  // namespace

std::string_view host_text(const cgroup::ProcessTable& processes, std::size_t kind, std::uint64_t id) {
  const auto host = processes.host_namespaces()[kind];
  if (host == 0) return "unknown";
  return host == id ? "true" : "false";
}

Collector namespaces() {
  return {
      {"namespaces",
       "Namespaces and chroots of processes. Seldom read again: a known process costs a microsecond. It takes "
       "CAP_SYS_PTRACE; without it they are unknown.",
       true, kNamespacesRows},
      [](const OddContext& context) -> std::unique_ptr<OddReader> { return std::make_unique<Namespaces>(context); }};
}

}  // namespace cgwarden::collectors
