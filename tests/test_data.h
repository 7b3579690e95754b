// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

namespace cgwarden::test {

/// The directory tests/ of the source tree, with the recorded hosts and golden files.
std::filesystem::path test_data();

}  // namespace cgwarden::test
