// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/source.h"

#include <iostream>
#include <vector>

#include "src/base/text.h"
#include "src/cgroup/host.h"
#include "src/cgtop/live.h"

namespace cgwarden::cgtop {
namespace {

class LiveSource : public SampleSource {
 public:
  LiveSource(const cgroup::HostPaths& paths, std::unique_ptr<collectors::Collection> collection)
      : paths_(paths), collection_(std::move(collection)), names_(paths) {}

  [[nodiscard]] std::string_view name() const override { return "cgroupfs"; }
  tl::expected<Sample, ExitError> take() override {
    auto snapshot = collection_->collect();
    names_.complete(*snapshot);
    return Sample{std::move(snapshot), cgroup::read_host(paths_, collection_->hierarchies())};
  }
  tl::expected<Processes, ExitError> processes(const std::string& cgroup, bool recursive) override {
    return read_processes(paths_, collection_->hierarchies(), cgroup, recursive);
  }
  std::optional<std::string> cgroup_of_pid(int pid) override { return cgtop::cgroup_of_pid(paths_, pid); }

 private:
  cgroup::HostPaths paths_;
  std::unique_ptr<collectors::Collection> collection_;
  ContainerNames names_;
};

}  // namespace

int report_error(const ExitError& error) {
  std::cerr << "cgtop: " << error.what << '\n';
  return error.code;
}

tl::expected<std::unique_ptr<SampleSource>, ExitError> open_live(const Options& options,
                                                                 std::shared_ptr<const model::Catalogue> catalogue) {
  auto collection =
      collectors::Collection::open(std::move(catalogue), live_options(options.paths), [](const std::string&) {});
  if (!collection) {
    const bool permission = collection.error().code == EACCES || collection.error().code == EPERM;
    return tl::unexpected(ExitError{permission ? kPermission : kNotFound,
                                    base::printable(collection.error().what) + " (cgtop doctor checks this host)"});
  }
  return std::make_unique<LiveSource>(options.paths, std::move(*collection));
}

tl::expected<std::unique_ptr<SampleSource>, ExitError> open_source(const Options& options,
                                                                   std::shared_ptr<const model::Catalogue> catalogue) {
  std::vector<std::string> selected;
  if (!options.agent.empty()) selected.emplace_back("--agent");
  if (!options.prometheus.empty()) selected.emplace_back("--prometheus");
  if (!options.from.empty()) selected.emplace_back("--from");
  if (selected.size() > 1) {
    return tl::unexpected(ExitError{kUsage, selected[0] + ": cannot be combined with " + selected[1]});
  }
  if (!options.agent.empty()) return open_agent(options, std::move(catalogue));
  if (!options.prometheus.empty()) return open_prometheus(options, std::move(catalogue));
  return open_live(options, std::move(catalogue));
}

}  // namespace cgwarden::cgtop
