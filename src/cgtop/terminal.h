// SPDX-License-Identifier: Apache-2.0
// The real terminal, by ncurses: the only file that includes it. One at a time, on the loop's thread. It is put back as
// it was by the destructor, and by a handler when the program dies of a signal.
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
    bool mouse = true;  // false: it is left to the terminal, which selects text with it
  };
  // Error: TERM names no terminal that can place a cursor, or there is none at all.
  static base::Result<std::unique_ptr<Terminal>> open(const Options& options);
  // Could show more than ASCII.
  static bool is_utf8();

  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  [[nodiscard]] int rows() const;
  [[nodiscard]] int columns() const;
  void set_theme(const Theme& theme);
  // Takes in the terminal's new size.
  void resize();
  // False: the terminal takes no more now (slow line, ^S); nothing was written, try later.
  bool show(const Grid& grid);
  // All keys that wait, as in key::, and what the mouse did between them.
  std::vector<Pressed> read_keys();
  // Into the terminal's clipboard, of a terminal that has one and lets programs use it (OSC 52).
  void copy(std::string_view text);
  // The other end is gone.
  [[nodiscard]] bool hung_up() const;
  [[nodiscard]] int input() const;

  // Gives the terminal to the shell and takes it back.
  void suspend();
  void resume();

 private:
  struct Inner;
  std::optional<Pointed> read_mouse();
  explicit Terminal(std::unique_ptr<Inner> inner);
  std::unique_ptr<Inner> inner_;
};

}  // namespace cgwarden::cgtop
