// SPDX-License-Identifier: Apache-2.0
// Readers of the runtimes' state on disk: one row per runtime, one source file per family of runtimes. A reader takes
// the id from the path of a cgroup and adds the facts that the state has, or returns that there is none. Loop thread.
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

// State directories of the runtimes, as host paths. All are searched, in this order. A trailing "/*" stands for every
// subdirectory: container managers have one per namespace.
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

// One command-line option per row: --discovery.NAME.
struct RootRow {
  std::string_view name;
  std::vector<std::string> Roots::*roots;
  std::string_view help;
};
std::span<const RootRow> root_rows();

// Allow-list of labels and annotations. A pattern is a name or a prefix followed by '*'.
class LabelFilter {
 public:
  LabelFilter() = default;
  explicit LabelFilter(std::vector<std::string> patterns) : patterns_(std::move(patterns)) {}
  [[nodiscard]] bool allows(std::string_view name) const;

 private:
  std::vector<std::string> patterns_;
};

// Facts about a container, collected from several sources. The first value of a fact wins; its source is recorded.
class ContainerFacts {
 public:
  explicit ContainerFacts(const LabelFilter& labels) : labels_(labels) {}

  // Sets the source of the facts that are set next.
  void from(const std::string& root, std::string_view file);
  void from(std::string source) { source_ = std::move(source); }

  // Set a fact unless it is set already. Empty and overlong texts are ignored.
  void set(model::Container::Text model::Container::*fact, std::optional<std::string> value);
  void set(model::Container::Number model::Container::*fact, std::optional<std::int64_t> value);
  void set(model::Container::Time model::Container::*fact, std::optional<base::Wall> value);
  void drop_pid();
  void set_role(model::Role role) { facts_.role = role; }
  // Sets the layers and, if all sizes are known, their sum as image_bytes. Null is ignored.
  void set_layers(std::shared_ptr<const model::Layers> layers);
  // Adds a label or an annotation. Well-known names set facts; the label itself is kept if the filter allows it.
  void label(const std::string& name, const std::string& value);
  void labels(const nlohmann::json* object);

  // Adds the facts and labels of `other` that are not set yet.
  void fill(const model::Container& other);

  [[nodiscard]] const model::Container& facts() const { return facts_; }
  model::Container take();

  static constexpr std::size_t kMaxLength = 4096;
  static constexpr std::size_t kMaxLabels = 128;
  static constexpr std::size_t kMaxLayers =
      256;  // an image with more layers is unknown, because a partial list would be wrong

 private:
  const LabelFilter& labels_;
  std::string source_;
  model::Container facts_;
};

// Index of a containers.json, which many containers share. Parsed once per version of the file.
struct PodmanIndex {
  struct Entry {
    std::string name;
    std::string image;
    std::string image_id;
    std::string created;
    std::string layer;  // writable layer
  };
  std::uint64_t version = 0;
  std::unordered_map<std::string, Entry> by_id;
};

// Index of the layers of images and containers in the same storage.
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
  // By path of the storage and id of the topmost layer. Layers are immutable.
  std::unordered_map<std::string, std::shared_ptr<const model::Layers>> layers = {};
};
inline constexpr std::size_t kMaxImages = 1024;
void remember_layers(StateContext& context, const std::string& key, const std::shared_ptr<const model::Layers>& layers);

struct StateRow {
  std::string_view runtime;  // as in the table of paths
  std::string_view title;    // value of Container::runtime
  // Ids may be generated by a container manager. Such ids are globally unique, so any runtime's state can be searched.
  bool unique_ids = false;
  FileStatus (*read)(StateContext& context, const std::string& id, ContainerFacts& out);
};
std::span<const StateRow> state_rows();
// Roots with only the given runtime's state at `root`.
Roots roots_of(std::string_view title, const std::string& root);

// Maps a cgroup whose path does not identify its container to the container whose state file has that path.
struct Claim {
  std::string cgroup;
  std::string_view title;
  std::string id;    // "<namespace>/<id>" for containerd
  std::string root;  // state directory with the file
};
// Claims of containers of containerd, runC, crun and runsc whose ids are names. At most kMaxClaims.
inline constexpr std::size_t kMaxClaims = 4096;
class Claims {
 public:
  // Lists all state files and reads those that are new or have changed.
  void refresh(StateContext& context);
  [[nodiscard]] const Claim* find(const std::string& cgroup) const;

