// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/act.h"

#include <unistd.h>

#include <filesystem>
#include <iostream>

#include "collectors/collection.h"
#include "src/base/text.h"
#include "src/cgtop/batch.h"
#include "src/cgtop/dialog.h"
#include "src/cgtop/source.h"
#include "src/control/protocol.h"
#include "src/control/socket.h"
#include "src/control/writer.h"

namespace cgwarden::cgtop {
namespace {

using model::Action;
using model::Outcome;
using model::Verb;

model::Actor myself() {
  model::Actor actor;
  actor.uid = ::getuid();
  actor.gid = ::getgid();
  actor.pid = ::getpid();
  return actor;
}

// Which cgroup is meant. A whole path needs no look at all of them: whoever kills a fork bomb is in a hurry.
class Finder {
 public:
  explicit Finder(const Options& options) : options_(options) {}

  tl::expected<model::CgroupRef, ExitError> find(const std::string& name) {
    if (name.starts_with('/')) return model::CgroupRef{name, 0};
    if (!taken_.snapshot) {
      // Always of this host: what is acted on was looked at here.
      auto source = open_live(options_, collectors::make_catalogue());
      if (!source) return tl::unexpected(source.error());
      source_ = std::move(*source);
      auto taken = source_->take();
      if (!taken) return tl::unexpected(taken.error());
      taken_ = std::move(*taken);
    }
    auto named = options_;
    named.cgroup = name;
    const auto cgroup = wanted_cgroup(named, *taken_.snapshot, source_.get());
    if (!cgroup) return tl::unexpected(cgroup.error());
    const auto& found = *taken_.snapshot->cgroup_list->cgroups[**cgroup];
    return model::CgroupRef{found.path, found.id};
  }

 private:
  const Options& options_;
  std::unique_ptr<SampleSource> source_;
  Sample taken_;
};

tl::expected<Action, ExitError> action_of(const Options& o) {
  Action action;
  Finder finder(o);
  action.verb = *o.verb;
  auto cgroup = finder.find(o.cgroup);
  if (!cgroup) return tl::unexpected(cgroup.error());
  action.cgroup = std::move(*cgroup);
  if (!o.target.empty()) {
    auto target = finder.find(o.target);
    if (!target) return tl::unexpected(target.error());
    action.target = std::move(*target);
  }
  for (const auto& text : o.settings) {
    if (action.verb == Verb::unlimit) {
      model::Setting setting;
      const auto at = text.find('@');
      setting.key = text.substr(0, at);
      if (at != std::string::npos) setting.device = text.substr(at + 1);
      // The nearest key is named by who knows them.
      if (model::find_setting_key(setting.key) == nullptr)
        return tl::unexpected(ExitError{kUsage, model::parse_setting(setting.key, setting.device, "").error().what});
      action.settings.push_back(std::move(setting));
      continue;
    }
    auto setting = model::parse_setting(text);
    if (!setting) return tl::unexpected(ExitError{kUsage, setting.error().what});
    action.settings.push_back(std::move(*setting));
  }
  action.lease = o.lease;
  action.wait = o.wait;
  action.grace = o.grace;
  action.signal = o.signal;
  action.bytes = o.bytes;
  action.pids = o.pids;
  action.force = o.force;
  action.persist = o.persist;
  action.dry_run = o.dry_run;
  action.reason.text = o.reason;
  return action;
}

int finish(const Options& o, const Outcome& outcome, const Action& action) {
  if (o.format == Format::json || o.format == Format::jsonl) {
    std::cout << control::to_json(outcome) << '\n';
  } else if (outcome.ok()) {
    std::cout << print_outcome(outcome, action);
  } else {
    std::cerr << "cgtop: " << print_outcome(outcome, action);
  }
  std::cout.flush();
  return model::exit_code(outcome.kind);
}

bool confirmed(const std::string& question) {
  std::cerr << question << " [y/N] ";
  std::string answer;
  return std::getline(std::cin, answer) && (answer == "y" || answer == "Y" || answer == "yes");
}

}  // namespace

std::optional<ExitError> ActionClient::open() {
  if (!options_.socket.empty() || ::geteuid() != 0) {
    socket_ = options_.socket.empty() ? control::kSocketPath : options_.socket;
    return std::nullopt;
  }
  control::Writer::Options writer;
  writer.paths = options_.paths;
  if (!options_.state_directory.empty()) writer.state_directory = options_.state_directory;
  if (!options_.audit_file.empty()) writer.audit_file = options_.audit_file;
  writer.runtime_sockets = options_.runtime_sockets;
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) {
    writer.restore_command = {self.string(),
                              "undo",
                              "--lease-ended",
                              "--state-dir=" + writer.state_directory,
                              "--audit-file=" + writer.audit_file,
                              "--docker-socket=" + writer.runtime_sockets.docker,
                              "--podman-socket=" + writer.runtime_sockets.podman,
                              "--"};
  }
  auto opened = control::Writer::open(std::move(writer));
  if (!opened) return ExitError{kNotFound, base::printable(opened.error().what)};
  writer_ = std::move(*opened);
  return std::nullopt;
}

