// SPDX-License-Identifier: Apache-2.0
// cpu and cpuacct: Documentation/admin-guide/cgroup-v2.rst, "CPU", cgroup-v1/cpuacct.rst and scheduler/sched-bwc.rst.
// Omitted v1 files have the same content in other files: cpuacct.usage_{user,sys}, with one number each, and
// cpuacct.usage_percpu_{user,sys}. cpuacct.stat is coarser (ticks), but has both numbers in one file.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::MetricKind;
using enum model::Unit;
using enum model::Shape;

// clang-format off
constexpr model::Field kCpuRows[] = {
    {.name = "cpu_usage", .kind = counter, .unit = seconds, .v1 = {"cpuacct.usage", "", single, model::Scale::nano},
     .v2 = {"cpu.stat", "usage_usec", flat_keyed, model::Scale::micro}, .since = "5.4",
     .help = "CPU time consumed by the cgroup and its descendants.", .cadvisor = "container_cpu_usage_seconds_total"},
    {.name = "cpu_user", .kind = counter, .unit = seconds, .v1 = {"cpuacct.stat", "user", flat_keyed, model::Scale::tick},
     .v2 = {"cpu.stat", "user_usec", flat_keyed, model::Scale::micro}, .since = "5.4",
     .help = "CPU time consumed in user mode by the cgroup and its descendants.",
     .cadvisor = "container_cpu_user_seconds_total"},
    {.name = "cpu_system", .kind = counter, .unit = seconds,
     .v1 = {"cpuacct.stat", "system", flat_keyed, model::Scale::tick},
     .v2 = {"cpu.stat", "system_usec", flat_keyed, model::Scale::micro}, .since = "5.4",
     .help = "CPU time consumed in kernel mode by the cgroup and its descendants.",
     .cadvisor = "container_cpu_system_seconds_total"},
    {.name = "cpu_nice", .kind = counter, .unit = seconds,
     .v2 = {"cpu.stat", "nice_usec", flat_keyed, model::Scale::micro}, .since = "6.13",
     .help = "CPU time consumed in user mode at a nice level above 0 by the cgroup and its descendants."},
    {.name = "cpu_force_idle", .kind = counter, .unit = seconds,
     .v2 = {"cpu.stat", "core_sched.force_idle_usec", flat_keyed, model::Scale::micro}, .since = "6.0",
     .help = "Time that SMT siblings were forced idle by core scheduling because of the cgroup and its descendants."},
    {.name = "cpu_periods", .kind = counter, .v1 = {"cpu.stat", "nr_periods", flat_keyed},
     .v2 = {"cpu.stat", "nr_periods", flat_keyed}, .since = "5.4",
     .help = "CFS bandwidth periods that elapsed while the cgroup was runnable (cpu.stat, nr_periods).",
     .cadvisor = "container_cpu_cfs_periods_total"},
    {.name = "cpu_throttled_periods", .kind = counter, .v1 = {"cpu.stat", "nr_throttled", flat_keyed},
     .v2 = {"cpu.stat", "nr_throttled", flat_keyed}, .since = "5.4",
     .help = "CFS bandwidth periods in which the quota of the cgroup itself was exhausted (cpu.stat, nr_throttled).",
     .cadvisor = "container_cpu_cfs_throttled_periods_total"},
    {.name = "cpu_throttled", .kind = counter, .unit = seconds,
     .v1 = {"cpu.stat", "throttled_time", flat_keyed, model::Scale::nano},
     .v2 = {"cpu.stat", "throttled_usec", flat_keyed, model::Scale::micro}, .since = "5.4",
     .help = "Time the cgroup was throttled by its own quota, summed over CPUs (cpu.stat).",
     .cadvisor = "container_cpu_cfs_throttled_seconds_total"},
    {.name = "cpu_burst_periods", .kind = counter, .v1 = {"cpu.stat", "nr_bursts", flat_keyed},
     .v2 = {"cpu.stat", "nr_bursts", flat_keyed}, .since = "5.16",
     .help = "CFS bandwidth periods in which the cgroup used accumulated burst time (cpu.stat, nr_bursts).",
     .cadvisor = "container_cpu_cfs_burst_periods_total"},
    {.name = "cpu_burst", .kind = counter, .unit = seconds,
     .v1 = {"cpu.stat", "burst_time", flat_keyed, model::Scale::nano},
     .v2 = {"cpu.stat", "burst_usec", flat_keyed, model::Scale::micro}, .since = "5.16",
     .help = "CPU time used above the quota from accumulated burst time (cpu.stat).",
     .cadvisor = "container_cpu_cfs_burst_seconds_total"},
    {.name = "cpu_wait", .kind = counter, .unit = seconds,
     .v1 = {"cpu.stat", "wait_sum", flat_keyed, model::Scale::nano}, .since = "5.4",
     .help = "Time the cgroup was runnable but waited for a CPU, available if kernel.sched_schedstats is enabled "
             "(cpu.stat, wait_sum)."},
    {.name = "cpu_quota", .kind = setting, .unit = seconds,
     .v1 = {"cpu.cfs_quota_us", "", single, model::Scale::micro, true},
     .v2 = {"cpu.max", "0", spaced, model::Scale::micro}, .since = "5.4",
     .help = "CPU time that the cgroup and its descendants may use in each period.",
     .cadvisor = "container_spec_cpu_quota"},
    {.name = "cpu_period", .kind = setting, .unit = seconds,
     .v1 = {"cpu.cfs_period_us", "", single, model::Scale::micro}, .v2 = {"cpu.max", "1", spaced, model::Scale::micro},
     .since = "5.4", .help = "Length of a CFS bandwidth period.", .cadvisor = "container_spec_cpu_period"},
    {.name = "cpu_max_burst", .kind = setting, .unit = seconds,
     .v1 = {"cpu.cfs_burst_us", "", single, model::Scale::micro},
     .v2 = {"cpu.max.burst", "", single, model::Scale::micro}, .since = "5.14",
     .help = "Unused quota that the cgroup may accumulate for use above the quota."},
    {.name = "cpu_weight", .kind = setting, .v2 = {"cpu.weight"}, .since = "5.4",
     .help = "Weight of the cgroup relative to its siblings for CPU time, 1 to 10000, or 0 if cpu.idle is set."},
    {.name = "cpu_weight_nice", .kind = setting, .v2 = {"cpu.weight.nice"}, .since = "5.4",
     .help = "CPU weight of the cgroup expressed as the closest nice level, -20 to 19."},
    {.name = "cpu_shares", .kind = setting, .v1 = {"cpu.shares"}, .since = "5.4",
     .help = "Weight of the cgroup relative to its siblings for CPU time, where 1024 is the default.",
     .cadvisor = "container_spec_cpu_shares"},
    {.name = "cpu_idle", .kind = setting, .v1 = {"cpu.idle"}, .v2 = {"cpu.idle"}, .since = "5.15",
     .help = "Whether the cgroup has the SCHED_IDLE policy relative to its siblings (cpu.idle)."},
    {.name = "cpu_uclamp_min", .kind = setting, .unit = ratio,
     .v1 = {"cpu.uclamp.min", "", single, model::Scale::percent},
     .v2 = {"cpu.uclamp.min", "", single, model::Scale::percent}, .since = "5.4",
     .help = "Requested minimum CPU utilization of the cgroup for frequency selection, as a share of the CPU "
             "capacity."},
    {.name = "cpu_uclamp_max", .kind = setting, .unit = ratio,
     .v1 = {"cpu.uclamp.max", "", single, model::Scale::percent},
     .v2 = {"cpu.uclamp.max", "", single, model::Scale::percent}, .since = "5.4",
     .help = "Requested maximum CPU utilization of the cgroup for frequency selection, as a share of the CPU "
             "capacity."},
    {.name = "cpu_rt_runtime", .kind = setting, .unit = seconds,
     .v1 = {"cpu.rt_runtime_us", "", single, model::Scale::micro, true}, .since = "5.4",
     .help = "CPU time that real-time tasks of the cgroup may use in each real-time period."},
    {.name = "cpu_rt_period", .kind = setting, .unit = seconds,
     .v1 = {"cpu.rt_period_us", "", single, model::Scale::micro}, .since = "5.4",
     .help = "Length of a real-time period."},
};

