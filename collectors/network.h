// SPDX-License-Identifier: Apache-2.0
// Parses /proc/PID/net/dev.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace cgwarden::collectors {

struct Interface {
  std::string_view name;
  // Received: bytes packets errs drop fifo frame compressed multicast;
  // transmitted: bytes packets errs drop fifo colls carrier compressed.
  std::array<std::uint64_t, 16> counters{};
};

// Parses one line of the file. nullopt for the two header lines and for invalid lines.
std::optional<Interface> parse_interface(std::string_view line);

}  // namespace cgwarden::collectors
