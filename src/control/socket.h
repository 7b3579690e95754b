// SPDX-License-Identifier: Apache-2.0
// The enforcer's Unix socket, for users who act without being root. The kernel reports the caller's identity once per
// connection (SO_PEERCRED, SO_PEERGROUPS); check_permissions() decides what the caller may do. Every user may connect,
// because any user can own a delegated cgroup, so the number of connections, in total and per user, and their duration
// are bounded.
//
// Threads: the server runs on the loop's thread; the client blocks, with a deadline. Errors: another enforcer uses the
// path, or the socket cannot be created.
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

inline constexpr const char* kSocketPath = "/run/cgwarden-control/socket";
inline constexpr const char* kSocketGroup = "cgwarden";

class SocketServer {
 public:
  struct Options {
    std::string path = kSocketPath;
    std::string admin_group = kSocketGroup;  // its members may act on all cgroups; may be missing
    std::string state_directory;             // of the undo log, to look up the owner of an entry
    std::size_t max_connections = 64;
    std::size_t max_connections_per_user = 8;
    std::chrono::seconds timeout{30};  // for receiving a request, and for sending the response
  };
  using ReplyCallback = std::function<void(model::Outcome)>;
  // Called on the loop's thread with permitted requests; each calls its callback there, once.
  struct ActionHandlers {
    std::function<void(model::Action, ReplyCallback)> apply;
    std::function<void(std::string id, model::Actor, bool dry_run, ReplyCallback)> undo;
  };

  static base::Result<std::unique_ptr<SocketServer>> start(boost::asio::io_context& loop,
                                                           const cgroup::HostHierarchies& host, Options options,
                                                           ActionHandlers handlers);
  // Closes all connections and removes the socket.
  ~SocketServer();
  SocketServer(const SocketServer&) = delete;
  SocketServer& operator=(const SocketServer&) = delete;

 private:
  struct Inner;
  explicit SocketServer(std::shared_ptr<Inner> inner) : inner_(std::move(inner)) {}
  std::shared_ptr<Inner> inner_;
};

// Error: the enforcer cannot be reached or does not respond in time.
base::Result<model::Outcome> query_enforcer(const std::string& path, const Request& request,
                                            std::chrono::milliseconds wait);

}  // namespace cgwarden::control
