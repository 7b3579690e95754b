// SPDX-License-Identifier: Apache-2.0
// What the BFQ scheduler counts (v1): Documentation/block/bfq-iosched.rst.
#include "collectors/collectors.h"

namespace cgwarden::collectors {
namespace {

using enum model::Kind;
using enum model::Unit;
using enum model::Shape;

// clang-format off
constexpr model::Field kIoBfqRows[] = {
    {.name = "io_bfq_read", .kind = counter, .unit = bytes,
     .v1 = {"blkio.bfq.io_service_bytes_recursive", "Read", blkio}, .labels = "device", .since = "5.4",
     .help = "Bytes of reads that BFQ dispatched.", .cadvisor = "container_fs_reads_bytes_total"},
    {.name = "io_bfq_write", .kind = counter, .unit = bytes,
     .v1 = {"blkio.bfq.io_service_bytes_recursive", "Write", blkio}, .labels = "device", .since = "5.4",
     .help = "Bytes of writes that BFQ dispatched.", .cadvisor = "container_fs_writes_bytes_total"},
    {.name = "io_bfq_discard", .kind = counter, .unit = bytes,
     .v1 = {"blkio.bfq.io_service_bytes_recursive", "Discard", blkio}, .labels = "device", .since = "5.4",
     .help = "Bytes of discards that BFQ dispatched."},
    {.name = "io_bfq_reads", .kind = counter, .v1 = {"blkio.bfq.io_serviced_recursive", "Read", blkio},
     .labels = "device", .since = "5.4", .help = "Operations that BFQ dispatched, reads.",
     .cadvisor = "container_fs_reads_total"},
    {.name = "io_bfq_writes", .kind = counter, .v1 = {"blkio.bfq.io_serviced_recursive", "Write", blkio},
     .labels = "device", .since = "5.4", .help = "Operations that BFQ dispatched, writes.",
     .cadvisor = "container_fs_writes_total"},
    {.name = "io_bfq_discards", .kind = counter, .v1 = {"blkio.bfq.io_serviced_recursive", "Discard", blkio},
     .labels = "device", .since = "5.4", .help = "Operations that BFQ dispatched, discards."},
    {.name = "io_bfq_time", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.time_recursive", "", blkio, model::Scale::milli}, .labels = "device", .since = "5.4",
     .help = "Device time that BFQ gave to the cgroup."},
    {.name = "io_bfq_transferred", .kind = counter, .unit = bytes,
     .v1 = {"blkio.bfq.sectors_recursive", "", blkio, model::Scale::sector}, .labels = "device", .since = "5.4",
     .help = "Bytes moved in either direction, counted in sectors."},
    {.name = "io_bfq_read_service", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.io_service_time_recursive", "Read", blkio, model::Scale::nano}, .labels = "device",
     .since = "5.4", .help = "Time from dispatch to completion, reads.", .cadvisor = "container_fs_read_seconds_total"},
    {.name = "io_bfq_write_service", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.io_service_time_recursive", "Write", blkio, model::Scale::nano}, .labels = "device",
     .since = "5.4", .help = "Time from dispatch to completion, writes.",
     .cadvisor = "container_fs_write_seconds_total"},
    {.name = "io_bfq_discard_service", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.io_service_time_recursive", "Discard", blkio, model::Scale::nano}, .labels = "device",
     .since = "5.4", .help = "Time from dispatch to completion, discards."},
    {.name = "io_bfq_read_wait", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.io_wait_time_recursive", "Read", blkio, model::Scale::nano}, .labels = "device", .since = "5.4",
     .help = "Time spent in the queues of the scheduler, reads."},
    {.name = "io_bfq_write_wait", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.io_wait_time_recursive", "Write", blkio, model::Scale::nano}, .labels = "device", .since = "5.4",
     .help = "Time spent in the queues of the scheduler, writes."},
    {.name = "io_bfq_discard_wait", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.io_wait_time_recursive", "Discard", blkio, model::Scale::nano}, .labels = "device",
     .since = "5.4", .help = "Time spent in the queues of the scheduler, discards."},
    {.name = "io_bfq_reads_queued", .kind = gauge, .v1 = {"blkio.bfq.io_queued_recursive", "Read", blkio},
     .labels = "device", .since = "5.4", .help = "Requests in the queue now, reads."},
    {.name = "io_bfq_writes_queued", .kind = gauge, .v1 = {"blkio.bfq.io_queued_recursive", "Write", blkio},
     .labels = "device", .since = "5.4", .help = "Requests in the queue now, writes."},
    {.name = "io_bfq_discards_queued", .kind = gauge, .v1 = {"blkio.bfq.io_queued_recursive", "Discard", blkio},
     .labels = "device", .since = "5.4", .help = "Requests in the queue now, discards."},
    {.name = "io_bfq_reads_merged", .kind = counter, .v1 = {"blkio.bfq.io_merged_recursive", "Read", blkio},
     .labels = "device", .since = "5.4", .help = "Requests merged with another, reads.",
     .cadvisor = "container_fs_reads_merged_total"},
    {.name = "io_bfq_writes_merged", .kind = counter, .v1 = {"blkio.bfq.io_merged_recursive", "Write", blkio},
     .labels = "device", .since = "5.4", .help = "Requests merged with another, writes.",
     .cadvisor = "container_fs_writes_merged_total"},
    {.name = "io_bfq_discards_merged", .kind = counter, .v1 = {"blkio.bfq.io_merged_recursive", "Discard", blkio},
     .labels = "device", .since = "5.4", .help = "Requests merged with another, discards."},
    {.name = "io_bfq_group_wait", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.group_wait_time", "", blkio, model::Scale::nano}, .labels = "device", .since = "5.4",
     .help = "Time in which the cgroup had requests and waited for its slice."},
    {.name = "io_bfq_idle", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.idle_time", "", blkio, model::Scale::nano}, .labels = "device", .since = "5.4",
     .help = "Time the scheduler idled in the hope of a better request of the cgroup."},
    {.name = "io_bfq_empty", .kind = counter, .unit = seconds,
     .v1 = {"blkio.bfq.empty_time", "", blkio, model::Scale::nano}, .labels = "device", .since = "5.4",
     .help = "Time without a request of the cgroup pending."},
    {.name = "io_bfq_dequeued", .kind = counter, .v1 = {"blkio.bfq.dequeue", "", blkio}, .labels = "device",
     .since = "5.4", .help = "Times the cgroup was taken out of the service tree."},
    {.name = "io_bfq_queue_size", .kind = gauge, .v1 = {"blkio.bfq.avg_queue_size", "", blkio}, .labels = "device",
     .since = "5.4", .help = "Average length of the queue of the cgroup."},
};
// clang-format on
static_assert(model::all_well_formed(kIoBfqRows));

}  // namespace

model::CollectorInfo io_bfq() {
  return {"io_bfq", "Statistics of the BFQ scheduler (v1 only), where devices use it.", false, kIoBfqRows};
}

}  // namespace cgwarden::collectors
