// SPDX-License-Identifier: Apache-2.0
// Separate counters of v1 for kernel memory and TCP buffers: Documentation/admin-guide/cgroup-v1/memory.rst. Off by
// default, because they are eight more files per cgroup and rarely needed.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::MetricKind;
using enum model::Unit;
using enum model::Shape;

// clang-format off
constexpr model::Field kKmemRows[] = {
    {.name = "memory_memsw_peak", .kind = gauge, .unit = bytes, .v1 = {"memory.memsw.max_usage_in_bytes"},
     .since = "5.4", .help = "Peak usage of memory and swap together by the cgroup and its descendants."},
    {.name = "memory_memsw_failcnt", .kind = counter, .v1 = {"memory.memsw.failcnt"}, .since = "5.4",
     .help = "Times that usage of memory and swap together hit the limit of the cgroup itself."},
    {.name = "memory_kmem_peak", .kind = gauge, .unit = bytes, .v1 = {"memory.kmem.max_usage_in_bytes"}, .since = "5.4",
     .help = "Peak kernel memory usage of the cgroup and its descendants."},
    {.name = "memory_kmem_max", .kind = setting, .unit = bytes, .v1 = {"memory.kmem.limit_in_bytes"}, .since = "5.4",
     .help = "Limit on kernel memory of the cgroup and its descendants; ignored by newer kernels."},
    {.name = "memory_kmem_failcnt", .kind = counter, .v1 = {"memory.kmem.failcnt"}, .since = "5.4",
     .help = "Times that kernel memory usage hit the limit of the cgroup itself."},
    {.name = "memory_kmem_tcp_current", .kind = gauge, .unit = bytes, .v1 = {"memory.kmem.tcp.usage_in_bytes"},
     .since = "5.4", .help = "TCP buffer memory in use by the cgroup and its descendants."},
    {.name = "memory_kmem_tcp_peak", .kind = gauge, .unit = bytes, .v1 = {"memory.kmem.tcp.max_usage_in_bytes"},
     .since = "5.4", .help = "Peak TCP buffer memory usage of the cgroup and its descendants."},
    {.name = "memory_kmem_tcp_max", .kind = setting, .unit = bytes, .v1 = {"memory.kmem.tcp.limit_in_bytes"},
     .since = "5.4", .help = "Limit on TCP buffer memory of the cgroup and its descendants."},
    {.name = "memory_kmem_tcp_failcnt", .kind = counter, .v1 = {"memory.kmem.tcp.failcnt"}, .since = "5.4",
     .help = "Times that TCP buffer memory usage hit the limit of the cgroup itself."},
};
// clang-format on
static_assert(model::all_well_formed(kKmemRows));

}  // namespace

model::CollectorInfo kmem() {
  return {
      "kmem",
      "Kernel memory, TCP buffers, and peak of memory and swap together (v1 only). Cost: eight more files per cgroup.",
      false, kKmemRows};
}

}  // namespace cgwarden::collectors
