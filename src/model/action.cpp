// SPDX-License-Identifier: Apache-2.0
#include "src/model/action.h"

#include <signal.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "src/base/names.h"
#include "src/base/text.h"

namespace cgwarden::model {
namespace {

using Form = SettingKey::Form;
using Device = SettingKey::Device;

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max() / 4;
constexpr std::int64_t kCore = 1'000'000'000;
constexpr std::int64_t kMillisecond = 1'000'000;

// clang-format off
constexpr SettingKey kKeys[] = {
    // name                    form          unit           device                lowest           highest         max   help
    {"cpu.idle",               Form::number, Unit::none,    Device::none,         0,               1,              false, "1: SCHED_IDLE relative to sibling cgroups (Linux 5.15)"},
    {"cpu.max",                Form::number, Unit::cores,   Device::none,         kCore / 1000,    1'000'000 * kCore, true, "CPU bandwidth limit in CPUs: 250% or 2.5"},
    {"cpu.max.burst",          Form::number, Unit::seconds, Device::none,         0,               1000 * kCore,   false, "unused quota that may be accumulated and used on top of the quota in one period (Linux 5.14)"},
    {"cpu.max.period",         Form::number, Unit::seconds, Device::none,         kMillisecond,    kCore,          false, "period of cpu.max, 1ms to 1s"},
    {"cpu.rt.max",             Form::number, Unit::cores,   Device::none,         0,               kCore,          false, "v1: CPU bandwidth limit of real-time tasks, up to 1 CPU"},
    {"cpu.weight",             Form::number, Unit::none,    Device::none,         1,               10'000,         false, "weight for CPU time under contention, default 100; v1: cpu.shares = weight * 1024 / 100"},
    {"cpuset.cpus",            Form::list,   Unit::none,    Device::none,         0,               0,              false, "allowed CPUs, such as 0-3,8"},
    {"cpuset.mems",            Form::list,   Unit::none,    Device::none,         0,               0,              false, "allowed NUMA nodes, such as 0-1"},
    {"devices.allow",          Form::rule,   Unit::none,    Device::none,         0,               0,              false, "v1: rule to add to the device allow-list, such as c 1:3 rwm"},
    {"devices.deny",           Form::rule,   Unit::none,    Device::none,         0,               0,              false, "v1: rule to remove from the device allow-list"},
    {"hugetlb.max",            Form::number, Unit::bytes,   Device::page_size,    0,               kMax,          true,  "hard limit on HugeTLB memory of one page size, such as hugetlb.max@2MB=1G"},
    {"io.latency",             Form::number, Unit::seconds, Device::disk,         1000,            1000 * kCore,   false, "v2: target latency of the cgroup on a device"},
    {"io.max.rbps",            Form::number, Unit::bytes,   Device::disk,         1,               kMax,          true,  "limit on bytes read per second, such as io.max.rbps@vda=50M"},
    {"io.max.riops",           Form::number, Unit::none,    Device::disk,         1,               kMax,          true,  "limit on read operations per second"},
    {"io.max.wbps",            Form::number, Unit::bytes,   Device::disk,         1,               kMax,          true,  "limit on bytes written per second; v1 does not limit buffered writes"},
    {"io.max.wiops",           Form::number, Unit::none,    Device::disk,         1,               kMax,          true,  "limit on write operations per second"},
    {"io.weight",              Form::number, Unit::none,    Device::optional_disk, 1,              10'000,         false, "weight for I/O under contention, default 100; needs the BFQ scheduler or io.cost"},
    {"memory.high",            Form::number, Unit::bytes,   Device::none,         0,               kMax,          true,  "v2: memory usage above which tasks are throttled and put under heavy reclaim"},
    {"memory.low",             Form::number, Unit::bytes,   Device::none,         0,               kMax,          true,  "v2: best-effort memory protection, limited by the protection of the ancestors"},
    {"memory.max",             Form::number, Unit::bytes,   Device::none,         0,               kMax,          true,  "hard limit on memory usage"},
    {"memory.min",             Form::number, Unit::bytes,   Device::none,         0,               kMax,          true,  "v2: hard memory protection"},
    {"memory.oom.group",       Form::number, Unit::none,    Device::none,         0,               1,              false, "v2: 1: the OOM killer kills all tasks of the cgroup together"},
    {"memory.swap.max",        Form::number, Unit::bytes,   Device::none,         0,               kMax,          true,  "hard limit on swap usage without memory, also on v1"},
    {"memory.zswap.max",       Form::number, Unit::bytes,   Device::none,         0,               kMax,          true,  "v2: hard limit on the zswap pool (Linux 5.19)"},
    {"misc.max",               Form::number, Unit::none,    Device::resource,     0,               kMax,          true,  "limit on a resource of the misc controller, such as misc.max@sev=3"},
    {"net_cls.classid",        Form::number, Unit::none,    Device::none,         0,               0xffff'ffff,    false, "v1: class ID of network packets, such as 0x100001"},
    {"net_prio.ifpriomap",     Form::number, Unit::none,    Device::interface,    0,               0xffff'ffff,    false, "v1: priority of traffic on an interface, such as net_prio.ifpriomap@eth0=5"},
    {"pids.max",               Form::number, Unit::none,    Device::none,         0,               4'194'304,      true,  "limit on tasks (processes and threads); a limit below the current number kills nothing, but forks fail"},
    {"rdma.max.hca_handle",    Form::number, Unit::none,    Device::resource,     0,               2'147'483'647,  true,  "limit on HCA handles, such as rdma.max.hca_handle@mlx4_0=2"},
    {"rdma.max.hca_object",    Form::number, Unit::none,    Device::resource,     0,               2'147'483'647,  true,  "limit on HCA objects"},
};
// clang-format on
static_assert(std::ranges::is_sorted(kKeys, {}, &SettingKey::name));

std::string unknown_key(std::string_view key) {
  std::vector<std::string_view> names;
  for (const auto& known : kKeys) names.push_back(known.name);
  return base::unknown_name("key", key, names);
}

struct Scaled {
  long double number = 0;
  std::string_view unit;
};

// Digits with at most one dot, and the unit after them. A sign, an exponent and "inf" are not accepted.
std::optional<Scaled> number_and_unit(std::string_view text) {
  std::size_t n = 0;
  std::size_t dots = 0;
  while (n < text.size() && ((text[n] >= '0' && text[n] <= '9') || text[n] == '.')) dots += text[n++] == '.' ? 1 : 0;
  if (n == 0 || n > 24 || dots > 1 || text.front() == '.' || text[n - 1] == '.') return std::nullopt;
  Scaled out;
  long double scale = 1;
  bool fraction = false;
  for (const char c : text.substr(0, n)) {
    if (c == '.') {
      fraction = true;
      continue;
    }
    out.number = out.number * 10 + (c - '0');
    if (fraction) scale *= 10;
  }
  out.number /= scale;
  out.unit = text.substr(n);
  return out;
}

std::optional<long double> size_factor(std::string_view unit) {
  if (unit.empty() || unit == "B") return 1;
  constexpr std::string_view prefixes = "KMGTP";
  const auto at = prefixes.find(static_cast<char>(unit.front() & ~0x20));
  if (at == std::string_view::npos) return std::nullopt;
  const auto rest = unit.substr(1);
  const int power = static_cast<int>(at) + 1;
  if (rest.empty() || rest == "i" || rest == "iB") return std::pow(1024.0L, power);
  if (rest == "B") return std::pow(1000.0L, power);
  return std::nullopt;
}

std::optional<std::int64_t> rounded(long double number) {
  if (!(number >= 0) || number > static_cast<long double>(kMax)) return std::nullopt;
  return static_cast<std::int64_t>(std::llround(number));
}

// An unsigned amount in the unit of the key.
std::optional<std::int64_t> parse_amount(const SettingKey& key, std::string_view text) {
  if (key.unit == Unit::none && text.starts_with("0x")) return base::to_int<std::int64_t>(text.substr(2), 16);
  const auto n = number_and_unit(text);
  if (!n) return std::nullopt;
  switch (key.unit) {
    case Unit::bytes: {
      const auto factor = size_factor(n->unit);
      if (!factor) return std::nullopt;
      return rounded(n->number * *factor);
    }
    case Unit::cores:
      if (n->unit == "%") return rounded(n->number * kCore / 100);
      if (!n->unit.empty()) return std::nullopt;
      return rounded(n->number * kCore);
    case Unit::seconds:
      if (n->unit == "us") return rounded(n->number * 1000);
      if (n->unit == "ms") return rounded(n->number * kMillisecond);
      if (n->unit == "s") return rounded(n->number * kCore);
      return std::nullopt;
    case Unit::none:
    case Unit::ratio:
      break;
  }
  if (n->number != std::floor(n->number)) return std::nullopt;
  if (n->unit.empty()) return rounded(n->number);
  const auto factor = n->unit.size() == 1 ? size_factor(n->unit) : std::nullopt;  // 10k
  return factor ? rounded(n->number * (*factor > 1 ? std::pow(1000.0L, std::round(std::log2(*factor) / 10)) : 1))
                : std::nullopt;
}

std::string expected(const SettingKey& key) {
  switch (key.unit) {
    case Unit::bytes:
      return key.unlimited ? "a size such as 512M or 1.5GiB, 50% (of the memory of the host), +10%, or max"
                           : "a size such as 512M or 1.5GiB";
    case Unit::cores:
      return "a number of CPUs such as 50%, 250% or 2.5" + std::string(key.unlimited ? ", +10%, or max" : "");
    case Unit::seconds:
      return "a duration such as 500us, 20ms or 1s";
    case Unit::none:
    case Unit::ratio:
      break;
  }
  return "a number from " + std::to_string(key.lowest) + " to " + std::to_string(key.highest) +
         (key.unlimited ? ", or max" : "");
}

bool is_list(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || c == '-' || c == ','; });
}

// "c 1:3 rwm", "b *:* m", "a"
bool is_rule(std::string_view text) {
  auto rest = text;
  const auto type = base::take_word(rest);
  if (type != "a" && type != "b" && type != "c") return false;
  const auto number = base::take_word(rest);
  if (number.empty()) return type == "a";
  const auto is_part = [](std::string_view part) { return part == "*" || base::to_int<std::uint32_t>(part); };
  const auto colon = number.find(':');
  if (colon == std::string_view::npos || !is_part(number.substr(0, colon)) || !is_part(number.substr(colon + 1))) {
    return false;
  }
  const auto access = base::take_word(rest);
  return !access.empty() && access.find_first_not_of("rwm") == std::string_view::npos && access.size() <= 3 &&
         base::take_word(rest).empty();
}

bool is_device_name(std::string_view text) {
  return text.size() <= 4096 &&
         std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) > ' ' && c != 0x7f; });
}

// "io.max.rbps@vda=5M" for messages; without '=' if the value is empty.
std::string setting_text(std::string_view key, std::string_view device, std::string_view value) {
  std::string out(key);
  if (!device.empty()) out += '@' + base::printable(device);
  return value.empty() ? out : out + '=' + base::printable(value);
}

tl::unexpected<base::Error> invalid(const SettingKey& key, std::string_view device, std::string_view value,
                                    std::string_view what, std::string_view expected) {
  return base::fail(setting_text(key.name, device, value) + ": invalid " + std::string(what) + "; expected " +
                    std::string(expected));
}

// A device that a key accepts: {kind, example}.
std::pair<std::string_view, std::string_view> example_device(const SettingKey& key) {
  switch (key.device) {
    case Device::page_size:
      return {"page size", "2MB"};
    case Device::resource:
      return key.name.starts_with("rdma.") ? std::pair("RDMA device", "mlx4_0") : std::pair("resource", "sev");
    case Device::interface:
      return {"interface", "eth0"};
    case Device::none:
    case Device::disk:
    case Device::optional_disk:
      break;
  }
  return {"disk", "vda"};
}

// "+10%", "-256M": a change of the present value.
base::Result<Setting> parse_relative(const SettingKey& key, Setting setting, const std::string_view text) {
  auto value = text;
  const bool negative = value.front() == '-';
  value.remove_prefix(1);
  std::optional<std::int64_t> amount;
  if (value.ends_with('%')) {
    setting.basis = Basis::percent_change;
    const auto n = number_and_unit(value.substr(0, value.size() - 1));
    if (n && n->unit.empty() && n->number <= 100'000) amount = rounded(n->number * 100);
  } else {
    setting.basis = Basis::change;
    amount = parse_amount(key, value);
  }
  if (!amount) return invalid(key, setting.device, text, "change", "a form such as +10%, -25% or a signed amount");
  setting.value = Value::of(negative ? -*amount : *amount);
  return setting;
}

}  // namespace

std::optional<Verb> verb_of(std::string_view text) {
  for (auto verb = Verb::limit; verb <= Verb::move; verb = static_cast<Verb>(static_cast<int>(verb) + 1)) {
    if (name(verb) == text) return verb;
  }
  return std::nullopt;
}

std::span<const SettingKey> setting_keys() { return kKeys; }

const SettingKey* find_setting_key(std::string_view name) {
  const auto* const at = std::ranges::lower_bound(kKeys, name, {}, &SettingKey::name);
  return at != std::end(kKeys) && at->name == name ? at : nullptr;
}

base::Result<Setting> parse_setting(std::string_view name, std::string_view device, std::string_view value) {
  const auto* const key = find_setting_key(name);
  if (key == nullptr) return base::fail(unknown_key(name));
  Setting setting;
  setting.key = std::string(key->name);
  setting.device = std::string(device);
  const bool needs = key->device != Device::none && key->device != Device::optional_disk;
  if (needs && device.empty()) {
    const auto [kind, example] = example_device(*key);
    return base::fail(setting_text(name, {}, value) + ": no " + std::string(kind) + " given; use " +
                      setting_text(name, example, value));
  }
  if (key->device == Device::none && !device.empty()) {
    return base::fail(setting_text(name, device, value) + ": this key takes no device; use " +
                      setting_text(name, {}, value));
  }
  if (!is_device_name(device)) {
    return base::fail(setting_text(name, device, value) +
                      ": the device name contains a blank or a control character, or is too long");
  }
  if (key->form == Form::list || key->form == Form::rule) {
    const bool list = key->form == Form::list;
    if (list ? !is_list(value) : !is_rule(value)) {
      return list ? invalid(*key, device, value, "list", "a form such as 0-3,8")
                  : invalid(*key, device, value, "rule", "a form such as 'c 1:3 rwm'");
    }
    setting.text = std::string(value);
    return setting;
  }
  const auto refuse = [&] { return invalid(*key, device, value, "value", expected(*key)); };
  if (value == "max" || value == "infinity") {
    if (!key->unlimited) return refuse();
    setting.value = Value::unlimited();
    return setting;
  }
  if (value.starts_with('+') || value.starts_with('-')) return parse_relative(*key, std::move(setting), value);
  if (key->unit == Unit::bytes && key->name.starts_with("memory.") && value.ends_with('%')) {
    const auto n = number_and_unit(value.substr(0, value.size() - 1));
    if (!n || !n->unit.empty() || n->number > 100) return refuse();
    setting.basis = Basis::percent_of_machine;
    setting.value = Value::of(*rounded(n->number * 100));
    return setting;
  }
  const auto amount = parse_amount(*key, value);
  if (!amount || *amount < key->lowest || *amount > key->highest) return refuse();
  setting.value = Value::of(*amount);
  return setting;
}

base::Result<Setting> parse_setting(std::string_view text) {
  const auto equals = text.rfind('=');
  if (equals == std::string_view::npos) {
    return base::fail(base::printable(text) +
                      ": invalid setting; expected KEY=VALUE or KEY@DEVICE=VALUE, such as memory.max=512M");
  }
  auto key = text.substr(0, equals);
  std::string_view device;
  if (const auto at = key.find('@'); at != std::string_view::npos) {
    device = key.substr(at + 1);
    key = key.substr(0, at);
    if (device.empty()) return base::fail(base::printable(text) + ": no device after @");
  }
  return parse_setting(key, device, text.substr(equals + 1));
}

namespace {

// A number in the fixed point of the unit, in the form that the parser accepts.
std::string amount_text(const SettingKey& key, std::int64_t fixed) {
  if (key.unit == Unit::cores) {
    std::string text = std::to_string(fixed / kCore) + '.' + std::to_string(kCore + fixed % kCore).substr(1);
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
    return text;
  }
  if (key.unit == Unit::seconds) {
    if (fixed % 1000 != 0)
      return std::to_string(fixed / 1000) + '.' + std::to_string(1000 + fixed % 1000).substr(1) + "us";
    return std::to_string(fixed / 1000) + "us";
  }
  return std::to_string(fixed);
}

}  // namespace

std::string to_text(const Setting& setting) {
  std::string out = setting.key;
  if (!setting.device.empty()) out += '@' + setting.device;
  out += '=';
  const auto* const key = find_setting_key(setting.key);
  if (key == nullptr || key->form != Form::number) return out + setting.text;
  if (setting.value.is_unlimited()) return out + "max";
  if (!setting.value.is_number()) return out;
  const auto fixed = setting.value.fixed();
  const auto percent = [](std::int64_t hundredths) {
    return std::to_string(hundredths / 100) + '.' + std::to_string(100 + hundredths % 100).substr(1) + '%';
  };
  const auto sign = fixed < 0 ? "-" : "+";
  switch (setting.basis) {
    case Basis::percent_of_machine:
      return out + percent(fixed);
    case Basis::percent_change:
      return out + sign + percent(std::abs(fixed));
    case Basis::change:
      return out + sign + amount_text(*key, std::abs(fixed));
    case Basis::absolute:
      break;
  }
  return out + amount_text(*key, fixed);
}

base::Result<std::int64_t> parse_size(std::string_view text) {
  const auto n = number_and_unit(text);
  const auto factor = n ? size_factor(n->unit) : std::nullopt;
  const auto size = factor ? rounded(n->number * *factor) : std::nullopt;
  if (!size) return base::fail("invalid size '" + base::printable(text) + "'; expected a form such as 512M or 1.5GiB");
  return *size;
}

base::Result<std::chrono::milliseconds> parse_timespan(std::string_view text) {
  const auto refuse = [&] {
    return base::fail("invalid duration '" + base::printable(text) +
                      "'; expected a form such as 2 (seconds), 500ms, 1m30s or 1h, at most 30d");
  };
  auto rest = text;
  long double milliseconds = 0;
  if (rest.empty()) return refuse();
  while (!rest.empty()) {
    const auto n = number_and_unit(rest);
    if (!n) return refuse();
    auto unit = n->unit.substr(0, n->unit.find_first_of("0123456789"));
    long double factor = 0;
    if (unit.empty() || unit == "s") factor = 1000;
    if (unit == "ms") factor = 1;
    if (unit == "m" || unit == "min") factor = 60'000;
    if (unit == "h") factor = 3'600'000;
    if (unit == "d") factor = 86'400'000;
    if (factor == 0) return refuse();
    milliseconds += n->number * factor;
    rest = n->unit.substr(unit.size());
  }
  if (milliseconds > 30.0L * 86'400'000) return refuse();
  return std::chrono::milliseconds(static_cast<std::int64_t>(milliseconds));
}

std::optional<int> signal_of(std::string_view text) {
  if (const auto number = base::to_int<int>(text)) {
    return *number > 0 && *number < NSIG ? number : std::nullopt;
  }
  if (text.starts_with("SIG")) text.remove_prefix(3);
  for (int signal = 1; signal < NSIG; ++signal) {
    const char* const abbreviation = ::sigabbrev_np(signal);
    if (abbreviation != nullptr && text == abbreviation) return signal;
  }
  return std::nullopt;
}

}  // namespace cgwarden::model
