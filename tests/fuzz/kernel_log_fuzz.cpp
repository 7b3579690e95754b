// SPDX-License-Identifier: Apache-2.0
// Any bytes as a record of the kernel's log: a cgroup's path begins at the top of what is mounted, or there is none.
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "src/cgroup/kernel_log.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cgwarden;
  const std::vector<char> exact(data, data + size);
  const std::string_view record(exact.data(), exact.size());
  const auto whole = cgroup::cgroup_of_oom_kill(record);
  if (whole && (!whole->starts_with('/') || whole->size() > size)) std::abort();
  const auto below = cgroup::cgroup_of_oom_kill(record, "/pod");
  if (below && (!whole || *whole != "/pod" + (*below == "/" && *whole == "/pod" ? "" : *below))) std::abort();
  return 0;
}
