// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/options.h"

#include <CLI/CLI.hpp>
#include <iostream>

#include "src/base/file.h"
#include "src/base/text.h"
#include "src/cgtop/columns.h"
#include "src/cgtop/config.h"
#include "src/cgtop/screen.h"
#include "src/cgtop/theme.h"
#include "src/discovery/daemon.h"
#include "src/model/action.h"

namespace cgwarden::cgtop {
namespace {

constexpr const char* kFooter =
    "CGROUP is a path (/system.slice/ssh.service), the last part of one (ssh.service, ssh), or the id of a process.\n"
    "Without a terminal on standard output one table is printed. Numbers are in base units; what is not known is null\n"
    "in JSON and nothing elsewhere; \"max\" is unlimited.\n"
    "Exit codes:\n"
    "  0  done                                  3  cgroup or process not found\n"
    "  1  unexpected error                      4  no permission\n"
    "  2  wrong option, field, filter,          5  agent, enforcer or Prometheus not reachable\n"
    "     or a name that means several cgroups   9  recording damaged or of a newer format\n"
    "and of what acts:\n"
    "  6  refused by a guard, nothing changed   8  out of time; a freeze was thawed again\n"
    "  7  partly done, as shown\n";

constexpr std::size_t kMaxConfig = 64U << 10U;
constexpr const char* kMs = "a time such as 2, 500ms or 1m30s";

CLI::Validator timespan(std::string name) {
  return {[](std::string& text) {
            const auto time = model::parse_timespan(text);
            return time ? std::string() : time.error().what;
          },
          std::move(name)};
}

// Who does it, and where it is kept.
void add_action_client(CLI::App& app, Options& o, const std::string& cgroup) {
  const auto is_socket = [](const std::string& path) {
    return path == "none" || discovery::is_socket_path(path)
               ? std::string()
               : path + " is no path of a socket: beginning with /, at most 107 bytes";
  };
  for (auto* const option :
       {app.add_option("--socket", o.socket,
                       "Ask the enforcer at this socket (default: /run/cgwarden-control/socket, unless root)"),
        app.add_option("--docker-socket", o.engines.docker,
                       "Where Docker is told of what is done to its containers; none: it is not")
            ->capture_default_str()
            ->check(is_socket),
        app.add_option("--podman-socket", o.engines.podman, "The same for Podman")
            ->capture_default_str()
            ->check(is_socket)}) {
    if (!cgroup.empty()) option->group(cgroup);
  }
  app.add_option("--state-dir", o.state_directory, "Where leases and undo are kept")->group("");
  app.add_option("--audit-file", o.audit_file, "Where it is recorded")->group("");
}

// What acts. Each is a subcommand whose name is the verb's.
void add_actions(CLI::App& app, Options& o) {
  const auto command = [&](const char* name, const char* help) {
    auto* const sub = app.add_subcommand(name, help);
    sub->callback([&o, verb = model::verb_of(name)] {
      o.action = Options::Action::act;
      o.verb = verb;
    });
    sub->add_flag("--dry-run", o.dry_run, "Check and show the plan, write nothing; exit code 6 if it would be refused");
    add_action_client(*sub, o, "");
    sub->fallthrough();
    return sub;
  };
  const auto on_cgroup = [&](const char* name, const char* help) {
    auto* const sub = command(name, help);
    sub->add_option("CGROUP", o.cgroup, "Which cgroup")->required();
    sub->add_option("--reason", o.reason, "Why, for the audit");
    return sub;
  };
  const auto time = [&](CLI::App* sub, const char* flag, const char* help, auto set) {
    sub->add_option_function<std::string>(
           flag, [set](const std::string& text) { set(*model::parse_timespan(text)); }, help)
        ->check(timespan("TIME"));
  };
  const auto lease = [&](CLI::App* sub, const char* help) {
    time(sub, "--for", help, [&o](std::chrono::milliseconds t) { o.lease = t; });
  };
  const auto wait = [&](CLI::App* sub) {
    time(sub, "--wait", "How long to wait for the end of it (default: 5s)",
         [&o](std::chrono::milliseconds t) { o.wait = t; });
  };
  const auto signal = [&](CLI::App* sub, const char* help) {
    return sub
        ->add_option_function<std::string>(
            "--signal", [&o](const std::string& text) { o.signal = *model::signal_of(text); }, help)
        ->check([](const std::string& text) {
          return model::signal_of(text) ? std::string() : "is no signal such as TERM or 15";
        });
  };
  std::string keys = "KEY=VALUE or KEY@DEVICE=VALUE, such as memory.max=512M or io.max.wbps@vda=50M. Keys:";
  for (const auto& key : model::setting_keys()) keys += ' ' + std::string(key.name);

  auto* const limit = on_cgroup("limit", "Set limits, weights and protections of a cgroup");
  limit->add_option("SETTING", o.settings, keys)->required();
  lease(limit, "Afterwards what was set before comes back");
  limit->add_flag("--force", o.force, "Also below what is in use, or above what the parent allows");
  limit->add_flag("--persist", o.persist, "systemd keeps it over a reboot");
  on_cgroup("unlimit", "Take limits back: those named, or all that were set by limit")
      ->add_option("KEY", o.settings, "Which; KEY@DEVICE for a device's");
  auto* const freeze = on_cgroup("freeze", "Stop a cgroup for a time");
  lease(freeze, "How long, at most 1h (default: 60s); then it is thawed, whatever has happened");
  wait(freeze);
  on_cgroup("thaw", "Let a frozen cgroup go on");
  auto* const kill = on_cgroup("kill", "Kill all processes of a cgroup and of those below");
  signal(kill, "Send this first, and kill what is left after --grace");
  time(kill, "--grace", "Between --signal and the kill (default: 10s)",
       [&o](std::chrono::milliseconds t) { o.grace = t; });
  o.grace = std::chrono::seconds(10);
  kill->add_flag("-y,--yes", o.yes, "Ask nothing");
  wait(kill);
  auto* const send = on_cgroup("signal", "Send a signal to the processes of a cgroup");
  signal(send, "Which, such as HUP")->required();
  send->add_option("PID", o.pids, "To these only");
  auto* const reclaim = on_cgroup("reclaim", "Have memory of a cgroup reclaimed (v2)");
  reclaim
      ->add_option_function<std::string>(
          "SIZE", [&o](const std::string& text) { o.bytes = *model::parse_size(text); }, "How much, such as 256M")
      ->required()
      ->check([](const std::string& text) {
        const auto size = model::parse_size(text);
        return size ? std::string() : size.error().what;
      });
  wait(reclaim);
  auto* const move = on_cgroup("move", "Move processes of a cgroup to another");
  move->add_option("TARGET", o.target, "To which cgroup")->required();
  move->add_option("PID", o.pids, "Which processes")->required();
  auto* const undo = command("undo", "Take an action back; without an id the latest");
  undo->add_option("ID", o.undo, "As it was shown after the action");
  undo->add_flag("--lease-ended", o.lease_ended, "Because its time is up")->group("");
}

}  // namespace

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  if (text.empty()) return std::nullopt;
  double milliseconds = 0;
  while (!text.empty()) {
    double n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc{} || !(n >= 0) || n > 1e9) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    double unit = 1000;
    if (text.starts_with("ms")) {
      unit = 1;
      text.remove_prefix(2);
    } else if (!text.empty()) {
      switch (text.front()) {
        case 's':
          break;
        case 'm':
          unit = 60'000;
          break;
        case 'h':
          unit = 3'600'000;
          break;
        default:
          return std::nullopt;
      }
      text.remove_prefix(1);
    }
    milliseconds += n * unit;
  }
  if (milliseconds > 1e10) return std::nullopt;
  return std::chrono::milliseconds(static_cast<std::int64_t>(milliseconds));
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  double n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc{} || !(n >= 0) || n > 1e15) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  for (const std::string_view unit : {"K", "M", "G", "T"}) {
    if (text.empty()) break;
    n *= 1024;
    if (text.starts_with(unit)) {
      text.remove_prefix(1);
      if (text.starts_with("iB")) text.remove_prefix(2);
      break;
    }
  }
  if (!text.empty() || n > 1e15) return std::nullopt;
  return static_cast<std::uint64_t>(n);
}

