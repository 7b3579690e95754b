// SPDX-License-Identifier: Apache-2.0
// freezer: Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst. The v2 freezer belongs to the core.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::MetricKind;
using enum model::Shape;

// clang-format off
constexpr model::Field kFreezerRows[] = {
    {.name = "freezer_state", .kind = info, .v1 = {"freezer.state", "", text}, .labels = "state", .since = "5.4",
     .help = "State of the v1 freezer: THAWED, FREEZING or FROZEN."},
    {.name = "freezer_self_freezing", .kind = setting, .v1 = {"freezer.self_freezing"}, .since = "5.4",
     .help = "Whether freezing was requested for the cgroup itself (freezer.self_freezing)."},
    {.name = "freezer_parent_freezing", .kind = gauge, .v1 = {"freezer.parent_freezing"}, .since = "5.4",
     .help = "Whether freezing was requested for an ancestor of the cgroup (freezer.parent_freezing).",
     .inherited = true},
};
// clang-format on
static_assert(model::all_well_formed(kFreezerRows));

}  // namespace

model::CollectorInfo freezer() { return {"freezer", "State of the freezer (v1 only).", true, kFreezerRows}; }

}  // namespace cgwarden::collectors
