// SPDX-License-Identifier: Apache-2.0
// Cgroups that ended, for a while, with what was last read of them; and what must not be lost with a cgroup.
//
// OOM kills on v2 are not lost: memory.events counts those of descendants, dead ones too. On v1 a cgroup counts only
// its own, so those of a cgroup that ended are added to its ancestors here: cgroup-v1/memory.txt, section 10. What
// happened between the last reading and the end is in no cgroup's counter any more: the kernel's log tells it, where it
// may be read, and the host's own count (vmstat), which is shown on the topmost cgroup. The v1 notification by eventfd
// is no count of kills: the kernel also gives it to every descendant of the cgroup whose limit was hit, and another one
// for the removal.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "collectors/collectors.h"
#include "collectors/series.h"
#include "src/base/clock.h"
#include "src/base/text.h"
#include "src/cgroup/kernel_log.h"

namespace cgwarden::collectors {
namespace {

using model::CgroupIndex;
using model::FieldId;
using model::Value;
using std::chrono::nanoseconds;
using enum model::Kind;
using enum model::Unit;

constexpr std::string_view kLast = "last sample before the cgroup was removed";

// clang-format off
constexpr model::Field kEndedRows[] = {
    {.name = "removed_time", .kind = gauge, .unit = seconds, .derived = "removal of the directory",
     .labels = "cgroup,cgroup_id", .since = "5.4",
     .help = "Time at which the cgroup was removed, in seconds since the Unix epoch."},
    {.name = "removed_lifetime", .kind = gauge, .unit = seconds, .derived = "removal of the directory",
     .labels = "cgroup,cgroup_id", .since = "5.4",
     .help = "Time from the creation of the removed cgroup to its removal."},
    {.name = "removed_cpu_usage", .kind = gauge, .unit = seconds, .derived = kLast,
     .labels = "cgroup,cgroup_id", .since = "5.4",
     .help = "CPU time consumed by the removed cgroup and its descendants, as of its last sample."},
    {.name = "removed_memory_current", .kind = gauge, .unit = bytes, .derived = kLast,
     .labels = "cgroup,cgroup_id", .since = "5.4",
     .help = "Memory in use by the removed cgroup and its descendants, as of its last sample."},
    {.name = "removed_memory_peak", .kind = gauge, .unit = bytes, .derived = kLast,
     .labels = "cgroup,cgroup_id", .since = "5.4",
     .help = "Peak memory usage of the removed cgroup and its descendants, as of its last sample."},
    {.name = "removed_oom_kills", .kind = gauge, .derived = kLast, .labels = "cgroup,cgroup_id", .since = "5.4",
     .help = "Processes killed by the OOM killer in the removed cgroup, as of its last sample plus those in the kernel "
             "log since then."},
    {.name = "removed_pids_events_max", .kind = gauge, .derived = kLast, .labels = "cgroup,cgroup_id",
     .since = "5.4", .help = "Forks refused because of pids.max in the removed cgroup, as of its last sample."},
    {.name = "removed_descendants_oom_kill", .kind = counter, .derived = "v1: last samples of removed descendants",
     .since = "5.4",
     .help = "Processes killed by the OOM killer in descendants that were removed after the agent started (v1, where a "
             "cgroup counts only its own)."},
    {.name = "host_oom_kill", .kind = counter, .derived = "`/proc/vmstat` oom_kill, on the topmost cgroup",
     .since = "5.4",
     .help = "Processes killed by the OOM killer on the whole host, including those in removed cgroups (/proc/vmstat, "
             "oom_kill)."},
};
// clang-format on
static_assert(model::all_well_formed(kEndedRows));

class Ended : public CustomReader {
 public:
  explicit Ended(const CustomContext& context)
      : tree_(context.tree),
        options_(context.options),
        notice_(context.notice),
        vmstat_(::open((context.paths.procfs + "/vmstat").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)),
        kills_are_local_(
            std::ranges::any_of(context.host.all, [](const auto& h) { return h.version == 1 && h.has("memory"); })),
        log_(context.paths) {
    for (const auto& h : context.host.all) {
      if (h.has("memory")) log_root_ = h.root;
    }
    const auto id = [&](std::string_view field) { return context.catalogue.find(field).value(); };
    time_ = id("removed_time");
    lifetime_ = id("removed_lifetime");
    for (auto& kept : kept_) {
      kept.from = id(kept.field);
      kept.to = id(kept.ended_field);
    }
    descendants_ = id("removed_descendants_oom_kill");
    host_ = id("host_oom_kill");
  }

  void end(model::Snapshot& snapshot, model::CollectorStats& stats) override {
    const auto cgroups_removed = tree_.take_removals();
    const bool heard = hear_kills();
    if (!cgroups_removed.empty()) bury(cgroups_removed);
    if (heard || !cgroups_removed.empty()) settle(*snapshot.cgroup_list);
    remember(snapshot);
    forget_old();
    show(snapshot);
    if (kills_are_local_) show_descendants(snapshot);
    show_host(snapshot, stats);
  }