namespace {

// What was kept, where the command line says nothing. Throws what a wrong option throws.
void add_config(CLI::App& app, const Options& o, bool must_be_there) {
  const auto path = must_be_there ? o.config : config_path();
  const auto text = path.empty() ? std::nullopt : base::read_file(AT_FDCWD, path, kMaxConfig);
  if (!text) {
    if (must_be_there) throw CLI::FileError("--config: cannot read " + path);
    return;
  }
  const auto lines = parse_config(*text);
  if (!lines) throw CLI::ConfigError(path + ':' + lines.error().what, CLI::ExitCodes::ConfigError);
  const auto given = [&](const std::string& key) { return app.get_option("--" + key)->count() > 0; };
  // Each pair says one thing in two words.
  const bool columns = given("set") || given("fields");
  const bool tree = given("tree") || given("flat");
  for (const auto& line : *lines) {
    auto* const option = app.get_option("--" + line.key);
    if (option->count() > 0 || ((line.key == "set" || line.key == "fields") && columns) ||
        (line.key == "flat" && tree)) {
      continue;
    }
    try {
      option->add_result(line.value);
      option->run_callback();
    } catch (const CLI::ParseError& error) {
      throw CLI::ConfigError(path + ':' + std::to_string(line.line) + ": " + error.what(), CLI::ExitCodes::ConfigError);
    }
  }
}

}  // namespace

