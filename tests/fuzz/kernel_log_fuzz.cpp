// SPDX-License-Identifier: Apache-2.0
// Fuzzes records of the kernel log. The result must be nothing or an absolute path inside the root of the mount.
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
  const auto relative = cgroup::cgroup_of_oom_kill(record, "/pod");
  if (relative && (!whole || *whole != "/pod" + (*relative == "/" && *whole == "/pod" ? "" : *relative))) std::abort();
  return 0;
}
