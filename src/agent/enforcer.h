// SPDX-License-Identifier: Apache-2.0
// `cgwarden enforce`: samples at an interval or when the kernel tells of something, has the policy decide, and hands
// what it decides to the one hand that writes. Loop thread; the sampler and the hand have their own.
#pragma once

#include <memory>

#include "src/agent/options.h"
#include "src/model/catalogue.h"

namespace cgwarden::agent {

// Until SIGTERM or SIGINT; limits are taken back then, and frozen cgroups thawed. SIGHUP loads the policy again, and
// the old one stays if the new one has problems. The exit code.
int enforce(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue);

}  // namespace cgwarden::agent
