// SPDX-License-Identifier: Apache-2.0
// The command line of cgtop.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "src/cgroup/hierarchy.h"
#include "src/cgtop/format.h"
#include "src/cgtop/record_printer.h"
#include "src/control/runtime_api.h"
#include "src/model/action.h"

namespace cgwarden::cgtop {

// Documented in --help and in the man page.
enum Exit : int {
  kDone = 0,
  kUnexpected = 1,
  kUsage = 2,
  kNotFound = 3,
  kPermission = 4,
  kUnreachable = 5,
  kRefused = 6,
  kPartly = 7,
  kTimeout = 8,
  kDamagedRecording = 9,
};

struct Options {
  enum class Action { screen, dump, show, ps, tree, fields, doctor, record, snapshot, version, act };
  Action action = Action::screen;
  bool batch = false;

  std::string cgroup;  // as typed; empty: all
  std::string fields;
  std::string set;
  std::string sort;
  bool reverse = false;
  std::string filter;
  std::optional<Format> format;
  std::optional<std::size_t> limit;
  int depth = -1;
  bool active = false;
  bool tree = false;
  bool flat = false;
  bool recursive = false;
  bool header = true;
  Units units = Units::iec;
  CpuScale cpu = CpuScale::core;

  std::optional<std::size_t> iterations;
  std::optional<std::chrono::milliseconds> delay;

  std::string agent;  // URLs
  std::string prometheus;
  std::string auth_file, ca_file, cert_file, key_file;
  bool insecure = false;
  std::string from;  // a recording to read
  std::string at, begin, end;
  std::string file;  // to write
  std::uint64_t max_size = 0;
  std::chrono::milliseconds max_age{0};
  std::chrono::milliseconds for_time{0};

  bool ascii = false;
  bool mouse = true;
  std::string theme = "default";
  std::string color = "auto";
  bool read_only = false;
  std::string config;  // settings of the screen; empty: the user's own

  // Of Action::act; the last three are also used by the screen.
  std::optional<model::Verb> verb;  // none: undo
  std::vector<std::string> settings;
  std::string target;
  std::string undo;
  std::vector<pid_t> pids;
  std::optional<std::chrono::milliseconds> lease;
  std::optional<std::chrono::milliseconds> wait;
  std::chrono::milliseconds grace{0};
  int signal = 0;
  std::int64_t bytes = 0;
  bool force = false;
  bool persist = false;
  bool dry_run = false;
  bool yes = false;
  bool lease_ended = false;
  std::string reason;
  std::string state_directory;
  std::string audit_file;
  control::RuntimeSockets runtime_sockets;
  std::string socket;  // of the enforcer; empty: root needs none

  cgroup::HostPaths paths;
};

struct Parsed {
  Options options;
  int exit_code = -1;  // -1: continue
};
Parsed parse_command_line(int argc, const char* const* argv);

// Between samples.
inline constexpr std::chrono::milliseconds kShortestDelay{50};
inline constexpr std::chrono::milliseconds kMaxDelay{86'400'000};

// "500ms", "2", "1m30s"; nullopt if it is not a duration.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);
// "50M", "1.5G", "1000"; K M G T are 1024. nullopt if it is not a size.
std::optional<std::uint64_t> parse_size(std::string_view text);

}  // namespace cgwarden::cgtop
