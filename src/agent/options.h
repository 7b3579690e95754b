// SPDX-License-Identifier: Apache-2.0
// The command line of cgwarden. Flags follow node_exporter's conventions. An invalid command line gives one line on
// standard error and exit status 2.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "src/cgroup/hierarchy.h"
#include "src/control/socket.h"
#include "src/control/writer.h"
#include "src/discovery/state.h"
#include "src/model/catalogue.h"

namespace cgwarden::agent {

// Exit status, documented in --help.
inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;  // could not start, or --check found a problem
inline constexpr int kUsage = 2;

struct Options {
  enum class Action {
    serve,
    once,
    check,
    containers,
    policy_check,
    policy_explain,
    policy_test,
    enforce,
    print_markdown,
    print_json,
    version
  };
  Action action = Action::serve;

  std::vector<std::string> listen_addresses = {":10753"};
  std::string telemetry_path = "/metrics";
  std::size_t max_connections = 128;
  std::size_t max_requests = 40;
  bool created_timestamps = true;
  std::vector<std::string> textfile_directories;

  cgroup::HostPaths paths;
  std::vector<bool> collectors;  // by CollectorId
  std::size_t max_removed = 512;
  unsigned removed_seconds = 300;
  std::size_t max_cgroups = 65'536;
  std::size_t max_open_files = 2048;
  double interval_seconds = 0;  // of background sampling; 0: only on request

  bool discovery = true;
  discovery::Roots discovery_roots;
  std::vector<std::string> discovery_labels;
  std::string docker_socket;  // of daemons to query; empty: none
  std::string podman_socket;
  std::string containerd_socket;
  unsigned disk_usage_interval_seconds = 0;  // between measurements of containers' disk usage; 0: never
  bool containers_as_json = false;

  std::vector<std::string> policy_files;  // the main file, then further files and directories of drop-ins
  std::vector<std::string> policy_dirs;   // of drop-ins
  bool policy_dry_run = false;            // all rules, whatever the policy states
  std::string control_state = control::kStateDirectory;
  std::string control_socket = control::kSocketPath;  // empty: none
  std::string audit_file = control::kAuditFile;
  control::RuntimeSockets runtime_sockets;
  std::string metrics_textfile;          // empty: none
  std::string policy_cgroup;             // explain: only this one; empty: all that a rule matches
  std::vector<std::string> policy_from;  // test: recordings, or directories of recorded hosts
  double policy_interval_seconds = 2;    // between two samples

  std::string log_level = "info";
  std::string log_format = "logfmt";
  std::string once_format = "text";
};

// The options, or the exit status if help or an error was printed.
struct Parsed {
  Options options;
  int exit_code = -1;  // -1: continue
};

Parsed parse_command_line(int argc, const char* const* argv, const model::Catalogue& catalogue);

}  // namespace cgwarden::agent
