// SPDX-License-Identifier: Apache-2.0
// `cgwarden policy check|explain|test`: evaluate a policy without acting. Each command prints to standard output and
// returns the exit code: 1 if the policy has errors.
#pragma once

#include <memory>

#include "src/agent/options.h"
#include "src/policy/load.h"

namespace cgwarden::agent {

int check_policy(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue);
// Evaluates two samples of this host, one interval apart.
int explain_policy(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue);
// Evaluates recordings of `cgtop record`, or directories of recorded hosts that count as samples one interval apart. In
// directories, cgroups are identified by their paths.
int test_policy(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue);

// Files and directories of the command line: the first file is the main file.
policy::PolicySource policy_source(const std::vector<std::string>& given);

}  // namespace cgwarden::agent
