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

// Some state is there for moments only (Podman deletes an exit code as soon as it has taken it), so a change is looked
// at at once. State that changes all the time is looked at so often and no more.
constexpr auto kShortestPause = 1ms;
constexpr auto kMaxPause = 20ms;
constexpr int kBurst = 100;     // looks in a row with the short pause
constexpr auto kQuiet = 200ms;  // without a change: the next is the first of a burst again

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
                      .Help("Containers and machines, by whether their name is known or they have ended.")
                      .Register(metrics)),
      watches_(prometheus::BuildGauge()
                   .Name("cgwarden_discovery_inotify_watches")
                   .Help("Directories of the runtimes' state that are watched.")
                   .Register(metrics)
                   .Add({})),
      lookups_(prometheus::BuildCounter()
                   .Name("cgwarden_discovery_lookups_total")
                   .Help("Times a cgroup's container was looked up.")
                   .Register(metrics)
                   .Add({})),
      reads_(prometheus::BuildCounter()
                 .Name("cgwarden_discovery_reads_total")
                 .Help("Files of the runtimes' state read.")
                 .Register(metrics)
                 .Add({})),
      problems_(prometheus::BuildCounter()
                    .Name("cgwarden_discovery_errors_total")
                    .Help("Files of the runtimes' state that could not be used, by reason.")
                    .Register(metrics)) {
  if (resolver_.event_fd() >= 0) {
    events_.assign(::dup(resolver_.event_fd()));
    wait_for_events();
  }
  if (options.sizes_seconds > 0) sizes_ = std::make_unique<ContainerSizes>(loop, options, metrics);
  start_askers(loop, options, metrics);
  after();
}

void Discovery::start_askers(asio::io_context& loop, const Options& options, prometheus::Registry& metrics) {
  for (const auto& one : daemon_options(options)) {
    DaemonAsker::Hooks hooks;
    hooks.wanted = [this, title = one.title] { return resolver_.wanted(title); };
    hooks.told = [this, title = one.title](const discovery::Daemon::Told& told) {
      resolver_.tell(title, told);
      after();
    };
    hooks.invalidate = [this, title = one.title] {
      resolver_.invalidate(title);
      after();
    };
    askers_.push_back(std::make_unique<DaemonAsker>(loop, one, metrics, std::move(hooks), DaemonAsker::Pace{}));
    if (one.title != "containerd") continue;
    ContainerdListener::Hooks heard;
    heard.begun = [asker = askers_.back().get()] { asker->look_at_all(); };
    heard.heard = [this, asker = askers_.back().get(),
                   source = "unix:" + one.socket](const discovery::ContainerdEvent& event) {
      if (!event.ended) return asker->look_at(event.key);
      resolver_.record_exit(event.key, event.exit_code, event.finished, source);
      after();
    };
    listener_ = std::make_unique<ContainerdListener>(loop, one, metrics, std::move(heard), DaemonAsker::Pace{});
  }
}

void Discovery::complete(model::Snapshot& snapshot) {
  snapshot.containers = resolver_.resolve(snapshot.cgroup_list);
  if (sizes_) sizes_->see(snapshot);
  after();
}

void Discovery::wait_for_events() {
  events_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& error) {
    if (error) return;
    const auto now = base::monotonic_now();
    burst_ = now - last_look_ > kQuiet ? 0 : burst_ + 1;
    last_look_ = now;
    refresh();
    // What comes in the meantime waits in the kernel's queue.
    auto pause =
        std::make_shared<asio::steady_timer>(events_.get_executor(), burst_ < kBurst ? kShortestPause : kMaxPause);
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
  after();
}

void Discovery::after() {
  wait_for_time();
  const auto stats = resolver_.stats();
  containers_.Add({{"state", "named"}}).Set(static_cast<double>(stats.named));
  containers_.Add({{"state", "unnamed"}}).Set(static_cast<double>(stats.unnamed));
  containers_.Add({{"state", "ended"}}).Set(static_cast<double>(stats.ended));
  watches_.Set(static_cast<double>(stats.watches));
  raise_to(lookups_, stats.lookups);
  raise_to(reads_, stats.files.reads);
  raise_to(problems_.Add({{"reason", "denied"}}), stats.files.denied);
  raise_to(problems_.Add({{"reason", "refused"}}), stats.files.refused);
  raise_to(problems_.Add({{"reason", "too_big"}}), stats.files.too_big);
  raise_to(problems_.Add({{"reason", "broken"}}), stats.files.broken);
  const auto generation = resolver_.table()->generation;
  if (std::exchange(generation_, generation) == generation) return;
  changed_();
  const auto changed = resolver_.take_turned();
  for (const auto& asker : askers_) {
    asker->forget(changed);
    asker->look();
  }
}

}  // namespace cgwarden::agent
