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
#include "src/agent/agent.h"
#include "src/agent/discovery.h"
#include "src/agent/enforcer_metrics.h"
#include "src/agent/hand.h"
#include "src/agent/log.h"
#include "src/agent/policy_commands.h"
#include "src/agent/wakes.h"
#include "src/base/text.h"
#include "src/control/socket.h"
#include "src/policy/decide.h"
#include "src/policy/load.h"

namespace cgwarden::agent {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using std::chrono::microseconds;

constexpr auto kTendEvery = 1s;
constexpr auto kWakePause = 100ms;                   // samples that wakes ask for are no closer
constexpr auto kStopPatience = 4s;                   // for limits to be taken back
constexpr std::chrono::milliseconds kMaxWait = 10s;  // of those who ask over the socket
constexpr int kLateIntervals = 2;                    // an action is not begun later than that
constexpr policy::Duration kLate = 5s;               // but at least this much later

std::string described(const model::Action& action, const model::Outcome& outcome) {
  std::string out = "rule " + action.actor.rule + (action.dry_run ? " would " : " ");
  out += std::string(model::name(action.verb)) + ' ' + action.cgroup.path;
  for (const auto& setting : action.settings) out += ' ' + model::to_text(setting);
  out += ": " + action.reason.text + ": " + std::string(model::name(outcome.kind));
  if (!outcome.text.empty()) out += ", " + outcome.text;
  return out;
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
    writing.freeze_ends_with_us = true;
    writing.engines = options_.engines;
    auto hand = WriterThread::start(loop_, std::move(writing));
    if (!hand) return failed(hand.error());
    hand_ = std::move(*hand);
    if (auto started = start_sampler(); !started) return failed(started.error());
    if (auto listening = listen(); !listening) return failed(listening.error());
    log::info("cgroups: " + sampler_->summary());
    if (options_.discovery) {
      discovery_ = std::make_unique<Discovery>(loop_, options_, unused_, [] {});
    }
    wakes_.look_for(*policy_);
    wait_for_signals();
    hand_->tend([this](const WriterThread::Stock& stock) {
      take_over(stock);
      tend();
      sample("");
    });
    std::uint64_t watchdog_us = 0;
    if (::sd_watchdog_enabled(0, &watchdog_us) > 0) feed_watchdog(microseconds(watchdog_us / 3));
    loop_.run();
    socket_.reset();
    sampler_.reset();
    hand_.reset();
    log::info("stopped");
    return kOk;
  }

 private:
  static int failed(const base::Error& error) {
    log::error(error.what);
    return kFailed;
  }

  // False: the policy has problems, which were told.
  bool load() {
    auto source = policy_source(options_.policy_files);
    source.dirs.insert(source.dirs.end(), options_.policy_dirs.begin(), options_.policy_dirs.end());
    const auto loaded = policy::load(source, catalogue_, policy::Owners::required);
    for (const auto& problem : loaded.problems) log::error(problem.text());
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
    const auto earnest = std::ranges::count(policy_->rules, false, &policy::Rule::dry_run);
    log::info("policy: " + std::to_string(policy_->rules.size()) + " rules, " + std::to_string(earnest) +
              " of them in earnest");
    return true;
  }

  [[nodiscard]] std::vector<bool> needed() const {
    std::vector<bool> out(catalogue_->collectors().size(), false);
    for (const auto field : policy_->fields()) out[catalogue_->collector_of(field)] = true;
    return out;
  }

  // Only what the policy looks at is read.
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

  // For those who are not root. What they ask goes through the same hand, and may not hold it up for long.
  base::Result<void> listen() {
    if (options_.control_socket.empty()) return {};
    if (::mkdir(options_.control_state.c_str(), 0755) != 0 && errno != EEXIST) {
      return base::fail_errno("cannot make " + options_.control_state);
    }
    control::SocketServer::Options socket;
    socket.path = options_.control_socket;
    socket.state_directory = options_.control_state;
    control::SocketServer::ActionHandlers hands;
    hands.apply = [this](model::Action action, control::SocketServer::Answer answer) {
      action.wait = std::min(action.wait.value_or(control::kWait), kMaxWait);
      action.grace = std::min(action.grace, kMaxWait);
      hand_->apply(std::move(action), std::nullopt, std::move(answer));
    };
    hands.undo = [this](std::string id, model::Actor actor, bool dry_run, control::SocketServer::Answer answer) {
      hand_->undo(std::move(id), std::move(actor), dry_run, std::move(answer));
    };
    auto server = control::SocketServer::start(loop_, hand_->host(), std::move(socket), std::move(hands));
    if (!server) return tl::unexpected(server.error());
    socket_ = std::move(*server);
    return {};
  }

