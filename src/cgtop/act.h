// SPDX-License-Identifier: Apache-2.0
// cgtop limit, unlimit, freeze, thaw, kill, signal, reclaim, move, undo: finds the cgroup, shows the plan, has it done
// and says what came of it. As root directly; otherwise, or with --socket, by the enforcer.
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

// Has actions done in the name of whoever runs this: as root here, otherwise by the enforcer. It blocks, within the
// deadlines of the action; all calls come from one thread.
class ActionClient {
 public:
  explicit ActionClient(const Options& options) : options_(options) {}

  std::optional<ExitError> open();
  model::Outcome apply(model::Action action);
  // With this id; empty: the latest.
  model::Outcome undo(const std::string& id, bool dry_run);

 private:
  model::Outcome ask(const control::Request& request, std::chrono::milliseconds time);

  const Options& options_;
  std::unique_ptr<control::Writer> writer_;
  std::string socket_;
};

// The exit code.
int run_action(const Options& options);

// What came of it, for people: the changes, the text, how to undo. Several lines.
std::string print_outcome(const model::Outcome& outcome, const model::Action& action);

}  // namespace cgwarden::cgtop
