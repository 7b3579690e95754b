// SPDX-License-Identifier: Apache-2.0
// The configuration file of the screen, written only by the key W: one `KEY = VALUE` per line, with the names of the
// command-line options, which take precedence. Batch commands ignore it, so that the output of a script depends on the
// script alone.
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

// $XDG_CONFIG_HOME/cgtop/cgtop.conf, otherwise $HOME/.config/cgtop/cgtop.conf; empty if neither variable holds an
// absolute path.
std::string config_path();

struct ConfigLine {
  int line = 0;
  std::string key, value;  // the key is one of kConfigKeys
};
// Error: one line, with the line number.
base::Result<std::vector<ConfigLine>> parse_config(std::string_view text);

// The current settings of the screen, in the format of the file.
std::string config_text(const Scene& scene);

}  // namespace cgwarden::cgtop
