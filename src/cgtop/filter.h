// SPDX-License-Identifier: Apache-2.0
// Which cgroups are shown: a small language over the columns.
//
//   cpu>50 mem>1G state=+         terms that stand side by side must all hold
//   web or (kind=slice not idle)  a bare word is looked for in path and name; "or", "and", "not", "!" and parentheses
//   name~db  path=/a/*  "two words"
//   memory_max=max  io_read=none  "max" is unlimited, "none" is what is not known
//   frozen throttled active idle new oom   words that stand for a state
//
// Ratios are compared as the screen shows them, in percent: cpu>50 is half a core. Sizes have K M G T (1024), times ns
// us ms s m h d. A comparison with what is not known is false.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/cgtop/table.h"

namespace cgwarden::cgtop {

struct FilterError {
  std::size_t at = 0;  // byte of the text
  std::string what;
};

class Filter {
 public:
  Filter() = default;  // lets everything through
  static tl::expected<Filter, FilterError> parse(std::string_view text, const Columns& columns);

  [[nodiscard]] bool empty() const { return nodes_.empty(); }
  [[nodiscard]] bool matches(const Table& table, model::CgroupIndex cgroup) const;
  [[nodiscard]] bool needs_two() const { return needs_two_; }

 private:
  friend class FilterParser;
  enum class Op : std::uint8_t { all, any, none, contains, equal, differs, less, at_most, more, at_least, state };
  struct Node {
    Op op = Op::all;
    ColumnId column = 0;
    bool is_text = false;
    bool in_name = false;  // a bare word: in the path or in the name
    char state = 0;
    std::string text;    // lower case for `contains`
    model::Value value;  // absent stands for "none"
    std::vector<std::uint32_t> parts;
  };
  [[nodiscard]] bool matches(std::uint32_t node, const Table& table, model::CgroupIndex cgroup) const;

  std::vector<Node> nodes_;  // the last is the top
  bool needs_two_ = false;
};

// The text, and below it a caret under the place.
std::string explain(std::string_view text, const FilterError& error);

// '*' and '?' as in a shell, over the whole of `text`.
bool glob_matches(std::string_view pattern, std::string_view text);

}  // namespace cgwarden::cgtop
