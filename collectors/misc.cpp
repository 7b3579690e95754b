// SPDX-License-Identifier: Apache-2.0
// misc: Documentation/admin-guide/cgroup-v2.rst, "Misc", and cgroup-v1/misc.rst.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::MetricKind;
using enum model::Shape;

// clang-format off
constexpr model::Field kMiscRows[] = {
    {.name = "misc_current", .kind = gauge, .v1 = {"misc.current", "", flat_labeled},
     .v2 = {"misc.current", "", flat_labeled}, .labels = "resource", .since = "5.13",
     .help = "Amount of the resource in use by the cgroup and its descendants."},
    {.name = "misc_peak", .kind = gauge, .v1 = {"misc.peak", "", flat_labeled}, .v2 = {"misc.peak", "", flat_labeled},
     .labels = "resource", .since = "6.11", .help = "Peak usage of the resource by the cgroup and its descendants."},
    {.name = "misc_max", .kind = setting, .v1 = {"misc.max", "", flat_labeled}, .v2 = {"misc.max", "", flat_labeled},
     .labels = "resource", .since = "5.13",
     .help = "Limit on usage of the resource by the cgroup and its descendants."},
    {.name = "misc_capacity", .kind = gauge, .v1 = {"misc.capacity", "", flat_labeled},
     .v2 = {"misc.capacity", "", flat_labeled}, .labels = "resource", .since = "5.13",
     .help = "Amount of the resource available on the host (root cgroup only)."},
    {.name = "misc_events_max", .kind = counter, .v1 = {"misc.events", "max", flat_labeled},
     .v2 = {"misc.events", "max", flat_labeled}, .labels = "resource", .since = "5.16",
     .help = "Times that usage of the resource was about to exceed the limit of the cgroup or, since Linux 6.11, a "
             "descendant."},
};
// clang-format on
static_assert(model::all_well_formed(kMiscRows));

}  // namespace

model::CollectorInfo misc() {
  return {"misc", "Countable host resources (misc controller), such as encryption keys of virtual machines.", true,
          kMiscRows};
}

}  // namespace cgwarden::collectors
