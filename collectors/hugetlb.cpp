// SPDX-License-Identifier: Apache-2.0
// hugetlb: Documentation/admin-guide/cgroup-v2.rst, "HugeTLB", and cgroup-v1/hugetlb.rst. One set of files per
// page size.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::MetricKind;
using enum model::Unit;
using enum model::Shape;

// clang-format off
constexpr model::Field kHugetlbRows[] = {
    {.name = "hugetlb_current", .kind = gauge, .unit = bytes, .v1 = {"hugetlb.*.usage_in_bytes"},
     .v2 = {"hugetlb.*.current"}, .labels = "page_size", .since = "5.6",
     .help = "HugeTLB memory in use by the cgroup and its descendants, by page size.",
     .cadvisor = "container_hugetlb_usage_bytes"},
    {.name = "hugetlb_max", .kind = setting, .unit = bytes, .v1 = {"hugetlb.*.limit_in_bytes"}, .v2 = {"hugetlb.*.max"},
     .labels = "page_size", .since = "5.6",
     .help = "Hard limit on HugeTLB memory of the cgroup and its descendants, by page size."},
    {.name = "hugetlb_peak", .kind = gauge, .unit = bytes, .v1 = {"hugetlb.*.max_usage_in_bytes"},
     .labels = "page_size", .since = "5.4",
     .help = "Peak HugeTLB memory usage of the cgroup and its descendants, by page size.",
     .cadvisor = "container_hugetlb_max_usage_bytes"},
    {.name = "hugetlb_failcnt", .kind = counter, .v1 = {"hugetlb.*.failcnt"}, .labels = "page_size", .since = "5.4",
     .help = "HugeTLB allocations that failed because of the limit of the cgroup itself, by page size.",
     .cadvisor = "container_hugetlb_failcnt"},
    {.name = "hugetlb_events_max", .kind = counter, .v2 = {"hugetlb.*.events", "max", flat_keyed},
     .labels = "page_size", .since = "5.6",
     .help = "HugeTLB allocations that failed because of a limit of the cgroup or a descendant, by page size.",
     .cadvisor = "container_hugetlb_failcnt"},
    {.name = "hugetlb_rsvd_current", .kind = gauge, .unit = bytes, .v1 = {"hugetlb.*.rsvd.usage_in_bytes"},
     .v2 = {"hugetlb.*.rsvd.current"}, .labels = "page_size", .since = "5.7",
     .help = "HugeTLB memory reserved or in use by the cgroup and its descendants, by page size."},
    {.name = "hugetlb_rsvd_max", .kind = setting, .unit = bytes, .v1 = {"hugetlb.*.rsvd.limit_in_bytes"},
     .v2 = {"hugetlb.*.rsvd.max"}, .labels = "page_size", .since = "5.7",
     .help = "Hard limit on HugeTLB reservations of the cgroup and its descendants, by page size."},
    {.name = "hugetlb_rsvd_peak", .kind = gauge, .unit = bytes, .v1 = {"hugetlb.*.rsvd.max_usage_in_bytes"},
     .labels = "page_size", .since = "5.7",
     .help = "Peak HugeTLB reservations of the cgroup and its descendants, by page size."},
    {.name = "hugetlb_rsvd_failcnt", .kind = counter, .v1 = {"hugetlb.*.rsvd.failcnt"}, .labels = "page_size",
     .since = "5.7",
     .help = "HugeTLB reservations that failed because of the limit of the cgroup itself, by page size."},
};

constexpr model::Field kHugetlbNumaRows[] = {
    {.name = "hugetlb_numa_current", .kind = gauge, .unit = bytes,
     .v1 = {"hugetlb.*.numa_stat", "hierarchical_total", numa_v1}, .v2 = {"hugetlb.*.numa_stat", "total", numa_v1},
     .labels = "page_size,node", .since = "5.16",
     .help = "HugeTLB memory in use by the cgroup and its descendants, by page size and NUMA node."},
    {.name = "hugetlb_numa_local", .kind = gauge, .unit = bytes, .v1 = {"hugetlb.*.numa_stat", "total", numa_v1},
     .labels = "page_size,node", .since = "5.16",
     .help = "HugeTLB memory in use by the cgroup itself, without descendants, by page size and NUMA node."},
};
// clang-format on
static_assert(model::all_well_formed(kHugetlbRows));
static_assert(model::all_well_formed(kHugetlbNumaRows));

}  // namespace

model::CollectorInfo hugetlb() { return {"hugetlb", "HugeTLB memory by page size.", true, kHugetlbRows}; }
model::CollectorInfo hugetlb_numa() {
  return {"hugetlb_numa", "HugeTLB memory by page size and NUMA node. Cost: one more file per page size and cgroup.",
          false, kHugetlbNumaRows};
}

}  // namespace cgwarden::collectors
