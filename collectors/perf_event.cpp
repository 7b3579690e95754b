// SPDX-License-Identifier: Apache-2.0
// Hardware and software event counters for each cgroup: perf_event_open(2), PERF_FLAG_PID_CGROUP. A cgroup is counted
// with its descendants, from the first sample that contains it.
//
// The kernel requires a file descriptor per event and CPU, so descriptors limit the number of cgroups. Events are
// opened in sets (perf event groups) that are counted together or not at all. If there are more sets than hardware
// counters, the kernel multiplexes them, and each increment is scaled by the share of time that the set was counted.
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
using enum model::MetricKind;
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

// Events that are counted together (a perf event group): [first, last).
struct Set {
  std::size_t first;
  std::size_t last;
};
constexpr std::array<Set, 3> kSets = {{{0, 3}, {3, 7}, {7, 9}}};

// The CPU numbers of a list such as "0-3,8", at most kMaxCpus.
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
  std::array<char, 4096> buffer{};
  const auto n = file ? ::read(file.get(), buffer.data(), buffer.size()) : 0;
  return n > 0 ? std::string(buffer.data(), static_cast<std::size_t>(n)) : std::string();
}

class PerfEvent : public CustomReader {
 public:
  explicit PerfEvent(const CustomContext& context)
      : log_(context.log), online_path_(context.paths.sysfs + "/devices/system/cpu/online") {
    for (std::size_t i = 0; i < kEvents; ++i) fields_[i] = context.catalogue.find(kPerfEventRows[i].name).value();
    // On v1 perf_event is a mounted controller; otherwise it is implicitly enabled on the v2 hierarchy.
    for (const int version : {2, 1}) {
      for (std::size_t h = 0; h < context.host.all.size(); ++h) {
        const auto& hierarchy = context.host.all[h];
        if (hierarchy.version == version && (version == 2 || hierarchy.has("perf_event"))) hierarchy_ = h;
      }
    }
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
      max_descriptors_ = std::min<std::size_t>(kMaxDescriptors, limit.rlim_cur / 2);
  }

  void begin(model::Snapshot&) override {
    ++sample_;
    unavailable_ = false;
    if (auto online = read_small(online_path_); online != online_) {
      for (auto& [id, counters] : cgroups_) counters.sets.clear();  // the sums keep what was counted so far
      descriptors_ = 0;
      online_ = std::move(online);
      cpus_ = cpus_of(online_);
    }
  }

  void read(const cgroup::Tree& tree, cgroup::Node& node, CgroupIndex cgroup, model::Snapshot& snapshot,
            model::CollectorStats& stats) override {
    if (hierarchy_ >= node.dirs.size() || node.dirs[hierarchy_].inode == 0) return;
    auto& counters = cgroups_[node.dirs[hierarchy_].inode];
    counters.sample = sample_;
    if (counters.sets.empty() && !open(tree, node, counters, stats)) return;
    for (auto& set : counters.sets) read_set(set, counters, stats);
    for (std::size_t i = 0; i < kEvents; ++i) {
      if (!counters.has[i]) continue;
      set_value(snapshot, fields_[i], cgroup,
                Value::of(static_cast<std::int64_t>(std::min<std::uint64_t>(counters.sums[i], INT64_MAX))));
    }
  }

  void end(model::Snapshot&, model::CollectorStats&) override {
    std::erase_if(cgroups_, [this](const auto& item) {
      if (item.second.sample == sample_) return false;
      for (const auto& set : item.second.sets) descriptors_ -= set.fds.size();
      return true;
    });
  }

 private:
  // A set on one CPU.
  struct OpenSet {
    std::size_t first = 0;
    std::vector<base::Fd> fds;  // reading the first one (the group leader) returns all
    std::array<std::uint64_t, kEvents> last{};
    std::uint64_t last_enabled = 0;
    std::uint64_t last_running = 0;
  };
  struct Counters {
    std::uint64_t sample = 0;
    std::vector<OpenSet> sets;
    std::array<std::uint64_t, kEvents> sums{};
    std::array<bool, kEvents> has{};
  };

