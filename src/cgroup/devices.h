// SPDX-License-Identifier: Apache-2.0
// Block devices: names ("254:0" -> "vda"), underlying devices, and mounts.
//
// Source: /sys/dev/block/MAJ:MIN (uevent, partition, slaves/, dm/name, loop/backing_file) and mountinfo. Neither a
// device nor a file system is accessed, because both may hang. Thread: the sampler's. Errors: none; a device that
// cannot be read is omitted or named by its number.
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
  // Returns the name, or `number` if the host has none (removed disk, hidden path). A name is never empty and never
  // shared by two devices. The view is valid until the next clear().
  std::string_view name_of(std::string_view number);
  // To be called from time to time: devices are added and removed, and the kernel reuses their numbers.
  void clear() { names_.clear(); }

 private:
  static constexpr std::size_t kMaxNames = 16'384;
  base::Fd block_;  // /sys/dev/block
  std::map<std::string, std::string, std::less<>> names_;
};

struct BlockDevice {
  std::string number;     // "254:0"
  std::string name;       // "vda", "dm-0"; as in DeviceNames
  std::string_view kind;  // "disk", "partition", "dm", "md", "loop"
  std::string alias;      // name of a device-mapper device or backing file of a loop device; empty for others
  std::vector<std::string> underlying;  // names of the devices that also carry out its reads and writes
  struct Mount {
    std::string point;
    std::string type;
  };
  std::vector<Mount> mounts;
};

// Limits: 4096 devices of nonzero size, 16 mounts and 64 underlying devices each. Sorted by number as text.
class BlockDevices {
 public:
  explicit BlockDevices(const std::string& sysfs);
  // Returns the current devices with their mounts. `mountinfo` may be any text; malformed lines are ignored.
  [[nodiscard]] std::vector<BlockDevice> read(std::string_view mountinfo) const;
  // Returns the numbers of all devices in one string; a different string means that a device was added or removed.
  [[nodiscard]] std::string numbers() const;

 private:
  base::Fd block_;  // /sys/dev/block
};

}  // namespace cgwarden::cgroup
