// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/devices.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "src/base/text.h"

namespace cgwarden::cgroup {

DeviceNames::DeviceNames(const std::string& sysfs)
    : block_(::open((sysfs + "/dev/block").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {}

std::string_view DeviceNames::name_of(std::string_view number) {
  if (const auto known = names_.find(number); known != names_.end()) return known->second;
  if (names_.size() >= kMost) return number;
  std::string name(number);
  const base::Fd file(::openat(block_.get(), (name + "/uevent").c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> room{};
  if (const auto n = file ? ::read(file.get(), room.data(), room.size()) : 0; n > 0) {
    std::string_view rest(room.data(), static_cast<std::size_t>(n));
    while (!rest.empty()) {
      const auto line = base::take_line(rest);
      if (line.starts_with("DEVNAME=") && line.size() > 8) name = std::string(line.substr(8));
    }
  }
  return names_.emplace(std::string(number), std::move(name)).first->second;
}

}  // namespace cgwarden::cgroup
