// SPDX-License-Identifier: Apache-2.0
// The tightest limit of a cgroup and its ancestors: pure functions of columns.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "src/model/snapshot.h"

namespace cgwarden::collectors {

// The smaller of two limits. Absent sets no limit; an error hides one, so the result is an error.
model::Value tighter(model::Value a, model::Value b);

// What a cgroup has where the hierarchy gives it no file of its own.
enum class Inherit : std::uint8_t {
  from_parent,  // v2: a controller that is off here counts for the nearest ancestor that has it
  nothing,      // v1: a cgroup that is not in the controller's hierarchy says nothing about where its processes are
};

// limits[g] becomes the tightest of limits[g] and those of all its ancestors. Parents come before their children.
void tighten_by_ancestors(std::span<const model::CgroupIndex> parents, Inherit inherit,
                          std::vector<model::Value>& limits);

// Quota in each period, both in nanoseconds, as cores.
model::Value cores(model::Value quota, model::Value period);

// How many CPUs "0-3,8" names; nothing for what is no such list.
std::optional<std::int64_t> count_of_list(std::string_view list);

}  // namespace cgwarden::collectors
