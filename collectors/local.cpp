// SPDX-License-Identifier: Apache-2.0
// The .local files: what happened to the cgroup itself, descendants left out. A file more to read for each controller.
// Documentation/admin-guide/cgroup-v2.rst.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::Kind;
using enum model::Unit;
using enum model::Shape;

// clang-format off
constexpr model::Field kLocalRows[] = {
    {.name = "cpu_throttled_local", .kind = counter, .unit = seconds,
     .v1 = {"cpu.stat.local", "throttled_time", flat_keyed, model::Scale::nano},
     .v2 = {"cpu.stat.local", "throttled_usec", flat_keyed, model::Scale::micro}, .since = "6.6",
     .help = "Time the cgroup was stopped by its own quota or that of an ancestor, summed over CPUs."},
    {.name = "frozen_local", .kind = counter, .unit = seconds,
     .v2 = {"cgroup.stat.local", "frozen_usec", flat_keyed, model::Scale::micro}, .since = "6.18",
     .help = "Time the cgroup spent frozen or freezing, by itself or with an ancestor."},
    {.name = "memory_events_local_low", .kind = counter, .v2 = {"memory.events.local", "low", flat_keyed},
     .since = "5.4", .help = "Times memory below the low boundary was reclaimed, in this cgroup alone."},
    {.name = "memory_events_local_high", .kind = counter, .v2 = {"memory.events.local", "high", flat_keyed},
     .since = "5.4", .help = "Times tasks were slowed down for going over the high limit, in this cgroup alone."},
    {.name = "memory_events_local_max", .kind = counter, .v2 = {"memory.events.local", "max", flat_keyed},
     .since = "5.4", .help = "Times use was about to go over the hard limit, in this cgroup alone."},
    {.name = "memory_events_local_oom", .kind = counter, .v2 = {"memory.events.local", "oom", flat_keyed},
     .since = "5.4", .help = "Times an allocation was about to fail at the hard limit, in this cgroup alone."},
    {.name = "memory_events_local_oom_kill", .kind = counter, .v2 = {"memory.events.local", "oom_kill", flat_keyed},
     .since = "5.4", .help = "Processes killed for want of memory, in this cgroup alone."},
    {.name = "memory_events_local_oom_group_kill", .kind = counter,
     .v2 = {"memory.events.local", "oom_group_kill", flat_keyed}, .since = "5.17",
     .help = "Times a whole cgroup was killed for want of memory, in this cgroup alone."},
    {.name = "memory_events_local_sock_throttled", .kind = counter,
     .v2 = {"memory.events.local", "sock_throttled", flat_keyed}, .since = "6.18",
     .help = "Times sockets were slowed down for want of memory, in this cgroup alone."},
    {.name = "pids_events_local_max", .kind = counter, .v2 = {"pids.events.local", "max", flat_keyed}, .since = "6.11",
     .help = "Times a fork was refused by the limit of this very cgroup."},
    {.name = "hugetlb_events_local_max", .kind = counter, .v2 = {"hugetlb.*.events.local", "max", flat_keyed},
     .labels = "page_size", .since = "5.6",
     .help = "Allocations refused because of a limit of huge pages, in this cgroup alone."},
    {.name = "misc_events_local_max", .kind = counter, .v1 = {"misc.events.local", "max", flat_labelled},
     .v2 = {"misc.events.local", "max", flat_labelled}, .labels = "resource", .since = "6.11",
     .help = "Times the limit of the resource of this very cgroup was hit."},
};
// clang-format on
static_assert(model::all_well_formed(kLocalRows));

}  // namespace

model::CollectorInfo local() {
  return {"local",
          "Events and throttling of the cgroup itself, without descendants (the .local files): one more file for each "
          "controller.",
          false, kLocalRows};
}

}  // namespace cgwarden::collectors
