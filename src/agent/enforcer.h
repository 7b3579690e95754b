// SPDX-License-Identifier: Apache-2.0
// `cgwarden enforce`: takes samples at an interval and on kernel notifications, evaluates the policy, and passes the
// actions to the writer thread. Runs on the loop thread; the sampler and the writer have their own threads.
#pragma once

#include <memory>

#include "src/agent/options.h"
#include "src/model/catalogue.h"

namespace cgwarden::agent {

// Runs until SIGTERM or SIGINT, then undoes limits and thaws frozen cgroups. SIGHUP reloads the policy; if the new
// policy has errors, the previous one stays active. Returns the exit code.
int enforce(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue);

}  // namespace cgwarden::agent
