// SPDX-License-Identifier: Apache-2.0
#include "src/policy/quantity.h"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "src/base/text.h"
#include "src/model/action.h"

namespace cgwarden::policy {
namespace {

using model::Unit;

constexpr double kMaxSize = 9.0e18;

// Consumes a plain decimal number from the front of `text`. No sign, no exponent.
std::optional<double> take_number(std::string_view& text) {
  std::size_t n = 0;
  bool point = false;
  while (n < text.size() && ((text[n] >= '0' && text[n] <= '9') || (text[n] == '.' && !point && n > 0))) {
    point = point || text[n] == '.';
    ++n;
  }
  if (n == 0 || n > 24 || text[n - 1] == '.') return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + n, value, std::chars_format::fixed);
  if (error != std::errc{} || end != text.data() + n || !(value <= kMaxSize)) return std::nullopt;
  text.remove_prefix(n);
  return value;
}

std::optional<double> parse_number(std::string_view text) {
  const auto value = take_number(text);
  return text.empty() ? value : std::nullopt;
}

std::optional<double> if_in_range(double value) {
  if (!(value <= kMaxSize)) return std::nullopt;
  return value;
}

std::string decimal(double value) {
  std::array<char, 64> text{};
  const auto rounded = std::round(value * 1000) / 1000;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), rounded, std::chars_format::fixed, 3);
  if (error != std::errc{}) return "?";
  std::string out(text.data(), end);
  while (out.find('.') != std::string::npos && (out.back() == '0' || out.back() == '.')) {
    const bool point = out.back() == '.';
    out.pop_back();
    if (point) break;
  }
  return out;
}

constexpr std::pair<std::string_view, double> kTimes[] = {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1},
                                                          {"m", 60},    {"h", 3600},  {"d", 86400}};

std::optional<double> parse_seconds(std::string_view text) {
  if (text.empty()) return std::nullopt;
  double seconds = 0;
  while (!text.empty()) {
    const auto number = take_number(text);
    if (!number) return std::nullopt;
    std::size_t letters = 0;
    while (letters < text.size() && text[letters] >= 'a' && text[letters] <= 'z') ++letters;
    double factor = 0;
    for (const auto& [name, in_seconds] : kTimes) {
      if (text.substr(0, letters) == name) factor = in_seconds;
    }
    if (factor == 0) return std::nullopt;
    seconds += *number * factor;
    text.remove_prefix(letters);
  }
  return seconds;
}

}  // namespace

std::optional<Duration> parse_duration(std::string_view text) {
  const auto seconds = parse_seconds(text);
  if (!seconds || *seconds > 10 * 366 * 86400.0) return std::nullopt;
  return std::chrono::nanoseconds(std::llround(*seconds * 1e9));
}

std::string format_duration(Duration duration) {
  const double seconds = std::chrono::duration<double>(duration).count();
  if (seconds != 0 && std::fabs(seconds) < 1) return decimal(seconds * 1000) + "ms";
  const auto whole = static_cast<std::int64_t>(seconds);
  if (static_cast<double>(whole) != seconds || whole == 0 || whole < 60) return decimal(seconds) + "s";
  std::string out;
  auto rest = whole;
  for (const auto& [name, size] : {std::pair<char, std::int64_t>{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}}) {
    if (rest / size > 0) out += std::to_string(rest / size) + name;
    rest %= size;
  }
  return out;
}

std::optional<double> parse_percent(std::string_view text) {
  if (!text.ends_with('%')) return std::nullopt;
  text.remove_suffix(1);
  const auto value = parse_number(text);
  if (!value) return std::nullopt;
  return *value / 100;
}

std::optional<double> parse_quantity(Unit unit, std::string_view text) {
  switch (unit) {
    case Unit::bytes:
      if (const auto size = model::parse_size(text)) return static_cast<double>(*size);
      return std::nullopt;
    case Unit::seconds:
      if (const auto duration = parse_seconds(text)) return if_in_range(*duration);
      return std::nullopt;
    case Unit::ratio:
    case Unit::cores:
      if (const auto percent = parse_percent(text)) return percent;
      return parse_number(text);
    case Unit::none:
      break;
  }
  return parse_number(text);
}

Expected expected_quantity(Unit unit) {
  switch (unit) {
    case Unit::bytes:
      return {"size", "example: 256MiB"};
    case Unit::seconds:
      return {"duration", "examples: 30s, 1h30m"};
    case Unit::ratio:
      return {"percentage", "example: 12.5%"};
    case Unit::cores:
      return {"number of cores", "examples: 2, 200%"};
    case Unit::none:
      break;
  }
  return {"number", "use a number without a unit"};
}

std::string format_quantity(Unit unit, double value) {
  switch (unit) {
    case Unit::bytes:
      for (const auto& [name, size] :
           {std::pair<const char*, double>{"TiB", 0x1p40}, {"GiB", 0x1p30}, {"MiB", 0x1p20}, {"KiB", 0x1p10}}) {
        if (std::fabs(value) >= size) return decimal(value / size) + name;
      }
      return decimal(value) + "B";
    case Unit::seconds:
      if (std::fabs(value) < 1e9) return format_duration(std::chrono::nanoseconds(std::llround(value * 1e9)));
      return decimal(value) + "s";
    case Unit::ratio:
    case Unit::cores:
      return decimal(value * 100) + "%";
    case Unit::none:
      break;
  }
  return decimal(value);
}

std::optional<double> parse_rate(Unit unit, std::string_view text) {
  if (unit == Unit::seconds) return parse_quantity(Unit::cores, text);
  const auto slash = text.rfind('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto amount = parse_quantity(unit, text.substr(0, slash));
  if (!amount) return std::nullopt;
  const auto per = text.substr(slash + 1);
  for (const auto& [name, seconds] : {std::pair<std::string_view, double>{"s", 1}, {"m", 60}, {"h", 3600}}) {
    if (per == name) return *amount / seconds;
  }
  return std::nullopt;
}

Expected expected_rate(Unit unit) {
  switch (unit) {
    case Unit::bytes:
      return {"rate", "examples: 50MiB/s, 1GiB/h"};
    case Unit::seconds:
      return {"rate", "use seconds per second, examples: 150%, 1.5"};
    case Unit::ratio:
    case Unit::cores:
      return {"rate", "example: 10%/m"};
    case Unit::none:
      break;
  }
  return {"rate", "examples: 100/s, 5/m, 1/h"};
}

std::string format_rate(Unit unit, double per_second) {
  if (unit == Unit::seconds) return format_quantity(Unit::cores, per_second);
  return format_quantity(unit, per_second) + "/s";
}

std::optional<int> parse_time_of_day(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || text.size() - colon - 1 != 2 || colon > 2) return std::nullopt;
  const auto hour = base::to_int<unsigned>(text.substr(0, colon));
  const auto minute = base::to_int<unsigned>(text.substr(colon + 1));
  if (!hour || !minute || *hour > 24 || *minute > 59 || (*hour == 24 && *minute != 0)) return std::nullopt;
  return static_cast<int>(*hour * 60 + *minute);
}

}  // namespace cgwarden::policy
