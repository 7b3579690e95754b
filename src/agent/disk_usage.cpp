// SPDX-License-Identifier: Apache-2.0
#include "src/agent/disk_usage.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>

#include "src/base/text.h"
#include "src/discovery/state.h"

namespace cgwarden::agent {
namespace {

namespace asio = boost::asio;
using model::Role;

constexpr std::size_t kMaxContainers = 4096;
constexpr int kIdleClass = 3 << 13;  // IOPRIO_CLASS_IDLE, see ioprio_set(2)
enum Which : std::uint8_t { kLayer, kInodes, kLog, kTime };

// Lowest CPU priority and idle I/O class for this thread. Without permission the priority stays.
void lower_priority() {
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), 19);
  ::syscall(SYS_ioprio_set, 1, 0, kIdleClass);
}

}  // namespace

DiskUsage::DiskUsage(asio::io_context& loop, const Options& options, prometheus::Registry& metrics)
    : loop_(loop), options_(options), timer_(loop) {
  const auto family = [&](const char* name, const char* help) {
    families_.push_back(&prometheus::BuildGauge().Name(name).Help(help).Register(metrics));
  };
  family("cgroup_container_writable_bytes",
         "Disk usage of the writable layer of the container; without an overlay, of its whole root directory.");
  family("cgroup_container_writable_inodes", "Files and directories in the writable layer of the container.");
  family("cgroup_container_log_bytes", "Disk usage of the log files of the container.");
  family("cgroup_container_measure_time_seconds",
         "Time when the disk usage of the container was measured, in seconds since 1970.");
  asio::post(worker_, lower_priority);
}

DiskUsage::~DiskUsage() {
  *stop_ = true;
  worker_.join();
}

void DiskUsage::update(const model::Snapshot& snapshot) {
  cgroup_list_ = snapshot.cgroup_list;
  containers_ = snapshot.containers;
  if (!std::exchange(started_, true)) begin_round();
}

void DiskUsage::wait() {
  timer_.expires_after(std::chrono::seconds(options_.disk_usage_interval_seconds));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) begin_round();
  });
}

std::vector<DiskUsage::Job> DiskUsage::jobs() const {
  std::vector<Job> out;
  if (!cgroup_list_ || !containers_) return out;
  for (const auto& cgroup : cgroup_list_->cgroups) {
    const auto* container = containers_->find(cgroup->id, cgroup->path);
    if (container == nullptr || (container->role != Role::container && container->role != Role::machine)) continue;
    if (out.size() == kMaxContainers) break;
    Job job;
    job.labels["cgroup"] = base::to_utf8(cgroup->path);
    if (container->name) job.labels["container"] = *container->name;
    if (container->runtime) job.labels["runtime"] = *container->runtime;
    job.what.rootfs = options_.paths.rootfs;
    job.what.procfs = options_.paths.procfs;
    job.what.cgroup = cgroup->path;
    job.what.pid = static_cast<pid_t>(container->pid.value_or(0));
    if (container->id && discovery::is_container_id(*container->id)) {
      const auto& id = *container->id;
      if (container->runtime == "docker") {
        for (const auto& root : options_.discovery_roots.docker) job.what.logs.push_back(root + "/containers/" + id);
        job.what.log_prefix = id + "-json.log";
      } else if (container->runtime == "podman") {
        for (const auto& root : options_.discovery_roots.podman) {
          for (const char* driver : {"overlay", "vfs", "btrfs"}) {
            job.what.logs.push_back(root + '/' + driver + "-containers/" + id + "/userdata");
          }
        }
        job.what.log_prefix = "ctr.log";
      }
    }
    out.push_back(std::move(job));
  }
  return out;
}

void DiskUsage::begin_round() {
  previous_ = std::exchange(current_, {});
  // Results that arrive after the destructor check the flag.
  asio::post(worker_, [this, stop = stop_, all = jobs()] {
    const auto mounts = discovery::host_mountinfo(options_.paths.procfs);
    for (const auto& job : all) {
      if (*stop) return;
      auto sizes = discovery::sizes_of(job.what, mounts, {}, *stop);
      asio::post(loop_, [this, stop, labels = job.labels, sizes] {
        if (!*stop) set_gauges(labels, sizes);
      });
    }
    asio::post(loop_, [this, stop] {
      if (!*stop) end_round();
    });
  });
}

void DiskUsage::set_gauges(const prometheus::Labels& labels, const discovery::Sizes& sizes) {
  auto& gauges = current_[labels];
  const auto set = [&](Which which, double value) {
    auto& gauge = families_[which]->Add(labels);
    gauge.Set(value);
    gauges.emplace_back(families_[which], &gauge);
  };
  if (sizes.layer) {
    set(kLayer, static_cast<double>(sizes.layer->bytes));
    set(kInodes, static_cast<double>(sizes.layer->inodes));
  }
  if (sizes.log) set(kLog, static_cast<double>(*sizes.log));
  if (sizes.layer || sizes.log) {
    const auto now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch());
    set(kTime, now.count());
  }
}

void DiskUsage::end_round() {
  // Remove values that this round did not measure.
  for (const auto& [labels, gauges] : previous_) {
    const auto found = current_.find(labels);
    for (const auto& gauge : gauges) {
      if (found == current_.end() || std::ranges::find(found->second, gauge) == found->second.end()) {
        gauge.first->Remove(gauge.second);
      }
    }
  }
  previous_.clear();
  wait();
}

}  // namespace cgwarden::agent
