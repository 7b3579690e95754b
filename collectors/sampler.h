// SPDX-License-Identifier: Apache-2.0
// Sampling on demand: a request gets the newest snapshot if it is recent enough, otherwise a new one. Requests during a
// collection share its snapshot. Without a request no file is read.
//
// Threads: request() and all callbacks run on the loop's thread. The collection runs on a thread of its own, which also
// processes inotify events of created and removed cgroups as they arrive.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "collectors/collection.h"

namespace cgwarden::collectors {

class Sampler {
 public:
  // Opens the collection on the calling thread. Errors: those of Collection::open.
  static base::Result<std::unique_ptr<Sampler>> start(boost::asio::io_context& loop,
                                                      std::shared_ptr<const model::Catalogue> catalogue,
                                                      CollectionOptions options, std::function<void(std::string)> log);
  ~Sampler();
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  // Called on the loop for every new snapshot before it is shared, to add data from other sources, such as containers.
  void complete_with(std::function<void(model::Snapshot&)> complete) { complete_ = std::move(complete); }
  // Calls `done` once, on the loop, with a snapshot whose collection began at most max_age ago.
  void request(std::chrono::nanoseconds max_age, std::function<void(model::SnapshotPtr)> done);
  // The hierarchies found at start, as one line.
  [[nodiscard]] const std::string& summary() const { return summary_; }
  // The newest snapshot, or null.
  [[nodiscard]] const model::SnapshotPtr& latest() const { return latest_; }
  // Finds the hierarchies again and walks them, as at start. Calls `done` on the loop with the summary.
  void reopen(std::function<void(base::Result<std::string>)> done);
  // Calls `done` on the loop after the sampler thread has processed a message: proves that the thread is not stuck.
  void ping(std::function<void()> done);

 private:
  Sampler(boost::asio::io_context& loop, std::shared_ptr<const model::Catalogue> catalogue, CollectionOptions options,
          std::function<void(std::string)> log, std::unique_ptr<Collection> collection);
  struct Inner;

  boost::asio::io_context& loop_;
  std::shared_ptr<Inner> inner_;                                // owned by the sampler thread
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for callbacks that run after destruction
  std::string summary_;
  std::function<void(model::Snapshot&)> complete_;
  model::SnapshotPtr latest_;
  std::vector<std::function<void(model::SnapshotPtr)>> waiting_;
  bool collecting_ = false;
  std::thread thread_;
};

}  // namespace cgwarden::collectors
