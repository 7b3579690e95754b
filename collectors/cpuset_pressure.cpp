// SPDX-License-Identifier: Apache-2.0
// Rate of direct reclaim as measured by cpuset (v1), if memory_pressure_enabled of the root cgroup is set:
// Documentation/admin-guide/cgroup-v1/cpusets.rst.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::MetricKind;

// clang-format off
constexpr model::Field kCpusetPressureRows[] = {
    {.name = "cpuset_memory_pressure", .kind = gauge, .v1 = {"cpuset.memory_pressure"}, .since = "5.4",
     .help = "Rate of direct reclaim by tasks of the cgroup, in attempts per 1000 seconds (cpuset.memory_pressure)."},
    {.name = "cpuset_memory_pressure_enabled", .kind = setting, .v1 = {"cpuset.memory_pressure_enabled"},
     .since = "5.4", .help = "Whether cpuset.memory_pressure is computed (root cgroup only)."},
};
// clang-format on
static_assert(model::all_well_formed(kCpusetPressureRows));

}  // namespace

model::CollectorInfo cpuset_pressure() {
  return {"cpuset_pressure", "Rate of direct reclaim of the cpuset controller (v1 only), if it is enabled.", false,
          kCpusetPressureRows};
}

}  // namespace cgwarden::collectors
