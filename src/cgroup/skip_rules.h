// SPDX-License-Identifier: Apache-2.0
// Rules for interface files that need not be read again, because no event occurred that could have changed them. A rule
// is a row of the table: the file, and the conditions that must have held since it was read. A stale value is worse
// than an expensive read. Each rule therefore follows from the kernel's source, and tests/kernel/skip_rules_test.cpp
// causes each event on the real kernel and checks the next snapshot.
//
// Independent of the rules, a file is read again after a write to any file of its cgroup or of an ancestor, and at long
// intervals in any case. A rule applies only after two equal reads under its conditions, so that a change that the
// kernel completes with a delay is not missed.
//
// Thread: any; the functions are stateless.
#pragma once

#include <cstdint>
#include <string_view>

namespace cgwarden::cgroup {

// Limits that may be known to be unset, as bits.
enum Limit : std::uint8_t {
  kMemoryLimit = 1U << 0U,
  kMemorySwapLimit = 1U << 1U,
  kMemoryHigh = 1U << 2U,
  kMemoryLow = 1U << 3U,
  kPidsLimit = 1U << 4U,
  kCpuQuota = 1U << 5U,
};
inline constexpr std::uint8_t kAllLimits = 0xFF;  // no limit is known to be unset

struct SkipRule {
  int version = 2;
  std::string_view file = {};
  bool idle = false;                                        // no task of the cgroup or its descendants ran
  bool no_migration = false;                                // no task was migrated between cgroups of the hierarchy
  bool leaf = false;                                        // the cgroup has no children and had none
  bool no_oom_kill = false;                                 // no OOM kill occurred on the host
  std::uint8_t own_unlimited = 0;                           // limits that are unset on the cgroup
  std::uint8_t path_unlimited = 0;                          // limits that are unset on the cgroup and all ancestors
  bool (*text_condition)(std::string_view text) = nullptr;  // the file's content satisfies this
};

// Returns nullptr if the file must be read each time.
const SkipRule* skip_rule(int version, std::string_view file);

// Returns the bit of the limit that the file sets, or 0 for any other file.
std::uint8_t limit_of(int version, std::string_view file);
// Returns true if `text`, the content of the limit's file, means unlimited.
bool is_unlimited_text(std::uint8_t limit, std::string_view text);

// Returns the file whose first number grows whenever a task of the cgroup or its descendants runs.
std::string_view activity_probe_file(int version);
// Returns that number, or 0 if `text` has none. Unit: nanoseconds (v1) or microseconds (v2).
std::uint64_t parse_run_time(std::string_view text);

}  // namespace cgwarden::cgroup
