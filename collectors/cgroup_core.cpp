// SPDX-License-Identifier: Apache-2.0
// Core interface files: Documentation/admin-guide/cgroup-v2.rst, "Core Interface Files", and cgroup-v1/cgroups.rst.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::MetricKind;
using enum model::Shape;

// clang-format off
constexpr model::Field kCgroupCoreRows[] = {
    // The kernel notifies of changes of cgroup.events up to some ten milliseconds late, so the file is always read.
    {.name = "populated", .kind = gauge, .v2 = {"cgroup.events", "populated", flat_keyed}, .since = "5.4",
     .help = "Whether the cgroup or one of its descendants contains a process (cgroup.events, populated)."},
    {.name = "frozen", .kind = gauge, .v2 = {"cgroup.events", "frozen", flat_keyed}, .since = "5.4",
     .help = "Whether the cgroup is completely frozen, by its own cgroup.freeze or that of an ancestor (cgroup.events, "
             "frozen)."},
    {.name = "freeze", .kind = setting, .v2 = {"cgroup.freeze"}, .since = "5.4",
     .help = "Whether cgroup.freeze requests that the cgroup be frozen."},
    {.name = "type", .kind = info, .v2 = {"cgroup.type", "", text}, .labels = "type", .since = "5.4",
     .help = "Type of the cgroup: domain, domain threaded, domain invalid or threaded (cgroup.type).",
     .inherited = true},
    {.name = "controllers", .kind = info, .v2 = {"cgroup.controllers", "", text}, .labels = "controllers",
     .since = "5.4", .help = "Controllers available to the cgroup (cgroup.controllers).", .inherited = true},
    {.name = "subtree_control", .kind = info, .v2 = {"cgroup.subtree_control", "", text}, .labels = "controllers",
     .since = "5.4",
     .help = "Controllers enabled for the children of the cgroup (cgroup.subtree_control).", .inherited = true},
    {.name = "descendants", .kind = gauge, .v2 = {"cgroup.stat", "nr_descendants", flat_keyed}, .since = "5.4",
     .help = "Visible descendant cgroups (cgroup.stat, nr_descendants)."},
    {.name = "dying_descendants", .kind = gauge, .v2 = {"cgroup.stat", "nr_dying_descendants", flat_keyed},
     .since = "5.4",
     .help = "Descendant cgroups that were removed but still occupy kernel memory because of remaining references "
             "(cgroup.stat, nr_dying_descendants)."},
    {.name = "subsystems", .kind = gauge, .v2 = {"cgroup.stat", "nr_subsys_*", flat_keyed}, .labels = "controller",
     .since = "6.12",
     .help = "Live controller states of the cgroup and its descendants, by controller (cgroup.stat, nr_subsys_*)."},
    {.name = "dying_subsystems", .kind = gauge, .v2 = {"cgroup.stat", "nr_dying_subsys_*", flat_keyed},
     .labels = "controller", .since = "6.12",
     .help = "Controller states of removed cgroups that still occupy kernel memory, in the cgroup and its descendants, "
             "by controller (cgroup.stat, nr_dying_subsys_*)."},
    {.name = "max_depth", .kind = setting, .v2 = {"cgroup.max.depth"}, .since = "5.4",
     .help = "Maximum depth of descendants below the cgroup (cgroup.max.depth)."},
    {.name = "max_descendants", .kind = setting, .v2 = {"cgroup.max.descendants"}, .since = "5.4",
     .help = "Maximum number of descendant cgroups (cgroup.max.descendants)."},
    {.name = "pressure_accounting", .kind = setting, .v2 = {"cgroup.pressure"}, .since = "6.1",
     .help = "Whether pressure stall information is accounted for the cgroup (cgroup.pressure)."},
    {.name = "notify_on_release", .kind = setting, .v1 = {"notify_on_release"}, .since = "5.4",
     .help = "Whether the release agent runs when the cgroup becomes empty."},
    {.name = "clone_children", .kind = setting, .v1 = {"cgroup.clone_children"}, .since = "5.4",
     .help = "Whether a new child cgroup inherits the cpuset settings of the cgroup."},
};
// clang-format on
static_assert(model::all_well_formed(kCgroupCoreRows));

}  // namespace

model::CollectorInfo cgroup_core() {
  return {"cgroup", "State, limits and statistics of the cgroup core.", true, kCgroupCoreRows};
}

}  // namespace cgwarden::collectors
