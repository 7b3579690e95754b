// SPDX-License-Identifier: Apache-2.0
// The interactive program: connects a terminal, a sample source and an event loop.
#pragma once

#include "src/cgtop/options.h"

namespace cgwarden::cgtop {

// True if standard output is a terminal that can position its cursor (TERM is set and is not "dumb").
bool can_show_screen();
// Returns the exit status; 130 and 143 after SIGINT and SIGTERM.
int run_screen(const Options& options);

}  // namespace cgwarden::cgtop
