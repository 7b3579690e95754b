// SPDX-License-Identifier: Apache-2.0
// Counters of the CPU's and of the kernel's for each cgroup: perf_event_open(2), PERF_FLAG_PID_CGROUP. A cgroup counts
// with its descendants, since the agent first saw it.
//
// The kernel wants a descriptor for each event and CPU, so cgroups are bounded by descriptors. Events are opened in
// sets that are counted together, or not at all: where there are more sets than counters the kernel lets them take
// turns, and each reading's growth is scaled up by the share of time in which the set counted.
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "collectors/collectors.h"
#include "collectors/series.h"
#include "src/base/fd.h"
#include "src/base/result.h"
#include "src/base/text.h"

namespace cgwarden::collectors {
namespace {

using model::CgroupIndex;
using model::FieldId;
using model::Value;
using enum model::Kind;
using enum model::Unit;

constexpr std::size_t kMaxDescriptors = 16'384;
constexpr std::size_t kMaxCpus = 4096;
constexpr std::string_view kPerfEventFrom = "`perf_event_open` on the cgroup directory";
constexpr std::string_view kCadvisor = "container_perf_events_total";

// clang-format off
constexpr model::Field kPerfEventRows[] = {
    {.name = "perf_context_switches", .kind = counter, .derived = kPerfEventFrom, .since = "5.4",
     .help = "Context switches away from tasks of the cgroup and its descendants.", .cadvisor = kCadvisor},
    {.name = "perf_cpu_migrations", .kind = counter, .derived = kPerfEventFrom, .since = "5.4",
     .help = "Migrations of tasks of the cgroup and its descendants to another CPU.", .cadvisor = kCadvisor},
    {.name = "perf_page_faults", .kind = counter, .derived = kPerfEventFrom, .since = "5.4",
     .help = "Page faults of tasks of the cgroup and its descendants.", .cadvisor = kCadvisor},
    {.name = "perf_cycles", .kind = counter, .derived = kPerfEventFrom, .since = "5.4",
     .help = "CPU cycles of tasks of the cgroup and its descendants.",
     .cadvisor = kCadvisor},
    {.name = "perf_instructions", .kind = counter, .derived = kPerfEventFrom, .since = "5.4",
     .help = "Instructions retired by tasks of the cgroup and its descendants.", .cadvisor = kCadvisor},
    {.name = "perf_branches", .kind = counter, .derived = kPerfEventFrom, .since = "5.4",
     .help = "Branch instructions retired by tasks of the cgroup and its descendants.", .cadvisor = kCadvisor},
    {.name = "perf_branch_misses", .kind = counter, .derived = kPerfEventFrom, .since = "5.4",
     .help = "Mispredicted branch instructions of tasks of the cgroup and its descendants.", .cadvisor = kCadvisor},
    {.name = "perf_cache_references", .kind = counter, .derived = kPerfEventFrom, .since = "5.4",
     .help = "Last-level cache accesses of tasks of the cgroup and its descendants.", .cadvisor = kCadvisor},
    {.name = "perf_cache_misses", .kind = counter, .derived = kPerfEventFrom, .since = "5.4",
     .help = "Last-level cache misses of tasks of the cgroup and its descendants.", .cadvisor = kCadvisor},
};
// clang-format on
static_assert(model::all_well_formed(kPerfEventRows));

constexpr std::size_t kEvents = std::size(kPerfEventRows);

struct Event {
  std::uint32_t type;
  std::uint64_t config;
};
constexpr std::array<Event, kEvents> kEvent = {{
    {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES},
    {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_MIGRATIONS},
    {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_INSTRUCTIONS},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_MISSES},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_REFERENCES},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES},
}};

// Events that are counted together: [first, last).
struct Set {
  std::size_t first;
  std::size_t last;
};
constexpr std::array<Set, 3> kSets = {{{0, 3}, {3, 7}, {7, 9}}};

// "0-3,8" as numbers; nothing beyond the bound.
std::vector<int> cpus_of(std::string_view list) {
  std::vector<int> out;
  list = base::trim_end(list);
  while (!list.empty()) {
    auto range = base::take_until(list, ',');
    const auto first = base::to_int<int>(base::take_until(range, '-'));
    const auto last = range.empty() ? first : base::to_int<int>(range);
    if (!first || !last || *first < 0) continue;
    for (int cpu = *first; cpu <= *last && out.size() < kMaxCpus; ++cpu) out.push_back(cpu);
  }
  return out;
}

