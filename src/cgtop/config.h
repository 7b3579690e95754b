// SPDX-License-Identifier: Apache-2.0
// What the screen keeps from one time to the next, written only when asked: one `KEY = VALUE` a line, in the words of
// the command line, which goes before it. Batch commands do not look at it: what a script prints is in the script.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/result.h"

namespace cgwarden::cgtop {

struct Scene;

inline constexpr std::array<std::string_view, 10> kConfigKeys = {"set",   "fields", "sort", "units", "cpu",
                                                                 "delay", "active", "flat", "theme", "mouse"};

// $XDG_CONFIG_HOME/cgtop/cgtop.conf, or below ~/.config; empty: there is no home.
std::string config_path();

struct ConfigLine {
  int line = 0;
  std::string key, value;  // the key is one of kConfigKeys
};
// Error: one line that says what is wrong, and where.
base::Result<std::vector<ConfigLine>> parse_config(std::string_view text);

// What is on the screen, as a file.
std::string config_text(const Scene& scene);

}  // namespace cgwarden::cgtop
