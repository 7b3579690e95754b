// SPDX-License-Identifier: Apache-2.0
// Asks a runtime's daemon for what its state on disk does not tell: a question a container, over its Unix socket, of
// nothing but what is there to be read. Docker's and Podman's speak Docker's API, for containerd's see containerd.h.
//
// It may be hung, slow, lying or away. An answer has a deadline and a largest size, a round of them too; what is broken
// is counted and costs its own container only; where there is no talking to it the round ends. Blocks its thread for a
// round at most: not for the loop's.
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
    std::string title;   // "docker", "podman" or "containerd": whose containers it tells of
    std::string socket;  // as this process sees it
    std::vector<std::string> labels = {};
    std::chrono::milliseconds answer_within{2000};  // connecting, asking and the whole of the answer
    std::chrono::milliseconds round_within{5000};
    std::size_t max_bytes = std::size_t{1} << 20U;  // of an answer
    std::size_t max_asked = 256;                    // containers in a round
  };
  enum class Failure : std::uint8_t { unreachable, timeout, too_big, status, broken };
  static constexpr std::array<std::string_view, 5> kFailures = {"unreachable", "timeout", "too_big", "status",
                                                                "broken"};
  // What it said of containers, by id; null: it knows none of that id.
  using Told = std::vector<std::pair<std::string, model::ContainerPtr>>;
  struct Round {
    Told told;
    std::size_t asked = 0;  // of the ids the first so many
    std::array<std::uint64_t, kFailures.size()> failures{};
    std::string problem;  // the last failure in words, for the log
  };

  Daemon() = default;
  virtual ~Daemon() = default;
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Ids are an engine's (is_engine_id), or of containerd "<namespace>/<id>"; others are not asked for. One thread at a
  // time.
  virtual Round ask(const std::vector<std::string>& ids) = 0;
  // Ends a round at once, and every later one. From any thread.
  virtual void cancel() = 0;
};

std::unique_ptr<Daemon> make_daemon(const Daemon::Options& options);

// The path fits into a socket's address.
bool is_socket_path(std::string_view path);

// A daemon's answer by Docker's API about one container as facts; nothing when it is none or of another container.
// Pure.
model::ContainerPtr parse_inspected(std::string_view text, const std::string& id, const std::string& title,
                                    const std::string& source, const LabelFilter& labels);

}  // namespace cgwarden::discovery
