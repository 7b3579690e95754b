// SPDX-License-Identifier: Apache-2.0
// Discovery on the loop of the agent: adds container facts to snapshots, follows changes of the runtime state with
// inotify, and exports metrics about itself. Loop thread.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/agent/daemons.h"
#include "src/agent/disk_usage.h"
#include "src/agent/options.h"
#include "src/base/clock.h"
#include "src/discovery/resolver.h"
#include "src/model/snapshot.h"

namespace cgwarden::agent {

discovery::Resolver::Options discovery_options(const Options& options);

class Discovery {
 public:
  // `changed` is called when the table of containers has changed: cached labels are stale then.
  Discovery(boost::asio::io_context& loop, const Options& options, prometheus::Registry& metrics,
            std::function<void()> changed);

  void complete(model::Snapshot& snapshot);
  [[nodiscard]] std::shared_ptr<const model::Containers> table() const { return resolver_.table(); }

 private:
  void start_pollers(boost::asio::io_context& loop, const Options& options, prometheus::Registry& metrics);
  void wait_for_events();
  void wait_for_time();
  void refresh();
  void update();

  discovery::Resolver resolver_;
  std::unique_ptr<DiskUsage> disk_usage_;  // null: disabled
  std::function<void()> changed_;
  std::vector<std::unique_ptr<DaemonPoller>> pollers_;
  std::unique_ptr<ContainerdListener> listener_;  // null: disabled
  boost::asio::posix::stream_descriptor events_;
  boost::asio::steady_timer timer_;
  std::uint64_t generation_ = 0;
  base::Monotonic last_refresh_{};  // latest refresh after a change
  int burst_ = 0;                   // refreshes without a quiet period in between
  prometheus::Family<prometheus::Gauge>& containers_;
  prometheus::Gauge& watches_;
  prometheus::Counter& lookups_;
  prometheus::Counter& reads_;
  prometheus::Family<prometheus::Counter>& errors_;
};

}  // namespace cgwarden::agent
