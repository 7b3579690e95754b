// SPDX-License-Identifier: Apache-2.0
// Client of containerd for data that only its database holds: images, labels of users and pods, and exit statuses.
// It queries one container at a time over gRPC (Containers/Get, Tasks/Get) and subscribes to events
// (Events/Subscribe). An event identifies a container before its cgroup is seen and carries the exit code, which
// containerd does not store.
//
// The key of a container is "<namespace>/<id>", or the id alone if it has 64 hexadecimal digits, because such ids are
// globally unique. Containers of dockerd (namespace "moby") are ignored: dockerd has more data about them.
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

// An event of one container.
struct ContainerdEvent {
  std::string key;
  bool exited = false;  // false: created, updated, started, paused or resumed
  std::int64_t exit_code = 0;
  std::optional<base::Wall> finished;
};

class ContainerdEvents {
 public:
  struct End {
    std::optional<Daemon::Failure> failure;  // nullopt: canceled
    std::string error;
  };

  explicit ContainerdEvents(Daemon::Options options);

  // Blocks until the stream ends. Calls `on_subscribed` once the server has accepted the subscription: no event after
  // this is missed. Calls `on_event` for each event. Both run on the calling thread.
  End listen(const std::function<void()>& on_subscribed, const std::function<void(ContainerdEvent)>& on_event);
  // Ends the current and every later listen() immediately. Any thread.
  void cancel() { client_.cancel(); }

 private:
  Daemon::Options options_;
  GrpcClient client_;
};

// True if containerd accepts `text` as the name of a namespace or a container.
bool is_containerd_name(std::string_view text);

// Parsers of containerd's messages. Pure.
struct ContainerdFacts {
  bool broken = false;            // malformed, or of another container
  model::ContainerPtr container;  // null: the container belongs to dockerd
};
// `container` and `task` are the responses of Containers/Get and Tasks/Get; `task` is empty if the container has none.
ContainerdFacts parse_containerd(std::string_view container, std::string_view task, const std::string& key,
                                 const std::string& source, const LabelFilter& labels);
std::vector<std::string> parse_containerd_namespaces(std::string_view answer);
// nullopt: malformed, or not an event of a container that the resolver queries (dockerd's, or an additional process).
std::optional<ContainerdEvent> parse_containerd_event(std::string_view envelope);

}  // namespace cgwarden::discovery
