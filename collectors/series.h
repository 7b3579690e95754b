// SPDX-License-Identifier: Apache-2.0
// How an odd collector fills columns.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "src/cgroup/processes.h"
#include "src/model/snapshot.h"

namespace cgwarden::collectors {

inline constexpr std::size_t kMaxLabels = 4096;  // of one series, all its values together

// `text`: the label values, '\0' between them. Series of one cgroup come one after the other, in order of cgroups;
// those of no cgroup come last and in the order of shorter_first, which lets a writer see at once that none comes
// twice.
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

// "true", "false" or "unknown": whether a namespace is the host's.
std::string_view host_text(const cgroup::ProcessTable& processes, std::size_t kind, std::uint64_t id);

}  // namespace cgwarden::collectors
