// SPDX-License-Identifier: Apache-2.0
// rdma: Documentation/admin-guide/cgroup-v2.rst, "RDMA", and cgroup-v1/rdma.rst.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::MetricKind;
using enum model::Shape;

// clang-format off
constexpr model::Field kRdmaRows[] = {
    {.name = "rdma_hca_handle_current", .kind = gauge, .v1 = {"rdma.current", "hca_handle", nested_by_line},
     .v2 = {"rdma.current", "hca_handle", nested_by_line}, .labels = "device", .since = "5.4",
     .help = "HCA handles in use by the cgroup and its descendants, by RDMA device."},
    {.name = "rdma_hca_handle_max", .kind = setting, .v1 = {"rdma.max", "hca_handle", nested_by_line},
     .v2 = {"rdma.max", "hca_handle", nested_by_line}, .labels = "device", .since = "5.4",
     .help = "Limit on HCA handles of the cgroup and its descendants, by RDMA device."},
    {.name = "rdma_hca_object_current", .kind = gauge, .v1 = {"rdma.current", "hca_object", nested_by_line},
     .v2 = {"rdma.current", "hca_object", nested_by_line}, .labels = "device", .since = "5.4",
     .help = "HCA objects in use by the cgroup and its descendants, by RDMA device."},
    {.name = "rdma_hca_object_max", .kind = setting, .v1 = {"rdma.max", "hca_object", nested_by_line},
     .v2 = {"rdma.max", "hca_object", nested_by_line}, .labels = "device", .since = "5.4",
     .help = "Limit on HCA objects of the cgroup and its descendants, by RDMA device."},
};
// clang-format on
static_assert(model::all_well_formed(kRdmaRows));

}  // namespace

model::CollectorInfo rdma() { return {"rdma", "Usage and limits of RDMA devices.", true, kRdmaRows}; }

}  // namespace cgwarden::collectors
