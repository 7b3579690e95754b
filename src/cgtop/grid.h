// SPDX-License-Identifier: Apache-2.0
// A screen as a grid of cells, with the targets of mouse clicks. Views draw on it, Terminal shows it, tests read it as
// text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cgwarden::cgtop {

// Meaning of a text; the theme maps it to a color.
enum class Color : std::uint8_t { normal, bad, good, warn, title };
inline constexpr std::size_t kColors = 5;

struct Style {
  Color fg = Color::normal;
  bool bold = false;
  bool dim = false;
  bool reverse = false;
  bool underline = false;
  friend bool operator==(const Style&, const Style&) = default;
};

inline constexpr Style kPlain{};
inline constexpr Style kBold{.bold = true};
inline constexpr Style kDim{.dim = true};
inline constexpr Style kReverse{.reverse = true};
inline constexpr Style kTitle{.fg = Color::title, .bold = true};
inline constexpr Style kWarn{.fg = Color::warn};
inline constexpr Style kBad{.fg = Color::bad};
inline constexpr Style kCritical{.fg = Color::bad, .bold = true};
inline constexpr Style kGraph{.fg = Color::good};

struct GridCell {
  std::string text = " ";  // one character and its combining marks; empty: right half of a wide character
  Style style;
  friend bool operator==(const GridCell&, const GridCell&) = default;
};

enum class ClickKind : std::uint8_t {
  cgroup,   // id: of the cgroup
  fold,     // the + or - before a cgroup's name; id: of the cgroup
  heading,  // id: ColumnId
  set,      // id: index into kColumnSets
  tab,      // id: Tab
  item,     // of a menu; id: its index
  key,      // acts like this key; id: the key
};

// Cells [from, to) of a row that react to a click.
struct ClickTarget {
  ClickKind kind = ClickKind::cgroup;
  std::uint64_t id = 0;
  int row = 0;
  int from = 0;
  int to = 0;
};

class Grid {
 public:
  Grid(int rows, int columns);

  [[nodiscard]] int rows() const { return rows_; }
  [[nodiscard]] int columns() const { return columns_; }
  [[nodiscard]] const GridCell& at(int row, int column) const { return cells_[index(row, column)]; }

  // Writes from `column` on and returns the column after the text. Text outside the grid is clipped; a control
  // character becomes '?'.
  int put(int row, int column, std::string_view utf8, Style style = {});
  // Writes so that the text ends before column `end`.
  void put_right(int row, int end, std::string_view utf8, Style style = {});
  // Adds attributes to existing cells, such as those of the cursor row.
  void restyle(int row, int from, int to, Style style);
  void clear(int row, int from, int to, Style style = {});

  // Targets added later take precedence.
  void add_click_target(int row, int from, int to, ClickKind kind, std::uint64_t id) {
    click_targets_.push_back({kind, id, row, from, to});
  }
  void clear_click_targets() { click_targets_.clear(); }
  [[nodiscard]] const std::vector<ClickTarget>& click_targets() const { return click_targets_; }

  // The rows as lines, without trailing spaces.
  [[nodiscard]] std::string text() const;

 private:
  [[nodiscard]] std::size_t index(int row, int column) const {
    return static_cast<std::size_t>(row) * static_cast<std::size_t>(columns_) + static_cast<std::size_t>(column);
  }
  int rows_;
  int columns_;
  std::vector<GridCell> cells_;
  std::vector<ClickTarget> click_targets_;
};

}  // namespace cgwarden::cgtop
