// SPDX-License-Identifier: Apache-2.0
// HTTP APIs of container managers that keep their own record of a container's limits and pause state: Docker and
// Podman. If they are not notified, they report the old limits, write them again with their next update, and consider a
// frozen container unhealthy.
//
// Limits are written to the cgroup files first, and the runtime is then updated with the values read back. A hanging
// runtime therefore never delays a limit, and a failing one only keeps reporting the old limit. A freeze goes the other
// way, because a runtime does not pause a frozen container: it has a short timeout to pause it, then the kernel
// interface is used.
//
// Sources: Docker Engine API 1.41 (ContainerInspect, ContainerUpdate, ContainerPause, ContainerUnpause); Podman 4.3,
// libpod's update, which takes LinuxResources of the OCI runtime specification.
// Thread: the writer's. Each call has a deadline.
#pragma once

#include <sys/un.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/model/value.h"

namespace cgwarden::control {

// Sockets of the daemons. A value that is not the path of a socket, such as "none", disables notification.
struct RuntimeSockets {
  std::string docker = "/run/docker.sock";
  std::string podman = "/run/podman/podman.sock";
};

// Limits in the kernel that runtimes support. Absent: not sent. Unlimited is sent as unlimited.
struct RuntimeLimits {
  model::Value memory;      // bytes
  model::Value swap;        // bytes, on top of memory
  model::Value cpu_quota;   // microseconds per period
  model::Value cpu_period;  // microseconds
  model::Value cpu_shares;  // of v1; on v2 the number that converts to its cpu.weight
  model::Value pids;
  std::string cpus;  // "0-3"; empty: not sent
  std::string mems;
};

struct RuntimeContainer {
  std::string_view runtime;  // "docker", "podman"
  std::string id;
  std::string socket;
  bool paused = false;
  bool by_cores = false;  // Docker: the CPU limit was set by --cpus, or is unset
};

// The runtime of the container with this cgroup, derived from the path; empty if it is not the cgroup of a container.
// Cgroups inside a container are unknown to its runtime.
std::string_view runtime_of(std::string_view path);

// nullopt: not a container's cgroup, the daemon is not running, or it has no such container. Error: the daemon failed
// to respond.
base::Result<std::optional<RuntimeContainer>> find_runtime_container(const RuntimeSockets& sockets,
                                                                     std::string_view path);

// Error: the daemon's error message, or that it did not respond.
base::Result<void> update_limits(const RuntimeContainer& container, const RuntimeLimits& limits);
base::Result<void> pause(const RuntimeContainer& container, std::chrono::milliseconds wait);
base::Result<void> unpause(const RuntimeContainer& container);

// Request and address of unpause(), for a process that must not allocate.
std::string unpause_request(const RuntimeContainer& container);
std::optional<sockaddr_un> address_of(const std::string& socket);

// Bodies of the requests; empty if the API supports none of these limits. Pure.
std::string docker_update(const RuntimeLimits& limits, bool by_cores);
std::string podman_update(const RuntimeLimits& limits);
// Parses the response of ContainerInspect; nullopt if it is invalid or of another container. Pure.
std::optional<RuntimeContainer> parse_runtime_container(std::string_view text, const std::string& id);

}  // namespace cgwarden::control
