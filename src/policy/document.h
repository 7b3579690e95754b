// SPDX-License-Identifier: Apache-2.0
// Parses a policy file into a tree of YAML nodes: every node with its position, map keys in the order of the file.
// Only maps, lists and scalars are supported. Anchors, aliases, tags, duplicate keys and further documents are errors,
// so the tree cannot grow beyond the size of the file. Stateless; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cgwarden::policy {

// Line and column, both from 1 as in editors.
struct Mark {
  int line = 1;
  int column = 1;
};

// An error or a warning about a policy file.
struct Problem {
  std::string file;
  Mark mark;
  std::string what;  // "OBJECT: what failed (hint)" or "unknown KIND 'x'; did you mean 'y'?"

  // "FILE:LINE:COLUMN: what", one line without control characters.
  [[nodiscard]] std::string text() const;
};
using Problems = std::vector<Problem>;

struct YamlNode {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  Mark mark;
  std::string text;             // scalar: as in the file; no type is inferred
  std::vector<YamlNode> keys;   // map: scalars, unique
  std::vector<YamlNode> items;  // list: entries; map: the value of each key
};

inline constexpr std::size_t kMaxFileBytes = 256 * 1024;
inline constexpr std::size_t kMaxProblems = 100;

// The document, or nullopt after an error was added to `problems`. A duplicate key is also an error; its first value is
// kept and parsing continues. An empty document is a YamlNode of Kind::null.
std::optional<YamlNode> parse_document(const std::string& file, std::string_view text, Problems& problems);

}  // namespace cgwarden::policy
