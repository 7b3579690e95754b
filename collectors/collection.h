// SPDX-License-Identifier: Apache-2.0
// One whole collection: the tree brought up to date, every cgroup read, one immutable snapshot.
//
// Thread: one, the sampler's (or a tool's only one). Snapshots are handed out as shared_ptr<const Snapshot>; the memory
// of a released one is used again for a later one, so that a steady host costs no allocation.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "collectors/collectors.h"
#include "src/base/result.h"
#include "src/cgroup/hierarchy.h"
#include "src/cgroup/processes.h"
#include "src/cgroup/reader.h"
#include "src/cgroup/tree.h"
#include "src/model/snapshot.h"

namespace cgwarden::collectors {

struct CollectionOptions {
  cgroup::HostPaths paths = {};
  std::vector<bool> enabled = {};  // by CollectorId; empty: those that are on by default
  cgroup::Tree::Options tree = {};
  cgroup::ProcessTable::Options processes = {};
  std::size_t max_open_files = 2048;
  CustomOptions custom = {};
};

// The catalogue of this program: all rows of all collectors.
std::shared_ptr<const model::Catalogue> make_catalogue();

class Collection {
 public:
  // Error: no hierarchy to read. `notice` gets single lines for the log, on this thread.
  static base::Result<std::unique_ptr<Collection>> open(std::shared_ptr<const model::Catalogue> catalogue,
                                                        const CollectionOptions& options,
                                                        const std::function<void(std::string)>& notice);

  // Not yet handed out: the caller may complete it.
  [[nodiscard]] std::shared_ptr<model::Snapshot> collect();
  // Readable when cgroups were born or died; -1 when they are found by walking.
  [[nodiscard]] int event_fd() const { return tree_.event_fd(); }
  void take_events() { tree_.take_events(); }
  [[nodiscard]] const cgroup::HostHierarchies& hierarchies() const { return host_; }

 private:
  Collection(std::shared_ptr<const model::Catalogue> catalogue, cgroup::HostHierarchies host,
             const CollectionOptions& options, const std::function<void(std::string)>& notice);

  // An odd collector that is on.
  struct CustomCollector {
    model::CollectorId id = 0;
    std::unique_ptr<CustomReader> reader;
    model::CollectorStats stats;
  };
  void make_custom_readers(const CollectionOptions& options, const std::function<void(std::string)>& notice);

  // Where released snapshots wait: one place, taken and filled by exchange.
  struct Spare {
    std::atomic<model::Snapshot*> snapshot{nullptr};
    ~Spare() { delete snapshot.load(); }
  };

  std::shared_ptr<const model::Catalogue> catalogue_;
  cgroup::HostHierarchies host_;
  std::shared_ptr<const std::vector<model::HierarchyInfo>> infos_;
  cgroup::Tree tree_;
  cgroup::HostPaths paths_;
  cgroup::Reader reader_;
  cgroup::ProcessTable processes_;
  std::vector<CustomCollector> custom_;
  std::vector<model::CgroupIndex> vanished_;  // while this snapshot was read
  std::shared_ptr<Spare> spare_ = std::make_shared<Spare>();
};

}  // namespace cgwarden::collectors
