// SPDX-License-Identifier: Apache-2.0
#include "src/agent/early_triggers.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "src/base/fd.h"
#include "src/policy/selector.h"

namespace cgwarden::agent {
namespace {

namespace asio = boost::asio;
using Descriptor = asio::posix::stream_descriptor;

// Without CAP_SYS_RESOURCE the window must be a multiple of two seconds (Linux 6.5). The write includes the NUL, see
// Documentation/accounting/psi.rst.
constexpr std::string_view kTriggers[] = {{"some 150000 1000000\0", 20}, {"some 300000 2000000\0", 20}};

// "memory" of "pressure_memory_some_avg10" and of "memory_current".
std::string_view resource_of(std::string_view field) {
  if (field.starts_with("pressure_")) field.remove_prefix(9);
  for (const std::string_view resource : {"memory", "cpu", "io"}) {
    if (field.starts_with(resource)) return resource;
  }
  return {};
}

std::string events_file_of(const model::Field& field) {
  const auto file = field.v2.file;
  return file.ends_with(".events") || file.ends_with(".events.local") ? std::string(file) : std::string();
}

}  // namespace

EarlyTriggers::EarlyTriggers(asio::io_context& loop, std::string procfs, std::function<void(std::string_view)> notify)
    : loop_(loop), procfs_(std::move(procfs)), notify_(std::move(notify)) {}

void EarlyTriggers::set_policy(const policy::Policy& policy) {
  triggers_.clear();
  std::set<std::string_view> resources;
  for (const auto& rule : policy.rules) {
    for (const auto& condition : rule.conditions)
      resources.insert(resource_of(policy.catalogue->field(condition.field).name));
  }
  resources.erase("");
  for (const auto resource : resources) {
    for (const auto trigger : kTriggers) {
      base::Fd fd(::open((procfs_ + "/pressure/" + std::string(resource)).c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
      if (!fd) break;
      if (::write(fd.get(), trigger.data(), trigger.size()) < 0) continue;
      triggers_.push_back(std::make_unique<Descriptor>(loop_, fd.release()));
      wait_for_pressure(*triggers_.back());
      break;
    }
  }
}

void EarlyTriggers::wait_for_pressure(Descriptor& trigger) {
  trigger.async_wait(Descriptor::wait_error, [this, &trigger](const boost::system::error_code& error) {
    if (error) return;
    notify_("pressure");
    wait_for_pressure(trigger);
  });
}

void EarlyTriggers::watch_events(const policy::Policy& policy, const model::Snapshot& now) {
  if (now.cgroup_list->generation == watched_cgroups_ && policy.fingerprint == watched_policy_ && events_) return;
  watched_cgroups_ = now.cgroup_list->generation;
  watched_policy_ = policy.fingerprint;
  const auto v2 = std::ranges::find(*now.hierarchies, 2, &model::HierarchyInfo::version);
  if (v2 == now.hierarchies->end()) return;

  std::set<std::string> files;
  const policy::SelectorFields fields(*policy.catalogue);
  for (const auto& rule : policy.rules) {
    std::set<std::string> of_rule;
    for (const auto& condition : rule.conditions)
      of_rule.insert(events_file_of(policy.catalogue->field(condition.field)));
    of_rule.erase("");
    if (of_rule.empty()) continue;
    for (model::CgroupIndex cgroup = 0; cgroup < now.cgroup_count() && files.size() < kMaxWatches; ++cgroup) {
      if (!policy::matches(rule.match, fields, now, cgroup)) continue;
      for (const auto& file : of_rule)
        files.insert(v2->mount_point + now.cgroup_list->cgroups[cgroup]->path + '/' + file);
    }
  }
  if (files.empty() && !events_) return;
  // Start with a new inotify instance: the kernel has dropped watches of removed cgroups.
  events_ = std::make_unique<Descriptor>(loop_);
  base::Fd fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!fd) return events_.reset();
  for (const auto& file : files) ::inotify_add_watch(fd.get(), file.c_str(), IN_MODIFY);
  events_->assign(fd.release());
  wait_for_events();
}

void EarlyTriggers::wait_for_events() {
  events_->async_wait(Descriptor::wait_read, [this](const boost::system::error_code& error) {
    if (error || !events_) return;
    char discarded[8192];
    while (::read(events_->native_handle(), discarded, sizeof discarded) > 0) {
    }
    notify_("events");
    wait_for_events();
  });
}

}  // namespace cgwarden::agent