  bool open(const cgroup::Tree& tree, const cgroup::Node& node, Counters& counters, model::CollectorStats& stats) {
    if (unavailable_) return false;
    const base::Fd dir(tree.open_file(node, hierarchy_, ".", O_RDONLY | O_DIRECTORY));
    if (!dir) return false;  // removed meanwhile
    for (const int cpu : cpus_) {
      for (std::size_t s = 0; s < kSets.size(); ++s) {
        if (!supported_[s]) continue;
        if (descriptors_ + kSets[s].last - kSets[s].first > max_descriptors_) {
          log_once(logged_limit_, "too many cgroups for perf_event, ignoring the rest: each needs " +
                                      std::to_string(kEvents * cpus_.size()) + " of at most " +
                                      std::to_string(max_descriptors_) + " file descriptors");
          drop(counters);
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
          for (auto e = kSets[s].first; e < kSets[s].last; ++e) counters.has[e] = true;
          counters.sets.push_back(std::move(set));
        } else if (!handle_open_error(s, errno, stats)) {
          drop(counters);
          return false;
        }
      }
    }
    return !counters.sets.empty();
  }

  // False if no event of this cgroup can be counted in this sample.
  bool handle_open_error(std::size_t set, int code, model::CollectorStats& stats) {
    switch (code) {
      case ENODEV:  // the CPU went offline, or has no such counter
      case ENOENT:
      case EOPNOTSUPP:
      case ENXIO:
      case EINVAL:
        if (code == ENODEV && set == 0) return true;
        supported_[set] = set == 0;
        log_once(logged_hardware_,
                 "some hardware counters are not available on this host: their cgroup_perf_* series are missing");
        return true;
      case EBADF:  // a recorded host
        unavailable_ = true;
        return false;
      case EPERM:
      case EACCES:
        unavailable_ = true;
        log_once(logged_permission_, base::Error::from_errno(code, "cannot count events of cgroups").what +
                                         " (needs CAP_PERFMON, before Linux 5.8 CAP_SYS_ADMIN, and a seccomp filter "
                                         "that allows perf_event_open)");
        return false;
      default:
        ++stats.errors;
        ++stats.errors_now;
        unavailable_ = true;  // file descriptors or memory may be available again in the next sample
        log_once(logged_other_, base::Error::from_errno(code, "cannot count events of cgroups").what);
        return false;
    }
  }

  void drop(Counters& counters) {
    for (const auto& set : counters.sets) descriptors_ -= set.fds.size();
    counters.sets.clear();
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

  void read_set(OpenSet& set, Counters& counters, model::CollectorStats& stats) {
    std::array<std::uint64_t, 3 + kEvents> buffer{};  // count of events, time enabled, time running, values
    const auto n = ::read(set.fds.front().get(), buffer.data(), sizeof buffer);
    ++stats.reads;
    if (n < 0 || buffer[0] != set.fds.size()) return;  // 0: the CPU went offline
    stats.bytes += static_cast<std::uint64_t>(n);
    const auto enabled = buffer[1] - set.last_enabled;
    const auto running = buffer[2] - set.last_running;
    if (running == 0) return;  // was not scheduled: the next increment is scaled by the whole time
    for (std::size_t i = 0; i < set.fds.size(); ++i) {
      const auto growth = buffer[3 + i] - set.last[i];
      const auto scaled = running == enabled
                              ? growth
                              : static_cast<std::uint64_t>(static_cast<double>(growth) * static_cast<double>(enabled) /
                                                           static_cast<double>(running));
      counters.sums[set.first + i] += scaled;
      set.last[i] = buffer[3 + i];
    }
    set.last_enabled = buffer[1];
    set.last_running = buffer[2];
  }

  void log_once(bool& logged, const std::string& text) const {
    if (!std::exchange(logged, true)) log_(text);
  }

  std::function<void(std::string)> log_;
  std::string online_path_;
  std::string online_;
  std::vector<int> cpus_;
  std::array<FieldId, kEvents> fields_{};
  std::array<bool, kSets.size()> supported_{true, true, true};
  std::size_t hierarchy_ = cgroup::Tree::kMaxHierarchies;
  std::size_t max_descriptors_ = 512;
  std::size_t descriptors_ = 0;
  std::uint64_t sample_ = 0;
  std::unordered_map<std::uint64_t, Counters> cgroups_;  // by inode
  bool unavailable_ = false;                             // in this sample
  bool logged_limit_ = false;
  bool logged_hardware_ = false;
  bool logged_permission_ = false;
  bool logged_other_ = false;
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
