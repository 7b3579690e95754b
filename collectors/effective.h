// SPDX-License-Identifier: Apache-2.0
// The lowest limit of a cgroup and its ancestors: pure functions of columns.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "src/model/snapshot.h"

namespace cgwarden::collectors {

// The lower of two limits. A missing value means unlimited. An error may hide a limit, so the result is an error.
model::Value tighter(model::Value a, model::Value b);

// The limit of a cgroup that has no limit file of its own.
enum class Inherit : std::uint8_t {
  from_parent,  // v2: the controller is disabled here, and the nearest ancestor that has it applies
  nothing,  // v1: a cgroup that is missing in the hierarchy of the controller does not determine where its processes
            // are
};

// Sets limits[g] to the lowest of limits[g] and the limits of all its ancestors. Parents precede their children.
void tighten_by_ancestors(std::span<const model::CgroupIndex> parents, Inherit inherit,
                          std::vector<model::Value>& limits);

// Quota divided by period, both in nanoseconds, as cores.
model::Value cores(model::Value quota, model::Value period);

// The number of CPUs in a list such as "0-3,8"; nullopt if it is not a valid list.
std::optional<std::int64_t> count_of_list(std::string_view list);

}  // namespace cgwarden::collectors
