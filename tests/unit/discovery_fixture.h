// SPDX-License-Identifier: Apache-2.0
// Fixture with a host root directory in a temporary directory, state files of runtimes, and cgroup lists from paths.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/discovery/resolver.h"
#include "tests/temp_dir.h"

namespace cgwarden::discovery {

class DiscoveryTest : public testing::Test {
 protected:
  // Writes atomically (temporary file and rename), as runtimes do.
  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file.string() + ".tmp", std::ios::binary) << text;
    std::filesystem::rename(file.string() + ".tmp", file);
  }
  void remove(const std::string& path) { std::filesystem::remove_all(root_ + path); }

  Resolver& resolver() {
    if (!resolver_) {
      options_.rootfs = root_;
      options_.procfs = root_ + "/proc";
      resolver_ = std::make_unique<Resolver>(options_, [this](const std::string& line) { log_lines_.push_back(line); });
    }
    return *resolver_;
  }

  // Resolves a list of exactly these cgroups. A cgroup keeps its id from one list to the next.
  std::shared_ptr<const model::Containers> see(const std::vector<std::string>& paths) {
    auto cgroup_list = std::make_shared<model::CgroupList>();
    std::map<std::string, std::shared_ptr<const model::Cgroup>> now;
    for (const auto& path : paths) {
      auto& cgroup = cgroups_[path];
      if (!cgroup) {
        auto fresh = std::make_shared<model::Cgroup>();
        fresh->id = ++last_id_;
        fresh->path = path;
        cgroup = fresh;
      }
      now[path] = cgroup;
    }
    cgroups_ = now;
    std::map<std::string, model::CgroupIndex> index;
    for (const auto& [path, cgroup] : cgroups_) {
      auto parent = model::kNoCgroup;
      for (auto above = path; parent == model::kNoCgroup && above.find('/') != std::string::npos && !above.empty();) {
        above.resize(above.rfind('/'));
        if (index.contains(above)) parent = index[above];
      }
      index[path] = static_cast<model::CgroupIndex>(cgroup_list->cgroups.size());
      cgroup_list->cgroups.push_back(cgroup);
      cgroup_list->parents.push_back(parent);
    }
    return resolver().resolve(cgroup_list, now_);
  }
  // The container of a path passed to see(); empty if unknown.
  model::Container at(const std::string& path) {
    const auto& cgroup = cgroups_.at(path);
    const auto* found = resolver().table()->find(cgroup->id, path);
    return found == nullptr ? model::Container{} : *found;
  }
  bool knows(const std::string& path) { return resolver().table()->find(cgroups_.at(path)->id, path) != nullptr; }

  const testing_files::TempDir temporary_;
  const std::string root_ = temporary_.path();
  Resolver::Options options_;
  std::unique_ptr<Resolver> resolver_;
  std::vector<std::string> log_lines_;
  std::map<std::string, std::shared_ptr<const model::Cgroup>> cgroups_;
  std::uint64_t last_id_ = 100;
  base::Monotonic now_ = base::monotonic_now();
};

inline std::string container_id(char digit) { return std::string(60, digit) + "beef"; }

inline const std::string kId = container_id('a');
inline const std::string kUid = "11111111-2222-3333-4444-555555555555";

// Source of the container's `fact`; empty if it is not set.
inline std::string origin_of(const model::Container& c, std::string_view fact) {
  for (const auto& origin : c.origins) {
    if (origin.fact == fact) return origin.source;
  }
  return {};
}

}  // namespace cgwarden::discovery
