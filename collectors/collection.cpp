// SPDX-License-Identifier: Apache-2.0
#include "collectors/collection.h"

#include <utility>

#include "src/base/clock.h"

namespace cgwarden::collectors {
namespace {

std::vector<bool> enabled_or_default(const model::Catalogue& catalogue, const std::vector<bool>& enabled) {
  if (!enabled.empty()) return enabled;
  std::vector<bool> out;
  for (const auto& collector : catalogue.collectors()) out.push_back(collector.on_by_default);
  return out;
}

std::shared_ptr<const std::vector<model::HierarchyInfo>> describe(const cgroup::HostHierarchies& host) {
  auto infos = std::make_shared<std::vector<model::HierarchyInfo>>();
  for (const auto& h : host.all) {
    std::string controllers;
    for (const auto& controller : h.controllers) controllers += (controllers.empty() ? "" : ",") + controller;
    if (!h.name.empty()) controllers += (controllers.empty() ? "name=" : ",name=") + h.name;
    infos->push_back({h.version, std::move(controllers), h.mount_point});
  }
  return infos;
}

}  // namespace

std::shared_ptr<const model::Catalogue> make_catalogue() {
  std::vector<model::CollectorInfo> infos;
  for (const auto& collector : all()) infos.push_back(collector.info);
  return std::make_shared<const model::Catalogue>(infos);
}

base::Result<std::unique_ptr<Collection>> Collection::open(std::shared_ptr<const model::Catalogue> catalogue,
                                                           const CollectionOptions& options,
                                                           const std::function<void(std::string)>& log) {
  auto host = cgroup::find_hierarchies(options.paths);
  if (!host) return tl::unexpected(host.error());
  return std::unique_ptr<Collection>(new Collection(std::move(catalogue), std::move(*host), options, log));
}

Collection::Collection(std::shared_ptr<const model::Catalogue> catalogue, cgroup::HostHierarchies host,
                       const CollectionOptions& options, const std::function<void(std::string)>& log)
    : catalogue_(std::move(catalogue)),
      host_(std::move(host)),
      infos_(describe(host_)),
      tree_(host_.all, options.tree, log),
      paths_(options.paths),
      reader_(catalogue_, host_, paths_, {enabled_or_default(*catalogue_, options.enabled), options.max_open_files},
              log),
      processes_(host_, paths_, options.processes, log) {
  make_custom_readers(options, log);
}

void Collection::make_custom_readers(const CollectionOptions& options, const std::function<void(std::string)>& log) {
  const auto enabled = enabled_or_default(*catalogue_, options.enabled);
  for (const auto& collector : all()) {
    const auto id = catalogue_->find_collector(collector.info.name);
    if (!id || collector.make_reader == nullptr || *id >= enabled.size() || !enabled[*id]) continue;
    custom_.push_back(
        {*id, collector.make_reader({*catalogue_, host_, paths_, processes_, tree_, options.custom, log}), {}});
    custom_.back().stats.enabled = true;
  }
}

std::shared_ptr<model::Snapshot> Collection::collect() {
  std::unique_ptr<model::Snapshot> snapshot(spare_->snapshot.exchange(nullptr, std::memory_order_acq_rel));
  if (!snapshot) snapshot = std::make_unique<model::Snapshot>();

  snapshot->begun = base::monotonic_now();
  tree_.refresh();
  const auto& nodes = tree_.nodes();
  snapshot->catalogue = catalogue_;
  snapshot->hierarchies = infos_;
  snapshot->cgroup_list = tree_.cgroup_list();
  snapshot->containers.reset();
  snapshot->tree = tree_.stats();
  reader_.begin(*snapshot);
  processes_.begin_sample();
  auto started = base::monotonic_now();
  const auto add_duration = [&started](model::CollectorStats& stats) {
    const auto now = base::monotonic_now();
    stats.duration += now - std::exchange(started, now);
  };
  for (auto& custom : custom_) {
    custom.stats.duration = {};
    custom.stats.errors_now = 0;
    custom.reader->begin(*snapshot);
    add_duration(custom.stats);
  }
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const auto cgroup = static_cast<model::CgroupIndex>(i);
    if (!reader_.read(tree_, *nodes[i], cgroup, *snapshot)) {
      removed_.push_back(cgroup);
      continue;
    }
    if (custom_.empty()) continue;
    started = base::monotonic_now();
    for (auto& custom : custom_) {
      custom.reader->read(tree_, *nodes[i], cgroup, *snapshot, custom.stats);
      add_duration(custom.stats);
    }
  }
  reader_.end(*snapshot);
  started = base::monotonic_now();
  for (auto& custom : custom_) {
    custom.reader->end(*snapshot, custom.stats);
    add_duration(custom.stats);
    snapshot->collectors[custom.id] = custom.stats;
  }
  processes_.end_sample();
  for (const auto cgroup : removed_) {  // values derived from ancestors must not remain alone
    for (auto& column : snapshot->columns) {
      if (cgroup < column.dense.size()) column.dense[cgroup] = model::Value::absent();
    }
  }
  removed_.clear();
  snapshot->taken = base::monotonic_now();
  snapshot->taken_wall = base::wall_now();

  return {snapshot.release(), [spare = spare_](model::Snapshot* released) {
            delete spare->snapshot.exchange(released, std::memory_order_acq_rel);
          }};
}

}  // namespace cgwarden::collectors
