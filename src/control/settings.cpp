// SPDX-License-Identifier: Apache-2.0
#include "src/control/settings.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "src/base/text.h"

namespace cgwarden::control {
namespace {

using model::Basis;
using model::Setting;
using model::SettingKey;
using model::Value;

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kPeriod = kSecond / 10;  // the kernel's, 100 ms
// v1 represents unlimited memory by the largest number of pages: 9223372036854771712.
constexpr std::int64_t kV1Unlimited = std::int64_t{1} << 62U;

// clang-format off
constexpr SettingRow kRows[] = {
    {"cpu.idle",            {"cpu", "cpu.idle", Layout::single},                                     {"cpu", "cpu.idle", Layout::single},                                               "",                         0},
    {"cpu.max",             {"cpu", "cpu.max", Layout::quota, ValueScale::quota, {}, "max"},              {"cpu", "cpu.cfs_quota_us", Layout::single, ValueScale::quota, {}, "-1"},                "CPUQuotaPerSecUSec",       SettingRow::kUnlimited},
    {"cpu.max.burst",       {"cpu", "cpu.max.burst", Layout::single, ValueScale::micro},                  {"cpu", "cpu.cfs_burst_us", Layout::single, ValueScale::micro},                          "",                         0},
    {"cpu.max.period",      {"cpu", "cpu.max", Layout::period, ValueScale::micro},                        {"cpu", "cpu.cfs_period_us", Layout::single, ValueScale::micro},                         "CPUQuotaPeriodUSec",       kPeriod},
    {"cpu.rt.max",          {},                                                                      {"cpu", "cpu.rt_runtime_us", Layout::single, ValueScale::quota},                         "",                         0},
    {"cpu.weight",          {"cpu", "cpu.weight", Layout::single},                                   {"cpu", "cpu.shares", Layout::single, ValueScale::shares},                               "CPUWeight",                100},
    {"cpuset.cpus",         {"cpuset", "cpuset.cpus", Layout::list},                                 {"cpuset", "cpuset.cpus", Layout::list},                                            "AllowedCPUs",              SettingRow::kUnset},
    {"cpuset.mems",         {"cpuset", "cpuset.mems", Layout::list},                                 {"cpuset", "cpuset.mems", Layout::list},                                            "AllowedMemoryNodes",       SettingRow::kUnset},
    {"devices.allow",       {},                                                                      {"devices", "devices.allow", Layout::rules},                                        "",                         SettingRow::kUnset},
    {"devices.deny",        {},                                                                      {"devices", "devices.deny", Layout::rules},                                         "",                         SettingRow::kUnset},
    {"hugetlb.max",         {"hugetlb", "hugetlb.%.max", Layout::single, ValueScale::one, {}, "max"},     {"hugetlb", "hugetlb.%.limit_in_bytes", Layout::single, ValueScale::one, {}, "-1"},      "",                         SettingRow::kUnlimited},
    {"io.latency",          {"io", "io.latency", Layout::keyed, ValueScale::micro, "target", "0"},        {},                                                                                 "IODeviceLatencyTargetUSec", SettingRow::kUnlimited},
    {"io.max.rbps",         {"io", "io.max", Layout::keyed, ValueScale::one, "rbps", "max"},              {"blkio", "blkio.throttle.read_bps_device", Layout::lines, ValueScale::one, {}, "0"},    "IOReadBandwidthMax",       SettingRow::kUnlimited},
    {"io.max.riops",        {"io", "io.max", Layout::keyed, ValueScale::one, "riops", "max"},             {"blkio", "blkio.throttle.read_iops_device", Layout::lines, ValueScale::one, {}, "0"},   "IOReadIOPSMax",            SettingRow::kUnlimited},
    {"io.max.wbps",         {"io", "io.max", Layout::keyed, ValueScale::one, "wbps", "max"},              {"blkio", "blkio.throttle.write_bps_device", Layout::lines, ValueScale::one, {}, "0"},   "IOWriteBandwidthMax",      SettingRow::kUnlimited},
    {"io.max.wiops",        {"io", "io.max", Layout::keyed, ValueScale::one, "wiops", "max"},             {"blkio", "blkio.throttle.write_iops_device", Layout::lines, ValueScale::one, {}, "0"},  "IOWriteIOPSMax",           SettingRow::kUnlimited},
    {"io.weight",           {"io", "io.weight", Layout::weights, ValueScale::one, {}, "default"},         {"blkio", "blkio.bfq.weight", Layout::single},                                      "IOWeight",                 100},
    {"memory.high",         {"memory", "memory.high", Layout::single, ValueScale::one, {}, "max"},        {},                                                                                 "MemoryHigh",               SettingRow::kUnlimited},
    {"memory.low",          {"memory", "memory.low", Layout::single, ValueScale::one, {}, "max"},         {},                                                                                 "MemoryLow",                0},
    {"memory.max",          {"memory", "memory.max", Layout::single, ValueScale::one, {}, "max"},         {"memory", "memory.limit_in_bytes", Layout::single, ValueScale::one, {}, "-1"},           "MemoryMax",                SettingRow::kUnlimited},
    {"memory.min",          {"memory", "memory.min", Layout::single, ValueScale::one, {}, "max"},         {},                                                                                 "MemoryMin",                0},
    {"memory.oom.group",    {"memory", "memory.oom.group", Layout::single},                          {},                                                                                 "",                         0},
    {"memory.swap.max",     {"memory", "memory.swap.max", Layout::single, ValueScale::one, {}, "max"},    {"memory", "memory.memsw.limit_in_bytes", Layout::single, ValueScale::one, {}, "-1"},     "MemorySwapMax",            SettingRow::kUnlimited},
    {"memory.zswap.max",    {"memory", "memory.zswap.max", Layout::single, ValueScale::one, {}, "max"},   {},                                                                                 "MemoryZSwapMax",           SettingRow::kUnlimited},
    {"misc.max",            {"misc", "misc.max", Layout::lines, ValueScale::one, {}, "max"},              {"misc", "misc.max", Layout::lines, ValueScale::one, {}, "max"},                         "",                         SettingRow::kUnlimited},
    {"net_cls.classid",     {},                                                                      {"net_cls", "net_cls.classid", Layout::single},                                     "",                         0},
    {"net_prio.ifpriomap",  {},                                                                      {"net_prio", "net_prio.ifpriomap", Layout::lines},                                  "",                         0},
    {"pids.max",            {"pids", "pids.max", Layout::single, ValueScale::one, {}, "max"},             {"pids", "pids.max", Layout::single, ValueScale::one, {}, "max"},                        "TasksMax",                 SettingRow::kUnlimited},
    {"rdma.max.hca_handle", {"rdma", "rdma.max", Layout::keyed, ValueScale::one, "hca_handle", "max"},    {"rdma", "rdma.max", Layout::keyed, ValueScale::one, "hca_handle", "max"},               "",                         SettingRow::kUnlimited},
    {"rdma.max.hca_object", {"rdma", "rdma.max", Layout::keyed, ValueScale::one, "hca_object", "max"},    {"rdma", "rdma.max", Layout::keyed, ValueScale::one, "hca_object", "max"},               "",                         SettingRow::kUnlimited},
};
// clang-format on

using base::take_line;
using base::take_until;
using base::take_word;

std::optional<std::int64_t> to_number(std::string_view text) {
  return base::to_int<std::int64_t>(base::trim_end(text));
}

std::string substitute_page_size(std::string_view file, const std::string& device) {
  std::string out(file);
  if (const auto at = out.find('%'); at != std::string::npos) out.replace(at, 1, device);
  return out;
}

// The value of this key in the text of its file; empty if the file does not list the device.
std::string extract_value(const FileRow& row, const std::string& device, std::string_view text) {
  switch (row.layout) {
    case Layout::quota:
    case Layout::period: {
      auto line = take_line(text);
      const auto first = take_word(line);
      return std::string(row.layout == Layout::quota ? first : take_word(line));
    }
    case Layout::keyed:
    case Layout::lines:
    case Layout::weights:
      while (!text.empty()) {
        auto line = take_line(text);
        const auto name = take_word(line);
        if (name != (device.empty() ? "default" : device)) continue;
        if (row.layout != Layout::keyed) return std::string(take_word(line));
        while (!line.empty()) {
          auto word = take_word(line);
          if (take_until(word, '=') == row.sub) return std::string(word);
        }
      }
      return {};
    case Layout::rules:
    case Layout::none:
      return {};
    case Layout::single:
    case Layout::list:
      break;
  }
  return std::string(base::trim_end(text));
}

Value decode(const FileRow& row, std::string_view part, std::int64_t period_us) {
  if (part == "max") return Value::unlimited();
  if (part.empty()) {
    return row.layout == Layout::keyed || row.layout == Layout::lines
               ? (row.unlimited.empty() ? Value::absent() : Value::unlimited())
               : Value::absent();
  }
  const auto n = to_number(part);
  if (!n) {
    // 9223372036854771712 fits; 18446744073709551615 of blkio does not
    return base::to_int<std::uint64_t>(part) ? Value::unlimited() : Value::error();
  }
  if (row.unlimited == "-1" && (*n < 0 || *n >= kV1Unlimited)) return Value::unlimited();
  if (row.unlimited == "0" && *n == 0) return Value::unlimited();
  switch (row.scale) {
    case ValueScale::shares:
      return Value::of((*n * 100 + 512) / 1024);
    case ValueScale::micro:
      return Value::of(*n * 1000);
    case ValueScale::quota:
      return period_us > 0 ? Value::of(static_cast<std::int64_t>(
                                 std::llround(static_cast<double>(*n) * kSecond / static_cast<double>(period_us))))
                           : Value::absent();
    case ValueScale::one:
      break;
  }
  return Value::of(*n);
}

std::string encode(const FileRow& row, Value value, std::int64_t period_us) {
  if (value.is_unlimited()) return std::string(row.unlimited);
  const auto fixed = value.fixed();
  switch (row.scale) {
    case ValueScale::shares:
      return std::to_string(std::max<std::int64_t>(2, fixed * 1024 / 100));
    case ValueScale::micro:
      return std::to_string(fixed / 1000);
    case ValueScale::quota:
      return std::to_string(static_cast<std::int64_t>(
          std::llround(static_cast<double>(fixed) * static_cast<double>(period_us) / kSecond)));
    case ValueScale::one:
      break;
  }
  return std::to_string(fixed);
}

std::string format_line(const FileRow& row, const std::string& device, const std::string& value) {
  switch (row.layout) {
    case Layout::keyed:
      return device + ' ' + std::string(row.sub) + '=' + value;
    case Layout::lines:
      return device + ' ' + value;
    case Layout::weights:
      return (device.empty() ? "default" : device) + ' ' + value;
    default:
      return value;
  }
}

std::string value_text(const SettingKey& key, Value value) {
  if (value.is_unlimited()) return "max";
  if (!value.is_number()) return "unknown";
  if (key.unit == model::Unit::bytes) return format_bytes(value.fixed());
  Setting setting;
  setting.key = std::string(key.name);
  setting.value = value;
  const auto text = model::to_text(setting);
  return text.substr(text.find('=') + 1);
}

bool less(Value a, Value b) {  // of numbers and unlimited
  if (a.is_unlimited()) return false;
  return b.is_unlimited() || a.fixed() < b.fixed();
}

// The file of a setting for one cgroup.
struct SettingTarget {
  const SettingRow* row = nullptr;
  const FileRow* file = nullptr;
  const CgroupHandle::Dir* dir = nullptr;
  std::string name;    // of the file
  std::string device;  // as the kernel has it
};

Refusal controller_missing(const CgroupHandle& handle, const SettingRow& row, bool v1, std::string_view controller) {
  const auto shown = base::printable(handle.path());
  if (!v1) {
    return {model::Outcome::Kind::refused, "controller",
            shown + ": the " + std::string(controller) + " controller is not enabled (write +" +
                std::string(controller) +
                " to cgroup.subtree_control of its parent; for a systemd unit set CPUAccounting=, IOAccounting= and so "
                "on)"};
  }
  return {model::Outcome::Kind::refused, "controller",
          std::string(row.key) + ": cannot set: " + shown + " is in no hierarchy with the " + std::string(controller) +
              " controller"};
}

Checked<SettingTarget> find_target(const CgroupHandle& handle, const Setting& setting, const Machine& machine) {
  const auto* const row = find_setting_row(setting.key);
  const auto* const key = model::find_setting_key(setting.key);
  if (row == nullptr || key == nullptr) return usage_error("unknown key '" + base::printable(setting.key) + "'");
  SettingTarget target;
  target.row = row;
  const auto* v1 = row->v1.layout == Layout::none ? nullptr : handle.dir_of_v1_controller(row->v1.controller);
  if (v1 != nullptr) {
    target.file = &row->v1;
    target.dir = v1;
  } else {
    const auto* v2 = row->v2.layout == Layout::none ? nullptr : handle.dir_of_controller(row->v2.controller);
    if (v2 != nullptr && !v2->is_v2()) {
      return refuse("controller", setting.key + ": not available: it exists on v2 only, and this host has the " +
                                      std::string(row->v2.controller) + " controller on v1");
    }
    if (v2 == nullptr) {
      // The controller is on v1, where this key does not exist.
      const auto other = row->v2.controller == "io" ? std::string_view("blkio") : row->v2.controller;
      if (row->v1.layout == Layout::none && !other.empty() && handle.dir_of_v1_controller(other) != nullptr) {
        return refuse("controller", setting.key + ": not available: it exists on v2 only, and this host has the " +
                                        std::string(other) + " controller on v1");
      }
      if (row->v2.layout == Layout::none && handle.v2() != nullptr && handle.dirs().size() == 1) {
        return refuse("controller", setting.key + ": not available: it exists on v1 only, and this host has v2");
      }
      return tl::unexpected(controller_missing(
          handle, *row,
          handle.v2() == nullptr || row->v2.layout == Layout::none || handle.dir_of_v1_controller("memory") != nullptr,
          row->v2.layout == Layout::none ? row->v1.controller : row->v2.controller));
    }
    target.file = &row->v2;
    target.dir = v2;
  }
  target.device = setting.device;
  if (key->device == SettingKey::Device::disk ||
      (key->device == SettingKey::Device::optional_disk && !setting.device.empty())) {
    auto disk = resolve_disk(setting.device, machine);
    if (!disk) return tl::unexpected(disk.error());
    target.device = std::move(*disk);
  }
  if (key->device == SettingKey::Device::page_size && setting.device.find('/') != std::string::npos) {
    return usage_error(setting.key + ": '" + base::printable(setting.device) + "' is not a huge page size such as 2MB");
  }
  target.name = substitute_page_size(target.file->file, setting.device);
  const auto exists = [&](const std::string& name) {
    struct stat st {};
    return ::fstatat(target.dir->fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
  };
  if (setting.key == "io.weight") {  // io.cost, bfq or cfq, whichever the kernel has
    for (const auto* name : {"io.weight", "io.bfq.weight", "blkio.bfq.weight", "blkio.weight"}) {
      const bool per_device = !setting.device.empty() && !target.dir->is_v2();
      const auto candidate = per_device ? std::string(name) + "_device" : std::string(name);
      if (!exists(candidate)) continue;
      static constexpr FileRow kPerDevice{"blkio", "", Layout::lines};
      target.name = candidate;
      if (per_device) target.file = &kPerDevice;
      break;
    }
  }
  if (!exists(target.name)) {
    if (key->device == SettingKey::Device::page_size) {
      return usage_error(setting.key + ": this host does not support huge pages of size " +
                         base::printable(setting.device));
    }
    return refuse("kernel", setting.key + ": " + target.dir->where(target.name) + " is missing: " +
                                (handle.path() == "/" ? "the root cgroup does not have it"
                                                      : "the kernel does not support it, or it is disabled"));
  }
  return target;
}

std::int64_t period_of(const SettingTarget& target) {
  if (target.file->scale != ValueScale::quota) return 0;
  if (target.file->layout == Layout::quota) {
    const auto text = read_file(target.dir->fd.get(), "cpu.max");
    static constexpr FileRow kPeriodWord{"cpu", "cpu.max", Layout::period};
    return text ? to_number(extract_value(kPeriodWord, {}, *text)).value_or(0) : 0;
  }
  const auto text =
      read_file(target.dir->fd.get(), target.name == "cpu.rt_runtime_us" ? "cpu.rt_period_us" : "cpu.cfs_period_us");
  return text ? to_number(*text).value_or(0) : 0;
}

std::int64_t number_in(const CgroupHandle::Dir& dir, const char* file) {
  const auto text = read_file(dir.fd.get(), file);
  return text ? to_number(*text).value_or(-1) : -1;
}

// Used memory that the kernel cannot reclaim by dropping file cache.
std::int64_t unreclaimable_bytes(const CgroupHandle::Dir& dir) {
  const auto used = number_in(dir, dir.is_v2() ? "memory.current" : "memory.usage_in_bytes");
  const auto stat = read_file(dir.fd.get(), "memory.stat");
  if (used < 0 || !stat) return -1;
  std::int64_t files = 0;
  for (const auto* key : {"inactive_file", "active_file"}) {
    files += std::max<std::int64_t>(0, flat_key(*stat, dir.is_v2() ? key : "total_" + std::string(key)));
  }
  return std::max<std::int64_t>(0, used - files);
}

// The lowest limit of this key among the ancestors.
struct AncestorLimit {
  Value value = Value::unlimited();
  std::string path;
};
AncestorLimit tightest_ancestor(const CgroupHandle& handle, const SettingTarget& target) {
  AncestorLimit out;
  handle.for_each_ancestor(*target.dir, [&](int fd, const std::string& path) {
    const auto text = read_file(fd, target.name);
    if (!text) return true;  // the root has none
    std::int64_t period = 0;
    if (target.file->scale == ValueScale::quota) {
      const auto p = read_file(fd, target.file->layout == Layout::quota ? "cpu.max" : "cpu.cfs_period_us");
      static constexpr FileRow kPeriodWord{"cpu", "cpu.max", Layout::period};
      if (p)
        period = to_number(target.file->layout == Layout::quota ? extract_value(kPeriodWord, {}, *p) : *p).value_or(0);
    }
    const auto value = decode(*target.file, extract_value(*target.file, target.device, *text), period);
    if (value.has_value() && less(value, out.value)) {
      out.value = value;
      out.path = path;
    }
    return true;
  });
  return out;
}

// A cgroup is protected only as far as every ancestor is. Empty if the ancestors allow the requested protection.
std::string protection_note(const CgroupHandle& handle, const Write& write) {
  const auto* const row = find_setting_row(write.key);
  const auto above = tightest_ancestor(handle, {row, &row->v2, write.dir, write.file, {}});
  if (!less(above.value, write.wanted)) return {};
  return write.key + " of its ancestor " + base::printable(above.path) + " is " + format_bytes(above.value.fixed()) +
         ": " + (above.value.fixed() == 0 ? "nothing" : "no more") + " is protected until that is raised";
}

// "0-3,8" -> {0,1,2,3,8}; nullopt if it is invalid or a number exceeds 65535.
std::optional<std::vector<unsigned>> parse_list(std::string_view text) {
  std::vector<unsigned> out;
  text = base::trim_end(text);
  while (!text.empty()) {
    auto range = take_until(text, ',');
    const auto first = base::to_int<unsigned>(take_until(range, '-'));
    const auto last = range.empty() ? first : base::to_int<unsigned>(range);
    if (!first || !last || *first > *last || *last > 65'535) return std::nullopt;
    for (unsigned n = *first; n <= *last; ++n) out.push_back(n);
  }
  std::ranges::sort(out);
  return out;
}

Checked<void> check_list(const CgroupHandle& handle, const SettingTarget& target, const std::string& wanted) {
  const auto list = parse_list(wanted);
  if (!list)
    return usage_error(std::string(target.row->key) + ": '" + base::printable(wanted) +
                       "' is not a list such as 0-3,8");
  if (list->empty()) {
    if (target.dir->is_v2()) return {};
    return usage_error(std::string(target.row->key) + ": must not be empty on v1 (use for example the parent's list)");
  }
  std::string has;
  std::string above;
  handle.for_each_ancestor(*target.dir, [&](int fd, const std::string& path) {
    auto text = target.dir->is_v2() ? read_file(fd, target.name + ".effective") : read_file(fd, target.name);
    if (text) {
      has = std::string(base::trim_end(*text));
      above = path;
    }
    return false;
  });
  const auto allowed = parse_list(has);
  if (!has.empty() && allowed && !std::ranges::includes(*allowed, *list)) {
    return refuse("ancestor", std::string(target.row->key) + "=" + wanted + ": not a subset of " + has +
                                  ", the value of the parent " + base::printable(above));
  }
  return {};
}

std::optional<Refusal> check_usage(const CgroupHandle& handle, const SettingTarget& target, const SettingKey& key,
                                   Value wanted, Value now, const Machine& machine) {
  if (!wanted.is_number() || (now.has_value() && !less(wanted, now))) return std::nullopt;
  const auto below = [&](std::int64_t use, const std::string& then) {
    return Refusal{model::Outcome::Kind::refused, "below-use",
                   std::string(key.name) + "=" + value_text(key, wanted) +
                       ": below the current unreclaimable usage of " + base::printable(handle.path()) + ", " +
                       value_text(key, Value::of(use)) + ": " + then + " (use --force to set it anyway)"};
  };
  if (target.row->key == "memory.max") {
    const auto use = unreclaimable_bytes(*target.dir);
    if (use > wanted.fixed()) {
      return below(use, target.dir->is_v2() ? "the kernel would kill processes"
                                            : "the kernel would refuse it unless it can swap");
    }
  }
  if (target.row->key == "memory.high" && machine.swap_free == 0) {
    const auto use = unreclaimable_bytes(*target.dir);
    if (use > wanted.fixed()) return below(use, "without free swap the cgroup would be throttled indefinitely");
  }
  if (target.row->key == "hugetlb.max") {
    auto name = target.name;
    name.replace(name.rfind(target.dir->is_v2() ? ".max" : ".limit_in_bytes"), std::string::npos,
                 target.dir->is_v2() ? ".current" : ".usage_in_bytes");
    const auto use = number_in(*target.dir, name.c_str());
    if (use > wanted.fixed()) return below(use, "the kernel would refuse it");
  }
  return std::nullopt;
}

constexpr std::string_view kBoundedByAncestors[] = {"cpu.max", "hugetlb.max", "memory.high", "memory.max", "pids.max"};

// Position in the order of writes, lowest first. Equal positions keep the order of the settings.
int write_order(const Write& write, Value now) {
  const bool lowers = write.wanted.is_number() && now.has_value() && less(write.wanted, now);
  if (write.key == "cpu.idle") return write.wanted == Value::of(0) ? -3 : 3;  // a weight is refused while idle
  if (write.key == "cpu.max.burst") return lowers ? -2 : 2;                   // never above the quota
  if (write.key == "cpu.max.period") return -1;
  if (write.key == "memory.high" || write.key == "memory.low" || write.key == "memory.min") return lowers ? -1 : 1;
  return 0;
}

// v1: memory.memsw limits memory plus swap and must never be below the memory limit, so the order of the two writes
// matters.
Checked<void> plan_v1_memory(const CgroupHandle& handle, std::vector<Write>& writes, bool& memory_done) {
  const auto* const dir = handle.dir_of_v1_controller("memory");
  const auto find = [&](std::string_view key) {
    return std::ranges::find_if(writes, [&](const Write& w) { return w.key == key && !w.dir->is_v2(); });
  };
  auto limit = find("memory.max");
  auto swap = find("memory.swap.max");
  if (dir == nullptr || (limit == writes.end() && swap == writes.end())) return {};
  const auto memsw_text = read_file(dir->fd.get(), "memory.memsw.limit_in_bytes");
  if (!memsw_text) {
    if (swap == writes.end()) return {};
    return refuse("kernel",
                  "memory.swap.max: this kernel does not account swap: memory.memsw.limit_in_bytes is missing (boot "
                  "with swapaccount=1)");
  }
  static constexpr FileRow kBytes{"memory", "", Layout::single, ValueScale::one, {}, "-1"};
  const auto decode_of = [&](std::string_view text) { return decode(kBytes, base::trim_end(text), 0); };
  const auto limit_text = read_file(dir->fd.get(), "memory.limit_in_bytes");
  if (!limit_text) return refuse("kernel", limit_text.error().what);
  const auto limit_now = decode_of(*limit_text);
  const auto memsw_now = decode_of(*memsw_text);
  const auto limit_new = limit != writes.end() ? limit->wanted : limit_now;
  // The swap part: as requested, or as it is.
  auto swap_new = Value::unlimited();
  if (swap != writes.end()) {
    swap_new = swap->wanted;
  } else if (memsw_now.is_number() && limit_now.is_number()) {
    swap_new = Value::of(memsw_now.fixed() - limit_now.fixed());
  }
  if (swap != writes.end() && swap_new.is_number() && !limit_new.is_number()) {
    return refuse("order", "memory.swap.max: on v1 swap is limited together with memory (set memory.max as well)");
  }
  const auto memsw_new = swap_new.is_number() && limit_new.is_number() ? Value::of(limit_new.fixed() + swap_new.fixed())
                                                                       : Value::unlimited();
  std::erase_if(writes, [](const Write& w) { return w.key == "memory.swap.max" && !w.dir->is_v2(); });
  limit = find("memory.max");
  if (memsw_new == memsw_now) {
    memory_done = true;
    return {};
  }
  Write both;
  both.dir = dir;
  both.file = "memory.memsw.limit_in_bytes";
  both.text = encode(kBytes, memsw_new, 0);
  both.before = std::string(base::trim_end(*memsw_text));
  both.restore = encode(kBytes, memsw_now, 0);
  both.key = "memory.swap.max";
  both.wanted = memsw_new;
  const bool raise_first = less(memsw_now, memsw_new);
  const auto at = limit == writes.end() ? writes.end() : (raise_first ? limit : limit + 1);
  writes.insert(at, std::move(both));
  memory_done = true;
  return {};
}

const FileRow* file_row_of(const Write& write) {
  const auto* const row = find_setting_row(write.key);
  return row == nullptr ? nullptr : write.dir->is_v2() ? &row->v2 : &row->v1;
}

}  // namespace

std::span<const SettingRow> setting_rows() { return kRows; }

const SettingRow* find_setting_row(std::string_view key) {
  const auto* const at = std::ranges::lower_bound(kRows, key, {}, &SettingRow::key);
  return at != std::end(kRows) && at->key == key ? at : nullptr;
}

std::string format_bytes(std::int64_t bytes) {
  constexpr std::string_view units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  std::size_t unit = 0;
  auto whole = bytes;
  std::int64_t rest = 0;
  while (std::abs(whole) >= 1024 && unit + 1 < std::size(units)) {
    rest = std::abs(whole % 1024);
    whole /= 1024;
    ++unit;
  }
  auto text = std::to_string(whole);
  if (rest * 10 / 1024 != 0) text += '.' + std::to_string(rest * 10 / 1024);
  return text + ' ' + std::string(units[unit]);
}

Machine Machine::read(const cgroup::HostPaths& paths) {
  Machine machine;
  machine.proc = paths.procfs;
  machine.sys = paths.sysfs;
  const base::Fd proc(::open(paths.procfs.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto text = proc ? read_file(proc.get(), "meminfo") : base::Result<std::string>(base::fail("no /proc"));
  if (!text) return machine;
  const auto kilobytes = [&](std::string_view key) { return std::max<std::int64_t>(0, flat_key(*text, key)) * 1024; };
  machine.memory = kilobytes("MemTotal:");
  machine.swap = kilobytes("SwapTotal:");
  machine.swap_free = kilobytes("SwapFree:");
  return machine;
}

Checked<std::string> resolve_disk(const std::string& device, const Machine& machine) {
  const auto shown = base::printable(device);
  const auto unknown = [&](const std::string& why) {
    return usage_error("disk '" + shown + "': not found on this host: " + why + " (lsblk lists disks)");
  };
  unsigned major_number = 0;
  unsigned minor_number = 0;
  const auto colon = device.find(':');
  bool is_path = false;
  if (colon != std::string::npos && device.find('/') == std::string::npos) {
    const auto a = base::to_int<unsigned>(std::string_view(device).substr(0, colon));
    const auto b = base::to_int<unsigned>(std::string_view(device).substr(colon + 1));
    if (!a || !b) return unknown("expected MAJOR:MINOR such as 254:0");
    major_number = *a;
    minor_number = *b;
  } else {
    const auto path = device.starts_with('/') ? device : "/dev/" + device;
    if (device.find("..") != std::string::npos) return unknown("the name contains '..'");
    struct stat st {};
    if (!device.starts_with('/')) {
      // Use /sys: in a container /dev may not have the device.
      const base::Fd block(::open((machine.sys + "/class/block").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      const auto text = block ? read_file(block.get(), device + "/dev") : base::Result<std::string>(base::fail("none"));
      if (!text) return unknown("/sys/class/block/" + shown + " does not exist");
      std::string_view rest = base::trim_end(*text);
      major_number = base::to_int<unsigned>(take_until(rest, ':')).value_or(0);
      minor_number = base::to_int<unsigned>(rest).value_or(0);
    } else if (::stat(path.c_str(), &st) != 0) {
      return unknown(std::strerror(errno));
    } else if (S_ISBLK(st.st_mode)) {
      major_number = major(st.st_rdev);
      minor_number = minor(st.st_rdev);
    } else {
      is_path = true;
      major_number = major(st.st_dev);
      minor_number = minor(st.st_dev);
      if (major_number == 0) {
        return unknown(
            "the file system of this path has no block device of its own (overlay, btrfs, tmpfs, network); name the "
            "disk");
      }
    }
  }
  const auto number = std::to_string(major_number) + ':' + std::to_string(minor_number);
  const auto link = machine.sys + "/dev/block/" + number;
  const base::Fd dir(::open(link.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return unknown("block device " + number + " does not exist");
  if (!read_file(dir.get(), "partition")) return number;
  // A partition: the kernel limits whole disks only.
  const base::Fd parent(::openat(dir.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto whole = parent ? read_file(parent.get(), "dev") : base::Result<std::string>(base::fail("none"));
  if (!whole) return unknown("it is a partition whose disk cannot be determined");
  const auto disk = std::string(base::trim_end(*whole));
  if (is_path) return disk;
  return usage_error("disk '" + shown + "': is a partition, and the kernel limits whole disks only (use " + disk + ")");
}

Checked<Setting> resolve(const CgroupHandle& handle, const Setting& setting, const Machine& machine) {
  Setting out = setting;
  if (setting.basis != Basis::absolute) {
    out.basis = Basis::absolute;
    const auto* const key = model::find_setting_key(setting.key);
    if (key == nullptr || !setting.value.is_number())
      return usage_error(setting.key + ": a relative change requires a number");
    long double result = 0;
    const auto fixed = static_cast<long double>(setting.value.fixed());
    if (setting.basis == Basis::percent_of_machine) {
      const auto whole = setting.key.find("swap") != std::string::npos ? machine.swap : machine.memory;
      if (whole <= 0)
        return refuse("kernel", setting.key + ": cannot compute a percentage: the total of this machine is unknown");
      result = static_cast<long double>(whole) * fixed / 10'000;
    } else {
      auto target = find_target(handle, setting, machine);
      if (!target) return tl::unexpected(target.error());
      const auto text = read_file(target->dir->fd.get(), target->name);
      const auto now =
          text ? decode(*target->file, extract_value(*target->file, target->device, *text), period_of(*target))
               : Value::absent();
      if (!now.is_number())
        return refuse("relative", setting.key + ": cannot change relatively: the current value is not a number");
      const auto base_value = static_cast<long double>(now.fixed());
      result = setting.basis == Basis::change ? base_value + fixed : base_value * (10'000 + fixed) / 10'000;
    }
    const auto bounded =
        std::clamp(result, static_cast<long double>(key->lowest), static_cast<long double>(key->highest));
    out.value = Value::of(static_cast<std::int64_t>(std::llround(bounded)));
  }
  if (out.value.is_number() && setting.at_least.is_number() && less(out.value, setting.at_least))
    out.value = setting.at_least;
  if (out.value.has_value() && setting.at_most.is_number() && less(setting.at_most, out.value))
    out.value = setting.at_most;
  out.at_least = out.at_most = Value::absent();
  return out;
}

Checked<std::vector<Setting>> default_settings(std::span<const Setting> keys) {
  std::vector<Setting> out;
  for (const auto& key : keys) {
    const auto* const row = find_setting_row(key.key);
    if (row == nullptr) return usage_error("unknown key '" + base::printable(key.key) + "'");
    Setting setting;
    setting.key = key.key;
    setting.device = key.device;
    if (row->default_value == SettingRow::kUnlimited) {
      setting.value = Value::unlimited();
    } else if (row->default_value >= 0) {
      setting.value = Value::of(row->default_value);
    } else if (row->v2.layout != Layout::list) {
      return usage_error(key.key + ": cannot reset: it has no default value (set one with cgtop limit)");
    }
    out.push_back(std::move(setting));
  }
  return out;
}

Checked<WritePlan> plan_limits(const CgroupHandle& handle, std::span<const Setting> settings, const Machine& machine,
                               bool force) {
  WritePlan plan;
  std::vector<std::pair<int, Write>> ranked;
  std::optional<std::int64_t> new_period;  // microseconds
  for (const auto& setting : settings) {
    if (setting.key == "cpu.max.period" && setting.value.is_number()) new_period = setting.value.fixed() / 1000;
  }
  const auto is_requested = [&](std::string_view key) {
    return std::ranges::find(settings, key, &Setting::key) != settings.end();
  };
  for (const auto& requested : settings) {
    const auto* const key = model::find_setting_key(requested.key);
    if (key == nullptr) return usage_error("unknown key '" + base::printable(requested.key) + "'");
    if (std::ranges::count_if(
            settings, [&](const Setting& s) { return s.key == requested.key && s.device == requested.device; }) > 1) {
      return usage_error(requested.key + ": given twice");
    }
    const auto setting = resolve(handle, requested, machine);
    if (!setting) return tl::unexpected(setting.error());
    auto target = find_target(handle, *setting, machine);
    if (!target) return tl::unexpected(target.error());
    Write write;
    write.dir = target->dir;
    write.file = target->name;
    write.key = setting->key;
    write.device = target->device;
    write.wanted = setting->value;
    if (target->file->layout == Layout::rules) {
      write.text = setting->text;
      ranked.emplace_back(0, std::move(write));
      continue;
    }
    const auto text = read_file(target->dir->fd.get(), target->name);
    if (!text) return refuse("kernel", text.error().what);
    const auto period = new_period && target->name.find("rt_") == std::string::npos ? *new_period : period_of(*target);
    const auto part = extract_value(*target->file, target->device, *text);
    write.before = part;
    if (target->file->layout == Layout::list) {
      auto list = setting->text;
      if (list.empty() && !target->dir->is_v2()) {  // reset: inherit the parent's list
        handle.for_each_ancestor(*target->dir, [&](int fd, const std::string&) {
          const auto above = read_file(fd, target->name);
          if (above) list = std::string(base::trim_end(*above));
          return false;
        });
      }
      if (const auto fits = check_list(handle, *target, list); !fits) return tl::unexpected(fits.error());
      write.text = list.empty() ? "\n" : list;
      write.restore = part.empty() ? "\n" : part;
      ranked.emplace_back(0, std::move(write));
      continue;
    }
    const auto now = decode(*target->file, part, period_of(*target));
    if (target->file->scale == ValueScale::quota && period <= 0)
      return refuse("kernel", setting->key + ": cannot read its period");
    if (setting->key == "io.weight" && target->name.find("io.weight") == std::string::npos &&
        setting->value.fixed() > 1000) {
      return usage_error("io.weight: must be at most 1000 on this host (" + target->dir->where(target->name) + ")");
    }
    if (setting->key == "cpu.weight" && !is_requested("cpu.idle") && number_in(*target->dir, "cpu.idle") == 1) {
      return refuse("order", "cpu.weight: cannot be set while cpu.idle is 1 (set cpu.idle=0 as well)");
    }
    if (target->file->scale == ValueScale::quota && setting->value.is_number()) {
      const auto quota = base::to_int<std::int64_t>(encode(*target->file, setting->value, period)).value_or(0);
      if (quota < 1000 && target->name.find("rt_") == std::string::npos) {
        return usage_error("cpu.max=" + value_text(*key, setting->value) +
                           ": the kernel requires at least 1 ms per period, which is " + std::to_string(period / 1000) +
                           " ms (set a higher cpu.max or a longer cpu.max.period)");
      }
      const auto burst = number_in(*target->dir, target->dir->is_v2() ? "cpu.max.burst" : "cpu.cfs_burst_us");
      if (burst > quota && !is_requested("cpu.max.burst")) {
        return refuse("order", "cpu.max: the quota is below cpu.max.burst, which is " + std::to_string(burst) +
                                   "us (lower cpu.max.burst as well)");
      }
    }
    if (!force && key->device != SettingKey::Device::disk) {
      if (auto below = check_usage(handle, *target, *key, setting->value, now, machine))
        return tl::unexpected(std::move(*below));
    }
    if (setting->value.is_number() &&
        std::ranges::find(kBoundedByAncestors, setting->key) != std::end(kBoundedByAncestors)) {
      const auto above = tightest_ancestor(handle, *target);
      // v1's kernel refuses this for the CPU quota, so --force cannot help.
      const bool hard = setting->key == "cpu.max" && !target->dir->is_v2();
      if (less(above.value, setting->value) && (hard || !force)) {
        return refuse("ancestor", setting->key + "=" + value_text(*key, setting->value) +
                                      ": exceeds the limit of the ancestor " + base::printable(above.path) + ", " +
                                      value_text(*key, above.value) + " (raise that first" +
                                      (hard ? ")" : ", or use --force)"));
      }
    }
    const auto value = encode(*target->file, setting->value, period);
    const auto old = part.empty() ? std::string(target->file->unlimited) : part;
    if (target->file->layout == Layout::quota || target->file->layout == Layout::period) {
      // v2's cpu.max holds quota and period: one write for both keys.
      const auto both = std::string(base::trim_end(*text));
      if (target->file->layout == Layout::period && is_requested("cpu.max")) continue;
      static constexpr FileRow kFirst{"cpu", "cpu.max", Layout::quota, ValueScale::quota, {}, "max"};
      const auto first = target->file->layout == Layout::quota
                             ? value
                             : encode(kFirst,
                                      decode(kFirst, extract_value(kFirst, {}, *text),
                                             period_of({target->row, &kFirst, target->dir, target->name, {}})),
                                      period);
      write.text = first + ' ' + std::to_string(period);
      write.before = both;
      write.restore = both;
      write.key = "cpu.max";
      ranked.emplace_back(0, std::move(write));
      continue;
    }
    write.text = format_line(*target->file, target->device, value);
    if (!old.empty())
      write.restore = format_line(*target->file, target->device,
                                  target->file->unlimited == "-1" && now.is_unlimited() ? "-1" : old);
    const auto r = write_order(write, now);
    ranked.emplace_back(r, std::move(write));
  }
  std::ranges::stable_sort(ranked, {}, &std::pair<int, Write>::first);
  for (auto& [r, write] : ranked) plan.writes.push_back(std::move(write));
  // v1: while a quota is set, changing the period changes the ratio, which the parent may not allow. So the quota is
  // lifted first and set again afterwards.
  const auto period = std::ranges::find(plan.writes, "cpu.max.period", &Write::key);
  if (period != plan.writes.end() && !period->dir->is_v2()) {
    const auto quota_now = read_file(period->dir->fd.get(), "cpu.cfs_quota_us");
    const auto quota = std::ranges::find(plan.writes, "cpu.max", &Write::key);
    if (quota_now && base::trim_end(*quota_now) != "-1") {
      Write lift_quota;
      lift_quota.dir = period->dir;
      lift_quota.file = "cpu.cfs_quota_us";
      lift_quota.text = "-1";
      lift_quota.before = std::string(base::trim_end(*quota_now));
      lift_quota.restore = lift_quota.before;
      lift_quota.key = "cpu.max";
      lift_quota.wanted = Value::unlimited();
      const auto again = quota == plan.writes.end();
      Write restore_quota = lift_quota;
      if (again) {  // the same ratio as before, in the new period
        const auto old = number_in(*period->dir, "cpu.cfs_period_us");
        const auto q = to_number(*quota_now).value_or(-1);
        restore_quota.text = std::to_string(old > 0 ? q * new_period.value_or(old) / old : q);
        restore_quota.restore = "-1";
        restore_quota.before = "-1";
        restore_quota.wanted = Value::absent();
      }
      const auto at = period - plan.writes.begin();
      plan.writes.insert(plan.writes.begin() + at, std::move(lift_quota));
      if (again) plan.writes.insert(plan.writes.begin() + at + 2, std::move(restore_quota));
    }
  }
  bool memory_done = false;
  if (auto done = plan_v1_memory(handle, plan.writes, memory_done); !done) return tl::unexpected(done.error());
  const auto note = [&plan](std::string_view text) {
    if (!plan.note.empty() && !text.empty()) plan.note += "; ";
    plan.note += text;
  };
  for (const auto& write : plan.writes) {
    if (write.key == "pids.max" && write.wanted.is_number()) {
      const auto current = number_in(*write.dir, "pids.current");
      if (current > write.wanted.fixed()) {
        note("the cgroup has " + std::to_string(current) + " tasks: none is killed, but new forks fail");
      }
    }
    if (write.key == "io.max.wbps" && !write.dir->is_v2()) note("on v1 buffered writes are not limited");
    if (write.key == "memory.low" || write.key == "memory.min") note(protection_note(handle, write));
  }
  return plan;
}

std::vector<UnitProperty> unit_properties(const Write& write) {
  const auto* const row = find_setting_row(write.key);
  // systemd has no property for memsw, and intermediate quota values must not be stored.
  if (row == nullptr || row->property.empty() || write.file == "memory.memsw.limit_in_bytes") return {};
  const std::string property(row->property);
  if (write.file == "cpu.max") {
    std::string_view rest = write.text;
    const auto quota = to_number(take_word(rest));
    const auto period = to_number(take_word(rest)).value_or(0);
    if (period <= 0) return {};
    std::vector<UnitProperty> out;
    out.push_back({"CPUQuotaPerSecUSec", {}, quota ? std::to_string(*quota * 1'000'000 / period) : "infinity"});
    out.push_back({"CPUQuotaPeriodUSec", {}, period == kPeriod / 1000 ? "infinity" : std::to_string(period)});
    return out;
  }
  if (row->v2.layout == Layout::list) return {{property, {}, write.text == "\n" ? "" : write.text}};
  if (!write.wanted.has_value()) return {};
  std::string value = "infinity";
  if (write.wanted.is_number()) {
    const auto* const key = model::find_setting_key(write.key);
    const bool micro = key != nullptr && (key->unit == model::Unit::seconds || key->unit == model::Unit::cores);
    value = std::to_string(micro ? write.wanted.fixed() / 1000 : write.wanted.fixed());
  }
  if (write.device.empty()) return {{property, {}, std::move(value)}};
  return {{write.key == "io.weight" ? "IODeviceWeight" : property, "/dev/block/" + write.device, std::move(value)}};
}

RuntimeLimits runtime_limits(const CgroupHandle& handle, std::span<const Write> writes) {
  RuntimeLimits out;
  const auto is_about = [&](std::string_view key) {
    return std::ranges::any_of(writes, [&](const Write& write) { return write.key == key; });
  };
  const auto now = [&](std::string_view key) {
    Setting setting;
    setting.key = std::string(key);
    const auto target = find_target(handle, setting, {});
    const auto text =
        target ? read_file(target->dir->fd.get(), target->name) : base::Result<std::string>(base::fail("none"));
    if (!text) return std::pair(Value::absent(), std::string());
    auto part = extract_value(*target->file, {}, *text);
    return std::pair(decode(*target->file, part, period_of(*target)), std::move(part));
  };
  if (is_about("memory.max") || is_about("memory.swap.max")) {
    out.memory = now("memory.max").first;
    out.swap = now("memory.swap.max").first;
    if (handle.dir_of_v1_controller("memory") != nullptr && out.swap.is_number()) {  // memsw: both together
      out.swap = out.memory.is_number() ? Value::of(out.swap.fixed() - out.memory.fixed()) : Value::unlimited();
    }
  }
  if (is_about("cpu.max") || is_about("cpu.max.period")) {
    out.cpu_quota = now("cpu.max").first;
    if (const auto period = now("cpu.max.period").first; period.is_number()) {
      out.cpu_period = Value::of(period.fixed() / 1000);
      if (out.cpu_quota.is_number()) {
        out.cpu_quota = Value::of(static_cast<std::int64_t>(std::llround(
            static_cast<double>(out.cpu_quota.fixed()) * static_cast<double>(out.cpu_period.fixed()) / kSecond)));
      }
    }
  }
  if (is_about("cpu.weight")) {
    if (const auto* const v1 = handle.dir_of_v1_controller("cpu"); v1 != nullptr) {
      if (const auto shares = number_in(*v1, "cpu.shares"); shares > 0) out.cpu_shares = Value::of(shares);
    } else if (const auto weight = now("cpu.weight").first; weight.is_number()) {
      // The lowest number of shares that OCI runtimes convert to this weight: 1 + (shares - 2) * 9999 / 262142.
      out.cpu_shares = Value::of(2 + ((weight.fixed() - 1) * 262'142 + 9'998) / 9'999);
    }
  }
  if (is_about("pids.max")) out.pids = now("pids.max").first;
  if (is_about("cpuset.cpus")) out.cpus = now("cpuset.cpus").second;
  if (is_about("cpuset.mems")) out.mems = now("cpuset.mems").second;
  return out;
}

base::Result<std::string> read_back(const Write& write) {
  const auto* const row = file_row_of(write);
  if (row != nullptr && row->layout == Layout::rules) return write.text;  // write-only
  const auto text = read_file(write.dir->fd.get(), write.file);
  if (!text) return tl::unexpected(text.error());
  if (write.file == "cpu.max") return std::string(base::trim_end(*text));
  if (row == nullptr || write.file.ends_with("weight_device")) {
    static constexpr FileRow kLines{"", "", Layout::lines};
    return extract_value(kLines, write.device, *text);
  }
  return extract_value(*row, write.device, *text);
}

bool matches_readback(const Write& write, std::string_view after) {
  const auto* const row = file_row_of(write);
  if (row == nullptr || row->layout == Layout::rules) return true;
  if (write.text == "\n") return after.empty();
  if (row->layout == Layout::list) return parse_list(after) == parse_list(write.text);
  // The value within the written text: after the device and after "rbps=".
  std::string_view value = write.text;
  if (!write.device.empty() || row->layout == Layout::weights) take_word(value);
  if (const auto equals = value.find('='); equals != std::string_view::npos) value.remove_prefix(equals + 1);
  while (value.starts_with(' ')) value.remove_prefix(1);
  if (value == after) return true;
  if (value == row->unlimited) return decode(*row, after, 1).is_unlimited();
  const auto wanted = to_number(value);
  const auto has = to_number(after);
  const auto* const key = model::find_setting_key(write.key);
  if (!wanted || !has || key == nullptr || key->unit != model::Unit::bytes) return false;
  if (*has == *wanted) return true;
  // The kernel rounds down to pages: of the machine's size, or of the huge page size.
  std::int64_t page = ::sysconf(_SC_PAGESIZE);
  if (write.key == "hugetlb.max") page = model::parse_size(write.device).value_or(page);
  if (write.key == "hugetlb.max" && write.device.ends_with("KB")) page = page / 1000 * 1024;
  if (write.key == "hugetlb.max" && write.device.ends_with("MB")) page = page / 1'000'000 * (1 << 20);
  if (write.key == "hugetlb.max" && write.device.ends_with("GB")) page = page / 1'000'000'000 * (1 << 30);
  return page > 0 && *has == *wanted / page * page;
}

}  // namespace cgwarden::control
