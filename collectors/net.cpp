// SPDX-License-Identifier: Apache-2.0
// net_cls and net_prio: Documentation/admin-guide/cgroup-v1/net_cls.rst and net_prio.rst. v2 has neither.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::MetricKind;
using enum model::Shape;

// clang-format off
constexpr model::Field kNetRows[] = {
    {.name = "net_cls_classid", .kind = setting, .v1 = {"net_cls.classid"}, .since = "5.4",
     .help = "Class ID that tags packets sent by tasks of the cgroup."},
    {.name = "net_prio_prioidx", .kind = setting, .v1 = {"net_prio.prioidx"}, .since = "5.4",
     .help = "Index of the cgroup in the kernel's priority maps."},
    {.name = "net_prio_ifprio", .kind = setting, .v1 = {"net_prio.ifpriomap", "", flat_labeled}, .labels = "interface",
     .since = "5.4", .help = "Priority of traffic sent by tasks of the cgroup, by egress interface."},
};
// clang-format on
static_assert(model::all_well_formed(kNetRows));

}  // namespace

model::CollectorInfo net() {
  return {"net", "Class IDs and priorities of network packets (net_cls and net_prio, v1 only).", true, kNetRows};
}

}  // namespace cgwarden::collectors
