// SPDX-License-Identifier: Apache-2.0
// Wiring of the agent: sampler, server, signals, watchdog. One thread, the loop, does all but sampling.
#pragma once

#include <memory>

#include "src/agent/options.h"

namespace cgwarden::agent {

// Does what the options ask and returns the exit code.
int run(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue);

}  // namespace cgwarden::agent
