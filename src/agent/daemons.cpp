// SPDX-License-Identifier: Apache-2.0
#include "src/agent/daemons.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "src/agent/log.h"
#include "src/base/text.h"

namespace cgwarden::agent {
namespace {

constexpr std::chrono::seconds kOnceWithin{10};
// More than happens in a second on a busy host. A daemon that says more is heard again from there on.
constexpr std::size_t kMaxWaiting = 1024;
constexpr std::size_t kMaxExpected = 1024;

std::string daemon_name(const discovery::Daemon::Options& options) {
  return "discovery: " + options.title + " at " + base::printable(options.socket);
}

std::vector<prometheus::Counter*> failure_counters(const std::string& title, prometheus::Registry& metrics) {
  auto& failures = prometheus::BuildCounter()
                       .Name("cgwarden_discovery_daemon_failures_total")
                       .Help("Questions that a runtime's daemon did not answer as it should, by reason.")
                       .Register(metrics);
  std::vector<prometheus::Counter*> out;
  out.reserve(discovery::Daemon::kFailures.size());
  for (const auto reason : discovery::Daemon::kFailures) {
    out.push_back(&failures.Add({{"daemon", title}, {"reason", std::string(reason)}}));
  }
  return out;
}

}  // namespace

DaemonAsker::DaemonAsker(boost::asio::io_context& loop, const discovery::Daemon::Options& options,
                         prometheus::Registry& metrics, Hooks hooks, Pace pace)
    : loop_(loop),
      name_(daemon_name(options)),
      hooks_(std::move(hooks)),
      pace_(pace),
      timer_(loop),
      requests_(prometheus::BuildCounter()
                    .Name("cgwarden_discovery_daemon_requests_total")
                    .Help("Containers a runtime's daemon was asked about.")
                    .Register(metrics)
                    .Add({{"daemon", options.title}})),
      failures_(failure_counters(options.title, metrics)),
      daemon_(discovery::make_daemon(options)) {}

DaemonAsker::~DaemonAsker() {
  // An answer that comes after this finds the flag set.
  *stop_ = true;
  daemon_->cancel();
  worker_.join();
}

void DaemonAsker::look() {
  if (asking_ || is_put_off()) return;
  if (timer_due_ <= base::monotonic_now() + pace_.gather) return;
  if (std::ranges::any_of(hooks_.wanted(), [&](const auto& id) { return !asked_.contains(id); })) look_soon();
}

void DaemonAsker::look_soon() {
  const auto soon = base::monotonic_now() + pace_.gather;
  if (timer_due_ > soon) wait_until(soon);
}

void DaemonAsker::look_at(const std::string& id) {
  if (expected_.size() < kMaxExpected) expected_.insert(id);
  if (!asking_ && !is_put_off()) look_soon();
}

void DaemonAsker::look_at_all() {
  for (auto& [_, asked] : asked_) asked.due = {};
  delay_ = {};
  if (!asking_) look_soon();
}

void DaemonAsker::forget(const std::vector<std::string>& ids) {
  for (const auto& id : ids) asked_.erase(id);
  if (asking_) forgotten_.insert(forgotten_.end(), ids.begin(), ids.end());
}

void DaemonAsker::wait_until(base::Monotonic due) {
  timer_due_ = due;
  timer_.expires_at(due);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) begin_round();
  });
}

std::vector<std::string> DaemonAsker::due_ids(base::Monotonic now) {
  auto ids = hooks_.wanted();
  for (const auto& id : ids) {
    if (expected_.erase(id) != 0) asked_.erase(id);
  }
  std::unordered_map<std::string, Asked> still;
  for (const auto& id : ids) {
    if (const auto at = asked_.find(id); at != asked_.end()) still.insert(*at);
  }
  asked_ = std::move(still);
  std::erase_if(ids, [&](const auto& id) { return asked_.contains(id) && asked_.at(id).due > now; });
  std::ranges::sort(ids, {}, [&](const std::string& id) {
    const auto at = asked_.find(id);
    return at == asked_.end() ? std::pair(false, base::Monotonic{}) : std::pair(at->second.failed, at->second.last);
  });
  ids.insert(ids.begin(), expected_.begin(), expected_.end());
  expected_.clear();
  return ids;
}

void DaemonAsker::begin_round() {
  if (asking_) return;
  timer_due_ = base::Monotonic::max();
  const auto now = base::monotonic_now();
  auto ids = due_ids(now);
  if (ids.empty()) return plan(now);
  asking_ = true;
  boost::asio::post(worker_, [this, stop = stop_, daemon = daemon_, ids = std::move(ids)] {
    auto round = daemon->ask(ids);
    boost::asio::post(loop_, [this, stop, ids, round = std::move(round)] {
      if (!*stop) end_round(ids, round);
    });
  });
}

