// SPDX-License-Identifier: Apache-2.0
// What runtimes leave on disk about their containers: one row a runtime, one file a family of them. A reader gets the
// id that the cgroup's path holds and says what the state says, or that it says nothing.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/discovery/runtimes.h"
#include "src/discovery/state_files.h"
#include "src/model/container.h"

namespace cgwarden::discovery {

// Where runtimes keep their state, as paths of the host. Several: all are asked, in this order. "/*" at the end stands
// for every directory there: engines have one for each of their namespaces.
struct Roots {
  std::vector<std::string> docker = {"/var/lib/docker"};
  std::vector<std::string> containerd = {"/run/containerd"};
  std::vector<std::string> podman = {"/var/lib/containers/storage"};
  std::vector<std::string> podman_run = {"/run/containers/storage"};
  std::vector<std::string> podman_tmp = {"/run/libpod", "/run/crio"};
  std::vector<std::string> runc = {"/run/runc", "/run/containerd/runc/*", "/run/docker/runtime-runc/*"};
  std::vector<std::string> crun = {"/run/crun"};
  std::vector<std::string> runsc = {"/run/runsc", "/run/docker/runtime-runsc/*"};
  std::vector<std::string> lxc = {"/var/lib/lxc"};
  std::vector<std::string> lxd = {"/var/lib/lxd", "/var/snap/lxd/common/lxd", "/var/lib/incus"};
  std::vector<std::string> machines = {"/run/systemd/machines"};
  std::vector<std::string> libvirt = {"/run/libvirt"};
};

// One option of the command line a row: --discovery.NAME.
struct RootRow {
  std::string_view name;
  std::vector<std::string> Roots::*roots;
  std::string_view help;
};
std::span<const RootRow> root_rows();

// Which labels and annotations are kept: names, or beginnings of names with '*' behind.
class LabelFilter {
 public:
  LabelFilter() = default;
  explicit LabelFilter(std::vector<std::string> patterns) : patterns_(std::move(patterns)) {}
  [[nodiscard]] bool allows(std::string_view name) const;

 private:
  std::vector<std::string> patterns_;
};

// Facts put together from several files. The first to know a fact counts; who told is kept with it.
class ContainerFacts {
 public:
  explicit ContainerFacts(const LabelFilter& labels) : labels_(labels) {}

  // Who tells what is set next.
  void from(const std::string& root, std::string_view file);
  void from(std::string source) { source_ = std::move(source); }

  // Texts that are empty or too long, and times of year 1, are no facts.
  void set(model::Container::Text model::Container::*fact, std::optional<std::string> value);
  void set(model::Container::Number model::Container::*fact, std::optional<std::int64_t> value);
  void set(model::Container::Time model::Container::*fact, std::optional<base::Wall> value);
  void drop_pid();
  void set_role(model::Role role) { facts_.role = role; }
  // Null is no fact. Their sum is one if all have a size.
  void set_layers(std::shared_ptr<const model::Layers> layers);
  // A label or an annotation: a fact if its name is one of those runtimes use, and kept if it is allowed.
  void label(const std::string& name, const std::string& value);
  void labels(const nlohmann::json* object);

  // What another told, where nothing is known yet. Of its labels those that are new.
  void fill(const model::Container& told);

  [[nodiscard]] const model::Container& facts() const { return facts_; }
  model::Container take();

  static constexpr std::size_t kMaxLength = 4096;
  static constexpr std::size_t kMaxLabels = 128;
  static constexpr std::size_t kMaxLayers = 256;  // an image of more is unknown: half of one would be wrong

 private:
  const LabelFilter& labels_;
  std::string source_;
  model::Container facts_;
};

// Files that many containers share, parsed once for each of their versions.
struct PodmanIndex {
  struct Entry {
    std::string name;
    std::string image;
    std::string image_id;
    std::string created;
    std::string layer;  // the writable one
  };
  std::uint64_t version = 0;
  std::unordered_map<std::string, Entry> by_id;
};

// The same storage's layers, of images and of containers.
struct LayerIndex {
  struct Entry {
    std::string parent;
    std::string digest;
    model::Container::Number bytes;
  };
  std::uint64_t version = 0;
  std::unordered_map<std::string, Entry> by_id;
};

struct StateContext {
  StateFiles& files;
  const Roots& roots;
  std::unordered_map<std::string, PodmanIndex> podman = {};        // by path
  std::unordered_map<std::string, LayerIndex> podman_layers = {};  // by path
  // By path of the storage and id of the topmost layer. What has been written of a layer stays so.
  std::unordered_map<std::string, std::shared_ptr<const model::Layers>> layers = {};
};
inline constexpr std::size_t kMaxImages = 1024;
void remember_layers(StateContext& context, const std::string& key, const std::shared_ptr<const model::Layers>& layers);

struct StateRow {
  std::string_view runtime;  // of the table of paths, whose containers this knows
  std::string_view title;    // what it says the runtime is
  // Whose ids are made by engines: such an id names one container of the world, whoever is asked for it.
  bool engine_ids = false;
  Answer (*read)(StateContext& context, const std::string& id, ContainerFacts& out);
};
std::span<const StateRow> state_rows();
// Only what the claim's runtime has at the claim's root.
Roots roots_of(std::string_view title, const std::string& root);

// A container whose cgroup has a path that says nothing: its state says which one it is.
struct Claim {
  std::string cgroup;
  std::string_view title;
  std::string id;    // for containerd "<namespace>/<id>"
  std::string root;  // whose state it is
};
// Those of containerd, runC, crun and runsc whose ids are names. At most kMostClaims.
inline constexpr std::size_t kMaxClaims = 4096;
class Claims {
 public:
  // All of them; files that did not change are not read again.
  void refresh(StateContext& context);
  [[nodiscard]] const Claim* find(const std::string& cgroup) const;

