// SPDX-License-Identifier: Apache-2.0
// Recently removed cgroups with the values of their last sample, and counters that would be lost with a cgroup.
//
// On v2 no OOM kill is lost: memory.events also counts kills in descendants, including removed ones. On v1 a cgroup
// counts only its own kills (cgroup-v1/memory.rst, section 10), so the kills of a removed cgroup are added to its
// ancestors here. Kills between the last sample and the removal are in no counter of any cgroup. They are taken from
// the kernel log, if it is readable; the host's own count (vmstat) also contains them and is exported on the topmost
// cgroup. The v1 eventfd notification cannot replace a count: the kernel also sends it to every descendant of the
// cgroup at its limit, and once more on removal.
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
using enum model::MetricKind;
using enum model::Unit;

constexpr std::string_view kLast = "last sample before the cgroup was removed";

// clang-format off
constexpr model::Field kRemovedRows[] = {
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
    {.name = "host_oom_kill", .kind = counter, .derived = "`/proc/vmstat` oom_kill, on the root cgroup",
     .since = "5.4",
     .help = "Processes killed by the OOM killer on the whole host, including those in removed cgroups (/proc/vmstat, "
             "oom_kill)."},
};
// clang-format on
static_assert(model::all_well_formed(kRemovedRows));

class Removed : public CustomReader {
 public:
  explicit Removed(const CustomContext& context)
      : tree_(context.tree),
        options_(context.options),
        log_(context.log),
        vmstat_(::open((context.paths.procfs + "/vmstat").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)),
        kills_are_local_(
            std::ranges::any_of(context.host.all, [](const auto& h) { return h.version == 1 && h.has("memory"); })),
        kernel_log_(context.paths) {
    for (const auto& h : context.host.all) {
      if (h.has("memory")) kernel_log_root_ = h.root;
    }
    const auto id = [&](std::string_view field) { return context.catalogue.find(field).value(); };
    time_ = id("removed_time");
    lifetime_ = id("removed_lifetime");
    for (auto& stored : stored_) {
      stored.from = id(stored.field);
      stored.to = id(stored.removed_field);
    }
    descendant_kills_ = id("removed_descendants_oom_kill");
    host_kills_ = id("host_oom_kill");
  }

  void end(model::Snapshot& snapshot, model::CollectorStats& stats) override {
    const auto removals = tree_.take_removals();
    const bool has_logged_kills = read_kernel_log();
    if (!removals.empty()) record_removals(removals);
    if (has_logged_kills || !removals.empty()) credit_unseen_kills(*snapshot.cgroup_list);
    store_values(snapshot);
    expire();
    add_removed_series(snapshot);
    if (kills_are_local_) add_descendant_kills(snapshot);
    add_host_kills(snapshot, stats);
  }

 private:
  static constexpr std::size_t kOomKills = 3;  // index in stored_
  static constexpr std::size_t kMaxLogged = 4096;

  struct StoredField {
    std::string_view field;
    std::string_view removed_field;
    FieldId from = 0;
    FieldId to = 0;
  };
  using Values = std::array<Value, 5>;

  struct RemovedCgroup {
    std::string text;  // label values: "/a/b\0" "4711"
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

  // Counts the OOM kills that the kernel logged since the previous call. Must run before store_values(), because
  // count_kill() needs the values of the previous sample in `last_`. True if there were any.
  bool read_kernel_log() {
    constexpr int max_records = 10'000;  // per call
    bool has_logged_kills = false;
    for (int i = 0; i < max_records; ++i) {
      const auto record = kernel_log_.next();
      if (!record) break;
      auto path = cgroup::cgroup_of_oom_kill(*record, kernel_log_root_);
      if (!path) continue;
      has_logged_kills = true;
      count_kill(*path);
      while (!kills_are_local_ && path->size() > 1) {
        path->erase(std::max<std::size_t>(1, path->rfind('/')));
        count_kill(*path);
      }
    }
    return has_logged_kills;
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

  void record_removals(const std::vector<cgroup::Tree::Removal>& removals) {
    std::unordered_map<std::string_view, std::size_t> by_path;
    if (cgroup_list_) {
      by_path.reserve(cgroup_list_->cgroups.size());
      for (std::size_t g = 0; g < cgroup_list_->cgroups.size(); ++g) by_path[cgroup_list_->cgroups[g]->path] = g;
    }
    for (const auto& removal : removals) {
      if (!removal.cgroup) continue;
      RemovedCgroup removed;
      removed.text = removal.cgroup->path + '\0' + std::to_string(removal.cgroup->id);
      removed.when = removal.when;
      removed.lifetime = std::max(nanoseconds(0), nanoseconds(removal.when - removal.cgroup->created));
      const auto at = by_path.find(removal.cgroup->path);
      if (at != by_path.end() && same_instance(*cgroup_list_->cgroups[at->second], *removal.cgroup)) {
        removed.values = last_[at->second];
      }
      auto& kills = removed.values[kOomKills];
      if (const auto logged = logged_.extract(removal.cgroup->path); !logged.empty()) {
        kills = Value::of(kills.is_number() ? std::max(kills.fixed(), logged.mapped()) : logged.mapped());
      }
      add_to_ancestors(removal.cgroup->path, kills);
      if (!removed_.empty() && removed_.size() >= options_.max_removed) {
        removed_.pop_front();
        if (!std::exchange(logged_limit_, true)) {
          log_("too many recently removed cgroups, dropping the oldest: limit " + std::to_string(options_.max_removed) +
               " reached (raise --collector.removed.max)");
        }
      }
      if (options_.max_removed > 0) removed_.push_back(std::move(removed));
    }
    // The counts belong to the removed instance, not to a new cgroup with the same path.
    for (const auto& removal : removals) {
      if (removal.cgroup) removed_kills_.erase(removal.cgroup->path);
    }
  }

  // Adds logged kills in cgroups that were created and removed between two samples to their ancestors, and drops counts
  // of paths that no present cgroup has.
  void credit_unseen_kills(const model::CgroupList& present) {
    if (logged_.empty() && removed_kills_.empty()) return;
    std::unordered_set<std::string_view> paths;
    for (const auto& cgroup : present.cgroups) paths.insert(cgroup->path);
    const auto gone = [&](const auto& entry) { return !paths.contains(entry.first); };
    for (const auto& entry : logged_) {
      if (gone(entry)) add_to_ancestors(entry.first, Value::of(entry.second));
    }
    std::erase_if(logged_, gone);
    std::erase_if(removed_kills_, gone);
  }

  void add_to_ancestors(std::string path, Value kills) {
    if (!kills_are_local_ || !kills.is_number() || kills.fixed() <= 0) return;
    while (path.size() > 1) {
      path.erase(std::max<std::size_t>(1, path.rfind('/')));
      removed_kills_[path] += kills.fixed();
    }
  }

  // Stores the values of this sample; where there are none, because the cgroup is being removed, keeps the earlier
  // ones.
  void store_values(const model::Snapshot& snapshot) {
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
      for (std::size_t i = 0; i < stored_.size(); ++i) {
        last_[g][i] = snapshot.value(stored_[i].from, static_cast<CgroupIndex>(g));
        if (!last_[g][i].has_value() && earlier != nullptr) last_[g][i] = (*earlier)[i];
      }
    }
  }

