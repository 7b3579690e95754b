// SPDX-License-Identifier: Apache-2.0
// Groups that ended, for a while, with what was last read of them; and what must not be lost with a group.
//
// OOM kills on v2 are not lost: memory.events counts those of descendants, dead ones too. On v1 a group counts only its
// own, so those of a group that ended are added to its ancestors here: cgroup-v1/memory.txt, section 10. What happened
// between the last reading and the end is in no group's counter any more: the kernel's log tells it, where it may be
// read, and the host's own count (vmstat), which is shown on the topmost group. The v1 notification by eventfd is no
// count of kills: the kernel also gives it to every descendant of the group whose limit was hit, and another one for
// the removal.
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

using model::FieldId;
using model::GroupIndex;
using model::Value;
using std::chrono::nanoseconds;
using enum model::Kind;
using enum model::Unit;

constexpr std::string_view kLast = "last reading before the group ended";

// clang-format off
constexpr model::Field kEndedRows[] = {
    {.name = "ended_time", .kind = gauge, .unit = seconds, .derived = "removal of the directory",
     .labels = "cgroup,cgroup_id", .since = "5.4", .help = "When the group ended, since 1970."},
    {.name = "ended_lifetime", .kind = gauge, .unit = seconds, .derived = "removal of the directory",
     .labels = "cgroup,cgroup_id", .since = "5.4", .help = "How long the ended group lived."},
    {.name = "ended_cpu_usage", .kind = gauge, .unit = seconds, .derived = kLast,
     .labels = "cgroup,cgroup_id", .since = "5.4", .help = "CPU time the ended group had used when last read."},
    {.name = "ended_memory_current", .kind = gauge, .unit = bytes, .derived = kLast,
     .labels = "cgroup,cgroup_id", .since = "5.4", .help = "Memory the ended group used when last read."},
    {.name = "ended_memory_peak", .kind = gauge, .unit = bytes, .derived = kLast,
     .labels = "cgroup,cgroup_id", .since = "5.4", .help = "Most memory the ended group had used when last read."},
    {.name = "ended_oom_kills", .kind = gauge, .derived = kLast, .labels = "cgroup,cgroup_id", .since = "5.4",
     .help = "OOM kills in the ended group when last read, and those that the kernel has logged since."},
    {.name = "ended_pids_events_max", .kind = gauge, .derived = kLast, .labels = "cgroup,cgroup_id",
     .since = "5.4", .help = "Times a fork was refused by the limit of the ended group when last read."},
    {.name = "ended_descendants_oom_kill", .kind = counter, .derived = "v1: last readings of ended descendants",
     .since = "5.4",
     .help = "OOM kills in descendants that have ended since the agent started (v1, where a group counts only its own)."},
    {.name = "host_oom_kill", .kind = counter, .derived = "`/proc/vmstat` oom_kill, on the topmost group",
     .since = "5.4", .help = "OOM kills on the whole host, also of groups that have ended."},
};
// clang-format on
static_assert(model::all_well_formed(kEndedRows));

