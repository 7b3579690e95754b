// SPDX-License-Identifier: Apache-2.0
// net_cls and net_prio: Documentation/admin-guide/cgroup-v1/net_cls.rst and net_prio.rst. v2 has neither.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::Kind;
using enum model::Shape;

// clang-format off
constexpr model::Field kNetRows[] = {
    {.name = "net_cls_classid", .kind = setting, .v1 = {"net_cls.classid"}, .since = "5.4",
     .help = "Class identifier on packets of the cgroup."},
    {.name = "net_prio_prioidx", .kind = setting, .v1 = {"net_prio.prioidx"}, .since = "5.4",
     .help = "Number the kernel gave to the cgroup in its priority maps."},
    {.name = "net_prio_ifprio", .kind = setting, .v1 = {"net_prio.ifpriomap", "", flat_labelled}, .labels = "interface",
     .since = "5.4", .help = "Priority of traffic sent on each interface."},
};
// clang-format on
static_assert(model::all_well_formed(kNetRows));

}  // namespace

model::CollectorInfo net() { return {"net", "Marks and priorities on network packets (v1 only).", true, kNetRows}; }

}  // namespace cgwarden::collectors
