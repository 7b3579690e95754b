// SPDX-License-Identifier: Apache-2.0
// The one hand that writes, on a thread of its own, as the kernel may let a write wait. What is asked is done in the
// order it was asked.
//
// Threads: everything here is called on the loop's, and answers there.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "src/base/clock.h"
#include "src/control/writer.h"
#include "src/model/action.h"

namespace cgwarden::agent {

class WriterThread {
 public:
  // Error: no cgroup file system.
  static base::Result<std::unique_ptr<WriterThread>> start(boost::asio::io_context& loop,
                                                           control::Writer::Options options);
  // Finishes what it is about, and forgets the rest.
  ~WriterThread();
  WriterThread(const WriterThread&) = delete;
  WriterThread& operator=(const WriterThread&) = delete;

  // A policy's `unlimit` takes back what its rule set on the cgroup. `until`: later it is not begun any more, as what
  // it was decided upon is old.
  void apply(model::Action action, std::optional<base::Monotonic> until, std::function<void(model::Outcome)> done);
  // What was done with this id is undone; empty: the latest.
  void undo(std::string id, model::Actor actor, bool dry_run, std::function<void(model::Outcome)> done);
  [[nodiscard]] const cgroup::HostHierarchies& host() const;
  // The lease of what the action's rule set on its cgroup goes on from now.
  void renew(model::Action action);
  struct Stock {
    std::vector<control::Writer::LeaseEvent> lease_events;  // what became of leases
    std::vector<control::Entry> entries;                    // what can be taken back now
  };
  void tend(std::function<void(Stock)> done);
  // One line for the audit file.
  void record(std::string line);
  // Calls `done` after everything asked before.
  void ping(std::function<void()> done);

 private:
  struct Inner;
  WriterThread(boost::asio::io_context& loop, std::shared_ptr<Inner> inner);

  boost::asio::io_context& loop_;
  std::shared_ptr<Inner> inner_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::thread thread_;
};

}  // namespace cgwarden::agent
