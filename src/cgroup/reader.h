// SPDX-License-Identifier: Apache-2.0
// Reads the interface files of a cgroup into the columns of a snapshot. This class hides the text files, so that a
// faster interface could replace them.
//
// The files to read follow from the catalogue and from the hierarchies that contain the cgroup. They form a Plan, which
// all cgroups in the same hierarchies share. A field with a v1 and a v2 source is read from v1 if the cgroup is in the
// v1 hierarchy of that controller, else from v2.
//
// Thread: the sampler's. Errors: counted per collector, and logged once per cause through `log`. The values of a
// missing file are absent. A cgroup that is removed while it is read has no values in the snapshot.
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
#include "src/cgroup/shapes.h"
#include "src/cgroup/skip_rules.h"
#include "src/cgroup/tree.h"
#include "src/model/snapshot.h"

namespace cgwarden::cgroup {

class Reader {
 public:
  struct Options {
    std::vector<bool> collectors;       // which collectors are enabled, by CollectorId
    std::size_t max_open_files = 2048;  // interface files that stay open between samples
  };

  Reader(std::shared_ptr<const model::Catalogue> catalogue, const HostHierarchies& host, const HostPaths& paths,
         Options options, std::function<void(std::string)> log);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // Starts a sample: empties the columns of the snapshot, whose cgroup list is already set.
  void begin(model::Snapshot& snapshot);
  // Returns false if the cgroup was removed meanwhile; it then has no values in this snapshot.
  bool read(Tree& tree, Node& node, model::CgroupIndex cgroup, model::Snapshot& snapshot);
  // Ends the sample: writes the statistics of the collectors.
  void end(model::Snapshot& snapshot);

 private:
  struct Plan;
  struct PlannedFile;
  class Sink;
  enum class ReadStatus { ok, absent, gone, error };  // absent: no such file; gone: no such cgroup

  int plan_for(const Node& node);
  std::unique_ptr<Plan> make_plan(std::uint32_t mask) const;
  void add_skip_rules(Plan& plan) const;
  [[nodiscard]] bool in_v1(std::uint32_t mask, std::string_view controller) const;
  const model::Source* choose_source(const model::Field& field, std::uint32_t mask, std::size_t& hierarchy) const;
  void prepare(Tree& tree, Node& node, int plan);
  void list_files(Tree& tree, Node& node) const;
  void close_files(Node& node);
  ReadStatus fetch(const Tree& tree, const Node& node, const PlannedFile& file, OpenFile& slot, std::string_view& text);
  [[nodiscard]] bool can_skip_read(const Tree& tree, const Node& node, const PlannedFile& file,
                                   const OpenFile& slot) const;
  [[nodiscard]] bool rule_applies(const SkipRule& rule, const Node& node, const Dir& dir) const;
  [[nodiscard]] std::uint32_t change_count_of(const SkipRule& rule, const Tree& tree, std::size_t hierarchy) const;
  static void update_limits(const PlannedFile& file, ReadStatus status, std::string_view text, Node& node);
  void read_oom_kills();
  ReadStatus read_text(int fd, bool read_to_eof, std::string_view& text);
  void drop(model::CgroupIndex cgroup, model::Snapshot& snapshot) const;
  void log_once(const std::string& cause, const std::string& text);

  std::shared_ptr<const model::Catalogue> catalogue_;
  std::vector<Hierarchy> hierarchies_;
  std::vector<std::string> page_sizes_;
  Options options_;
  std::function<void(std::string)> log_;
  DeviceNames devices_;
  std::vector<std::unique_ptr<Plan>> plans_;
  std::map<std::uint32_t, int> plan_of_mask_;
  std::vector<model::CollectorStats> stats_;
  std::vector<char> buffer_;
  std::set<std::string> logged_;
  std::size_t open_files_ = 0;  // files that this sample leaves open
  std::size_t fd_budget_ = 0;   // how many more files may stay open in this sample
  std::uint32_t now_ = 1;       // start of the sample, seconds
  base::Fd vmstat_;
  std::uint64_t oom_kills_ = 0;    // of the host, from /proc/vmstat
  std::uint32_t oom_changes_ = 0;  // incremented when oom_kills_ changed or is unknown
  base::Monotonic devices_read_{};
};

}  // namespace cgwarden::cgroup