void DaemonAsker::end_round(const std::vector<std::string>& ids, const discovery::Daemon::Round& round) {
  asking_ = false;
  const auto now = base::monotonic_now();
  const bool answers = !round.told.empty();
  for (std::size_t i = 0; i < round.asked; ++i) asked_[ids[i]] = {true, now, answers ? now + pace_.again : now};
  for (const auto& one : round.told) asked_[one.first].failed = false;
  for (const auto& id : std::exchange(forgotten_, {})) asked_.erase(id);
  requests_.Increment(static_cast<double>(round.asked));
  for (std::size_t i = 0; i < failures_.size(); ++i) failures_[i]->Increment(static_cast<double>(round.failures[i]));
  if (answers) {
    if (std::exchange(silent_, false)) log::info(name_ + " answers again");
    delay_ = {};
    hooks_.told(round.told);
    return plan(now);
  }
  if (!std::exchange(silent_, true)) {
    log::warn(name_ + " does not answer (" + base::printable(round.problem) +
              "); what only it knows is missing or old, asking it again ever more seldom");
    hooks_.invalidate();
  }
  delay_ = std::clamp(delay_ * 2, pace_.first_delay, pace_.longest_delay);
  wait_until(now + delay_);
}

void DaemonAsker::plan(base::Monotonic now) {
  auto first = expected_.empty() ? base::Monotonic::max() : now;
  for (const auto& id : hooks_.wanted()) {
    const auto at = asked_.find(id);
    first = std::min(first, at == asked_.end() ? now : at->second.due);
  }
  if (first != base::Monotonic::max()) wait_until(std::max(first, now + pace_.between));
}

ContainerdListener::ContainerdListener(boost::asio::io_context& loop, const discovery::Daemon::Options& options,
                                       prometheus::Registry& metrics, Hooks hooks, DaemonAsker::Pace pace)
    : loop_(loop),
      name_(daemon_name(options)),
      hooks_(std::move(hooks)),
      pace_(pace),
      timer_(loop),
      events_total_(prometheus::BuildCounter()
                        .Name("cgwarden_discovery_daemon_events_total")
                        .Help("Events of containers that a runtime's daemon told.")
                        .Register(metrics)
                        .Add({{"daemon", options.title}})),
      failures_(failure_counters(options.title, metrics)),
      events_(std::make_shared<discovery::ContainerdEvents>(options)) {
  begin();
}

ContainerdListener::~ContainerdListener() {
  shared_->stop = true;
  events_->cancel();
  worker_.join();
}

void ContainerdListener::begin() {
  since_ = base::monotonic_now();
  boost::asio::post(worker_, [this, shared = shared_, events = events_] {
    auto ended = events->listen(
        [&] {
          boost::asio::post(loop_, [this, shared] {
            if (!shared->stop) begun();
          });
        },
        [&](discovery::ContainerdEvent event) {
          if (shared->waiting >= kMaxWaiting) {
            shared->missed = true;
            return;
          }
          ++shared->waiting;
          boost::asio::post(loop_, [this, shared, event = std::move(event)] {
            --shared->waiting;
            if (!shared->stop) heard(event);
          });
        });
    boost::asio::post(loop_, [this, shared, ended = std::move(ended)] {
      if (!shared->stop) end(ended);
    });
  });
}

void ContainerdListener::begun() {
  hooks_.begun();
  // It is told that it is heard when it has not said no for a moment.
  timer_.expires_after(pace_.first_delay);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error && std::exchange(silent_, false)) log::info(name_ + " is heard again");
  });
}

void ContainerdListener::heard(const discovery::ContainerdEvent& event) {
  events_total_.Increment();
  hooks_.heard(event);
  if (shared_->missed.exchange(false)) hooks_.begun();
}

void ContainerdListener::end(const discovery::ContainerdEvents::End& end) {
  if (!end.failure) return;
  failures_[static_cast<std::size_t>(*end.failure)]->Increment();
  if (!std::exchange(silent_, true)) {
    log::warn(name_ + " is not heard (" + base::printable(end.why) +
              "); new containers are named later and exit codes are missing, listening again ever more seldom");
  }
  // One that went after it was there for long is being started anew.
  if (base::monotonic_now() - since_ > pace_.longest_delay) delay_ = {};
  delay_ = std::clamp(delay_ * 2, pace_.first_delay, pace_.longest_delay);
  timer_.expires_after(delay_);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) begin();
  });
}

std::vector<discovery::Daemon::Options> daemon_options(const Options& options) {
  std::vector<discovery::Daemon::Options> out;
  for (const auto& [title, socket] :
       {std::pair("docker", &options.docker_socket), std::pair("podman", &options.podman_socket),
        std::pair("containerd", &options.containerd_socket)}) {
    if (!socket->empty()) out.push_back({.title = title, .socket = *socket, .labels = options.discovery_labels});
  }
  return out;
}

void ask_daemons(const Options& options, discovery::Resolver& resolver) {
  for (const auto& one : daemon_options(options)) {
    auto ids = resolver.wanted(one.title);
    const auto daemon = discovery::make_daemon(one);
    for (const auto end = base::monotonic_now() + kOnceWithin; !ids.empty() && base::monotonic_now() < end;) {
      const auto round = daemon->ask(ids);
      if (!round.problem.empty()) log::warn(daemon_name(one) + ": " + base::printable(round.problem));
      resolver.tell(one.title, round.told);
      ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(round.asked));
      if (round.told.empty()) break;
    }
  }
}

}  // namespace cgwarden::agent
