// SPDX-License-Identifier: Apache-2.0
#include "src/agent/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <iostream>
#include <sstream>

#include "exporter/listener.h"
#include "src/base/text.h"
#include "src/discovery/daemon.h"

namespace cgwarden::agent {
namespace {

constexpr const char* kFooter =
    "Exit codes:\n"
    "  0  stopped by SIGTERM or SIGINT, or did what was asked\n"
    "  1  could not start (address in use, no cgroup file system, unreadable path), or --check found a problem\n"
    "  2  wrong command line\n"
    "Signals: SIGTERM and SIGINT stop within a second; SIGHUP finds the hierarchies and cgroups anew.\n";

// The path of a directory, without the slash at its end.
std::string check_directory(std::string& path) {
  if (auto problem = CLI::ExistingDirectory(path); !problem.empty()) return problem;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return {};
}

// CLI::Range lets "nan" through, as it is neither below nor above.
CLI::Validator seconds_between(double least, double most) {
  return CLI::Validator(
      [least, most](std::string& text) {
        const auto seconds = base::to_double(text);
        if (seconds && *seconds >= least && *seconds <= most) return std::string();
        std::ostringstream wrong;
        wrong << text << " is no number of seconds from " << least << " to " << most;
        return wrong.str();
      },
      "SECONDS");
}

}  // namespace

Parsed parse_command_line(int argc, const char* const* argv, const model::Catalogue& catalogue) {
  Parsed parsed;
  auto& o = parsed.options;
  CLI::App app(
      "cgwarden: cgroup monitor and exporter for Linux.\nServes what every cgroup of this host uses to Prometheus.",
      "cgwarden");
  app.footer(kFooter);
  app.get_formatter()->column_width(42);
  const CLI::Validator directory(check_directory, "DIR");

  app.add_option("--web.listen-address", o.listen_addresses,
                 "Where to listen: HOST:PORT, :PORT, [IPV6]:PORT or unix:/PATH; may be given several times")
      ->group("Web")
      ->capture_default_str()
      ->check([](const std::string& address) {
        return exporter::Listener::is_address(address)
                   ? std::string()
                   : address + " is no address: write :10753, 127.0.0.1:10753, [::1]:10753 or unix:/path";
      });
  app.add_option("--web.telemetry-path", o.telemetry_path, "Path of the metrics")
      ->group("Web")
      ->capture_default_str()
      ->check([](const std::string& path) {
        return path.size() > 1 && path.front() == '/' ? std::string()
                                                      : "must begin with / and name a path, e.g. /metrics";
      });
  app.add_option("--web.max-connections", o.max_connections, "Connections at a time; more are refused with 503")
      ->group("Web")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  app.add_option("--web.max-requests", o.max_requests, "Scrapes at a time; more are refused with 503")
      ->group("Web")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000));

  app.add_flag("--web.created-timestamps,!--no-web.created-timestamps", o.created_timestamps,
               "In OpenMetrics, say with each counter when its cgroup was made; Prometheus stores it as a series")
      ->group("Web");

  app.add_option("--path.procfs", o.paths.procfs, "Where /proc of the host is seen")
      ->group("Paths")
      ->capture_default_str()
      ->transform(directory);
  app.add_option("--path.sysfs", o.paths.sysfs, "Where /sys of the host is seen")
      ->group("Paths")
      ->capture_default_str()
      ->transform(directory);
  app.add_option("--path.cgroupfs", o.paths.cgroupfs,
                 "What stands for /sys/fs/cgroup of the host (default: as mounted)")
      ->group("Paths")
      ->transform(directory);
  app.add_option("--path.rootfs", o.paths.rootfs, "Where / of the host is seen")
      ->group("Paths")
      ->capture_default_str()
      ->transform(directory);

  app.add_option("--sampler.max-cgroups", o.max_cgroups, "Cgroups read at most; the rest is counted and told once")
      ->group("Sampling")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--sampler.max-open-files", o.max_open_files,
                 "Interface files kept open: each saves 5 us a read and holds 4.7 kB of kernel memory")
      ->group("Sampling")
      ->capture_default_str()
      ->check(CLI::Range(0, 10'000'000));
  app.add_option("--sampler.interval", o.interval_seconds,
                 "Sample in the background every so many seconds; 0: only when asked")
      ->group("Sampling")
      ->capture_default_str()
      ->check(seconds_between(0, 86'400));

  o.collectors.reserve(catalogue.collectors().size());
  std::vector<char> chosen;  // vector<bool> has no references to hand out
  for (const auto& collector : catalogue.collectors()) chosen.push_back(collector.on_by_default ? 1 : 0);
  // Flags act in this order, whatever the command line's.
  app.add_flag_callback(
         "--collector.disable-defaults", [&chosen] { std::ranges::fill(chosen, 0); },
         "Only the collectors that are named are on")
      ->group("Collectors");
  for (std::size_t c = 0; c < chosen.size(); ++c) {
    const auto& collector = catalogue.collectors()[c];
    const std::string name(collector.name);
    auto* const flag = &chosen[c];
    app.add_flag_callback(
           "--collector." + name, [flag] { *flag = 1; },
           std::string(collector.help) + (collector.on_by_default ? " (on)" : " (off)"))
        ->group("Collectors");
    app.add_flag_callback(
           "--no-collector." + name, [flag] { *flag = 0; }, "")
        ->group("");
  }

  app.add_flag_callback(
         "--no-discovery", [&o] { o.discovery = false; }, "Read no runtime's state: containers have no names then")
      ->group("Discovery");
  app.add_option("--discovery.labels", o.discovery_labels,
                 "Labels and annotations of containers to show, comma-separated: names, or beginnings with * behind")
      ->group("Discovery")
      ->delimiter(',');
  app.add_option("--discovery.disk-usage-interval", o.sizes_seconds,
                 "Measure what containers' writable layers and logs take, this many seconds after the last time, on a "
                 "thread that waits for all else; 0: never. It takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH")
      ->group("Discovery")
      ->capture_default_str()
      ->check(CLI::Range(0U, 604'800U));
  const auto is_socket = [](const std::string& path) {
    return path.empty() || discovery::is_socket_path(path)
               ? std::string()
               : "must be the path of a socket: beginning with /, at most 107 "
                 "bytes";
  };
  app.add_option("--docker.socket", o.docker_socket,
                 "Ask Docker's daemon here about containers that its state on disk does not name, off the scrape path. "
                 "Who may ask it may do everything on this host")
      ->group("Discovery")
      ->check(is_socket);
  app.add_option(
         "--podman.socket", o.podman_socket,
         "Ask `podman system service` here for labels and health, which are on no disk, off the scrape path. Who "
         "may ask it may do everything its user may")
      ->group("Discovery")
      ->check(is_socket);
  app.add_option(
         "--containerd.socket", o.containerd_socket,
         "Ask containerd here for images, labels and exit codes, which are in its database only, and listen to its "
         "events, off the scrape path. Who may ask it may do everything on this host")
      ->group("Discovery")
      ->check(is_socket);
  for (const auto& row : discovery::root_rows()) {
    app.add_option("--discovery." + std::string(row.name), o.discovery_roots.*row.roots,
                   std::string(row.help) + " (path of the host, repeatable)")
        ->group("Discovery")
        ->capture_default_str()
        ->check([](const std::string& path) {
          return path.starts_with('/') ? std::string() : "must be the path of a directory, beginning with /";
        });
  }

  app.add_option("--collector.textfile.directory", o.textfile_directories,
                 "Serve the metrics that *.prom of this directory hold as well; may be given several times")
      ->group("Collectors");
  app.add_option("--collector.removed.max", o.max_ended, "Ended cgroups shown at most")
      ->group("Collectors")
      ->capture_default_str()
      ->check(CLI::Range(0, 100'000));
  app.add_option("--collector.removed.seconds", o.ended_seconds, "How long an ended cgroup is shown")
      ->group("Collectors")
      ->capture_default_str()
      ->check(CLI::Range(0, 86'400));

  app.add_option("--log.level", o.log_level, "debug, info, warn or error")
      ->group("Log")
      ->capture_default_str()
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}));
  app.add_option("--log.format", o.log_format, "logfmt or json")
      ->group("Log")
      ->capture_default_str()
      ->check(CLI::IsMember({"logfmt", "json"}));

  std::string print_format;
  bool once = false;
  bool check = false;
  bool version = false;
  app.add_flag("--once", once, "Print one scrape to standard output and exit")->group("Instead of serving");
  app.add_option("--once.format", o.once_format, "text or openmetrics")
      ->group("Instead of serving")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "openmetrics"}));
  app.add_flag("--check", check, "Say what this host has and whether the agent can read it, and exit")
      ->group("Instead of serving");
  app.add_option("--print-catalogue", print_format, "Print all metrics as md or json and exit")
      ->group("Instead of serving")
      ->check(CLI::IsMember({"md", "json"}));
  app.add_flag("--version", version, "Print the version and exit")->group("Instead of serving");

  auto* const containers =
      app.add_subcommand("containers", "Print what is known of this host's containers, and where each fact came from");
  containers->add_flag("--json", o.containers_as_json, "As JSON");
  containers->fallthrough();

  auto* const policy = app.add_subcommand("policy", "Check, explain or try a policy; nothing is written");
  policy->require_subcommand(1);
  policy->fallthrough();
  auto* const policy_check = policy->add_subcommand("check", "Say all that is wrong with a policy: FILE:LINE:COLUMN");
  auto* const policy_explain =
      policy->add_subcommand("explain", "Say why each rule does or does not act on this host now");
  auto* const policy_test = policy->add_subcommand("test", "Say what a policy would have done on recorded hosts");
  for (auto* const command : {policy_check, policy_explain, policy_test}) {
    command->fallthrough();
    if (command == policy_explain) continue;
    command->add_option("FILE", o.policy_files, "The policy; further ones and directories of *.yaml are drop-ins")
        ->required();
  }
  std::string explained;
  policy_explain->add_option("FILE", explained, "The policy")->required();
  policy_explain->add_option("CGROUP", o.policy_cgroup, "Only this cgroup: its path, or the last part of it");
  policy_explain->add_option("--policy.dir", o.policy_files, "Directory of drop-ins; repeatable");

  auto* const enforce =
      app.add_subcommand("enforce", "Watch the cgroups and do what a policy says; a dry run unless it says otherwise");
  enforce->fallthrough();
  enforce->add_option("--policy.file", o.policy_files, "The policy: see docs/policy.md")->required()->expected(1);
  enforce->add_option("--policy.dir", o.policy_dirs, "Directory of drop-ins, *.yaml; repeatable");
  enforce->add_flag("--policy.dry-run", o.policy_dry_run, "Only say what would be done, whatever the policy says");
  enforce->add_option("--audit.file", o.audit_file, "What was decided and done, as JSON lines")->capture_default_str();
  enforce->add_option("--metrics.textfile", o.metrics_textfile,
                      "Write metrics to this *.prom, for the exporter's --collector.textfile.directory");
  enforce
      ->add_option("--control.socket", o.control_socket,
                   "Where cgtop asks that is not root; who may do what: docs/enforcement.md. Empty: nowhere")
      ->capture_default_str();
  const auto is_engine = [&](const std::string& path) { return path == "none" ? std::string() : is_socket(path); };
  enforce
      ->add_option("--control.docker-socket", o.engines.docker,
                   "Where Docker is told of what is done to its containers; none: it is not")
      ->capture_default_str()
      ->check(is_engine);
  enforce->add_option("--control.podman-socket", o.engines.podman, "The same for Podman")
      ->capture_default_str()
      ->check(is_engine);
  enforce->add_option("--control.state-directory", o.control_state, "Where it is kept what must be taken back")
      ->capture_default_str();
  policy_test
      ->add_option("--from", o.policy_from,
                   "Recordings (cgtop record), or directories of recorded hosts in the order of time")
      ->required()
      ->check(CLI::ExistingPath);
  for (auto* const command : {policy_explain, policy_test, enforce}) {
    command->add_option("--interval", o.policy_interval_seconds, "Seconds between two samples")
        ->capture_default_str()
        ->check(seconds_between(0.1, 86'400));
  }

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    std::cout << app.help();
    parsed.exit_code = kOk;
    return parsed;
  } catch (const CLI::ParseError& error) {
    std::string what = error.what();
    for (auto& c : what) c = c == '\n' ? ' ' : c;
    std::cerr << "cgwarden: " << what << " (see cgwarden --help)\n";
    parsed.exit_code = kUsage;
    return parsed;
  }
  o.collectors.assign(chosen.begin(), chosen.end());
  if (containers->parsed()) o.action = Options::Action::containers;
  if (enforce->parsed()) o.action = Options::Action::enforce;
  if (policy_check->parsed()) o.action = Options::Action::policy_check;
  if (policy_explain->parsed()) {
    o.action = Options::Action::policy_explain;
    o.policy_files.insert(o.policy_files.begin(), explained);
  }
  if (policy_test->parsed()) o.action = Options::Action::policy_test;
  if (version) o.action = Options::Action::version;
  if (check) o.action = Options::Action::check;
  if (once) o.action = Options::Action::once;
  if (print_format == "md") o.action = Options::Action::print_markdown;
  if (print_format == "json") o.action = Options::Action::print_json;
  return parsed;
}

}  // namespace cgwarden::agent
