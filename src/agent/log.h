// SPDX-License-Identifier: Apache-2.0
// The agent's log: standard error, one line a message, logfmt or JSON. Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "src/base/clock.h"

namespace cgwarden::agent::log {

void set_up(std::string_view level, std::string_view format);

void debug(std::string_view message);
void info(std::string_view message);
void warn(std::string_view message);
void error(std::string_view message);

// `text` between quotes, for a logfmt or JSON value: controls, quotes and broken UTF-8 escaped.
std::string quoted(std::string_view text);

// "2026-11-24T08:00:06.123Z"
std::string time_text(base::Wall time);

}  // namespace cgwarden::agent::log
