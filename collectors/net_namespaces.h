// SPDX-License-Identifier: Apache-2.0
// Network namespaces of processes in cgroups, each with a few processes through which it can be entered or read.
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
    std::string number;     // id as text
    std::string_view host;  // "true", "false", "unknown"
    std::string text;       // number and host, as label values
    bool seen = false;      // in this sample
    model::CgroupIndex last_cgroup = 0;
    std::vector<const cgroup::Process*> candidates;
  };

  explicit NetNamespaces(const cgroup::ProcessTable& processes) : processes_(processes) {}

  void begin() {
    for (auto& [id, entry] : entries_) {
      entry.seen = false;
      entry.candidates.clear();
    }
  }

  // Adds the processes of a cgroup; calls `first` once for each namespace that the cgroup has processes in.
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
      if (entry.candidates.size() < kMaxCandidates) entry.candidates.push_back(process);
      if (entry.seen && entry.last_cgroup == cgroup) continue;
      entry.seen = true;
      entry.last_cgroup = cgroup;
      first(entry);
    }
  }

  // Removes namespaces that had no process in this sample, and calls `each` for the others.
  template <class Each>
  void end(Each each) {
    std::erase_if(entries_, [](const auto& item) { return !item.second.seen; });
    for (const auto& [id, entry] : entries_) each(entry);
  }

  // Calls `use` with a descriptor of /proc/PID for one process after the other until it returns true. Verifies that
  // each process is still in the namespace: it may have changed since it was read.
  template <class Use>
  void with_process(const Entry& entry, Use use) const {
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
  static constexpr std::size_t kMaxCandidates = 4;

  const cgroup::ProcessTable& processes_;
  std::unordered_map<std::uint64_t, Entry> entries_;
};

}  // namespace cgwarden::collectors
