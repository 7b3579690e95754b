// SPDX-License-Identifier: Apache-2.0
// Connects the parts of the agent: sampler, server, signals, watchdog. Everything but sampling runs on the loop thread.
#pragma once

#include <memory>

#include "src/agent/options.h"

namespace cgwarden::agent {

// Runs the command in `options`. Returns the exit code.
int run(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue);

}  // namespace cgwarden::agent
