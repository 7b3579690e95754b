// SPDX-License-Identifier: Apache-2.0
// cpuset: Documentation/admin-guide/cgroup-v2.rst, "Cpuset", and cgroup-v1/cpusets.rst.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::Kind;
using enum model::Shape;

// clang-format off
constexpr model::Field kCpusetRows[] = {
    {.name = "cpuset_cpus", .kind = info, .v1 = {"cpuset.cpus", "", text}, .v2 = {"cpuset.cpus", "", text},
     .labels = "cpus", .since = "5.4", .help = "CPUs asked for; none means those of the parent.", .inherited = true},
    {.name = "cpuset_mems", .kind = info, .v1 = {"cpuset.mems", "", text}, .v2 = {"cpuset.mems", "", text},
     .labels = "mems", .since = "5.4", .help = "Memory nodes asked for; none means those of the parent.", .inherited = true},
    {.name = "cpuset_cpus_effective", .kind = info, .v1 = {"cpuset.effective_cpus", "", text},
     .v2 = {"cpuset.cpus.effective", "", text}, .labels = "cpus", .since = "5.4",
     .help = "CPUs that the cgroup may run on.", .inherited = true},
    {.name = "cpuset_mems_effective", .kind = info, .v1 = {"cpuset.effective_mems", "", text},
     .v2 = {"cpuset.mems.effective", "", text}, .labels = "mems", .since = "5.4",
     .help = "Memory nodes that the cgroup may use.", .inherited = true},
    {.name = "cpuset_cpus_exclusive", .kind = info, .v2 = {"cpuset.cpus.exclusive", "", text}, .labels = "cpus",
     .since = "6.7", .help = "CPUs that a partition of the cgroup may have for itself.", .inherited = true},
    {.name = "cpuset_cpus_exclusive_effective", .kind = info, .v2 = {"cpuset.cpus.exclusive.effective", "", text},
     .labels = "cpus", .since = "6.7", .help = "CPUs that the cgroup has for itself.", .inherited = true},
    {.name = "cpuset_cpus_partition", .kind = info, .v2 = {"cpuset.cpus.partition", "", text}, .labels = "partition",
     .since = "5.4", .help = "Member, root or isolated, and why a partition is invalid."},
    {.name = "cpuset_cpus_isolated", .kind = info, .v2 = {"cpuset.cpus.isolated", "", text}, .labels = "cpus",
     .since = "6.7", .help = "CPUs in isolated partitions (root only)."},
    {.name = "cpuset_cpu_exclusive", .kind = setting, .v1 = {"cpuset.cpu_exclusive"}, .since = "5.4",
     .help = "Whether no sibling may use the CPUs."},
    {.name = "cpuset_mem_exclusive", .kind = setting, .v1 = {"cpuset.mem_exclusive"}, .since = "5.4",
     .help = "Whether no sibling may use the memory nodes."},
    {.name = "cpuset_mem_hardwall", .kind = setting, .v1 = {"cpuset.mem_hardwall"}, .since = "5.4",
     .help = "Whether kernel memory too stays on the memory nodes."},
    {.name = "cpuset_memory_migrate", .kind = setting, .v1 = {"cpuset.memory_migrate"}, .since = "5.4",
     .help = "Whether memory moves when the memory nodes change.", .cadvisor = "container_memory_migrate"},
    {.name = "cpuset_memory_spread_page", .kind = setting, .v1 = {"cpuset.memory_spread_page"}, .since = "5.4",
     .help = "Whether page cache is spread evenly over the memory nodes."},
    {.name = "cpuset_memory_spread_slab", .kind = setting, .v1 = {"cpuset.memory_spread_slab"}, .since = "5.4",
     .help = "Whether kernel objects are spread evenly over the memory nodes; newer kernels ignore it."},
    {.name = "cpuset_sched_load_balance", .kind = setting, .v1 = {"cpuset.sched_load_balance"}, .since = "5.4",
     .help = "Whether load is balanced among the CPUs."},
    {.name = "cpuset_sched_relax_domain_level", .kind = setting, .v1 = {"cpuset.sched_relax_domain_level"},
     .since = "5.4", .help = "How far a CPU looks for work, and -1 for the default of the machine."},
};
// clang-format on
static_assert(model::all_well_formed(kCpusetRows));

}  // namespace

model::CollectorInfo cpuset() { return {"cpuset", "CPUs and memory nodes the cgroup may use.", true, kCpusetRows}; }

}  // namespace cgwarden::collectors