std::string read_small(const std::string& path) {
  const base::Fd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  std::array<char, 4096> room{};
  const auto n = file ? ::read(file.get(), room.data(), room.size()) : 0;
  return n > 0 ? std::string(room.data(), static_cast<std::size_t>(n)) : std::string();
}

class PerfEvent : public CustomReader {
 public:
  explicit PerfEvent(const CustomContext& context)
      : notice_(context.notice), online_path_(context.paths.sysfs + "/devices/system/cpu/online") {
    for (std::size_t i = 0; i < kEvents; ++i) fields_[i] = context.catalogue.find(kPerfEventRows[i].name).value();
    // The controller is of v1 where that is mounted, and of v2 by itself elsewhere.
    for (const int version : {2, 1}) {
      for (std::size_t h = 0; h < context.host.all.size(); ++h) {
        const auto& hierarchy = context.host.all[h];
        if (hierarchy.version == version && (version == 2 || hierarchy.has("perf_event"))) hierarchy_ = h;
      }
    }
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) most_ = std::min<std::size_t>(kMaxDescriptors, limit.rlim_cur / 2);
  }

  void begin(model::Snapshot&) override {
    ++round_;
    refused_ = false;
    if (auto online = read_small(online_path_); online != online_) {
      for (auto& [id, counted] : cgroups_) counted.sets.clear();  // what was counted so far stays in the sums
      descriptors_ = 0;
      online_ = std::move(online);
      cpus_ = cpus_of(online_);
    }
  }

  void read(const cgroup::Tree& tree, cgroup::Node& node, CgroupIndex cgroup, model::Snapshot& snapshot,
            model::CollectorStats& stats) override {
    if (hierarchy_ >= node.dirs.size() || node.dirs[hierarchy_].inode == 0) return;
    auto& counted = cgroups_[node.dirs[hierarchy_].inode];
    counted.round = round_;
    if (counted.sets.empty() && !open(tree, node, counted, stats)) return;
    for (auto& set : counted.sets) take(set, counted, stats);
    for (std::size_t i = 0; i < kEvents; ++i) {
      if (!counted.has[i]) continue;
      set_value(snapshot, fields_[i], cgroup,
                Value::of(static_cast<std::int64_t>(std::min<std::uint64_t>(counted.sums[i], INT64_MAX))));
    }
  }

  void end(model::Snapshot&, model::CollectorStats&) override {
    std::erase_if(cgroups_, [this](const auto& item) {
      if (item.second.round == round_) return false;
      for (const auto& set : item.second.sets) descriptors_ -= set.fds.size();
      return true;
    });
  }

 private:
  // On one CPU.
  struct OpenSet {
    std::size_t first = 0;
    std::vector<base::Fd> fds;  // the first one reads them all
    std::array<std::uint64_t, kEvents> last{};
    std::uint64_t last_enabled = 0;
    std::uint64_t last_running = 0;
  };
  struct Counted {
    std::uint64_t round = 0;
    std::vector<OpenSet> sets;
    std::array<std::uint64_t, kEvents> sums{};
    std::array<bool, kEvents> has{};
  };

  bool open(const cgroup::Tree& tree, const cgroup::Node& node, Counted& counted, model::CollectorStats& stats) {
    if (refused_) return false;
    const base::Fd dir(tree.open_file(node, hierarchy_, ".", O_RDONLY | O_DIRECTORY));
    if (!dir) return false;  // vanished
    for (const int cpu : cpus_) {
      for (std::size_t s = 0; s < kSets.size(); ++s) {
        if (!offered_[s]) continue;
        if (descriptors_ + kSets[s].last - kSets[s].first > most_) {
          tell(told_bound_, "more cgroups than can be counted by perf_event: each takes " +
                                std::to_string(kEvents * cpus_.size()) + " descriptors of at most " +
                                std::to_string(most_) + "; the rest is left out");
          drop(counted);
          return false;
        }
        OpenSet set;
        set.first = kSets[s].first;
        for (auto e = kSets[s].first; e < kSets[s].last; ++e) {
          base::Fd fd(open_event(kEvent[e], dir.get(), cpu, set.fds.empty() ? -1 : set.fds.front().get()));
          if (!fd) break;
          set.fds.push_back(std::move(fd));
        }
        if (set.first + set.fds.size() == kSets[s].last) {
          descriptors_ += set.fds.size();
          for (auto e = kSets[s].first; e < kSets[s].last; ++e) counted.has[e] = true;
          counted.sets.push_back(std::move(set));
        } else if (!fault(s, errno, stats)) {
          drop(counted);
          return false;
        }
      }
    }
    return !counted.sets.empty();
  }

  // False: nothing of this cgroup can be counted now.
  bool fault(std::size_t set, int code, model::CollectorStats& stats) {
    switch (code) {
      case ENODEV:  // the CPU went away, or has no such counter
      case ENOENT:
      case EOPNOTSUPP:
      case ENXIO:
      case EINVAL:
        if (code == ENODEV && set == 0) return true;
        offered_[set] = set == 0;
        tell(told_hardware_, "this machine offers no hardware counters, or not all: cgroup_perf_* of those are absent");
        return true;
      case EBADF:  // a recorded host
        refused_ = true;
        return false;
      case EPERM:
      case EACCES:
        refused_ = true;
        tell(told_permission_,
             base::Error::from_errno(code, "cannot count events of cgroups").what +
                 "; it takes CAP_PERFMON (before Linux 5.8 CAP_SYS_ADMIN), and no filter on perf_event_open(2)");
        return false;
      default:
        ++stats.errors;
        ++stats.errors_now;
        refused_ = true;  // of descriptors or memory there may be more in the next round
        tell(told_other_, base::Error::from_errno(code, "cannot count events of cgroups").what);
        return false;
    }
  }

  void drop(Counted& counted) {
    for (const auto& set : counted.sets) descriptors_ -= set.fds.size();
    counted.sets.clear();
  }

  static int open_event(const Event& event, int dir, int cpu, int leader) {
    perf_event_attr attr{};
    attr.size = sizeof attr;
    attr.type = event.type;
    attr.config = event.config;
    attr.read_format = PERF_FORMAT_GROUP | PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
    return static_cast<int>(
        ::syscall(SYS_perf_event_open, &attr, dir, cpu, leader, PERF_FLAG_PID_CGROUP | PERF_FLAG_FD_CLOEXEC));
  }

  void take(OpenSet& set, Counted& counted, model::CollectorStats& stats) {
    std::array<std::uint64_t, 3 + kEvents> room{};  // count of events, time enabled, time running, values
    const auto n = ::read(set.fds.front().get(), room.data(), sizeof room);
    ++stats.reads;
    if (n < 0 || room[0] != set.fds.size()) return;  // 0: its CPU went away
    stats.bytes += static_cast<std::uint64_t>(n);
    const auto enabled = room[1] - set.last_enabled;
    const auto running = room[2] - set.last_running;
    if (running == 0) return;  // had no turn: what it missed is made up for by the next one
    for (std::size_t i = 0; i < set.fds.size(); ++i) {
      const auto grown = room[3 + i] - set.last[i];
      const auto scaled = running == enabled
                              ? grown
                              : static_cast<std::uint64_t>(static_cast<double>(grown) * static_cast<double>(enabled) /
                                                           static_cast<double>(running));
      counted.sums[set.first + i] += scaled;
      set.last[i] = room[3 + i];
    }
    set.last_enabled = room[1];
    set.last_running = room[2];
  }

  void tell(bool& told, const std::string& text) const {
    if (!std::exchange(told, true)) notice_(text);
  }

  std::function<void(std::string)> notice_;
  std::string online_path_;
  std::string online_;
  std::vector<int> cpus_;
  std::array<FieldId, kEvents> fields_{};
  std::array<bool, kSets.size()> offered_{true, true, true};
  std::size_t hierarchy_ = cgroup::Tree::kMaxHierarchies;
  std::size_t most_ = 512;
  std::size_t descriptors_ = 0;
  std::uint64_t round_ = 0;
  std::unordered_map<std::uint64_t, Counted> cgroups_;  // by inode
  bool refused_ = false;                                // in this round
  bool told_bound_ = false;
  bool told_hardware_ = false;
  bool told_permission_ = false;
  bool told_other_ = false;
};

}  // namespace

Collector perf_event() {
  return {{"perf_event",
           "Hardware and scheduler event counters (perf_event_open). Cost: one file descriptor per event, CPU and "
           "cgroup. Needs CAP_PERFMON.",
           false, kPerfEventRows},
          [](const CustomContext& context) -> std::unique_ptr<CustomReader> {
            return std::make_unique<PerfEvent>(context);
          }};
}

}  // namespace cgwarden::collectors
