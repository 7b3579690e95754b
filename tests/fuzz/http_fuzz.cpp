// SPDX-License-Identifier: Apache-2.0
// Fuzzes the parsers of the request target and of the headers that the server uses.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/http.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cgwarden::exporter;
  using namespace std::chrono_literals;
  const std::vector<char> exact(data, data + size);
  const std::string_view text(exact.data(), exact.size());

  if (negotiate(text).content_type.empty()) std::abort();
  accepts_gzip(text);
  if (const auto target = parse_target(text)) {
    if (target->path.empty() || target->path.front() != '/') std::abort();
    std::size_t decoded = target->path.size();
    for (const auto& [name, value] : target->query) decoded += name.size() + value.size();
    if (decoded > text.size() + 1) std::abort();  // "http://host" has the path "/"
  }
  if (response_timeout(text, 10s) <= 0ns) std::abort();
  return 0;
}
