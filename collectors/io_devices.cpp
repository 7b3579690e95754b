// SPDX-License-Identifier: Apache-2.0
// Block devices of the host. The kernel counts I/O on each layer: a write through dm-0 on vda is counted on both
// devices, so a sum over devices must include only those with stacked="false".
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "collectors/collectors.h"
#include "collectors/series.h"
#include "src/base/clock.h"
#include "src/base/fd.h"
#include "src/cgroup/devices.h"

namespace cgwarden::collectors {
namespace {

using model::FieldId;
using model::Value;
using enum model::MetricKind;

constexpr auto kMaxAge = std::chrono::seconds(60);  // mounts and underlying devices change rarely
constexpr std::size_t kMaxMountinfo = 4UL << 20U;

// clang-format off
constexpr model::Field kIoDevicesRows[] = {
    {.name = "io_device", .kind = info, .derived = "`/sys/dev/block`", .labels = "device,number,kind,stacked,alias",
     .since = "5.4",
     .help = "Block devices of the host by kind (disk, partition, dm, md or loop), where stacked=true marks devices "
             "whose I/O is also counted on the underlying devices."},
    {.name = "io_device_underlying", .kind = info, .derived = "`/sys/dev/block/*/slaves`", .labels = "device,below",
     .since = "5.4", .help = "Block devices that the device is stacked on."},
    {.name = "io_device_filesystem", .kind = info, .derived = "`/proc/PID/mountinfo`",
     .labels = "device,mountpoint,fstype", .since = "5.4", .help = "Mounted file systems on the device."},
};
// clang-format on
static_assert(model::all_well_formed(kIoDevicesRows));

class IoDevices : public CustomReader {
 public:
  explicit IoDevices(const CustomContext& context) : procfs_(context.paths.procfs), devices_(context.paths.sysfs) {
    for (std::size_t i = 0; i < columns_.size(); ++i)
      columns_[i].field = context.catalogue.find(kIoDevicesRows[i].name).value();
  }

  void end(model::Snapshot& snapshot, model::CollectorStats& stats) override {
    auto numbers = devices_.numbers();
    const auto now = base::monotonic_now();
    if (numbers != numbers_ || now - read_at_ >= kMaxAge) {
      numbers_ = std::move(numbers);
      read_at_ = now;
      read_devices(stats);
    }
    for (const auto& [field, series] : columns_) {
      for (const auto& text : series) add_series(snapshot.columns[field], model::kNoCgroup, text, Value::of(1));
    }
  }

 private:
  struct Column {
    FieldId field = 0;
    std::vector<std::string> series;
  };

  template <class... Texts>
  void add(std::size_t column, const std::string& first, const Texts&... others) {
    std::string text = first;
    ((text += '\0', text += others), ...);
    columns_[column].series.push_back(std::move(text));
  }

  void read_devices(model::CollectorStats& stats) {
    for (auto& column : columns_) column.series.clear();
    for (const auto& device : devices_.read(mountinfo(stats))) {
      add(0, device.name, device.number, device.kind, std::string_view(device.underlying.empty() ? "false" : "true"),
          device.alias);
      for (const auto& below : device.underlying) add(1, device.name, below);
      for (const auto& mount : device.mounts) add(2, device.name, mount.point, mount.type);
    }
    for (auto& column : columns_) {
      std::ranges::sort(column.series, shorter_first);
      auto& series = column.series;
      series.erase(std::unique(series.begin(), series.end()), series.end());
    }
  }

  // The mounts of PID 1, or those of this process if that is not permitted.
  std::string mountinfo(model::CollectorStats& stats) const {
    std::string text;
    for (const char* path : {"/1/mountinfo", "/self/mountinfo"}) {
      const base::Fd file(::open((procfs_ + path).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
      std::array<char, 16384> buffer{};
      while (file && text.size() < kMaxMountinfo) {
        const auto n = ::read(file.get(), buffer.data(), buffer.size());
        if (n <= 0) break;
        text.append(buffer.data(), static_cast<std::size_t>(n));
      }
      stats.reads += file ? 1 : 0;
      stats.bytes += text.size();
      if (!text.empty()) break;
    }
    return text;
  }

  std::string procfs_;
  cgroup::BlockDevices devices_;
  std::array<Column, 3> columns_;
  std::string numbers_;
  base::Monotonic read_at_{};
};

}  // namespace

Collector io_devices() {
  return {{"io_devices",
           "Block devices, their underlying devices and mounted file systems. Cost: read once per minute, and when a "
           "device appears or disappears.",
           true, kIoDevicesRows},
          [](const CustomContext& context) -> std::unique_ptr<CustomReader> {
            return std::make_unique<IoDevices>(context);
          }};
}

}  // namespace cgwarden::collectors
