// SPDX-License-Identifier: Apache-2.0
// The command line of cgwarden. Flags follow node_exporter's conventions. Bad input: one line that says what, where and
// how to mend it, and exit code 2.
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

// Exit codes, documented in --help.
inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;  // could not start, or --check found what keeps the agent from working
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
  std::size_t max_ended = 512;
  unsigned ended_seconds = 300;
  std::size_t max_cgroups = 65'536;
  std::size_t max_open_files = 2048;
  double interval_seconds = 0;  // background sampling; 0: only when asked

  bool discovery = true;
  discovery::Roots discovery_roots;
  std::vector<std::string> discovery_labels;
  std::string docker_socket;  // of the daemons that may be asked; empty: none
  std::string podman_socket;
  std::string containerd_socket;
  unsigned sizes_seconds = 0;  // how often containers' disk use is measured; 0: never
  bool containers_as_json = false;

  std::vector<std::string> policy_files;  // the main file first; directories of drop-ins among them
  std::vector<std::string> policy_dirs;   // of drop-ins
  bool policy_dry_run = false;            // whatever the policy says
  std::string control_state = control::kStateDirectory;
  std::string control_socket = control::kSocket;  // empty: none
  std::string audit_file = control::kAuditFile;
  control::EngineSockets engines;
  std::string metrics_textfile;          // empty: none
  std::string policy_cgroup;             // explain: which; empty: all that a rule matches
  std::vector<std::string> policy_from;  // test: recordings, or directories of recorded hosts
  double policy_interval_seconds = 2;    // between two samples

  std::string log_level = "info";
  std::string log_format = "logfmt";
  std::string once_format = "text";
};

// What to do, or the exit code when there is nothing to do any more (help was printed, or a mistake was).
struct Parsed {
  Options options;
  int exit_code = -1;  // -1: go on
};

Parsed parse_command_line(int argc, const char* const* argv, const model::Catalogue& catalogue);

}  // namespace cgwarden::agent
