// SPDX-License-Identifier: Apache-2.0
// Filter expressions of cgtop. An expression selects cgroups by the values of their columns.
//
//   cpu>50 mem>1G state=+         adjacent terms must all be true; "and" between them is optional
//   web or (kind=slice not idle)  a bare word matches a part of the path or name; "or", "and", "not", "!", parentheses
//   name~db  path=/a/*            "~": part of the text, ignoring case; "=" and "!=": glob pattern over the whole text
//   "two words"                   quotes keep spaces and operators in a word
//   memory_max=max  io_read=none  "max" means unlimited, "none" means that the cgroup has no value
//   frozen freezing throttled high oom new active idle   keywords for states, see Table::state() and Table::active()
//
// Ratios are compared in percent, as on the screen: cpu>50 is half a core. Sizes accept K, M, G and T (powers of 1024),
// times ns, us, ms, s, m, h and d. A comparison of a missing value with anything but "none" is false.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/cgtop/table.h"

namespace cgwarden::cgtop {

struct FilterError {
  std::size_t offset = 0;  // of the error in the expression, in bytes
  std::string what;
};

class Filter {
 public:
  Filter() = default;  // matches every cgroup
  // Expressions have at most 4096 bytes and 64 levels of nesting.
  static tl::expected<Filter, FilterError> parse(std::string_view text, const Columns& columns);

  [[nodiscard]] bool empty() const { return nodes_.empty(); }
  [[nodiscard]] bool matches(const Table& table, model::CgroupIndex cgroup) const;
  // True if the filter uses a column or state that is computed from two snapshots.
  [[nodiscard]] bool needs_two() const { return needs_two_; }

 private:
  friend class FilterParser;
  enum class Op : std::uint8_t {
    all_of,
    any_of,
    negation,
    contains,
    equal,
    differs,
    less,
    at_most,
    more,
    at_least,
    state
  };
  struct Node {
    Op op = Op::all_of;
    ColumnId column = 0;
    bool is_text = false;
    bool in_name = false;                 // a bare word: matches the name as well as the path
    char state = 0;                       // letter of Table::state(), 'a' for active or 'i' for idle
    std::string text;                     // in lower case for `contains`
    model::Value value;                   // absent for "none"
    std::vector<std::uint32_t> operands;  // indices in nodes_
  };
  [[nodiscard]] bool matches(std::uint32_t node, const Table& table, model::CgroupIndex cgroup) const;

  std::vector<Node> nodes_;  // the last is the root
  bool needs_two_ = false;
};

// The expression, and in a second line a caret below the error, followed by the message.
std::string explain(std::string_view text, const FilterError& error);

// Matches the whole of `text` against a pattern with '*' and '?' as in a shell.
bool glob_matches(std::string_view pattern, std::string_view text);

}  // namespace cgwarden::cgtop
