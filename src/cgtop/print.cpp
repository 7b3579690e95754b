// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/print.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "exporter/text_writer.h"
#include "src/base/text.h"
#include "src/cgtop/format.h"
#include "src/cgtop/select.h"

namespace cgwarden::cgtop {
namespace {

using model::CgroupIndex;

bool has_labels(const Columns& columns, const Column& c) {
  return c.source == ColumnSource::field && columns.catalogue().field(c.field).labelled();
}

bool is_series(const Columns& columns, const Column& c) {
  return has_labels(columns, c) && columns.catalogue().field(c.field).kind != model::MetricKind::info;
}

Cell cell_of(const Table& table, ColumnId id, CgroupIndex g, Units units) {
  const auto& c = table.columns()[id];
  if (is_series(table.columns(), c)) {
    Cell cell;
    const auto& column = table.now().columns[c.field];
    const int decimals = model::decimals(table.columns().catalogue().field(c.field).unit);
    for (const auto& series : model::series_of(column, g)) {
      cell.type = Cell::Type::series;
      std::string label(column.text_of(series));
      std::ranges::replace(label, '\0', ',');
      cell.series.emplace_back(std::move(label), exact(series.value, decimals));
    }
    if (cell.type == Cell::Type::series && c.form != Form::text) cell.shown = human(c, table.value(id, g), units);
    return cell;
  }
  if (c.form == Form::text) {
    auto text = table.text(id, g);
    return text.empty() && (c.source == ColumnSource::field || c.source == ColumnSource::container)
               ? Cell()
               : Cell::of_text(std::move(text));
  }
  const auto value = table.value(id, g);
  if (value.is_error()) {
    Cell cell;
    cell.shown = "err";
    return cell;
  }
  return Cell::of_number(exact(value, c.decimals), human(c, value, units));
}

bool has_any_value(const Table& table, const Column& c) {
  if (c.source == ColumnSource::field || c.source == ColumnSource::rate) {
    const auto& column = table.now().columns[c.field];
    return !column.series.empty() || std::ranges::any_of(column.dense, [](model::Value v) { return !v.is_absent(); });
  }
  return true;
}

std::string optional_number(const std::optional<double>& number) {
  if (!number) return "null";
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, *number, std::chars_format::fixed, 3);
  return error == std::errc{} ? std::string(buffer, end) : "null";
}

std::string integer(const std::optional<std::int64_t>& number) { return number ? std::to_string(*number) : "null"; }

// JSON members that precede the list of cgroups, with a comma at the end.
std::string json_members(const Table& table, const Host& host, std::string_view source) {
  std::string out = "\"schema\":1,\"time\":\"" + iso_time(table.now().taken_wall) + "\",\"interval_s\":";
  out += table.delta().known() ? optional_number(table.delta().seconds()) : "null";
  out += ",\"source\":\"" + std::string(source) + "\",\"host\":{\"name\":" + json_text(host.name) +
         ",\"kernel\":" + json_text(host.kernel) + ",\"cpus\":" + std::to_string(host.cpus) +
         ",\"boot_id\":" + json_text(host.boot_id) + ",\"cgroup_mode\":" + json_text(host.layout) +
         ",\"load1\":" + optional_number(host.load[0]) + ",\"memory_total\":" + integer(host.memory_total) +
         ",\"memory_available\":" + integer(host.memory_available) + "},";
  return out;
}

Heading heading(const Column& c) { return {c.name, c.title, c.form != Form::text}; }

}  // namespace

std::string iso_time(base::Wall time) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
  const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char buffer[96];
  (void)std::snprintf(buffer, sizeof buffer, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900,
                      parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                      static_cast<int>(ms % 1000));
  return buffer;
}

Printer::Printer(const Columns& columns, PrintOptions options) : columns_(columns), options_(std::move(options)) {}

// Called once, for the first sample, so that all samples have the same columns.
void Printer::select_columns(const Table& table) {
  for (const auto id : options_.columns) {
    if (!options_.only_present || has_any_value(table, columns_[id])) selected_.push_back(id);
  }
  std::vector<Heading> headings;
  switch (options_.format) {
    case Format::table:
      headings.push_back({"path", options_.indent ? "CGROUP" : "PATH", false});
      break;
    case Format::json:
      headings = {{"id", ""},    {"path", ""}, {"path_base64", ""}, {"parent_id", ""},
                  {"depth", ""}, {"name", ""}, {"kind", ""},        {"state", ""}};
      break;
    case Format::jsonl:
      headings = {{"time", ""},  {"id", ""},   {"path", ""}, {"path_base64", ""}, {"parent_id", ""},
                  {"depth", ""}, {"name", ""}, {"kind", ""}, {"state", ""}};
      break;
    case Format::csv:
    case Format::tsv:
    case Format::kv:
      headings = {{"time", ""}, {"path", ""}};
      break;
    case Format::prom:
      break;
  }
  std::erase_if(selected_, [&](ColumnId id) {
    return std::ranges::any_of(headings, [&](const Heading& h) { return h.name == columns_[id].name; });
  });
  for (const auto id : selected_) headings.push_back(heading(columns_[id]));
  record_printer_.emplace(options_.format, std::move(headings), options_.header);
}

