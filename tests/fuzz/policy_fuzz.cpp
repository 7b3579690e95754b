// SPDX-License-Identifier: Apache-2.0
// Fuzzes policy files. Parsing takes bounded time and memory, the result is either a policy or errors, every error has
// a valid position, and a loaded policy can be evaluated.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "collectors/collection.h"
#include "src/policy/decide.h"
#include "src/policy/load.h"

namespace {

using namespace cgwarden;

model::SnapshotPtr host(const std::shared_ptr<const model::Catalogue>& catalogue) {
  auto snapshot = std::make_shared<model::Snapshot>();
  auto cgroup_list = std::make_shared<model::CgroupList>();
  for (const auto* const path : {"/", "/a", "/a/b.service"}) {
    auto cgroup = std::make_shared<model::Cgroup>();
    cgroup->id = cgroup_list->cgroups.size() + 1;
    cgroup->path = path;
    cgroup_list->parents.push_back(cgroup_list->cgroups.empty()
                                       ? model::kNoCgroup
                                       : static_cast<model::CgroupIndex>(cgroup_list->cgroups.size() - 1));
    cgroup_list->cgroups.push_back(std::move(cgroup));
  }
  snapshot->catalogue = catalogue;
  snapshot->cgroup_list = std::move(cgroup_list);
  snapshot->columns.resize(catalogue->size());
  snapshot->collectors.resize(catalogue->collectors().size());
  snapshot->taken = base::Monotonic(std::chrono::hours(30));
  return snapshot;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto catalogue = collectors::make_catalogue();
  static const auto now = host(catalogue);
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto loaded = policy::load_texts({{"p", text}}, catalogue);
  if ((loaded.policy != nullptr) == !loaded.problems.empty()) std::abort();
  for (const auto& problem : loaded.problems) {
    if (problem.mark.line < 1 || problem.mark.column < 1 || problem.what.empty()) std::abort();
    if (problem.text().find('\n') != std::string::npos) std::abort();
  }
  if (!loaded.policy) return 0;
  const auto decision = policy::decide(*loaded.policy, nullptr, now, {}, std::chrono::seconds(1));
  for (const auto& action : decision.actions) {
    if (action.cgroup.path == "/") std::abort();
  }
  for (const auto& rule : loaded.policy->rules) {
    (void)policy::explain(*loaded.policy, rule, nullptr, now, decision.state, 2);
  }
  return 0;
}
