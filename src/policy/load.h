// SPDX-License-Identifier: Apache-2.0
// Loads a policy from a main file, further files, and directories of drop-in files (*.yaml, in order of their names). A
// file in a later directory replaces a file with the same name in an earlier directory; a symbolic link to /dev/null
// masks it. A rule replaces an earlier rule with the same name. Errors of all files are reported together; with any
// error no policy is returned.
//
// Files are untrusted input: they must be regular files of bounded size, and only root or the user of this process may
// be able to write them. Any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/policy/policy.h"

namespace cgwarden::policy {

struct PolicySource {
  std::string file;               // main file; empty: no main file
  std::vector<std::string> more;  // further files, read after the main file
  std::vector<std::string> dirs;  // drop-in directories; a missing directory counts as empty
};

struct LoadedPolicy {
  PolicyPtr policy;  // null if there are errors
  Problems problems;
  Problems warnings;  // with Owners::reported: unsafe owners and modes, which are errors for the enforcer
};

enum class Owners : std::uint8_t {
  required,  // error unless only root or the user of this process can write the file and its parent directories
  reported,  // the same as a warning
};

LoadedPolicy load(const PolicySource& source, const std::shared_ptr<const model::Catalogue>& catalogue, Owners owners);

// Loads a policy from memory; the first text is the main file.
struct PolicyText {
  std::string file;
  std::string text;
};
LoadedPolicy load_texts(const std::vector<PolicyText>& texts, const std::shared_ptr<const model::Catalogue>& catalogue);

}  // namespace cgwarden::policy
