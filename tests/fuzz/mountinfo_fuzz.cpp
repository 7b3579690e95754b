// SPDX-License-Identifier: Apache-2.0
// Fuzzes /proc/self/mountinfo and /proc/cgroups. Each hierarchy must have a mount point and be returned once.
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "src/cgroup/hierarchy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cgwarden;
  const std::vector<char> exact(data, data + size);
  const std::string_view text(exact.data(), exact.size());
  std::set<std::string> titles;
  for (const auto& hierarchy : cgroup::parse_mountinfo(text)) {
    if (hierarchy.mount_point.empty() || hierarchy.root.empty()) std::abort();
    if (hierarchy.version != 1 && hierarchy.version != 2) std::abort();
    if (hierarchy.version == 2 && !hierarchy.controllers.empty()) std::abort();
    if (!titles.insert(hierarchy.title()).second) std::abort();
  }
  for (const auto& controller : cgroup::parse_unbound_controllers(text)) {
    if (controller.empty() || text.find(controller) == std::string_view::npos) std::abort();
  }
  return 0;
}