 private:
  static constexpr std::size_t kOomKills = 3;  // of kept_
  static constexpr std::size_t kMaxLogged = 4096;

  struct Kept {
    std::string_view field;
    std::string_view ended_field;
    FieldId from = 0;
    FieldId to = 0;
  };
  using Values = std::array<Value, 5>;

  struct Tombstone {
    std::string text;  // "/a/b\0" "4711"
    base::Wall when;
    nanoseconds lifetime{};
    Values values{};
  };

  static nanoseconds since_1970(base::Wall when) {
    return std::chrono::duration_cast<nanoseconds>(when.time_since_epoch());
  }

  static bool same_instance(const model::Cgroup& a, const model::Cgroup& b) {
    return a.path == b.path && (a.id == b.id || a.created == b.created);
  }

  // Before what was read this time is remembered: `last_` is older than all that is heard now.
  bool hear_kills() {
    constexpr int most = 10'000;  // records in one go
    bool heard = false;
    for (int i = 0; i < most; ++i) {
      const auto record = log_.next();
      if (!record) break;
      auto path = cgroup::cgroup_of_oom_kill(*record, log_root_);
      if (!path) continue;
      heard = true;
      count_kill(*path);
      while (!kills_are_local_ && path->size() > 1) {
        path->erase(std::max<std::size_t>(1, path->rfind('/')));
        count_kill(*path);
      }
    }
    return heard;
  }

  void count_kill(const std::string& path) {
    if (logged_.size() >= kMaxLogged && !logged_.contains(path)) return;
    const auto [at, is_new] = logged_.try_emplace(path);
    if (is_new && cgroup_list_) {
      const auto cgroup = std::ranges::find(cgroup_list_->cgroups, path, [](const auto& g) { return g->path; });
      if (cgroup != cgroup_list_->cgroups.end()) {
        const auto& read = last_[static_cast<std::size_t>(cgroup - cgroup_list_->cgroups.begin())][kOomKills];
        if (read.is_number()) at->second = read.fixed();
      }
    }
    ++at->second;
  }

  void bury(const std::vector<cgroup::Tree::Removal>& cgroups_removed) {
    std::unordered_map<std::string_view, std::size_t> by_path;
    if (cgroup_list_) {
      by_path.reserve(cgroup_list_->cgroups.size());
      for (std::size_t g = 0; g < cgroup_list_->cgroups.size(); ++g) by_path[cgroup_list_->cgroups[g]->path] = g;
    }
    for (const auto& removal : cgroups_removed) {
      if (!removal.cgroup) continue;
      Tombstone stone;
      stone.text = removal.cgroup->path + '\0' + std::to_string(removal.cgroup->id);
      stone.when = removal.when;
      stone.lifetime = std::max(nanoseconds(0), nanoseconds(removal.when - removal.cgroup->created));
      const auto at = by_path.find(removal.cgroup->path);
      if (at != by_path.end() && same_instance(*cgroup_list_->cgroups[at->second], *removal.cgroup)) {
        stone.values = last_[at->second];
      }
      auto& kills = stone.values[kOomKills];
      if (const auto logged = logged_.extract(removal.cgroup->path); !logged.empty()) {
        kills = Value::of(kills.is_number() ? std::max(kills.fixed(), logged.mapped()) : logged.mapped());
      }
      add_to_ancestors(removal.cgroup->path, kills);
      if (!tombstones_.empty() && tombstones_.size() >= options_.max_ended) {
        tombstones_.pop_front();
        if (!std::exchange(told_bound_, true)) {
          notice_("more than " + std::to_string(options_.max_ended) +
                  " cgroups ended lately: the oldest are no longer shown; raise --collector.removed.max");
        }
      }
      if (options_.max_ended > 0) tombstones_.push_back(std::move(stone));
    }
    // Counts belong to a life: whose path ended has none, also when there is a new cgroup of that name.
    for (const auto& removal : cgroups_removed) {
      if (removal.cgroup) killed_below_.erase(removal.cgroup->path);
    }
  }

  // Of paths that no living cgroup has: kills in cgroups that came and went unseen are counted above them.
  void settle(const model::CgroupList& living) {
    if (logged_.empty() && killed_below_.empty()) return;
    std::unordered_set<std::string_view> paths;
    for (const auto& cgroup : living.cgroups) paths.insert(cgroup->path);
    const auto gone = [&](const auto& entry) { return !paths.contains(entry.first); };
    for (const auto& entry : logged_) {
      if (gone(entry)) add_to_ancestors(entry.first, Value::of(entry.second));
    }
    std::erase_if(logged_, gone);
    std::erase_if(killed_below_, gone);
  }

  void add_to_ancestors(std::string path, Value kills) {
    if (!kills_are_local_ || !kills.is_number() || kills.fixed() <= 0) return;
    while (path.size() > 1) {
      path.erase(std::max<std::size_t>(1, path.rfind('/')));
      killed_below_[path] += kills.fixed();
    }
  }

