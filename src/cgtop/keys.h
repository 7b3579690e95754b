// SPDX-License-Identifier: Apache-2.0
// Keys as the screen knows them.
#pragma once

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

}  // namespace cgwarden::cgtop
