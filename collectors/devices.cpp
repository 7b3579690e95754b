// SPDX-License-Identifier: Apache-2.0
// devices: Documentation/admin-guide/cgroup-v1/devices.rst. v2 has no files for it; see the collector bpf.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::MetricKind;
using enum model::Shape;

// clang-format off
constexpr model::Field kDevicesRows[] = {
    {.name = "devices_rules", .kind = setting, .v1 = {"devices.list", "", lines}, .since = "5.4",
     .help = "Number of rules in the device allow-list of the cgroup (devices.list).", .inherited = true},
};

// A list with the single line "a *:* rwm" allows all devices; otherwise only the listed devices are allowed.
constexpr model::Field kDeviceRulesRows[] = {
    {.name = "device_rule", .kind = info, .v1 = {"devices.list", "", each_line}, .labels = "rule", .since = "5.4",
     .help = "Rules in the device allow-list of the cgroup (devices.list); a *:* rwm, which is always the only rule, "
             "allows all devices.",
     .inherited = true},
};
// clang-format on
static_assert(model::all_well_formed(kDevicesRows));
static_assert(model::all_well_formed(kDeviceRulesRows));

}  // namespace

model::CollectorInfo devices() { return {"devices", "Number of device rules (v1 only).", true, kDevicesRows}; }
model::CollectorInfo device_rules() {
  return {"device_rules", "Device rules, one series per rule (v1 only).", false, kDeviceRulesRows};
}

}  // namespace cgwarden::collectors
