// SPDX-License-Identifier: Apache-2.0
// cpuset: Documentation/admin-guide/cgroup-v2.rst, "Cpuset", and cgroup-v1/cpusets.rst.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::MetricKind;
using enum model::Shape;

// clang-format off
constexpr model::Field kCpusetRows[] = {
    {.name = "cpuset_cpus", .kind = info, .v1 = {"cpuset.cpus", "", text}, .v2 = {"cpuset.cpus", "", text},
     .labels = "cpus", .since = "5.4",
     .help = "CPUs requested for the cgroup (cpuset.cpus); if empty, the CPUs of the parent apply on v2, and no task "
             "can be attached on v1.",
     .inherited = true},
    {.name = "cpuset_mems", .kind = info, .v1 = {"cpuset.mems", "", text}, .v2 = {"cpuset.mems", "", text},
     .labels = "mems", .since = "5.4",
     .help = "NUMA nodes requested for the cgroup (cpuset.mems); if empty, the nodes of the parent apply on v2, and no "
             "task can be attached on v1.",
     .inherited = true},
    {.name = "cpuset_cpus_effective", .kind = info, .v1 = {"cpuset.effective_cpus", "", text},
     .v2 = {"cpuset.cpus.effective", "", text}, .labels = "cpus", .since = "5.4",
     .help = "CPUs that tasks of the cgroup may run on.", .inherited = true},
    {.name = "cpuset_mems_effective", .kind = info, .v1 = {"cpuset.effective_mems", "", text},
     .v2 = {"cpuset.mems.effective", "", text}, .labels = "mems", .since = "5.4",
     .help = "NUMA nodes that tasks of the cgroup may allocate memory from.", .inherited = true},
    {.name = "cpuset_cpus_exclusive", .kind = info, .v2 = {"cpuset.cpus.exclusive", "", text}, .labels = "cpus",
     .since = "6.7",
     .help = "CPUs requested for exclusive use by a partition of the cgroup (cpuset.cpus.exclusive).",
     .inherited = true},
    {.name = "cpuset_cpus_exclusive_effective", .kind = info, .v2 = {"cpuset.cpus.exclusive.effective", "", text},
     .labels = "cpus", .since = "6.7",
     .help = "CPUs that the cgroup may use to create a partition (cpuset.cpus.exclusive.effective).",
     .inherited = true},
    {.name = "cpuset_cpus_partition", .kind = info, .v2 = {"cpuset.cpus.partition", "", text}, .labels = "partition",
     .since = "5.4",
     .help = "Partition state of the cgroup: member, root or isolated, with the reason if the partition is invalid "
             "(cpuset.cpus.partition)."},
    {.name = "cpuset_cpus_isolated", .kind = info, .v2 = {"cpuset.cpus.isolated", "", text}, .labels = "cpus",
     .since = "6.7", .help = "CPUs in isolated partitions (root cgroup only)."},
    {.name = "cpuset_cpu_exclusive", .kind = setting, .v1 = {"cpuset.cpu_exclusive"}, .since = "5.4",
     .help = "Whether the CPUs of the cgroup may not be used by its siblings."},
    {.name = "cpuset_mem_exclusive", .kind = setting, .v1 = {"cpuset.mem_exclusive"}, .since = "5.4",
     .help = "Whether the NUMA nodes of the cgroup may not be used by its siblings."},
    {.name = "cpuset_mem_hardwall", .kind = setting, .v1 = {"cpuset.mem_hardwall"}, .since = "5.4",
     .help = "Whether kernel allocations are also restricted to the NUMA nodes of the cgroup."},
    {.name = "cpuset_memory_migrate", .kind = setting, .v1 = {"cpuset.memory_migrate"}, .since = "5.4",
     .help = "Whether pages are migrated when the NUMA nodes of the cgroup change.",
     .cadvisor = "container_memory_migrate"},
    {.name = "cpuset_memory_spread_page", .kind = setting, .v1 = {"cpuset.memory_spread_page"}, .since = "5.4",
     .help = "Whether page cache is spread evenly over the NUMA nodes of the cgroup."},
    {.name = "cpuset_memory_spread_slab", .kind = setting, .v1 = {"cpuset.memory_spread_slab"}, .since = "5.4",
     .help = "Whether slab objects are spread evenly over the NUMA nodes of the cgroup; ignored by newer kernels."},
    {.name = "cpuset_sched_load_balance", .kind = setting, .v1 = {"cpuset.sched_load_balance"}, .since = "5.4",
     .help = "Whether the scheduler balances load among the CPUs of the cgroup."},
    {.name = "cpuset_sched_relax_domain_level", .kind = setting, .v1 = {"cpuset.sched_relax_domain_level"},
     .since = "5.4",
     .help = "Range of CPUs that the scheduler searches for tasks on a wakeup or when a CPU becomes idle, or -1 for "
             "the system default."},
};
// clang-format on
static_assert(model::all_well_formed(kCpusetRows));

}  // namespace

model::CollectorInfo cpuset() { return {"cpuset", "CPUs and NUMA nodes that the cgroup may use.", true, kCpusetRows}; }

}  // namespace cgwarden::collectors