class Ended : public OddReader {
 public:
  explicit Ended(const OddContext& context)
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
    time_ = id("ended_time");
    lifetime_ = id("ended_lifetime");
    for (auto& kept : kept_) {
      kept.from = id(kept.field);
      kept.to = id(kept.ended_field);
    }
    descendants_ = id("ended_descendants_oom_kill");
    host_ = id("host_oom_kill");
  }

  void end(model::Snapshot& snapshot, model::CollectorStats& stats) override {
    const auto deaths = tree_.take_deaths();
    const bool heard = hear_kills();
    if (!deaths.empty()) bury(deaths);
    if (heard || !deaths.empty()) settle(*snapshot.roster);
    remember(snapshot);
    forget_old();
    show(snapshot);
    if (kills_are_local_) show_descendants(snapshot);
    show_host(snapshot, stats);
  }

 private:
  static constexpr std::size_t kOomKills = 3;  // of kept_
  static constexpr std::size_t kMostLogged = 4096;

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

  static bool same_life(const model::Group& a, const model::Group& b) {
    return a.path == b.path && (a.id == b.id || a.birth == b.birth);
  }

  // Before what was read this time is remembered: `last_` is older than all that is heard now.
  bool hear_kills() {
    constexpr int most = 10'000;  // records in one go
    bool heard = false;
    for (int i = 0; i < most; ++i) {
      const auto record = log_.next();
      if (!record) break;
      auto path = cgroup::group_of_oom_kill(*record, log_root_);
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
    if (logged_.size() >= kMostLogged && !logged_.contains(path)) return;
    const auto [at, is_new] = logged_.try_emplace(path);
    if (is_new && roster_) {
      const auto group = std::ranges::find(roster_->groups, path, [](const auto& g) { return g->path; });
      if (group != roster_->groups.end()) {
        const auto& read = last_[static_cast<std::size_t>(group - roster_->groups.begin())][kOomKills];
        if (read.is_number()) at->second = read.fixed();
      }
    }
    ++at->second;
  }

  void bury(const std::vector<cgroup::Tree::Death>& deaths) {
    std::unordered_map<std::string_view, std::size_t> by_path;
    if (roster_) {
      by_path.reserve(roster_->groups.size());
      for (std::size_t g = 0; g < roster_->groups.size(); ++g) by_path[roster_->groups[g]->path] = g;
    }
    for (const auto& death : deaths) {
      if (!death.group) continue;
      Tombstone stone;
      stone.text = death.group->path + '\0' + std::to_string(death.group->id);
      stone.when = death.when;
      stone.lifetime = std::max(nanoseconds(0), nanoseconds(death.when - death.group->birth));
      const auto at = by_path.find(death.group->path);
      if (at != by_path.end() && same_life(*roster_->groups[at->second], *death.group)) {
        stone.values = last_[at->second];
      }
      auto& kills = stone.values[kOomKills];
      if (const auto logged = logged_.extract(death.group->path); !logged.empty()) {
        kills = Value::of(kills.is_number() ? std::max(kills.fixed(), logged.mapped()) : logged.mapped());
      }
      add_to_ancestors(death.group->path, kills);
      if (!tombstones_.empty() && tombstones_.size() >= options_.max_ended) {
        tombstones_.pop_front();
        if (!std::exchange(told_bound_, true)) {
          notice_("more than " + std::to_string(options_.max_ended) +
                  " groups ended lately: the oldest are no longer shown; raise --collector.ended.max");
        }
      }
      if (options_.max_ended > 0) tombstones_.push_back(std::move(stone));
    }
    // Counts belong to a life: whose path ended has none, also when there is a new group of that name.
    for (const auto& death : deaths) {
      if (death.group) killed_below_.erase(death.group->path);
    }
  }

  // Of paths that no living group has: kills in groups that came and went unseen are counted above them.
  void settle(const model::Roster& living) {
    if (logged_.empty() && killed_below_.empty()) return;
    std::unordered_set<std::string_view> paths;
    for (const auto& group : living.groups) paths.insert(group->path);
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

  // What was read now, or earlier where a group vanished while it was read or is being removed.
  void remember(const model::Snapshot& snapshot) {
    const auto before = std::move(roster_);
    roster_ = snapshot.roster;
    const auto& groups = roster_->groups;
    std::swap(last_, earlier_);
    last_.resize(groups.size());
    std::unordered_map<const model::Group*, std::size_t> moved;
    if (before && before != roster_) {
      moved.reserve(before->groups.size());
      for (std::size_t g = 0; g < before->groups.size(); ++g) moved[before->groups[g].get()] = g;
    }
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const Values* earlier = before == roster_ ? &earlier_[g] : nullptr;
      if (const auto at = moved.find(groups[g].get()); at != moved.end()) earlier = &earlier_[at->second];
      for (std::size_t i = 0; i < kept_.size(); ++i) {
        last_[g][i] = snapshot.value(kept_[i].from, static_cast<GroupIndex>(g));
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
      add_series(snapshot.columns[time_], model::kNoGroup, stone->text, Value::of(since_1970(stone->when).count()));
      add_series(snapshot.columns[lifetime_], model::kNoGroup, stone->text, Value::of(stone->lifetime.count()));
      for (std::size_t i = 0; i < kept_.size(); ++i) {
        if (stone->values[i].has_value()) {
          add_series(snapshot.columns[kept_[i].to], model::kNoGroup, stone->text, stone->values[i]);
        }
      }
    }
  }

  void show_descendants(model::Snapshot& snapshot) const {
    for (std::size_t g = 0; g < snapshot.group_count(); ++g) {
      if (!last_[g][kOomKills].has_value()) continue;
      std::int64_t kills = 0;
      if (!killed_below_.empty()) {
        const auto at = killed_below_.find(snapshot.roster->groups[g]->path);
        if (at != killed_below_.end()) kills = at->second;
      }
      set_value(snapshot, descendants_, static_cast<GroupIndex>(g), Value::of(kills));
    }
  }

  void show_host(model::Snapshot& snapshot, model::CollectorStats& stats) {
    if (!vmstat_ || snapshot.group_count() == 0) return;
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
  OddOptions options_;
  std::function<void(std::string)> notice_;
  base::Fd vmstat_;
  bool kills_are_local_;
  cgroup::KernelLog log_;
  std::array<Kept, 5> kept_{{{"cpu_usage", "ended_cpu_usage"},
                             {"memory_current", "ended_memory_current"},
                             {"memory_peak", "ended_memory_peak"},
                             {"memory_events_oom_kill", "ended_oom_kills"},
                             {"pids_events_max", "ended_pids_events_max"}}};
  FieldId time_ = 0, lifetime_ = 0, descendants_ = 0, host_ = 0;
  std::shared_ptr<const model::Roster> roster_;  // of last_
  std::vector<Values> last_;
  std::vector<Values> earlier_;
  std::deque<Tombstone> tombstones_;
  std::vector<const Tombstone*> sorted_;
  std::unordered_map<std::string, std::int64_t> killed_below_;  // by path of a living group
  std::string log_root_ = "/";                            // of the memory hierarchy's mount, as the kernel logs paths
  std::unordered_map<std::string, std::int64_t> logged_;  // kills by path: read before the first in the log, and since
  std::array<char, 32768> text_{};
  bool told_bound_ = false;
};

}  // namespace

Collector ended() {
  return {{"ended",
           "Groups that ended in the last minutes with what was last read of them, and OOM kills that ended with them.",
           true, kEndedRows},
          [](const OddContext& context) -> std::unique_ptr<OddReader> { return std::make_unique<Ended>(context); }};
}

}  // namespace cgwarden::collectors
