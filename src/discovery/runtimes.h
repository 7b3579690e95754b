// SPDX-License-Identifier: Apache-2.0
// What a cgroup's path says about its runtime: a table of patterns, one row a layout. Pure functions of a path.
//
//   /system.slice/docker-4f1c....scope                            docker, container 4f1c...
//   /kubepods/burstable/pod1111-.../4f1c...                       a container of a pod, runtime to be looked up
//   /lxc.payload.web/system.slice/docker-4f1c....scope            docker: the innermost counts
//   /user.slice/user-1000.slice/user@1000.service                 systemd, the manager of user 1000
//   /machine.slice/libpod-conmon-4f1c....scope                    podman, helper
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/model/container.h"

namespace cgwarden::discovery {

struct PathMatch {
  model::Role role = model::Role::container;
  std::string_view runtime;  // of the table; empty: the path does not tell, the states on disk may
  std::string id;            // valid UTF-8; of a unit its name. Hostile: may hold '/' once it is unescaped
  std::string pod_uid;
  std::string_view qos;
  bool named = false;   // the id is the name people gave
  bool certain = true;  // false: a container only if some runtime's state knows the id
};

// Nothing when no row fits.
std::optional<PathMatch> locate(std::string_view cgroup_path);

// Name of the nearest slice that the cgroup is in; empty: none.
std::string_view slice_around(std::string_view cgroup_path);
// Digits of the first user-UID.slice in the path; empty: none.
std::string_view user_of(std::string_view cgroup_path);

// Every runtime that the table names, each once.
std::vector<std::string_view> known_runtimes();

// "machine-lab\x2dweb" as "machine-lab-web". Bytes that are no escapes stay.
std::string unescape_unit(std::string_view text);

}  // namespace cgwarden::discovery
