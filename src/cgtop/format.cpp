// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/format.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "src/base/text.h"

namespace cgwarden::cgtop {
namespace {

std::string formatted(const char* format, double value) {
  char buffer[48];
  const int size = std::snprintf(buffer, sizeof buffer, format, value);
  return {buffer, static_cast<std::size_t>(std::clamp(size, 0, 47))};
}

// Three digits and a prefix: 0, 7.1K, 402M, 41.2G.
std::string scaled(double value, double step, std::string_view prefixes) {
  std::size_t i = 0;
  double shown = value;
  while (std::abs(shown) >= (i == 0 ? 1000.0 : 999.5) && i < prefixes.size()) {
    shown /= step;
    ++i;
  }
  auto out = i == 0 ? formatted(shown == std::floor(shown) ? "%.0f" : "%.1f", shown)
                    : formatted(std::abs(shown) >= 99.95 ? "%.0f" : "%.1f", shown);
  if (i > 0) out += prefixes[i - 1];
  return out;
}

double to_double(model::Value value, int decimals) {
  return static_cast<double>(value.fixed()) * std::pow(10.0, -decimals);
}

struct Range {
  char32_t first;
  char32_t last;
};

// Unicode 15; ranges are joined across unassigned code points.
constexpr Range kZeroRanges[] = {
    {0x0300, 0x036F}, {0x0483, 0x0489}, {0x0591, 0x05BD},  {0x05BF, 0x05C7}, {0x0610, 0x061A}, {0x064B, 0x065F},
    {0x0670, 0x0670}, {0x06D6, 0x06DC}, {0x06DF, 0x06E4},  {0x06E7, 0x06ED}, {0x0900, 0x0902}, {0x093A, 0x093A},
    {0x093C, 0x093C}, {0x0941, 0x0948}, {0x094D, 0x094D},  {0x0E31, 0x0E31}, {0x0E34, 0x0E3A}, {0x0E47, 0x0E4E},
    {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF}, {0x200B, 0x200F},  {0x20D0, 0x20FF}, {0x302A, 0x302D}, {0x3099, 0x309A},
    {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}, {0xE0100, 0xE01EF}};
constexpr Range kWideRanges[] = {
    {0x1100, 0x115F},   {0x231A, 0x231B},   {0x2329, 0x232A},   {0x23E9, 0x23EC},   {0x23F0, 0x23F0},
    {0x23F3, 0x23F3},   {0x25FD, 0x25FE},   {0x2614, 0x2615},   {0x2648, 0x2653},   {0x267F, 0x267F},
    {0x2693, 0x2693},   {0x26A1, 0x26A1},   {0x26AA, 0x26AB},   {0x26BD, 0x26BE},   {0x26C4, 0x26C5},
    {0x26CE, 0x26CE},   {0x26D4, 0x26D4},   {0x26EA, 0x26EA},   {0x26F2, 0x26F3},   {0x26F5, 0x26F5},
    {0x26FA, 0x26FA},   {0x26FD, 0x26FD},   {0x2705, 0x2705},   {0x270A, 0x270B},   {0x2728, 0x2728},
    {0x274C, 0x274C},   {0x274E, 0x274E},   {0x2753, 0x2755},   {0x2757, 0x2757},   {0x2795, 0x2797},
    {0x27B0, 0x27B0},   {0x27BF, 0x27BF},   {0x2B1B, 0x2B1C},   {0x2B50, 0x2B50},   {0x2B55, 0x2B55},
    {0x2E80, 0x303E},   {0x3041, 0x33FF},   {0x3400, 0x4DBF},   {0x4E00, 0xA4CF},   {0xA960, 0xA97C},
    {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE10, 0xFE19},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},
    {0xFFE0, 0xFFE6},   {0x16FE0, 0x18CFF}, {0x1AFF0, 0x1B2FF}, {0x1F004, 0x1F004}, {0x1F0CF, 0x1F0CF},
    {0x1F18E, 0x1F18E}, {0x1F191, 0x1F19A}, {0x1F200, 0x1F320}, {0x1F32D, 0x1F335}, {0x1F337, 0x1F37C},
    {0x1F37E, 0x1F393}, {0x1F3A0, 0x1F3CA}, {0x1F3CF, 0x1F3D3}, {0x1F3E0, 0x1F3F0}, {0x1F3F4, 0x1F3F4},
    {0x1F3F8, 0x1F43E}, {0x1F440, 0x1F440}, {0x1F442, 0x1F4FC}, {0x1F4FF, 0x1F53D}, {0x1F54B, 0x1F567},
    {0x1F57A, 0x1F57A}, {0x1F595, 0x1F596}, {0x1F5A4, 0x1F5A4}, {0x1F5FB, 0x1F64F}, {0x1F680, 0x1F6C5},
    {0x1F6CC, 0x1F6CC}, {0x1F6D0, 0x1F6D7}, {0x1F6DC, 0x1F6DF}, {0x1F6EB, 0x1F6EC}, {0x1F6F4, 0x1F6FC},
    {0x1F7E0, 0x1F7F0}, {0x1F90C, 0x1F9FF}, {0x1FA70, 0x1FAFF}, {0x20000, 0x3FFFD}};

template <std::size_t N>
bool contains(const Range (&ranges)[N], char32_t c) {
  const auto* const at = std::ranges::lower_bound(ranges, c, {}, &Range::last);
  return at != std::end(ranges) && at->first <= c;
}

// Callers pass valid UTF-8; in invalid text each byte counts as a character.
std::size_t size_of(std::string_view s) {
  const auto lead = static_cast<unsigned char>(s.front());
  const std::size_t size = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  return std::min(size, s.size());
}

int cells(std::string_view rune) {
  const auto lead = static_cast<unsigned char>(rune.front());
  if (lead < 0x80 || rune.size() == 1) return 1;
  char32_t c = lead & (0xFFU >> (rune.size() + 1));
  for (std::size_t i = 1; i < rune.size(); ++i) c = c << 6U | (static_cast<unsigned char>(rune[i]) & 0x3FU);
  return contains(kZeroRanges, c) ? 0 : contains(kWideRanges, c) ? 2 : 1;
}

}  // namespace

