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

model::Actor calling_user() {
  model::Actor actor;
  actor.uid = ::getuid();
  actor.gid = ::getgid();
  actor.pid = ::getpid();
  return actor;
}

// Resolves names of cgroups. An absolute path needs no sample of the host, so that an action on a fork bomb starts at
// once.
class CgroupResolver {
 public:
  explicit CgroupResolver(const Options& options) : options_(options) {}

  tl::expected<model::CgroupRef, ExitError> resolve(const std::string& name) {
    if (name.starts_with('/')) return model::CgroupRef{name, 0};
    if (!sample_.snapshot) {
      // Actions apply to this host only, whatever source the options select.
      auto source = open_live(options_, collectors::make_catalogue());
      if (!source) return tl::unexpected(source.error());
      source_ = std::move(*source);
      auto sample = source_->take();
      if (!sample) return tl::unexpected(sample.error());
      sample_ = std::move(*sample);
    }
    auto named = options_;
    named.cgroup = name;
    const auto cgroup = wanted_cgroup(named, *sample_.snapshot, source_.get());
    if (!cgroup) return tl::unexpected(cgroup.error());
    const auto& found = *sample_.snapshot->cgroup_list->cgroups[**cgroup];
    return model::CgroupRef{found.path, found.id};
  }

 private:
  const Options& options_;
  std::unique_ptr<SampleSource> source_;
  Sample sample_;
};

tl::expected<Action, ExitError> action_of(const Options& o) {
  Action action;
  CgroupResolver resolver(o);
  action.verb = *o.verb;
  auto cgroup = resolver.resolve(o.cgroup);
  if (!cgroup) return tl::unexpected(cgroup.error());
  action.cgroup = std::move(*cgroup);
  if (!o.target.empty()) {
    auto target = resolver.resolve(o.target);
    if (!target) return tl::unexpected(target.error());
    action.target = std::move(*target);
  }
  for (const auto& text : o.settings) {
    if (action.verb == Verb::unlimit) {
      model::Setting setting;
      const auto at = text.find('@');
      setting.key = text.substr(0, at);
      if (at != std::string::npos) setting.device = text.substr(at + 1);
      // parse_setting() returns the error with the nearest key.
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
  std::string reply;
  return std::getline(std::cin, reply) && (reply == "y" || reply == "Y" || reply == "yes");
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
  action.actor = calling_user();
  if (writer_) return writer_->apply(action);
  control::Request request;
  const auto duration = action.wait.value_or(control::kDefaultWait) + action.grace;
  request.action = std::move(action);
  return send_request(request, duration);
}

Outcome ActionClient::undo(const std::string& id, bool dry_run) {
  if (writer_) return writer_->undo(id, calling_user(), dry_run, options_.lease_ended);
  control::Request request;
  request.kind = control::RequestKind::undo;
  request.undo = id;
  request.dry_run = dry_run;
  return send_request(request, control::kDefaultWait);
}

Outcome ActionClient::send_request(const control::Request& request, std::chrono::milliseconds duration) {
  // The enforcer completes earlier requests first.
  auto outcome = control::query_enforcer(socket_, request, duration + std::chrono::seconds(15));
  if (outcome) return std::move(*outcome);
  return model::outcome_of(Outcome::Kind::unreachable, outcome.error().what);
}

std::string print_outcome(const Outcome& outcome, const Action& action) {
  std::string out;
  const auto line = [&](const std::string& text) { out += base::printable(text) + '\n'; };
  const bool text_last = action.verb == Verb::limit || action.verb == Verb::unlimit;
  auto head = action.cgroup.path.empty() ? "undo" : std::string(model::name(action.verb)) + ' ' + action.cgroup.path;
  if (outcome.dry_run) head += " (dry run, no changes made)";
  if (!outcome.ok()) {
    line(outcome.text + (outcome.guard.empty() ? "" : " [" + outcome.guard + "]"));
    if (outcome.kind != Outcome::Kind::partly) return out;
  } else {
    line(outcome.text.empty() || text_last ? head : head + ": " + outcome.text);
  }
  for (const auto& change : outcome.changes) out += "  " + change_text(change) + '\n';
  if (outcome.ok() && text_last && !outcome.text.empty()) line("  " + outcome.text);
  if (!outcome.undo.empty()) line("  undo: cgtop undo " + outcome.undo);
  return out;
}

int run_action(const Options& options) {
  ActionClient action_client(options);
  if (auto error = action_client.open()) return report_error(*error);
  if (!options.verb) {
    Action action;
    action.verb = Verb::unlimit;
    const auto outcome = action_client.undo(options.undo, options.dry_run);
    return finish(options, outcome, action);
  }
  auto action = action_of(options);
  if (!action) return report_error(action.error());

  if (action->verb == Verb::kill && !action->dry_run && !options.yes) {
    auto plan = *action;
    plan.dry_run = true;
    const auto planned = action_client.apply(plan);
    if (!planned.ok()) return finish(options, planned, plan);
    if (::isatty(STDIN_FILENO) == 0)
      return report_error(
          {kUsage, "kill: confirmation required: a kill cannot be undone (use --yes, or confirm on a terminal)"});
    if (!confirmed("Kill " + base::printable(action->cgroup.path) + " (" + planned.text + ")?"))
      return report_error({kRefused, "kill: not confirmed, no process was killed"});
  }
  return finish(options, action_client.apply(*action), *action);
}

}  // namespace cgwarden::cgtop
