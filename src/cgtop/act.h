// SPDX-License-Identifier: Apache-2.0
// cgtop limit, unlimit, freeze, thaw, kill, signal, reclaim, move, undo: finds the group, shows the plan, has it done
// and says what came of it. As root directly; otherwise, or with --socket, by the enforcer.
#pragma once

#include <string>

#include "src/cgtop/options.h"
#include "src/model/action.h"

namespace cgwarden::cgtop {

// The exit code.
int run_action(const Options& options);

// What came of it, for people: the changes, the text, how to undo. Several lines.
std::string print_outcome(const model::Outcome& outcome, const model::Action& action);

}  // namespace cgwarden::cgtop
