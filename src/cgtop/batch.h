// SPDX-License-Identifier: Apache-2.0
// cgtop without a screen: reads, prints, ends. One thread, nothing asynchronous.
#pragma once

#include "src/cgtop/frame.h"
#include "src/cgtop/options.h"

namespace cgwarden::cgtop {

// A reason to end with this exit code; one line for standard error.
struct Stop {
  int code = kUnexpected;
  std::string what;
};

// Sort, filter and tree of the command line. Used by the screen as well.
tl::expected<View, Stop> view_of(const Options& options, const Columns& columns, bool tree_by_default);
// The group that was named, or nothing when none was.
tl::expected<std::optional<model::GroupIndex>, Stop> wanted_group(const Options& options,
                                                                  const model::Snapshot& snapshot);

int run_batch(const Options& options);

}  // namespace cgwarden::cgtop
