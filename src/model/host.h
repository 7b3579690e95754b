// SPDX-License-Identifier: Apache-2.0
// Facts about the host, shown in the header of a screen. Data only; filled by each snapshot source.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cgwarden::model {

struct Host {
  std::string name;
  std::string kernel;
  std::string layout;  // "v1", "v2", "hybrid"
  int cpus = 0;
  std::array<std::optional<double>, 3> load;
  std::optional<double> uptime_seconds;
  // Bytes; from /proc/meminfo.
  std::optional<std::int64_t> memory_total, memory_available, swap_total, swap_free;
  // Ratios averaged over 10 seconds (some avg10); from /proc/pressure.
  std::optional<double> psi_cpu, psi_memory, psi_io;
  std::string boot_id;

  friend bool operator==(const Host&, const Host&) = default;
};

// JSON form, for recordings and the API. parse_host returns nullopt if the text is not a JSON object, and ignores
// members of an unexpected type.
std::string to_json(const Host& host);
std::optional<Host> parse_host(std::string_view json);

}  // namespace cgwarden::model
