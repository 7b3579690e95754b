// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/theme.h"

#include <algorithm>

namespace cgwarden::cgtop {

// Roles in the order of Color: normal, bad, good, warn, title. Of 256 colors, users redefine the first 16; those above
// are the same on every terminal, so these are used where a minimum contrast is required (checked by a unit test).
const std::array<Theme, 5> kThemes = {{
    {"default", {{{}, {1, 1}, {2, 2}, {3, 3}, {6, 6}}}},
    {"dark", {{{}, {210, 1}, {114, 2}, {221, 3}, {117, 6}}}},
    // Yellow, green and cyan of the 8 colors are illegible on white.
    {"light", {{{}, {124, 1}, {22, 4}, {94, 5}, {25, 4}}}},
    // Orange and blue are distinguishable with red-green color blindness; `bad` is also reversed, `warn` underlined.
    {"high-contrast",
     {{{231, 7}, {214, 3, true, true, false}, {117, 6}, {226, 3, false, false, true}, {231, 7, true, false, false}}},
     16,
     0,
     false},
    {"mono", {{{}, {-1, -1, true, false, false}, {}, {}, {}}}},
}};

const Theme* find_theme(std::string_view name) {
  const auto* const found = std::ranges::find(kThemes, name, &Theme::name);
  return found == kThemes.end() ? nullptr : found;
}

Paint paint(const Theme& theme, const Style& style, int colors) {
  const auto& role = theme.roles[static_cast<std::size_t>(style.fg)];
  Paint out;
  if (colors >= 8) {
    out.fg = colors >= 256 ? role.color_256 : role.color_8;
    out.bg = colors >= 256 ? theme.background_256 : theme.background_8;
  }
  out.bold = style.bold || role.bold;
  out.dim = style.dim && theme.uses_dim;
  out.reverse = style.reverse || role.reverse;
  out.underline = style.underline || role.underline;
  return out;
}

}  // namespace cgwarden::cgtop