  // What was read now, or earlier where a cgroup vanished while it was read or is being removed.
  void remember(const model::Snapshot& snapshot) {
    const auto before = std::move(cgroup_list_);
    cgroup_list_ = snapshot.cgroup_list;
    const auto& cgroups = cgroup_list_->cgroups;
    std::swap(last_, earlier_);
    last_.resize(cgroups.size());
    std::unordered_map<const model::Cgroup*, std::size_t> moved;
    if (before && before != cgroup_list_) {
      moved.reserve(before->cgroups.size());
      for (std::size_t g = 0; g < before->cgroups.size(); ++g) moved[before->cgroups[g].get()] = g;
    }
    for (std::size_t g = 0; g < cgroups.size(); ++g) {
      const Values* earlier = before == cgroup_list_ ? &earlier_[g] : nullptr;
      if (const auto at = moved.find(cgroups[g].get()); at != moved.end()) earlier = &earlier_[at->second];
      for (std::size_t i = 0; i < kept_.size(); ++i) {
        last_[g][i] = snapshot.value(kept_[i].from, static_cast<CgroupIndex>(g));
        if (!last_[g][i].has_value() && earlier != nullptr) last_[g][i] = (*earlier)[i];
      }
    }
  }

  void forget_old() {
    const auto now = base::wall_now();
    while (!tombstones_.empty() && now - tombstones_.front().when > options_.ended_for) tombstones_.pop_front();
  }

  void show(model::Snapshot& snapshot) {
    sorted_.clear();
    for (const auto& stone : tombstones_) sorted_.push_back(&stone);
    std::ranges::sort(sorted_, shorter_first, &Tombstone::text);
    for (const auto* stone : sorted_) {
      add_series(snapshot.columns[time_], model::kNoCgroup, stone->text, Value::of(since_1970(stone->when).count()));
      add_series(snapshot.columns[lifetime_], model::kNoCgroup, stone->text, Value::of(stone->lifetime.count()));
      for (std::size_t i = 0; i < kept_.size(); ++i) {
        if (stone->values[i].has_value()) {
          add_series(snapshot.columns[kept_[i].to], model::kNoCgroup, stone->text, stone->values[i]);
        }
      }
    }
  }

  void show_descendants(model::Snapshot& snapshot) const {
    for (std::size_t g = 0; g < snapshot.cgroup_count(); ++g) {
      if (!last_[g][kOomKills].has_value()) continue;
      std::int64_t kills = 0;
      if (!killed_below_.empty()) {
        const auto at = killed_below_.find(snapshot.cgroup_list->cgroups[g]->path);
        if (at != killed_below_.end()) kills = at->second;
      }
      set_value(snapshot, descendants_, static_cast<CgroupIndex>(g), Value::of(kills));
    }
  }

  void show_host(model::Snapshot& snapshot, model::CollectorStats& stats) {
    if (!vmstat_ || snapshot.cgroup_count() == 0) return;
    std::size_t size = 0;
    while (size < text_.size()) {
      const auto n = ::pread(vmstat_.get(), text_.data() + size, text_.size() - size, static_cast<off_t>(size));
      if (n <= 0) break;
      size += static_cast<std::size_t>(n);
    }
    ++stats.reads;
    stats.bytes += size;
    std::string_view text(text_.data(), size);
    while (!text.empty()) {
      auto line = base::take_line(text);
      if (base::take_word(line) != "oom_kill") continue;
      if (const auto kills = base::to_int<std::int64_t>(base::take_word(line))) {
        set_value(snapshot, host_, 0, Value::of(*kills));
      }
      return;
    }
  }

  cgroup::Tree& tree_;
  CustomOptions options_;
  std::function<void(std::string)> notice_;
  base::Fd vmstat_;
  bool kills_are_local_;
  cgroup::KernelLog log_;
  std::array<Kept, 5> kept_{{{"cpu_usage", "removed_cpu_usage"},
                             {"memory_current", "removed_memory_current"},
                             {"memory_peak", "removed_memory_peak"},
                             {"memory_events_oom_kill", "removed_oom_kills"},
                             {"pids_events_max", "removed_pids_events_max"}}};
  FieldId time_ = 0, lifetime_ = 0, descendants_ = 0, host_ = 0;
  std::shared_ptr<const model::CgroupList> cgroup_list_;  // of last_
  std::vector<Values> last_;
  std::vector<Values> earlier_;
  std::deque<Tombstone> tombstones_;
  std::vector<const Tombstone*> sorted_;
  std::unordered_map<std::string, std::int64_t> killed_below_;  // by path of a living cgroup
  std::string log_root_ = "/";                            // of the memory hierarchy's mount, as the kernel logs paths
  std::unordered_map<std::string, std::int64_t> logged_;  // kills by path: read before the first in the log, and since
  std::array<char, 32768> text_{};
  bool told_bound_ = false;
};

}  // namespace

Collector ended() {
  return {
      {"removed",
       "Recently removed cgroups with the values of their last sample, and OOM kills that their removal would hide.",
       true, kEndedRows},
      [](const CustomContext& context) -> std::unique_ptr<CustomReader> { return std::make_unique<Ended>(context); }};
}

}  // namespace cgwarden::collectors
