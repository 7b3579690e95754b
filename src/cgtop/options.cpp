// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/options.h"

#include <cerrno>
#include <cstring>
#include <iostream>
#include <iterator>

#include "src/base/file.h"
#include "src/base/text.h"
#include "src/cgtop/columns.h"
#include "src/cgtop/config.h"
#include "src/cgtop/screen.h"
#include "src/cgtop/theme.h"
#include "src/cli/cli.h"
#include "src/discovery/daemon.h"
#include "src/model/action.h"

namespace cgwarden::cgtop {
namespace {

constexpr const char* kFooter =
    "CGROUP is a path (/system.slice/ssh.service), the last part of a path (ssh.service, ssh), or a process ID.\n"
    "If standard output is not a terminal, one table is printed. Numbers are in base units. Unknown values are null "
    "in\n"
    "JSON and empty elsewhere; \"max\" means unlimited.\n"
    "Exit status:\n"
    "  0  success                               3  cgroup or process not found\n"
    "  1  unexpected error                      4  permission denied\n"
    "  2  invalid option, field or filter,      5  agent, enforcer or Prometheus not reachable\n"
    "     or an ambiguous cgroup name           9  recording damaged or of a newer format\n"
    "of commands that write:\n"
    "  6  refused by a guard, nothing changed   8  timed out; a freeze was undone\n"
    "  7  partly done, as printed";

constexpr std::size_t kMaxConfig = 64U << 10U;
constexpr const char* kUseDuration = "use a duration such as 2, 500ms or 1m30s";

CLI::Validator timespan() {
  return {[](std::string& text) {
            const auto time = model::parse_timespan(text);
            return time ? std::string() : time.error().what;
          },
          ""};
}

CLI::Validator duration_between(std::chrono::milliseconds least, std::chrono::milliseconds most, std::string range) {
  return {[least, most, range = std::move(range)](std::string& text) {
            const auto d = parse_duration(text);
            if (d && *d >= least && *d <= most) return std::string();
            return "'" + text + "' is not a duration " + range + "; " + kUseDuration;
          },
          ""};
}

// Where actions are sent to and recorded.
void add_action_client(CLI::App& app, Options& o, const std::string& group) {
  const auto is_socket = [](const std::string& path) {
    return path == "none" || discovery::is_socket_path(path)
               ? std::string()
               : "invalid socket path '" + path + "'; use an absolute path of at most 107 bytes, or none";
  };
  for (auto* const option :
       {app.add_option(
            "--socket", o.socket,
            "Socket of the enforcer that performs the action (default: /run/cgwarden-control/socket; as root, "
            "cgtop acts itself)"),
        app.add_option("--docker-socket", o.runtime_sockets.docker,
                       "Socket of the Docker daemon, which is notified of actions on its containers; none disables it")
            ->capture_default_str()
            ->check(is_socket),
        app.add_option(
               "--podman-socket", o.runtime_sockets.podman,
               "Socket of `podman system service`, which is notified of actions on its containers; none disables "
               "it")
            ->capture_default_str()
            ->check(is_socket)}) {
    option->type_name("PATH");
    if (!group.empty()) option->group(group);
  }
  app.add_option("--state-dir", o.state_directory, "Directory for undo records and leases")->group("");
  app.add_option("--audit-file", o.audit_file, "Audit log")->group("");
}

// The subcommands that write; the name of each is that of its verb.
class ActionCommands {
 public:
  ActionCommands(CLI::App& app, Options& options) : app_(app), o_(options) {}

  void add() {
    add_limits();
    add_freezer();
    add_signals();
    add_memory_and_processes();
    add_undo();
  }

