// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/skip_rules.h"

#include <algorithm>

#include "src/base/text.h"
#include "src/cgroup/shapes.h"

namespace cgwarden::cgroup {
namespace {

// Returns true if `ok` is true for each line.
template <class Ok>
bool all_lines(std::string_view text, Ok ok) {
  while (!text.empty()) {
    if (!ok(base::take_line(text))) return false;
  }
  return true;
}

// "wait_sum" exists if scheduler statistics are enabled (sched_schedstats), and grows without a quota.
bool has_no_wait_sum(std::string_view text) { return text.find("wait_sum") == std::string_view::npos; }

bool is_thawed(std::string_view text) { return base::trim_end(text) == "THAWED"; }

// Averages decay without an event until they are 0. An ongoing stall makes the total grow between two reads.
bool no_pressure(std::string_view text) {
  return all_lines(text, [](std::string_view line) {
    return line.find("avg10=0.00 avg60=0.00 avg300=0.00 ") != std::string_view::npos;
  });
}

// The kernel releases dying cgroups at any later time.
bool no_dying_cgroups(std::string_view text) {
  return all_lines(text, [](std::string_view line) { return !line.starts_with("nr_dying") || line.ends_with(" 0"); });
}

// Sockets are throttled because of memory pressure elsewhere, too.
bool counts_no_sockets(std::string_view text) { return text.find("sock_throttled") == std::string_view::npos; }

constexpr std::uint8_t kMemoryPath = kMemoryLimit | kMemorySwapLimit | kMemoryHigh | kMemoryLow;

constexpr SkipRule kRules[] = {
    // kernel/sched/fair.c, do_sched_cfs_period_timer(): without a quota, no period is counted and no task throttled.
    {.version = 1, .file = "cpu.stat", .own_unlimited = kCpuQuota, .text_condition = has_no_wait_sum},
    // kernel/sched/cpuacct.c: a tick is charged to the running task, and the same tick also adds its run time to usage.
    {.version = 1, .file = "cpuacct.stat", .idle = true},
    // mm/page_counter.c, page_counter_try_charge(): a counter without a limit cannot fail.
    {.version = 1, .file = "memory.failcnt", .own_unlimited = kMemoryLimit},
    {.version = 1, .file = "memory.memsw.failcnt", .own_unlimited = kMemorySwapLimit},
    // mm/oom_kill.c, __oom_kill_process(): each kill is also counted for the host (vmstat). under_oom needs a limit on
    // the cgroup or an ancestor.
    {.version = 1,
     .file = "memory.oom_control",
     .no_oom_kill = true,
     .path_unlimited = kMemoryLimit | kMemorySwapLimit},
    // kernel/cgroup/legacy_freezer.c: only a write to the cgroup or an ancestor ends THAWED.
    {.version = 1, .file = "freezer.state", .text_condition = is_thawed},
    // kernel/cgroup/pids.c, pids_can_fork(): a fork fails at a limit of the cgroup or an ancestor; v2 counts the
    // failure for the ancestors, too.
    {.version = 1, .file = "pids.events", .path_unlimited = kPidsLimit},
    {.version = 2, .file = "pids.events", .leaf = true, .path_unlimited = kPidsLimit},
    // mm/memcontrol.c, memcg_memory_event(): each event needs a limit, a protection (memory.low), or an OOM kill.
    {.version = 2,
     .file = "memory.events",
     .leaf = true,
     .no_oom_kill = true,
     .path_unlimited = kMemoryPath,
     .text_condition = counts_no_sockets},
    // kernel/cgroup/cgroup.c: descendants change by mkdir and rmdir, the cgroup's controllers by a write to the parent.
    {.version = 2, .file = "cgroup.stat", .leaf = true, .text_condition = no_dying_cgroups},
    // A task must run to fork, to exit and to freeze; otherwise only a migration changes the file.
    {.version = 2, .file = "cgroup.events", .idle = true, .no_migration = true},
    // kernel/sched/psi.c: a task must run before it waits for I/O or memory. This does not hold for waiting for a CPU.
    {.version = 2, .file = "memory.pressure", .idle = true, .no_migration = true, .text_condition = no_pressure},
    {.version = 2, .file = "io.pressure", .idle = true, .no_migration = true, .text_condition = no_pressure},
};

struct LimitFile {
  int version;
  std::string_view file;
  Limit limit;
};

constexpr LimitFile kLimits[] = {
    {1, "memory.limit_in_bytes", kMemoryLimit},
    {1, "memory.memsw.limit_in_bytes", kMemorySwapLimit},
    {1, "pids.max", kPidsLimit},
    {1, "cpu.cfs_quota_us", kCpuQuota},
    {2, "memory.max", kMemoryLimit},
    {2, "memory.swap.max", kMemorySwapLimit},
    {2, "memory.high", kMemoryHigh},
    {2, "memory.low", kMemoryLow},
    {2, "pids.max", kPidsLimit},
};

}  // namespace

const SkipRule* skip_rule(int version, std::string_view file) {
  for (const auto& rule : kRules) {
    if (rule.version == version && rule.file == file) return &rule;
  }
  return nullptr;
}

std::uint8_t limit_of(int version, std::string_view file) {
  for (const auto& limit : kLimits) {
    if (limit.version == version && limit.file == file) return limit.limit;
  }
  return 0;
}

bool is_unlimited_text(std::uint8_t limit, std::string_view text) {
  text = base::trim_end(text);
  if (limit == kMemoryLow) return text == "0";
  return to_value(text, {.may_be_unlimited = true, .minus_one_is_unlimited = true}).is_unlimited();
}

std::string_view activity_probe_file(int version) { return version == 1 ? "cpuacct.usage" : "cpu.stat"; }

std::uint64_t parse_run_time(std::string_view text) {
  auto line = base::take_line(text);
  constexpr std::string_view key = "usage_usec ";
  if (line.starts_with(key)) line.remove_prefix(key.size());
  return base::to_int<std::uint64_t>(line).value_or(0);
}

}  // namespace cgwarden::cgroup
