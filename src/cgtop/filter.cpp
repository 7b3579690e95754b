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

// "1.5G" in the fixed point of the column.
std::optional<model::Value> number(std::string_view text, const Column& column) {
  const auto digits = std::min(text.find_first_not_of("0123456789.-"), text.size());
  double n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + digits, n);
  if (error != std::errc{} || end != text.data() + digits) return std::nullopt;
  const auto unit = text.substr(digits);
  const auto times = column.form == Form::bytes     ? factor(kSizes, unit)
                     : column.form == Form::seconds ? factor(kTimes, unit)
                     : column.form == Form::ratio   ? factor(kRatios, unit)
                                                    : factor(kCounts, unit);
  if (!times) return std::nullopt;
  const double fixed = n * *times * std::pow(10.0, column.decimals);
  if (!(std::abs(fixed) < 9e18)) return std::nullopt;
  return model::Value::of(std::llround(fixed));
}

std::string_view example(Form form) {
  switch (form) {
    case Form::bytes:
      return "a size such as 1.5G";
    case Form::seconds:
      return "a time such as 90s";
    case Form::ratio:
      return "percent such as 50";
    case Form::count:
    case Form::text:
      break;
  }
  return "a number";
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

// any := all ("or" all)*    all := one+ ("and" between is optional)
// one := ("not" | "!") one | "(" any ")" | field operator word | word
class FilterParser {
 public:
  FilterParser(std::string_view text, const Columns& columns) : text_(text), columns_(columns) {}

  tl::expected<Filter, FilterError> run() {
    if (text_.size() > kMaxText) return tl::unexpected(FilterError{kMaxText, "the filter is too long"});
    skip();
    if (at_ == text_.size()) return Filter();
    const auto top = any(0);
    if (!error_ && at_ < text_.size()) fail(at_, "')' without '('");
    if (error_) return tl::unexpected(*error_);
    (void)top;
    return std::move(filter_);
  }

 private:
  using Op = Filter::Op;
  using Node = Filter::Node;

  void skip() {
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
  std::uint32_t join(Op op, std::vector<std::uint32_t> parts) {
    if (parts.size() == 1 && op != Op::none) return parts.front();
    Node node;
    node.op = op;
    node.parts = std::move(parts);
    return add(std::move(node));
  }
  // A word of letters stands here, whole.
  bool is_word(std::string_view word) const {
    if (!text_.substr(at_).starts_with(word)) return false;
    const auto next = at_ + word.size();
    return next == text_.size() || text_[next] == ' ' || text_[next] == '\t' || text_[next] == '(' ||
           text_[next] == ')';
  }
  bool take(std::string_view word) {
    if (!is_word(word)) return false;
    at_ += word.size();
    skip();
    return true;
  }

  std::uint32_t any(int depth) {
    std::vector<std::uint32_t> parts{all(depth)};
    while (!error_ && take("or")) parts.push_back(all(depth));
    return error_ ? 0 : join(Op::any, std::move(parts));
  }

  std::uint32_t all(int depth) {
    std::vector<std::uint32_t> parts;
    while (!error_ && at_ < text_.size() && text_[at_] != ')' && !is_word("or")) {
      if (!parts.empty()) take("and");
      parts.push_back(one(depth));
      skip();
    }
    if (error_) return 0;
    if (parts.empty()) return fail(at_, "something to look for is missing here");
    return join(Op::all, std::move(parts));
  }

  std::uint32_t one(int depth) {
    if (depth > kMaxNesting) return fail(at_, "too deep");
    if (at_ == text_.size()) return fail(at_, "something to look for is missing here");
    if (text_[at_] == '!' || is_word("not")) {
      at_ += text_[at_] == '!' ? 1 : 3;
      skip();
      const auto part = one(depth + 1);
      return error_ ? 0 : join(Op::none, {part});
    }
    if (text_[at_] == '(') {
      const auto opened = at_++;
      skip();
      const auto inside = any(depth + 1);
      if (error_) return 0;
      if (at_ == text_.size()) return fail(opened, "'(' is not closed");
      ++at_;
      return inside;
    }
    return term();
  }

  std::string word(std::string_view ends) {
    std::string out;
    if (at_ < text_.size() && text_[at_] == '"') {
      const auto opened = at_++;
      while (at_ < text_.size() && text_[at_] != '"') out += text_[at_++];
      if (at_ == text_.size()) {
        fail(opened, "'\"' is not closed");
      } else {
        ++at_;
      }
      return out;
    }
    while (at_ < text_.size() && ends.find(text_[at_]) == std::string_view::npos) out += text_[at_++];
    return out;
  }

  Node contains(std::string_view text) {
    Node node;
    node.op = Op::contains;
    node.column = *columns_.find("path");
    node.is_text = true;
    node.in_name = true;
    node.text = lower(text);
    return node;
  }

  std::uint32_t term() {
    const auto start = at_;
    const bool quoted = text_[at_] == '"';
    const auto name = word(" \t()=!<>~");
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
        return comparison(start, name, op);
      }
    }
    if (name.empty() && !quoted) return fail(at_, "something to look for is missing here");
    for (const auto& [state, letter] : kStates) {
      if (!quoted && name == state) {
        Node node;
        node.op = Op::state;
        node.state = letter;
        filter_.needs_two_ = true;
        return add(std::move(node));
      }
    }
    return add(contains(name));
  }

  std::uint32_t comparison(std::size_t start, const std::string& name, Op op) {
    if (name.empty()) return fail(start, "the field's name is missing before this");
    const auto id = columns_.want(name);
    if (!id) return fail(start, id.error().what);
    const auto& column = columns_[*id];
    filter_.needs_two_ |= column.needs_two;
    const auto at = at_;
    const auto wanted = word(" \t()");
    if (error_) return 0;
    Node node;
    node.op = op;
    node.column = *id;
    // A labelled field is a number, the sum of its series, and a text, the list of them.
    node.is_text = column.form == Form::text || (op == Op::contains && column.source == Source::field &&
                                                 columns_.catalogue().field(column.field).labelled());
    if (wanted.empty() && !(node.is_text && at < at_)) {
      return fail(at, "what to compare " + column.name + " with is missing");
    }
    if (node.is_text) {
      if (op != Op::contains && op != Op::equal && op != Op::differs) {
        return fail(start + name.size(), column.name + " is text: use = != or ~");
      }
      node.text = op == Op::contains ? lower(wanted) : wanted;
      return add(std::move(node));
    }
    if (op == Op::contains) return fail(start + name.size(), column.name + " is a number: use = != < <= > or >=");
    if (wanted == "max") {
      node.value = model::Value::unlimited();
    } else if (wanted != "none") {
      const auto value = number(wanted, column);
      if (!value) return fail(at, "'" + base::printable(wanted) + "' is not " + std::string(example(column.form)));
      node.value = *value;
    } else if (op != Op::equal && op != Op::differs) {
      return fail(at, "none can only be compared with = and !=");
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
  const auto part = [&](std::uint32_t i) { return matches(i, table, cgroup); };
  switch (node.op) {
    case Op::all:
      return std::ranges::all_of(node.parts, part);
    case Op::any:
      return std::ranges::any_of(node.parts, part);
    case Op::none:
      return std::ranges::none_of(node.parts, part);
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
  const auto a = value.fixed();  // unlimited is the largest
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
  const auto at = std::min(error.at, text.size());
  const auto before = base::printable(text.substr(0, at));
  return base::printable(text) + '\n' + std::string(static_cast<std::size_t>(width(before)), ' ') + "^ " + error.what;
}

}  // namespace cgwarden::cgtop
