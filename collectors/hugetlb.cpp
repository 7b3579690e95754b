// SPDX-License-Identifier: Apache-2.0
// hugetlb: Documentation/admin-guide/cgroup-v2.rst, "HugeTLB", and cgroup-v1/hugetlb.rst. One set of files for each
// page size.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::Kind;
using enum model::Unit;
using enum model::Shape;

// clang-format off
constexpr model::Field kHugetlbRows[] = {
    {.name = "hugetlb_current", .kind = gauge, .unit = bytes, .v1 = {"hugetlb.*.usage_in_bytes"},
     .v2 = {"hugetlb.*.current"}, .labels = "page_size", .since = "5.6", .help = "Huge pages in use.",
     .cadvisor = "container_hugetlb_usage_bytes"},
    {.name = "hugetlb_max", .kind = setting, .unit = bytes, .v1 = {"hugetlb.*.limit_in_bytes"}, .v2 = {"hugetlb.*.max"},
     .labels = "page_size", .since = "5.6", .help = "Most huge pages allowed."},
    {.name = "hugetlb_peak", .kind = gauge, .unit = bytes, .v1 = {"hugetlb.*.max_usage_in_bytes"},
     .labels = "page_size", .since = "5.4", .help = "Most huge pages that were ever in use.",
     .cadvisor = "container_hugetlb_max_usage_bytes"},
    {.name = "hugetlb_failcnt", .kind = counter, .v1 = {"hugetlb.*.failcnt"}, .labels = "page_size", .since = "5.4",
     .help = "Times the limit of huge pages was hit.", .cadvisor = "container_hugetlb_failcnt"},
    {.name = "hugetlb_events_max", .kind = counter, .v2 = {"hugetlb.*.events", "max", flat_keyed},
     .labels = "page_size", .since = "5.6",
     .help = "Allocations refused because of a limit of huge pages, in descendants too.",
     .cadvisor = "container_hugetlb_failcnt"},
    {.name = "hugetlb_rsvd_current", .kind = gauge, .unit = bytes, .v1 = {"hugetlb.*.rsvd.usage_in_bytes"},
     .v2 = {"hugetlb.*.rsvd.current"}, .labels = "page_size", .since = "5.7", .help = "Huge pages reserved or in use."},
    {.name = "hugetlb_rsvd_max", .kind = setting, .unit = bytes, .v1 = {"hugetlb.*.rsvd.limit_in_bytes"},
     .v2 = {"hugetlb.*.rsvd.max"}, .labels = "page_size", .since = "5.7",
     .help = "Most huge pages that may be reserved."},
    {.name = "hugetlb_rsvd_peak", .kind = gauge, .unit = bytes, .v1 = {"hugetlb.*.rsvd.max_usage_in_bytes"},
     .labels = "page_size", .since = "5.7", .help = "Most huge pages that were ever reserved."},
    {.name = "hugetlb_rsvd_failcnt", .kind = counter, .v1 = {"hugetlb.*.rsvd.failcnt"}, .labels = "page_size",
     .since = "5.7", .help = "Times the limit of reserved huge pages was hit."},
};

constexpr model::Field kHugetlbNumaRows[] = {
    {.name = "hugetlb_numa_current", .kind = gauge, .unit = bytes,
     .v1 = {"hugetlb.*.numa_stat", "hierarchical_total", numa_v1}, .v2 = {"hugetlb.*.numa_stat", "total", numa_v1},
     .labels = "page_size,node", .since = "5.16", .help = "Huge pages in use on each NUMA node, in descendants too."},
    {.name = "hugetlb_numa_local", .kind = gauge, .unit = bytes, .v1 = {"hugetlb.*.numa_stat", "total", numa_v1},
     .labels = "page_size,node", .since = "5.16",
     .help = "Huge pages in use on each NUMA node by the cgroup's own processes."},
};
// clang-format on
static_assert(model::all_well_formed(kHugetlbRows));
static_assert(model::all_well_formed(kHugetlbNumaRows));

}  // namespace

model::CollectorInfo hugetlb() { return {"hugetlb", "Huge pages for each page size.", true, kHugetlbRows}; }
model::CollectorInfo hugetlb_numa() {
  return {"hugetlb_numa", "Huge pages for each page size and NUMA node: one more file for each page size.", false,
          kHugetlbNumaRows};
}

}  // namespace cgwarden::collectors
