// SPDX-License-Identifier: Apache-2.0
// What is typed after ':' on the screen: options of the command line by their names, and keys by theirs. Pure.
#pragma once

#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/cgtop/columns.h"
#include "src/cgtop/keys.h"

namespace cgwarden::cgtop {

struct Command {
  enum class What : std::uint8_t { key, sort, set, fields, filter, units, cpu, delay, theme, cgroup, find, jump };
  What what = What::key;
  char32_t key = key::kNone;  // of What::key
  std::string argument;       // of the others
};
// Error: one line that says what is wrong.
base::Result<Command> parse_command(std::string_view text);

// How `text` can go on: all that is certain, and the next words there are, no more than fit a wide screen.
struct Completion {
  std::string text;
  std::string ways;
};
Completion complete_command(std::string_view text, const Columns& columns);

}  // namespace cgwarden::cgtop