 private:
  struct CachedClaim {
    std::uint64_t version = 0;
    Claim claim;
  };
  std::unordered_map<std::string, CachedClaim> cached_;  // by file
  std::unordered_map<std::string, Claim> by_cgroup_;
};

// The readers, by family of runtimes.
FileStatus read_docker(StateContext& context, const std::string& id, ContainerFacts& out);
FileStatus read_containerd(StateContext& context, const std::string& id, ContainerFacts& out);
FileStatus read_podman(StateContext& context, const std::string& id, ContainerFacts& out);
FileStatus read_runc(StateContext& context, const std::string& id, ContainerFacts& out);
FileStatus read_crun(StateContext& context, const std::string& id, ContainerFacts& out);
FileStatus read_runsc(StateContext& context, const std::string& id, ContainerFacts& out);
FileStatus read_lxc(StateContext& context, const std::string& id, ContainerFacts& out);
FileStatus read_lxd(StateContext& context, const std::string& id, ContainerFacts& out);
FileStatus read_machine(StateContext& context, const std::string& id, ContainerFacts& out);
FileStatus read_libvirt(StateContext& context, const std::string& id, ContainerFacts& out);

// Parsers of one file each. Pure. False: the file is of another container or version.
bool parse_docker_config(const nlohmann::json& config, const std::string& id, ContainerFacts& out);
// Parses the response to GET /containers/ID/json of the Docker API, which Podman implements as well. The pid is
// ignored: pids come from state on disk and are verified with the kernel.
bool parse_inspect(const nlohmann::json& answer, const std::string& id, ContainerFacts& out);
bool parse_runc_state(const nlohmann::json& state, const std::string& id, ContainerFacts& out);
void parse_runsc_state(const nlohmann::json& state, ContainerFacts& out);
// Adds the entries of a containers.json to the index. False: not a list.
bool index_podman(const nlohmann::json& list, PodmanIndex& index);
// Adds the entries of a layers.json to the index. False: not a list.
bool index_layers(const nlohmann::json& list, LayerIndex& index);
// The layers below `layer`, lowest first. Null: a layer is missing, or there are more than kMaxLayers.
std::shared_ptr<const model::Layers> layers_below(const LayerIndex& index, const std::string& layer);
void parse_podman_spec(const nlohmann::json& spec, ContainerFacts& out);
void parse_crio_state(const nlohmann::json& state, ContainerFacts& out);
// True for the name of Podman's infra container, which holds the namespaces of a pod: "a6dd3b264c35-infra".
bool is_podman_infra(std::string_view name);
void parse_lxd_backup(std::string_view backup, ContainerFacts& out);
void parse_lxc_config(std::string_view config, ContainerFacts& out);
bool parse_libvirt(std::string_view xml, const std::string& id, ContainerFacts& out);
// systemd-machined may leave stale files; an entry is valid only while its leader PID is alive.
struct MachineState {
  std::int64_t leader = 0;
  std::string unit;
  std::optional<base::Wall> started;
};
std::optional<MachineState> parse_machine(std::string_view text, const std::string& id);
// Path of the cgroup in a state file of runC, crun or runsc or in a bundle of containerd; empty: not in the file.
std::string claimed_cgroup(const nlohmann::json& state);

// Helpers for these files.
// True for 64 lower-case hexadecimal digits: an id generated by a container manager, globally unique.
bool is_container_id(std::string_view id);
// True for "sha256:" followed by 64 hexadecimal digits.
bool is_digest(std::string_view text);
// The value at the path `keys`, or null.
const nlohmann::json* at(const nlohmann::json& json, std::initializer_list<const char*> keys);
std::optional<std::string> text_at(const nlohmann::json& json, std::initializer_list<const char*> keys);
std::optional<std::int64_t> number_at(const nlohmann::json& json, std::initializer_list<const char*> keys);
bool true_at(const nlohmann::json& json, std::initializer_list<const char*> keys);
// Parses RFC 3339. nullopt before 1970 (Go's zero time is in year 1) and after 2200.
std::optional<base::Wall> parse_time(std::string_view text);
std::optional<base::Wall> time_at(const nlohmann::json& json, std::initializer_list<const char*> keys);
// Converts linux.cgroupsPath of an OCI spec to the path of the cgroup. Accepts "/a/b" and, for the systemd driver,
// "a.slice:prefix:name"; empty: neither.
std::string cgroup_of_spec(std::string_view cgroups_path);

}  // namespace cgwarden::discovery
