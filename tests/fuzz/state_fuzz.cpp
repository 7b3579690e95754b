// SPDX-License-Identifier: Apache-2.0
// Parses arbitrary bytes as each kind of state file and as a response of the Docker API. Facts must be UTF-8, bounded
// and have a source; labels must be allowed, and no environment variable may appear.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/text.h"
#include "src/discovery/daemon.h"
#include "src/discovery/state.h"
#include "src/discovery/users.h"

namespace {

using namespace cgwarden;

void must(bool holds) {
  if (!holds) std::abort();
}

const std::string kSource = "a file";
const discovery::LabelFilter kAllowed({"org.lab.*", "user.tier"});

// Runs `parse` and checks the facts that it sets.
template <class Parse>
void expect_facts(Parse parse) {
  discovery::ContainerFacts found(kAllowed);
  found.from(kSource);
  parse(found);
  const auto c = found.take();
  const auto has_source = [&](std::string_view fact) {
    return std::ranges::count_if(c.origins, [&](const auto& one) { return one.fact == fact; }) == 1;
  };
  for (const auto& fact : model::kTextFacts) {
    const auto& value = c.*fact.member;
    must(has_source(fact.name) == value.has_value());
    if (value) must(!value->empty() && value->size() <= discovery::ContainerFacts::kMaxLength && base::is_utf8(*value));
  }
  for (const auto& fact : model::kNumberFacts) must(has_source(fact.name) == (c.*fact.member).has_value());
  for (const auto& fact : model::kTimeFacts) must(has_source(fact.name) == (c.*fact.member).has_value());
  must(has_source("image_layers") == (c.image_layers != nullptr));
  if (c.image_layers) {
    must(!c.image_layers->empty() && c.image_layers->size() <= discovery::ContainerFacts::kMaxLayers);
    for (const auto& layer : *c.image_layers) must(discovery::is_digest(layer.id) && layer.bytes.value_or(0) >= 0);
    must(c.image_bytes.value_or(0) >= 0);
  }
  must(c.labels.size() <= discovery::ContainerFacts::kMaxLabels && has_source("labels") == !c.labels.empty());
  must(std::ranges::is_sorted(c.labels));
  for (const auto& [name, value] : c.labels) {
    must(kAllowed.allows(name) && base::is_utf8(name) && base::is_utf8(value));
    must(std::max(name.size(), value.size()) <= discovery::ContainerFacts::kMaxLength);
  }
}

bool without_environment(const nlohmann::json& json) {
  if (json.is_object() && (json.contains("env") || json.contains("Env"))) return false;
  return !json.is_structured() || std::ranges::all_of(json, without_environment);
}

void read_json(std::string_view text) {
  const auto json = discovery::parse_state(text);
  if (!json) return;
  must(without_environment(*json));
  const auto id = discovery::text_at(*json, {"id"}).value_or("");
  const auto docker_id = discovery::text_at(*json, {"ID"}).value_or("");
  expect_facts([&](auto& out) { discovery::parse_docker_config(*json, docker_id, out); });
  const auto daemon_id = discovery::text_at(*json, {"Id"}).value_or("");
  expect_facts([&](auto& out) { discovery::parse_inspect(*json, daemon_id, out); });
  expect_facts([&](auto& out) {
    if (const auto container = discovery::parse_inspected(text, daemon_id, "podman", kSource, kAllowed))
      out.fill(*container);
  });
  expect_facts([&](auto& out) { discovery::parse_runc_state(*json, id, out); });
  expect_facts([&](auto& out) { discovery::parse_runsc_state(*json, out); });
  expect_facts([&](auto& out) { discovery::parse_podman_spec(*json, out); });
  expect_facts([&](auto& out) { discovery::parse_crio_state(*json, out); });
  must(base::is_utf8(discovery::claimed_cgroup(*json)));
  discovery::PodmanIndex index;
  must(discovery::index_podman(*json, index) == json->is_array());
  must(index.by_id.size() <= json->size());
  discovery::LayerIndex layers;
  must(discovery::index_layers(*json, layers) == json->is_array());
  must(layers.by_id.size() <= json->size());
  for (const auto& one : layers.by_id) {
    expect_facts([&](auto& out) { out.set_layers(discovery::layers_below(layers, one.first)); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<char> exact(data, data + size);
  const std::string_view text(exact.data(), exact.size());
  // StateFiles::read() passes only UTF-8 to the parsers.
  if (!base::is_utf8(text)) return 0;

  read_json(text);
  expect_facts([&](auto& out) { discovery::parse_lxd_backup(text, out); });
  expect_facts([&](auto& out) { discovery::parse_lxc_config(text, out); });
  expect_facts([&](auto& out) { discovery::parse_libvirt(text, "web", out); });
  if (const auto machine = discovery::parse_machine(text, "web"))
    must(!machine->started || *machine->started > base::Wall{});
  if (const auto time = discovery::parse_time(text)) must(*time > base::Wall{} - std::chrono::hours(24));
  const auto home = discovery::home_of(text, "1000");
  must(home.empty() || (home.size() > 1 && home.front() == '/' && home.find("/./") == std::string::npos));
  discovery::unescape_unit(text);
  discovery::cgroup_of_spec(text);
  return 0;
}
