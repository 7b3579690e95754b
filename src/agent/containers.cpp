// SPDX-License-Identifier: Apache-2.0
#include "src/agent/containers.h"

#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

#include "src/agent/log.h"
#include "src/base/text.h"

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
  if (c.role == model::Role::container && !c.name) print_fact("name", "unknown", "no state of a runtime tells it", out);
  for (const auto& fact : model::kNumberFacts) {
    if (const auto& value = c.*fact.member) {
      print_fact(fact.name, std::to_string(*value), source_of(c, fact.name), out);
    }
  }
  for (const auto& fact : model::kTimeFacts) {
    if (const auto& value = c.*fact.member) print_fact(fact.name, log::time_text(*value), source_of(c, fact.name), out);
  }
  for (const auto& [name, value] : c.labels) print_fact("label", name + '=' + value, source_of(c, "labels"), out);
}

}  // namespace

void print_containers(const model::Snapshot& snapshot, bool json, std::ostream& out) {
  auto all = nlohmann::ordered_json::array();
  for (const auto& group : snapshot.roster->groups) {
    const auto* container = snapshot.containers->find(group->id, group->path);
    if (container == nullptr || !model::is_workload(container->role)) continue;
    if (json) {
      all.push_back(json_of(group->path, *container));
    } else {
      print_text(group->path, *container, out);
    }
  }
  if (json) out << all.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
}

}  // namespace cgwarden::agent
