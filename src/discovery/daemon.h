// SPDX-License-Identifier: Apache-2.0
// Queries a container daemon for data that is not in its state on disk, with read-only requests over its Unix socket,
// one request per container. Docker and Podman are queried through the Docker API; for containerd see containerd.h.
//
// The daemon may be hung, slow, faulty or not running. Each response has a timeout and a size limit; a round of queries
// has a timeout, too. A malformed response is counted and affects only its own container. If the daemon cannot be
// reached, the round ends. query() blocks its thread for one round at most, so it must not run on the loop thread.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/discovery/state.h"
#include "src/model/container.h"

namespace cgwarden::discovery {

class Daemon {
 public:
  struct Options {
    std::string title;   // "docker", "podman" or "containerd"
    std::string socket;  // path in the mount namespace of this process
    std::vector<std::string> labels = {};
    std::chrono::milliseconds answer_timeout{2000};  // connect, request and complete response
    std::chrono::milliseconds round_timeout{5000};
    std::size_t max_bytes = std::size_t{1} << 20U;  // size limit of a response
    std::size_t max_queries = 256;                  // containers queried per round
  };
  enum class Failure : std::uint8_t { unreachable, timeout, too_big, status, broken };
  static constexpr std::array<std::string_view, 5> kFailures = {"unreachable", "timeout", "too_big", "status",
                                                                "broken"};
  // Pairs of container id and facts. Null facts: the daemon does not know the id.
  using Results = std::vector<std::pair<std::string, model::ContainerPtr>>;
  struct Round {
    Results results;
    std::size_t queried = 0;  // number of ids processed, from the beginning of the list
    std::array<std::uint64_t, kFailures.size()> failures{};
    std::string error;  // description of the last failure, for the log
  };

  Daemon() = default;
  virtual ~Daemon() = default;
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Queries the containers with these ids. An id has 64 hexadecimal digits (is_container_id) or, for containerd, may be
  // "<namespace>/<id>"; others are skipped. One thread at a time.
  virtual Round query(const std::vector<std::string>& ids) = 0;
  // Ends the current and every later round immediately. Any thread.
  virtual void cancel() = 0;
};

// Error text of Round::error for a response that cannot be used.
inline constexpr const char* kMalformedResponse = "response is malformed or of another container";

std::unique_ptr<Daemon> make_daemon(const Daemon::Options& options);

// True if the path is absolute and fits into sockaddr_un::sun_path.
bool is_socket_path(std::string_view path);

// Parses the response of the Docker API to GET /containers/ID/json. Null: malformed, or of another container. Pure.
model::ContainerPtr parse_inspected(std::string_view text, const std::string& id, const std::string& title,
                                    const std::string& source, const LabelFilter& labels);

}  // namespace cgwarden::discovery
