// SPDX-License-Identifier: Apache-2.0
// Derives runtime, role and id from the path of a cgroup. The table has one pattern per layout. Pure functions.
//
//   /system.slice/docker-4f1c....scope                            docker, container 4f1c...
//   /kubepods/burstable/pod1111-.../4f1c...                       container of a pod, runtime unknown
//   /lxc.payload.web/system.slice/docker-4f1c....scope            docker: the innermost match wins
//   /user.slice/user-1000.slice/user@1000.service                 systemd, service manager of user 1000
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
  std::string_view runtime;  // empty: not evident from the path, may be known from state on disk
  std::string id;            // valid UTF-8; for a unit its name. Untrusted: may contain '/' after unescaping
  std::string pod_uid;
  std::string_view qos;
  bool named = false;   // the id is also the name
  bool certain = true;  // false: a container only if the state of a runtime contains the id
};

// nullopt if no row of the table matches.
std::optional<PathMatch> locate(std::string_view cgroup_path);

// Name of the innermost slice that contains the cgroup; empty: none.
std::string_view enclosing_slice(std::string_view cgroup_path);
// UID of the first user-UID.slice in the path, as text; empty: none.
std::string_view user_of(std::string_view cgroup_path);

// All runtimes in the table, without duplicates.
std::vector<std::string_view> known_runtimes();

// Unescapes a unit name (systemd.unit(5)): "machine-lab\x2dweb" becomes "machine-lab-web". Invalid escapes are kept.
std::string unescape_unit(std::string_view text);

}  // namespace cgwarden::discovery