constexpr model::Field kPercpuRows[] = {
    {.name = "percpu_usage", .kind = counter, .unit = seconds,
     .v1 = {"cpuacct.usage_percpu", "", per_cpu, model::Scale::nano}, .labels = "cpu", .since = "5.4",
     .help = "CPU time consumed by the cgroup and its descendants, by CPU.",
     .cadvisor = "container_cpu_usage_seconds_total"},
    {.name = "percpu_user", .kind = counter, .unit = seconds,
     .v1 = {"cpuacct.usage_all", "user", cpu_table, model::Scale::nano}, .labels = "cpu", .since = "5.4",
     .help = "CPU time consumed in user mode by the cgroup and its descendants, by CPU."},
    {.name = "percpu_system", .kind = counter, .unit = seconds,
     .v1 = {"cpuacct.usage_all", "system", cpu_table, model::Scale::nano}, .labels = "cpu", .since = "5.4",
     .help = "CPU time consumed in kernel mode by the cgroup and its descendants, by CPU."},
};
// clang-format on
static_assert(model::all_well_formed(kCpuRows));
static_assert(model::all_well_formed(kPercpuRows));

}  // namespace

model::CollectorInfo cpu() { return {"cpu", "CPU time, throttling, quota and weight.", true, kCpuRows}; }
model::CollectorInfo percpu() {
  return {"percpu", "CPU time by CPU (v1 only). Cost: one series per CPU and cgroup.", false, kPercpuRows};
}

}  // namespace cgwarden::collectors
