// SPDX-License-Identifier: Apache-2.0
// Queries the daemons of Docker, Podman and containerd for facts that are not in the runtime state on disk. Each daemon
// has its own thread, so no scrape and nothing on the loop thread waits for it. New containers are queried immediately,
// all containers every minute. An unreachable daemon is retried with exponential backoff; failure and recovery are
// logged once. Another thread receives the events of containerd, so that a new container is queried before a scrape has
// seen its cgroup. The classes are used on the loop thread.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/registry.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "src/agent/log.h"
#include "src/agent/options.h"
#include "src/base/clock.h"
#include "src/discovery/containerd.h"
#include "src/discovery/daemon.h"
#include "src/discovery/resolver.h"

namespace cgwarden::agent {

class DaemonPoller {
 public:
  struct Hooks {
    std::function<std::vector<std::string>()> wanted;  // container IDs to query
    std::function<void(const discovery::Daemon::Results&)> on_facts;
    std::function<void()> invalidate;  // the daemon became unreachable
  };
  struct Timing {
    std::chrono::nanoseconds gather =
        std::chrono::milliseconds(300);  // delay after the first new container, to batch queries
    std::chrono::nanoseconds refresh = std::chrono::minutes(1);
    std::chrono::nanoseconds between = std::chrono::seconds(1);  // between rounds, if one is not sufficient
    std::chrono::nanoseconds first_delay = std::chrono::seconds(1);
    std::chrono::nanoseconds max_delay = std::chrono::minutes(1);
  };

  DaemonPoller(boost::asio::io_context& loop, const discovery::Daemon::Options& options, prometheus::Registry& metrics,
               Hooks hooks, Timing timing);
  ~DaemonPoller();
  DaemonPoller(const DaemonPoller&) = delete;
  DaemonPoller& operator=(const DaemonPoller&) = delete;

  // Schedules a round if there are containers that were not queried.
  void poll_new();
  // Queries this container in the next round, known or not.
  void poll(const std::string& id);
  // Queries all containers in the next round: the daemon is reachable again.
  void poll_all();
  // The facts about these containers are outdated: they are queried like new ones.
  void forget(const std::vector<std::string>& ids);

 private:
  struct QueryState {
    bool failed = false;
    base::Monotonic last;
    base::Monotonic due;
  };

  // The daemon is unreachable and a retry is scheduled.
  [[nodiscard]] bool is_backing_off() const { return unreachable_ && timer_due_ != base::Monotonic::max(); }
  void schedule_soon();
  void wait_until(base::Monotonic due);
  void begin_round();
  void end_round(const std::vector<std::string>& ids, const discovery::Daemon::Round& round);
  // New containers and those that are due: longest wait first, but containers whose query failed before last.
  std::vector<std::string> due_ids(base::Monotonic now);
  void plan(base::Monotonic now);

  boost::asio::io_context& loop_;
  log::Fields log_fields_;  // runtime, socket
  Hooks hooks_;
  Timing timing_;
  boost::asio::steady_timer timer_;
  base::Monotonic timer_due_ = base::Monotonic::max();
  std::unordered_map<std::string, QueryState> queried_;
  std::unordered_set<std::string> requested_;  // by poll(), for the next round
  std::vector<std::string> forgotten_;         // by forget() during a round
  bool round_running_ = false;
  bool unreachable_ = false;
  std::chrono::nanoseconds delay_{};
  prometheus::Counter& requests_;
  std::vector<prometheus::Counter*> failures_;
  std::shared_ptr<std::atomic<bool>> stop_ = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<discovery::Daemon> daemon_;
  boost::asio::thread_pool worker_{1};
};

// Subscribes to the container events of containerd. A lost stream is logged once and retried with exponential backoff.
class ContainerdListener {
 public:
  struct Hooks {
    std::function<void()> connected;  // earlier events may have been missed
    std::function<void(const discovery::ContainerdEvent&)> on_event;
  };

  ContainerdListener(boost::asio::io_context& loop, const discovery::Daemon::Options& options,
                     prometheus::Registry& metrics, Hooks hooks, DaemonPoller::Timing timing);
  ~ContainerdListener();
  ContainerdListener(const ContainerdListener&) = delete;
  ContainerdListener& operator=(const ContainerdListener&) = delete;

 private:
  // Shared by both threads.
  struct Shared {
    std::atomic<bool> stop = false;
    std::atomic<std::size_t> queued = 0;  // events queued for the loop
    std::atomic<bool> missed = false;     // events were dropped
  };

  void connect();
  void connected();
  void received(const discovery::ContainerdEvent& event);
  void stream_ended(const discovery::ContainerdEvents::End& end);

  boost::asio::io_context& loop_;
  log::Fields log_fields_;  // runtime, socket
  Hooks hooks_;
  DaemonPoller::Timing timing_;
  boost::asio::steady_timer timer_;
  base::Monotonic since_;
  bool unreachable_ = false;
  std::chrono::nanoseconds delay_{};
  prometheus::Counter& events_total_;
  std::vector<prometheus::Counter*> failures_;
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::shared_ptr<discovery::ContainerdEvents> events_;
  boost::asio::thread_pool worker_{1};
};

// The daemons of the command line.
std::vector<discovery::Daemon::Options> daemon_options(const Options& options);

// Queries all daemons once and waits for the answers, for commands that print one sample.
void query_daemons_once(const Options& options, discovery::Resolver& resolver);

}  // namespace cgwarden::agent
