// SPDX-License-Identifier: Apache-2.0
// Kernel memory and TCP buffers apart, as v1 counts them: Documentation/admin-guide/cgroup-v1/memory.rst. Eight files
// more to read, which few ask for.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::Kind;
using enum model::Unit;
using enum model::Shape;

// clang-format off
constexpr model::Field kKmemRows[] = {
    {.name = "memory_memsw_peak", .kind = gauge, .unit = bytes, .v1 = {"memory.memsw.max_usage_in_bytes"},
     .since = "5.4", .help = "Most memory and swap together that was ever in use."},
    {.name = "memory_memsw_failcnt", .kind = counter, .v1 = {"memory.memsw.failcnt"}, .since = "5.4",
     .help = "Times the limit of memory and swap together was hit."},
    {.name = "memory_kmem_peak", .kind = gauge, .unit = bytes, .v1 = {"memory.kmem.max_usage_in_bytes"}, .since = "5.4",
     .help = "Most kernel memory that was ever in use."},
    {.name = "memory_kmem_max", .kind = setting, .unit = bytes, .v1 = {"memory.kmem.limit_in_bytes"}, .since = "5.4",
     .help = "Limit of kernel memory; newer kernels ignore it."},
    {.name = "memory_kmem_failcnt", .kind = counter, .v1 = {"memory.kmem.failcnt"}, .since = "5.4",
     .help = "Times the limit of kernel memory was hit."},
    {.name = "memory_kmem_tcp_current", .kind = gauge, .unit = bytes, .v1 = {"memory.kmem.tcp.usage_in_bytes"},
     .since = "5.4", .help = "Memory of TCP buffers in use."},
    {.name = "memory_kmem_tcp_peak", .kind = gauge, .unit = bytes, .v1 = {"memory.kmem.tcp.max_usage_in_bytes"},
     .since = "5.4", .help = "Most memory of TCP buffers that was ever in use."},
    {.name = "memory_kmem_tcp_max", .kind = setting, .unit = bytes, .v1 = {"memory.kmem.tcp.limit_in_bytes"},
     .since = "5.4", .help = "Limit of the memory of TCP buffers."},
    {.name = "memory_kmem_tcp_failcnt", .kind = counter, .v1 = {"memory.kmem.tcp.failcnt"}, .since = "5.4",
     .help = "Times the limit of the memory of TCP buffers was hit."},
};
// clang-format on
static_assert(model::all_well_formed(kKmemRows));

}  // namespace

model::CollectorInfo kmem() {
  return {"kmem", "Kernel memory, TCP buffers, and memory with swap apart (v1 only): eight files more to read.", false,
          kKmemRows};
}

}  // namespace cgwarden::collectors
