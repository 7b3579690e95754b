// SPDX-License-Identifier: Apache-2.0
// A field: one thing the kernel says about a cgroup. One row in collectors/<controller>.cpp, from which everything else
// follows: reading, column, metric name, HELP and TYPE, JSON name, cgtop column, docs/metrics.md.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace cgwarden::model {

enum class Kind : std::uint8_t {
  counter,  // only grows while the cgroup lives
  gauge,    // changes by itself
  setting,  // changes when somebody writes it: limits, weights, switches; may be unlimited
  info,     // text; the metric is 1 and the text is its label
};

// Base units of Prometheus, and cores: CPU time per time, for which it has no other name. decimals() is the count of
// decimals in Value's fixed point.
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

constexpr std::string_view name(Kind kind) {
  switch (kind) {
    case Kind::counter:
      return "counter";
    case Kind::gauge:
      return "gauge";
    case Kind::setting:
      return "setting";
    case Kind::info:
      break;
  }
  return "info";
}

// How an interface file is laid out: the shapes of the kernel's cgroup-v2 document, and those of v1. `key` of a Source
// says which part of the file the field is; "label" is what tells the series of one cgroup apart.
enum class Shape : std::uint8_t {
  single,          // 4096 | max                         key unused
  text,            // any text, one line                 key unused; for Kind::info
  lines,           // count of lines                     key unused
  each_line,       // c 1:3 rwm\nb *:* m                 key unused; for Kind::info, a series for each
  spaced,          // 50000 100000                       key = position "0", "1", ...
  flat_keyed,      // anon 4096\nfile 0                  key = first word; a '*' in it stands for the label, for words
                   // that are no key themselves: "nr_subsys_*", or "*" next to "default"
  flat_labelled,   // res_a 3\nres_b max                 label = first word; key "" or a suffix after the label's last
                   // dot
  nested_keyed,    // some avg10=0.00 total=7            key = "some.total"
  nested_by_line,  // 8:0 rbytes=1 wbytes=2              label = first word, key = "rbytes"
  nested_by_key,   // anon N0=1 N1=2                     key = "anon", label = "N0" without its letters
  numa_v1,         // total=3 N0=1 N1=2                  key = "total" (its sum is dropped), label = "0"
  blkio,           // 8:0 Read 7 | 8:0 7 | Total 7       label = "8:0", key = "Read" or ""; lines that begin with no
                   // device are dropped (Total 7, default 100)
  per_cpu,         // 11 22 33                           label = position
  cpu_table,       // cpu user system\n0 1 2             label = first column, key = the column's title
};

// Unit of the number in the file. Converted once, when it is parsed.
enum class Scale : std::uint8_t {
  one,      // as it is
  nano,     // ns
  micro,    // us
  milli,    // ms
  tick,     // USER_HZ
  percent,  // 12.34
  page,     // pages
  kib,      // KiB
  sector,   // 512 bytes
};

// Where a field stands in one of the two cgroup versions. An empty file: this version does not have it.
struct Source {
  std::string_view file =
      {};  // "memory.stat"; '*' stands for a page size ("hugetlb.*.current"), which becomes the label
  std::string_view key = {};
  Shape shape = Shape::single;
  Scale scale = Scale::one;
  bool minus_one_is_unlimited = false;  // v1's cfs_quota_us and friends

  [[nodiscard]] constexpr bool exists() const { return !file.empty(); }
  // "memory" of "memory.stat". Files of the core ("cgroup.", "tasks", ...) give "cgroup" or their own name.
  [[nodiscard]] constexpr std::string_view controller() const { return file.substr(0, file.find('.')); }
};

struct Field {
  std::string_view name = {};  // metric name without "cgroup_", unit and "_total": "memory_anon"
  Kind kind = Kind::gauge;
  Unit unit = Unit::none;
  Source v1 = {};
  Source v2 = {};
  std::string_view derived = {};   // instead of v1 and v2: how a function of the collector finds it, for the docs
  std::string_view labels = {};    // names of the labels that tell one cgroup's series apart, comma-separated: "device"
  std::string_view since = {};     // kernel version of the v2 file's key ("5.4": there at the oldest kernel we know)
  std::string_view help = {};      // one sentence, no newline, no backslash
  std::string_view cadvisor = {};  // cAdvisor's name for the same thing, or empty

  // Changes only when somebody writes a file of this cgroup or of one above, which the kernel tells: then it need not
  // be read again. Settings are; for others each row claims it, and a test on the real kernel shows it.
  bool inherited = false;

  [[nodiscard]] constexpr bool labelled() const { return !labels.empty(); }
  [[nodiscard]] constexpr bool changes_only_on_write() const { return kind == Kind::setting || inherited; }
};

// "cgroup_memory_anon_bytes", "cgroup_cpu_usage_seconds_total"; OpenMetrics' family name has no "_total".
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

// A row can be made a metric: checked when the table is compiled.
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
  if (f.kind == Kind::info && (f.unit != Unit::none || f.labels.empty())) return false;
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
