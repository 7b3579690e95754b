// SPDX-License-Identifier: Apache-2.0
// Scenes drawn on a grid. Pure: nothing is read, nothing is kept. Sizes from 40×8 up; below that the list alone.
#pragma once

#include "src/cgtop/grid.h"
#include "src/cgtop/ui.h"

namespace cgwarden::cgtop {

inline constexpr std::size_t kHelpPages = 3;

// Rows of the list that fit a grid of this height.
int list_rows(const Scene& scene, int height);
// Gives the first line of the last screenful of a cgroup's page.
std::size_t draw(const Scene& scene, Grid& grid);

// " .:-=+*#%@" or blocks; `cells` newest values of a graph, scaled to its largest.
std::string graph_text(const Graph& graph, int cells, bool ascii);

}  // namespace cgwarden::cgtop
