// SPDX-License-Identifier: Apache-2.0
// The list of collectors. A new one is a file in this folder and a line in collectors.cpp.
//
// A collector is rows. One that is odd, because what it says is in no interface file of the cgroup, brings an
// OddReader.
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

// What may be set of odd collectors.
struct CustomOptions {
  std::size_t max_ended = 512;          // ended cgroups kept
  std::chrono::seconds ended_for{300};  // and how long
};

// What an odd collector is made with. All references outlive it.
struct CustomContext {
  const model::Catalogue& catalogue;
  const cgroup::HostHierarchies& host;
  const cgroup::HostPaths& paths;
  cgroup::ProcessTable& processes;  // shared by all; the collection begins and ends its rounds
  cgroup::Tree& tree;
  CustomOptions options;
  std::function<void(std::string)> notice;  // single lines for the log
};

// Fills the columns of its collector's rows. The columns are empty at begin(); read() comes once for each cgroup that
// could be read, in order; at end() the columns of all collectors with interface files are there. Reads and errors are
// counted by the reader, time by the collection.
//
// Thread: the sampler's. Errors: as cgroup::Reader: absent, unlimited, error and vanished are different things.
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
Collector ended();
Collector tcp();
Collector perf_event();
Collector bpf();

}  // namespace cgwarden::collectors
