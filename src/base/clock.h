// SPDX-License-Identifier: Apache-2.0
// Time: durations and intervals use the monotonic clock, dates the wall clock.
#pragma once

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace cgwarden::base {

using Monotonic = std::chrono::steady_clock::time_point;
using Wall = std::chrono::system_clock::time_point;

inline Monotonic monotonic_now() { return std::chrono::steady_clock::now(); }
inline Wall wall_now() { return std::chrono::system_clock::now(); }

// Timeout for poll(2): milliseconds until the deadline, at least 1 before it is reached and at most one minute.
inline int milliseconds_left(Monotonic deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - monotonic_now()).count();
  return static_cast<int>(std::clamp<long long>(left + 1, 0, 60'000));
}

// CPU time consumed by this thread.
inline std::chrono::nanoseconds thread_cpu_time() {
  timespec ts{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
  return std::chrono::seconds(ts.tv_sec) + std::chrono::nanoseconds(ts.tv_nsec);
}

}  // namespace cgwarden::base
