// SPDX-License-Identifier: Apache-2.0
// cgtop without a screen: reads, prints, ends. One thread, nothing asynchronous.
#pragma once

#include "src/cgtop/frame.h"
#include "src/cgtop/options.h"
#include "src/cgtop/source.h"

namespace cgwarden::cgtop {

// Sort, filter and tree of the command line. Used by the screen as well.
tl::expected<View, ExitError> view_of(const Options& options, const Columns& columns, bool tree_by_default);
// The set of columns that was named.
tl::expected<std::size_t, ExitError> set_of(const Options& options);
// The cgroup that was named, or nothing when none was. `source` finds the cgroup of a process; null: it cannot be
// found.
tl::expected<std::optional<model::CgroupIndex>, ExitError> wanted_cgroup(const Options& options,
                                                                         const model::Snapshot& snapshot,
                                                                         SampleSource* source);

int run_batch(const Options& options);

}  // namespace cgwarden::cgtop
