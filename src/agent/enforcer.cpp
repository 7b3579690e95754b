// SPDX-License-Identifier: Apache-2.0
#include "src/agent/enforcer.h"

#include <prometheus/registry.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "collectors/sampler.h"
#include "src/agent/discovery.h"
#include "src/agent/early_triggers.h"
#include "src/agent/enforcer_metrics.h"
#include "src/agent/log.h"
#include "src/agent/policy_commands.h"
#include "src/agent/writer_thread.h"
#include "src/base/text.h"
#include "src/control/socket.h"
#include "src/policy/decide.h"
#include "src/policy/load.h"

namespace cgwarden::agent {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using std::chrono::microseconds;

constexpr auto kLeaseCheckInterval = 1s;
constexpr auto kMinEarlyInterval = 100ms;            // between samples that the kernel triggers
constexpr auto kStopTimeout = 4s;                    // for undoing limits at stop
constexpr std::chrono::milliseconds kMaxWait = 10s;  // for requests over the socket
constexpr int kMaxDelayIntervals = 2;                // an action is skipped if it has waited this many intervals
constexpr policy::Duration kMinMaxDelay = 5s;        // and at least this long

log::Fields action_fields(const model::Action& action, const model::Outcome& outcome) {
  log::Fields out = {{"rule", action.actor.rule}, {"action", model::name(action.verb)}, {"cgroup", action.cgroup.path}};
  if (!action.settings.empty()) {
    std::string settings;
    for (const auto& setting : action.settings) settings += (settings.empty() ? "" : " ") + model::to_text(setting);
    out.emplace_back("settings", settings);
  }
  if (action.dry_run) out.emplace_back("dry_run", "true");
  out.emplace_back("reason", action.reason.text);
  out.emplace_back("result", model::name(outcome.kind));
  if (!outcome.text.empty()) out.emplace_back("detail", outcome.text);
  return out;
}

std::string_view message_of(policy::Notice::Kind kind) {
  constexpr std::string_view messages[] = {"rule arming",
                                           "rule disarmed",
                                           "rule fired",
                                           "rule cleared",
                                           "policy notification",
                                           "action deferred",
                                           "action skipped, limit of actions per hour reached",
                                           "rule in dry-run mode, too many targets",
                                           "rule disabled, too many kills",
                                           "samples missing"};
  return messages[static_cast<std::size_t>(kind)];
}

std::string notice_line(const policy::Notice& notice) {
  nlohmann::ordered_json out;
  out["time"] = log::time_text(base::wall_now());
  out["event"] = policy::name(notice.kind);
  out["rule"] = notice.rule;
  if (!notice.cgroup.path.empty()) {
    out["cgroup"] = {{"path", base::to_utf8(notice.cgroup.path)}, {"id", notice.cgroup.id}};
  }
  if (notice.dry_run) out["dry_run"] = true;
  out["reason"] = {{"text", base::to_utf8(notice.reason.text)}};
  for (const auto& [name, value] : notice.reason.numbers) out["reason"][base::to_utf8(name)] = base::to_utf8(value);
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

class Enforcer {
 public:
  Enforcer(const Options& options, std::shared_ptr<const model::Catalogue> catalogue)
      : options_(options),
        catalogue_(std::move(catalogue)),
        interval_(std::chrono::duration_cast<policy::Duration>(
            std::chrono::duration<double>(options.policy_interval_seconds))) {}

  int run() {
    if (!load()) return kFailed;
    control::Writer::Options writing;
    writing.paths = options_.paths;
    writing.state_directory = options_.control_state;
    writing.audit_file = options_.audit_file;
    writing.thaw_on_exit = true;
    writing.runtime_sockets = options_.runtime_sockets;
    auto writer = WriterThread::start(loop_, std::move(writing));
    if (!writer) return failed(writer.error());
    writer_ = std::move(*writer);
    if (auto started = start_sampler(); !started) return failed(started.error());
    if (auto listening = listen(); !listening) return failed(listening.error());
    log::info("cgroup hierarchies found", {{"hierarchies", sampler_->summary()}});
    if (options_.discovery) {
      discovery_ = std::make_unique<Discovery>(loop_, options_, unused_, [] {});
    }
    early_triggers_.set_policy(*policy_);
    wait_for_signals();
    writer_->expire_leases([this](const WriterThread::Leases& leases) {
      take_over(leases);
      check_leases();
      sample("");
    });
    std::uint64_t watchdog_us = 0;
    if (::sd_watchdog_enabled(0, &watchdog_us) > 0) feed_watchdog(microseconds(watchdog_us / 3));
    loop_.run();
    socket_.reset();
    sampler_.reset();
    writer_.reset();
    log::info("stopped");
    return kOk;
  }

 private:
  static int failed(const base::Error& error) {
    log::error("start failed", {{"error", error.what}});
    return kFailed;
  }

  // Loads the policy. False if it has errors, which were logged; the previous policy then stays active.
  bool load() {
    auto source = policy_source(options_.policy_files);
    source.dirs.insert(source.dirs.end(), options_.policy_dirs.begin(), options_.policy_dirs.end());
    const auto loaded = policy::load(source, catalogue_, policy::Owners::required);
    for (const auto& problem : loaded.problems) log::error("invalid policy", {{"error", problem.text()}});
    if (!loaded.policy) {
      metrics_.loaded(nullptr);
      return false;
    }
    auto made = std::make_shared<policy::Policy>(*loaded.policy);
    if (options_.policy_dry_run) {
      for (auto& rule : made->rules) {
        if (!rule.dry_run) rule.fingerprint ^= 1;
        rule.dry_run = true;
      }
    }
    policy_ = std::move(made);
    metrics_.loaded(policy_.get());
    const auto enforcing = std::ranges::count(policy_->rules, false, &policy::Rule::dry_run);
    log::info("policy loaded", {{"rules", policy_->rules.size()},
                                {"enforcing", enforcing},
                                {"dry_run", std::ssize(policy_->rules) - enforcing}});
    return true;
  }

  [[nodiscard]] std::vector<bool> needed() const {
    std::vector<bool> out(catalogue_->collectors().size(), false);
    for (const auto field : policy_->fields()) out[catalogue_->collector_of(field)] = true;
    return out;
  }

  // Only collectors with fields that the policy uses are enabled.
  base::Result<void> start_sampler() {
    collectors::CollectionOptions wanted;
    wanted.paths = options_.paths;
    wanted.enabled = needed();
    wanted.tree.max_cgroups = options_.max_cgroups;
    wanted.max_open_files = options_.max_open_files;
    enabled_ = wanted.enabled;
    auto sampler = collectors::Sampler::start(loop_, catalogue_, std::move(wanted),
                                              [](const std::string& line) { log::warn(line); });
    if (!sampler) return tl::unexpected(sampler.error());
    sampler_ = std::move(*sampler);
    sampler_->complete_with([this](model::Snapshot& snapshot) {
      if (discovery_) discovery_->complete(snapshot);
    });
    return {};
  }

  // The socket for clients without root privileges. Their requests go through the same writer thread, so their wait
  // times are limited.
  base::Result<void> listen() {
    if (options_.control_socket.empty()) return {};
    if (::mkdir(options_.control_state.c_str(), 0755) != 0 && errno != EEXIST) {
      return base::fail_errno("cannot create " + options_.control_state);
    }
    control::SocketServer::Options socket;
    socket.path = options_.control_socket;
    socket.state_directory = options_.control_state;
    control::SocketServer::ActionHandlers handlers;
    handlers.apply = [this](model::Action action, control::SocketServer::ReplyCallback answer) {
      action.wait = std::min(action.wait.value_or(control::kDefaultWait), kMaxWait);
      action.grace = std::min(action.grace, kMaxWait);
      writer_->apply(std::move(action), std::nullopt, std::move(answer));
    };
    handlers.undo = [this](std::string id, model::Actor actor, bool dry_run,
                           control::SocketServer::ReplyCallback answer) {
      writer_->undo(std::move(id), std::move(actor), dry_run, std::move(answer));
    };
    auto server = control::SocketServer::start(loop_, writer_->host(), std::move(socket), std::move(handlers));
    if (!server) return tl::unexpected(server.error());
    socket_ = std::move(*server);
    return {};
  }

  // Limits that an earlier enforcer left: rules of this policy take them over, the others are undone.
  void take_over(const WriterThread::Leases& leases) {
    for (const auto& entry : leases.entries) {
      if (entry.rule.empty() || entry.verb != model::Verb::limit) continue;
      const model::CgroupRef cgroup{entry.path, entry.cgroup};
      if (policy::adopt(state_, *policy_, entry.rule, cgroup, base::monotonic_now())) {
        log::info("limits of an earlier enforcer taken over", {{"rule", entry.rule}, {"cgroup", entry.path}});
        continue;
      }
      model::Action action;
      action.verb = model::Verb::unlimit;
      action.cgroup = cgroup;
      action.actor.via = model::Actor::Via::policy;
      action.actor.rule = entry.rule;
      action.reason.text = "left by an earlier enforcer; no rule of this policy requests it";
      execute(std::move(action), base::monotonic_now());
    }
  }

  void sample_later() {
    next_ += interval_;
    const auto now = base::monotonic_now();
    if (next_ < now) {
      metrics_.skipped();
      next_ = now + interval_;
    }
    sampling_.expires_at(next_);
    sampling_.async_wait([this](const boost::system::error_code& error) {
      if (!error) sample("");
    });
  }

  // `by`: the early trigger; empty: the periodic sample.
  void sample(const std::string& by) {
    if (stopping_) return;
    if (by.empty() && next_ == base::Monotonic{}) next_ = base::monotonic_now();
    sampler_->request(0ns, [this, by](const model::SnapshotPtr& now) {
      if (stopping_) return;
      decide(now, !by.empty());
      if (by.empty()) sample_later();
    });
  }

  void sample_early(std::string_view by) {
    if (stopping_ || early_pending_) return;
    metrics_.sampled_early(by);
    early_pending_ = true;
    early_timer_.expires_at(std::max(base::monotonic_now(), last_early_ + kMinEarlyInterval));
    early_timer_.async_wait([this, by = std::string(by)](const boost::system::error_code& error) {
      early_pending_ = false;
      if (error) return;
      last_early_ = base::monotonic_now();
      sample(by);
    });
  }

  void decide(const model::SnapshotPtr& now, bool early) {
    // A rate over a few milliseconds is noise: compare an early sample with the one before the last.
    const auto& before = early && latest_ && now->taken - latest_->taken < interval_ / 2 ? older_ : latest_;
    const auto begun = base::monotonic_now();
    auto decision = policy::decide(*policy_, before, now, std::move(state_), interval_);
    metrics_.decided(*policy_, decision, base::monotonic_now() - begun);
    state_ = std::move(decision.state);
    if (!early) {
      older_ = std::exchange(latest_, now);
      early_triggers_.watch_events(*policy_, *now);
    }
    for (const auto& notice : decision.notices) log_notice(notice);
    for (auto& action : decision.actions) execute(std::move(action), now->taken);
    for (auto& action : decision.renewals) {
      if (!action.dry_run) writer_->renew(std::move(action));
    }
    if (!std::exchange(ready_, true)) {
      log::info("ready", {{"cgroups", now->cgroup_count()}});
      ::sd_notify(0, "READY=1");
    }
    write_metrics();
  }

  void log_notice(const policy::Notice& notice) {
    using Kind = policy::Notice::Kind;
    log::Fields fields;
    if (!notice.rule.empty()) fields.emplace_back("rule", notice.rule);
    if (!notice.cgroup.path.empty()) fields.emplace_back("cgroup", notice.cgroup.path);
    if (notice.dry_run) fields.emplace_back("dry_run", "true");
    fields.emplace_back("reason", notice.reason.text);
    const auto message = message_of(notice.kind);
    const bool is_warning = notice.kind == Kind::notify || notice.kind == Kind::rate_limited ||
                            notice.kind == Kind::capped || notice.kind == Kind::too_many || notice.kind == Kind::gap;
    if (notice.kind == Kind::arm || notice.kind == Kind::disarm) {
      log::debug(message, fields);
    } else {
      is_warning ? log::warn(message, fields) : log::info(message, fields);
    }
    writer_->record(notice_line(notice));
  }

  void execute(model::Action action, base::Monotonic sampled) {
    action.actor.uid = ::geteuid();
    action.actor.gid = ::getegid();
    action.actor.pid = ::getpid();
    // Limits follow their rule however late they are. A kill, a freeze or a reclaim is a reaction to one sample.
    std::optional<base::Monotonic> until;
    if (action.verb != model::Verb::limit && action.verb != model::Verb::unlimit) {
      until = sampled + std::max(kMinMaxDelay, kMaxDelayIntervals * interval_);
    }
    ++pending_;
    writer_->apply(action, until, [this, action, sampled](const model::Outcome& outcome) {
      --pending_;
      policy::record_outcome(state_, action, outcome);
      metrics_.action_finished(action, outcome, base::monotonic_now() - sampled);
      const bool fine = outcome.ok() || outcome.kind == model::Outcome::Kind::gone;
      fine ? log::info("action finished", action_fields(action, outcome))
           : log::warn("action failed", action_fields(action, outcome));
      if (stopping_ && pending_ == 0) loop_.stop();
    });
  }

  void check_leases() {
    lease_timer_.expires_after(kLeaseCheckInterval);
    lease_timer_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      writer_->expire_leases([this](const WriterThread::Leases& leases) {
        for (const auto& one : leases.lease_events) {
          using control::LeaseEventKind;
          if (!one.entry.rule.empty() && one.entry.verb == model::Verb::limit) {
            const model::CgroupRef cgroup{one.entry.path, one.entry.cgroup};
            one.kind == LeaseEventKind::ended ? policy::lease_expired(state_, one.entry.rule, cgroup)
                                              : policy::lease_lost(state_, one.entry.rule, cgroup);
          }
          if (one.kind == LeaseEventKind::lost) {
            log::warn("limit changed by another program, lease dropped",
                      {{"rule", one.entry.rule}, {"cgroup", one.entry.path}, {"detail", one.outcome.text}});
          }
        }
        metrics_.lease_events(leases.lease_events, leases.entries);
        check_leases();
      });
    });
  }

