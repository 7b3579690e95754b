// SPDX-License-Identifier: Apache-2.0
// The network namespaces that cgroups' processes are in, each with a few processes by which it can be reached.
// Thread: the sampler's.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "collectors/series.h"
#include "src/base/fd.h"
#include "src/cgroup/processes.h"

namespace cgwarden::collectors {

class NetNamespaces {
 public:
  struct Entry {
    std::uint64_t id = 0;
    std::string number;     // the same as text
    std::string_view host;  // "true", "false", "unknown"
    std::string text;       // number and host, as label values
    bool met = false;       // in this round
    model::CgroupIndex last_cgroup = 0;
    std::vector<const cgroup::Process*> candidates;
  };

  explicit NetNamespaces(const cgroup::ProcessTable& processes) : processes_(processes) {}

  void begin() {
    for (auto& [id, entry] : entries_) {
      entry.met = false;
      entry.candidates.clear();
    }
  }

  // Takes in the cgroup's processes; `first` is called once for each namespace the cgroup is in.
  template <class First>
  void meet(const cgroup::ProcessTable::Cgroup& found, model::CgroupIndex cgroup, First first) {
    for (const auto* process : found.known) {
      const auto id = process->namespaces[cgroup::kNet];
      if (id == 0) continue;
      auto& entry = entries_[id];
      if (entry.number.empty()) {
        entry.id = id;
        entry.number = std::to_string(id);
        entry.host = host_text(processes_, cgroup::kNet, id);
        entry.text = entry.number + '\0' + std::string(entry.host);
      }
      if (entry.candidates.size() < kCandidates) entry.candidates.push_back(process);
      if (entry.met && entry.last_cgroup == cgroup) continue;
      entry.met = true;
      entry.last_cgroup = cgroup;
      first(entry);
    }
  }

  // Forgets namespaces that were not met, and calls `each` with the others.
  template <class Each>
  void end(Each each) {
    std::erase_if(entries_, [](const auto& item) { return !item.second.met; });
    for (const auto& [id, entry] : entries_) each(entry);
  }

  // /proc/PID of a process that is in the namespace now: it may have left since it was looked at. Calls `use` with one
  // after the other until it says that it succeeded.
  template <class Use>
  void reach(const Entry& entry, Use use) const {
    for (const auto* process : entry.candidates) {
      const auto fd = processes_.open(*process);
      char link[64];
      const auto n = fd ? ::readlinkat(fd.get(), "ns/net", link, sizeof link) : -1;
      if (n <= 0) continue;
      if (cgroup::parse_namespace_link({link, static_cast<std::size_t>(n)}, "net") != entry.id) continue;
      if (use(fd.get())) return;
    }
  }

 private:
  static constexpr std::size_t kCandidates = 4;

  const cgroup::ProcessTable& processes_;
  std::unordered_map<std::uint64_t, Entry> entries_;
};

}  // namespace cgwarden::collectors
