// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/grid.h"

#include <algorithm>

#include "src/cgtop/format.h"

namespace cgwarden::cgtop {

Grid::Grid(int rows, int columns) : rows_(std::max(rows, 0)), columns_(std::max(columns, 0)), cells_(index(rows_, 0)) {}

int Grid::put(int row, int column, std::string_view utf8, Style style) {
  if (row < 0 || row >= rows_) return column + width(utf8);
  while (!utf8.empty()) {
    auto rune = take_rune(utf8);
    if (rune.cells < 0) rune = {"?", 1};
    if (rune.cells == 0) {
      if (column > 0 && column <= columns_) cells_[index(row, column - 1)].text += rune.text;
      continue;
    }
    if (column >= 0 && column + rune.cells <= columns_) {
      cells_[index(row, column)] = {std::string(rune.text), style};
      if (rune.cells == 2) cells_[index(row, column + 1)] = {std::string(), style};
    }
    column += rune.cells;
  }
  return column;
}

void Grid::put_right(int row, int end, std::string_view utf8, Style style) { put(row, end - width(utf8), utf8, style); }

void Grid::restyle(int row, int from, int to, Style style) {
  if (row < 0 || row >= rows_) return;
  for (int c = std::max(from, 0); c < std::min(to, columns_); ++c) {
    auto& s = cells_[index(row, c)].style;
    s.bold |= style.bold;
    s.dim |= style.dim;
    s.reverse |= style.reverse;
    s.underline |= style.underline;
    if (style.fg != Color::normal) s.fg = style.fg;
  }
}

void Grid::clear(int row, int from, int to, Style style) {
  if (row < 0 || row >= rows_) return;
  for (int c = std::max(from, 0); c < std::min(to, columns_); ++c) cells_[index(row, c)] = {" ", style};
}

std::string Grid::text() const {
  std::string out;
  for (int r = 0; r < rows_; ++r) {
    std::string line;
    for (int c = 0; c < columns_; ++c) line += at(r, c).text;
    while (!line.empty() && line.back() == ' ') line.pop_back();
    out += line + '\n';
  }
  return out;
}

}  // namespace cgwarden::cgtop
