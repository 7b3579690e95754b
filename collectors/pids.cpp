// SPDX-License-Identifier: Apache-2.0
// pids: Documentation/admin-guide/cgroup-v1/pids.rst and cgroup-v2.rst, "PID".
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::Kind;
using enum model::Shape;

// clang-format off
constexpr model::Field kPidsRows[] = {
    {.name = "pids_current", .kind = gauge, .v1 = {"pids.current"}, .v2 = {"pids.current"}, .since = "5.4",
     .help = "Processes and threads in the cgroup and its descendants.", .cadvisor = "container_threads"},
    {.name = "pids_peak", .kind = gauge, .v1 = {"pids.peak"}, .v2 = {"pids.peak"}, .since = "6.1",
     .help = "Most processes and threads there ever were."},
    {.name = "pids_max", .kind = setting, .v1 = {"pids.max"}, .v2 = {"pids.max"}, .since = "5.4",
     .help = "Most processes and threads allowed.", .cadvisor = "container_threads_max"},
    {.name = "pids_events_max", .kind = counter, .v1 = {"pids.events", "max", flat_keyed},
     .v2 = {"pids.events", "max", flat_keyed}, .since = "5.4",
     .help = "Times a fork was refused by the limit of the cgroup, and of a descendant too from 6.11 on (v2)."},
};
// clang-format on
static_assert(model::all_well_formed(kPidsRows));

}  // namespace

model::CollectorInfo pids() { return {"pids", "Processes and threads, and their limit.", true, kPidsRows}; }

}  // namespace cgwarden::collectors
