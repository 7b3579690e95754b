// SPDX-License-Identifier: Apache-2.0
// Statistics of the BFQ I/O scheduler (v1): Documentation/block/bfq-iosched.rst.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::MetricKind;
using enum model::Unit;
using enum model::Shape;

// clang-format off
constexpr model::Field kIoBfqRows[] = {
    {.name = "io_bfq_read", .kind = counter, .unit = bytes,
     .v1 = {"blkio.bfq.io_service_bytes_recursive", "Read", blkio}, .labels = "device", .since = "5.4",
     .help = "Bytes read through BFQ by the cgroup and its descendants, by device.",
     .cadvisor = "container_fs_reads_bytes_total"},
    {.name = "io_bfq_write", .kind = counter, .unit = bytes,
     .v1 = {"blkio.bfq.io_service_bytes_recursive", "Write", blkio}, .labels = "device", .since = "5.4",
     .help = "Bytes written through BFQ by the cgroup and its descendants, by device.",
     .cadvisor = "container_fs_writes_bytes_total"},
    {.name = "io_bfq_discard", .kind = counter, .unit = bytes,
     .v1 = {"blkio.bfq.io_service_bytes_recursive", "Discard", blkio}, .labels = "device", .since = "5.4",
     .help = "Bytes discarded through BFQ by the cgroup and its descendants, by device."},
    {.name = "io_bfq_reads", .kind = counter, .v1 = {"blkio.bfq.io_serviced_recursive", "Read", blkio},
     .labels = "device", .since = "5.4",
     .help = "Read operations dispatched by BFQ for the cgroup and its descendants, by device.",
     .cadvisor = "container_fs_reads_total"},
    {.name = "io_bfq_writes", .kind = counter, .v1 = {"blkio.bfq.io_serviced_recursive", "Write", blkio},
     .labels = "device", .since = "5.4",
     .help = "Write operations dispatched by BFQ for the cgroup and its descendants, by device.",
     .cadvisor = "container_fs_writes_total"},
    {.name = "io_bfq_discards", .kind = counter, .v1 = {"blkio.bfq.io_serviced_recursive", "Discard", blkio},
     .labels = "device", .since = "5.4",
     .help = "Discard operations dispatched by BFQ for the cgroup and its descendants, by device."},
    {.name = "io_bfq_time", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.time_recursive", "", blkio, model::Scale::milli}, .labels = "device", .since = "5.4",
     .help = "Device time allocated by BFQ to the cgroup and its descendants, by device."},
    {.name = "io_bfq_transferred", .kind = counter, .unit = bytes,
     .v1 = {"blkio.bfq.sectors_recursive", "", blkio, model::Scale::sector}, .labels = "device", .since = "5.4",
     .help = "Bytes transferred through BFQ in both directions by the cgroup and its descendants, by device (counted "
             "in 512-byte sectors)."},
    {.name = "io_bfq_read_service", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.io_service_time_recursive", "Read", blkio, model::Scale::nano}, .labels = "device",
     .since = "5.4",
     .help = "Time between dispatch and completion of read requests of the cgroup and its descendants, by device.",
     .cadvisor = "container_fs_read_seconds_total"},
    {.name = "io_bfq_write_service", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.io_service_time_recursive", "Write", blkio, model::Scale::nano}, .labels = "device",
     .since = "5.4",
     .help = "Time between dispatch and completion of write requests of the cgroup and its descendants, by device.",
     .cadvisor = "container_fs_write_seconds_total"},
    {.name = "io_bfq_discard_service", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.io_service_time_recursive", "Discard", blkio, model::Scale::nano}, .labels = "device",
     .since = "5.4",
     .help = "Time between dispatch and completion of discard requests of the cgroup and its descendants, by device."},
    {.name = "io_bfq_read_wait", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.io_wait_time_recursive", "Read", blkio, model::Scale::nano}, .labels = "device", .since = "5.4",
     .help = "Time that read requests of the cgroup and its descendants waited in scheduler queues, by device."},
    {.name = "io_bfq_write_wait", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.io_wait_time_recursive", "Write", blkio, model::Scale::nano}, .labels = "device", .since = "5.4",
     .help = "Time that write requests of the cgroup and its descendants waited in scheduler queues, by device."},
    {.name = "io_bfq_discard_wait", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.io_wait_time_recursive", "Discard", blkio, model::Scale::nano}, .labels = "device",
     .since = "5.4",
     .help = "Time that discard requests of the cgroup and its descendants waited in scheduler queues, by device."},
    {.name = "io_bfq_reads_queued", .kind = gauge, .v1 = {"blkio.bfq.io_queued_recursive", "Read", blkio},
     .labels = "device", .since = "5.4",
     .help = "Read requests of the cgroup and its descendants that are queued, by device."},
    {.name = "io_bfq_writes_queued", .kind = gauge, .v1 = {"blkio.bfq.io_queued_recursive", "Write", blkio},
     .labels = "device", .since = "5.4",
     .help = "Write requests of the cgroup and its descendants that are queued, by device."},
    {.name = "io_bfq_discards_queued", .kind = gauge, .v1 = {"blkio.bfq.io_queued_recursive", "Discard", blkio},
     .labels = "device", .since = "5.4",
     .help = "Discard requests of the cgroup and its descendants that are queued, by device."},
    {.name = "io_bfq_reads_merged", .kind = counter, .v1 = {"blkio.bfq.io_merged_recursive", "Read", blkio},
     .labels = "device", .since = "5.4",
     .help = "Read requests of the cgroup and its descendants that were merged with another request, by device.",
     .cadvisor = "container_fs_reads_merged_total"},
    {.name = "io_bfq_writes_merged", .kind = counter, .v1 = {"blkio.bfq.io_merged_recursive", "Write", blkio},
     .labels = "device", .since = "5.4",
     .help = "Write requests of the cgroup and its descendants that were merged with another request, by device.",
     .cadvisor = "container_fs_writes_merged_total"},
    {.name = "io_bfq_discards_merged", .kind = counter, .v1 = {"blkio.bfq.io_merged_recursive", "Discard", blkio},
     .labels = "device", .since = "5.4",
     .help = "Discard requests of the cgroup and its descendants that were merged with another request, by device."},
    {.name = "io_bfq_group_wait", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.group_wait_time", "", blkio, model::Scale::nano}, .labels = "device", .since = "5.4",
     .help = "Time that the cgroup itself had pending requests and waited for its time slice, by device."},
    {.name = "io_bfq_idle", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.idle_time", "", blkio, model::Scale::nano}, .labels = "device", .since = "5.4",
     .help = "Time that BFQ idled in anticipation of a better request of the cgroup itself, by device."},
    {.name = "io_bfq_empty", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.empty_time", "", blkio, model::Scale::nano}, .labels = "device", .since = "5.4",
     .help = "Time that the cgroup itself had no pending requests, by device."},
    {.name = "io_bfq_dequeued", .kind = counter, .v1 = {"blkio.bfq.dequeue", "", blkio}, .labels = "device",
     .since = "5.4",
     .help = "Times that the cgroup itself was dequeued from the BFQ service tree, by device."},
    {.name = "io_bfq_queue_size", .kind = gauge, .v1 = {"blkio.bfq.avg_queue_size", "", blkio}, .labels = "device",
     .since = "5.4", .help = "Average queue size of the cgroup itself, by device."},
};
// clang-format on
static_assert(model::all_well_formed(kIoBfqRows));

}  // namespace

model::CollectorInfo io_bfq() {
  return {"io_bfq", "Statistics of the BFQ I/O scheduler (v1 only), for devices that use it.", false, kIoBfqRows};
}

}  // namespace cgwarden::collectors
