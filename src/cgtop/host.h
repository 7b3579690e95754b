// SPDX-License-Identifier: Apache-2.0
// Processes of a cgroup. Data only; a SampleSource fills it.
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
  std::optional<double> cpu;  // cores, between two samples
  double started = 0;         // seconds after boot; identifies the process together with the pid
  double age = 0;             // seconds
  std::string command;        // any bytes: escape before use
};

struct Processes {
  std::vector<Process> all;
  std::size_t hidden = 0;  // listed as pid 0: in a pid namespace that is not a descendant of the caller's
  double at = 0;           // seconds after boot
};

// Sets `cpu` in `now` for processes that are also in `before`.
void fill_cpu_use(const Processes& before, Processes& now);

}  // namespace cgwarden::cgtop
