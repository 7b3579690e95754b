// SPDX-License-Identifier: Apache-2.0
// Keys and the mouse as the screen knows them.
#pragma once

#include <cstdint>
#include <variant>

namespace cgwarden::cgtop {

// A character, or one of these.
namespace key {
enum : char32_t {
  kTab = 9,
  kEnter = 10,
  kEscape = 27,
  kBackspace = 127,
  kUp = 0x110000,
  kDown,
  kLeft,
  kRight,
  kPageUp,
  kPageDown,
  kHome,
  kEnd,
  kBackTab,
  kDelete,
  kF1,  // to kF1 + 11
  kNone = 0x120000,
};
constexpr char32_t ctrl(char c) { return static_cast<char32_t>(c) & 0x1FU; }
}  // namespace key

// What the mouse did, and in which cell.
struct Pointed {
  enum class What : std::uint8_t { click, wheel_up, wheel_down };
  What what = What::click;
  int row = 0;
  int column = 0;
  bool again = false;  // soon after another click in the same cell
};

using Pressed = std::variant<char32_t, Pointed>;

}  // namespace cgwarden::cgtop
