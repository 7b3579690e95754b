// SPDX-License-Identifier: Apache-2.0
// Columns of cgtop: one for each field of the catalogue, one for the rate of each counter, and columns computed from
// several fields. Screens, output formats, sorting and filters work on columns only. Immutable after construction, so
// all threads may read it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "src/base/result.h"
#include "src/model/catalogue.h"
#include "src/model/container.h"

namespace cgwarden::cgtop {

using ColumnId = std::uint16_t;

enum class Form : std::uint8_t { count, bytes, seconds, ratio, text };

enum class ColumnSource : std::uint8_t {
  field,  // a field of the catalogue
  rate,   // change of a counter per second; summed over the series of a labeled counter
  name,
  path,
  kind,
  state,
  id,
  depth,
  age,
  cpu_limit,
  cpu_of_limit,
  throttled,
  memory,
  working_set,
  memory_limit,
  memory_of_limit,
  swap,
  tasks_limit,
  tasks_of_limit,
  oom_kills,
  container,  // a text from discovery, selected by Column::container_text
};

struct Column {
  std::string name;   // "memory_anon": used in options, filters, JSON and CSV
  std::string title;  // "ANON": heading on the screen and in tables
  std::string help;   // one sentence
  Form form = Form::count;
  bool per_second = false;
  int decimals = 0;  // number of decimals of the fixed-point values
  ColumnSource source = ColumnSource::field;
  model::FieldId field = 0;  // for ColumnSource::field and ColumnSource::rate
  bool needs_two = false;    // the value is computed from two snapshots
  model::Container::Text model::Container::*container_text = nullptr;
};

// Ids of the fields that computed columns use; nullopt if the catalogue has no such field.
struct KnownFields {
  using Id = std::optional<model::FieldId>;
  Id cpu_usage, cpu_quota, cpu_period, cpu_periods, cpu_throttled_periods;
  Id memory_current, memory_max, memory_inactive_file, memory_swap_current, memory_memsw_current;
  Id memory_events_high, memory_events_max, memory_events_oom_kill;
  Id pids_current, pids_max, frozen, freeze, freezer_state, populated, io_read, io_write;
};

class Columns {
 public:
  explicit Columns(std::shared_ptr<const model::Catalogue> catalogue);

  [[nodiscard]] ColumnId size() const { return static_cast<ColumnId>(all_.size()); }
  [[nodiscard]] const Column& operator[](ColumnId id) const { return all_[id]; }
  [[nodiscard]] std::optional<ColumnId> find(std::string_view name) const;  // a name or an alias such as "mem"
  // Like find(). The error of an unknown name suggests the most similar one.
  [[nodiscard]] base::Result<ColumnId> require(std::string_view name) const;
  [[nodiscard]] base::Result<std::vector<ColumnId>> require_list(std::string_view comma_separated) const;
  [[nodiscard]] const KnownFields& known() const { return known_; }
  [[nodiscard]] const model::Catalogue& catalogue() const { return *catalogue_; }

 private:
  void add(Column column);

  std::shared_ptr<const model::Catalogue> catalogue_;
  std::vector<Column> all_;
  std::unordered_map<std::string, ColumnId> by_name_;
  KnownFields known_;
};

// The column sets that the keys 1 to 9 select. A narrow screen drops columns from the end of a set.
struct ColumnSet {
  std::string_view name;
  std::string_view short_name;  // on a narrow screen
  std::string_view columns;     // comma-separated
};
inline constexpr ColumnSet kColumnSets[] = {
    {"Overview", "Overview",
     "cpu,memory,memory_of_limit,psi_memory,state,read,write,tasks,memory_limit,kind,psi_cpu,psi_io,swap"},
    {"CPU", "CPU",
     "cpu,cpu_user_rate,cpu_system_rate,throttled,cpu_limit,cpu_of_limit,psi_cpu,cpu_weight,cpu_shares,"
     "cpu_throttled_rate,cpu_usage,cpu_idle"},
    {"Memory", "Mem",
     "memory,working_set,memory_anon,memory_file,memory_kernel,swap,memory_of_limit,memory_limit,memory_slab,"
     "memory_shmem,memory_pgmajfault_rate,memory_workingset_refault_file_rate,psi_memory,memory_high,memory_peak"},
    {"IO", "IO", "read,write,read_ops,write_ops,psi_io,io_discard_rate,io_read,io_write,io_max_read,io_max_write"},
    {"Pressure", "PSI",
     "psi_cpu,pressure_cpu_some_avg60,psi_memory,pressure_memory_some_avg60,pressure_memory_full_avg10,psi_io,"
     "pressure_io_some_avg60,pressure_io_full_avg10,pressure_cpu_some_avg300,pressure_memory_some_avg300,"
     "pressure_io_some_avg300"},
    {"Net", "Net", "net_cls_classid,net_prio_prioidx,memory_sock"},
    {"Tasks", "Tasks", "tasks,tasks_limit,tasks_of_limit,pids_peak,descendants,dying_descendants,populated,frozen,age"},
    {"Limits", "Lim",
     "cpu_limit,cpu_weight,cpu_shares,memory_min,memory_low,memory_high,memory_max,memory_limit,memory_swap_max,"
     "pids_max,io_weight,cpuset_cpus_effective"},
    {"Events", "Ev",
     "memory_events_low,memory_events_high,memory_events_max,memory_events_oom,oom_kills,memory_failcnt,"
     "pids_events_max,state"},
};
inline constexpr std::size_t kColumnSetCount = std::size(kColumnSets);
// Index in kColumnSets. Ignores case.
std::optional<std::size_t> find_set(std::string_view name);

}  // namespace cgwarden::cgtop
