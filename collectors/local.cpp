// SPDX-License-Identifier: Apache-2.0
// The *.local files: events of the cgroup itself, without descendants. They are one more file per controller.
// Documentation/admin-guide/cgroup-v2.rst.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::MetricKind;
using enum model::Unit;
using enum model::Shape;

// clang-format off
constexpr model::Field kLocalRows[] = {
    {.name = "cpu_throttled_local", .kind = counter, .unit = seconds,
     .v1 = {"cpu.stat.local", "throttled_time", flat_keyed, model::Scale::nano},
     .v2 = {"cpu.stat.local", "throttled_usec", flat_keyed, model::Scale::micro}, .since = "6.6",
     .help = "Time the cgroup was throttled by its own quota or that of an ancestor, summed over CPUs "
             "(cpu.stat.local)."},
    {.name = "frozen_local", .kind = counter, .unit = seconds,
     .v2 = {"cgroup.stat.local", "frozen_usec", flat_keyed, model::Scale::micro}, .since = "6.18",
     .help = "Time the cgroup spent frozen or freezing, by its own request or that of an ancestor "
             "(cgroup.stat.local)."},
    {.name = "memory_events_local_low", .kind = counter, .v2 = {"memory.events.local", "low", flat_keyed},
     .since = "5.4",
     .help = "Times that the cgroup itself was reclaimed although its usage was below memory.low (memory.events.local, "
             "low)."},
    {.name = "memory_events_local_high", .kind = counter, .v2 = {"memory.events.local", "high", flat_keyed},
     .since = "5.4",
     .help = "Times that tasks were throttled because the cgroup itself exceeded memory.high (memory.events.local, "
             "high)."},
    {.name = "memory_events_local_max", .kind = counter, .v2 = {"memory.events.local", "max", flat_keyed},
     .since = "5.4",
     .help = "Times that memory usage was about to exceed memory.max of the cgroup itself (memory.events.local, max)."},
    {.name = "memory_events_local_oom", .kind = counter, .v2 = {"memory.events.local", "oom", flat_keyed},
     .since = "5.4",
     .help = "Times that an allocation was about to fail at memory.max of the cgroup itself (memory.events.local, "
             "oom)."},
    {.name = "memory_events_local_oom_kill", .kind = counter, .v2 = {"memory.events.local", "oom_kill", flat_keyed},
     .since = "5.4",
     .help = "Processes of the cgroup itself killed by the OOM killer (memory.events.local, oom_kill)."},
    {.name = "memory_events_local_oom_group_kill", .kind = counter,
     .v2 = {"memory.events.local", "oom_group_kill", flat_keyed}, .since = "5.17",
     .help = "Number of group OOM kills of the cgroup itself (memory.events.local, oom_group_kill)."},
    {.name = "memory_events_local_sock_throttled", .kind = counter,
     .v2 = {"memory.events.local", "sock_throttled", flat_keyed}, .since = "6.18",
     .help = "Times that sockets of the cgroup itself were throttled under memory pressure (memory.events.local, "
             "sock_throttled)."},
    {.name = "pids_events_local_max", .kind = counter, .v2 = {"pids.events.local", "max", flat_keyed}, .since = "6.11",
     .help = "Forks refused because of pids.max of the cgroup itself (pids.events.local, max)."},
    {.name = "hugetlb_events_local_max", .kind = counter, .v2 = {"hugetlb.*.events.local", "max", flat_keyed},
     .labels = "page_size", .since = "5.6",
     .help = "HugeTLB allocations that failed because of the limit of the cgroup itself, by page size "
             "(hugetlb.*.events.local, max)."},
    {.name = "misc_events_local_max", .kind = counter, .v1 = {"misc.events.local", "max", flat_labeled},
     .v2 = {"misc.events.local", "max", flat_labeled}, .labels = "resource", .since = "6.11",
     .help = "Times that usage of the resource was about to exceed the limit of the cgroup itself (misc.events.local, "
             "max)."},
};
// clang-format on
static_assert(model::all_well_formed(kLocalRows));

}  // namespace

model::CollectorInfo local() {
  return {"local",
          "Events and throttling of the cgroup itself, without descendants (*.local files). Cost: one more file per "
          "controller and cgroup.",
          false, kLocalRows};
}

}  // namespace cgwarden::collectors
