// SPDX-License-Identifier: Apache-2.0
// Fixture with a Collection of this machine and accessors for its snapshots.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "collectors/collection.h"
#include "src/base/text.h"
#include "tests/kernel/test_cgroup.h"

namespace cgwarden::testing_kernel {

class CollectedTest : public CgroupTest {
 protected:
  // Opens the collection with the named collectors; without names, with those that are enabled by default.
  void open(const std::vector<std::string>& collectors = {}, const cgroup::ProcessTable::Options& processes = {}) {
    collectors::CollectionOptions options;
    options.processes = processes;
    if (!collectors.empty()) options.enabled.assign(catalogue->collectors().size(), false);
    for (const auto& name : collectors) options.enabled[catalogue->find_collector(name).value()] = true;
    auto opened = collectors::Collection::open(catalogue, options,
                                               [this](const std::string& line) { log_lines.push_back(line); });
    ASSERT_TRUE(opened) << opened.error().what;
    collection = std::move(*opened);
  }

  void collect() { snapshot = collection->collect(); }

  [[nodiscard]] model::CgroupIndex index_of(const std::string& path) const {
    for (model::CgroupIndex i = 0; i < snapshot->cgroup_count(); ++i) {
      if (snapshot->cgroup_list->cgroups[i]->path == path) return i;
    }
    return model::kNoCgroup;
  }

  // Returns the value of one of the test's own cgroups.
  [[nodiscard]] model::Value value(const std::string& field, const std::string& cgroup) const {
    return snapshot->value(catalogue->find(field).value(), index_of(path(cgroup)));
  }

  struct Series {
    std::vector<std::string> labels;
    std::int64_t value = 0;
  };

  [[nodiscard]] std::vector<Series> series(const std::string& field, model::CgroupIndex cgroup) const {
    std::vector<Series> out;
    const auto& column = snapshot->columns[catalogue->find(field).value()];
    for (const auto& cell : column.series) {
      if (cell.cgroup != cgroup) continue;
      Series one{{}, cell.value.fixed()};
      for (auto text = column.text_of(cell);;) {
        const bool last = text.find('\0') == std::string_view::npos;
        one.labels.emplace_back(base::take_until(text, '\0'));
        if (last) break;
      }
      out.push_back(std::move(one));
    }
    return out;
  }
  [[nodiscard]] std::vector<Series> series(const std::string& field, const std::string& cgroup) const {
    return series(field, index_of(path(cgroup)));
  }

  [[nodiscard]] std::uint64_t errors(const std::string& collector) const {
    return snapshot->collectors[catalogue->find_collector(collector).value()].errors;
  }

  std::shared_ptr<const model::Catalogue> catalogue = collectors::make_catalogue();
  std::unique_ptr<collectors::Collection> collection;
  model::SnapshotPtr snapshot;
  std::vector<std::string> log_lines;
};

}  // namespace cgwarden::testing_kernel
