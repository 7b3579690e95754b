// SPDX-License-Identifier: Apache-2.0
// What the styles that views paint with look like. Views say what something is (bad, a title); a theme says how that is
// painted. Nothing is told by a colour alone, so every theme shows the same.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "src/cgtop/grid.h"

namespace cgwarden::cgtop {

// As a terminal is told; a colour of -1 is the terminal's own.
struct Paint {
  short fg = -1;
  short bg = -1;
  bool bold = false;
  bool dim = false;
  bool reverse = false;
  bool underline = false;
};

struct Theme {
  // Of one role: the number of its colour where there are 256, and where there are 8.
  struct Role {
    short many = -1;
    short few = -1;
    bool bold = false;
    bool reverse = false;
    bool underline = false;
  };
  std::string_view name;
  std::array<Role, kColors> roles;  // by Color
  // Painted behind everything; -1: what the terminal has.
  short many_paper = -1;
  short few_paper = -1;
  bool dims = true;  // what matters less is fainter
};

// The terminal's own colours; for a black and for a white background; the same for all eyes; none at all.
extern const std::array<Theme, 5> kThemes;

// Null: there is no such theme.
const Theme* find_theme(std::string_view name);
// On a terminal of so many colours; below 8 there are none.
Paint paint(const Theme& theme, const Style& style, int colors);

}  // namespace cgwarden::cgtop
