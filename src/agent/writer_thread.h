// SPDX-License-Identifier: Apache-2.0
// Runs control::Writer on its own thread, because the kernel may block a write. Requests are executed in the order of
// the calls.
//
// All members are called on the loop thread; callbacks run there, too.
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
  // Fails if no cgroup file system is mounted.
  static base::Result<std::unique_ptr<WriterThread>> start(boost::asio::io_context& loop,
                                                           control::Writer::Options options);
  // Waits for the running request and drops the others without calling their callbacks.
  ~WriterThread();
  WriterThread(const WriterThread&) = delete;
  WriterThread& operator=(const WriterThread&) = delete;

  // `unlimit` of a policy undoes what the rule has set on the cgroup. An action that cannot start before `until` is
  // skipped with Outcome::Kind::timeout, because the sample behind it is too old.
  void apply(model::Action action, std::optional<base::Monotonic> until, std::function<void(model::Outcome)> done);
  // Undoes the action with this ID; empty: the latest action.
  void undo(std::string id, model::Actor actor, bool dry_run, std::function<void(model::Outcome)> done);
  [[nodiscard]] const cgroup::HostHierarchies& host() const;
  // Restarts the leases of the limits that the rule of the action has set on its cgroup.
  void renew(model::Action action);
  struct Leases {
    std::vector<control::Writer::LeaseEvent> lease_events;  // leases that expired or were dropped
    std::vector<control::UndoEntry> entries;                // actions that can be undone
  };
  // Undoes limits whose leases have expired, and reports the leases.
  void expire_leases(std::function<void(Leases)> done);
  // Appends one line to the audit file.
  void record(std::string line);
  // Calls `done` after all earlier requests.
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
