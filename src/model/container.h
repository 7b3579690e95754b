// SPDX-License-Identifier: Apache-2.0
// Metadata of the containers, pods, machines and units that the cgroups of the host belong to. Created by discovery on
// the loop's thread; immutable afterwards and read on any thread through shared_ptr<const Containers>.
//
// An unknown value is std::nullopt, never an empty text or zero. All texts come from outside and are untrusted: they
// are valid UTF-8 of limited size, nothing more is guaranteed.
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

// The role of a cgroup for its container manager or for systemd.
enum class Role : std::uint8_t {
  container,
  sandbox,  // the pause container of a pod
  pod,      // the parent cgroup of the containers of a pod
  machine,  // a virtual machine
  job,      // of a batch system
  helper,   // serves a container: conmon, lxc.monitor, supervisor
  payload,  // a child cgroup that the runtime creates in the cgroup of the container: "payload", "container"
  service,
  user_manager,  // the systemd instance of a user (user@UID.service)
  slice,
  scope,
  session,
  unit,  // another type of systemd unit: mount, socket, swap
};

constexpr std::string_view name(Role role) {
  constexpr std::string_view names[] = {"container", "sandbox",      "pod",   "machine", "job",     "helper", "payload",
                                        "service",   "user_manager", "slice", "scope",   "session", "unit"};
  return names[static_cast<std::size_t>(role)];
}

// Roles that are exported as containers, with name and runtime labels.
constexpr bool is_workload(Role role) { return role <= Role::job; }

// One layer of an image. Sizes are not comparable between container managers: Docker sums up the sizes of the files,
// containers-storage uses the length of the archive.
struct Layer {
  std::string id;                     // digest of the content, "sha256:..."
  std::optional<std::int64_t> bytes;  // unpacked; may be shared with other images
  friend bool operator==(const Layer&, const Layer&) = default;
};
using Layers = std::vector<Layer>;  // base layer first

struct Container {
  using Text = std::optional<std::string>;
  using Number = std::optional<std::int64_t>;
  using Time = std::optional<base::Wall>;
  // Source of a fact: the name of the fact as in kTextFacts, and "path" (of the cgroup), a file or a daemon.
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
  Text service;        // Docker Swarm
  Text task;
  Text node;
  Text project;  // Docker Compose
  Text project_service;
  Text unit;            // systemd unit name, still escaped, as systemctl accepts it
  Text slice;           // the slice of the unit
  Text uid;             // UID of the user slice that contains the unit
  Text parent;          // id of the container that contains this one
  Text writable_layer;  // host path of the directory that holds files written by the container
  Number pid;
  Number exit_code;
  Number restart_count;
  Number image_bytes;  // of all image layers, unpacked
  Time created;
  Time started;
  Time finished;
  std::vector<std::pair<std::string, std::string>> labels;  // labels on the allow-list, sorted by name
  std::shared_ptr<const Layers> image_layers;               // null: unknown; shared by all containers of an image
  std::vector<Origin> origins;
};

// All facts with their names, for iteration.
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

// An exited container; kept for a limited time.
struct ExitedContainer {
  std::uint64_t cgroup_id = 0;
  std::string path;
  base::Wall seen_gone;
  ContainerPtr container;
};

// UID (digits) of the host user whose systemd-logind slice contains the cgroup: "1000" for
// "/user.slice/user-1000.slice/x.scope". Only a slice at the top of the path counts: slices of a systemd inside a
// container are further down, and their users are not users of the host. Empty: no user slice.
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

// Hash of id and path. An id is unique only within one hierarchy; id and path together are unique on the host.
constexpr std::uint64_t cgroup_key(std::uint64_t id, std::string_view path) {
  std::uint64_t hash = 1469598103934665603U ^ id;  // FNV-1a
  for (const char c : path) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return hash;
}

struct Containers {
  std::uint64_t generation = 0;                               // differs between tables
  std::unordered_map<std::uint64_t, ContainerPtr> by_cgroup;  // by cgroup_key(); only cgroups with known facts
  std::vector<ExitedContainer> exited;                        // oldest first

  // nullptr: nothing is known about the cgroup.
  [[nodiscard]] const Container* find(std::uint64_t id, std::string_view path) const {
    const auto at = by_cgroup.find(cgroup_key(id, path));
    return at == by_cgroup.end() ? nullptr : at->second.get();
  }
};

}  // namespace cgwarden::model