  // Limits that an earlier enforcer left: rules that are still there go on with them, the rest is taken back.
  void take_over(const WriterThread::Stock& stock) {
    for (const auto& entry : stock.entries) {
      if (entry.rule.empty() || entry.verb != model::Verb::limit) continue;
      const model::CgroupRef cgroup{entry.path, entry.cgroup};
      if (policy::adopt(state_, *policy_, entry.rule, cgroup, base::monotonic_now())) {
        log::info("rule " + entry.rule + " goes on with its limits of " + entry.path);
        continue;
      }
      model::Action action;
      action.verb = model::Verb::unlimit;
      action.cgroup = cgroup;
      action.actor.via = model::Actor::Via::policy;
      action.actor.rule = entry.rule;
      action.reason.text = "left by an earlier enforcer, and no rule of this policy wants it";
      act(std::move(action), base::monotonic_now());
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

  // `by`: who woke it; empty: its time has come.
  void sample(const std::string& by) {
    if (stopping_) return;
    if (by.empty() && next_ == base::Monotonic{}) next_ = base::monotonic_now();
    sampler_->ask(0ns, [this, by](const model::SnapshotPtr& now) {
      if (stopping_) return;
      decide(now, !by.empty());
      if (by.empty()) sample_later();
    });
  }

  void wake(std::string_view by) {
    if (stopping_ || waking_) return;
    metrics_.woken(by);
    waking_ = true;
    waking_timer_.expires_at(std::max(base::monotonic_now(), last_wake_ + kWakePause));
    waking_timer_.async_wait([this, by = std::string(by)](const boost::system::error_code& error) {
      waking_ = false;
      if (error) return;
      last_wake_ = base::monotonic_now();
      sample(by);
    });
  }

  void decide(const model::SnapshotPtr& now, bool early) {
    // A rate over a few milliseconds is noise: what was woken early is compared with the one before the last.
    const auto& before = early && latest_ && now->taken - latest_->taken < interval_ / 2 ? older_ : latest_;
    const auto begun = base::monotonic_now();
    auto decision = policy::decide(*policy_, before, now, std::move(state_), interval_);
    metrics_.decided(*policy_, decision, base::monotonic_now() - begun);
    state_ = std::move(decision.state);
    if (!early) {
      older_ = std::exchange(latest_, now);
      wakes_.follow(*policy_, *now);
    }
    for (const auto& notice : decision.notices) tell(notice);
    for (auto& action : decision.actions) act(std::move(action), now->taken);
    for (auto& action : decision.renewals) {
      if (!action.dry_run) hand_->renew(std::move(action));
    }
    if (!std::exchange(ready_, true)) {
      log::info("ready: " + std::to_string(now->cgroup_count()) + " cgroups");
      ::sd_notify(0, "READY=1");
    }
    write_metrics();
  }

  void tell(const policy::Notice& notice) {
    using Kind = policy::Notice::Kind;
    const auto line = (notice.rule.empty() ? std::string() : "rule " + notice.rule + ' ') +
                      std::string(policy::name(notice.kind)) +
                      (notice.cgroup.path.empty() ? "" : ' ' + notice.cgroup.path) +
                      (notice.dry_run ? " (dry run)" : "") + ": " + notice.reason.text;
    const bool loud = notice.kind == Kind::notify || notice.kind == Kind::brake || notice.kind == Kind::capped ||
                      notice.kind == Kind::too_many || notice.kind == Kind::gap;
    if (notice.kind == Kind::arm || notice.kind == Kind::disarm) {
      log::debug(line);
    } else {
      loud ? log::warn(line) : log::info(line);
    }
    hand_->record(notice_line(notice));
  }

  void act(model::Action action, base::Monotonic decided) {
    action.actor.uid = ::geteuid();
    action.actor.gid = ::getegid();
    action.actor.pid = ::getpid();
    // Limits follow their rule, late or not; a kill, a freeze and a reclaim answer a moment.
    std::optional<base::Monotonic> until;
    if (action.verb != model::Verb::limit && action.verb != model::Verb::unlimit) {
      until = decided + std::max(kLate, kLateIntervals * interval_);
    }
    ++pending_;
    hand_->apply(action, until, [this, action, decided](const model::Outcome& outcome) {
      --pending_;
      policy::note(state_, action, outcome);
      metrics_.acted(action, outcome, base::monotonic_now() - decided);
      const auto line = described(action, outcome);
      const bool fine = outcome.ok() || outcome.kind == model::Outcome::Kind::gone;
      fine ? log::info(line) : log::warn(line);
      if (stopping_ && pending_ == 0) loop_.stop();
    });
  }

  void tend() {
    tending_.expires_after(kTendEvery);
    tending_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      hand_->tend([this](const WriterThread::Stock& stock) {
        for (const auto& one : stock.lease_events) {
          using What = control::Writer::LeaseEvent::What;
          if (!one.entry.rule.empty() && one.entry.verb == model::Verb::limit) {
            const model::CgroupRef cgroup{one.entry.path, one.entry.cgroup};
            one.what == What::ended ? policy::ended(state_, one.entry.rule, cgroup)
                                    : policy::lost(state_, one.entry.rule, cgroup);
          }
          if (one.what == What::lost) {
            log::warn("lease lost: " + one.outcome.text);
          }
        }
        metrics_.lease_events(stock.lease_events, stock.entries);
        tend();
      });
    });
  }

