// SPDX-License-Identifier: Apache-2.0
// One complete collection: updates the tree, reads every cgroup and makes one immutable snapshot.
//
// Thread: one, the sampler's (or the only one of a tool). Snapshots are returned as shared_ptr<const Snapshot>. The
// memory of a released snapshot is reused for a later one, so that a host without changes causes no allocations.
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
  std::vector<bool> enabled = {};  // by CollectorId; empty: the collectors that are enabled by default
  cgroup::Tree::Options tree = {};
  cgroup::ProcessTable::Options processes = {};
  std::size_t max_open_files = 2048;
  CustomOptions custom = {};
};

// The catalogue of this program: all fields of all collectors.
std::shared_ptr<const model::Catalogue> make_catalogue();

class Collection {
 public:
  // Error: no cgroup hierarchy found. `log` takes single lines for the log and is called on the collecting thread.
  static base::Result<std::unique_ptr<Collection>> open(std::shared_ptr<const model::Catalogue> catalogue,
                                                        const CollectionOptions& options,
                                                        const std::function<void(std::string)>& log);

  // The snapshot is not shared yet: the caller may complete it.
  [[nodiscard]] std::shared_ptr<model::Snapshot> collect();
  // Inotify descriptor, readable after cgroups were created or removed; -1 if changes are found by walking.
  [[nodiscard]] int event_fd() const { return tree_.event_fd(); }
  void take_events() { tree_.take_events(); }
  [[nodiscard]] const cgroup::HostHierarchies& hierarchies() const { return host_; }

 private:
  Collection(std::shared_ptr<const model::Catalogue> catalogue, cgroup::HostHierarchies host,
             const CollectionOptions& options, const std::function<void(std::string)>& log);

  // An enabled collector with a CustomReader.
  struct CustomCollector {
    model::CollectorId id = 0;
    std::unique_ptr<CustomReader> reader;
    model::CollectorStats stats;
  };
  void make_custom_readers(const CollectionOptions& options, const std::function<void(std::string)>& log);

  // Holds one released snapshot for reuse; taken and filled by atomic exchange.
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
  std::vector<model::CgroupIndex> removed_;  // removed while this snapshot was read
  std::shared_ptr<Spare> spare_ = std::make_shared<Spare>();
};

}  // namespace cgwarden::collectors