Outcome ActionClient::apply(Action action) {
  action.actor = myself();
  if (writer_) return writer_->apply(action);
  control::Request request;
  const auto time = action.wait.value_or(control::kDefaultWait) + action.grace;
  request.action = std::move(action);
  return ask(request, time);
}

Outcome ActionClient::undo(const std::string& id, bool dry_run) {
  if (writer_) return writer_->undo(id, myself(), dry_run, options_.lease_ended);
  control::Request request;
  request.kind = control::RequestKind::undo;
  request.undo = id;
  request.dry_run = dry_run;
  return ask(request, control::kDefaultWait);
}

Outcome ActionClient::ask(const control::Request& request, std::chrono::milliseconds time) {
  // What it is about before, it finishes first.
  auto answer = control::query_enforcer(socket_, request, time + std::chrono::seconds(15));
  if (answer) return std::move(*answer);
  return model::outcome_of(Outcome::Kind::unreachable, answer.error().what);
}

std::string print_outcome(const Outcome& outcome, const Action& action) {
  std::string out;
  const auto line = [&](const std::string& text) { out += base::printable(text) + '\n'; };
  const bool undone = action.verb == Verb::limit || action.verb == Verb::unlimit;
  auto head = action.cgroup.path.empty() ? "undo" : std::string(model::name(action.verb)) + ' ' + action.cgroup.path;
  if (outcome.dry_run) head += " (dry run, nothing was done)";
  if (!outcome.ok()) {
    line(outcome.text + (outcome.guard.empty() ? "" : " [" + outcome.guard + "]"));
    if (outcome.kind != Outcome::Kind::partly) return out;
  } else {
    line(outcome.text.empty() || undone ? head : head + ": " + outcome.text);
  }
  for (const auto& change : outcome.changes) out += "  " + change_text(change) + '\n';
  if (outcome.ok() && undone && !outcome.text.empty()) line("  " + outcome.text);
  if (!outcome.undo.empty()) line("  undo: cgtop undo " + outcome.undo);
  return out;
}

int run_action(const Options& options) {
  ActionClient action_client(options);
  if (auto why = action_client.open()) return stop(*why);
  if (!options.verb) {
    Action action;
    action.verb = Verb::unlimit;
    const auto outcome = action_client.undo(options.undo, options.dry_run);
    return finish(options, outcome, action);
  }
  auto action = action_of(options);
  if (!action) return stop(action.error());

  if (action->verb == Verb::kill && !action->dry_run && !options.yes) {
    auto plan = *action;
    plan.dry_run = true;
    const auto would = action_client.apply(plan);
    if (!would.ok()) return finish(options, would, plan);
    if (::isatty(STDIN_FILENO) == 0)
      return stop({kUsage, "a kill cannot be undone: say --yes, or answer on a terminal"});
    if (!confirmed("Kill " + base::printable(action->cgroup.path) + ", " + would.text + "?"))
      return stop({kRefused, "nothing was done"});
  }
  return finish(options, action_client.apply(*action), *action);
}

}  // namespace cgwarden::cgtop
