// SPDX-License-Identifier: Apache-2.0
// Periodically measures the disk usage of containers on its own thread with idle CPU and I/O priority, and exports it
// as gauges with the time of each measurement. A scrape shows the latest values and never waits. Loop thread.
#pragma once

#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/agent/options.h"
#include "src/discovery/sizes.h"
#include "src/model/snapshot.h"

namespace cgwarden::agent {

class DiskUsage {
 public:
  DiskUsage(boost::asio::io_context& loop, const Options& options, prometheus::Registry& metrics);
  ~DiskUsage();
  DiskUsage(const DiskUsage&) = delete;
  DiskUsage& operator=(const DiskUsage&) = delete;

  // Sets the cgroups and containers to measure in the next round.
  void update(const model::Snapshot& snapshot);

 private:
  using Gauges = prometheus::Family<prometheus::Gauge>;
  struct Job {
    prometheus::Labels labels;
    discovery::SizeQuery what;
  };

  void wait();
  void begin_round();
  [[nodiscard]] std::vector<Job> jobs() const;
  void set_gauges(const prometheus::Labels& labels, const discovery::Sizes& sizes);
  void end_round();

  boost::asio::io_context& loop_;
  const Options& options_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<const model::CgroupList> cgroup_list_;
  std::shared_ptr<const model::Containers> containers_;
  bool started_ = false;
  std::vector<Gauges*> families_;
  std::map<prometheus::Labels, std::vector<std::pair<Gauges*, prometheus::Gauge*>>> current_;
  std::map<prometheus::Labels, std::vector<std::pair<Gauges*, prometheus::Gauge*>>> previous_;  // of the previous round
  std::shared_ptr<std::atomic<bool>> stop_ = std::make_shared<std::atomic<bool>>(false);
  boost::asio::thread_pool worker_{1};
};

}  // namespace cgwarden::agent
