// SPDX-License-Identifier: Apache-2.0
#include "src/agent/containers.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

#include "src/agent/log.h"
#include "src/base/text.h"
#include "src/discovery/sizes.h"

namespace cgwarden::agent {
namespace {

using model::Container;

std::string_view source_of(const Container& container, std::string_view fact) {
  for (const auto& origin : container.origins) {
    if (origin.fact == fact) return origin.source;
  }
  return "";
}

nlohmann::ordered_json json_of(const std::string& path, const Container& c) {
  nlohmann::ordered_json out;
  out["cgroup"] = base::to_utf8(path);
  out["role"] = model::name(c.role);
  for (const auto& fact : model::kTextFacts) {
    if (const auto& value = c.*fact.member) out[std::string(fact.name)] = *value;
  }
  for (const auto& fact : model::kNumberFacts) {
    if (const auto& value = c.*fact.member) out[std::string(fact.name)] = *value;
  }
  for (const auto& fact : model::kTimeFacts) {
    if (const auto& value = c.*fact.member) out[std::string(fact.name)] = log::time_text(*value);
  }
  if (!c.labels.empty()) {
    auto& labels = out["labels"];
    for (const auto& [name, value] : c.labels) labels[name] = value;
  }
  if (c.image_layers) {
    auto& layers = out["image_layers"] = nlohmann::ordered_json::array();
    for (const auto& layer : *c.image_layers) {
      auto& one = layers.emplace_back(nlohmann::ordered_json::object());
      one["id"] = layer.id;
      if (layer.bytes) one["bytes"] = *layer.bytes;
    }
  }
  auto& from = out["from"] = nlohmann::ordered_json::object();
  for (const auto& origin : c.origins) from[std::string(origin.fact)] = base::to_utf8(origin.source);
  return out;
}

void print_fact(std::string_view name, std::string_view value, std::string_view source, std::ostream& out) {
  auto line = "  " + std::string(name);
  line.resize(std::max<std::size_t>(line.size() + 1, 18), ' ');
  line += base::printable(value);
  line.resize(std::max<std::size_t>(line.size() + 2, 60), ' ');
  out << line << base::printable(source) << '\n';
}

void print_text(const std::string& path, const Container& c, std::ostream& out) {
  out << base::printable(path) << '\n';
  print_fact("role", model::name(c.role), "", out);
  for (const auto& fact : model::kTextFacts) {
    if (const auto& value = c.*fact.member) print_fact(fact.name, *value, source_of(c, fact.name), out);
  }
  if (c.role == model::Role::container && !c.name) print_fact("name", "unknown", "not in any runtime state file", out);
  for (const auto& fact : model::kNumberFacts) {
    if (const auto& value = c.*fact.member) {
      print_fact(fact.name, std::to_string(*value), source_of(c, fact.name), out);
    }
  }
  for (const auto& fact : model::kTimeFacts) {
    if (const auto& value = c.*fact.member) print_fact(fact.name, log::time_text(*value), source_of(c, fact.name), out);
  }
  for (const auto& [name, value] : c.labels) print_fact("label", name + '=' + value, source_of(c, "labels"), out);
  if (c.image_layers) {
    for (const auto& layer : *c.image_layers) {
      auto text = layer.id;
      if (layer.bytes) text += ' ' + std::to_string(*layer.bytes) + " bytes";
      print_fact("layer", text, source_of(c, "image_layers"), out);
    }
  }
}

}  // namespace

void find_writable_layers(model::Snapshot& snapshot, const std::string& procfs) {
  const auto host = discovery::host_mountinfo(procfs);
  auto table = std::make_shared<model::Containers>(*snapshot.containers);
  for (const auto& cgroup : snapshot.cgroup_list->cgroups) {
    const auto at = table->by_cgroup.find(model::cgroup_key(cgroup->id, cgroup->path));
    if (at == table->by_cgroup.end() || at->second->writable_layer || !at->second->pid) continue;
    if (at->second->role != model::Role::container && at->second->role != model::Role::sandbox) continue;
    discovery::SizeQuery request;
    request.procfs = procfs;
    request.cgroup = cgroup->path;
    request.pid = static_cast<pid_t>(*at->second->pid);
    auto path = discovery::writable_layer_of(request, host);
    if (!path) continue;
    auto container = std::make_shared<Container>(*at->second);
    container->writable_layer = base::to_utf8(*path);
    container->origins.push_back({"writable_layer", procfs + '/' + std::to_string(request.pid) + "/mountinfo"});
    at->second = std::move(container);
  }
  snapshot.containers = std::move(table);
}

void print_containers(const model::Snapshot& snapshot, bool json, std::ostream& out) {
  auto all = nlohmann::ordered_json::array();
  for (const auto& cgroup : snapshot.cgroup_list->cgroups) {
    const auto* container = snapshot.containers->find(cgroup->id, cgroup->path);
    if (container == nullptr || !model::is_workload(container->role)) continue;
    if (json) {
      all.push_back(json_of(cgroup->path, *container));
    } else {
      print_text(cgroup->path, *container, out);
    }
  }
  if (json) out << all.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
}

}  // namespace cgwarden::agent
