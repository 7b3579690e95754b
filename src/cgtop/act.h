// SPDX-License-Identifier: Apache-2.0
// cgtop limit, unlimit, freeze, thaw, kill, signal, reclaim, move and undo: resolves the cgroup, executes the action
// and prints its outcome. Root executes actions directly; other users, and --socket, send them to the enforcer.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "src/cgtop/options.h"
#include "src/cgtop/source.h"
#include "src/control/protocol.h"
#include "src/control/writer.h"
#include "src/model/action.h"

namespace cgwarden::cgtop {

// Executes actions on behalf of the calling user: as root with a control::Writer of its own, otherwise through the
// socket of the enforcer. Calls block until the deadline of the action at most; all are made from one thread.
class ActionClient {
 public:
  explicit ActionClient(const Options& options) : options_(options) {}

  // Selects the route. Error: the writer cannot be opened.
  std::optional<ExitError> open();
  // Sets the actor of the action to the calling user.
  model::Outcome apply(model::Action action);
  // Undoes the action with this id; empty: the latest.
  model::Outcome undo(const std::string& id, bool dry_run);

 private:
  // Sends the request to the enforcer; `duration` is the time that the action itself may take.
  model::Outcome send_request(const control::Request& request, std::chrono::milliseconds duration);

  const Options& options_;
  std::unique_ptr<control::Writer> writer_;
  std::string socket_;
};

// Executes the action of the command line. Returns the exit status.
int run_action(const Options& options);

// The outcome as lines of text: the changes, the explanation and the command that undoes it.
std::string print_outcome(const model::Outcome& outcome, const model::Action& action);

}  // namespace cgwarden::cgtop
