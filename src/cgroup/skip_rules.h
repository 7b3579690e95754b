// SPDX-License-Identifier: Apache-2.0
// Which interface files need not be read again, because nothing has happened that the kernel could have changed them
// for. A rule is a row: the file, and all that must hold since it was read. A stale number is worse than a dear read,
// so each rule follows from the kernel's source, and tests/kernel/quiet_test.cpp makes each thing happen on the real
// kernel and looks at the next snapshot.
//
// Whatever a rule says, a file is read again after a write to any file of its cgroup or of one above, and slowly in any
// case; and it must have said the same twice under the rule, so that what the kernel completes a moment later is seen.
//
// Thread: any, there is no state.
#pragma once

#include <cstdint>
#include <string_view>

namespace cgwarden::cgroup {

// Limits that can be known not to be set, as bits.
enum Limit : std::uint8_t {
  kMemoryLimit = 1U << 0U,
  kMemorySwapLimit = 1U << 1U,
  kMemoryHigh = 1U << 2U,
  kMemoryLow = 1U << 3U,
  kPidsLimit = 1U << 4U,
  kCpuQuota = 1U << 5U,
};
inline constexpr std::uint8_t kAllLimits = 0xFF;  // none of them is known not to be set

struct SkipRule {
  int version = 2;
  std::string_view file = {};
  bool idle = false;                              // no task of the cgroup or below it ran
  bool unmoved = false;                           // no task of the hierarchy was moved to another cgroup
  bool leaf = false;                              // it has no children, and had none
  bool no_oom = false;                            // the host killed nothing for want of memory
  std::uint8_t own_unlimited = 0;                 // limits that the cgroup does not have
  std::uint8_t path_unlimited = 0;                // limits that neither it nor any cgroup above has
  bool (*says)(std::string_view text) = nullptr;  // only while the file says such a thing
};

// Null: this file is to be read each time.
const SkipRule* skip_rule(int version, std::string_view file);

// The bit of the limit that a file sets; 0 for other files.
std::uint8_t limit_of(int version, std::string_view file);
// The limit's file says that there is none.
bool is_unlimited_text(std::uint8_t limit, std::string_view text);

// The file whose first number grows whenever a task of the cgroup or below it runs.
std::string_view run_probe(int version);
// That number; 0 when there is none.
std::uint64_t run_time(std::string_view text);

}  // namespace cgwarden::cgroup