  void write_metrics() {
    if (options_.metrics_textfile.empty()) return;
    const auto written = metrics_.write(options_.metrics_textfile);
    if (!written && !std::exchange(told_of_textfile_, true)) log::error(written.error().what);
    if (written) told_of_textfile_ = false;
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
      log::error("reload failed, going on with the policy of before");
    } else if (needed() != enabled_) {
      // Counters of another sampler are not compared with those of this one.
      sampler_.reset();
      latest_.reset();
      older_.reset();
      sampling_.cancel();
      next_ = {};
      if (const auto started = start_sampler(); !started) {
        log::error(started.error().what);
        stop();
        return;
      }
      sample("");
    }
    wakes_.look_for(*policy_);
    write_metrics();
    ::sd_notify(0, "READY=1");
  }

  // What stands because of a rule is taken back: a policy without rules wants nothing.
  void stop() {
    if (std::exchange(stopping_, true)) return;
    ::sd_notify(0, "STOPPING=1");
    sampling_.cancel();
    waking_timer_.cancel();
    if (const auto last = sampler_->latest()) {
      policy::Policy none;
      none.catalogue = catalogue_;
      auto decision = policy::decide(none, nullptr, last, std::move(state_), interval_);
      state_ = std::move(decision.state);
      for (auto& action : decision.actions) act(std::move(action), base::monotonic_now());
    }
    if (pending_ == 0) return loop_.stop();
    sampling_.expires_after(kStopPatience);
    sampling_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      log::error("not everything could be taken back in time; leases end by themselves");
      loop_.stop();
    });
  }

  // Fed by the loop, and only after the sampling thread has answered. Not the hand's: a write may take its time.
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
  asio::steady_timer waking_timer_{loop_};
  asio::steady_timer tending_{loop_};
  asio::steady_timer watchdog_{loop_};
  EnforcerMetrics metrics_;
  prometheus::Registry unused_;  // the exporter tells how discovery is doing
  EarlyTriggers wakes_{loop_, options_.paths.procfs, [this](std::string_view by) { wake(by); }};
  policy::PolicyPtr policy_;
  policy::State state_;
  std::vector<bool> enabled_;
  model::SnapshotPtr latest_;  // of those that came in their time
  model::SnapshotPtr older_;
  base::Monotonic next_{};
  base::Monotonic last_wake_{};
  std::size_t pending_ = 0;  // actions that are with the hand
  bool waking_ = false;
  bool ready_ = false;
  bool stopping_ = false;
  bool told_of_textfile_ = false;
  std::unique_ptr<Discovery> discovery_;
  std::unique_ptr<collectors::Sampler> sampler_;
  std::unique_ptr<WriterThread> hand_;
  std::unique_ptr<control::SocketServer> socket_;
};

}  // namespace

int enforce(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue) {
  return Enforcer(options, catalogue).run();
}

}  // namespace cgwarden::agent
