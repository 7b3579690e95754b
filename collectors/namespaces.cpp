// SPDX-License-Identifier: Apache-2.0
// Namespace membership (namespaces(7)), from /proc/PID/ns: the namespaces of processes in each cgroup itself, and the
// processes and cgroups in each namespace. A process whose namespaces cannot be read is counted as unknown and is in no
// other series.
//
// A process is in a chroot if its root differs from that of its mount namespace: /proc/PID/root then links to another
// path than "/". The kernel has this path in memory. Comparing inodes instead would query the file system, and a
// network file system may hang.
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

using model::CgroupIndex;
using model::FieldId;
using model::Value;
using enum model::MetricKind;

constexpr std::size_t kMaxPerCgroup = 256;  // namespaces, and root directories, per cgroup

// clang-format off
constexpr model::Field kNamespacesRows[] = {
    {.name = "namespace", .kind = info, .derived = "`/proc/PID/ns` of processes in the cgroup itself",
     .labels = "kind,namespace,host", .since = "5.4",
     .help = "Namespaces of processes in the cgroup itself, and whether each is that of the host."},
    {.name = "namespace_unknown_processes", .kind = gauge,
     .derived = "`/proc/PID/ns` of processes in the cgroup itself",
     .since = "5.4",
     .help = "Processes in the cgroup itself whose namespaces are unknown because permission was denied or the time "
             "budget was exceeded."},
    {.name = "namespace_processes", .kind = gauge, .derived = "`/proc/PID/ns` of all processes",
     .labels = "kind,namespace,host", .since = "5.4", .help = "Processes in the namespace, over all cgroups."},
    {.name = "namespace_cgroups", .kind = gauge, .derived = "`/proc/PID/ns` of all processes",
     .labels = "kind,namespace,host", .since = "5.4", .help = "Cgroups that contain a process in the namespace."},
    {.name = "namespace_first_cgroup", .kind = info, .derived = "`/proc/PID/ns` of all processes",
     .labels = "kind,namespace,host,first_cgroup", .since = "5.4",
     .help = "First cgroup in path order that contains a process in the namespace."},
    {.name = "chroot", .kind = info, .derived = "`/proc/PID/root` of processes in the cgroup itself", .labels = "root",
     .since = "5.4",
     .help = "Root directories of processes in the cgroup itself that differ from the root of their mount namespace."},
    {.name = "chroot_processes", .kind = gauge, .derived = "`/proc/PID/root` of processes in the cgroup itself",
     .since = "5.4",
     .help = "Processes in the cgroup itself whose root directory differs from the root of their mount namespace."},
};
// clang-format on
static_assert(model::all_well_formed(kNamespacesRows));

class Namespaces : public CustomReader {
 public:
  explicit Namespaces(const CustomContext& context) : processes_(context.processes), log_(context.log) {
    const auto id = [&](std::string_view field) { return context.catalogue.find(field).value(); };
    namespace_ = id("namespace");
    unknown_ = id("namespace_unknown_processes");
    members_ = id("namespace_processes");
    cgroups_ = id("namespace_cgroups");
    first_cgroup_ = id("namespace_first_cgroup");
    chroot_ = id("chroot");
    chrooted_ = id("chroot_processes");
  }

  void begin(model::Snapshot&) override {
    for (auto& [key, entry] : entries_) entry.processes = entry.cgroups = 0;
  }

  void read(const cgroup::Tree& tree, cgroup::Node& node, CgroupIndex cgroup, model::Snapshot& snapshot,
            model::CollectorStats& stats) override {
    const auto& found = processes_.inspect(tree, node, cgroup, stats);
    if (!found.listed || found.count() == 0) return;
    set_value(snapshot, unknown_, cgroup, Value::of(static_cast<std::int64_t>(found.unknown)));
    std::size_t named = 0;
    for (const auto* process : found.known) {
      for (std::size_t kind = 0; kind < process->namespaces.size(); ++kind) {
        if (process->namespaces[kind] == 0) continue;
        auto& entry = entry_of(kind, process->namespaces[kind]);
        if (process->first_cgroup == cgroup) ++entry.processes;
        if (entry.cgroups != 0 && entry.last_cgroup == cgroup) continue;
        if (entry.cgroups++ == 0) entry.first_cgroup = node.cgroup;
        entry.last_cgroup = cgroup;
        if (++named > kMaxPerCgroup) continue;
        add_series(snapshot.columns[namespace_], cgroup, entry.text, Value::of(1));
      }
    }
    if (named > kMaxPerCgroup) log_limit(node);
    read_roots(found, cgroup, snapshot);
  }

