// SPDX-License-Identifier: Apache-2.0
// Numbers as text: exact in base units for programs, up to four digits for people. Independent of the locale.
#pragma once

#include <string>
#include <string_view>

#include "src/cgtop/columns.h"
#include "src/model/value.h"

namespace cgwarden::cgtop {

enum class Units : std::uint8_t { iec, si, raw };
enum class CpuScale : std::uint8_t { core, machine };

// "1.5", "-3", "max"; empty for absent and error.
void append_exact(std::string& out, model::Value value, int decimals);
std::string exact(model::Value value, int decimals);

// "41.2G", "88.7", "3d02h", "-" for absent, "err", "max".
std::string human(const Column& column, model::Value value, Units units);
std::string human_bytes(double bytes, Units units);
std::string human_duration(double seconds);

// Number of terminal cells of a text: 0 for combining marks, 2 for wide characters. Control characters count as 1;
// callers apply base::printable() first.
int width(std::string_view utf8);
// Removes the first character from `rest`, which must not be empty. `cells` is -1 for invalid UTF-8 and control
// characters, which must not be shown.
struct Rune {
  std::string_view text;
  int cells = 1;
};
Rune take_rune(std::string_view& rest);
// Truncates to `cells` cells by replacing the middle with `mark` ("~" or "…").
std::string cut_middle(std::string_view utf8, int cells, std::string_view mark = "~");
// The first `cells` cells; never half of a character.
std::string_view cut_end(std::string_view utf8, int cells);
// The text with non-ASCII bytes as \xNN, for terminals without UTF-8.
std::string ascii_only(std::string_view utf8);

}  // namespace cgwarden::cgtop