  void expire() {
    const auto now = base::wall_now();
    while (!removed_.empty() && now - removed_.front().when > options_.removed_for) removed_.pop_front();
  }

  void add_removed_series(model::Snapshot& snapshot) {
    sorted_.clear();
    for (const auto& removed : removed_) sorted_.push_back(&removed);
    std::ranges::sort(sorted_, shorter_first, &RemovedCgroup::text);
    for (const auto* removed : sorted_) {
      add_series(snapshot.columns[time_], model::kNoCgroup, removed->text,
                 Value::of(since_1970(removed->when).count()));
      add_series(snapshot.columns[lifetime_], model::kNoCgroup, removed->text, Value::of(removed->lifetime.count()));
      for (std::size_t i = 0; i < stored_.size(); ++i) {
        if (removed->values[i].has_value()) {
          add_series(snapshot.columns[stored_[i].to], model::kNoCgroup, removed->text, removed->values[i]);
        }
      }
    }
  }

  void add_descendant_kills(model::Snapshot& snapshot) const {
    for (std::size_t g = 0; g < snapshot.cgroup_count(); ++g) {
      if (!last_[g][kOomKills].has_value()) continue;
      std::int64_t kills = 0;
      if (!removed_kills_.empty()) {
        const auto at = removed_kills_.find(snapshot.cgroup_list->cgroups[g]->path);
        if (at != removed_kills_.end()) kills = at->second;
      }
      set_value(snapshot, descendant_kills_, static_cast<CgroupIndex>(g), Value::of(kills));
    }
  }

  void add_host_kills(model::Snapshot& snapshot, model::CollectorStats& stats) {
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
        set_value(snapshot, host_kills_, 0, Value::of(*kills));
      }
      return;
    }
  }

  cgroup::Tree& tree_;
  CustomOptions options_;
  std::function<void(std::string)> log_;
  base::Fd vmstat_;
  bool kills_are_local_;
  cgroup::KernelLog kernel_log_;
  std::array<StoredField, 5> stored_{{{"cpu_usage", "removed_cpu_usage"},
                                      {"memory_current", "removed_memory_current"},
                                      {"memory_peak", "removed_memory_peak"},
                                      {"memory_events_oom_kill", "removed_oom_kills"},
                                      {"pids_events_max", "removed_pids_events_max"}}};
  FieldId time_ = 0, lifetime_ = 0, descendant_kills_ = 0, host_kills_ = 0;
  std::shared_ptr<const model::CgroupList> cgroup_list_;  // belongs to last_
  std::vector<Values> last_;
  std::vector<Values> earlier_;
  std::deque<RemovedCgroup> removed_;
  std::vector<const RemovedCgroup*> sorted_;
  std::unordered_map<std::string, std::int64_t> removed_kills_;  // in removed descendants, by path of a present cgroup
  std::string kernel_log_root_ = "/";  // root of the mounted memory hierarchy; logged paths include it
  std::unordered_map<std::string, std::int64_t>
      logged_;  // kills by path: last value read before the first logged kill, plus logged kills
  std::array<char, 32768> text_{};
  bool logged_limit_ = false;
};

}  // namespace

Collector removed() {
  return {
      {"removed",
       "Recently removed cgroups with the values of their last sample, and OOM kills that their removal would hide.",
       true, kRemovedRows},
      [](const CustomContext& context) -> std::unique_ptr<CustomReader> { return std::make_unique<Removed>(context); }};
}

}  // namespace cgwarden::collectors
