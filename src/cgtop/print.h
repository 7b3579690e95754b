// SPDX-License-Identifier: Apache-2.0
// Cgroups as text for programs and for people: what `dump`, `show` and `tree` print. Pure: a table in, text out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/cgtop/format.h"
#include "src/cgtop/frame.h"
#include "src/cgtop/host.h"
#include "src/cgtop/sheet.h"

namespace cgwarden::cgtop {

struct PrintOptions {
  Format format = Format::table;
  std::vector<ColumnId> columns;  // after those that say which cgroup it is
  bool header = true;
  bool indent = false;        // names as a tree instead of paths
  bool only_present = false;  // leave out columns that no cgroup of this host has
  Units units = Units::iec;
  std::string_view source = "cgroupfs";
};

// Prints samples, one after the other; headings once.
class Printer {
 public:
  Printer(const Columns& columns, PrintOptions options);
  std::string print(const Table& table, const std::vector<Row>& rows, const Host& host);

 private:
  void choose(const Table& table);
  std::string prometheus(const Table& table, const std::vector<Row>& rows) const;

  const Columns& all_;
  PrintOptions options_;
  std::vector<ColumnId> chosen_;
  std::optional<Sheet> sheet_;
};

// Everything of one cgroup, for people.
std::string print_cgroup(const Table& table, model::CgroupIndex cgroup, Units units);

std::string print_processes(const Processes& processes, Format format, bool header, Units units,
                            const std::string& cgroup);
std::string print_fields(const Columns& columns, Format format, bool header);

// "2026-11-24T03:52:10.004Z"
std::string iso_time(base::Wall time);

}  // namespace cgwarden::cgtop
