// SPDX-License-Identifier: Apache-2.0
// Commands that the user types after ':' on the screen: options of the command line by their names, and keys by a name.
// Pure.
#pragma once

#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/cgtop/columns.h"
#include "src/cgtop/keys.h"

namespace cgwarden::cgtop {

// `key`: the command acts like a key of the screen; the others are options of the command line.
enum class CommandKind : std::uint8_t { key, sort, set, fields, filter, units, cpu, delay, theme, cgroup, find, jump };

struct Command {
  CommandKind kind = CommandKind::key;
  char32_t key = key::kNone;  // for CommandKind::key
  std::string argument;       // for the other kinds
};
// Error: one line.
base::Result<Command> parse_command(std::string_view text);

// `text`: the input extended by the longest common prefix of all candidates. `choices`: the candidates for the next
// word, separated by spaces, at most as many as fit a wide screen.
struct Completion {
  std::string text;
  std::string choices;
};
Completion complete_command(std::string_view text, const Columns& columns);

}  // namespace cgwarden::cgtop
