// SPDX-License-Identifier: Apache-2.0
// Now and then measures what containers wrote, on a thread of its own that waits for everybody else, and shows it as
// gauges with the time of each measuring. A scrape shows what is there and waits for nothing. Loop thread.
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

class ContainerSizes {
 public:
  ContainerSizes(boost::asio::io_context& loop, const Options& options, prometheus::Registry& metrics);
  ~ContainerSizes();
  ContainerSizes(const ContainerSizes&) = delete;
  ContainerSizes& operator=(const ContainerSizes&) = delete;

  // The newest cgroups and containers: they are measured in the next round.
  void see(const model::Snapshot& snapshot);

 private:
  using Gauges = prometheus::Family<prometheus::Gauge>;
  struct Job {
    prometheus::Labels labels;
    discovery::SizeOf what;
  };

  void wait();
  void begin_round();
  [[nodiscard]] std::vector<Job> jobs() const;
  void show(const prometheus::Labels& labels, const discovery::Sizes& sizes);
  void end_round();

  boost::asio::io_context& loop_;
  const Options& options_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<const model::CgroupList> cgroup_list_;
  std::shared_ptr<const model::Containers> containers_;
  bool seen_ = false;
  std::vector<Gauges*> families_;
  std::map<prometheus::Labels, std::vector<std::pair<Gauges*, prometheus::Gauge*>>> shown_;
  std::map<prometheus::Labels, std::vector<std::pair<Gauges*, prometheus::Gauge*>>> before_;  // of the last round
  std::shared_ptr<std::atomic<bool>> stop_ = std::make_shared<std::atomic<bool>>(false);
  boost::asio::thread_pool worker_{1};
};

}  // namespace cgwarden::agent
