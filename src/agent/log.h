// SPDX-License-Identifier: Apache-2.0
// The log of the agent: one line per record on standard error, as logfmt or JSON. A record has a fixed message in lower
// case; the variable parts are fields: msg="event stream lost, retrying" runtime=containerd retry_in=4s. Thread-safe.
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/clock.h"

namespace cgwarden::agent::log {

struct Field {
  Field(std::string_view field, std::string_view text) : name(field), value(text) {}
  template <std::integral T>
  Field(std::string_view field, T n) : name(field), value(std::to_string(n)), is_number(true) {}

  std::string_view name;  // [a-z_]+, a literal
  std::string value;
  bool is_number = false;  // JSON: not quoted
};
using Fields = std::vector<Field>;

// `level` is a level of spdlog; `format` is "logfmt" or "json". Call before the first record.
void set_up(std::string_view level, std::string_view format);

void debug(std::string_view message, const Fields& fields = {});
void info(std::string_view message, const Fields& fields = {});
void warn(std::string_view message, const Fields& fields = {});
void error(std::string_view message, const Fields& fields = {});

// `text` as a JSON string with quotes, valid in logfmt too: control characters, quotes and invalid UTF-8 are escaped.
std::string quoted(std::string_view text);

// What follows the message of a record: ` name=value name="a value"` for logfmt, `,"name":"value","count":3` for JSON.
std::string format_fields(const Fields& fields, bool json);

// "4s", "300ms"
std::string duration_text(std::chrono::nanoseconds duration);

// "2026-11-24T08:00:06.123Z"
std::string time_text(base::Wall time);

}  // namespace cgwarden::agent::log