void append_exact(std::string& out, model::Value value, int decimals) {
  if (value.is_unlimited()) {
    out += "max";
    return;
  }
  if (!value.is_number()) return;
  const auto fixed = value.fixed();
  auto digits = std::to_string(fixed < 0 ? 0 - static_cast<std::uint64_t>(fixed) : static_cast<std::uint64_t>(fixed));
  if (fixed < 0) out += '-';
  const auto fraction = static_cast<std::size_t>(decimals);
  if (digits.size() <= fraction) digits.insert(0, fraction + 1 - digits.size(), '0');
  out.append(digits, 0, digits.size() - fraction);
  auto tail = std::string_view(digits).substr(digits.size() - fraction);
  while (!tail.empty() && tail.back() == '0') tail.remove_suffix(1);
  if (!tail.empty()) {
    out += '.';
    out += tail;
  }
}

std::string exact(model::Value value, int decimals) {
  std::string out;
  append_exact(out, value, decimals);
  return out;
}

std::string human_bytes(double bytes, Units units) {
  switch (units) {
    case Units::iec:
      return scaled(bytes, 1024, "KMGTPE");
    case Units::si:
      return scaled(bytes, 1000, "kMGTPE");
    case Units::raw:
      break;
  }
  return formatted("%.0f", bytes);
}

std::string human_duration(double seconds) {
  if (seconds < 1e-3) return seconds == 0 ? "0" : formatted("%.0fus", seconds * 1e6);
  if (seconds < 1) return formatted("%.0fms", seconds * 1e3);
  if (seconds < 60) return formatted("%.1fs", seconds);
  const auto s = static_cast<long long>(seconds);
  char buffer[48];
  if (s < 3600) {
    (void)std::snprintf(buffer, sizeof buffer, "%lldm%02llds", s / 60, s % 60);
  } else if (s < 86'400) {
    (void)std::snprintf(buffer, sizeof buffer, "%lldh%02lldm", s / 3600, s / 60 % 60);
  } else {
    (void)std::snprintf(buffer, sizeof buffer, "%lldd%02lldh", s / 86'400, s / 3600 % 24);
  }
  return buffer;
}

std::string human(const Column& column, model::Value value, Units units) {
  if (value.is_absent()) return "-";
  if (value.is_error()) return "err";
  if (value.is_unlimited()) return "max";
  if (units == Units::raw) return exact(value, column.decimals);
  const double number = to_double(value, column.decimals);
  switch (column.form) {
    case Form::bytes:
      return human_bytes(number, units);
    case Form::seconds:
      return human_duration(number);
    case Form::ratio:
      return formatted(number >= 99.9995 ? "%.0f" : "%.1f", number * 100);
    case Form::count:
    case Form::text:
      break;
  }
  return std::abs(number) < 99'999.5 ? formatted(number == std::floor(number) ? "%.0f" : "%.1f", number)
                                     : scaled(number, 1000, "kMGTPE");
}

Rune take_rune(std::string_view& rest) {
  const auto text = rest.substr(0, size_of(rest));
  rest.remove_prefix(text.size());
  const auto lead = static_cast<unsigned char>(text.front());
  const bool control = lead < 0x20 || lead == 0x7F || (lead >= 0x80 && !base::is_utf8(text)) ||
                       (lead == 0xC2 && static_cast<unsigned char>(text.back()) < 0xA0);
  return {text, control ? -1 : cells(text)};
}

int width(std::string_view utf8) {
  int sum = 0;
  while (!utf8.empty()) {
    const auto size = size_of(utf8);
    sum += cells(utf8.substr(0, size));
    utf8.remove_prefix(size);
  }
  return sum;
}

std::string_view cut_end(std::string_view utf8, int limit) {
  std::size_t at = 0;
  int used = 0;
  while (at < utf8.size()) {
    const auto size = size_of(utf8.substr(at));
    const int w = cells(utf8.substr(at, size));
    if (used + w > limit) break;
    used += w;
    at += size;
  }
  return utf8.substr(0, at);
}

std::string cut_middle(std::string_view utf8, int limit, std::string_view mark) {
  if (limit <= 0) return {};
  const int all = width(utf8);
  if (all <= limit) return std::string(utf8);
  const int mark_cells = width(mark);
  if (limit <= mark_cells) return std::string(cut_end(utf8, limit));
  const int tail = (limit - mark_cells) / 2;
  std::string out(cut_end(utf8, limit - mark_cells - tail));
  out += mark;
  // Drop characters from the front until the rest fits, including combining marks of the last dropped one.
  int left = all;
  while (!utf8.empty() && (left > tail || cells(utf8.substr(0, size_of(utf8))) == 0)) {
    const auto size = size_of(utf8);
    left -= cells(utf8.substr(0, size));
    utf8.remove_prefix(size);
  }
  return out.append(utf8);
}

std::string ascii_only(std::string_view utf8) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const char c : utf8) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      out += c;
    } else {
      out += "\\x";
      out += digits[byte >> 4U];
      out += digits[byte & 0xFU];
    }
  }
  return out;
}

}  // namespace cgwarden::cgtop
