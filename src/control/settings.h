// SPDX-License-Identifier: Apache-2.0
// From a setting to what is written: which file on v1, which on v2, which property of systemd, in which order, and what
// is looked at before. One row a key, in settings.cpp.
//
// Sources: the kernel's admin-guide/cgroup-v2.rst and cgroup-v1/*.rst; systemd.resource-control(5).
// Thread: the writer's. Planning reads and never writes.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/cgroup/hierarchy.h"
#include "src/control/engine.h"
#include "src/control/place.h"
#include "src/model/action.h"

namespace cgwarden::control {

// Why nothing is done.
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
inline tl::unexpected<Refusal> misuse(std::string text) {
  return tl::unexpected(Refusal{model::Outcome::Kind::usage, {}, std::move(text)});
}

// How a value stands in an interface file.
enum class Layout : std::uint8_t {
  none,     // this version of cgroups has no such thing
  single,   // "4096", "max"
  quota,    // v2's cpu.max: the first of two words
  period,   // and the second
  keyed,    // "8:0 rbps=1024 wbps=max"
  lines,    // "8:0 1024", one line a device
  weights,  // "default 100\n8:0 50"
  list,     // "0-3"
  rules,    // written only; devices.list has the sum
};

enum class Scale : std::uint8_t {
  one,
  shares,  // v1's cpu.shares: weight * 1024 / 100
  micro,   // nanoseconds in the model, microseconds in the file
  quota,   // cores in the model, microseconds per period in the file
};

struct FileRow {
  std::string_view controller;
  std::string_view file;  // '%' stands for the page size
  Layout layout = Layout::none;
  Scale scale = Scale::one;
  std::string_view sub = {};        // of Layout::keyed
  std::string_view unlimited = {};  // how "no limit" is written
};

struct SettingRow {
  std::string_view key;  // of model::setting_keys()
  FileRow v2;
  FileRow v1;
  std::string_view property;            // of systemd; empty: none
  std::int64_t default_value = kUnset;  // what a fresh cgroup has, in the model's fixed point
  static constexpr std::int64_t kUnlimited = -1;
  static constexpr std::int64_t kUnset = -2;  // none: inherited, or a list
};

std::span<const SettingRow> setting_rows();
const SettingRow* find_setting_row(std::string_view key);

// One write, with what it takes to see that it worked and to take it back.
struct Write {
  const CgroupHandle::Dir* dir = nullptr;
  std::string file;
  std::string text;     // what is written
  std::string restore;  // what is written to take it back; empty: cannot be taken back
  std::string before;   // what the file said, of this key
  std::string key;
  std::string device;  // as the kernel has it: "8:0"
  model::Value wanted;
};

// The same, as properties of a systemd unit; empty: systemd has none for it, and leaves the file alone.
struct UnitProperty {
  std::string name;    // "MemoryMax"
  std::string device;  // "/dev/block/254:0", of those that are lists of devices
  std::string value;   // a decimal number, "infinity", or a list of CPUs
};
std::vector<UnitProperty> unit_properties(const Write& write);

// What the kernel has now of those limits that these writes are about, as a container's engine counts them.
EngineLimits engine_limits(const CgroupHandle& place, std::span<const Write> writes);

struct WritePlan {
  std::vector<Write> writes;
  std::string note;  // worth telling though not in the way
};

struct Machine {
  std::string proc = "/proc";
  std::string sys = "/sys";
  std::int64_t memory = 0;     // bytes
  std::int64_t swap = 0;       // bytes
  std::int64_t swap_free = 0;  // bytes
  static Machine look(const cgroup::HostPaths& paths);
};

// What is to be written to the cgroup's own files for these settings, in a safe order, when nothing speaks against it.
Checked<WritePlan> plan_limits(const CgroupHandle& place, std::span<const model::Setting> settings,
                               const Machine& machine, bool force);
// Settings that bring back what a fresh cgroup has.
Checked<std::vector<model::Setting>> default_settings(std::span<const model::Setting> keys);

// What the file says of this key now, as text for people and for comparing.
base::Result<std::string> read_back(const Write& write);
// The kernel has what was wanted: it rounds sizes down to pages.
bool matches_readback(const Write& write, std::string_view after);

// A relative or percental setting as an absolute one.
Checked<model::Setting> resolve(const CgroupHandle& place, const model::Setting& setting, const Machine& machine);
// "vda", "/dev/vda", "254:0", "/var/lib/docker" -> "254:0", the whole disk.
Checked<std::string> resolve_disk(const std::string& device, const Machine& machine);

// "512 MiB"
std::string show_bytes(std::int64_t bytes);

}  // namespace cgwarden::control