 private:
  CLI::App* command(const char* name, const char* help) {
    auto* const sub = app_.add_subcommand(name, help);
    sub->callback([this, verb = model::verb_of(name)] {
      o_.action = Options::Action::act;
      o_.verb = verb;
    });
    sub->add_flag("--dry-run", o_.dry_run, "Check the action and print the plan; exit status 6 if it would be refused");
    add_action_client(*sub, o_, "");
    sub->fallthrough();
    return sub;
  }
  CLI::App* on_cgroup(const char* name, const char* help) {
    auto* const sub = command(name, help);
    sub->add_option("CGROUP", o_.cgroup, "Cgroup to act on")->required();
    sub->add_option("--reason", o_.reason, "Reason to record in the audit log")->type_name("TEXT");
    return sub;
  }
  template <class Set>
  static void time(CLI::App* sub, const char* flag, const char* help, Set set) {
    sub->add_option_function<std::string>(
           flag, [set](const std::string& text) { set(*model::parse_timespan(text)); }, help)
        ->type_name("DURATION")
        ->check(timespan());
  }
  void lease(CLI::App* sub, const char* help) {
    time(sub, "--for", help, [this](std::chrono::milliseconds t) { o_.lease = t; });
  }
  void wait(CLI::App* sub) {
    time(sub, "--wait", "Maximum time to wait for completion (default: 5s)",
         [this](std::chrono::milliseconds t) { o_.wait = t; });
  }
  CLI::Option* signal(CLI::App* sub, const char* help) {
    return sub
        ->add_option_function<std::string>(
            "--signal", [this](const std::string& text) { o_.signal = *model::signal_of(text); }, help)
        ->type_name("SIGNAL")
        ->check([](const std::string& text) {
          return model::signal_of(text) ? std::string()
                                        : "unknown signal '" + text + "'; use a name or number such as TERM or 15";
        });
  }

  void add_limits() {
    std::string keys = "KEY=VALUE or KEY@DEVICE=VALUE, such as memory.max=512M or io.max.wbps@vda=50M. Keys:";
    for (const auto& key : model::setting_keys()) keys += ' ' + std::string(key.name);
    auto* const limit = on_cgroup("limit", "Set limits, weights and protections of a cgroup");
    limit->add_option("SETTING", o_.settings, keys)->required();
    lease(limit, "Restore the previous values after this time (default: never)");
    limit->add_flag("--force", o_.force,
                    "Set a limit even if it is below the current usage or above the parent's limit");
    limit->add_flag("--persist", o_.persist, "Make systemd keep the setting across reboots");
    on_cgroup("unlimit", "Remove limits: those named, or all that cgtop limit has set")
        ->add_option("KEY", o_.settings, "Key to reset; KEY@DEVICE for a limit per device");
  }

  void add_freezer() {
    auto* const freeze = on_cgroup("freeze", "Freeze a cgroup for a limited time");
    lease(freeze, "Time after which the cgroup is thawed in any case, at most 1h (default: 60s)");
    wait(freeze);
    on_cgroup("thaw", "Thaw a frozen cgroup");
  }

  void add_signals() {
    auto* const kill = on_cgroup("kill", "Kill all processes of a cgroup and its descendants");
    signal(kill, "Signal to send first; the remaining processes are killed after --grace");
    time(kill, "--grace", "Time between --signal and the kill (default: 10s)",
         [this](std::chrono::milliseconds t) { o_.grace = t; });
    o_.grace = std::chrono::seconds(10);
    kill->add_flag("-y,--yes", o_.yes, "Do not ask for confirmation");
    wait(kill);
    auto* const send = on_cgroup("signal", "Send a signal to the processes of a cgroup");
    signal(send, "Signal to send, such as HUP")->required();
    send->add_option("PID", o_.pids, "Send it to these processes only");
  }

  void add_memory_and_processes() {
    auto* const reclaim = on_cgroup("reclaim", "Reclaim memory of a cgroup (cgroup v2 only)");
    reclaim
        ->add_option_function<std::string>(
            "SIZE", [this](const std::string& text) { o_.bytes = *model::parse_size(text); },
            "Amount to reclaim, such as 256M")
        ->required()
        ->check([](const std::string& text) {
          const auto size = model::parse_size(text);
          return size ? std::string() : size.error().what;
        });
    wait(reclaim);
    auto* const move = on_cgroup("move", "Move processes of a cgroup to another cgroup");
    move->add_option("TARGET", o_.target, "Cgroup to move the processes to")->required();
    move->add_option("PID", o_.pids, "Processes to move")->required();
  }

  void add_undo() {
    auto* const undo = command("undo", "Undo an action; without an ID, the latest one");
    undo->add_option("ID", o_.undo, "ID that was printed after the action");
    undo->add_flag("--lease-ended", o_.lease_ended, "The action's lease has expired")->group("");
  }

