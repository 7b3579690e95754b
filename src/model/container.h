// SPDX-License-Identifier: Apache-2.0
// What is known of the containers, pods, machines and units behind the host's cgroups. Made by discovery on the loop's
// thread, immutable once handed over, then read by anybody through shared_ptr<const Containers>.
//
// What nobody told is std::nullopt, never an empty text or a zero. Everything here was written by somebody else: texts
// are valid UTF-8 and bounded, and nothing more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/base/clock.h"
#include "src/base/text.h"

namespace cgwarden::model {

// What a cgroup is to its runtime.
enum class Role : std::uint8_t {
  container,
  sandbox,  // the pause container of a pod
  pod,      // the cgroup around a pod's containers
  machine,  // a virtual machine
  job,      // of a batch system
  helper,   // conmon, lxc.monitor, supervisor: serves a container, is none
  payload,  // a cgroup a runtime makes within the container's own: "payload", "container"
  service,
  user_manager,  // the service that is a user's own systemd
  slice,
  scope,
  session,
  unit,  // another kind of systemd's: mount, socket, swap
};

constexpr std::string_view name(Role role) {
  constexpr std::string_view names[] = {"container", "sandbox",      "pod",   "machine", "job",     "helper", "payload",
                                        "service",   "user_manager", "slice", "scope",   "session", "unit"};
  return names[static_cast<std::size_t>(role)];
}

// Those that are shown by name. The others are told apart from them.
constexpr bool is_workload(Role role) { return role <= Role::job; }

// One of the layers that an image is put together from. Its writer and reader differ in what they count: Docker sums up
// the files, containers-storage takes the length of the archive.
struct Layer {
  std::string id;                     // digest of what is in it, "sha256:..."
  std::optional<std::int64_t> bytes;  // unpacked; other containers may share them
  friend bool operator==(const Layer&, const Layer&) = default;
};
using Layers = std::vector<Layer>;  // the undermost first

struct Container {
  using Text = std::optional<std::string>;
  using Number = std::optional<std::int64_t>;
  using Time = std::optional<base::Wall>;
  // Which fact, by its name below, and who told: "path", or the file.
  struct Origin {
    std::string_view fact;
    std::string source;
  };

  Role role = Role::container;
  Text runtime;
  Text id;
  Text name;
  Text image;
  Text image_digest;
  Text state;  // "created", "running", "paused", "exited"
  Text health;
  Text pod;
  Text pod_namespace;
  Text pod_uid;
  Text pod_container;  // the container's name within its pod
  Text qos;            // "guaranteed", "burstable", "besteffort"
  Text service;        // Swarm
  Text task;
  Text node;
  Text project;  // Compose
  Text project_service;
  Text unit;            // systemd's, unescaped nowhere: as systemctl wants it
  Text slice;           // the slice around a unit
  Text uid;             // of the user whose slice the unit is in
  Text parent;          // id of the container around this one
  Text writable_layer;  // path of the directory that takes what the container writes, as the host has it
  Number pid;
  Number exit_code;
  Number restart_count;
  Number image_bytes;  // of all layers of its image, unpacked
  Time created;
  Time started;
  Time finished;
  std::vector<std::pair<std::string, std::string>> labels;  // those allowed, by name
  std::shared_ptr<const Layers> image_layers;               // null: not known; one for all containers of an image
  std::vector<Origin> origins;
};

// The facts and their names, for those who go through all of them.
struct TextFact {
  std::string_view name;
  Container::Text Container::*member;
};
inline constexpr TextFact kTextFacts[] = {
    {"runtime", &Container::runtime},
    {"id", &Container::id},
    {"name", &Container::name},
    {"image", &Container::image},
    {"image_digest", &Container::image_digest},
    {"state", &Container::state},
    {"health", &Container::health},
    {"pod", &Container::pod},
    {"namespace", &Container::pod_namespace},
    {"pod_uid", &Container::pod_uid},
    {"pod_container", &Container::pod_container},
    {"qos", &Container::qos},
    {"service", &Container::service},
    {"task", &Container::task},
    {"node", &Container::node},
    {"project", &Container::project},
    {"project_service", &Container::project_service},
    {"unit", &Container::unit},
    {"slice", &Container::slice},
    {"uid", &Container::uid},
    {"parent", &Container::parent},
    {"writable_layer", &Container::writable_layer},
};

struct NumberFact {
  std::string_view name;
  Container::Number Container::*member;
};
inline constexpr NumberFact kNumberFacts[] = {
    {"pid", &Container::pid},
    {"exit_code", &Container::exit_code},
    {"restart_count", &Container::restart_count},
    {"image_bytes", &Container::image_bytes},
};

struct TimeFact {
  std::string_view name;
  Container::Time Container::*member;
};
inline constexpr TimeFact kTimeFacts[] = {
    {"created", &Container::created},
    {"started", &Container::started},
    {"finished", &Container::finished},
};

using ContainerPtr = std::shared_ptr<const Container>;

// One that has ended; shown for a while longer.
struct EndedContainer {
  std::uint64_t cgroup_id = 0;
  std::string path;
  base::Wall seen_gone;
  ContainerPtr container;
};

// Digits of the user whose slice systemd-logind made around the cgroup: "1000" of
// "/user.slice/user-1000.slice/x.scope". The slices of a container's own systemd are further down, and their users not
// of this host. Empty: none.
constexpr std::string_view host_user_of(std::string_view cgroup_path) {
  constexpr std::string_view before = "/user.slice/user-";
  constexpr std::string_view after = ".slice";
  if (!cgroup_path.starts_with(before)) return {};
  cgroup_path.remove_prefix(before.size());
  auto user = base::take_until(cgroup_path, '/');
  if (!user.ends_with(after)) return {};
  user.remove_suffix(after.size());
  return user.find_first_not_of("0123456789") == std::string_view::npos ? user : std::string_view();
}

// Ids are unique within one hierarchy only; together with the path they are on the host.
constexpr std::uint64_t cgroup_key(std::uint64_t id, std::string_view path) {
  std::uint64_t hash = 1469598103934665603U ^ id;  // FNV-1a
  for (const char c : path) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return hash;
}

struct Containers {
  std::uint64_t generation = 0;  // another table has another number
  std::unordered_map<std::uint64_t, ContainerPtr>
      by_cgroup;                      // by group_key(); cgroups nothing is known of are not here
  std::vector<EndedContainer> ended;  // oldest first

  [[nodiscard]] const Container* find(std::uint64_t id, std::string_view path) const {
    const auto at = by_cgroup.find(cgroup_key(id, path));
    return at == by_cgroup.end() ? nullptr : at->second.get();
  }
};

}  // namespace cgwarden::model
