// SPDX-License-Identifier: Apache-2.0
// Policies from files: one main file and directories of more, *.yaml in order of their names. A file in a later
// directory takes the place of one with the same name in an earlier one (a link to /dev/null masks it); a rule takes
// the place of an earlier one with the same name. All problems of all files are listed, and with one there is no
// policy.
//
// Files are input like any other: regular, bounded, and of an owner who may as well have written the cgroups himself.
// Any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/policy/policy.h"

namespace cgwarden::policy {

struct Source {
  std::string file;               // empty: none
  std::vector<std::string> more;  // further files, after it
  std::vector<std::string> dirs;  // one that does not exist is an empty one
};

struct Loaded {
  PolicyPtr policy;  // null when there are problems
  Problems problems;
  Problems notes;  // what the enforcer would refuse and a check only tells: owners and modes
};

enum class Owners : std::uint8_t {
  required,  // root or this process's user, and nobody else may write the file or a directory above it
  noted,
};

Loaded load(const Source& source, const std::shared_ptr<const model::Catalogue>& catalogue, Owners owners);

// The same of texts: the first is the main file.
struct Text {
  std::string file;
  std::string text;
};
Loaded load_texts(const std::vector<Text>& texts, const std::shared_ptr<const model::Catalogue>& catalogue);

}  // namespace cgwarden::policy
