// SPDX-License-Identifier: Apache-2.0
// A temporary directory that is removed with its contents at the end of the test, also when the test fails.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <stdexcept>
#include <string>

namespace cgwarden::testing_files {

class TempDir {
 public:
  TempDir() : path_((std::filesystem::temp_directory_path() / "cgwarden-test-").string() + std::string(6, 'X')) {
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("cannot create the directory " + path_);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace cgwarden::testing_files
