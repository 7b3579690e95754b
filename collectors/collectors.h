// SPDX-License-Identifier: Apache-2.0
// The list of collectors. A new collector is a file in this folder and a line in collectors.cpp.
//
// A collector is a table of fields. If its values are not in interface files of the cgroup, it also provides a
// CustomReader.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "src/cgroup/hierarchy.h"
#include "src/cgroup/processes.h"
#include "src/cgroup/tree.h"
#include "src/model/catalogue.h"
#include "src/model/snapshot.h"

namespace cgwarden::collectors {

// Options of collectors with a CustomReader.
struct CustomOptions {
  std::size_t max_removed = 512;          // removed cgroups that are exported
  std::chrono::seconds removed_for{300};  // how long they are exported
};

// What a CustomReader is constructed with. All references outlive it.
struct CustomContext {
  const model::Catalogue& catalogue;
  const cgroup::HostHierarchies& host;
  const cgroup::HostPaths& paths;
  cgroup::ProcessTable& processes;  // shared by all readers; Collection begins and ends its samples
  cgroup::Tree& tree;
  CustomOptions options;
  std::function<void(std::string)> log;  // takes single lines for the log
};

// Fills the columns of its collector's fields. The columns are empty at begin(). read() is called once for each cgroup
// that could be read, in order. At end() the columns of all collectors with interface files are filled. The reader
// counts reads and errors, Collection measures the time.
//
// Thread: the sampler's. Errors: as cgroup::Reader, which distinguishes absent, unlimited, error and a removed cgroup.
class CustomReader {
 public:
  CustomReader() = default;
  CustomReader(const CustomReader&) = delete;
  CustomReader& operator=(const CustomReader&) = delete;
  virtual ~CustomReader() = default;
  virtual void begin(model::Snapshot&) {}
  virtual void read(const cgroup::Tree&, cgroup::Node&, model::CgroupIndex, model::Snapshot&, model::CollectorStats&) {}
  virtual void end(model::Snapshot&, model::CollectorStats&) {}
};

struct Collector {
  model::CollectorInfo info;
  std::unique_ptr<CustomReader> (*make_reader)(const CustomContext&) = nullptr;
};

std::span<const Collector> all();

// Each file of this folder defines one or more of these.
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
model::CollectorInfo hugetlb_numa();
model::CollectorInfo rdma();
model::CollectorInfo misc();
model::CollectorInfo dmem();
model::CollectorInfo freezer();
model::CollectorInfo net();
model::CollectorInfo devices();
model::CollectorInfo device_rules();
model::CollectorInfo local();
Collector effective();
Collector namespaces();
Collector io_devices();
Collector network();
Collector processes();
Collector process_states();
Collector process_files();
Collector removed();
Collector tcp();
Collector perf_event();
Collector bpf();

}  // namespace cgwarden::collectors
