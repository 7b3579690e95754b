// SPDX-License-Identifier: Apache-2.0
// A screen as cells. Views draw on it, tests read it as text, the terminal shows it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cgwarden::cgtop {

// What a text is, which a theme gives a colour to.
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
inline constexpr Style kWorst{.fg = Color::bad, .bold = true};
inline constexpr Style kGraph{.fg = Color::good};

struct GridCell {
  std::string text = " ";  // one character and what combines with it; empty: right half of a wide one
  Style style;
  friend bool operator==(const GridCell&, const GridCell&) = default;
};

// A piece of the screen that the mouse can click on.
struct Spot {
  enum class What : std::uint8_t {
    cgroup,   // by its id
    fold,     // the sign before a cgroup's name
    heading,  // of a ColumnId
    set,
    tab,
    item,  // of a menu, by its place
    key,   // as good as this one
  };
  What what = What::cgroup;
  std::uint64_t which = 0;
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

  // Writes from `column` on and gives the column after it. What lies outside is cut, a control character becomes '?'.
  int put(int row, int column, std::string_view utf8, Style style = {});
  // So that it ends before `end`.
  void put_right(int row, int end, std::string_view utf8, Style style = {});
  // Adds to what stands there: the line of the cursor.
  void restyle(int row, int from, int to, Style style);
  void clear(int row, int from, int to, Style style = {});

  // What is marked later lies above.
  void mark(int row, int from, int to, Spot::What what, std::uint64_t which) {
    spots_.push_back({what, which, row, from, to});
  }
  void forget_spots() { spots_.clear(); }
  [[nodiscard]] const std::vector<Spot>& spots() const { return spots_; }

  // Lines without the spaces at their ends.
  [[nodiscard]] std::string text() const;

 private:
  [[nodiscard]] std::size_t index(int row, int column) const {
    return static_cast<std::size_t>(row) * static_cast<std::size_t>(columns_) + static_cast<std::size_t>(column);
  }
  int rows_;
  int columns_;
  std::vector<GridCell> cells_;
  std::vector<Spot> spots_;
};

}  // namespace cgwarden::cgtop