std::string Printer::prometheus(const Table& table, const std::vector<Row>& rows) const {
  std::vector<bool> fields(columns_.catalogue().size(), false);
  for (const auto id : options_.columns) {
    const auto source = columns_[id].source;
    if (source == ColumnSource::field || source == ColumnSource::rate) fields[columns_[id].field] = true;
  }
  std::vector<CgroupIndex> cgroups;
  for (const auto& row : rows) {
    if (!row.dimmed) cgroups.push_back(row.cgroup);
  }
  exporter::Buffer buffer;
  exporter::TextWriter::Options options;
  options.created = false;
  exporter::TextWriter(options).write(*subset(table.now(), std::move(cgroups), fields), exporter::Format::text, {},
                                      buffer);
  return std::string(buffer.view());
}

std::string Printer::print(const Table& table, const std::vector<Row>& rows, const Host& host) {
  if (options_.format == Format::prom) return prometheus(table, rows);
  if (!record_printer_) select_columns(table);
  std::string out;
  record_printer_->begin(out, json_members(table, host, options_.source), "cgroups");
  const auto time = iso_time(table.now().taken_wall);
  std::vector<Cell> cells;
  for (const auto& row : rows) {
    const auto& cgroup = table.cgroup(row.cgroup);
    cells.clear();
    switch (options_.format) {
      case Format::table:
        cells.push_back(Cell::of_text(options_.indent ? std::string(2U * row.depth, ' ') +
                                                            std::string(name_of(table.now(), row.cgroup))
                                                      : cgroup.path));
        break;
      case Format::jsonl:
      case Format::json: {
        if (options_.format == Format::jsonl) cells.push_back(Cell::of_text(time));
        const auto parent = table.parent(row.cgroup);
        cells.push_back(Cell::of_number(std::to_string(cgroup.id)));
        cells.push_back(Cell::of_text(cgroup.path));
        cells.push_back(base::is_utf8(cgroup.path) ? Cell() : Cell::of_text(base64(cgroup.path)));
        cells.push_back(parent == model::kNoCgroup ? Cell() : Cell::of_number(std::to_string(table.cgroup(parent).id)));
        cells.push_back(Cell::of_number(std::to_string(depth_of(cgroup.path))));
        cells.push_back(Cell::of_text(std::string(name_of(table.now(), row.cgroup))));
        cells.push_back(Cell::of_text(std::string(kind_of(table.now(), row.cgroup))));
        cells.push_back(Cell::of_text(table.state(row.cgroup)));
        break;
      }
      default:
        cells.push_back(Cell::of_text(time));
        cells.push_back(Cell::of_text(cgroup.path));
    }
    for (const auto id : selected_) cells.push_back(cell_of(table, id, row.cgroup, options_.units));
    record_printer_->row(out, cells);
  }
  record_printer_->end(out);
  return out;
}