  void end(model::Snapshot& snapshot, model::CollectorStats&) override {
    std::erase_if(entries_, [](const auto& item) { return item.second.cgroups == 0; });
    sorted_.clear();
    for (auto& [key, entry] : entries_) {
      if (entry.named_cgroup != entry.first_cgroup) {
        entry.named_cgroup = entry.first_cgroup;
        entry.first_text = entry.text;
        entry.first_text += '\0';
        entry.first_text += entry.first_cgroup->path;
      }
      sorted_.push_back(&entry);
    }
    std::ranges::sort(sorted_, shorter_first, &Entry::text);
    for (const auto* entry : sorted_) {
      add_series(snapshot.columns[members_], model::kNoCgroup, entry->text, count(entry->processes));
      add_series(snapshot.columns[cgroups_], model::kNoCgroup, entry->text, count(entry->cgroups));
    }
    std::ranges::sort(sorted_, shorter_first, &Entry::first_text);
    for (const auto* entry : sorted_) {
      add_series(snapshot.columns[first_cgroup_], model::kNoCgroup, entry->first_text, Value::of(1));
    }
  }

 private:
  struct Entry {
    std::string text;        // "net\0" "4026531840\0" "true"
    std::string first_text;  // text and the path of the first cgroup
    std::uint64_t processes = 0;
    std::uint64_t cgroups = 0;
    CgroupIndex last_cgroup = 0;
    std::shared_ptr<const model::Cgroup> first_cgroup;
    std::shared_ptr<const model::Cgroup> named_cgroup;  // its path is in first_text
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

  void read_roots(const cgroup::ProcessTable::Cgroup& found, CgroupIndex cgroup, model::Snapshot& snapshot) {
    std::int64_t chrooted = 0;
    bool known = false;
    roots_.clear();
    for (const auto* process : found.known) {
      if (process->root.empty()) continue;
      known = true;
      if (process->root == "/") continue;
      ++chrooted;
      if (std::ranges::find(roots_, process->root) != roots_.end() || roots_.size() >= kMaxPerCgroup) continue;
      roots_.emplace_back(process->root);
      add_series(snapshot.columns[chroot_], cgroup, process->root, Value::of(1));
    }
    if (known) set_value(snapshot, chrooted_, cgroup, Value::of(chrooted));
  }

  void log_limit(const cgroup::Node& node) {
    if (std::exchange(logged_limit_, true)) return;
    log_("too many namespaces in a cgroup, ignoring the rest: " + base::printable(node.cgroup->path) + ", limit " +
         std::to_string(kMaxPerCgroup));
  }

  cgroup::ProcessTable& processes_;
  std::function<void(std::string)> log_;
  FieldId namespace_ = 0, unknown_ = 0, members_ = 0, cgroups_ = 0, first_cgroup_ = 0, chroot_ = 0, chrooted_ = 0;
  std::unordered_map<std::uint64_t, Entry> entries_;
  std::vector<Entry*> sorted_;
  std::vector<std::string_view> roots_;  // of the cgroup being read
  bool logged_limit_ = false;
};

}  // namespace

std::string_view host_text(const cgroup::ProcessTable& processes, std::size_t kind, std::uint64_t id) {
  const auto host = processes.host_namespaces()[kind];
  if (host == 0) return "unknown";
  return host == id ? "true" : "false";
}

Collector namespaces() {
  return {{"namespaces",
           "Namespaces and root directories of processes. Cost: one microsecond per process that is already known. "
           "Needs CAP_SYS_PTRACE; without it, namespaces are unknown.",
           true, kNamespacesRows},
          [](const CustomContext& context) -> std::unique_ptr<CustomReader> {
            return std::make_unique<Namespaces>(context);
          }};
}

}  // namespace cgwarden::collectors
