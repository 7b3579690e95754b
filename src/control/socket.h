// SPDX-License-Identifier: Apache-2.0
// The enforcer's Unix socket: who may act without being root asks here. Who that is, the kernel says once per
// connection (SO_PEERCRED, SO_PEERGROUPS); what they may do is rights_of()'s. Anybody may connect, as the owner of a
// delegated cgroup is nobody in particular, so connections, their length and their number for one user are bounded.
//
// Threads: the server lives on the loop's; the client blocks, with a deadline. Errors: the path is taken by another
// enforcer, or cannot be made.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "src/base/result.h"
#include "src/cgroup/hierarchy.h"
#include "src/control/protocol.h"

namespace cgwarden::control {

inline constexpr const char* kSocket = "/run/cgwarden-control/socket";
inline constexpr const char* kSocketGroup = "cgwarden";

class SocketServer {
 public:
  struct Options {
    std::string path = kSocket;
    std::string admin_group = kSocketGroup;  // its members may act on all cgroups; need not exist
    std::string state_directory;             // whose undo is whose
    std::size_t max_connections = 64;
    std::size_t max_of_one_user = 8;
    std::chrono::seconds patience{30};  // for a question, and for taking the answer
  };
  using Answer = std::function<void(model::Outcome)>;
  // Both are called on the loop, with what was allowed, and answer there, once.
  struct ActionHandlers {
    std::function<void(model::Action, Answer)> apply;
    std::function<void(std::string id, model::Actor, bool dry_run, Answer)> undo;
  };

  static base::Result<std::unique_ptr<SocketServer>> start(boost::asio::io_context& loop,
                                                           const cgroup::HostHierarchies& host, Options options,
                                                           ActionHandlers hands);
  // Forgets who is connected, and removes the socket.
  ~SocketServer();
  SocketServer(const SocketServer&) = delete;
  SocketServer& operator=(const SocketServer&) = delete;

 private:
  struct Inner;
  explicit SocketServer(std::shared_ptr<Inner> inner) : inner_(std::move(inner)) {}
  std::shared_ptr<Inner> inner_;
};

// Error: nobody is there, or does not answer in time.
base::Result<model::Outcome> ask_enforcer(const std::string& path, const Request& request,
                                          std::chrono::milliseconds wait);

}  // namespace cgwarden::control
