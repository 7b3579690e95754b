// SPDX-License-Identifier: Apache-2.0
// Files of the core: Documentation/admin-guide/cgroup-v2.rst, "Core Interface Files", and cgroup-v1/cgroups.rst.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::Kind;
using enum model::Shape;

// clang-format off
constexpr model::Field kCgroupCoreRows[] = {
    // The kernel tells of changes of cgroup.events, but up to some ten milliseconds late: so it is read.
    {.name = "populated", .kind = gauge, .v2 = {"cgroup.events", "populated", flat_keyed}, .since = "5.4",
     .help = "Whether the cgroup or a descendant has a process."},
    {.name = "frozen", .kind = gauge, .v2 = {"cgroup.events", "frozen", flat_keyed}, .since = "5.4",
     .help = "Whether all processes of the cgroup have come to a stop."},
    {.name = "freeze", .kind = setting, .v2 = {"cgroup.freeze"}, .since = "5.4",
     .help = "Whether the cgroup was told to freeze."},
    {.name = "type", .kind = info, .v2 = {"cgroup.type", "", text}, .labels = "type", .since = "5.4",
     .help = "Domain, threaded or invalid.", .inherited = true},
    {.name = "controllers", .kind = info, .v2 = {"cgroup.controllers", "", text}, .labels = "controllers",
     .since = "5.4", .help = "Controllers that can be used in the cgroup.", .inherited = true},
    {.name = "subtree_control", .kind = info, .v2 = {"cgroup.subtree_control", "", text}, .labels = "controllers",
     .since = "5.4", .help = "Controllers switched on for the children.", .inherited = true},
    {.name = "descendants", .kind = gauge, .v2 = {"cgroup.stat", "nr_descendants", flat_keyed}, .since = "5.4",
     .help = "Cgroups below this one."},
    {.name = "dying_descendants", .kind = gauge, .v2 = {"cgroup.stat", "nr_dying_descendants", flat_keyed},
     .since = "5.4", .help = "Removed cgroups below this one that something still holds in memory."},
    {.name = "subsystems", .kind = gauge, .v2 = {"cgroup.stat", "nr_subsys_*", flat_keyed}, .labels = "controller",
     .since = "6.12", .help = "Controller states of the cgroup and those below, for each controller."},
    {.name = "dying_subsystems", .kind = gauge, .v2 = {"cgroup.stat", "nr_dying_subsys_*", flat_keyed},
     .labels = "controller", .since = "6.12",
     .help = "Controller states of removed cgroups that are still held in memory, for each controller."},
    {.name = "max_depth", .kind = setting, .v2 = {"cgroup.max.depth"}, .since = "5.4",
     .help = "Most levels of cgroups allowed below this one."},
    {.name = "max_descendants", .kind = setting, .v2 = {"cgroup.max.descendants"}, .since = "5.4",
     .help = "Most cgroups allowed below this one."},
    {.name = "pressure_accounting", .kind = setting, .v2 = {"cgroup.pressure"}, .since = "6.1",
     .help = "Whether pressure is accounted for the cgroup."},
    {.name = "notify_on_release", .kind = setting, .v1 = {"notify_on_release"}, .since = "5.4",
     .help = "Whether the release agent is called when the cgroup becomes empty."},
    {.name = "clone_children", .kind = setting, .v1 = {"cgroup.clone_children"}, .since = "5.4",
     .help = "Whether a new child gets a copy of the cpuset settings."},
};
// clang-format on
static_assert(model::all_well_formed(kCgroupCoreRows));

}  // namespace

model::CollectorInfo cgroup_core() {
  return {"cgroup", "State, limits and statistics of the cgroup itself.", true, kCgroupCoreRows};
}

}  // namespace cgwarden::collectors
