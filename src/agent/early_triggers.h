// SPDX-License-Identifier: Apache-2.0
// Kernel notifications that bring the next sample forward: PSI triggers of the host (/proc/pressure, Linux 4.20) and
// changes of *.events files of v2 cgroups (inotify). A missed or superfluous notification does no harm, because
// conditions are evaluated on samples only. Loop thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/model/snapshot.h"
#include "src/policy/policy.h"

namespace cgwarden::agent {

class EarlyTriggers {
 public:
  static constexpr std::size_t kMaxWatches = 1024;

  // `notify` is called with "pressure" or "events".
  EarlyTriggers(boost::asio::io_context& loop, std::string procfs, std::function<void(std::string_view)> notify);

  // Sets the PSI triggers for the resources that the policy uses. Errors (old kernel, missing privileges) are ignored:
  // samples are then taken at the interval only.
  void set_policy(const policy::Policy& policy);
  // Watches the events files of the cgroups matched by rules that use their fields.
  void watch_events(const policy::Policy& policy, const model::Snapshot& now);
  [[nodiscard]] std::size_t triggers() const { return triggers_.size(); }

 private:
  void wait_for_pressure(boost::asio::posix::stream_descriptor& trigger);
  void wait_for_events();

  boost::asio::io_context& loop_;
  std::string procfs_;
  std::function<void(std::string_view)> notify_;
  std::vector<std::unique_ptr<boost::asio::posix::stream_descriptor>> triggers_;
  std::unique_ptr<boost::asio::posix::stream_descriptor> events_;
  std::vector<int> watches_;
  std::uint64_t watched_cgroups_ = 0;
  std::uint64_t watched_policy_ = 0;
};

}  // namespace cgwarden::agent
