// SPDX-License-Identifier: Apache-2.0
// Input events: keys and the mouse.
#pragma once

#include <cstdint>
#include <variant>

namespace cgwarden::cgtop {

// A key is a Unicode character or one of these values.
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
  kF1,  // F1 to F12 are kF1 to kF1 + 11
  kNone = 0x120000,
};
constexpr char32_t ctrl(char c) { return static_cast<char32_t>(c) & 0x1FU; }
}  // namespace key

// A mouse event and its cell.
struct MouseEvent {
  enum class Kind : std::uint8_t { click, wheel_up, wheel_down };
  Kind kind = Kind::click;
  int row = 0;
  int column = 0;
  bool repeated = false;  // second half of a double click in the same cell
};

using InputEvent = std::variant<char32_t, MouseEvent>;

}  // namespace cgwarden::cgtop
