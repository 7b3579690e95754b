// SPDX-License-Identifier: Apache-2.0
// Quantities as people write them in a policy: "512MiB", "90%", "1h30m", "100/m". A number in the wrong unit is no
// quantity at all, never a guess. Stateless: any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "src/model/field.h"

namespace cgwarden::policy {

using Duration = std::chrono::nanoseconds;

// "30s", "500ms", "1h30m", "2d", "0s". At most ten years.
std::optional<Duration> parse_duration(std::string_view text);
std::string format_duration(Duration duration);

// In base units of `unit`: seconds of a duration, bytes, a ratio of "12.5%" or "0.125", cores of "2" or "200%".
std::optional<double> parse_quantity(model::Unit unit, std::string_view text);
// What parse_quantity() takes, for people: "a size such as 256MiB".
std::string_view expected_of(model::Unit unit);
// Back again, short: "256MiB", "12.5%".
std::string format_quantity(model::Unit unit, double value);

// In base units per second: "100/m", "50MiB/s"; of seconds ("CPU time"): "150%" or "1.5", cores.
std::optional<double> parse_rate(model::Unit unit, std::string_view text);
std::string_view expected_rate_of(model::Unit unit);
std::string format_rate(model::Unit unit, double per_second);

// "20:30" in minutes since midnight.
std::optional<int> parse_time_of_day(std::string_view text);

// "12.5%" as 0.125.
std::optional<double> parse_percent(std::string_view text);

}  // namespace cgwarden::policy
