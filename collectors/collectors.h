// SPDX-License-Identifier: Apache-2.0
// The list of collectors. A new one is a file in this folder and a line in collectors.cpp.
#pragma once

#include <span>

#include "src/model/catalogue.h"

namespace cgwarden::collectors {

std::span<const model::CollectorInfo> all();

// One or more per file of this folder.
model::CollectorInfo cgroup_core();
model::CollectorInfo cpu();
model::CollectorInfo percpu();
model::CollectorInfo memory();
model::CollectorInfo memory_local();
model::CollectorInfo memory_numa();
model::CollectorInfo kmem();
model::CollectorInfo io();
model::CollectorInfo io_bfq();
model::CollectorInfo pids();
model::CollectorInfo pressure();
model::CollectorInfo cpuset();
model::CollectorInfo cpuset_pressure();
model::CollectorInfo hugetlb();
model::CollectorInfo rdma();
model::CollectorInfo misc();
model::CollectorInfo dmem();
model::CollectorInfo freezer();
model::CollectorInfo net();
model::CollectorInfo devices();
model::CollectorInfo local();

}  // namespace cgwarden::collectors
