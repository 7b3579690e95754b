// SPDX-License-Identifier: Apache-2.0
#include "exporter/container_families.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <unordered_set>
#include <vector>

namespace cgwarden::exporter {
namespace {

using model::Container;

void append_label(std::string_view name, std::string_view value, std::string& out) {
  out += ',';
  out += name;
  out += "=\"";
  append_label_value(value, out);
  out += '"';
}

void append_name(const Container& container, std::string& out) {
  if (!model::is_workload(container.role)) return;
  const bool named = container.role == model::Role::container || container.role == model::Role::machine;
  if (named && container.name) append_label("container", *container.name, out);
  if (container.runtime) append_label("runtime", *container.runtime, out);
}

// A valid Prometheus label name. Different names may map to the same one.
std::string cleaned(std::string_view name) {
  std::string out = "label_";
  for (const char c : name) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    out += good ? c : '_';
  }
  return out;
}

void append_facts(const Container& container, std::string& out) {
  append_label("role", model::name(container.role), out);
  for (const auto& fact : model::kTextFacts) {
    // Skipped: facts that are on every series, facts that change during the lifetime of a container and have their own
    // families, and facts that are only useful on the host itself.
    constexpr std::string_view left_out[] = {"runtime", "name", "state", "health", "writable_layer"};
    if (std::ranges::find(left_out, fact.name) != std::end(left_out)) continue;
    if (const auto& value = container.*fact.member) append_label(fact.name, *value, out);
  }
  std::vector<std::string> taken;
  for (const auto& [name, value] : container.labels) {  // sorted: of two names that map to the same one, the first wins
    auto label = cleaned(name);
    if (std::ranges::find(taken, label) != taken.end()) continue;
    append_label(label, value, out);
    taken.push_back(std::move(label));
  }
}

void append_unit(const Container& container, std::string& out) {
  append_label("unit", *container.unit, out);
  append_label("kind", model::name(container.role), out);
  if (container.slice) append_label("slice", *container.slice, out);
  if (container.uid) append_label("uid", *container.uid, out);
  if (container.parent) append_label("parent", *container.parent, out);
}

// Seconds with as many decimals as needed.
std::string seconds(base::Wall time) {
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  if (ns < 0) return {};
  auto out = std::to_string(ns / 1'000'000'000);
  auto fraction = std::to_string(ns % 1'000'000'000);
  fraction.insert(0, 9 - fraction.size(), '0');
  while (!fraction.empty() && fraction.back() == '0') fraction.pop_back();
  return fraction.empty() ? out : out + '.' + fraction;
}

std::string number(const Container::Number& value) { return value ? std::to_string(*value) : std::string(); }
std::string time(const Container::Time& value) { return value ? seconds(*value) : std::string(); }

// One row per family, by name. An empty value means no sample; `labels` appends further labels after those of the
// cgroup.
struct Row {
  std::string_view name;  // without "_info"
  std::string_view unit;
  std::string_view help;
  bool info;
  std::string (*value)(const Container&);
  void (*labels)(const Container&, std::string&);
  bool of_units = false;  // for cgroups that are systemd units and not workloads
};

constexpr Row kRows[] = {
    {"cgroup_container_creation_time_seconds", "seconds",
     "Creation time of the container in seconds since the Unix epoch.", false,
     [](const Container& c) { return time(c.created); }, nullptr},
    {"cgroup_container_exit_code", "", "Exit code of an exited container.", false,
     [](const Container& c) { return number(c.exit_code); }, nullptr},
    {"cgroup_container_finish_time_seconds", "seconds", "Exit time of the container in seconds since the Unix epoch.",
     false, [](const Container& c) { return time(c.finished); }, nullptr},
    {"cgroup_container_health", "", "Result of the container health check as a label; the value is always 1.", false,
     [](const Container& c) { return std::string(c.health ? "1" : ""); },
     [](const Container& c, std::string& out) { append_label("health", *c.health, out); }},
    {"cgroup_container_image_bytes", "bytes",
     "Unpacked size of all image layers, which are shared between containers of the image and images with common "
     "layers.",
     false, [](const Container& c) { return number(c.image_bytes); }, nullptr},
    {"cgroup_container", "", "Metadata of the container, pod or machine as labels; the value is always 1.", true,
     [](const Container&) { return std::string("1"); }, append_facts},
    {"cgroup_container_restarts", "", "Number of times that the container manager restarted the container.", false,
     [](const Container& c) { return number(c.restart_count); }, nullptr},
    {"cgroup_container_start_time_seconds", "seconds",
     "Last start time of the container in seconds since the Unix epoch.", false,
     [](const Container& c) { return time(c.started); }, nullptr},
    {"cgroup_container_state", "", "State of the container as a label; the value is always 1.", false,
     [](const Container& c) { return std::string(c.state ? "1" : ""); },
     [](const Container& c, std::string& out) { append_label("state", *c.state, out); }},
    {"cgroup_unit", "", "Name, kind and slice of the systemd unit of the cgroup as labels; the value is always 1.",
     true, [](const Container&) { return std::string("1"); }, append_unit, true},
};

void append_header(const Row& row, const std::string& series, Format format, std::string& out) {
  const bool om = format == Format::openmetrics;
  const auto family = om ? std::string(row.name) : series;
  out += "# HELP " + family + ' ';
  append_help(row.help, format, out);
  out += "\n# TYPE " + family + (om && row.info ? " info\n" : " gauge\n");
  if (om && !row.unit.empty()) out += "# UNIT " + family + ' ' + std::string(row.unit) + '\n';
}

struct Shown {
  const Container* container;
  std::string labels;  // the same on all series of the cgroup
};

// Containers of existing cgroups in order of paths, then exited containers. Labels are unique.
std::vector<Shown> shown(const model::Snapshot& snapshot, bool units) {
  const auto& table = *snapshot.containers;
  std::vector<Shown> out;
  std::unordered_set<std::string> seen;
  const auto add = [&](const model::Cgroup& cgroup, const Container& container) {
    if (model::is_workload(container.role) ? units : !units || !container.unit) return;
    std::string labels;
    path_label(cgroup, labels);
    append_name(container, labels);
    if (seen.insert(labels).second) out.push_back({&container, std::move(labels)});
  };
  if (snapshot.cgroup_list) {
    for (const auto& cgroup : snapshot.cgroup_list->cgroups) {
      if (const auto* container = table.find(cgroup->id, cgroup->path)) add(*cgroup, *container);
    }
  }
  for (const auto& exited : table.exited) {
    model::Cgroup cgroup;
    cgroup.id = exited.cgroup_id;
    cgroup.path = exited.path;
    add(cgroup, *exited.container);
  }
  return out;
}

}  // namespace

LabelSource container_labels(std::function<std::shared_ptr<const model::Containers>()> table) {
  return [table = std::move(table)](const model::Cgroup& cgroup, std::string& out) {
    path_label(cgroup, out);
    const auto containers = table();
    if (!containers) return;
    if (const auto* container = containers->find(cgroup.id, cgroup.path)) append_name(*container, out);
  };
}

std::size_t write_containers(const model::Snapshot& snapshot, Format format, Buffer& out) {
  if (!snapshot.containers) return 0;
  const auto workloads = shown(snapshot, false);
  const auto units = shown(snapshot, true);
  std::size_t series = 0;
  std::string text;
  for (const auto& row : kRows) {
    text.clear();
    const auto name = std::string(row.name) + (row.info ? "_info" : "");
    append_header(row, name, format, text);
    const auto header = text.size();
    for (const auto& [container, labels] : row.of_units ? units : workloads) {
      const auto value = row.value(*container);
      if (value.empty()) continue;
      text += name + '{' + labels;
      if (row.labels != nullptr) row.labels(*container, text);
      text += "} " + value + '\n';
      ++series;
    }
    if (text.size() > header) out.append(text);
  }
  return series;
}

}  // namespace cgwarden::exporter
