// SPDX-License-Identifier: Apache-2.0
// The commands that print and exit. Single-threaded; all calls block.
#pragma once

#include "src/cgtop/frame.h"
#include "src/cgtop/options.h"
#include "src/cgtop/source.h"

namespace cgwarden::cgtop {

// The view that the options for sorting, filtering and the tree describe. Also used by the screen.
tl::expected<View, ExitError> view_of(const Options& options, const Columns& columns, bool tree_by_default);
// Index of the column set named by --set.
tl::expected<std::size_t, ExitError> set_of(const Options& options);
// The cgroup that the command line names; nullopt if it names none. `source` resolves a process id to its cgroup; null:
// process ids are not supported. Error: no such cgroup, or several.
tl::expected<std::optional<model::CgroupIndex>, ExitError> wanted_cgroup(const Options& options,
                                                                         const model::Snapshot& snapshot,
                                                                         SampleSource* source);

// Runs every command that needs no screen, except actions. Returns the exit status.
int run_batch(const Options& options);

}  // namespace cgwarden::cgtop
