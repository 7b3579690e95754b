// SPDX-License-Identifier: Apache-2.0
// /proc/PID/net/dev as text.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace cgwarden::collectors {

struct Interface {
  std::string_view name;
  // Received: bytes packets errs drop fifo frame compressed multicast;
  // sent: bytes packets errs drop fifo colls carrier compressed.
  std::array<std::uint64_t, 16> counters{};
};

// One line of the file; nothing for its two headings and for what is no such line.
std::optional<Interface> parse_interface(std::string_view line);

}  // namespace cgwarden::collectors
