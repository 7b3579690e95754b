// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/config.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "src/base/names.h"
#include "src/base/text.h"
#include "src/cgtop/ui.h"

namespace cgwarden::cgtop {
namespace {

std::string_view trim(std::string_view text) {
  text = base::trim_end(text);
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  return text;
}

}  // namespace

std::string config_path() {
  const char* const config = std::getenv("XDG_CONFIG_HOME");
  if (config != nullptr && *config == '/') return std::string(config) + "/cgtop/cgtop.conf";
  const char* const home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? std::string(home) + "/.config/cgtop/cgtop.conf" : std::string();
}

base::Result<std::vector<ConfigLine>> parse_config(std::string_view text) {
  std::vector<ConfigLine> out;
  for (int number = 1; !text.empty(); ++number) {
    const auto line = trim(base::take_line(text));
    if (line.empty() || line.front() == '#') continue;
    const auto where = std::to_string(number) + ": ";
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) {
      return tl::unexpected(base::Error{EINVAL, where + "'" + base::printable(line) + "': expected KEY = VALUE"});
    }
    ConfigLine entry{number, std::string(trim(line.substr(0, equals))), std::string(trim(line.substr(equals + 1)))};
    if (std::ranges::find(kConfigKeys, entry.key) == kConfigKeys.end()) {
      return tl::unexpected(base::Error{EINVAL, where + base::unknown_name("key", entry.key, kConfigKeys)});
    }
    if (std::ranges::any_of(out, [&](const ConfigLine& l) { return l.key == entry.key; })) {
      return tl::unexpected(base::Error{EINVAL, where + "duplicate key '" + entry.key + "'"});
    }
    out.push_back(std::move(entry));
  }
  return out;
}

std::string config_text(const Scene& scene) {
  std::string out = "# Written by cgtop (key W). Command-line options take precedence.\n";
  const auto line = [&](std::string_view key, std::string_view value) {
    out += std::string(key) + " = " + std::string(value) + '\n';
  };
  if (scene.set < kColumnSetCount) {
    line("set", kColumnSets[scene.set].name);
  } else {
    std::string names;
    for (const auto id : scene.shown) names += (names.empty() ? "" : ",") + (*scene.columns)[id].name;
    line("fields", names);
  }
  line("sort", (*scene.columns)[scene.view.sort].name + (scene.view.descending ? ":desc" : ":asc"));
  line("units", scene.units == Units::iec ? "iec" : scene.units == Units::si ? "si" : "raw");
  line("cpu", scene.cpu == CpuScale::core ? "core" : "machine");
  line("delay", std::to_string(scene.delay.count()) + "ms");
  line("active", scene.view.only_active ? "true" : "false");
  line("flat", scene.view.tree ? "false" : "true");
  line("theme", scene.theme->name);
  line("mouse", scene.mouse ? "true" : "false");
  return out;
}

}  // namespace cgwarden::cgtop
