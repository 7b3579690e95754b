// SPDX-License-Identifier: Apache-2.0
// Prints rows of named cells in six formats; Format::prom is handled by the exporter's TextWriter. Numbers are exact
// and in base units; unlimited is "max"; a missing value is null in JSON, "-" in tables and empty in the other formats.
// Texts from outside (names, labels) are escaped in all formats, so no control character reaches a terminal: JSON uses
// \u001b, the other formats \x1b.
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
  enum class Type : std::uint8_t { nothing, number, text, series };
  Type type = Type::nothing;
  std::string text;                                         // the text, or the exact number as printed in JSON
  std::string shown;                                        // a number as printed in a table
  std::vector<std::pair<std::string, std::string>> series;  // label, and exact number or "max"

  static Cell of_text(std::string text);
  static Cell of_number(std::string exact, std::string shown = {});
};

struct Heading {
  std::string name;
  std::string title;  // heading in a table
  bool right = true;  // right-aligned in a table
};

class RecordPrinter {
 public:
  RecordPrinter(Format format, std::vector<Heading> headings, bool header);

  // begin() and end() enclose the rows of one sample. `members` are JSON members to print before the list of rows, with
  // a comma at the end: `"time":"...",`. All functions append to `out`; tables are printed by end().
  void begin(std::string& out, std::string_view members, std::string_view list_name);
  void row(std::string& out, const std::vector<Cell>& cells);
  void end(std::string& out);

 private:
  void json_row(std::string& out, const std::vector<Cell>& cells) const;

  Format format_;
  std::vector<Heading> headings_;
  bool header_;
  bool first_ = true;
  std::vector<std::vector<std::string>> table_;  // rows of a table, kept until end() knows the column widths
};

std::string json_text(std::string_view text);  // with quotes, ASCII only
// Quoted as in RFC 4180 if necessary.
std::string csv_text(std::string_view text, char separator);
// Quoted as one word of a POSIX shell if necessary.
std::string shell_text(std::string_view text);
std::string base64(std::string_view bytes);

}  // namespace cgwarden::cgtop
