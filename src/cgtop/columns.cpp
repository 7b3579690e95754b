// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/columns.h"

#include <algorithm>
#include <cctype>
#include <tuple>
#include <utility>

#include "src/base/names.h"
#include "src/base/text.h"

namespace cgwarden::cgtop {
namespace {

constexpr int kRateDecimals = 3;
constexpr const char* kFieldsHint = " (run 'cgtop fields' for a list)";

Form form_of(model::Unit unit) {
  switch (unit) {
    case model::Unit::bytes:
      return Form::bytes;
    case model::Unit::seconds:
      return Form::seconds;
    case model::Unit::ratio:
    case model::Unit::cores:  // 1 is 100 % of one core
      return Form::ratio;
    case model::Unit::none:
      break;
  }
  return Form::count;
}

// "memory_workingset_refault_file" -> "WORKINGSET_REFAULT_FILE": the column set is already called "Memory". Keeps the
// prefix if a column set contains two names that differ only in it: "pids_max" and "memory_max", "io_weight" and
// "cpu_weight".
std::string title_of(std::string_view name) {
  for (const std::string_view prefix : {"memory_", "cpu_", "io_", "pressure_", "cpuset_"}) {
    if (name.starts_with(prefix) && name != "io_weight") {
      name.remove_prefix(prefix.size());
      break;
    }
  }
  std::string out(name);
  for (auto& c : out) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return out;
}

constexpr std::pair<std::string_view, std::string_view> kAliases[] = {
    {"mem", "memory"},           {"mem%", "memory_of_limit"},  {"memory%", "memory_of_limit"},
    {"cpu%", "cpu_of_limit"},    {"ws", "working_set"},        {"mem.ws", "working_set"},
    {"mem.anon", "memory_anon"}, {"mem.swap", "swap"},         {"psi.cpu", "psi_cpu"},
    {"psi.mem", "psi_memory"},   {"psi.memory", "psi_memory"}, {"psi.io", "psi_io"},
    {"pids", "tasks"},           {"tasks%", "tasks_of_limit"}, {"io.r", "read"},
    {"io.w", "write"},           {"cgroup", "path"},
};

}  // namespace

Columns::Columns(std::shared_ptr<const model::Catalogue> catalogue) : catalogue_(std::move(catalogue)) {
  const auto field = [&](std::string_view name) { return catalogue_->find(name); };
  known_ = {field("cpu_usage"),
            field("cpu_quota"),
            field("cpu_period"),
            field("cpu_periods"),
            field("cpu_throttled_periods"),
            field("memory_current"),
            field("memory_max"),
            field("memory_inactive_file"),
            field("memory_swap_current"),
            field("memory_memsw_current"),
            field("memory_events_high"),
            field("memory_events_max"),
            field("memory_events_oom_kill"),
            field("pids_current"),
            field("pids_max"),
            field("frozen"),
            field("freeze"),
            field("freezer_state"),
            field("populated"),
            field("io_read"),
            field("io_write")};

  const auto computed = [&](std::string name, std::string title, Form form, int decimals, ColumnSource source,
                            std::string help, bool needs_two = false) {
    add({std::move(name), std::move(title), std::move(help), form, false, decimals, source, 0, needs_two});
  };
  const auto renamed = [&](std::string name, std::string title, std::string_view field_name, std::string help) {
    if (const auto id = catalogue_->find(field_name)) {
      const auto& f = catalogue_->field(*id);
      add({std::move(name), std::move(title), std::move(help), form_of(f.unit), false, model::decimals(f.unit),
           ColumnSource::field, *id, false});
    }
  };
  const auto rate = [&](std::string name, std::string title, model::FieldId id, std::string help) {
    const auto unit = catalogue_->field(id).unit;
    // Seconds per second are a ratio: a share of one core or of the interval.
    const bool is_share = unit == model::Unit::seconds;
    add({std::move(name), std::move(title), std::move(help), is_share ? Form::ratio : form_of(unit), !is_share,
         is_share ? 4 : kRateDecimals, ColumnSource::rate, id, true});
  };
  const auto rate_of = [&](std::string name, std::string title, std::string_view field_name, std::string help) {
    if (const auto id = catalogue_->find(field_name)) rate(std::move(name), std::move(title), *id, std::move(help));
  };

  computed("name", "CGROUP", Form::text, 0, ColumnSource::name,
           "Name of the container or pod, or last component of the path.");
  computed("path", "PATH", Form::text, 0, ColumnSource::path, "Path of the cgroup.");
  computed("kind", "KIND", Form::text, 0, ColumnSource::kind,
           "Container runtime or workload type; otherwise systemd unit type, root or cgroup.");
  computed("state", "ST", Form::text, 0, ColumnSource::state,
           "Flags: Z frozen, F freezing, T CPU throttled, H over memory.high, M at memory.max, O OOM kill, + new.",
           true);
  computed("id", "ID", Form::count, 0, ColumnSource::id, "Cgroup ID assigned by the kernel.");
  computed("depth", "DEPTH", Form::count, 0, ColumnSource::depth, "Number of levels below the root cgroup.");
  computed("age", "AGE", Form::seconds, 9, ColumnSource::age, "Time since the cgroup was created.");
  rate_of("cpu", "CPU%", "cpu_usage", "CPU usage, as a share of one core.");
  computed("cpu_limit", "CPULIM%", Form::ratio, 4, ColumnSource::cpu_limit,
           "CPU quota of the cgroup, as a share of one core.");
  computed("cpu_of_limit", "%QUOTA", Form::ratio, 4, ColumnSource::cpu_of_limit,
           "CPU usage, as a share of the CPU quota.", true);
  computed("throttled", "THROT%", Form::ratio, 4, ColumnSource::throttled,
           "Share of the CPU quota periods in which the cgroup was throttled.", true);
  computed("memory", "MEM", Form::bytes, 0, ColumnSource::memory, "Memory usage, including page cache.");
  computed("working_set", "WS", Form::bytes, 0, ColumnSource::working_set,
           "Memory usage, excluding inactive page cache.");
  computed("memory_limit", "LIMIT", Form::bytes, 0, ColumnSource::memory_limit,
           "Tightest memory limit of the cgroup and its ancestors.");
  computed("memory_of_limit", "%LIM", Form::ratio, 4, ColumnSource::memory_of_limit,
           "Memory usage, as a share of the tightest memory limit.");
  computed("swap", "SWAP", Form::bytes, 0, ColumnSource::swap, "Swap usage.");
  rate_of("read", "READ/s", "io_read", "Bytes read per second, summed over all devices.");
  rate_of("write", "WRITE/s", "io_write", "Bytes written per second, summed over all devices.");
  rate_of("read_ops", "R/s", "io_reads", "Read operations per second, summed over all devices.");
  rate_of("write_ops", "W/s", "io_writes", "Write operations per second, summed over all devices.");
  renamed("tasks", "TASKS", "pids_current", "Processes and threads in the cgroup and its descendants.");
  computed("tasks_limit", "TASKLIM", Form::count, 0, ColumnSource::tasks_limit,
           "Tightest task limit of the cgroup and its ancestors.");
  computed("tasks_of_limit", "%TASKS", Form::ratio, 4, ColumnSource::tasks_of_limit,
           "Number of tasks, as a share of the tightest task limit.");
  renamed("psi_cpu", "PSIcpu", "pressure_cpu_some_avg10", "Share of the last 10 s in which a task waited for a CPU.");
  renamed("psi_memory", "PSImem", "pressure_memory_some_avg10",
          "Share of the last 10 s in which a task was stalled on memory.");
  renamed("psi_io", "PSIio", "pressure_io_some_avg10", "Share of the last 10 s in which a task was stalled on I/O.");
  computed("oom_kills", "OOMKILL", Form::count, 0, ColumnSource::oom_kills, "Processes killed by the OOM killer.");

  for (const auto& [name, title, member, help] :
       {std::tuple{"container_id", "CONTAINER", &model::Container::id, "Container ID."},
        {"image", "IMAGE", &model::Container::image, "Container image."},
        {"runtime", "RUNTIME", &model::Container::runtime, "Container runtime or manager."},
        {"container_state", "STATE", &model::Container::state, "Container state as reported by the runtime."},
        {"pod", "POD", &model::Container::pod, "Name of the pod of the container."},
        {"host", "HOST", &model::Container::node, "Name of the host of the cgroup, or of the Swarm node."},
        {"namespace", "NAMESPACE", &model::Container::pod_namespace, "Kubernetes namespace of the pod."},
        {"unit", "UNIT", &model::Container::unit, "systemd unit."}}) {
    add({name, title, help, Form::text, false, 0, ColumnSource::container, 0, false, member});
  }

  for (std::size_t i = 0; i < catalogue_->size(); ++i) {
    const auto id = static_cast<model::FieldId>(i);
    const auto& f = catalogue_->field(id);
    const bool text = f.kind == model::MetricKind::info || (f.labelled() && f.kind == model::MetricKind::setting);
    add({std::string(f.name), title_of(f.name), std::string(f.help), text ? Form::text : form_of(f.unit), false,
         model::decimals(f.unit), ColumnSource::field, id, false});
    if (f.kind == model::MetricKind::counter) {
      rate(std::string(f.name) + "_rate", title_of(f.name) + (f.unit == model::Unit::seconds ? "%" : "/s"), id,
           "Per-second rate: " + std::string(f.help));
    }
  }
  for (const auto& [alias, name] : kAliases) {
    if (const auto found = by_name_.find(std::string(name)); found != by_name_.end()) {
      by_name_.emplace(alias, found->second);
    }
  }
}

void Columns::add(Column column) {
  const auto id = static_cast<ColumnId>(all_.size());
  if (!by_name_.emplace(column.name, id).second)
    return;  // computed columns come first and win over a field of the same name
  all_.push_back(std::move(column));
}

std::optional<ColumnId> Columns::find(std::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  if (found == by_name_.end()) return std::nullopt;
  return found->second;
}

base::Result<ColumnId> Columns::require(std::string_view name) const {
  if (const auto id = find(name)) return *id;
  std::vector<std::string_view> names;
  for (const auto& column : all_) names.push_back(column.name);
  return base::fail(base::unknown_name("field", name, names) + kFieldsHint);
}

base::Result<std::vector<ColumnId>> Columns::require_list(std::string_view comma_separated) const {
  std::vector<ColumnId> out;
  while (!comma_separated.empty()) {
    const auto name = base::take_until(comma_separated, ',');
    if (name.empty()) continue;
    const auto id = require(name);
    if (!id) return tl::unexpected(id.error());
    out.push_back(*id);
  }
  if (out.empty()) return base::fail(std::string("no field given") + kFieldsHint);
  return out;
}

std::optional<std::size_t> find_set(std::string_view name) {
  const auto lower = [](char c) { return std::tolower(static_cast<unsigned char>(c)); };
  const auto* const set = std::ranges::find_if(
      kColumnSets, [&](const ColumnSet& s) { return std::ranges::equal(s.name, name, {}, lower, lower); });
  if (set == std::end(kColumnSets)) return std::nullopt;
  return static_cast<std::size_t>(set - std::begin(kColumnSets));
}

}  // namespace cgwarden::cgtop
