// SPDX-License-Identifier: Apache-2.0
// devices: Documentation/admin-guide/cgroup-v1/devices.rst. v2 has no files for it.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::Kind;
using enum model::Shape;

// clang-format off
constexpr model::Field kDevicesRows[] = {
    {.name = "devices_rules", .kind = setting, .v1 = {"devices.list", "", lines}, .since = "5.4",
     .help = "Rules in the list of allowed devices.", .inherited = true},
};
// clang-format on
static_assert(model::all_well_formed(kDevicesRows));

}  // namespace

model::CollectorInfo devices() { return {"devices", "Number of device rules (v1 only).", true, kDevicesRows}; }

}  // namespace cgwarden::collectors
