// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/filter.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "src/base/text.h"
#include "src/cgtop/format.h"

namespace cgwarden::cgtop {
namespace {

constexpr std::size_t kMaxText = 4096;
constexpr int kMaxNesting = 64;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string lower(std::string_view s) {
  std::string out(s);
  std::ranges::transform(out, out.begin(), [](char c) { return lower(c); });
  return out;
}

constexpr std::pair<std::string_view, char> kStates[] = {
    {"frozen", 'Z'}, {"freezing", 'F'}, {"throttled", 'T'}, {"high", 'H'},
    {"oom", 'O'},    {"new", '+'},      {"active", 'a'},    {"idle", 'i'},
};

constexpr std::pair<std::string_view, double> kSizes[] = {
    {"", 1},        {"B", 1},        {"K", 0x1p10},  {"KB", 0x1p10},  {"KiB", 0x1p10},
    {"k", 0x1p10},  {"M", 0x1p20},   {"MB", 0x1p20}, {"MiB", 0x1p20}, {"G", 0x1p30},
    {"GB", 0x1p30}, {"GiB", 0x1p30}, {"T", 0x1p40},  {"TB", 0x1p40},  {"TiB", 0x1p40},
};
constexpr std::pair<std::string_view, double> kTimes[] = {
    {"", 1}, {"s", 1}, {"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"m", 60}, {"h", 3600}, {"d", 86'400},
};
constexpr std::pair<std::string_view, double> kCounts[] = {{"", 1}, {"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}};
constexpr std::pair<std::string_view, double> kRatios[] = {{"", 0.01}, {"%", 0.01}};

template <std::size_t N>
std::optional<double> factor(const std::pair<std::string_view, double> (&units)[N], std::string_view unit) {
  for (const auto& [name, value] : units) {
    if (name == unit) return value;
  }
  return std::nullopt;
}

// Parses a number with a unit, such as "1.5G", into the fixed-point format of the column.
std::optional<model::Value> number(std::string_view text, const Column& column) {
  const auto digits = std::min(text.find_first_not_of("0123456789.-"), text.size());
  double n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + digits, n);
  if (error != std::errc{} || end != text.data() + digits) return std::nullopt;
  const auto unit = text.substr(digits);
  const auto multiplier = column.form == Form::bytes     ? factor(kSizes, unit)
                          : column.form == Form::seconds ? factor(kTimes, unit)
                          : column.form == Form::ratio   ? factor(kRatios, unit)
                                                         : factor(kCounts, unit);
  if (!multiplier) return std::nullopt;
  const double fixed = n * *multiplier * std::pow(10.0, column.decimals);
  if (!(std::abs(fixed) < 9e18)) return std::nullopt;
  return model::Value::of(std::llround(fixed));
}

std::string_view hint_for(Form form) {
  switch (form) {
    case Form::bytes:
      return "use a size such as 1.5G";
    case Form::seconds:
      return "use a duration such as 90s";
    case Form::ratio:
      return "use a percentage such as 50";
    case Form::count:
    case Form::text:
      break;
  }
  return "use a number such as 1000";
}

}  // namespace

bool glob_matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0;
  std::size_t t = 0;
  auto star = std::string_view::npos;
  std::size_t resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// Recursive-descent parser of this grammar:
//   alternatives := conjunction ("or" conjunction)*
//   conjunction  := factor ("and"? factor)*
//   factor       := ("not" | "!") factor | "(" alternatives ")" | field operator word | word
class FilterParser {
 public:
  FilterParser(std::string_view text, const Columns& columns) : text_(text), columns_(columns) {}

  tl::expected<Filter, FilterError> run() {
    if (text_.size() > kMaxText)
      return tl::unexpected(FilterError{kMaxText, "filter is longer than " + std::to_string(kMaxText) + " bytes"});
    skip_spaces();
    if (at_ == text_.size()) return Filter();
    const auto root = parse_alternatives(0);
    if (!error_ && at_ < text_.size()) fail(at_, "unmatched ')'");
    if (error_) return tl::unexpected(*error_);
    (void)root;
    return std::move(filter_);
  }

 private:
  using Op = Filter::Op;
  using Node = Filter::Node;

  void skip_spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }
  std::uint32_t fail(std::size_t at, std::string what) {
    if (!error_) error_ = FilterError{at, std::move(what)};
    return 0;
  }
  std::uint32_t add(Node node) {
    filter_.nodes_.push_back(std::move(node));
    return static_cast<std::uint32_t>(filter_.nodes_.size() - 1);
  }
  std::uint32_t join(Op op, std::vector<std::uint32_t> operands) {
    if (operands.size() == 1 && op != Op::negation) return operands.front();
    Node node;
    node.op = op;
    node.operands = std::move(operands);
    return add(std::move(node));
  }
  // True if the keyword `word` starts at the current position and ends at a delimiter.
  bool is_word(std::string_view word) const {
    if (!text_.substr(at_).starts_with(word)) return false;
    const auto next = at_ + word.size();
    return next == text_.size() || text_[next] == ' ' || text_[next] == '\t' || text_[next] == '(' ||
           text_[next] == ')';
  }
  bool accept(std::string_view word) {
    if (!is_word(word)) return false;
    at_ += word.size();
    skip_spaces();
    return true;
  }

  std::uint32_t parse_alternatives(int depth) {
    std::vector<std::uint32_t> operands{parse_conjunction(depth)};
    while (!error_ && accept("or")) operands.push_back(parse_conjunction(depth));
    return error_ ? 0 : join(Op::any_of, std::move(operands));
  }

  std::uint32_t parse_conjunction(int depth) {
    std::vector<std::uint32_t> operands;
    while (!error_ && at_ < text_.size() && text_[at_] != ')' && !is_word("or")) {
      if (!operands.empty()) accept("and");
      operands.push_back(parse_factor(depth));
      skip_spaces();
    }
    if (error_) return 0;
    if (operands.empty()) return fail(at_, "expected a search term");
    return join(Op::all_of, std::move(operands));
  }

  std::uint32_t parse_factor(int depth) {
    if (depth > kMaxNesting)
      return fail(at_, "filter is nested deeper than " + std::to_string(kMaxNesting) + " levels");
    if (at_ == text_.size()) return fail(at_, "expected a search term");
    if (text_[at_] == '!' || is_word("not")) {
      at_ += text_[at_] == '!' ? 1 : 3;
      skip_spaces();
      const auto operand = parse_factor(depth + 1);
      return error_ ? 0 : join(Op::negation, {operand});
    }
    if (text_[at_] == '(') {
      const auto opened = at_++;
      skip_spaces();
      const auto inside = parse_alternatives(depth + 1);
      if (error_) return 0;
      if (at_ == text_.size()) return fail(opened, "unmatched '('");
      ++at_;
      return inside;
    }
    return parse_term();
  }

  // A quoted string, or all bytes up to one of `delimiters`.
  std::string parse_word(std::string_view delimiters) {
    std::string out;
    if (at_ < text_.size() && text_[at_] == '"') {
      const auto opened = at_++;
      while (at_ < text_.size() && text_[at_] != '"') out += text_[at_++];
      if (at_ == text_.size()) {
        fail(opened, "missing closing quote");
      } else {
        ++at_;
      }
      return out;
    }
    while (at_ < text_.size() && delimiters.find(text_[at_]) == std::string_view::npos) out += text_[at_++];
    return out;
  }

  Node bare_word(std::string_view text) {
    Node node;
    node.op = Op::contains;
    node.column = *columns_.find("path");
    node.is_text = true;
    node.in_name = true;
    node.text = lower(text);
    return node;
  }

  std::uint32_t parse_term() {
    const auto start = at_;
    const bool quoted = text_[at_] == '"';
    const auto name = parse_word(" \t()=!<>~");
    if (error_) return 0;
    const auto rest = text_.substr(at_);
    for (const auto& [sign, op] : {std::pair<std::string_view, Op>{"!=", Op::differs},
                                   {"<=", Op::at_most},
                                   {">=", Op::at_least},
                                   {"=", Op::equal},
                                   {"<", Op::less},
                                   {">", Op::more},
                                   {"~", Op::contains}}) {
      if (!quoted && rest.starts_with(sign)) {
        at_ += sign.size();
        return parse_comparison(start, name, op);
      }
    }
    if (name.empty() && !quoted) return fail(at_, "expected a search term");
    for (const auto& [state, letter] : kStates) {
      if (!quoted && name == state) {
        Node node;
        node.op = Op::state;
        node.state = letter;
        filter_.needs_two_ = true;
        return add(std::move(node));
      }
    }
    return add(bare_word(name));
  }

  std::uint32_t parse_comparison(std::size_t start, const std::string& name, Op op) {
    if (name.empty()) return fail(start, "expected a field name before the operator");
    const auto id = columns_.require(name);
    if (!id) return fail(start, id.error().what);
    const auto& column = columns_[*id];
    filter_.needs_two_ |= column.needs_two;
    const auto at = at_;
    const auto argument = parse_word(" \t()");
    if (error_) return 0;
    Node node;
    node.op = op;
    node.column = *id;
    // A labeled field is a number (the sum of its series) or, with "~", a text (the list of its series).
    node.is_text = column.form == Form::text || (op == Op::contains && column.source == ColumnSource::field &&
                                                 columns_.catalogue().field(column.field).labelled());
    if (argument.empty() && !(node.is_text && at < at_)) {
      return fail(at, "expected a value to compare " + column.name + " with");
    }
    if (node.is_text) {
      if (op != Op::contains && op != Op::equal && op != Op::differs) {
        return fail(start + name.size(), column.name + " is a text field; use =, != or ~");
      }
      node.text = op == Op::contains ? lower(argument) : argument;
      return add(std::move(node));
    }
    if (op == Op::contains)
      return fail(start + name.size(), column.name + " is a numeric field; use =, !=, <, <=, > or >=");
    if (argument == "max") {
      node.value = model::Value::unlimited();
    } else if (argument != "none") {
      const auto value = number(argument, column);
      if (!value)
        return fail(at, "invalid value '" + base::printable(argument) + "'; " + std::string(hint_for(column.form)));
      node.value = *value;
    } else if (op != Op::equal && op != Op::differs) {
      return fail(at, "none cannot be ordered; use = or !=");
    }
    return add(std::move(node));
  }

  std::string_view text_;
  const Columns& columns_;
  std::size_t at_ = 0;
  Filter filter_;
  std::optional<FilterError> error_;
};

tl::expected<Filter, FilterError> Filter::parse(std::string_view text, const Columns& columns) {
  return FilterParser(text, columns).run();
}

bool Filter::matches(const Table& table, model::CgroupIndex cgroup) const {
  return nodes_.empty() || matches(static_cast<std::uint32_t>(nodes_.size() - 1), table, cgroup);
}

bool Filter::matches(std::uint32_t index, const Table& table, model::CgroupIndex cgroup) const {
  const auto& node = nodes_[index];
  const auto operand = [&](std::uint32_t i) { return matches(i, table, cgroup); };
  switch (node.op) {
    case Op::all_of:
      return std::ranges::all_of(node.operands, operand);
    case Op::any_of:
      return std::ranges::any_of(node.operands, operand);
    case Op::negation:
      return std::ranges::none_of(node.operands, operand);
    case Op::state:
      if (node.state == 'a') return table.active(cgroup);
      if (node.state == 'i') return !table.active(cgroup);
      return table.state(cgroup).find(node.state) != std::string::npos;
    default:
      break;
  }
  if (node.is_text) {
    const auto text = table.text(node.column, cgroup);
    if (node.op == Op::contains) {
      const auto small = lower(text);
      if (small.find(node.text) != std::string::npos || glob_matches(node.text, small)) return true;
      return node.in_name && lower(name_of(table.now(), cgroup)).find(node.text) != std::string::npos;
    }
    return glob_matches(node.text, text) == (node.op == Op::equal);
  }
  const auto value = table.value(node.column, cgroup);
  if (node.value.is_absent()) return value.is_absent() == (node.op == Op::equal);
  if (!value.has_value()) return false;
  const auto a = value.fixed();  // unlimited compares greater than all numbers
  const auto b = node.value.fixed();
  switch (node.op) {
    case Op::equal:
      return a == b;
    case Op::differs:
      return a != b;
    case Op::less:
      return a < b;
    case Op::at_most:
      return a <= b;
    case Op::more:
      return a > b;
    default:
      return a >= b;
  }
}

std::string explain(std::string_view text, const FilterError& error) {
  const auto at = std::min(error.offset, text.size());
  const auto before = base::printable(text.substr(0, at));
  return base::printable(text) + '\n' + std::string(static_cast<std::size_t>(width(before)), ' ') + "^ " + error.what;
}

}  // namespace cgwarden::cgtop
