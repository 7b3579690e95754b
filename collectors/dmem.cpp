// SPDX-License-Identifier: Apache-2.0
// dmem: Documentation/admin-guide/cgroup-v2.rst, "DMEM".
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::MetricKind;
using enum model::Unit;
using enum model::Shape;

// clang-format off
constexpr model::Field kDmemRows[] = {
    {.name = "dmem_current", .kind = gauge, .unit = bytes, .v1 = {"dmem.current", "", flat_labeled},
     .v2 = {"dmem.current", "", flat_labeled}, .labels = "region", .since = "6.14",
     .help = "Device memory in use by the cgroup and its descendants, by region."},
    {.name = "dmem_max", .kind = setting, .unit = bytes, .v1 = {"dmem.max", "", flat_labeled},
     .v2 = {"dmem.max", "", flat_labeled}, .labels = "region", .since = "6.14",
     .help = "Hard limit on device memory of the cgroup and its descendants, by region."},
    {.name = "dmem_low", .kind = setting, .unit = bytes, .v1 = {"dmem.low", "", flat_labeled},
     .v2 = {"dmem.low", "", flat_labeled}, .labels = "region", .since = "6.14",
     .help = "Device memory that is evicted only if no unprotected memory is left, by region (best-effort "
             "protection)."},
    {.name = "dmem_min", .kind = setting, .unit = bytes, .v1 = {"dmem.min", "", flat_labeled},
     .v2 = {"dmem.min", "", flat_labeled}, .labels = "region", .since = "6.14",
     .help = "Device memory that is never evicted, by region (hard protection)."},
    {.name = "dmem_capacity", .kind = gauge, .unit = bytes, .v1 = {"dmem.capacity", "", flat_labeled},
     .v2 = {"dmem.capacity", "", flat_labeled}, .labels = "region", .since = "6.14",
     .help = "Size of the device memory region (root cgroup only)."},
};
// clang-format on
static_assert(model::all_well_formed(kDmemRows));

}  // namespace

model::CollectorInfo dmem() { return {"dmem", "Device memory, such as that of GPUs.", true, kDmemRows}; }

}  // namespace cgwarden::collectors
