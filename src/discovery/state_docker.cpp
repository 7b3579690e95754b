// SPDX-License-Identifier: Apache-2.0
// Docker, below its data root:
//   containers/<id>/config.v2.json                                rewritten at every change of state
//   image/<driver>/layerdb/mounts/<id>/{mount-id,parent}          writable layer, topmost layer of the image
//   image/<driver>/layerdb/sha256/<chain>/{diff,size,parent}      one layer of an image
// Verified with Docker 20.10. With the containerd image store (driver "overlayfs") layerdb does not exist.
#include <algorithm>
#include <memory>

#include "src/base/text.h"
#include "src/discovery/state.h"

namespace cgwarden::discovery {
namespace {

using model::Container;

// The state that Docker's flags stand for. "created" means never started.
std::string state_of(const nlohmann::json& config) {
  if (true_at(config, {"State", "Dead"})) return "dead";
  if (true_at(config, {"State", "Restarting"})) return "restarting";
  if (true_at(config, {"State", "Paused"})) return "paused";
  if (true_at(config, {"State", "Running"})) return "running";
  return time_at(config, {"State", "StartedAt"}) ? "exited" : "created";
}

// True if the exit code is that of the last run. "stopped" is Podman's state before cleanup.
bool has_exited(std::string_view state) {
  return state == "exited" || state == "dead" || state == "restarting" || state == "stopped";
}

// Directory of a writable layer, by storage driver. Other drivers have no such directory.
struct DockerDriver {
  std::string_view name;
  std::string_view before;  // path before the layer id
  std::string_view after;
};
constexpr DockerDriver kDockerDrivers[] = {{"overlay2", "overlay2/", "/diff"},
                                           {"fuse-overlayfs", "fuse-overlayfs/", "/diff"},
                                           {"vfs", "vfs/dir/", ""},
                                           {"btrfs", "btrfs/subvolumes/", ""}};

constexpr std::size_t kDigestLimit = 128;

// Reads a small immutable file of the layer store. nullopt: missing or unreadable; sets `usable` to false if
// unreadable.
std::optional<std::string> read_constant(StateContext& context, const std::string& root, const std::string& file,
                                         bool& usable) {
  std::string text;
  const auto answer = context.files.read(root, file, text, kDigestLimit, Changes::none);
  if (answer == FileStatus::unusable) usable = false;
  if (answer != FileStatus::found) return std::nullopt;
  return std::string(base::trim_end(text));
}

std::shared_ptr<const model::Layers> read_chain(StateContext& context, const std::string& root,
                                                const std::string& store, std::string chain) {
  const auto key = root + '/' + store + chain;
  if (const auto known = context.layers.find(key); known != context.layers.end()) return known->second;
  auto layers = std::make_shared<model::Layers>();
  while (is_digest(chain) && layers->size() < ContainerFacts::kMaxLayers) {
    const auto at = store + "sha256/" + chain.substr(7) + '/';
    bool usable = true;
    const auto id = read_constant(context, root, at + "diff", usable);
    const auto bytes = read_constant(context, root, at + "size", usable);
    const auto parent = read_constant(context, root, at + "parent", usable);
    if (!usable || !id || !is_digest(*id)) return nullptr;
    layers->push_back({*id, bytes ? base::to_int<std::int64_t>(*bytes) : std::nullopt});
    if (!parent) {
      std::ranges::reverse(*layers);
      remember_layers(context, key, layers);
      return layers;
    }
    chain = *parent;
  }
  return nullptr;
}

// These files are written before the container's state file, so they need no watch.
void read_docker_layers(StateContext& context, const std::string& root, const std::string& driver,
                        const std::string& id, ContainerFacts& out) {
  const auto* row = std::ranges::find(kDockerDrivers, driver, &DockerDriver::name);
  if (row == std::end(kDockerDrivers)) return;
  const auto store = "image/" + driver + "/layerdb/";
  const auto mount = store + "mounts/" + id + '/';
  bool usable = true;
  if (const auto layer = read_constant(context, root, mount + "mount-id", usable); layer && is_container_id(*layer)) {
    out.from(root, mount + "mount-id");
    out.set(&Container::writable_layer, root + '/' + std::string(row->before) + *layer + std::string(row->after));
  }
  if (const auto chain = read_constant(context, root, mount + "parent", usable)) {
    out.from(root, store + "sha256");
    out.set_layers(read_chain(context, root, store, *chain));
  }
}

// The fields that the state file and the API response have in common.
void parse_docker_common(const nlohmann::json& config, const std::string& id, ContainerFacts& out) {
  auto name = text_at(config, {"Name"}).value_or("");
  if (name.starts_with('/')) name.erase(0, 1);
  out.set(&Container::id, id);
  out.set(&Container::name, name);
  out.set(&Container::image, text_at(config, {"Config", "Image"}));
  out.set(&Container::health, text_at(config, {"State", "Health", "Status"}));
  out.set(&Container::created, time_at(config, {"Created"}));
  out.set(&Container::started, time_at(config, {"State", "StartedAt"}));
  out.set(&Container::restart_count, number_at(config, {"RestartCount"}));
  out.labels(at(config, {"Config", "Labels"}));
}

}  // namespace

bool parse_docker_config(const nlohmann::json& config, const std::string& id, ContainerFacts& out) {
  if (text_at(config, {"ID"}) != id) return false;
  parse_docker_common(config, id, out);
  out.set(&Container::image_digest, text_at(config, {"Image"}));
  const auto state = state_of(config);
  out.set(&Container::state, state);
  if (const auto pid = number_at(config, {"State", "Pid"}); pid && *pid > 0) out.set(&Container::pid, pid);
  if (has_exited(state)) {
    out.set(&Container::exit_code, number_at(config, {"State", "ExitCode"}));
    out.set(&Container::finished, time_at(config, {"State", "FinishedAt"}));
  }
  return true;
}

bool parse_inspect(const nlohmann::json& answer, const std::string& id, ContainerFacts& out) {
  if (text_at(answer, {"Id"}) != id) return false;
  parse_docker_common(answer, id, out);
  // Podman omits the algorithm.
  auto digest = text_at(answer, {"Image"}).value_or("");
  if (is_container_id(digest)) digest = "sha256:" + digest;
  out.set(&Container::image_digest, digest);
  const auto state = text_at(answer, {"State", "Status"});
  out.set(&Container::state, state);
  if (state && has_exited(*state)) {
    out.set(&Container::exit_code, number_at(answer, {"State", "ExitCode"}));
    out.set(&Container::finished, time_at(answer, {"State", "FinishedAt"}));
  }
  if (auto path = text_at(answer, {"GraphDriver", "Data", "UpperDir"}); path && path->starts_with('/')) {
    out.set(&Container::writable_layer, std::move(path));
  }
  return true;
}

FileStatus read_docker(StateContext& context, const std::string& id, ContainerFacts& out) {
  auto worst = FileStatus::missing;
  for (const auto& root : context.roots.docker) {
    const auto file = "containers/" + id + "/config.v2.json";
    nlohmann::json config;
    const auto answer = context.files.read_json(root, file, config);
    if (answer == FileStatus::unusable) worst = answer;
    if (answer != FileStatus::found) continue;
    out.from(root, file);
    if (!parse_docker_config(config, id, out)) {
      worst = context.files.broken(root, file, "of another container or an unknown version");
      continue;
    }
    read_docker_layers(context, root, text_at(config, {"Driver"}).value_or(""), id, out);
    return FileStatus::found;
  }
  return worst;
}

}  // namespace cgwarden::discovery
