// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/record_printer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "src/base/text.h"
#include "src/cgtop/format.h"

namespace cgwarden::cgtop {
namespace {

std::string padded(const std::string& text, int cells, bool right) {
  const std::string space(static_cast<std::size_t>(std::max(0, cells - width(text))), ' ');
  return right ? space + text : text + space;
}

std::string plain_text(const Cell& cell) {
  if (cell.type != Cell::Type::series) return cell.text;
  std::string out;
  for (const auto& [label, number] : cell.series) {
    if (!out.empty()) out += ' ';
    out += label + '=' + number;
  }
  return out;
}

void json_number(std::string& out, const std::string& exact) {
  if (exact.empty()) {
    out += "null";
  } else if (exact == "max") {
    out += "\"max\"";
  } else {
    out += exact;
  }
}

}  // namespace

std::optional<Format> format_of(std::string_view name) {
  using enum Format;
  for (const auto& [text, format] : {std::pair<std::string_view, Format>{"table", table},
                                     {"json", json},
                                     {"jsonl", jsonl},
                                     {"csv", csv},
                                     {"tsv", tsv},
                                     {"kv", kv},
                                     {"prom", prom}}) {
    if (text == name) return format;
  }
  return std::nullopt;
}

Cell Cell::of_text(std::string text) {
  Cell cell;
  cell.type = Type::text;
  cell.text = std::move(text);
  return cell;
}

Cell Cell::of_number(std::string exact, std::string shown) {
  Cell cell;
  cell.type = exact.empty() ? Type::nothing : Type::number;
  cell.text = std::move(exact);
  cell.shown = std::move(shown);
  return cell;
}

std::string json_text(std::string_view text) { return nlohmann::json(base::to_utf8(text)).dump(-1, ' ', true); }

std::string csv_text(std::string_view text, char separator) {
  auto escaped = base::printable(text);
  if (escaped.find_first_of("\"\r\n") == std::string::npos && escaped.find(separator) == std::string::npos)
    return escaped;
  std::string out = "\"";
  for (const char c : escaped) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

std::string shell_text(std::string_view text) {
  auto escaped = base::printable(text);
  constexpr std::string_view unquoted = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@%+,-";
  if (!escaped.empty() && escaped.find_first_not_of(unquoted) == std::string::npos) return escaped;
  std::string out = "'";
  for (const char c : escaped) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + '\'';
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](std::size_t k) -> std::uint32_t {
      return i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U;
    };
    const std::uint32_t n = byte(0) << 16U | byte(1) << 8U | byte(2);
    out += digits[n >> 18U];
    out += digits[n >> 12U & 63U];
    out += i + 1 < bytes.size() ? digits[n >> 6U & 63U] : '=';
    out += i + 2 < bytes.size() ? digits[n & 63U] : '=';
  }
  return out;
}

RecordPrinter::RecordPrinter(Format format, std::vector<Heading> headings, bool header)
    : format_(format), headings_(std::move(headings)), header_(header) {}

void RecordPrinter::begin(std::string& out, std::string_view members, std::string_view list_name) {
  first_ = true;
  if (format_ == Format::json) {
    out += '{';
    out += members;
    out += '"';
    out += list_name;
    out += "\":[";
  }
  if ((format_ == Format::csv || format_ == Format::tsv) && header_) {
    const char separator = format_ == Format::csv ? ',' : '\t';
    for (std::size_t i = 0; i < headings_.size(); ++i) {
      if (i > 0) out += separator;
      out += csv_text(headings_[i].name, separator);
    }
    out += format_ == Format::csv ? "\r\n" : "\n";
    header_ = false;
  }
}

void RecordPrinter::json_row(std::string& out, const std::vector<Cell>& cells) const {
  out += '{';
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) out += ',';
    out += json_text(headings_[i].name);
    out += ':';
    const auto& cell = cells[i];
    switch (cell.type) {
      case Cell::Type::text:
        out += json_text(cell.text);
        break;
      case Cell::Type::number:
        json_number(out, cell.text);
        break;
      case Cell::Type::series: {
        out += '{';
        for (std::size_t s = 0; s < cell.series.size(); ++s) {
          if (s > 0) out += ',';
          out += json_text(cell.series[s].first);
          out += ':';
          json_number(out, cell.series[s].second);
        }
        out += '}';
        break;
      }
      case Cell::Type::nothing:
        out += "null";
        break;
    }
  }
  out += '}';
}

void RecordPrinter::row(std::string& out, const std::vector<Cell>& cells) {
  switch (format_) {
    case Format::json:
      out += first_ ? "\n" : ",\n";
      json_row(out, cells);
      break;
    case Format::jsonl:
      json_row(out, cells);
      out += '\n';
      break;
    case Format::csv:
    case Format::tsv: {
      const char separator = format_ == Format::csv ? ',' : '\t';
      for (std::size_t i = 0; i < cells.size(); ++i) {
        if (i > 0) out += separator;
        out += csv_text(plain_text(cells[i]), separator);
      }
      out += format_ == Format::csv ? "\r\n" : "\n";
      break;
    }
    case Format::kv:
      for (std::size_t i = 0; i < cells.size(); ++i) {
        if (i > 0) out += ' ';
        out += headings_[i].name + '=';
        const auto text = plain_text(cells[i]);
        if (!text.empty()) out += shell_text(text);
      }
      out += '\n';
      break;
    case Format::table: {
      auto& line = table_.emplace_back();
      for (const auto& cell : cells) {
        const auto text = cell.shown.empty() ? base::printable(plain_text(cell)) : cell.shown;
        line.push_back(cell.type == Cell::Type::nothing && text.empty() ? "-" : text);
      }
      break;
    }
    case Format::prom:
      break;
  }
  first_ = false;
}

void RecordPrinter::end(std::string& out) {
  if (format_ == Format::json) out += first_ ? "]}\n" : "\n]}\n";
  if (format_ != Format::table) return;
  std::vector<int> widths;
  for (const auto& heading : headings_) widths.push_back(header_ ? width(heading.title) : 0);
  for (const auto& line : table_) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], width(line[i]));
  }
  const auto print_line = [&](const auto& text_of) {
    std::string line;
    for (std::size_t i = 0; i < headings_.size(); ++i) {
      if (i > 0) line += "  ";
      line += padded(text_of(i), widths[i], headings_[i].right);
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    out += line + '\n';
  };
  if (header_) print_line([&](std::size_t i) { return headings_[i].title; });
  for (const auto& line : table_) print_line([&](std::size_t i) { return line[i]; });
  table_.clear();
}

}  // namespace cgwarden::cgtop
