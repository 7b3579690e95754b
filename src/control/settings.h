// SPDX-License-Identifier: Apache-2.0
// Translates settings into writes: the file on v1 and v2, the property of systemd, the order, and the checks before.
// One row per key, in settings.cpp.
//
// Sources: the kernel's admin-guide/cgroup-v2.rst and cgroup-v1/*.rst; systemd.resource-control(5).
// Thread: the writer's. Planning reads and never writes.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/cgroup/hierarchy.h"
#include "src/control/cgroup_handle.h"
#include "src/control/runtime_api.h"
#include "src/model/action.h"

namespace cgwarden::control {

// Why an action is not carried out.
struct Refusal {
  model::Outcome::Kind kind = model::Outcome::Kind::failed;
  std::string guard;
  std::string text;
};
template <class T>
using Checked = tl::expected<T, Refusal>;

inline tl::unexpected<Refusal> refuse(std::string guard, std::string text) {
  return tl::unexpected(Refusal{model::Outcome::Kind::refused, std::move(guard), std::move(text)});
}
inline tl::unexpected<Refusal> usage_error(std::string text) {
  return tl::unexpected(Refusal{model::Outcome::Kind::usage, {}, std::move(text)});
}

// Format of a value in an interface file.
enum class Layout : std::uint8_t {
  none,     // this version of cgroups does not support it
  single,   // "4096", "max"
  quota,    // v2's cpu.max: the first word
  period,   // v2's cpu.max: the second word
  keyed,    // "8:0 rbps=1024 wbps=max"
  lines,    // "8:0 1024", one line a device
  weights,  // "default 100\n8:0 50"
  list,     // "0-3"
  rules,    // written only; devices.list has the sum
};

enum class ValueScale : std::uint8_t {
  one,
  shares,  // v1's cpu.shares: weight * 1024 / 100
  micro,   // nanoseconds in the model, microseconds in the file
  quota,   // cores in the model, microseconds per period in the file
};

struct FileRow {
  std::string_view controller;
  std::string_view file;  // '%' stands for the page size
  Layout layout = Layout::none;
  ValueScale scale = ValueScale::one;
  std::string_view sub = {};        // of Layout::keyed
  std::string_view unlimited = {};  // how "no limit" is written
};

struct SettingRow {
  std::string_view key;  // of model::setting_keys()
  FileRow v2;
  FileRow v1;
  std::string_view property;            // of systemd; empty: none
  std::int64_t default_value = kUnset;  // of a new cgroup, in the model's fixed point
  static constexpr std::int64_t kUnlimited = -1;
  static constexpr std::int64_t kUnset = -2;  // none: inherited, or a list
};

std::span<const SettingRow> setting_rows();
const SettingRow* find_setting_row(std::string_view key);

// One write, with the data to verify and to undo it.
struct Write {
  const CgroupHandle::Dir* dir = nullptr;
  std::string file;
  std::string text;     // what is written
  std::string restore;  // written to undo it; empty: cannot be undone
  std::string before;   // value of this key before the write
  std::string key;
  std::string device;  // as the kernel has it: "8:0"
  model::Value wanted;
};

// The same as properties of a systemd unit; empty if systemd has no such property and does not write the file.
struct UnitProperty {
  std::string name;    // "MemoryMax"
  std::string device;  // "/dev/block/254:0", of those that are lists of devices
  std::string value;   // a decimal number, "infinity", or a list of CPUs
};
std::vector<UnitProperty> unit_properties(const Write& write);

// The current kernel values of the limits in these writes, in the units of container runtimes.
RuntimeLimits runtime_limits(const CgroupHandle& handle, std::span<const Write> writes);

struct WritePlan {
  std::vector<Write> writes;
  std::string note;  // shown to the user, not an error
};

struct Machine {
  std::string proc = "/proc";
  std::string sys = "/sys";
  std::int64_t memory = 0;     // bytes
  std::int64_t swap = 0;       // bytes
  std::int64_t swap_free = 0;  // bytes
  static Machine read(const cgroup::HostPaths& paths);
};

// The writes for these settings, in a safe order. Refusal if a check fails; `force` skips the checks of current usage.
Checked<WritePlan> plan_limits(const CgroupHandle& handle, std::span<const model::Setting> settings,
                               const Machine& machine, bool force);
// Settings with the values of a new cgroup.
Checked<std::vector<model::Setting>> default_settings(std::span<const model::Setting> keys);

// The current value of this key as text.
base::Result<std::string> read_back(const Write& write);
// Whether the value read back is the written one, given that the kernel rounds sizes down to pages.
bool matches_readback(const Write& write, std::string_view after);

// Converts a relative or percentage setting to an absolute one.
Checked<model::Setting> resolve(const CgroupHandle& handle, const model::Setting& setting, const Machine& machine);
// "vda", "/dev/vda", "254:0", "/var/lib/docker" -> "254:0", the whole disk.
Checked<std::string> resolve_disk(const std::string& device, const Machine& machine);

// "512 MiB"
std::string format_bytes(std::int64_t bytes);

}  // namespace cgwarden::control