std::string print_cgroup(const Table& table, CgroupIndex cgroup, Units units) {
  const auto& columns = table.columns();
  std::string out = base::printable(table.cgroup(cgroup).path) + '\n';
  const auto line = [&](std::string_view name, const std::string& shown, const std::string& more) {
    std::string text = "  " + std::string(name);
    text.resize(std::max<std::size_t>(text.size() + 1, 42), ' ');
    text += std::string(static_cast<std::size_t>(std::max(0, 12 - width(shown))), ' ') + shown;
    if (!more.empty()) text += "  " + more;
    out += text + '\n';
  };
  const auto column = [&](ColumnId id) {
    const auto& c = columns[id];
    if (c.form == Form::text) {
      if (const auto text = base::printable(table.text(id, cgroup)); !text.empty()) line(c.name, text, "");
      return;
    }
    const auto value = table.value(id, cgroup);
    if (value.is_absent()) return;
    std::string more;
    if (const auto rate = columns.find(c.name + "_rate"); rate && c.source == ColumnSource::field) {
      const auto per_second = table.value(*rate, cgroup);
      if (per_second.is_number() && per_second.fixed() != 0) {
        more = human(columns[*rate], per_second, units) + (columns[*rate].form == Form::ratio ? "%" : "/s");
      }
    }
    if (has_labels(columns, c)) more += (more.empty() ? "" : "  ") + base::printable(table.text(id, cgroup));
    const char* const unit = c.form == Form::ratio ? "%" : c.per_second ? "/s" : "";
    line(c.name, human(c, value, units) + (value.is_number() && units != Units::raw ? unit : ""), more);
  };
  out += "summary\n";
  for (ColumnId id = 0; id < columns.size(); ++id) {
    const auto source = columns[id].source;
    if (source != ColumnSource::field && source != ColumnSource::rate && source != ColumnSource::path) column(id);
  }
  for (std::size_t c = 0; c < columns.catalogue().collectors().size(); ++c) {
    const auto before = out.size();
    for (std::size_t f = 0; f < columns.catalogue().size(); ++f) {
      const auto field = static_cast<model::FieldId>(f);
      if (columns.catalogue().collector_of(field) == c) column(*columns.find(columns.catalogue().field(field).name));
    }
    if (out.size() > before) out.insert(before, std::string(columns.catalogue().collectors()[c].name) + '\n');
  }
  return out;
}

std::string print_processes(const Processes& processes, Format format, bool header, Units units,
                            const std::string& cgroup) {
  RecordPrinter printer(format,
                        {{"pid", "PID"},
                         {"user", "USER", false},
                         {"cpu", "CPU%"},
                         {"memory", "MEM"},
                         {"swap", "SWAP"},
                         {"threads", "THR"},
                         {"state", "S", false},
                         {"cpu_seconds", "TIME"},
                         {"age", "AGE"},
                         {"command", "COMMAND", false}},
                        header);
  Column ratio;
  ratio.form = Form::ratio;
  ratio.decimals = 4;
  Column bytes;
  bytes.form = Form::bytes;
  Column seconds;
  seconds.form = Form::seconds;
  seconds.decimals = 2;
  const auto number = [&](const Column& c, double value) {
    const auto fixed = model::Value::of(std::llround(value * std::pow(10.0, c.decimals)));
    return Cell::of_number(exact(fixed, c.decimals), human(c, fixed, units));
  };
  std::string out;
  printer.begin(
      out, "\"schema\":1,\"cgroup\":" + json_text(cgroup) + ",\"hidden\":" + std::to_string(processes.hidden) + ',',
      "processes");
  for (const auto& p : processes.all) {
    printer.row(
        out, {Cell::of_number(std::to_string(p.pid)), Cell::of_text(p.user), p.cpu ? number(ratio, *p.cpu) : Cell(),
              number(bytes, static_cast<double>(p.rss)), p.swap ? number(bytes, static_cast<double>(*p.swap)) : Cell(),
              Cell::of_number(std::to_string(p.threads)), Cell::of_text(std::string(1, p.state)),
              number(seconds, p.cpu_seconds), number(seconds, p.age), Cell::of_text(p.command)});
  }
  printer.end(out);
  return out;
}

std::string print_fields(const Columns& columns, Format format, bool header) {
  RecordPrinter printer(format,
                        {{"name", "NAME", false},
                         {"unit", "UNIT", false},
                         {"kind", "KIND", false},
                         {"title", "TITLE", false},
                         {"help", "DESCRIPTION", false}},
                        header);
  const auto unit = [](const Column& c) -> std::string {
    std::string out = c.form == Form::bytes     ? "bytes"
                      : c.form == Form::seconds ? "seconds"
                      : c.form == Form::ratio   ? "ratio"
                      : c.form == Form::text    ? "text"
                                                : "";
    if (c.per_second) out += out.empty() ? "1/s" : "/s";
    return out;
  };
  std::string out;
  printer.begin(out, "\"schema\":1,", "fields");
  for (ColumnId id = 0; id < columns.size(); ++id) {
    const auto& c = columns[id];
    const auto kind = c.source == ColumnSource::field
                          ? std::string(model::name(columns.catalogue().field(c.field).kind))
                      : c.source == ColumnSource::rate ? "rate"
                                                       : "computed";
    printer.row(out, {Cell::of_text(c.name), Cell::of_text(unit(c)), Cell::of_text(kind), Cell::of_text(c.title),
                      Cell::of_text(c.help)});
  }
  printer.end(out);
  return out;
}

}  // namespace cgwarden::cgtop
