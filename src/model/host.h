// SPDX-License-Identifier: Apache-2.0
// The machine around the cgroups: what a screen says at its top. Data only; who fills it is the source's business.
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
  // Parts of the last 10 seconds; from /proc/pressure.
  std::optional<double> psi_cpu, psi_memory, psi_io;
  std::string boot_id;

  friend bool operator==(const Host&, const Host&) = default;
};

// For recordings and for other programs. Nothing: it is no JSON object. Members of another type are left out.
std::string to_json(const Host& host);
std::optional<Host> parse_host(std::string_view json);

}  // namespace cgwarden::model
