// SPDX-License-Identifier: Apache-2.0
// Discovery on the agent's loop: completes snapshots with what is known of the containers, wakes for changes of the
// runtimes' state, and says how it is doing. Loop thread.
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
#include "src/agent/options.h"
#include "src/agent/sizes.h"
#include "src/base/clock.h"
#include "src/discovery/resolver.h"
#include "src/model/snapshot.h"

namespace cgwarden::agent {

discovery::Resolver::Options discovery_options(const Options& options);

class Discovery {
 public:
  // `changed` is called when the table is another one: labels of before are wrong now.
  Discovery(boost::asio::io_context& loop, const Options& options, prometheus::Registry& metrics,
            std::function<void()> changed);

  void complete(model::Snapshot& snapshot);
  [[nodiscard]] std::shared_ptr<const model::Containers> table() const { return resolver_.table(); }

 private:
  void start_askers(boost::asio::io_context& loop, const Options& options, prometheus::Registry& metrics);
  void wait_for_events();
  void wait_for_time();
  void refresh();
  void after();

  discovery::Resolver resolver_;
  std::unique_ptr<ContainerSizes> sizes_;  // null: not asked for
  std::function<void()> changed_;
  std::vector<std::unique_ptr<DaemonAsker>> askers_;
  std::unique_ptr<ContainerdListener> listener_;  // null: not asked for
  boost::asio::posix::stream_descriptor events_;
  boost::asio::steady_timer timer_;
  std::uint64_t generation_ = 0;
  base::Monotonic last_look_{};  // because of a change
  int burst_ = 0;                // looks since it was quiet
  prometheus::Family<prometheus::Gauge>& containers_;
  prometheus::Gauge& watches_;
  prometheus::Counter& lookups_;
  prometheus::Counter& reads_;
  prometheus::Family<prometheus::Counter>& problems_;
};

}  // namespace cgwarden::agent
