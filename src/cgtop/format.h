// SPDX-License-Identifier: Apache-2.0
// Numbers as text: exact in base units for programs, four digits for people. Integer arithmetic; no locale.
#pragma once

#include <string>
#include <string_view>

#include "src/cgtop/columns.h"
#include "src/model/value.h"

namespace cgwarden::cgtop {

enum class Units : std::uint8_t { iec, si, raw };
enum class CpuScale : std::uint8_t { core, machine };

// "1.5", "-3", "max"; nothing for absent and error.
void append_exact(std::string& out, model::Value value, int decimals);
std::string exact(model::Value value, int decimals);

// "41.2G", "88.7", "3d02h", "-" for absent, "err", "max".
std::string human(const Column& column, model::Value value, Units units);
std::string human_bytes(double bytes, Units units);
std::string human_duration(double seconds);

// Cells that `text` takes on a terminal: 0 for combining marks, 2 for wide characters. Control characters take 1, as
// nothing should come here before base::printable().
int width(std::string_view utf8);
// Takes the first character off `rest`, which is not empty. A character that is broken or a control has no cells of its
// own and must not be shown: `cells` is -1 then.
struct Rune {
  std::string_view text;
  int cells = 1;
};
Rune take_rune(std::string_view& rest);
// Shortened to `cells` in the middle with `mark` ("~" or "…") where something is left out.
std::string cut_middle(std::string_view utf8, int cells, std::string_view mark = "~");
// The first `cells` cells, never half of a character.
std::string_view cut_end(std::string_view utf8, int cells);
// `text` with what is not ASCII as \xNN: for terminals that know nothing else.
std::string ascii_only(std::string_view utf8);

}  // namespace cgwarden::cgtop
