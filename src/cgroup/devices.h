// SPDX-License-Identifier: Apache-2.0
// Names of block devices: "254:0" -> "vda". Source: /sys/dev/block/MAJ:MIN/uevent, DEVNAME. Thread: the sampler's.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>

#include "src/base/clock.h"
#include "src/base/fd.h"

namespace cgwarden::cgroup {

class DeviceNames {
 public:
  explicit DeviceNames(const std::string& sysfs);
  // The name, or `number` itself where the host has none (removed disk, hidden path): never empty, never shared by two.
  // The view lives until the next forget().
  std::string_view name_of(std::string_view number);
  // Devices come and go, and numbers are used again.
  void forget() { names_.clear(); }

 private:
  static constexpr std::size_t kMost = 16'384;
  base::Fd block_;  // /sys/dev/block
  std::map<std::string, std::string, std::less<>> names_;
};

}  // namespace cgwarden::cgroup
