// SPDX-License-Identifier: Apache-2.0
// The interactive program: a terminal, a source of snapshots, and the loop between them.
#pragma once

#include "src/cgtop/options.h"

namespace cgwarden::cgtop {

// A screen can be shown here: a terminal on standard output that can place its cursor.
bool can_show_screen();
// The exit code; 130 and 143 after SIGINT and SIGTERM.
int run_screen(const Options& options);

}  // namespace cgwarden::cgtop
