// SPDX-License-Identifier: Apache-2.0
// Themes: views choose a style by meaning (bad, title), a theme maps it to colors and attributes. No information is
// carried by color alone, so every theme shows the same facts.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "src/cgtop/grid.h"

namespace cgwarden::cgtop {

// Attributes for the terminal; color -1 is the terminal's default.
struct Paint {
  short fg = -1;
  short bg = -1;
  bool bold = false;
  bool dim = false;
  bool reverse = false;
  bool underline = false;
};

struct Theme {
  // The color of one role: its number on terminals with 256 and with 8 colors.
  struct Role {
    short color_256 = -1;
    short color_8 = -1;
    bool bold = false;
    bool reverse = false;
    bool underline = false;
  };
  std::string_view name;
  std::array<Role, kColors> roles;  // indexed by Color
  // Background of the whole screen; -1: the terminal's default.
  short background_256 = -1;
  short background_8 = -1;
  bool uses_dim = true;  // less important text is dim
};

// default (the terminal's palette), dark and light (for that background), high-contrast (color-blind safe), mono.
extern const std::array<Theme, 5> kThemes;

// nullptr: unknown name.
const Theme* find_theme(std::string_view name);
// `colors`: the number of colors of the terminal; with fewer than 8 none is used.
Paint paint(const Theme& theme, const Style& style, int colors);

}  // namespace cgwarden::cgtop
