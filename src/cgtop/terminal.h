// SPDX-License-Identifier: Apache-2.0
// The terminal, through ncurses; terminal.cpp is the only file that includes it. At most one instance, used on the
// thread of the event loop. The destructor restores the terminal; so does a handler for fatal signals.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/cgtop/grid.h"
#include "src/cgtop/keys.h"
#include "src/cgtop/theme.h"

namespace cgwarden::cgtop {

class Terminal {
 public:
  struct Options {
    bool color = true;
    bool mouse = true;  // false: the terminal keeps the mouse, to select text
  };
  // Error: standard output is not a terminal, or TERM is unknown.
  static base::Result<std::unique_ptr<Terminal>> open(const Options& options);
  // True if the locale's encoding is UTF-8.
  static bool is_utf8();

  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  [[nodiscard]] int rows() const;
  [[nodiscard]] int columns() const;
  void set_theme(const Theme& theme);
  // Adopts the new size of the terminal after SIGWINCH.
  void resize();
  // False: the terminal accepts no output now (slow line, ^S); nothing was written, retry later.
  bool show(const Grid& grid);
  // All pending keys, as in key::, and mouse events, in order.
  std::vector<InputEvent> read_keys();
  // Copies the text to the clipboard of the terminal, if it has one and allows programs to set it (OSC 52).
  void copy(std::string_view text);
  // True if the other end has closed the terminal.
  [[nodiscard]] bool hung_up() const;
  [[nodiscard]] int input() const;

  // Returns the terminal to the shell, and takes it again.
  void suspend();
  void resume();

 private:
  struct Inner;
  std::optional<MouseEvent> read_mouse();
  explicit Terminal(std::unique_ptr<Inner> inner);
  std::unique_ptr<Inner> inner_;
};

}  // namespace cgwarden::cgtop