  CLI::App& app_;
  Options& o_;
};

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

// Applies the configuration file to options that the command line does not set. Throws CLI::ParseError.
void add_config(CLI::App& app, const Options& o, bool must_be_there) {
  const auto path = must_be_there ? o.config : config_path();
  const auto text = path.empty() ? std::nullopt : base::read_file(AT_FDCWD, path, kMaxConfig);
  if (!text) {
    if (must_be_there) throw CLI::FileError("--config: cannot read " + path + ": " + std::strerror(errno));
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

// Texts that are converted after parsing.
struct Raw {
  bool batch = false;
  bool once = false;
  bool json = false;
  bool raw = false;
  bool version = false;
  bool no_color = false;
  std::string delay, format, units, cpu;
  std::string max_size, max_age, for_time;
};

CLI::App* add_command(CLI::App& app, Options& o, const char* name, const char* help, Options::Action action) {
  auto* const sub = app.add_subcommand(name, help);
  sub->callback([&o, action] { o.action = action; });
  sub->fallthrough();
  return sub;
}

void add_views(CLI::App& app, Options& o) {
  const auto cgroup = [&](CLI::App* sub, const char* help) { return sub->add_option("CGROUP", o.cgroup, help); };
  cgroup(add_command(app, o, "dump", "Print cgroups as a table, JSON, CSV or another format", Options::Action::dump),
         "Print only this cgroup and its descendants");
  cgroup(add_command(app, o, "show", "Print all that is known of one cgroup", Options::Action::show), "Cgroup to print")
      ->required();
  auto* const ps = add_command(app, o, "ps", "Print the processes of a cgroup", Options::Action::ps);
  cgroup(ps, "Cgroup whose processes are printed")->required();
  ps->add_flag("-R,--recursive", o.recursive, "Include the processes of descendants");
  cgroup(add_command(app, o, "tree", "Print cgroups as a tree", Options::Action::tree),
         "Print only this cgroup and its descendants");
  add_command(app, o, "fields", "Print all fields that can be shown", Options::Action::fields);
  add_command(app, o, "doctor", "Print what this host supports, what is missing, and how to fix it",
              Options::Action::doctor);
  app.add_option("CGROUP", o.cgroup, "Show only this cgroup and its descendants");
}

void add_recordings(CLI::App& app, Options& o, Raw& raw) {
  using namespace std::chrono_literals;
  const auto at_least_a_second = duration_between(1s, std::chrono::milliseconds::max(), "of 1s or more");
  auto* const record =
      add_command(app, o, "record", "Record samples to a file until SIGINT or SIGTERM", Options::Action::record);
  record->add_option("FILE", o.file, "Output file; created if missing, appended to otherwise")->required();
  record->add_option("--for", raw.for_time, "Time after which the recording ends (default: until SIGINT or SIGTERM)")
      ->type_name("DURATION")
      ->check(at_least_a_second);
  record
      ->add_option("--max-size", raw.max_size, "Maximum size of the file, such as 50M; the oldest samples are dropped")
      ->type_name("BYTES")
      ->check([](const std::string& text) {
        const auto n = parse_size(text);
        return n && *n >= 65536 ? std::string() : "'" + text + "' is not a size of 64K or more; use a size such as 50M";
      });
  record->add_option("--max-age", raw.max_age, "Age from which samples are dropped")
      ->type_name("DURATION")
      ->check(at_least_a_second);
  add_command(app, o, "replay", "Show a recording on the screen", Options::Action::screen)
      ->add_option("FILE", o.from, "Recording to show")
      ->required();
  auto* const snapshot = add_command(
      app, o, "snapshot", "Copy a part of a recording to a new file (see --begin, --end)", Options::Action::snapshot);
  snapshot->add_option("RECORDING", o.from, "Recording to read")->required();
  snapshot->add_option("FILE", o.file, "File to write; it must not exist")->required();
}

void add_output(CLI::App& app, Options& o, Raw& raw) {
  constexpr const char* group = "Output";
  app.add_flag("-b,--batch", raw.batch, "Print text instead of showing a screen")->group(group);
  app.add_option("-n,--iterations", o.iterations, "Number of samples to print; 0 prints until SIGINT (default: 1)")
      ->type_name("NUMBER")
      ->group(group);
  app.add_flag("-1", raw.once, "Print one sample; short for --iterations 1")->group(group);
  app.add_option("-d,--delay", raw.delay, "Time between samples, 50ms to 24h (default: 2s)")
      ->type_name("DURATION")
      ->group(group)
      ->check(duration_between(kShortestDelay, kMaxDelay, "from 50ms to 24h"));
  app.add_option("-f,--format", raw.format, "Output format: table, json, jsonl, csv, tsv, kv or prom")
      ->type_name("FORMAT")
      ->group(group)
      ->check(cli::one_of({"table", "json", "jsonl", "csv", "tsv", "kv", "prom"}));
  app.add_flag("-j,--json", raw.json, "Short for --format json")->group(group);
  app.add_option("-o,--fields", o.fields,
                 "Comma-separated list of fields; all selects every field that this host offers (see cgtop fields)")
      ->type_name("FIELDS")
      ->group(group);
  std::string set_help = "Set of fields:";
  for (const auto& set : kColumnSets)
    set_help += (&set == std::begin(kColumnSets)     ? " "
                 : &set + 1 == std::end(kColumnSets) ? " or "
                                                     : ", ") +
                std::string(set.name);
  app.add_option("--set", o.set, set_help)->type_name("SET")->group(group);
  app.add_option("--units", raw.units, "Units of tables: iec (1024), si (1000) or raw (default: iec)")
      ->type_name("UNITS")
      ->group(group)
      ->check(cli::one_of({"iec", "si", "raw"}));
  app.add_flag("--raw", raw.raw, "Short for --units raw")->group(group);
  app.add_flag_callback(
         "--no-header", [&o] { o.header = false; }, "Omit the header line")
      ->group(group);
}

void add_selection(CLI::App& app, Options& o) {
  constexpr const char* group = "Selection";
  app.add_option("-s,--sort", o.sort, "Field to sort by: FIELD, FIELD:asc or FIELD:desc")
      ->type_name("FIELD")
      ->group(group);
  app.add_flag("-r,--reverse", o.reverse, "Reverse the order")->group(group);
  app.add_option("-F,--filter", o.filter, "Show only cgroups that match, such as 'cpu>50 mem>1G kind=service not idle'")
      ->type_name("FILTER")
      ->group(group);
  app.add_option("-L,--limit", o.limit, "Maximum number of cgroups to show")->type_name("NUMBER")->group(group);
  app.add_option("--depth", o.depth, "Maximum depth below the topmost cgroup")
      ->type_name("NUMBER")
      ->group(group)
      ->check(cli::integer_between(0, 1'000'000));
  app.add_flag("--active", o.active, "Show only cgroups with activity")->group(group);
  app.add_flag("--tree", o.tree, "Show a tree")->group(group);
  app.add_flag("--flat", o.flat, "Show a flat list")->group(group)->excludes("--tree");
}

void add_source(CLI::App& app, Options& o) {
  const auto add = [&](const char* name, std::string& value, const char* metavar, const char* help) {
    app.add_option(name, value, help)->type_name(metavar)->group("Source");
  };
  add("--agent", o.agent, "ADDRESS", "Show the host of this agent: URL, HOST or unix:/PATH");
  add("--prometheus", o.prometheus, "ADDRESS", "Show all hosts that this Prometheus scrapes: URL or HOST");
  add("--auth-file", o.auth_file, "PATH",
      "File with USER:PASSWORD for the server (default: from the URL, or from CGTOP_AUTH)");
  add("--tls-ca", o.ca_file, "PATH", "CA certificates in PEM format (default: those of the system)");
  add("--tls-cert", o.cert_file, "PATH", "Client certificate in PEM format");
  add("--tls-key", o.key_file, "PATH", "Key of the client certificate (default: in the file of --tls-cert)");
  app.add_flag("--tls-insecure", o.insecure, "Do not verify the server's certificate")->group("Source");
  add("--from", o.from, "PATH", "Read this recording instead of this host");
  add("--at", o.at, "TIME", "Time in the recording or Prometheus: 2026-11-24T03:41:06, 03:41, -10m or @SECONDS");
  add("--begin", o.begin, "TIME", "Time of the first sample to read from the recording");
  add("--end", o.end, "TIME", "Time of the last sample to read from the recording");
}

// Returns --config, as its file is read after the command line.
CLI::Option* add_screen(CLI::App& app, Options& o, Raw& raw) {
  constexpr const char* group = "Screen";
  app.add_option("--cpu", raw.cpu,
                 "CPU usage in percent of one core or of the machine: core or machine (default: core)")
      ->type_name("SCALE")
      ->group(group)
      ->check(cli::one_of({"core", "machine"}));
  app.add_flag("--ascii", o.ascii, "Use ASCII characters only")->group(group);
  std::vector<std::string> themes;
  themes.reserve(kThemes.size());
  std::string theme_help = "Colors:";
  for (const auto& theme : kThemes) {
    theme_help += (themes.empty()                        ? " "
                   : themes.size() + 1 == kThemes.size() ? " or "
                                                         : ", ") +
                  std::string(theme.name);
    themes.emplace_back(theme.name);
  }
  app.add_option("--theme", o.theme, theme_help)
      ->type_name("THEME")
      ->group(group)
      ->capture_default_str()
      ->check(cli::one_of(themes));
  app.add_flag("--mouse,!--no-mouse", o.mouse,
               "Handle clicks and the wheel; without it the terminal selects text with them (default: on)")
      ->group(group);
  app.add_flag("--read-only", o.read_only, "Disable all keys that write to cgroups")->group(group);
  auto* const config =
      app.add_option("--config", o.config, "File of settings, written by key W (default: ~/.config/cgtop/cgtop.conf)")
          ->type_name("PATH")
          ->group(group);
  add_action_client(app, o, group);
  app.add_option("--color", o.color, "Use of colors: auto, always or never; auto disables them if NO_COLOR is set")
      ->type_name("WHEN")
      ->group(group)
      ->capture_default_str()
      ->check(cli::one_of({"auto", "always", "never"}));
  app.add_flag("-C,--no-color", raw.no_color, "Short for --color never")->group(group);
  return config;
}

void add_paths(CLI::App& app, Options& o) {
  const auto add = [&](const char* name, std::string& path, const char* help) {
    app.add_option(name, path, help)->type_name("PATH")->group("Paths")->check(cli::existing_directory());
  };
  add("--path.procfs", o.paths.procfs, "Mount point of the host's procfs (default: /proc)");
  add("--path.sysfs", o.paths.sysfs, "Mount point of the host's sysfs (default: /sys)");
  add("--path.cgroupfs", o.paths.cgroupfs,
      "Directory in which the host's cgroup hierarchies are mounted (default: from mountinfo)");
  add("--path.rootfs", o.paths.rootfs, "Directory in which the host's root file system is mounted (default: /)");
}

// Subcommands fall through to the program's own CGROUP: "cgtop dump web x".
void refuse_second_cgroup(const CLI::App& app) {
  const auto* const own = app.get_option("CGROUP");
  for (const auto* sub : app.get_subcommands()) {
    if (sub->get_option_no_throw("CGROUP") != nullptr && own->count() > 0)
      throw CLI::ValidationError("unexpected argument '" + own->results().front() + "'");
  }
}

bool is_batch(const Options& o, const Raw& raw) {
  return raw.batch || o.action != Options::Action::screen || raw.once || o.iterations || !raw.format.empty() ||
         raw.json;
}

void convert(const Raw& raw, Options& o) {
  if (raw.version) o.action = Options::Action::version;
  o.batch = is_batch(o, raw);
  if (raw.once) o.iterations = 1;
  if (!raw.delay.empty()) o.delay = parse_duration(raw.delay);
  if (!raw.for_time.empty()) o.for_time = *parse_duration(raw.for_time);
  if (!raw.max_age.empty()) o.max_age = *parse_duration(raw.max_age);
  if (!raw.max_size.empty()) o.max_size = *parse_size(raw.max_size);
  if (!raw.format.empty()) o.format = format_of(raw.format);
  if (raw.json) o.format = Format::json;
  if (raw.units == "si") o.units = Units::si;
  if (raw.units == "raw" || raw.raw) o.units = Units::raw;
  if (raw.cpu == "machine") o.cpu = CpuScale::machine;
  if (raw.no_color) o.color = "never";
}

}  // namespace

Parsed parse_command_line(int argc, const char* const* argv) {
  Parsed parsed;
  auto& o = parsed.options;
  CLI::App app("cgtop: shows the resource usage of this host's cgroups, on a screen or as text, and acts on them.",
               "cgtop");
  cli::use_layout(app);
  app.footer(kFooter);
  app.fallthrough();
  app.require_subcommand(0, 1);
  Raw raw;
  ActionCommands actions(app, o);
  add_views(app, o);
  add_recordings(app, o, raw);
  actions.add();
  add_output(app, o, raw);
  add_selection(app, o);
  add_source(app, o);
  auto* const config = add_screen(app, o, raw);
  add_paths(app, o);
  app.add_flag("-V,--version", raw.version, "Print the version and exit");
  cli::refuse_values_of_flags(app);

  try {
    app.parse(argc, argv);
    refuse_second_cgroup(app);
    if (!raw.version && !is_batch(o, raw) && can_show_screen()) add_config(app, o, config->count() > 0);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    parsed.exit_code = kDone;
    return parsed;
  } catch (const CLI::ParseError& error) {
    std::cerr << cli::describe(app, error) << '\n';
    parsed.exit_code = kUsage;
    return parsed;
  }
  convert(raw, o);
  return parsed;
}

}  // namespace cgwarden::cgtop
