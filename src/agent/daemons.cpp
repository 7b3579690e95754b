// SPDX-License-Identifier: Apache-2.0
#include "src/agent/daemons.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "src/agent/log.h"
#include "src/base/text.h"

namespace cgwarden::agent {
namespace {

constexpr std::chrono::seconds kOnceTimeout{10};
// More events than a busy host has in a second. If more are queued, events are dropped and all containers are queried.
constexpr std::size_t kMaxQueuedEvents = 1024;
constexpr std::size_t kMaxRequested = 1024;

log::Fields fields_of(const discovery::Daemon::Options& options) {
  return {{"runtime", options.title}, {"socket", options.socket}};
}

log::Fields with(log::Fields fields, std::string_view error, std::chrono::nanoseconds retry_in) {
  fields.emplace_back("error", error);
  fields.emplace_back("retry_in", log::duration_text(retry_in));
  return fields;
}

std::vector<prometheus::Counter*> failure_counters(const std::string& title, prometheus::Registry& metrics) {
  auto& failures = prometheus::BuildCounter()
                       .Name("cgwarden_discovery_daemon_failures_total")
                       .Help("Failed requests to container runtime daemons, by reason.")
                       .Register(metrics);
  std::vector<prometheus::Counter*> out;
  out.reserve(discovery::Daemon::kFailures.size());
  for (const auto reason : discovery::Daemon::kFailures) {
    out.push_back(&failures.Add({{"daemon", title}, {"reason", std::string(reason)}}));
  }
  return out;
}

}  // namespace

DaemonPoller::DaemonPoller(boost::asio::io_context& loop, const discovery::Daemon::Options& options,
                           prometheus::Registry& metrics, Hooks hooks, Timing timing)
    : loop_(loop),
      log_fields_(fields_of(options)),
      hooks_(std::move(hooks)),
      timing_(timing),
      timer_(loop),
      requests_(prometheus::BuildCounter()
                    .Name("cgwarden_discovery_daemon_requests_total")
                    .Help("Containers queried from container runtime daemons.")
                    .Register(metrics)
                    .Add({{"daemon", options.title}})),
      failures_(failure_counters(options.title, metrics)),
      daemon_(discovery::make_daemon(options)) {}

DaemonPoller::~DaemonPoller() {
  // Answers that arrive later check this flag.
  *stop_ = true;
  daemon_->cancel();
  worker_.join();
}

void DaemonPoller::poll_new() {
  if (round_running_ || is_backing_off()) return;
  if (timer_due_ <= base::monotonic_now() + timing_.gather) return;
  if (std::ranges::any_of(hooks_.wanted(), [&](const auto& id) { return !queried_.contains(id); })) schedule_soon();
}

void DaemonPoller::schedule_soon() {
  const auto soon = base::monotonic_now() + timing_.gather;
  if (timer_due_ > soon) wait_until(soon);
}

void DaemonPoller::poll(const std::string& id) {
  if (requested_.size() < kMaxRequested) requested_.insert(id);
  if (!round_running_ && !is_backing_off()) schedule_soon();
}

void DaemonPoller::poll_all() {
  for (auto& [_, query] : queried_) query.due = {};
  delay_ = {};
  if (!round_running_) schedule_soon();
}

void DaemonPoller::forget(const std::vector<std::string>& ids) {
  for (const auto& id : ids) queried_.erase(id);
  if (round_running_) forgotten_.insert(forgotten_.end(), ids.begin(), ids.end());
}

void DaemonPoller::wait_until(base::Monotonic due) {
  timer_due_ = due;
  timer_.expires_at(due);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) begin_round();
  });
}

std::vector<std::string> DaemonPoller::due_ids(base::Monotonic now) {
  auto ids = hooks_.wanted();
  for (const auto& id : ids) {
    if (requested_.erase(id) != 0) queried_.erase(id);
  }
  std::unordered_map<std::string, QueryState> known;
  for (const auto& id : ids) {
    if (const auto at = queried_.find(id); at != queried_.end()) known.insert(*at);
  }
  queried_ = std::move(known);
  std::erase_if(ids, [&](const auto& id) { return queried_.contains(id) && queried_.at(id).due > now; });
  std::ranges::sort(ids, {}, [&](const std::string& id) {
    const auto at = queried_.find(id);
    return at == queried_.end() ? std::pair(false, base::Monotonic{}) : std::pair(at->second.failed, at->second.last);
  });
  ids.insert(ids.begin(), requested_.begin(), requested_.end());
  requested_.clear();
  return ids;
}

void DaemonPoller::begin_round() {
  if (round_running_) return;
  timer_due_ = base::Monotonic::max();
  const auto now = base::monotonic_now();
  auto ids = due_ids(now);
  if (ids.empty()) return plan(now);
  round_running_ = true;
  boost::asio::post(worker_, [this, stop = stop_, daemon = daemon_, ids = std::move(ids)] {
    auto round = daemon->query(ids);
    boost::asio::post(loop_, [this, stop, ids, round = std::move(round)] {
      if (!*stop) end_round(ids, round);
    });
  });
}

