// SPDX-License-Identifier: Apache-2.0
// Block devices: their names, "254:0" -> "vda", what they lie on, and what is mounted of them. Source:
// /sys/dev/block/MAJ:MIN (uevent, partition, slaves/, dm/name, loop/backing_file) and mountinfo. No device and no file
// system is asked, as these may hang. Thread: the sampler's.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

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
  static constexpr std::size_t kMax = 16'384;
  base::Fd block_;  // /sys/dev/block
  std::map<std::string, std::string, std::less<>> names_;
};

struct BlockDevice {
  std::string number;           // "254:0"
  std::string name;             // "vda", "dm-0"; as DeviceNames
  std::string_view kind;        // "disk", "partition", "dm", "md", "loop"
  std::string alias;            // the name somebody gave a dm device, the file behind a loop device; or empty
  std::vector<std::string> on;  // names of the devices it lies on: what it reads and writes, they do as well
  struct Mount {
    std::string point;
    std::string type;
  };
  std::vector<Mount> mounts;
};

// Bounded: 4096 devices with a size, 16 mounts and 64 lower devices of each. In order of numbers as texts.
class BlockDevices {
 public:
  explicit BlockDevices(const std::string& sysfs);
  // What is there now, with the mounts of `mountinfo`, which may be any text.
  [[nodiscard]] std::vector<BlockDevice> read(std::string_view mountinfo) const;
  // The numbers of all devices, to be compared with those of another time.
  [[nodiscard]] std::string numbers() const;

 private:
  base::Fd block_;  // /sys/dev/block
};

}  // namespace cgwarden::cgroup
