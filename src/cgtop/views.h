// SPDX-License-Identifier: Apache-2.0
// Draws a Scene on a Grid. Pure functions: no I/O, no state. Designed for 40×8 cells and larger; smaller grids show
// only what fits, below 20×3 "too small".
#pragma once

#include "src/cgtop/grid.h"
#include "src/cgtop/ui.h"

namespace cgwarden::cgtop {

// Number of help pages on a grid of this height.
std::size_t help_pages(int height);
// Rows of the list that fit a grid of this height.
int list_rows(const Scene& scene, int height);
// Returns the scroll position of the last screenful of a cgroup's page; 0 on other pages.
std::size_t draw(const Scene& scene, Grid& grid);

// The newest `cells` values of a graph, one character each (block characters, or ASCII), scaled to the largest.
std::string graph_text(const Graph& graph, int cells, bool ascii);

}  // namespace cgwarden::cgtop
