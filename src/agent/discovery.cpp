// SPDX-License-Identifier: Apache-2.0
#include "src/agent/discovery.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "src/agent/log.h"
#include "src/base/clock.h"

namespace cgwarden::agent {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

// Some state exists only briefly (Podman deletes a file with an exit code as soon as it has read it), so a change is
// read immediately. State that changes all the time is read at most once per kMaxPause.
constexpr auto kMinPause = 1ms;
constexpr auto kMaxPause = 20ms;
constexpr int kBurst = 100;     // refreshes in a row with the short pause
constexpr auto kQuiet = 200ms;  // time without a change that ends a burst

void raise_to(prometheus::Counter& counter, std::uint64_t value) {
  counter.Increment(std::max(0.0, static_cast<double>(value) - counter.Value()));
}

}  // namespace

discovery::Resolver::Options discovery_options(const Options& options) {
  discovery::Resolver::Options out;
  out.roots = options.discovery_roots;
  out.labels = options.discovery_labels;
  out.rootfs = options.paths.rootfs;
  out.procfs = options.paths.procfs;
  return out;
}

Discovery::Discovery(asio::io_context& loop, const Options& options, prometheus::Registry& metrics,
                     std::function<void()> changed)
    : resolver_(discovery_options(options), [](const std::string& line) { log::warn(line); }),
      changed_(std::move(changed)),
      events_(loop),
      timer_(loop),
      containers_(prometheus::BuildGauge()
                      .Name("cgwarden_discovery_containers")
                      .Help("Containers and machines by state: named, unnamed (name unknown) or exited.")
                      .Register(metrics)),
      watches_(prometheus::BuildGauge()
                   .Name("cgwarden_discovery_inotify_watches")
                   .Help("Inotify watches on directories of the runtime state.")
                   .Register(metrics)
                   .Add({})),
      lookups_(prometheus::BuildCounter()
                   .Name("cgwarden_discovery_lookups_total")
                   .Help("Lookups of the container of a cgroup.")
                   .Register(metrics)
                   .Add({})),
      reads_(prometheus::BuildCounter()
                 .Name("cgwarden_discovery_reads_total")
                 .Help("Reads of runtime state files.")
                 .Register(metrics)
                 .Add({})),
      errors_(prometheus::BuildCounter()
                  .Name("cgwarden_discovery_errors_total")
                  .Help("Runtime state files that could not be used, by reason.")
                  .Register(metrics)) {
  if (resolver_.event_fd() >= 0) {
    events_.assign(::dup(resolver_.event_fd()));
    wait_for_events();
  }
  if (options.disk_usage_interval_seconds > 0) disk_usage_ = std::make_unique<DiskUsage>(loop, options, metrics);
  start_pollers(loop, options, metrics);
  update();
}

void Discovery::start_pollers(asio::io_context& loop, const Options& options, prometheus::Registry& metrics) {
  for (const auto& one : daemon_options(options)) {
    DaemonPoller::Hooks hooks;
    hooks.wanted = [this, title = one.title] { return resolver_.wanted(title); };
    hooks.on_facts = [this, title = one.title](const discovery::Daemon::Results& facts) {
      resolver_.merge(title, facts);
      update();
    };
    hooks.invalidate = [this, title = one.title] {
      resolver_.invalidate(title);
      update();
    };
    pollers_.push_back(std::make_unique<DaemonPoller>(loop, one, metrics, std::move(hooks), DaemonPoller::Timing{}));
    if (one.title != "containerd") continue;
    ContainerdListener::Hooks events;
    events.connected = [poller = pollers_.back().get()] { poller->poll_all(); };
    events.on_event = [this, poller = pollers_.back().get(),
                       source = "unix:" + one.socket](const discovery::ContainerdEvent& event) {
      if (!event.exited) return poller->poll(event.key);
      resolver_.record_exit(event.key, event.exit_code, event.finished, source);
      update();
    };
    listener_ = std::make_unique<ContainerdListener>(loop, one, metrics, std::move(events), DaemonPoller::Timing{});
  }
}

void Discovery::complete(model::Snapshot& snapshot) {
  snapshot.containers = resolver_.resolve(snapshot.cgroup_list);
  if (disk_usage_) disk_usage_->update(snapshot);
  update();
}

void Discovery::wait_for_events() {
  events_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& error) {
    if (error) return;
    const auto now = base::monotonic_now();
    burst_ = now - last_refresh_ > kQuiet ? 0 : burst_ + 1;
    last_refresh_ = now;
    refresh();
    // Events in the meantime stay in the inotify queue of the kernel.
    auto pause = std::make_shared<asio::steady_timer>(events_.get_executor(), burst_ < kBurst ? kMinPause : kMaxPause);
    pause->async_wait([this, pause](const boost::system::error_code& stopped) {
      if (!stopped) wait_for_events();
    });
  });
}

void Discovery::wait_for_time() {
  const auto next = resolver_.next();
  if (!next) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(std::max(*next, base::monotonic_now() + kMaxPause));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) refresh();
  });
}

void Discovery::refresh() {
  resolver_.refresh();
  update();
}

void Discovery::update() {
  wait_for_time();
  const auto stats = resolver_.stats();
  containers_.Add({{"state", "named"}}).Set(static_cast<double>(stats.named));
  containers_.Add({{"state", "unnamed"}}).Set(static_cast<double>(stats.unnamed));
  containers_.Add({{"state", "exited"}}).Set(static_cast<double>(stats.exited));
  watches_.Set(static_cast<double>(stats.watches));
  raise_to(lookups_, stats.lookups);
  raise_to(reads_, stats.files.reads);
  raise_to(errors_.Add({{"reason", "denied"}}), stats.files.denied);
  raise_to(errors_.Add({{"reason", "refused"}}), stats.files.refused);
  raise_to(errors_.Add({{"reason", "too_big"}}), stats.files.too_big);
  raise_to(errors_.Add({{"reason", "broken"}}), stats.files.broken);
  const auto generation = resolver_.table()->generation;
  if (std::exchange(generation_, generation) == generation) return;
  changed_();
  const auto changed = resolver_.take_changed();
  for (const auto& poller : pollers_) {
    poller->forget(changed);
    poller->poll_new();
  }
}

}  // namespace cgwarden::agent
