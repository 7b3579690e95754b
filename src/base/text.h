// SPDX-License-Identifier: Apache-2.0
// Parsing of text from the host, without streams, locale or copies. All input is untrusted: no function reads past the
// view, and text for logs and terminals must go through printable().
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cgwarden::base {

// Removes the text up to `separator` from the front of `rest` and returns it; the separator is removed too.
constexpr std::string_view take_until(std::string_view& rest, char separator) {
  const auto end = rest.find(separator);
  const auto piece = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return piece;
}

constexpr std::string_view take_line(std::string_view& rest) { return take_until(rest, '\n'); }

// Removes and returns the next word; spaces and tabs before it are skipped. Empty at the end.
constexpr std::string_view take_word(std::string_view& rest) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!rest.empty() && is_blank(rest.front())) rest.remove_prefix(1);
  std::size_t n = 0;
  while (n < rest.size() && !is_blank(rest[n])) ++n;
  const auto word = rest.substr(0, n);
  rest.remove_prefix(n);
  return word;
}

constexpr std::string_view trim_end(std::string_view s) {
  while (!s.empty() && (s.back() == '\n' || s.back() == ' ' || s.back() == '\t' || s.back() == '\0')) {
    s.remove_suffix(1);
  }
  return s;
}

// The text after the last '/'; the whole text for "/" and for a text without '/'.
constexpr std::string_view last_part(std::string_view path) {
  return path == "/" ? path : path.substr(path.rfind('/') + 1);
}

// The complete text as an integer; nullopt if it is not one.
template <class Int>
std::optional<Int> to_int(std::string_view text, int base = 10) {
  Int value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The number at the front of `text`; nullopt if there is none.
inline std::optional<double> to_double(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return value;
}

// A value of /proc/meminfo or /proc/PID/status in bytes: "MemTotal:   1234 kB". nullopt if it is missing or invalid.
inline std::optional<std::int64_t> proc_kib(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    auto line = take_line(text);
    if (take_until(line, ':') != key) continue;
    const auto kib = to_int<std::int64_t>(take_word(line));
    if (!kib) return std::nullopt;
    return *kib * 1024;
  }
  return std::nullopt;
}

// True for well-formed UTF-8 (no overlong forms, no surrogates).
bool is_utf8(std::string_view text);

// `text` with invalid UTF-8 replaced by U+FFFD, for label values and JSON.
std::string to_utf8(std::string_view text);

// `text` for one line of a log or terminal: control characters (C0, C1, DEL), bidi controls and invalid UTF-8 as \xNN.
std::string printable(std::string_view text);

// Decodes the escapes of /proc/PID/mountinfo: space, tab, newline and backslash are \040, \011, \012 and \134.
std::string unescape_octal(std::string_view text);

}  // namespace cgwarden::base
