// SPDX-License-Identifier: Apache-2.0
// Fills a snapshot's columns for one cgroup: the seam behind which text files could be replaced by something faster.
//
// What is read of a cgroup follows from the catalogue and from the hierarchies the cgroup is in: a Plan, shared by all
// cgroups of the same kind. A field with a v1 and a v2 source is read from v1 where the cgroup is in that controller's
// hierarchy, else from v2.
//
// Thread: the sampler's. Errors: counted per collector, and told once per cause through `notice`. A missing file is
// absent, a cgroup that vanishes while it is read is dropped from the snapshot.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "src/cgroup/devices.h"
#include "src/cgroup/hierarchy.h"
#include "src/cgroup/quiet.h"
#include "src/cgroup/shapes.h"
#include "src/cgroup/tree.h"
#include "src/model/snapshot.h"

namespace cgwarden::cgroup {

class Reader {
 public:
  struct Options {
    std::vector<bool> collectors;       // which are on, by CollectorId
    std::size_t max_open_files = 2048;  // interface files kept open
  };

  Reader(std::shared_ptr<const model::Catalogue> catalogue, const HostHierarchies& host, const HostPaths& paths,
         Options options, std::function<void(std::string)> notice);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // Empties the snapshot's columns; its roster is set already.
  void begin(model::Snapshot& snapshot);
  // False: the cgroup vanished meanwhile and has no values in this snapshot.
  bool read(Tree& tree, Node& node, model::CgroupIndex cgroup, model::Snapshot& snapshot);
  // Writes the collectors' statistics.
  void end(model::Snapshot& snapshot);

 private:
  struct Plan;
  struct PlannedFile;
  class Sink;
  enum class Got { text, absent, vanished, error };

  int plan_for(const Node& node);
  std::unique_ptr<Plan> make_plan(std::uint32_t mask) const;
  void add_rules(Plan& plan) const;
  [[nodiscard]] bool in_v1(std::uint32_t mask, std::string_view controller) const;
  const model::Source* choose_source(const model::Field& field, std::uint32_t mask, std::size_t& hierarchy) const;
  void prepare(Tree& tree, Node& node, int plan);
  void list_files(Tree& tree, Node& node) const;
  void close_files(Node& node);
  Got fetch(const Tree& tree, const Node& node, const PlannedFile& file, OpenFile& slot, std::string_view& text);
  [[nodiscard]] bool need_not_read(const Tree& tree, const Node& node, const PlannedFile& file,
                                   const OpenFile& slot) const;
  [[nodiscard]] bool holds(const SkipRule& rule, const Node& node, const Dir& dir) const;
  [[nodiscard]] std::uint32_t change_count_of(const SkipRule& rule, const Tree& tree, std::size_t hierarchy) const;
  static void update_limits(const PlannedFile& file, Got got, std::string_view text, Node& node);
  void read_oom_kills();
  Got read_text(int fd, bool to_the_end, std::string_view& text);
  void drop(model::CgroupIndex cgroup, model::Snapshot& snapshot) const;
  void log_once(const std::string& cause, const std::string& text);

  std::shared_ptr<const model::Catalogue> catalogue_;
  std::vector<Hierarchy> hierarchies_;
  std::vector<std::string> page_sizes_;
  Options options_;
  std::function<void(std::string)> notice_;
  DeviceNames devices_;
  std::vector<std::unique_ptr<Plan>> plans_;
  std::map<std::uint32_t, int> plan_of_mask_;
  std::vector<model::CollectorStats> stats_;
  std::vector<char> buffer_;
  std::set<std::string> told_;
  std::size_t open_files_ = 0;  // met in this round
  std::size_t budget_ = 0;      // how many more may be kept in this round
  std::uint32_t now_ = 1;       // seconds, coarse: when absent files are tried again
  base::Fd vmstat_;
  std::uint64_t oom_kills_ = 0;    // of the host
  std::uint32_t oom_changes_ = 0;  // changes with it
  base::Monotonic devices_read_{};
};

}  // namespace cgwarden::cgroup