  void write_metrics() {
    if (options_.metrics_textfile.empty()) return;
    const auto written = metrics_.write(options_.metrics_textfile);
    if (!written && !std::exchange(metrics_error_logged_, true))
      log::error("cannot write metrics file", {{"error", written.error().what}});
    if (written) metrics_error_logged_ = false;
  }

  void wait_for_signals() {
    signals_.async_wait([this](const boost::system::error_code& error, int signal) {
      if (error) return;
      wait_for_signals();
      if (signal == SIGHUP) {
        reload();
      } else {
        stop();
      }
    });
  }

  void reload() {
    if (stopping_) return;
    ::sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
                 static_cast<long long>(
                     std::chrono::duration_cast<microseconds>(base::monotonic_now().time_since_epoch()).count()));
    if (!load()) {
      log::error("reload failed, previous policy stays active");
    } else if (needed() != enabled_) {
      // Counters of two samplers must not be compared.
      sampler_.reset();
      latest_.reset();
      older_.reset();
      sampling_.cancel();
      next_ = {};
      if (const auto started = start_sampler(); !started) {
        log::error("cannot restart sampling", {{"error", started.error().what}});
        stop();
        return;
      }
      sample("");
    }
    early_triggers_.set_policy(*policy_);
    write_metrics();
    ::sd_notify(0, "READY=1");
  }

  // Undoes the limits of all rules: an empty policy requests no limit.
  void stop() {
    if (std::exchange(stopping_, true)) return;
    ::sd_notify(0, "STOPPING=1");
    sampling_.cancel();
    early_timer_.cancel();
    if (const auto last = sampler_->latest()) {
      policy::Policy none;
      none.catalogue = catalogue_;
      auto decision = policy::decide(none, nullptr, last, std::move(state_), interval_);
      state_ = std::move(decision.state);
      for (auto& action : decision.actions) execute(std::move(action), base::monotonic_now());
    }
    if (pending_ == 0) return loop_.stop();
    sampling_.expires_after(kStopTimeout);
    sampling_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      log::error("stop timeout reached, remaining limits end with their leases", {{"pending_actions", pending_}});
      loop_.stop();
    });
  }

  // The loop feeds the watchdog after the sampling thread has answered. The writer thread is not checked: a write may
  // block in the kernel.
  void feed_watchdog(microseconds every) {
    watchdog_.expires_after(every);
    watchdog_.async_wait([this, every](const boost::system::error_code& error) {
      if (error || stopping_) return;
      sampler_->ping([] { ::sd_notify(0, "WATCHDOG=1"); });
      feed_watchdog(every);
    });
  }

  Options options_;
  std::shared_ptr<const model::Catalogue> catalogue_;
  policy::Duration interval_;
  asio::io_context loop_{1};
  asio::signal_set signals_{loop_, SIGTERM, SIGINT, SIGHUP};
  asio::steady_timer sampling_{loop_};
  asio::steady_timer early_timer_{loop_};
  asio::steady_timer lease_timer_{loop_};
  asio::steady_timer watchdog_{loop_};
  EnforcerMetrics metrics_;
  prometheus::Registry unused_;  // not exported: the exporter shows the metrics of discovery
  EarlyTriggers early_triggers_{loop_, options_.paths.procfs, [this](std::string_view by) { sample_early(by); }};
  policy::PolicyPtr policy_;
  policy::State state_;
  std::vector<bool> enabled_;
  model::SnapshotPtr latest_;  // latest periodic sample
  model::SnapshotPtr older_;   // the periodic sample before it
  base::Monotonic next_{};
  base::Monotonic last_early_{};
  std::size_t pending_ = 0;  // actions of the writer thread that have not finished
  bool early_pending_ = false;
  bool ready_ = false;
  bool stopping_ = false;
  bool metrics_error_logged_ = false;
  std::unique_ptr<Discovery> discovery_;
  std::unique_ptr<collectors::Sampler> sampler_;
  std::unique_ptr<WriterThread> writer_;
  std::unique_ptr<control::SocketServer> socket_;
};

}  // namespace

int enforce(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue) {
  return Enforcer(options, catalogue).run();
}

}  // namespace cgwarden::agent
