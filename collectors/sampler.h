// SPDX-License-Identifier: Apache-2.0
// Sampling on demand: who asks gets the newest snapshot that is young enough, or a new one; those who ask while one is
// being made share it. Nobody asks: nothing is read.
//
// Threads: ask() and all callbacks on the loop's; the collection on one thread of its own, which also takes in births
// and deaths as they happen.
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
  // Opens the collection (on the calling thread); Error as Collection::open.
  static base::Result<std::unique_ptr<Sampler>> start(boost::asio::io_context& loop,
                                                      std::shared_ptr<const model::Catalogue> catalogue,
                                                      CollectionOptions options,
                                                      std::function<void(std::string)> notice);
  ~Sampler();
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  // Called on the loop for every new snapshot before anybody sees it: adds what others know of its cgroups.
  void complete_with(std::function<void(model::Snapshot&)> complete) { complete_ = std::move(complete); }
  // `done` is called once, on the loop, with a snapshot begun at most max_age ago.
  void ask(std::chrono::nanoseconds max_age, std::function<void(model::SnapshotPtr)> done);
  // What the collection found at start, one line.
  [[nodiscard]] const std::string& summary() const { return summary_; }
  // The newest snapshot, or null.
  [[nodiscard]] const model::SnapshotPtr& latest() const { return latest_; }
  // Finds the hierarchies again and walks them anew, as at start. `done` on the loop, with what was found.
  void reopen(std::function<void(base::Result<std::string>)> done);
  // Calls `done` on the loop after the sampling thread has answered: proof that it is not stuck.
  void ping(std::function<void()> done);

 private:
  Sampler(boost::asio::io_context& loop, std::shared_ptr<const model::Catalogue> catalogue, CollectionOptions options,
          std::function<void(std::string)> notice, std::unique_ptr<Collection> collection);
  struct Inner;

  boost::asio::io_context& loop_;
  std::shared_ptr<Inner> inner_;                                // what the sampling thread owns
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for callbacks that arrive after the end
  std::string summary_;
  std::function<void(model::Snapshot&)> complete_;
  model::SnapshotPtr latest_;
  std::vector<std::function<void(model::SnapshotPtr)>> waiting_;
  bool asked_ = false;
  std::thread thread_;
};

}  // namespace cgwarden::collectors
