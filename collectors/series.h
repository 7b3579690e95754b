// SPDX-License-Identifier: Apache-2.0
// How a CustomReader fills columns.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "src/cgroup/processes.h"
#include "src/model/snapshot.h"

namespace cgwarden::collectors {

inline constexpr std::size_t kMaxLabels = 4096;  // bytes of all label values of one series

// `text`: the label values, separated by '\0'. Series must be added in the order of cgroups, those without a cgroup
// (kNoCgroup) last and in the order of shorter_first, so that a writer can detect duplicates by comparing neighbors.
inline void add_series(model::Column& column, model::CgroupIndex cgroup, std::string_view text, model::Value value) {
  text = text.substr(0, kMaxLabels);
  column.series.push_back(
      {cgroup, static_cast<std::uint32_t>(column.text.size()), static_cast<std::uint16_t>(text.size()), value});
  column.text += text;
}

inline bool shorter_first(std::string_view a, std::string_view b) {
  return a.size() != b.size() ? a.size() < b.size() : a < b;
}

inline void set_value(model::Snapshot& snapshot, model::FieldId field, model::CgroupIndex cgroup, model::Value value) {
  auto& dense = snapshot.columns[field].dense;
  if (dense.empty()) dense.assign(snapshot.cgroup_count(), model::Value::absent());
  dense[cgroup] = value;
}

// "true", "false" or "unknown": whether the namespace is that of the host.
std::string_view host_text(const cgroup::ProcessTable& processes, std::size_t kind, std::uint64_t id);

}  // namespace cgwarden::collectors
