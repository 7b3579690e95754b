// SPDX-License-Identifier: Apache-2.0
// A YAML document as the policy's reader wants it: every value with the place where it stands, keys in the file's
// order. Of YAML only what needs no explanation: maps, lists and scalars. Anchors, aliases, tags, duplicate keys and
// more than one document are refused, so no file is larger in memory than on disk. Stateless: any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cgwarden::policy {

// From 1, as editors count.
struct Mark {
  int line = 1;
  int column = 1;
};

struct Problem {
  std::string file;
  Mark mark;
  std::string what;

  // "FILE:LINE:COLUMN: what", one printable line.
  [[nodiscard]] std::string text() const;
};
using Problems = std::vector<Problem>;

struct YamlNode {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  Mark mark;
  std::string text;             // of a scalar, as written; nothing is guessed of it
  std::vector<YamlNode> keys;   // of a map: scalars, each once
  std::vector<YamlNode> items;  // of a list; of a map the value to each key
};

inline constexpr std::size_t kMaxFileBytes = 256 * 1024;
inline constexpr std::size_t kMaxProblems = 100;

// The document, or nothing and one more problem. Of a key that is there twice the first is kept, and that is a problem
// too. An empty document is a YamlNode of Kind::null.
std::optional<YamlNode> parse_document(const std::string& file, std::string_view text, Problems& problems);


}  // namespace cgwarden::policy