void DaemonPoller::end_round(const std::vector<std::string>& ids, const discovery::Daemon::Round& round) {
  round_running_ = false;
  const auto now = base::monotonic_now();
  const bool reachable = !round.results.empty();
  for (std::size_t i = 0; i < round.queried; ++i)
    queried_[ids[i]] = {true, now, reachable ? now + timing_.refresh : now};
  for (const auto& one : round.results) queried_[one.first].failed = false;
  for (const auto& id : std::exchange(forgotten_, {})) queried_.erase(id);
  requests_.Increment(static_cast<double>(round.queried));
  for (std::size_t i = 0; i < failures_.size(); ++i) failures_[i]->Increment(static_cast<double>(round.failures[i]));
  if (reachable) {
    if (std::exchange(unreachable_, false)) log::info("daemon reachable again", log_fields_);
    delay_ = {};
    hooks_.on_facts(round.results);
    return plan(now);
  }
  delay_ = std::clamp(delay_ * 2, timing_.first_delay, timing_.max_delay);
  if (!std::exchange(unreachable_, true)) {
    log::warn("daemon unreachable, retrying; facts that only the daemon has are missing or stale",
              with(log_fields_, round.error, delay_));
    hooks_.invalidate();
  }
  wait_until(now + delay_);
}

void DaemonPoller::plan(base::Monotonic now) {
  auto first = requested_.empty() ? base::Monotonic::max() : now;
  for (const auto& id : hooks_.wanted()) {
    const auto at = queried_.find(id);
    first = std::min(first, at == queried_.end() ? now : at->second.due);
  }
  if (first != base::Monotonic::max()) wait_until(std::max(first, now + timing_.between));
}

ContainerdListener::ContainerdListener(boost::asio::io_context& loop, const discovery::Daemon::Options& options,
                                       prometheus::Registry& metrics, Hooks hooks, DaemonPoller::Timing timing)
    : loop_(loop),
      log_fields_(fields_of(options)),
      hooks_(std::move(hooks)),
      timing_(timing),
      timer_(loop),
      events_total_(prometheus::BuildCounter()
                        .Name("cgwarden_discovery_daemon_events_total")
                        .Help("Container events received from container runtime daemons.")
                        .Register(metrics)
                        .Add({{"daemon", options.title}})),
      failures_(failure_counters(options.title, metrics)),
      events_(std::make_shared<discovery::ContainerdEvents>(options)) {
  connect();
}

ContainerdListener::~ContainerdListener() {
  shared_->stop = true;
  events_->cancel();
  worker_.join();
}

void ContainerdListener::connect() {
  since_ = base::monotonic_now();
  boost::asio::post(worker_, [this, shared = shared_, events = events_] {
    auto ended = events->listen(
        [&] {
          boost::asio::post(loop_, [this, shared] {
            if (!shared->stop) connected();
          });
        },
        [&](discovery::ContainerdEvent event) {
          if (shared->queued >= kMaxQueuedEvents) {
            shared->missed = true;
            return;
          }
          ++shared->queued;
          boost::asio::post(loop_, [this, shared, event = std::move(event)] {
            --shared->queued;
            if (!shared->stop) received(event);
          });
        });
    boost::asio::post(loop_, [this, shared, ended = std::move(ended)] {
      if (!shared->stop) stream_ended(ended);
    });
  });
}

void ContainerdListener::connected() {
  hooks_.connected();
  // Log only after the stream has stayed up for a moment: the daemon may reject the request.
  timer_.expires_after(timing_.first_delay);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error && std::exchange(unreachable_, false)) log::info("event stream connected again", log_fields_);
  });
}

void ContainerdListener::received(const discovery::ContainerdEvent& event) {
  events_total_.Increment();
  hooks_.on_event(event);
  if (shared_->missed.exchange(false)) hooks_.connected();
}

void ContainerdListener::stream_ended(const discovery::ContainerdEvents::End& end) {
  if (!end.failure) return;
  failures_[static_cast<std::size_t>(*end.failure)]->Increment();
  // A daemon that was connected for a long time is probably restarting: retry soon.
  if (base::monotonic_now() - since_ > timing_.max_delay) delay_ = {};
  delay_ = std::clamp(delay_ * 2, timing_.first_delay, timing_.max_delay);
  if (!std::exchange(unreachable_, true)) {
    log::warn("event stream lost, retrying; new containers are named later and exit codes are missing",
              with(log_fields_, end.error, delay_));
  }
  timer_.expires_after(delay_);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) connect();
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

void query_daemons_once(const Options& options, discovery::Resolver& resolver) {
  for (const auto& one : daemon_options(options)) {
    auto ids = resolver.wanted(one.title);
    const auto daemon = discovery::make_daemon(one);
    for (const auto end = base::monotonic_now() + kOnceTimeout; !ids.empty() && base::monotonic_now() < end;) {
      const auto round = daemon->query(ids);
      if (!round.error.empty()) {
        auto fields = fields_of(one);
        fields.emplace_back("error", round.error);
        log::warn("daemon query failed", fields);
      }
      resolver.merge(one.title, round.results);
      ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(round.queried));
      if (round.results.empty()) break;
    }
  }
}

}  // namespace cgwarden::agent
