// SPDX-License-Identifier: Apache-2.0
// What the kernel tells by itself, so that a policy need not wait for its next sample: triggers of the host's pressure
// (/proc/pressure, 4.20) and changes of *.events files of v2 cgroups (inotify). A missed or needless wake does no harm:
// conditions are judged on samples, a wake only brings the next one forward. Loop thread.
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

  // `wake` gets "pressure" or "events".
  EarlyTriggers(boost::asio::io_context& loop, std::string procfs, std::function<void(std::string_view)> wake);

  // What this policy looks at. Errors are no more than later wakes: the kernel is too old, or there is no right to.
  void look_for(const policy::Policy& policy);
  // Watches the cgroups that a rule about events matches.
  void follow(const policy::Policy& policy, const model::Snapshot& now);
  [[nodiscard]] std::size_t triggers() const { return triggers_.size(); }

 private:
  void wait_for_pressure(boost::asio::posix::stream_descriptor& trigger);
  void wait_for_events();

  boost::asio::io_context& loop_;
  std::string procfs_;
  std::function<void(std::string_view)> wake_;
  std::vector<std::unique_ptr<boost::asio::posix::stream_descriptor>> triggers_;
  std::unique_ptr<boost::asio::posix::stream_descriptor> events_;
  std::vector<int> watches_;
  std::uint64_t followed_roster_ = 0;
  std::uint64_t followed_policy_ = 0;
};

}  // namespace cgwarden::agent
