// SPDX-License-Identifier: Apache-2.0
// Cgroup paths contain any bytes, JSON strings are Unicode: text that is not UTF-8 becomes {"bytes":[...]}, without
// loss.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "src/base/text.h"

namespace cgwarden::control {

inline nlohmann::json bytes_to_json(const std::string& text) {
  if (base::is_utf8(text)) return text;
  auto bytes = nlohmann::json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return {{"bytes", std::move(bytes)}};
}

// Throws nlohmann::json::exception for anything else.
inline std::string bytes_from_json(const nlohmann::json& json) {
  if (json.is_string()) return json.get<std::string>();
  std::string out;
  for (const auto& byte : json.at("bytes")) {
    const auto value = byte.get<int>();
    if (value < 0 || value > 255) throw nlohmann::json::other_error::create(501, "bytes must be from 0 to 255", &byte);
    out += static_cast<char>(value);
  }
  return out;
}

}  // namespace cgwarden::control
