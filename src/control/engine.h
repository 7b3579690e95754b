// SPDX-License-Identifier: Apache-2.0
// Container engines that keep an idea of their own of what a container may use and whether it is paused: Docker and
// Podman, by their HTTP API. Where nobody tells them they go on showing the old limits, write them again with their
// next update, and take a container that is frozen for one that is ill.
//
// The kernel comes first: limits are written to the cgroup's files, and the engine is told what stands there now. So a
// limit never waits for an engine that hangs, and one that refuses only keeps its old idea. A freeze is the other way
// round, as an engine does not pause what is frozen: it has a moment to do it, then the kernel does.
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

// Where the engines listen. What is no path of a socket, such as "none": not told of anything.
struct EngineSockets {
  std::string docker = "/run/docker.sock";
  std::string podman = "/run/podman/podman.sock";
};

// What the kernel has, of what engines know. Absent: not told of. Unlimited is unlimited.
struct EngineLimits {
  model::Value memory;      // bytes
  model::Value swap;        // bytes, on top of memory
  model::Value cpu_quota;   // microseconds in a period
  model::Value cpu_period;  // microseconds
  model::Value cpu_shares;  // of v1; for v2 the number that becomes its cpu.weight
  model::Value pids;
  std::string cpus;  // "0-3"; empty: not told of
  std::string mems;
};

struct EngineContainer {
  std::string_view engine;  // "docker", "podman"
  std::string id;
  std::string socket;
  bool paused = false;
  bool by_cores = false;  // Docker: of CPU it takes --cpus only, or has none yet
};

// The runtime whose container has this cgroup, by its path; empty: no container's. Of cgroups within a container its
// runtime knows nothing.
std::string_view runtime_of(std::string_view path);

// Nothing: no engine's, or of one that is not here or has no such container. Error: it does not answer.
base::Result<std::optional<EngineContainer>> container_of(const EngineSockets& sockets, std::string_view path);

// Error: what the engine says, or that it does not.
base::Result<void> tell_limits(const EngineContainer& container, const EngineLimits& limits);
base::Result<void> pause(const EngineContainer& container, std::chrono::milliseconds wait);
base::Result<void> unpause(const EngineContainer& container);

// The same for a process that may not allocate: what is sent, and where to.
std::string unpause_request(const EngineContainer& container);
std::optional<sockaddr_un> address_of(const std::string& socket);

// Bodies of the requests; empty: of these limits there is nothing that the engine has a word for. Pure.
std::string docker_update(const EngineLimits& limits, bool by_cores);
std::string podman_update(const EngineLimits& limits);
// What ContainerInspect says, as far as it is needed; nothing when it is none or of another container. Pure.
std::optional<EngineContainer> parse_engine_container(std::string_view text, const std::string& id);

}  // namespace cgwarden::control
