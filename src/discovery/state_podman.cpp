// SPDX-License-Identifier: Apache-2.0
// Podman and CRI-O, which both use containers/storage:
//   <graph root>/<driver>-containers/containers.json             names and images of all; also volatile-containers.json
//   <graph root>/<driver>-containers/<id>/userdata/config.json   annotations
//   <graph root>/<driver>-layers/layers.json                     all layers; also volatile-layers.json
//   <run root>/<driver>-containers/<id>/userdata/pidfile         pid of the init process
//   <tmp>/exits/<id>                                             exit code; the ctime of the file is the exit time
//   <graph root>/<driver>-containers/<id>/userdata/state.json    exit code, exit time and start time, CRI-O only
// Podman keeps labels in its database only. Verified with Podman 4.3; CRI-O according to its documentation.
#include <algorithm>
#include <memory>

#include "src/base/text.h"
#include "src/discovery/state.h"

namespace cgwarden::discovery {
namespace {

using model::Container;

// Directory of a layer, by storage driver.
struct PodmanDriver {
  const char* name;
  std::string_view before;  // path before the layer id
  std::string_view after;
};
constexpr PodmanDriver kPodmanDrivers[] = {
    {"overlay", "overlay/", "/diff"}, {"vfs", "vfs/dir/", ""}, {"btrfs", "btrfs/subvolumes/", ""}};
// Containers that do not survive a reboot ("podman run --rm") are in the volatile lists.
constexpr const char* kContainerFiles[] = {"containers.json", "volatile-containers.json"};
constexpr const char* kLayerFiles[] = {"layers.json", "volatile-layers.json"};
constexpr std::size_t kMaxIndexed = 65'536;

const PodmanIndex& index_of(StateContext& context, const std::string& root, const std::string& file,
                            FileStatus& answer) {
  auto& index = context.podman[root + '/' + file];
  const auto version = context.files.version(root, file);
  answer = version == 0 ? FileStatus::missing : FileStatus::found;
  if (version == index.version) return index;
  index.by_id.clear();
  index.version = 0;
  if (version == 0) return index;
  nlohmann::json all;
  answer = context.files.read_json(root, file, all);
  if (answer != FileStatus::found) return index;
  if (!index_podman(all, index)) {
    answer = context.files.broken(root, file, "not a list of containers");
    return index;
  }
  index.version = version;
  return index;
}

std::optional<std::int64_t> read_number(StateContext& context, const std::string& root, const std::string& file) {
  std::string text;
  if (context.files.read(root, file, text, 32) != FileStatus::found) return std::nullopt;
  return base::to_int<std::int64_t>(base::trim_end(text));
}

struct PodmanExit {
  std::optional<std::int64_t> code;
  std::optional<base::Wall> when;
  std::string root;
};

// Podman stores the exit code in its database and deletes the file shortly after. So the file must be watched before it
// exists, and read before any other file.
PodmanExit read_exit(StateContext& context, const std::string& id) {
  for (const auto& root : context.roots.podman_tmp) {
    const auto code = read_number(context, root, "exits/" + id);
    if (code) return {code, context.files.changed_at(root, "exits/" + id), root};
  }
  return {};
}

void read_run_state(StateContext& context, const std::string& driver, const std::string& id, const PodmanExit& exit,
                    ContainerFacts& out) {
  for (const auto& root : context.roots.podman_run) {
    const auto file = driver + "-containers/" + id + "/userdata/pidfile";
    const auto pid = read_number(context, root, file);
    if (!pid || !context.files.alive(*pid)) continue;
    out.from(root, file);
    out.set(&Container::pid, pid);
    out.set(&Container::state, "running");
    return;  // an exit code belongs to the previous run
  }
  if (!exit.code) return;
  out.from(exit.root, "exits/" + id);
  out.set(&Container::exit_code, exit.code);
  out.set(&Container::finished, exit.when);
  out.set(&Container::state, "exited");
}

void read_crio_state(StateContext& context, const std::string& root, const std::string& driver, const std::string& id,
                     ContainerFacts& out) {
  const auto file = driver + "-containers/" + id + "/userdata/state.json";
  nlohmann::json state;
  if (context.files.read_json(root, file, state) != FileStatus::found) return;
  out.from(root, file);
  parse_crio_state(state, out);
}

// Indexes both files. A missing file counts as empty; an unreadable file is read again at the next lookup.
void refresh_layers(StateContext& context, const std::string& root, const std::string& directory, LayerIndex& index) {
  std::uint64_t version = 0;
  for (const auto* file : kLayerFiles) {
    version = version * 31 + context.files.version(root, directory + file, Changes::none);
  }
  if (version == index.version) return;
  index = {};
  index.version = version;
  for (const auto* file : kLayerFiles) {
    nlohmann::json all;
    const auto answer = context.files.read_json(root, directory + file, all, Changes::none);
    if (answer == FileStatus::unusable) index.version = 0;
    if (answer != FileStatus::found || index_layers(all, index)) continue;
    context.files.broken(root, directory + file, "not a list of layers");
  }
}

void read_podman_layers(StateContext& context, const std::string& root, const PodmanDriver& driver,
                        const std::string& layer, ContainerFacts& out) {
  if (!is_container_id(layer)) return;
  const auto directory = std::string(driver.name) + "-layers/";
  auto& index = context.podman_layers[root + '/' + directory];
  if (!index.by_id.contains(layer)) refresh_layers(context, root, directory, index);
  const auto entry = index.by_id.find(layer);
  if (entry == index.by_id.end()) return;
  out.from(root, directory + "*.json");
  out.set(&Container::writable_layer, root + '/' + std::string(driver.before) + layer + std::string(driver.after));
  const auto key = root + '/' + directory + entry->second.parent;
  const auto known = context.layers.find(key);
  auto layers = known != context.layers.end() ? known->second : layers_below(index, layer);
  if (layers && known == context.layers.end()) remember_layers(context, key, layers);
  out.set_layers(std::move(layers));
}

void read_spec(StateContext& context, const std::string& root, const std::string& driver, const std::string& id,
               ContainerFacts& out) {
  const auto file = driver + "-containers/" + id + "/userdata/config.json";
  nlohmann::json spec;
  if (context.files.read_json(root, file, spec) != FileStatus::found) return;
  out.from(root, file);
  parse_podman_spec(spec, out);
}

}  // namespace

bool is_podman_infra(std::string_view name) {
  constexpr std::size_t digits = 12;
  return name.size() > digits && name.substr(digits) == "-infra" &&
         name.find_first_not_of("0123456789abcdef") == digits;
}

bool index_podman(const nlohmann::json& list, PodmanIndex& index) {
  if (!list.is_array()) return false;
  for (const auto& one : list) {
    const auto id = text_at(one, {"id"});
    if (!id || index.by_id.size() >= kMaxIndexed) continue;
    PodmanIndex::Entry entry;
    const auto* names = at(one, {"names"});
    if (names != nullptr && names->is_array() && !names->empty() && names->front().is_string()) {
      entry.name = names->front().get<std::string>();
    }
    entry.image_id = text_at(one, {"image"}).value_or("");
    entry.created = text_at(one, {"created"}).value_or("");
    entry.layer = text_at(one, {"layer"}).value_or("");
    // A string that contains JSON.
    const auto metadata = nlohmann::json::parse(text_at(one, {"metadata"}).value_or(""), nullptr, false);
    entry.image = text_at(metadata, {"image-name"}).value_or("");
    index.by_id.emplace(*id, std::move(entry));
  }
  return true;
}

bool index_layers(const nlohmann::json& list, LayerIndex& index) {
  if (!list.is_array()) return false;
  for (const auto& one : list) {
    const auto id = text_at(one, {"id"});
    if (!id || index.by_id.size() >= kMaxIndexed) continue;
    index.by_id.emplace(
        *id, LayerIndex::Entry{text_at(one, {"parent"}).value_or(""), text_at(one, {"diff-digest"}).value_or(""),
                               number_at(one, {"diff-size"})});
  }
  return true;
}

std::shared_ptr<const model::Layers> layers_below(const LayerIndex& index, const std::string& layer) {
  auto layers = std::make_shared<model::Layers>();
  auto at = index.by_id.find(layer);
  while (at != index.by_id.end() && layers->size() < ContainerFacts::kMaxLayers) {
    if (at->second.parent.empty()) {
      std::ranges::reverse(*layers);
      return layers;
    }
    at = index.by_id.find(at->second.parent);
    if (at == index.by_id.end() || !is_digest(at->second.digest)) return nullptr;
    layers->push_back({at->second.digest, at->second.bytes});
  }
  return nullptr;
}

void parse_podman_spec(const nlohmann::json& spec, ContainerFacts& out) {
  const auto manager = text_at(spec, {"annotations", "io.container.manager"});
  const bool crio = manager == "cri-o" || text_at(spec, {"annotations", "io.kubernetes.cri-o.ContainerID"});
  if (crio) {
    out.set(&Container::runtime, "cri-o");
    // The name in containers.json is the long one that the kubelet generates.
    out.set(&Container::name, text_at(spec, {"annotations", "io.kubernetes.container.name"}));
    out.set(&Container::image, text_at(spec, {"annotations", "io.kubernetes.cri-o.ImageName"}));
    out.set(&Container::created, time_at(spec, {"annotations", "io.kubernetes.cri-o.Created"}));
    // Labels of the pod, as a string that contains JSON.
    const auto labels = nlohmann::json::parse(text_at(spec, {"annotations", "io.kubernetes.cri-o.Labels"}).value_or(""),
                                              nullptr, false);
    out.labels(&labels);
  } else {
    out.set(&Container::runtime, "podman");
  }
  out.labels(at(spec, {"annotations"}));
}

// CRI-O writes the file when the container is started and when it exits.
void parse_crio_state(const nlohmann::json& state, ContainerFacts& out) {
  out.set(&Container::started, time_at(state, {"started"}));
  if (text_at(state, {"status"}) != "stopped") return;
  out.set(&Container::state, "stopped");
  out.set(&Container::finished, time_at(state, {"finished"}));
  out.set(&Container::exit_code, number_at(state, {"exitCode"}));
}

FileStatus read_podman(StateContext& context, const std::string& id, ContainerFacts& out) {
  const auto exit = read_exit(context, id);
  auto worst = FileStatus::missing;
  for (const auto& root : context.roots.podman) {
    for (const auto& driver : kPodmanDrivers) {
      for (const auto* list : kContainerFiles) {
        const auto file = std::string(driver.name) + "-containers/" + list;
        FileStatus answer{};
        const auto& index = index_of(context, root, file, answer);
        if (answer == FileStatus::unusable) worst = answer;
        const auto entry = index.by_id.find(id);
        if (entry == index.by_id.end()) continue;
        read_spec(context, root, driver.name, id, out);
        out.from(root, file);
        out.set(&Container::id, id);
        if (is_podman_infra(entry->second.name)) out.set_role(model::Role::sandbox);
        if (out.facts().role == model::Role::container || out.facts().runtime != "cri-o") {
          out.set(&Container::name, entry->second.name);
        }
        out.set(&Container::image, entry->second.image);
        if (!entry->second.image_id.empty()) out.set(&Container::image_digest, "sha256:" + entry->second.image_id);
        out.set(&Container::created, parse_time(entry->second.created));
        read_podman_layers(context, root, driver, entry->second.layer, out);
        if (out.facts().runtime == "cri-o") read_crio_state(context, root, driver.name, id, out);
        read_run_state(context, driver.name, id, exit, out);
        return FileStatus::found;
      }
    }
  }
  return worst;
}

}  // namespace cgwarden::discovery
