// SPDX-License-Identifier: Apache-2.0
// Parses and formats quantities in policy files: "512MiB", "90%", "1h30m", "100/m". A number with the wrong unit, or
// without the unit it needs, is an error. Stateless; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "src/model/field.h"

namespace cgwarden::policy {

using Duration = std::chrono::nanoseconds;

// "30s", "500ms", "1h30m", "2d", "0s". Nullopt if invalid or longer than ten years.
std::optional<Duration> parse_duration(std::string_view text);
std::string format_duration(Duration duration);

// The value in the base unit of `unit`: seconds ("30s"), bytes ("512MiB"), ratio ("12.5%", "0.125"), cores ("2",
// "200%").
std::optional<double> parse_quantity(model::Unit unit, std::string_view text);
// For the error message if parsing fails: "invalid KIND 'x' (HINT)".
struct Expected {
  std::string_view kind;  // "size"
  std::string_view hint;  // "example: 256MiB"
};
Expected expected_quantity(model::Unit unit);
// The shortest text that parse_quantity() accepts, with up to three decimals: "256MiB", "12.5%".
std::string format_quantity(model::Unit unit, double value);

// The rate in base units per second: "100/m", "50MiB/s". For counters of seconds (CPU time): cores, "150%" or "1.5".
std::optional<double> parse_rate(model::Unit unit, std::string_view text);
Expected expected_rate(model::Unit unit);
std::string format_rate(model::Unit unit, double per_second);

// Minutes since midnight of "20:30".
std::optional<int> parse_time_of_day(std::string_view text);

// 0.125 for "12.5%".
std::optional<double> parse_percent(std::string_view text);

}  // namespace cgwarden::policy
