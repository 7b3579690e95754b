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

Form form_of(model::Unit unit) {
  switch (unit) {
    case model::Unit::bytes:
      return Form::bytes;
    case model::Unit::seconds:
      return Form::seconds;
    case model::Unit::ratio:
    case model::Unit::cores:  // 1 is 100 % of a core
      return Form::ratio;
    case model::Unit::none:
      break;
  }
  return Form::count;
}

// "memory_workingset_refault_file" -> "WORKINGSET_REFAULT_FILE": the set on the screen already says "Memory". Whole
// where it stands beside another's: "pids_max" and "memory_max", "io_weight" and "cpu_weight".
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

constexpr std::pair<std::string_view, std::string_view> kShortForms[] = {
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

  const auto computed = [&](std::string name, std::string title, Form form, int decimals, Source source,
                            std::string help, bool needs_two = false) {
    add({std::move(name), std::move(title), std::move(help), form, false, decimals, source, 0, needs_two});
  };
  const auto alias = [&](std::string name, std::string title, std::string_view of, std::string help) {
    if (const auto id = catalogue_->find(of)) {
      const auto& f = catalogue_->field(*id);
      add({std::move(name), std::move(title), std::move(help), form_of(f.unit), false, model::decimals(f.unit),
           Source::field, *id, false});
    }
  };
  const auto rate = [&](std::string name, std::string title, model::FieldId id, std::string help) {
    const auto unit = catalogue_->field(id).unit;
    // Seconds in a second are a part of one: of one core, of the interval.
    const bool part = unit == model::Unit::seconds;
    add({std::move(name), std::move(title), std::move(help), part ? Form::ratio : form_of(unit), !part,
         part ? 4 : kRateDecimals, Source::rate, id, true});
  };
  const auto rate_of = [&](std::string name, std::string title, std::string_view of, std::string help) {
    if (const auto id = catalogue_->find(of)) rate(std::move(name), std::move(title), *id, std::move(help));
  };

  computed("name", "CGROUP", Form::text, 0, Source::name, "Last part of the path, or the container's name.");
  computed("path", "PATH", Form::text, 0, Source::path, "Path of the cgroup.");
  computed("kind", "KIND", Form::text, 0, Source::kind,
           "The container's runtime; else root, slice, service, scope or cgroup, by the end of the name.");
  computed("state", "ST", Form::text, 0, Source::state,
           "Z frozen, F freezing, T throttled, H over memory.high, M at memory.max, O killed for memory, + new.", true);
  computed("id", "ID", Form::count, 0, Source::id, "The kernel's id of the cgroup.");
  computed("depth", "DEPTH", Form::count, 0, Source::depth, "Levels below the root.");
  computed("age", "AGE", Form::seconds, 9, Source::age, "Time since the cgroup was made.");
  rate_of("cpu", "CPU%", "cpu_usage", "CPU in use, of one core.");
  computed("cpu_limit", "CPULIM%", Form::ratio, 4, Source::cpu_limit, "Quota of the cgroup, in cores.");
  computed("cpu_of_limit", "%QUOTA", Form::ratio, 4, Source::cpu_of_limit, "CPU in use, of the quota.", true);
  computed("throttled", "THROT%", Form::ratio, 4, Source::throttled, "Part of the quota periods that were throttled.",
           true);
  computed("memory", "MEM", Form::bytes, 0, Source::memory, "Memory in use, with page cache.");
  computed("working_set", "WS", Form::bytes, 0, Source::working_set, "Memory in use without inactive page cache.");
  computed("memory_limit", "LIMIT", Form::bytes, 0, Source::memory_limit,
           "Tightest memory limit of the cgroup and those above it.");
  computed("memory_of_limit", "%LIM", Form::ratio, 4, Source::memory_of_limit, "Memory in use, of that limit.");
  computed("swap", "SWAP", Form::bytes, 0, Source::swap, "Swap in use.");
  rate_of("read", "READ/s", "io_read", "Bytes read in a second, over all devices.");
  rate_of("write", "WRITE/s", "io_write", "Bytes written in a second, over all devices.");
  rate_of("read_ops", "R/s", "io_reads", "Read operations in a second, over all devices.");
  rate_of("write_ops", "W/s", "io_writes", "Write operations in a second, over all devices.");
  alias("tasks", "TASKS", "pids_current", "Processes and threads of the cgroup and those below.");
  computed("tasks_limit", "TASKLIM", Form::count, 0, Source::tasks_limit,
           "Tightest limit of tasks of the cgroup and those above it.");
  computed("tasks_of_limit", "%TASKS", Form::ratio, 4, Source::tasks_of_limit, "Tasks, of that limit.");
  alias("psi_cpu", "PSIcpu", "pressure_cpu_some_avg10", "Part of the last 10 s in which a task waited for a CPU.");
  alias("psi_memory", "PSImem", "pressure_memory_some_avg10",
        "Part of the last 10 s in which a task waited for memory.");
  alias("psi_io", "PSIio", "pressure_io_some_avg10", "Part of the last 10 s in which a task waited for I/O.");
  computed("oom_kills", "OOMKILL", Form::count, 0, Source::oom_kills, "Processes killed because memory ran out.");

  for (const auto& [name, title, fact, help] :
       {std::tuple{"container_id", "CONTAINER", &model::Container::id, "Id of the container."},
        {"image", "IMAGE", &model::Container::image, "Image of the container."},
        {"runtime", "RUNTIME", &model::Container::runtime, "What runs the container."},
        {"container_state", "STATE", &model::Container::state, "State of the container, by its runtime."},
        {"pod", "POD", &model::Container::pod, "Pod of the container."},
        {"host", "HOST", &model::Container::node, "Host of the cgroup, in a fleet; the node of a Swarm."},
        {"namespace", "NAMESPACE", &model::Container::pod_namespace, "Kubernetes namespace of the pod."},
        {"unit", "UNIT", &model::Container::unit, "Unit of systemd."}}) {
    add({name, title, help, Form::text, false, 0, Source::container, 0, false, fact});
  }

  for (std::size_t i = 0; i < catalogue_->size(); ++i) {
    const auto id = static_cast<model::FieldId>(i);
    const auto& f = catalogue_->field(id);
    const bool text = f.kind == model::MetricKind::info || (f.labelled() && f.kind == model::MetricKind::setting);
    add({std::string(f.name), title_of(f.name), std::string(f.help), text ? Form::text : form_of(f.unit), false,
         model::decimals(f.unit), Source::field, id, false});
    if (f.kind == model::MetricKind::counter) {
      rate(std::string(f.name) + "_rate", title_of(f.name) + (f.unit == model::Unit::seconds ? "%" : "/s"), id,
           "Per second: " + std::string(f.help));
    }
  }
  for (const auto& [shorter, name] : kShortForms) {
    if (const auto found = by_name_.find(std::string(name)); found != by_name_.end()) {
      by_name_.emplace(shorter, found->second);
    }
  }
}

void Columns::add(Column column) {
  const auto id = static_cast<ColumnId>(all_.size());
  if (!by_name_.emplace(column.name, id).second) return;  // a computed column goes before a field of its name
  all_.push_back(std::move(column));
}

std::optional<ColumnId> Columns::find(std::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  if (found == by_name_.end()) return std::nullopt;
  return found->second;
}

base::Result<ColumnId> Columns::want(std::string_view name) const {
  if (const auto id = find(name)) return *id;
  std::vector<std::string_view> names;
  for (const auto& column : all_) names.push_back(column.name);
  return base::fail(base::unknown_name("field", name, names) + " (cgtop fields lists them)");
}

base::Result<std::vector<ColumnId>> Columns::want_list(std::string_view comma_separated) const {
  std::vector<ColumnId> out;
  while (!comma_separated.empty()) {
    const auto name = base::take_until(comma_separated, ',');
    if (name.empty()) continue;
    const auto id = want(name);
    if (!id) return tl::unexpected(id.error());
    out.push_back(*id);
  }
  if (out.empty()) return base::fail("no field is named (cgtop fields lists them)");
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
