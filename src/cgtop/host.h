// SPDX-License-Identifier: Apache-2.0
// What screens and outputs say of the machine and of processes. Data only; who fills it is the source's business.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cgwarden::cgtop {

struct Host {
  std::string name;
  std::string kernel;
  std::string layout;  // "v1", "v2", "hybrid"
  int cpus = 0;
  std::optional<double> load[3];
  std::optional<double> uptime_seconds;
  // Bytes; from /proc/meminfo.
  std::optional<std::int64_t> memory_total, memory_available, swap_total, swap_free;
  // Parts of the last 10 seconds; from /proc/pressure.
  std::optional<double> psi_cpu, psi_memory, psi_io;
  std::string boot_id;
};

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