Parsed parse_command_line(int argc, const char* const* argv) {
  Parsed parsed;
  auto& o = parsed.options;
  CLI::App app("cgtop: what the cgroups of this host do, on a screen or as text.", "cgtop");
  app.footer(kFooter);
  app.get_formatter()->column_width(36);
  app.fallthrough();
  app.require_subcommand(0, 1);
  using Action = Options::Action;

  const auto command = [&](const char* name, const char* help, Action action, bool cgroup, bool required) {
    auto* const sub = app.add_subcommand(name, help);
    sub->callback([&o, action] { o.action = action; });
    if (cgroup) {
      auto* const positional = sub->add_option("CGROUP", o.cgroup, "Which cgroup");
      if (required) positional->required();
    }
    sub->fallthrough();
    return sub;
  };
  command("dump", "Cgroups as table, JSON, CSV, ...", Action::dump, true, false);
  command("show", "One cgroup, everything", Action::show, true, true);
  command("ps", "Processes of a cgroup", Action::ps, true, true)
      ->add_flag("-R,--recursive", o.recursive, "Also of the cgroups below");
  command("tree", "Cgroups as a tree", Action::tree, true, false);
  command("fields", "What can be shown", Action::fields, false, false);
  command("doctor", "What this host has and lacks, and how to mend it", Action::doctor, false, false);
  auto* const record = app.add_subcommand("record", "Samples into a file, until it is told to end");
  record->callback([&o] { o.action = Action::record; });
  record->fallthrough();
  std::string max_size;
  std::string max_age;
  std::string for_time;
  const auto is_time = [](const std::string& text) {
    const auto d = parse_duration(text);
    return d && d->count() >= 1000 ? std::string() : "must be 1s or more, " + std::string(kMs);
  };
  record->add_option("FILE", o.file, "Made, or gone on with")->required();
  record->add_option("--for", for_time, "How long (default: until SIGINT or SIGTERM)")->check(is_time);
  record->add_option("--max-size", max_size, "Of the file, such as 50M: the oldest goes first")
      ->check([](const std::string& text) {
        const auto n = parse_size(text);
        return n && *n >= 65536 ? std::string() : "must be 64K or more, a size such as 50M";
      });
  record->add_option("--max-age", max_age, "What is older goes")->check(is_time);
  auto* const replay = app.add_subcommand("replay", "A recording on the screen");
  replay->callback([&o] { o.action = Action::screen; });
  replay->fallthrough();
  replay->add_option("FILE", o.from, "The recording")->required();
  auto* const snapshot = app.add_subcommand("snapshot", "A piece of a recording, to hand to somebody else");
  snapshot->callback([&o] { o.action = Action::snapshot; });
  snapshot->fallthrough();
  snapshot->add_option("RECORDING", o.from, "From")->required();
  snapshot->add_option("FILE", o.file, "To; must not be there yet")->required();
  app.add_option("CGROUP", o.cgroup, "Only this cgroup and those below");
  add_actions(app, o);

  bool batch = false;
  bool once = false;
  std::string delay;
  app.add_flag("-b,--batch", batch, "Print instead of showing a screen")->group("Output");
  app.add_option("-n,--iterations", o.iterations, "How many samples to print; 0: without end")->group("Output");
  app.add_flag("-1", once, "One sample")->group("Output");
  app.add_option("-d,--delay", delay, "Between samples, 2 or 500ms (default: 2s)")
      ->group("Output")
      ->check([](const std::string& text) {
        const auto d = parse_duration(text);
        return d && *d >= kShortestDelay && *d <= kMaxDelay ? std::string()
                                                            : "must be between 50ms and 24h, " + std::string(kMs);
      });
  std::string format;
  bool json = false;
  bool raw = false;
  std::string units;
  app.add_option("-f,--format", format, "table, json, jsonl, csv, tsv, kv or prom")
      ->group("Output")
      ->check(CLI::IsMember({"table", "json", "jsonl", "csv", "tsv", "kv", "prom"}));
  app.add_flag("-j,--json", json, "Short for --format json")->group("Output");
  app.add_option("-o,--fields", o.fields, "Which, comma-separated; \"all\": all that this host has")->group("Output");
  std::string set_help = "A set of fields:";
  for (const auto& set : kColumnSets) set_help += ' ' + std::string(set.name);
  app.add_option("--set", o.set, set_help)->group("Output");
  app.add_option("--units", units, "In tables: iec (1024), si (1000) or raw")
      ->group("Output")
      ->check(CLI::IsMember({"iec", "si", "raw"}));
  app.add_flag("--raw", raw, "Short for --units raw")->group("Output");
  app.add_flag_callback(
         "--no-header", [&o] { o.header = false; }, "Without the line of headings")
      ->group("Output");

  app.add_option("-s,--sort", o.sort, "By which field; FIELD:asc or FIELD:desc")->group("Selection");
  app.add_flag("-r,--reverse", o.reverse, "The other way round")->group("Selection");
  app.add_option("-F,--filter", o.filter, "Which cgroups: 'cpu>50 mem>1G kind=service not idle'")->group("Selection");
  app.add_option("-L,--limit", o.limit, "At most so many cgroups")->group("Selection");
  app.add_option("--depth", o.depth, "At most so many levels below the topmost")
      ->group("Selection")
      ->check(CLI::Range(0, 1'000'000));
  app.add_flag("--active", o.active, "Only cgroups that do something")->group("Selection");
  app.add_flag("--tree", o.tree, "As a tree")->group("Selection");
  app.add_flag("--flat", o.flat, "As a list")->group("Selection")->excludes("--tree");

  app.add_option("--agent", o.agent, "An agent instead of this host: URL, HOST or unix:/PATH")->group("Source");
  app.add_option("--prometheus", o.prometheus, "All hosts that a Prometheus knows: URL or HOST")->group("Source");
  app.add_option("--auth-file", o.auth_file, "USER:PASSWORD; otherwise the URL's, or CGTOP_AUTH's")->group("Source");
  app.add_option("--tls-ca", o.ca_file, "Whom to trust (PEM) instead of the system's")->group("Source");
  app.add_option("--tls-cert", o.cert_file, "Certificate to show (PEM)")->group("Source");
  app.add_option("--tls-key", o.key_file, "Its key, when it is another file")->group("Source");
  app.add_flag("--tls-insecure", o.insecure, "Check no certificate")->group("Source");
  app.add_option("--from", o.from, "A recording instead of this host")->group("Source");
  app.add_option("--at", o.at, "Of a recording or a Prometheus: 2026-11-24T03:41:06, 03:41, -10m or @SECONDS")
      ->group("Source");
  app.add_option("--begin", o.begin, "Of a recording: all samples from then on")->group("Source");
  app.add_option("--end", o.end, "Of a recording: up to then")->group("Source");

  std::string cpu;
  bool no_color = false;
  app.add_option("--cpu", cpu, "CPU use of one core or of the machine")
      ->group("Screen")
      ->check(CLI::IsMember({"core", "machine"}));
  app.add_flag("--ascii", o.ascii, "Nothing but ASCII")->group("Screen");
  std::vector<std::string> themes;
  themes.reserve(kThemes.size());
  for (const auto& theme : kThemes) themes.emplace_back(theme.name);
  app.add_option("--theme", o.theme, "Colours; high-contrast is for all eyes, mono has none; NO_COLOR goes before it")
      ->group("Screen")
      ->check(CLI::IsMember(themes));
  app.add_flag("--mouse,!--no-mouse", o.mouse, "Clicks and the wheel; without, the terminal selects text with them")
      ->group("Screen");
  app.add_flag("--read-only", o.read_only, "No key freezes, kills or sets anything")->group("Screen");
  auto* const config =
      app.add_option("--config", o.config, "What W on the screen wrote (default: ~/.config/cgtop/cgtop.conf)")
          ->group("Screen");
  add_action_client(app, o, "Screen");
  app.add_option("--color", o.color, "auto, always or never; NO_COLOR is obeyed by auto")
      ->group("Screen")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  app.add_flag("-C,--no-color", no_color, "Short for --color never")->group("Screen");

  app.add_option("--path.procfs", o.paths.procfs, "Where /proc of the host is seen")
      ->group("Paths")
      ->check(CLI::ExistingDirectory);
  app.add_option("--path.sysfs", o.paths.sysfs, "Where /sys of the host is seen")
      ->group("Paths")
      ->check(CLI::ExistingDirectory);
  app.add_option("--path.cgroupfs", o.paths.cgroupfs, "What stands for /sys/fs/cgroup of the host")
      ->group("Paths")
      ->check(CLI::ExistingDirectory);
  app.add_option("--path.rootfs", o.paths.rootfs, "Where / of the host is seen")
      ->group("Paths")
      ->check(CLI::ExistingDirectory);
  bool version = false;
  app.add_flag("-V,--version", version, "Print the version and exit");

  const auto is_batch = [&] {
    return batch || o.action != Action::screen || once || o.iterations || !format.empty() || json;
  };
  try {
    app.parse(argc, argv);
    if (!version && !is_batch() && can_show_screen()) add_config(app, o, config->count() > 0);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    parsed.exit_code = kDone;
    return parsed;
  } catch (const CLI::ParseError& error) {
    std::string what = error.what();
    for (auto& c : what) c = c == '\n' ? ' ' : c;
    std::cerr << "cgtop: " << base::printable(what) << " (see cgtop --help)\n";
    parsed.exit_code = kUsage;
    return parsed;
  }
  if (version) o.action = Action::version;
  o.batch = is_batch();
  if (once) o.iterations = 1;
  if (!delay.empty()) o.delay = parse_duration(delay);
  if (!for_time.empty()) o.for_time = *parse_duration(for_time);
  if (!max_age.empty()) o.max_age = *parse_duration(max_age);
  if (!max_size.empty()) o.max_size = *parse_size(max_size);
  if (!format.empty()) o.format = format_of(format);
  if (json) o.format = Format::json;
  if (units == "si") o.units = Units::si;
  if (units == "raw" || raw) o.units = Units::raw;
  if (cpu == "machine") o.cpu = CpuScale::machine;
  if (no_color) o.color = "never";
  return parsed;
}

}  // namespace cgwarden::cgtop
