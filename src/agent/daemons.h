// SPDX-License-Identifier: Apache-2.0
// Asks the daemons of Docker, Podman and containerd for what the state on disk leaves open, each on a thread of its
// own: no scrape and nothing on the loop waits for one. New containers are asked for at once, all again every minute; a
// daemon that does not answer is left alone for ever longer, told of once, and told of again when it answers.
// containerd's events are listened to on one more thread: they say which to ask for, before a scrape has seen the
// cgroup. Loop thread, but for what the threads do among themselves.
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

#include "src/agent/options.h"
#include "src/base/clock.h"
#include "src/discovery/containerd.h"
#include "src/discovery/daemon.h"
#include "src/discovery/resolver.h"

namespace cgwarden::agent {

class DaemonAsker {
 public:
  struct Hooks {
    std::function<std::vector<std::string>()> wanted;  // ids
    std::function<void(const discovery::Daemon::Told&)> told;
    std::function<void()> invalidate;  // it has just stopped answering
  };
  struct Pace {
    std::chrono::nanoseconds gather = std::chrono::milliseconds(300);  // one that starts is soon not the only one
    std::chrono::nanoseconds again = std::chrono::minutes(1);
    std::chrono::nanoseconds between = std::chrono::seconds(1);  // rounds when one is not enough
    std::chrono::nanoseconds first_delay = std::chrono::seconds(1);
    std::chrono::nanoseconds longest_delay = std::chrono::minutes(1);
  };

  DaemonAsker(boost::asio::io_context& loop, const discovery::Daemon::Options& options, prometheus::Registry& metrics,
              Hooks hooks, Pace pace);
  ~DaemonAsker();
  DaemonAsker(const DaemonAsker&) = delete;
  DaemonAsker& operator=(const DaemonAsker&) = delete;

  // There may be containers that it was not asked for.
  void look();
  // It is another one than it was, or one that nothing wants yet.
  void look_at(const std::string& id);
  // All of them may be: it is there again.
  void look_at_all();
  // What it said of these is of another moment: they are asked for as if they were new.
  void forget(const std::vector<std::string>& ids);

 private:
  struct Asked {
    bool failed = false;
    base::Monotonic last;
    base::Monotonic due;
  };

  // It does not answer, and there is a time at which it is asked again.
  [[nodiscard]] bool is_put_off() const { return silent_ && timer_due_ != base::Monotonic::max(); }
  void look_soon();
  void wait_until(base::Monotonic due);
  void begin_round();
  void end_round(const std::vector<std::string>& ids, const discovery::Daemon::Round& round);
  // New ones, and those whose time has come; who waited longest first, but last those over which it hung before.
  std::vector<std::string> due_ids(base::Monotonic now);
  void plan(base::Monotonic now);

  boost::asio::io_context& loop_;
  std::string name_;  // for the log
  Hooks hooks_;
  Pace pace_;
  boost::asio::steady_timer timer_;
  base::Monotonic timer_due_ = base::Monotonic::max();
  std::unordered_map<std::string, Asked> asked_;
  std::unordered_set<std::string> expected_;  // to be asked for in the next round, wanted or not
  std::vector<std::string> forgotten_;        // while it was being asked
  bool asking_ = false;
  bool silent_ = false;
  std::chrono::nanoseconds delay_{};
  prometheus::Counter& requests_;
  std::vector<prometheus::Counter*> failures_;
  std::shared_ptr<std::atomic<bool>> stop_ = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<discovery::Daemon> daemon_;
  boost::asio::thread_pool worker_{1};
};

// Hears what happens to containerd's containers. When it is not heard any more, that is told of once, and it is tried
// again ever more seldom.
class ContainerdListener {
 public:
  struct Hooks {
    std::function<void()> begun;  // what happened before may have been missed
    std::function<void(const discovery::ContainerdEvent&)> heard;
  };

  ContainerdListener(boost::asio::io_context& loop, const discovery::Daemon::Options& options,
                     prometheus::Registry& metrics, Hooks hooks, DaemonAsker::Pace pace);
  ~ContainerdListener();
  ContainerdListener(const ContainerdListener&) = delete;
  ContainerdListener& operator=(const ContainerdListener&) = delete;

 private:
  // What both threads see.
  struct Shared {
    std::atomic<bool> stop = false;
    std::atomic<std::size_t> waiting = 0;  // events that the loop has not looked at yet
    std::atomic<bool> missed = false;      // there were too many of them
  };

  void begin();
  void begun();
  void heard(const discovery::ContainerdEvent& event);
  void end(const discovery::ContainerdEvents::End& end);

  boost::asio::io_context& loop_;
  std::string name_;  // for the log
  Hooks hooks_;
  DaemonAsker::Pace pace_;
  boost::asio::steady_timer timer_;
  base::Monotonic since_;
  bool silent_ = false;
  std::chrono::nanoseconds delay_{};
  prometheus::Counter& events_total_;
  std::vector<prometheus::Counter*> failures_;
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::shared_ptr<discovery::ContainerdEvents> events_;
  boost::asio::thread_pool worker_{1};
};

// Those that the command line names.
std::vector<discovery::Daemon::Options> daemon_options(const Options& options);

// Asks them once and waits for them, for what is printed once.
void ask_daemons(const Options& options, discovery::Resolver& resolver);

}  // namespace cgwarden::agent
