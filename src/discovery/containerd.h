// SPDX-License-Identifier: Apache-2.0
// containerd, for what only its database tells: images, labels of users and pods, and how a task ended. Asked by gRPC,
// a container at a time (Containers/Get, Tasks/Get), and listened to (Events/Subscribe), which names a container before
// its cgroup is seen and tells exit codes that nothing keeps.
//
// A container is "<namespace>/<id>" or, its id being an engine's, that id alone: those are unique in the world. What is
// Docker's there, Docker knows better.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/clock.h"
#include "src/discovery/daemon.h"
#include "src/discovery/grpc.h"
#include "src/discovery/state.h"
#include "src/model/container.h"

namespace cgwarden::discovery {

std::unique_ptr<Daemon> make_containerd(const Daemon::Options& options);

// Something happened to a container.
struct ContainerdEvent {
  std::string key;
  bool ended = false;  // else it is another one now: made, changed, started
  std::int64_t exit_code = 0;
  std::optional<base::Wall> finished;
};

class ContainerdEvents {
 public:
  struct End {
    std::optional<Daemon::Failure> failure;  // nothing: cancelled
    std::string why;
  };

  explicit ContainerdEvents(Daemon::Options options);

  // Blocks until there is nothing more to hear. `begun`: from now on nothing is missed.
  End listen(const std::function<void()>& begun, const std::function<void(ContainerdEvent)>& heard);
  // Ends that at once, and every later one. From any thread.
  void cancel() { client_.cancel(); }

 private:
  Daemon::Options options_;
  GrpcClient client_;
};

// May stand for a namespace or a container in what containerd is asked.
bool is_containerd_name(std::string_view text);

// Its answers, pure.
struct ContainerdFacts {
  bool broken = false;            // or of another container
  model::ContainerPtr container;  // null: it is not containerd's own
};
// `task` is empty where there is none.
ContainerdFacts parse_containerd(std::string_view container, std::string_view task, const std::string& key,
                                 const std::string& source, const LabelFilter& labels);
std::vector<std::string> parse_containerd_namespaces(std::string_view answer);
// Nothing: of no container that is asked for.
std::optional<ContainerdEvent> parse_containerd_event(std::string_view envelope);

}  // namespace cgwarden::discovery
