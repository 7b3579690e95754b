// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/host.h"

#include <algorithm>
#include <map>

namespace cgwarden::cgtop {

void fill_cpu_use(const Processes& before, Processes& now) {
  std::map<int, const Process*> old;
  for (const auto& process : before.all) old.emplace(process.pid, &process);
  const double seconds = now.at - before.at;
  for (auto& process : now.all) {
    const auto found = old.find(process.pid);
    if (seconds <= 0 || found == old.end() || found->second->started != process.started) continue;
    process.cpu = std::max(0.0, process.cpu_seconds - found->second->cpu_seconds) / seconds;
  }
}

}  // namespace cgwarden::cgtop
