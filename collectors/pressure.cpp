// SPDX-License-Identifier: Apache-2.0
// Pressure stall information: Documentation/accounting/psi.rst and cgroup-v2.rst. Not available on v1.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::MetricKind;
using enum model::Unit;
using enum model::Shape;

// clang-format off
constexpr model::Field kPressureRows[] = {
    {.name = "pressure_cpu_some", .kind = counter, .unit = seconds,
     .v2 = {"cpu.pressure", "some.total", nested_keyed, model::Scale::micro}, .since = "5.4",
     .help = "Time that at least one task of the cgroup or its descendants was stalled waiting for a CPU.",
     .cadvisor = "container_pressure_cpu_waiting_seconds_total"},
    {.name = "pressure_cpu_some_avg10", .kind = gauge, .unit = ratio,
     .v2 = {"cpu.pressure", "some.avg10", nested_keyed, model::Scale::percent}, .since = "5.4",
     .help = "Share of time, averaged over the last 10 seconds, that at least one task of the cgroup or its "
             "descendants was stalled waiting for a CPU."},
    {.name = "pressure_cpu_some_avg60", .kind = gauge, .unit = ratio,
     .v2 = {"cpu.pressure", "some.avg60", nested_keyed, model::Scale::percent}, .since = "5.4",
     .help = "Share of time, averaged over the last 60 seconds, that at least one task of the cgroup or its "
             "descendants was stalled waiting for a CPU."},
    {.name = "pressure_cpu_some_avg300", .kind = gauge, .unit = ratio,
     .v2 = {"cpu.pressure", "some.avg300", nested_keyed, model::Scale::percent}, .since = "5.4",
     .help = "Share of time, averaged over the last 300 seconds, that at least one task of the cgroup or its "
             "descendants was stalled waiting for a CPU."},
    {.name = "pressure_cpu_full", .kind = counter, .unit = seconds,
     .v2 = {"cpu.pressure", "full.total", nested_keyed, model::Scale::micro}, .since = "5.13",
     .help = "Time that all non-idle tasks of the cgroup and its descendants were simultaneously stalled waiting for a "
             "CPU.",
     .cadvisor = "container_pressure_cpu_stalled_seconds_total"},
    {.name = "pressure_cpu_full_avg10", .kind = gauge, .unit = ratio,
     .v2 = {"cpu.pressure", "full.avg10", nested_keyed, model::Scale::percent}, .since = "5.13",
     .help = "Share of time, averaged over the last 10 seconds, that all non-idle tasks of the cgroup and its "
             "descendants were simultaneously stalled waiting for a CPU."},
    {.name = "pressure_cpu_full_avg60", .kind = gauge, .unit = ratio,
     .v2 = {"cpu.pressure", "full.avg60", nested_keyed, model::Scale::percent}, .since = "5.13",
     .help = "Share of time, averaged over the last 60 seconds, that all non-idle tasks of the cgroup and its "
             "descendants were simultaneously stalled waiting for a CPU."},
    {.name = "pressure_cpu_full_avg300", .kind = gauge, .unit = ratio,
     .v2 = {"cpu.pressure", "full.avg300", nested_keyed, model::Scale::percent}, .since = "5.13",
     .help = "Share of time, averaged over the last 300 seconds, that all non-idle tasks of the cgroup and its "
             "descendants were simultaneously stalled waiting for a CPU."},
    {.name = "pressure_memory_some", .kind = counter, .unit = seconds,
     .v2 = {"memory.pressure", "some.total", nested_keyed, model::Scale::micro}, .since = "5.4",
     .help = "Time that at least one task of the cgroup or its descendants was stalled waiting for memory.",
     .cadvisor = "container_pressure_memory_waiting_seconds_total"},
    {.name = "pressure_memory_some_avg10", .kind = gauge, .unit = ratio,
     .v2 = {"memory.pressure", "some.avg10", nested_keyed, model::Scale::percent}, .since = "5.4",
     .help = "Share of time, averaged over the last 10 seconds, that at least one task of the cgroup or its "
             "descendants was stalled waiting for memory."},
    {.name = "pressure_memory_some_avg60", .kind = gauge, .unit = ratio,
     .v2 = {"memory.pressure", "some.avg60", nested_keyed, model::Scale::percent}, .since = "5.4",
     .help = "Share of time, averaged over the last 60 seconds, that at least one task of the cgroup or its "
             "descendants was stalled waiting for memory."},
    {.name = "pressure_memory_some_avg300", .kind = gauge, .unit = ratio,
     .v2 = {"memory.pressure", "some.avg300", nested_keyed, model::Scale::percent}, .since = "5.4",
     .help = "Share of time, averaged over the last 300 seconds, that at least one task of the cgroup or its "
             "descendants was stalled waiting for memory."},
    {.name = "pressure_memory_full", .kind = counter, .unit = seconds,
     .v2 = {"memory.pressure", "full.total", nested_keyed, model::Scale::micro}, .since = "5.4",
     .help = "Time that all non-idle tasks of the cgroup and its descendants were simultaneously stalled waiting for "
             "memory.",
     .cadvisor = "container_pressure_memory_stalled_seconds_total"},
    {.name = "pressure_memory_full_avg10", .kind = gauge, .unit = ratio,
     .v2 = {"memory.pressure", "full.avg10", nested_keyed, model::Scale::percent}, .since = "5.4",
     .help = "Share of time, averaged over the last 10 seconds, that all non-idle tasks of the cgroup and its "
             "descendants were simultaneously stalled waiting for memory."},
    {.name = "pressure_memory_full_avg60", .kind = gauge, .unit = ratio,
     .v2 = {"memory.pressure", "full.avg60", nested_keyed, model::Scale::percent}, .since = "5.4",
     .help = "Share of time, averaged over the last 60 seconds, that all non-idle tasks of the cgroup and its "
             "descendants were simultaneously stalled waiting for memory."},
    {.name = "pressure_memory_full_avg300", .kind = gauge, .unit = ratio,
     .v2 = {"memory.pressure", "full.avg300", nested_keyed, model::Scale::percent}, .since = "5.4",
     .help = "Share of time, averaged over the last 300 seconds, that all non-idle tasks of the cgroup and its "
             "descendants were simultaneously stalled waiting for memory."},
    {.name = "pressure_io_some", .kind = counter, .unit = seconds,
     .v2 = {"io.pressure", "some.total", nested_keyed, model::Scale::micro}, .since = "5.4",
     .help = "Time that at least one task of the cgroup or its descendants was stalled waiting for I/O.",
     .cadvisor = "container_pressure_io_waiting_seconds_total"},
    {.name = "pressure_io_some_avg10", .kind = gauge, .unit = ratio,
     .v2 = {"io.pressure", "some.avg10", nested_keyed, model::Scale::percent}, .since = "5.4",
     .help = "Share of time, averaged over the last 10 seconds, that at least one task of the cgroup or its "
             "descendants was stalled waiting for I/O."},
    {.name = "pressure_io_some_avg60", .kind = gauge, .unit = ratio,
     .v2 = {"io.pressure", "some.avg60", nested_keyed, model::Scale::percent}, .since = "5.4",
     .help = "Share of time, averaged over the last 60 seconds, that at least one task of the cgroup or its "
             "descendants was stalled waiting for I/O."},
    {.name = "pressure_io_some_avg300", .kind = gauge, .unit = ratio,
     .v2 = {"io.pressure", "some.avg300", nested_keyed, model::Scale::percent}, .since = "5.4",
     .help = "Share of time, averaged over the last 300 seconds, that at least one task of the cgroup or its "
             "descendants was stalled waiting for I/O."},
    {.name = "pressure_io_full", .kind = counter, .unit = seconds,
     .v2 = {"io.pressure", "full.total", nested_keyed, model::Scale::micro}, .since = "5.4",
     .help = "Time that all non-idle tasks of the cgroup and its descendants were simultaneously stalled waiting for "
             "I/O.",
     .cadvisor = "container_pressure_io_stalled_seconds_total"},
    {.name = "pressure_io_full_avg10", .kind = gauge, .unit = ratio,
     .v2 = {"io.pressure", "full.avg10", nested_keyed, model::Scale::percent}, .since = "5.4",
     .help = "Share of time, averaged over the last 10 seconds, that all non-idle tasks of the cgroup and its "
             "descendants were simultaneously stalled waiting for I/O."},
    {.name = "pressure_io_full_avg60", .kind = gauge, .unit = ratio,
     .v2 = {"io.pressure", "full.avg60", nested_keyed, model::Scale::percent}, .since = "5.4",
     .help = "Share of time, averaged over the last 60 seconds, that all non-idle tasks of the cgroup and its "
             "descendants were simultaneously stalled waiting for I/O."},
    {.name = "pressure_io_full_avg300", .kind = gauge, .unit = ratio,
     .v2 = {"io.pressure", "full.avg300", nested_keyed, model::Scale::percent}, .since = "5.4",
     .help = "Share of time, averaged over the last 300 seconds, that all non-idle tasks of the cgroup and its "
             "descendants were simultaneously stalled waiting for I/O."},
    {.name = "pressure_irq_full", .kind = counter, .unit = seconds,
     .v2 = {"irq.pressure", "full.total", nested_keyed, model::Scale::micro}, .since = "6.1",
     .help = "Time that all non-idle tasks of the cgroup and its descendants were simultaneously stalled by interrupt "
             "handling."},
    {.name = "pressure_irq_full_avg10", .kind = gauge, .unit = ratio,
     .v2 = {"irq.pressure", "full.avg10", nested_keyed, model::Scale::percent}, .since = "6.1",
     .help = "Share of time, averaged over the last 10 seconds, that all non-idle tasks of the cgroup and its "
             "descendants were simultaneously stalled by interrupt handling."},
    {.name = "pressure_irq_full_avg60", .kind = gauge, .unit = ratio,
     .v2 = {"irq.pressure", "full.avg60", nested_keyed, model::Scale::percent}, .since = "6.1",
     .help = "Share of time, averaged over the last 60 seconds, that all non-idle tasks of the cgroup and its "
             "descendants were simultaneously stalled by interrupt handling."},
    {.name = "pressure_irq_full_avg300", .kind = gauge, .unit = ratio,
     .v2 = {"irq.pressure", "full.avg300", nested_keyed, model::Scale::percent}, .since = "6.1",
     .help = "Share of time, averaged over the last 300 seconds, that all non-idle tasks of the cgroup and its "
             "descendants were simultaneously stalled by interrupt handling."},
};
// clang-format on
static_assert(model::all_well_formed(kPressureRows));

}  // namespace

model::CollectorInfo pressure() {
  return {"pressure", "Pressure stall information: time stalled on CPU, memory, I/O and interrupts (v2 only).", true,
          kPressureRows};
}

}  // namespace cgwarden::collectors
