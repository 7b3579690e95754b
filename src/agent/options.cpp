// SPDX-License-Identifier: Apache-2.0
#include "src/agent/options.h"

#include <algorithm>
#include <iostream>

#include "exporter/listener.h"
#include "src/cli/cli.h"
#include "src/discovery/daemon.h"

namespace cgwarden::agent {
namespace {

constexpr const char* kFooter =
    "Exit status:\n"
    "  0  stopped by SIGTERM or SIGINT, or the requested output was printed\n"
    "  1  could not start (address in use, no cgroup file system, unreadable path), or --check found a problem\n"
    "  2  invalid command line\n"
    "Signals: SIGTERM and SIGINT stop the agent within a second; SIGHUP rescans hierarchies and cgroups.";

std::string check_address(const std::string& address) {
  return exporter::Listener::is_address(address)
             ? std::string()
             : "invalid address '" + address + "'; use :10753, 127.0.0.1:10753, [::1]:10753 or unix:/path";
}

std::string check_url_path(const std::string& path) {
  return path.size() > 1 && path.front() == '/'
             ? std::string()
             : "invalid path '" + path + "'; use a path that begins with / and has a name, such as /metrics";
}

std::string check_host_path(const std::string& path) {
  return path.starts_with('/') ? std::string() : "invalid path '" + path + "'; use an absolute path of the host";
}

std::string check_socket(const std::string& path) {
  return path.empty() || discovery::is_socket_path(path)
             ? std::string()
             : "invalid socket path '" + path + "'; use an absolute path of at most 107 bytes";
}

std::string check_socket_or_none(const std::string& path) {
  return path == "none" ? std::string() : check_socket(path);
}

void add_web(CLI::App& app, Options& o) {
  constexpr const char* group = "Web";
  app.add_option("--web.listen-address", o.listen_addresses,
                 "Address to listen on: HOST:PORT, :PORT, [IPV6]:PORT or unix:/PATH; repeatable")
      ->type_name("ADDRESS")
      ->group(group)
      ->capture_default_str()
      ->check(check_address);
  app.add_option("--web.telemetry-path", o.telemetry_path, "URL path of the metrics")
      ->type_name("PATH")
      ->group(group)
      ->capture_default_str()
      ->check(check_url_path);
  app.add_option("--web.max-connections", o.max_connections,
                 "Maximum number of open connections; further ones get status 503")
      ->type_name("NUMBER")
      ->group(group)
      ->capture_default_str()
      ->check(cli::integer_between(1, 100'000));
  app.add_option("--web.max-requests", o.max_requests,
                 "Maximum number of concurrent requests; further ones get status 503")
      ->type_name("NUMBER")
      ->group(group)
      ->capture_default_str()
      ->check(cli::integer_between(1, 10'000));
  app.add_flag(
         "--web.created-timestamps,!--no-web.created-timestamps", o.created_timestamps,
         "In OpenMetrics, export the creation time of each counter's cgroup (_created); Prometheus stores it as an "
         "additional series (default: on)")
      ->group(group);
}

void add_paths(CLI::App& app, Options& o) {
  const auto add = [&](const char* name, std::string& path, const char* text) {
    return app.add_option(name, path, text)->type_name("PATH")->group("Paths")->transform(cli::existing_directory());
  };
  add("--path.procfs", o.paths.procfs, "Mount point of the host's procfs")->capture_default_str();
  add("--path.sysfs", o.paths.sysfs, "Mount point of the host's sysfs")->capture_default_str();
  add("--path.cgroupfs", o.paths.cgroupfs,
      "Directory in which the host's cgroup hierarchies are mounted, usually /sys/fs/cgroup (default: from mountinfo)");
  add("--path.rootfs", o.paths.rootfs, "Directory in which the host's root file system is mounted")
      ->capture_default_str();
}

void add_sampling(CLI::App& app, Options& o) {
  constexpr const char* group = "Sampling";
  app.add_option("--sampler.max-cgroups", o.max_cgroups,
                 "Maximum number of cgroups to read; further ones are skipped and counted in cgwarden_cgroups_dropped")
      ->type_name("NUMBER")
      ->group(group)
      ->capture_default_str()
      ->check(cli::integer_between(1, 1'000'000));
  app.add_option("--sampler.max-open-files", o.max_open_files,
                 "Maximum number of interface files to keep open; each saves 5 µs per read and takes 4.7 kB of kernel "
                 "memory")
      ->type_name("NUMBER")
      ->group(group)
      ->capture_default_str()
      ->check(cli::integer_between(0, 10'000'000));
  app.add_option("--sampler.interval", o.interval_seconds, "Interval of background sampling; 0 samples only on request")
      ->type_name("SECONDS")
      ->group(group)
      ->capture_default_str()
      ->check(cli::seconds_between(0, 86'400));
}

// `enabled` has a byte for each collector: vector<bool> has no references to hand out.
void add_collectors(CLI::App& app, Options& o, const model::Catalogue& catalogue, std::vector<char>& enabled) {
  constexpr const char* group = "Collectors";
  for (const auto& collector : catalogue.collectors()) enabled.push_back(collector.on_by_default ? 1 : 0);
  // CLI11 runs callbacks in the order in which the flags were added, whatever their order on the command line.
  app.add_flag_callback(
         "--collector.disable-defaults", [&enabled] { std::ranges::fill(enabled, 0); },
         "Disable all collectors except those enabled by name")
      ->group(group);
  for (std::size_t c = 0; c < enabled.size(); ++c) {
    const auto& collector = catalogue.collectors()[c];
    const std::string name(collector.name);
    auto* const flag = &enabled[c];
    app.add_flag_callback(
           "--collector." + name, [flag] { *flag = 1; },
           std::string(collector.help) + (collector.on_by_default ? " (default: on)" : " (default: off)"))
        ->group(group);
    app.add_flag_callback(
           "--no-collector." + name, [flag] { *flag = 0; }, "")
        ->group("");
  }
  app.add_option("--collector.textfile.directory", o.textfile_directories,
                 "Directory of *.prom files whose metrics are exported as well; repeatable")
      ->type_name("PATH")
      ->group(group);
  app.add_option("--collector.removed.max", o.max_removed, "Maximum number of removed cgroups to export")
      ->type_name("NUMBER")
      ->group(group)
      ->capture_default_str()
      ->check(cli::integer_between(0, 100'000));
  app.add_option("--collector.removed.seconds", o.removed_seconds, "Time for which a removed cgroup is exported")
      ->type_name("SECONDS")
      ->group(group)
      ->capture_default_str()
      ->check(cli::integer_between(0, 86'400));
}

void add_discovery(CLI::App& app, Options& o) {
  constexpr const char* group = "Discovery";
  app.add_flag_callback(
         "--no-discovery", [&o] { o.discovery = false; },
         "Do not read the state of container runtimes; containers have no names then")
      ->group(group);
  app.add_option("--discovery.labels", o.discovery_labels,
                 "Container labels and annotations to export: a comma-separated list of names or prefixes (PREFIX*)")
      ->type_name("NAMES")
      ->group(group)
      ->delimiter(',');
  app.add_option("--discovery.disk-usage-interval", o.disk_usage_interval_seconds,
                 "Interval at which the disk usage of containers' writable layers and logs is measured, on a thread of "
                 "the lowest priority; 0 disables it; requires CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH")
      ->type_name("SECONDS")
      ->group(group)
      ->capture_default_str()
      ->check(cli::integer_between(0, 604'800));
  const auto add_socket = [&](const char* name, std::string& path, const char* text) {
    app.add_option(name, path, text)->type_name("PATH")->group(group)->check(check_socket);
  };
  add_socket(
      "--docker.socket", o.docker_socket,
      "Socket of the Docker daemon, queried for containers whose state on disk cannot be read; not used during a "
      "scrape; access to this socket is equivalent to root");
  add_socket(
      "--podman.socket", o.podman_socket,
      "Socket of `podman system service`, queried for labels and health, which are not on disk; not used during a "
      "scrape; access to this socket is equivalent to being its user");
  add_socket("--containerd.socket", o.containerd_socket,
             "Socket of containerd, queried for images, labels and exit status, which are only in its database, and "
             "subscribed to for events; not used during a scrape; access to this socket is equivalent to root");
  for (const auto& row : discovery::root_rows()) {
    app.add_option("--discovery." + std::string(row.name), o.discovery_roots.*row.roots,
                   std::string(row.help) + ", as a path of the host; repeatable")
        ->type_name("PATH")
        ->group(group)
        ->capture_default_str()
        ->check(check_host_path);
  }
}

void add_log(CLI::App& app, Options& o) {
  app.add_option("--log.level", o.log_level, "Lowest level to log: debug, info, warn or error")
      ->type_name("LEVEL")
      ->group("Log")
      ->capture_default_str()
      ->check(cli::one_of({"debug", "info", "warn", "error"}));
  app.add_option("--log.format", o.log_format, "Format of the log on standard error: logfmt or json")
      ->type_name("FORMAT")
      ->group("Log")
      ->capture_default_str()
      ->check(cli::one_of({"logfmt", "json"}));
}

struct PrintAndExit {
  bool once = false;
  bool check = false;
  bool version = false;
  std::string catalogue_format;
};

void add_print_and_exit(CLI::App& app, Options& o, PrintAndExit& print) {
  constexpr const char* group = "Print and exit";
  app.add_flag("--once", print.once, "Print one scrape to standard output")->group(group);
  app.add_option("--once.format", o.once_format, "Format of --once: text or openmetrics")
      ->type_name("FORMAT")
      ->group(group)
      ->capture_default_str()
      ->check(cli::one_of({"text", "openmetrics"}));
  app.add_flag("--check", print.check, "Print what this host offers and whether the agent can read it")->group(group);
  app.add_option("--print-catalogue", print.catalogue_format, "Print all metrics: md or json")
      ->type_name("FORMAT")
      ->group(group)
      ->check(cli::one_of({"md", "json"}));
  app.add_flag("--version", print.version, "Print the version")->group(group);
}

void add_containers(CLI::App& app, Options& o) {
  auto* const containers = app.add_subcommand(
      "containers", "Print the containers of this host with all known facts, and the source of each fact");
  containers->callback([&o] { o.action = Options::Action::containers; });
  containers->add_flag("--json", o.containers_as_json, "Print JSON");
  containers->fallthrough();
}

CLI::Option* add_interval(CLI::App& command, Options& o) {
  return command.add_option("--interval", o.policy_interval_seconds, "Time between two samples")
      ->type_name("SECONDS")
      ->capture_default_str()
      ->check(cli::seconds_between(0.1, 86'400));
}

void add_policy(CLI::App& app, Options& o, std::string& explained) {
  auto* const policy = app.add_subcommand("policy", "Check, explain or test a policy; never writes to a cgroup");
  policy->require_subcommand(1);
  policy->fallthrough();
  const auto add = [&](const char* name, const char* text, Options::Action action) {
    auto* const command = policy->add_subcommand(name, text);
    command->callback([&o, action] { o.action = action; });
    command->fallthrough();
    return command;
  };
  const auto add_files = [&](CLI::App* command) {
    command->add_option("FILE", o.policy_files, "Policy file; further files and directories of *.yaml are drop-ins")
        ->required();
  };
  add_files(add("check", "Print every error of a policy as FILE:LINE:COLUMN: message", Options::Action::policy_check));

  auto* const explain = add("explain", "Print for each rule why it acts or does not act on this host now",
                            Options::Action::policy_explain);
  explain->add_option("FILE", explained, "Policy file")->required();
  explain->add_option("CGROUP", o.policy_cgroup, "Explain only this cgroup: its path, or the last part of its path");
  explain->add_option("--policy.dir", o.policy_files, "Directory of drop-ins (*.yaml); repeatable")->type_name("PATH");
  add_interval(*explain, o);

  auto* const test = add("test", "Print what a policy would have done on recorded hosts", Options::Action::policy_test);
  add_files(test);
  test->add_option("--from", o.policy_from,
                   "Recording (see cgtop record), or directory of a recorded host; repeatable, oldest first")
      ->type_name("PATH")
      ->required()
      ->check(cli::existing_path());
  add_interval(*test, o);
}

void add_enforce(CLI::App& app, Options& o) {
  auto* const enforce = app.add_subcommand(
      "enforce",
      "Evaluate a policy on this host's cgroups and act on them; rules are dry-run unless they say otherwise");
  enforce->callback([&o] { o.action = Options::Action::enforce; });
  enforce->fallthrough();
  enforce->add_option("--policy.file", o.policy_files, "Policy file; docs/policy.md has the format")
      ->type_name("PATH")
      ->required()
      ->expected(1);
  enforce->add_option("--policy.dir", o.policy_dirs, "Directory of drop-ins (*.yaml); repeatable")->type_name("PATH");
  enforce->add_flag("--policy.dry-run", o.policy_dry_run, "Treat all rules as dry-run: log actions, write nothing");
  enforce->add_option("--audit.file", o.audit_file, "File to which decisions and actions are appended as JSON lines")
      ->type_name("PATH")
      ->capture_default_str();
  enforce
      ->add_option("--metrics.textfile", o.metrics_textfile,
                   "File (*.prom) to write metrics to, for the exporter's --collector.textfile.directory")
      ->type_name("PATH");
  enforce
      ->add_option(
          "--control.socket", o.control_socket,
          "Socket on which cgtop requests actions without being root (docs/enforcement.md has the permissions); "
          "an empty PATH disables it")
      ->type_name("PATH")
      ->capture_default_str();
  enforce
      ->add_option("--control.docker-socket", o.runtime_sockets.docker,
                   "Socket of the Docker daemon, which is notified of actions on its containers; none disables it")
      ->type_name("PATH")
      ->capture_default_str()
      ->check(check_socket_or_none);
  enforce
      ->add_option(
          "--control.podman-socket", o.runtime_sockets.podman,
          "Socket of `podman system service`, which is notified of actions on its containers; none disables it")
      ->type_name("PATH")
      ->capture_default_str()
      ->check(check_socket_or_none);
  enforce->add_option("--control.state-directory", o.control_state, "Directory for undo records and leases")
      ->type_name("PATH")
      ->capture_default_str();
  add_interval(*enforce, o);
}

}  // namespace

Parsed parse_command_line(int argc, const char* const* argv, const model::Catalogue& catalogue) {
  Parsed parsed;
  auto& o = parsed.options;
  CLI::App app(
      "cgwarden: cgroup monitor, exporter and enforcer for Linux.\n"
      "Exports the resource usage, limits and events of every cgroup of this host to Prometheus.",
      "cgwarden");
  cli::use_layout(app);
  app.footer(kFooter);
  std::vector<char> enabled;
  enabled.reserve(catalogue.collectors().size());  // add_collectors() keeps pointers to the elements
  PrintAndExit print;
  std::string explained;
  add_web(app, o);
  add_paths(app, o);
  add_sampling(app, o);
  add_collectors(app, o, catalogue, enabled);
  add_discovery(app, o);
  add_log(app, o);
  add_print_and_exit(app, o, print);
  add_containers(app, o);
  add_policy(app, o, explained);
  add_enforce(app, o);
  cli::refuse_values_of_flags(app);

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    std::cout << app.help();
    parsed.exit_code = kOk;
    return parsed;
  } catch (const CLI::ParseError& error) {
    std::cerr << cli::describe(app, error) << '\n';
    parsed.exit_code = kUsage;
    return parsed;
  }
  o.collectors.assign(enabled.begin(), enabled.end());
  if (!explained.empty()) o.policy_files.insert(o.policy_files.begin(), explained);
  if (print.version) o.action = Options::Action::version;
  if (print.check) o.action = Options::Action::check;
  if (print.once) o.action = Options::Action::once;
  if (print.catalogue_format == "md") o.action = Options::Action::print_markdown;
  if (print.catalogue_format == "json") o.action = Options::Action::print_json;
  return parsed;
}

}  // namespace cgwarden::agent
