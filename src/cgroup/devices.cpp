// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/devices.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <unordered_map>

#include "src/base/file.h"
#include "src/base/text.h"

namespace cgwarden::cgroup {
namespace {

constexpr std::size_t kMaxDevices = 4096;
constexpr std::size_t kMaxMounts = 16;
constexpr std::size_t kMaxUnderlying = 64;
constexpr std::size_t kMaxNameLength = 1024;

std::string read_small(int dir, const char* file) {
  const base::Fd fd(::openat(dir, file, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  std::array<char, 4096> buffer{};
  const auto n = fd ? ::read(fd.get(), buffer.data(), buffer.size()) : 0;
  return n > 0 ? std::string(buffer.data(), static_cast<std::size_t>(n)) : std::string();
}

// Returns DEVNAME of a uevent file, or an empty string.
std::string device_name(std::string_view uevent) {
  std::string_view name;
  while (!uevent.empty()) {
    const auto line = base::take_line(uevent);
    if (line.starts_with("DEVNAME=")) name = line.substr(8);
  }
  return std::string(name);
}

std::vector<std::string> entries(int dir, const char* folder, std::size_t max_count) {
  std::vector<std::string> out;
  base::Fd fd(::openat(dir, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::unique_ptr<DIR, int (*)(DIR*)> open(fd ? ::fdopendir(fd.get()) : nullptr, ::closedir);
  if (!open) return out;
  (void)fd.release();
  while (const auto* entry = ::readdir(open.get())) {
    if (entry->d_name[0] == '.') continue;
    if (out.size() == max_count) break;
    out.emplace_back(entry->d_name);
  }
  std::ranges::sort(out);
  return out;
}

struct MountLine {
  std::string number;
  std::string root;
  std::string point;
  std::string type;
  std::string source;
};

std::vector<MountLine> mount_lines(std::string_view mountinfo) {
  std::vector<MountLine> out;
  while (!mountinfo.empty()) {
    // 31 23 0:28 /root /mount/point options [optional...] - type source super-options
    auto line = base::take_line(mountinfo);
    base::take_word(line);
    base::take_word(line);
    MountLine mount;
    mount.number = base::take_word(line);
    mount.root = base::unescape_octal(base::take_word(line));
    mount.point = base::unescape_octal(base::take_word(line));
    const auto dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    line.remove_prefix(dash + 3);
    mount.type = base::take_word(line);
    mount.source = base::unescape_octal(base::take_word(line));
    // Only file systems on a device are kept: a container host has thousands of other mounts (proc, overlay, ...).
    if (mount.number.starts_with("0:") && !mount.source.starts_with("/dev/")) continue;
    out.push_back(std::move(mount));
  }
  return out;
}

// Returns the mount that contains `path`: the one with the longest mount point that is an ancestor of `path`.
const MountLine* mount_of(const std::vector<MountLine>& mounts, std::string_view path) {
  const MountLine* best = nullptr;
  for (const auto& mount : mounts) {
    const auto& point = mount.point;
    const bool above =
        point == "/" || (path.starts_with(point) && path.size() > point.size() && path[point.size()] == '/');
    if (above && (best == nullptr || point.size() >= best->point.size())) best = &mount;
  }
  return best;
}

}  // namespace

DeviceNames::DeviceNames(const std::string& sysfs)
    : block_(::open((sysfs + "/dev/block").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {}

std::string_view DeviceNames::name_of(std::string_view number) {
  if (const auto known = names_.find(number); known != names_.end()) return known->second;
  if (names_.size() >= kMaxNames) return number;
  auto name = device_name(read_small(block_.get(), (std::string(number) + "/uevent").c_str()));
  if (name.empty()) name = number;
  return names_.emplace(std::string(number), std::move(name)).first->second;
}

BlockDevices::BlockDevices(const std::string& sysfs)
    : block_(::open((sysfs + "/dev/block").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}

std::string BlockDevices::numbers() const {
  std::string out;
  for (const auto& number : entries(block_.get(), ".", 2 * kMaxDevices)) out += number + ' ';
  return out;
}

std::vector<BlockDevice> BlockDevices::read(std::string_view mountinfo) const {
  std::vector<BlockDevice> devices;
  for (auto& number : entries(block_.get(), ".", 2 * kMaxDevices)) {
    const base::Fd dir(::openat(block_.get(), number.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    // An unused loop device or RAM disk has size 0.
    if (!dir || devices.size() == kMaxDevices || base::trim_end(read_small(dir.get(), "size")) == "0") continue;
    BlockDevice device;
    device.name = device_name(read_small(dir.get(), "uevent"));
    if (device.name.empty()) device.name = number;
    device.number = std::move(number);
    device.kind = "disk";
    if (base::exists(dir.get(), "partition")) {
      device.kind = "partition";
      if (auto disk = device_name(read_small(dir.get(), "../uevent")); !disk.empty())
        device.underlying = {std::move(disk)};
    } else if (base::exists(dir.get(), "dm")) {
      device.kind = "dm";
      device.alias = base::trim_end(read_small(dir.get(), "dm/name"));
    } else if (base::exists(dir.get(), "md")) {
      device.kind = "md";
    } else if (device.name.starts_with("loop")) {
      device.kind = "loop";
      device.alias = base::trim_end(read_small(dir.get(), "loop/backing_file"));
    }
    device.alias.resize(std::min(device.alias.size(), kMaxNameLength));
    for (auto& lower : entries(dir.get(), "slaves", kMaxUnderlying)) {
      std::ranges::replace(lower, '!', '/');  // sysfs's "cciss!c0d0" is DEVNAME's "cciss/c0d0"
      device.underlying.push_back(std::move(lower));
    }
    devices.push_back(std::move(device));
  }

  const auto mounts = mount_lines(mountinfo);
  std::unordered_map<std::string, BlockDevice*> known;  // by number, name, and path below /dev/mapper
  for (auto& device : devices) {
    known.emplace(device.number, &device);
    known.emplace(device.name, &device);
    if (device.kind == "dm") known.emplace("mapper/" + device.alias, &device);
  }
  const auto device_of = [&](const MountLine& mount) -> BlockDevice* {
    // btrfs and others report an anonymous device number (0:N); the mount source names the device.
    const auto at = known.find(mount.number.starts_with("0:") ? mount.source.substr(5) : mount.number);
    return at == known.end() ? nullptr : at->second;
  };
  // Mounts of the whole file system come first: bind mounts show only a part of it, and there are many.
  for (const bool whole : {true, false}) {
    for (const auto& mount : mounts) {
      if ((mount.root == "/") != whole) continue;
      auto* device = device_of(mount);
      if (device == nullptr || device->mounts.size() >= (whole ? kMaxMounts : 1)) continue;
      if (std::ranges::find(device->mounts, mount.point, &BlockDevice::Mount::point) != device->mounts.end()) continue;
      device->mounts.push_back({mount.point.substr(0, kMaxNameLength), mount.type});
    }
  }
  for (auto& device : devices) {
    if (device.kind != "loop" || device.alias.empty()) continue;
    const auto* mount = mount_of(mounts, device.alias);
    const auto* lower = mount == nullptr ? nullptr : device_of(*mount);
    if (lower != nullptr && lower != &device) device.underlying.push_back(lower->name);
  }
  return devices;
}

}  // namespace cgwarden::cgroup
