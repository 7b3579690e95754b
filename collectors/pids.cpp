// SPDX-License-Identifier: Apache-2.0
// pids: Documentation/admin-guide/cgroup-v1/pids.rst and cgroup-v2.rst, "PID".
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::MetricKind;
using enum model::Shape;

// clang-format off
constexpr model::Field kPidsRows[] = {
    {.name = "pids_current", .kind = gauge, .v1 = {"pids.current"}, .v2 = {"pids.current"}, .since = "5.4",
     .help = "Tasks (processes and threads) in the cgroup and its descendants.", .cadvisor = "container_threads"},
    {.name = "pids_peak", .kind = gauge, .v1 = {"pids.peak"}, .v2 = {"pids.peak"}, .since = "6.1",
     .help = "Peak number of tasks (processes and threads) in the cgroup and its descendants."},
    {.name = "pids_max", .kind = setting, .v1 = {"pids.max"}, .v2 = {"pids.max"}, .since = "5.4",
     .help = "Limit on the number of tasks (processes and threads) in the cgroup and its descendants.",
     .cadvisor = "container_threads_max"},
    {.name = "pids_events_max", .kind = counter, .v1 = {"pids.events", "max", flat_keyed},
     .v2 = {"pids.events", "max", flat_keyed}, .since = "5.4",
     .help = "Forks refused because of pids.max, counted in the forking cgroup, or since Linux 6.11 on v2 in the "
             "cgroup at its limit and its ancestors."},
};
// clang-format on
static_assert(model::all_well_formed(kPidsRows));

}  // namespace

model::CollectorInfo pids() {
  return {"pids", "Number of tasks (processes and threads) and their limit.", true, kPidsRows};
}

}  // namespace cgwarden::collectors
