// SPDX-License-Identifier: Apache-2.0
// What screens and outputs say of processes. Data only; who fills it is the source's business.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/model/host.h"

namespace cgwarden::cgtop {

using model::Host;

struct Process {
  int pid = 0;
  int parent = 0;
  std::uint32_t uid = 0;
  std::string user;
  char state = '?';
  int threads = 0;
  std::int64_t rss = 0;              // bytes
  std::optional<std::int64_t> swap;  // bytes
  double cpu_seconds = 0;
  std::optional<double> cpu;  // of one core, between two looks
  double started = 0;         // seconds after boot: with the pid it says who this is
  double age = 0;             // seconds
  std::string command;        // as the process has it: escape it
};

struct Processes {
  std::vector<Process> all;
  std::size_t hidden = 0;  // listed with pid 0: of a pid namespace that is not below ours
  double at = 0;           // seconds after boot
};

// CPU use from two looks at the same processes.
void compare(const Processes& before, Processes& now);

}  // namespace cgwarden::cgtop
