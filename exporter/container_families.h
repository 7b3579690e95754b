// SPDX-License-Identifier: Apache-2.0
// What discovery knows of the containers, as labels on the cgroups' series and as families of its own:
//   cgroup_container_info{cgroup,container,runtime,role,id,image,...} 1        to be joined on the labels of every
//   series cgroup_container_state{cgroup,container,runtime,state="running"} 1 cgroup_container_start_time_seconds,
//   _creation_time_seconds, _finish_time_seconds, _exit_code, _restarts
// What is not known has no label and no sample. Stateless: any thread.
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

// path_label() and, for a container's own cgroup, `container` (its name) and `runtime`. `table` gives the newest table
// or null; when it changes, the writer has to forget its labels.
LabelSource container_labels(std::function<std::shared_ptr<const model::Containers>()> table);

// Appends the families of snapshot.containers; returns how many series that are.
std::size_t write_containers(const model::Snapshot& snapshot, Format format, Buffer& out);

}  // namespace cgwarden::exporter
