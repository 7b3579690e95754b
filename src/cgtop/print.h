// SPDX-License-Identifier: Apache-2.0
// Output of the subcommands `dump`, `show`, `tree`, `ps` and `fields` in all formats. Free of side effects:
// functions take a table and return text.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/cgtop/format.h"
#include "src/cgtop/frame.h"
#include "src/cgtop/host.h"
#include "src/cgtop/record_printer.h"

namespace cgwarden::cgtop {

struct PrintOptions {
  Format format = Format::table;
  std::vector<ColumnId> columns;  // printed after the columns that identify the cgroup
  bool header = true;
  bool indent = false;        // print names, indented as a tree, instead of paths
  bool only_present = false;  // omit columns for which no cgroup of the first sample has a value
  Units units = Units::iec;
  std::string_view source = "cgroupfs";
};

// Prints consecutive samples. The first one decides the columns; CSV and TSV headings are printed once.
class Printer {
 public:
  Printer(const Columns& columns, PrintOptions options);
  std::string print(const Table& table, const std::vector<Row>& rows, const Host& host);

 private:
  void select_columns(const Table& table);
  std::string prometheus(const Table& table, const std::vector<Row>& rows) const;

  const Columns& columns_;
  PrintOptions options_;
  std::vector<ColumnId> selected_;
  std::optional<RecordPrinter> record_printer_;
};

// All values of one cgroup as text: computed columns first, then the fields of each collector.
std::string print_cgroup(const Table& table, model::CgroupIndex cgroup, Units units);

// `cgroup` is the path, for JSON.
std::string print_processes(const Processes& processes, Format format, bool header, Units units,
                            const std::string& cgroup);
// All columns with unit, kind, title and description.
std::string print_fields(const Columns& columns, Format format, bool header);

// UTC in ISO 8601 with milliseconds: "2026-11-24T03:52:10.004Z".
std::string iso_time(base::Wall time);

}  // namespace cgwarden::cgtop
