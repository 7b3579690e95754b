// SPDX-License-Identifier: Apache-2.0
// `cgwarden policy check|explain|test`: what a policy says, without doing it. Each prints to standard output and
// returns the exit code: 1 when the policy has problems.
#pragma once

#include <memory>

#include "src/agent/options.h"
#include "src/policy/load.h"

namespace cgwarden::agent {

int check_policy(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue);
// Two samples of this host, an interval apart.
int explain_policy(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue);
// Recordings of `cgtop record`, or directories of recorded hosts one after the other, an interval apart; in these
// cgroups are the same where their paths are.
int test_policy(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue);

// Files and directories as given on the command line: the first file is the main one.
policy::Source policy_source(const std::vector<std::string>& given);

}  // namespace cgwarden::agent