 private:
  struct Known {
    std::uint64_t version = 0;
    Claim claim;
  };
  std::unordered_map<std::string, Known> known_;  // by file
  std::unordered_map<std::string, Claim> by_cgroup_;
};

// The readers, by family.
Answer read_docker(StateContext& context, const std::string& id, ContainerFacts& out);
Answer read_containerd(StateContext& context, const std::string& id, ContainerFacts& out);
Answer read_podman(StateContext& context, const std::string& id, ContainerFacts& out);
Answer read_runc(StateContext& context, const std::string& id, ContainerFacts& out);
Answer read_crun(StateContext& context, const std::string& id, ContainerFacts& out);
Answer read_runsc(StateContext& context, const std::string& id, ContainerFacts& out);
Answer read_lxc(StateContext& context, const std::string& id, ContainerFacts& out);
Answer read_lxd(StateContext& context, const std::string& id, ContainerFacts& out);
Answer read_machine(StateContext& context, const std::string& id, ContainerFacts& out);
Answer read_libvirt(StateContext& context, const std::string& id, ContainerFacts& out);

// What one file's text says, for the readers and their fuzzer: pure. False: it is of another container or version.
bool parse_docker_config(const nlohmann::json& config, const std::string& id, ContainerFacts& out);
// A daemon's answer to the question for one container: Docker's API, which Podman speaks too. Its pid is not taken: of
// processes the kernel and the state on disk tell.
bool parse_inspect(const nlohmann::json& answer, const std::string& id, ContainerFacts& out);
bool parse_runc_state(const nlohmann::json& state, const std::string& id, ContainerFacts& out);
void parse_runsc_state(const nlohmann::json& state, ContainerFacts& out);
// Of the storage's list of containers; of one container's spec.
bool index_podman(const nlohmann::json& list, PodmanIndex& index);
// Of the storage's list of layers, and the layers below one of them; null: they are not all there, or are too many.
bool index_layers(const nlohmann::json& list, LayerIndex& index);
std::shared_ptr<const model::Layers> layers_below(const LayerIndex& index, const std::string& layer);
void parse_podman_spec(const nlohmann::json& spec, ContainerFacts& out);
void parse_crio_state(const nlohmann::json& state, ContainerFacts& out);
// Podman's own name for the container that holds a pod's namespaces: "a6dd3b264c35-infra".
bool is_podman_infra(std::string_view name);
void parse_lxd_backup(std::string_view backup, ContainerFacts& out);
void parse_lxc_config(std::string_view config, ContainerFacts& out);
bool parse_libvirt(std::string_view xml, const std::string& id, ContainerFacts& out);
// Machined's leaves its files behind, so whether the leader lives decides what it is worth.
struct MachineState {
  std::int64_t leader = 0;
  std::string unit;
  std::optional<base::Wall> started;
};
std::optional<MachineState> parse_machine(std::string_view text, const std::string& id);
// The cgroup that the state of runC, crun or runsc or a bundle of containerd says it is of; empty: it says none.
std::string claimed_cgroup(const nlohmann::json& state);

// For those files.
// 64 hexadecimal digits.
bool is_engine_id(std::string_view id);
// "sha256:" and 64 hexadecimal digits.
bool is_digest(std::string_view text);
// The value at the end of `keys`, or null.
const nlohmann::json* at(const nlohmann::json& json, std::initializer_list<const char*> keys);
std::optional<std::string> text_at(const nlohmann::json& json, std::initializer_list<const char*> keys);
std::optional<std::int64_t> number_at(const nlohmann::json& json, std::initializer_list<const char*> keys);
bool true_at(const nlohmann::json& json, std::initializer_list<const char*> keys);
// RFC 3339; nothing for year 1, which is Go's "never".
std::optional<base::Wall> parse_time(std::string_view text);
std::optional<base::Wall> time_at(const nlohmann::json& json, std::initializer_list<const char*> keys);
// "/a/b" or, systemd's way, "a.slice:prefix:name" as the path of a cgroup; empty when it is neither.
std::string cgroup_of_spec(std::string_view cgroups_path);

}  // namespace cgwarden::discovery
