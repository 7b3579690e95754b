// SPDX-License-Identifier: Apache-2.0
// One wording for names that do not exist: options, subcommands, fields, collectors, columns, keys.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace cgwarden::base {

// The candidate with the smallest Levenshtein distance to `name`. Empty if none is close, that is, if more than two and
// more than a third of the letters differ.
std::string_view nearest_name(std::string_view name, std::span<const std::string_view> candidates);

// "; did you mean 'memory'?", or empty if no candidate is close.
std::string did_you_mean(std::string_view name, std::span<const std::string_view> candidates);

// "unknown field 'memry'; did you mean 'memory'?". `name` may hold any bytes.
std::string unknown_name(std::string_view kind, std::string_view name, std::span<const std::string_view> candidates);

}  // namespace cgwarden::base
