// SPDX-License-Identifier: Apache-2.0
// Container facts of discovery as labels of the cgroup series and as families:
//   cgroup_container_info{cgroup,container,runtime,role,id,image,...} 1         to join with any cgroup series
//   cgroup_container_state{cgroup,container,runtime,state="running"} 1
//   cgroup_container_start_time_seconds, _creation_time_seconds, _finish_time_seconds, _exit_code, _restarts
// Unknown facts have no label and no sample. Stateless; any thread.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "exporter/buffer.h"
#include "exporter/exposition.h"
#include "exporter/text_writer.h"
#include "src/model/container.h"
#include "src/model/snapshot.h"

namespace cgwarden::exporter {

// path_label() and, for the cgroup of a container, `container` (its name) and `runtime`. `table` returns the latest
// table or null; after a change the writer must reset its labels.
LabelSource container_labels(std::function<std::shared_ptr<const model::Containers>()> table);

// Appends the families of snapshot.containers; returns the number of series.
std::size_t write_containers(const model::Snapshot& snapshot, Format format, Buffer& out);

}  // namespace cgwarden::exporter
