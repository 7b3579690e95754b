// SPDX-License-Identifier: Apache-2.0
// Rows of named cells in seven formats. Numbers are exact and in base units; what is not known is null in JSON and
// nothing elsewhere; unlimited is "max". Texts of others are escaped so that no format can reach a terminal raw: JSON
// keeps them (\u001b), the others show them (\x1b).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/model/value.h"

namespace cgwarden::cgtop {

enum class Format : std::uint8_t { table, json, jsonl, csv, tsv, kv, prom };
std::optional<Format> format_of(std::string_view name);

struct Cell {
  enum class Is : std::uint8_t { nothing, number, text, series };
  Is is = Is::nothing;
  std::string text;                                         // of a number: exact; JSON writes it as it is
  std::string shown;                                        // of a number, in a table
  std::vector<std::pair<std::string, std::string>> series;  // label and exact number, or "max"

  static Cell of_text(std::string text);
  static Cell of_number(std::string exact, std::string shown = {});
};

struct Heading {
  std::string name;
  std::string title;  // of a table
  bool right = true;  // aligned, in a table
};

class Sheet {
 public:
  Sheet(Format format, std::vector<Heading> headings, bool header);

  // `begin` and `end` stand around the rows of one sample; `members` is JSON put before them, `"time":"...",`.
  void begin(std::string& out, std::string_view members, std::string_view list_name);
  void row(std::string& out, const std::vector<Cell>& cells);
  void end(std::string& out);

 private:
  void json_row(std::string& out, const std::vector<Cell>& cells) const;

  Format format_;
  std::vector<Heading> headings_;
  bool header_;
  bool first_ = true;
  std::vector<std::vector<std::string>> table_;  // a table waits for its widths
};

std::string json_text(std::string_view text);  // with quotes, ASCII only
std::string csv_text(std::string_view text, char separator);
std::string shell_text(std::string_view text);
std::string base64(std::string_view bytes);

}  // namespace cgwarden::cgtop
