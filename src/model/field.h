// SPDX-License-Identifier: Apache-2.0
// A field: one value that the kernel provides for a cgroup. It is one row in collectors/<controller>.cpp, from which
// everything else is derived: reading, column, metric name, HELP and TYPE, JSON name, cgtop column, docs/metrics.md.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace cgwarden::model {

enum class MetricKind : std::uint8_t {
  counter,  // never decreases while the cgroup exists
  gauge,    // changes at any time
  setting,  // changes only on a write to a file: limits, weights, switches; may be unlimited
  info,     // text; the value of the metric is 1 and the text is a label
};

// Base units of Prometheus, and cores: CPU time per time, for which Prometheus defines no unit. decimals() is the
// number of decimals in the fixed point of a Value.
enum class Unit : std::uint8_t { none, bytes, seconds, ratio, cores };

constexpr int decimals(Unit unit) {
  switch (unit) {
    case Unit::seconds:
    case Unit::cores:
      return 9;
    case Unit::ratio:
      return 4;
    case Unit::none:
    case Unit::bytes:
      break;
  }
  return 0;
}

constexpr std::string_view name(Unit unit) {
  switch (unit) {
    case Unit::bytes:
      return "bytes";
    case Unit::seconds:
      return "seconds";
    case Unit::ratio:
      return "ratio";
    case Unit::cores:
      return "cores";
    case Unit::none:
      break;
  }
  return "";
}

constexpr std::string_view name(MetricKind kind) {
  switch (kind) {
    case MetricKind::counter:
      return "counter";
    case MetricKind::gauge:
      return "gauge";
    case MetricKind::setting:
      return "setting";
    case MetricKind::info:
      break;
  }
  return "info";
}

// Format of an interface file: the formats of the kernel's cgroup-v2 document, and those of v1. `key` of a Source
// selects the part of the file that is the field; "label" distinguishes the series of one cgroup.
enum class Shape : std::uint8_t {
  single,          // 4096 | max                         key unused
  text,            // any text, one line                 key unused; for MetricKind::info
  lines,           // number of lines                    key unused
  each_line,       // c 1:3 rwm\nb *:* m                 key unused; for MetricKind::info, a series per line
  spaced,          // 50000 100000                       key = position "0", "1", ...
  flat_keyed,      // anon 4096\nfile 0                  key = first word; a '*' in it stands for the label and
                   // matches words that are not keys of other fields: "nr_subsys_*", or "*" next to "default"
  flat_labeled,    // res_a 3\nres_b max                 label = first word; key "" or a suffix after the last dot of
                   // the label
  nested_keyed,    // some avg10=0.00 total=7            key = "some.total"
  nested_by_line,  // 8:0 rbytes=1 wbytes=2              label = first word, key = "rbytes"
  nested_by_key,   // anon N0=1 N1=2                     key = "anon", label = "N0" without letters
  numa_v1,         // total=3 N0=1 N1=2                  key = "total" (the sum itself is ignored), label = "0"
  blkio,           // 8:0 Read 7 | 8:0 7 | Total 7       label = "8:0", key = "Read" or ""; lines that do not begin
                   // with a device are ignored (Total 7, default 100)
  per_cpu,         // 11 22 33                           label = position
  cpu_table,       // cpu user system\n0 1 2             label = first column, key = title of the column
};

// Unit of the number in the file. Converted when the file is parsed.
enum class Scale : std::uint8_t {
  one,      // unscaled
  nano,     // ns
  micro,    // us
  milli,    // ms
  tick,     // USER_HZ
  percent,  // 12.34
  page,     // pages
  kib,      // KiB
  sector,   // 512 bytes
};

// Source of a field in one of the two cgroup versions. Empty file: this version does not provide the field.
struct Source {
  std::string_view file =
      {};  // "memory.stat"; '*' stands for a page size ("hugetlb.*.current"), which becomes the label
  std::string_view key = {};
  Shape shape = Shape::single;
  Scale scale = Scale::one;
  bool minus_one_is_unlimited = false;  // v1: cpu.cfs_quota_us and others

  [[nodiscard]] constexpr bool exists() const { return !file.empty(); }
  // The controller, "memory" for "memory.stat". For core files ("cgroup.*", "tasks", ...) "cgroup" or the file name.
  [[nodiscard]] constexpr std::string_view controller() const { return file.substr(0, file.find('.')); }
};

struct Field {
  std::string_view name = {};  // metric name without "cgroup_", unit and "_total": "memory_anon"
  MetricKind kind = MetricKind::gauge;
  Unit unit = Unit::none;
  Source v1 = {};
  Source v2 = {};
  std::string_view derived = {};  // instead of v1 and v2: source of a value that a CustomReader computes, for the docs
  std::string_view labels =
      {};  // names of the labels that distinguish the series of a cgroup, comma-separated: "device"
  std::string_view since = {};     // kernel version that added the v2 key ("5.4": the oldest supported kernel has it)
  std::string_view help = {};      // HELP: noun phrase, one sentence with a period; no newline, backslash or quote
  std::string_view cadvisor = {};  // corresponding metric of cAdvisor, or empty

  // The value changes only on a write to a file of this cgroup or an ancestor, which inotify reports, so the file is
  // not read again without a write. True for all settings; other fields set it explicitly, and a kernel test verifies
  // it.
  bool inherited = false;

  [[nodiscard]] constexpr bool labelled() const { return !labels.empty(); }
  [[nodiscard]] constexpr bool changes_only_on_write() const { return kind == MetricKind::setting || inherited; }
};

// "cgroup_memory_anon_bytes", "cgroup_cpu_usage_seconds_total". The family name of OpenMetrics has no "_total".
std::string metric_family(const Field& field);
std::string metric_name(const Field& field);

namespace detail {
constexpr bool is_name(std::string_view s) {
  if (s.empty() || s.front() < 'a' || s.front() > 'z' || s.back() == '_') return false;
  for (const char c : s) {
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) return false;
  }
  return s.find("__") == std::string_view::npos;
}
constexpr bool ends_in(std::string_view s, std::string_view end) {
  return s.size() >= end.size() && s.substr(s.size() - end.size()) == end;
}
}  // namespace detail

// Whether a row is a valid metric; verified at compile time.
constexpr bool well_formed(const Field& f) {
  if (!detail::is_name(f.name) || f.help.empty() || f.help.back() != '.' || f.since.empty()) return false;
  for (const auto reserved :
       {"_total", "_bytes", "_seconds", "_ratio", "_cores", "_info", "_count", "_sum", "_bucket"}) {
    if (detail::ends_in(f.name, reserved)) return false;
  }
  for (const char c : f.help) {
    if (c == '\n' || c == '\\' || c == '"') return false;
  }
  if ((f.v1.exists() || f.v2.exists()) != f.derived.empty()) return false;
  if (f.kind == MetricKind::info && (f.unit != Unit::none || f.labels.empty())) return false;
  return true;
}

template <class Rows>
constexpr bool all_well_formed(const Rows& rows) {
  for (const Field& a : rows) {
    if (!well_formed(a)) return false;
    int same = 0;
    for (const Field& b : rows) same += a.name == b.name ? 1 : 0;
    if (same != 1) return false;
  }
  return true;
}

}  // namespace cgwarden::model
