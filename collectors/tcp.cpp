// SPDX-License-Identifier: Apache-2.0
// TCP connections by state in each network namespace: sock_diag(7). The kernel answers for the namespace of the
// socket's maker, so a thread of its own enters each (setns(2), CAP_SYS_ADMIN) and ends afterwards; the sampler stays
// where it is.
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "collectors/collectors.h"
#include "collectors/net_namespaces.h"
#include "collectors/series.h"
#include "src/base/clock.h"
#include "src/base/result.h"

namespace cgwarden::collectors {
namespace {

using model::CgroupIndex;
using model::FieldId;
using model::Value;
using enum model::Kind;

constexpr auto kPatience = std::chrono::seconds(2);  // for all namespaces together

// clang-format off
constexpr model::Field kTcpRows[] = {
    {.name = "network_tcp_connections", .kind = gauge, .derived = "sock_diag in each network namespace",
     .labels = "namespace,family,state", .since = "5.4",
     .help = "TCP sockets in the network namespace, by address family and state.",
     .cadvisor = "container_network_tcp_usage_total"},
};
// clang-format on
static_assert(model::all_well_formed(kTcpRows));

// By the kernel's number of the state; 12 is a half-open one that it shows as 3.
constexpr std::array<std::string_view, 12> kTcpStates = {"",           "established", "syn_sent",  "syn_recv",
                                                         "fin_wait1",  "fin_wait2",   "time_wait", "close",
                                                         "close_wait", "last_ack",    "listen",    "closing"};
constexpr std::array<std::string_view, 2> kFamilies = {"ipv4", "ipv6"};

using Counts = std::array<std::array<std::int64_t, kTcpStates.size()>, kFamilies.size()>;

struct Job {
  const NetNamespaces::Entry* entry = nullptr;
  base::Fd ns;
  Counts counts{};
  int error = 0;
  bool done = false;
};

// Counts the answers in one datagram: 1 go on, 0 that was all, -1 failed (errno).
int count_answers(std::string_view data, std::array<std::int64_t, kTcpStates.size()>& counts) {
  while (data.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header{};
    std::memcpy(&header, data.data(), sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > data.size()) break;
    const auto body = data.substr(sizeof header, header.nlmsg_len - sizeof header);
    if (header.nlmsg_type == NLMSG_DONE) return 0;
    if (header.nlmsg_type == NLMSG_ERROR) {
      nlmsgerr error{};
      std::memcpy(&error, body.data(), std::min(body.size(), sizeof error));
      errno = error.error < 0 ? -error.error : EPROTO;
      return -1;
    }
    inet_diag_msg message{};
    if (body.size() >= sizeof message) {
      std::memcpy(&message, body.data(), sizeof message);
      const std::size_t state = message.idiag_state == 12 ? 3 : message.idiag_state;
      if (state < counts.size()) ++counts[state];
    }
    data.remove_prefix(std::min<std::size_t>(data.size(), (header.nlmsg_len + 3U) & ~3U));
  }
  return 1;
}

bool count_family(int socket, int family, std::array<std::int64_t, kTcpStates.size()>& counts,
                  std::vector<char>& buffer, base::Monotonic until) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } ask{};
  ask.header.nlmsg_len = sizeof ask;
  ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  ask.request.sdiag_family = static_cast<std::uint8_t>(family);
  ask.request.sdiag_protocol = IPPROTO_TCP;
  ask.request.idiag_states = 0xFFFFFFFF;
  if (::send(socket, &ask, sizeof ask, 0) != ssize_t{sizeof ask}) return false;
  while (true) {
    const auto n = ::recv(socket, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    const int more = count_answers({buffer.data(), static_cast<std::size_t>(n)}, counts);
    if (more <= 0) return more == 0;
    if (base::monotonic_now() > until) {
      errno = ETIME;
      return false;
    }
  }
}

// On a thread of its own, which is in another namespace afterwards.
void count_all(std::vector<Job>& jobs, std::vector<char>& buffer) {
  const auto until = base::monotonic_now() + kPatience;
  for (auto& job : jobs) {
    errno = 0;
    if (base::monotonic_now() < until && ::setns(job.ns.get(), CLONE_NEWNET) == 0) {
      const base::Fd socket(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
      const timeval patience{.tv_sec = kPatience.count(), .tv_usec = 0};
      job.done = socket && ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
                 count_family(socket.get(), AF_INET, job.counts[0], buffer, until) &&
                 count_family(socket.get(), AF_INET6, job.counts[1], buffer, until);
    }
    job.error = job.done ? 0 : errno == 0 ? ETIME : errno;
  }
}

class Tcp : public CustomReader {
 public:
  explicit Tcp(const CustomContext& context)
      : processes_(context.processes),
        namespaces_(context.processes),
        notice_(context.notice),
        connections_(context.catalogue.find("network_tcp_connections").value()),
        buffer_(32768) {}

  void begin(model::Snapshot&) override { namespaces_.begin(); }

  void read(const cgroup::Tree& tree, cgroup::Node& node, CgroupIndex cgroup, model::Snapshot&,
            model::CollectorStats& stats) override {
    namespaces_.meet(processes_.look(tree, node, cgroup, stats), cgroup, [](const NetNamespaces::Entry&) {});
  }

  void end(model::Snapshot& snapshot, model::CollectorStats& stats) override {
    jobs_.clear();
    namespaces_.end([this](const NetNamespaces::Entry& entry) {
      namespaces_.reach(entry, [&](int process) {
        base::Fd ns(::openat(process, "ns/net", O_RDONLY | O_CLOEXEC));
        if (!ns) return false;
        jobs_.push_back({&entry, std::move(ns), {}, 0, false});
        return true;
      });
    });
    if (jobs_.empty()) return;
    try {
      std::thread([this] { count_all(jobs_, buffer_); }).join();
    } catch (const std::system_error& error) {
      for (auto& job : jobs_) job.error = error.code().value();
    }
    rows_.clear();
    for (const auto& job : jobs_) {
      if (job.done) {
        add_rows(job);
        ++stats.reads;
      } else if (job.error != EPERM && job.error != ENOENT) {  // those two: not permitted, not in this kernel
        ++stats.errors;
        ++stats.errors_now;
      }
      if (!job.done && !std::exchange(told_, true)) {
        notice_(base::Error::from_errno(job.error, "cannot count TCP connections of network namespaces").what +
                "; it takes CAP_SYS_ADMIN and the kernel's tcp_diag");
      }
    }
    jobs_.clear();
    std::ranges::sort(rows_, shorter_first, &Row::text);
    for (const auto& row : rows_) {
      add_series(snapshot.columns[connections_], model::kNoCgroup, row.text, Value::of(row.count));
    }
  }

 private:
  struct Row {
    std::string text;
    std::int64_t count = 0;
  };

  void add_rows(const Job& job) {
    for (std::size_t family = 0; family < kFamilies.size(); ++family) {
      for (std::size_t state = 1; state < kTcpStates.size(); ++state) {
        auto text = job.entry->number + '\0';
        text += kFamilies[family];
        text += '\0';
        text += kTcpStates[state];
        rows_.push_back({std::move(text), job.counts[family][state]});
      }
    }
  }

  cgroup::ProcessTable& processes_;
  NetNamespaces namespaces_;
  std::function<void(std::string)> notice_;
  FieldId connections_;
  std::vector<Job> jobs_;
  std::vector<Row> rows_;
  std::vector<char> buffer_;
  bool told_ = false;
};

}  // namespace

Collector tcp() {
  return {{"tcp",
           "TCP sockets by network namespace and state (sock_diag). Cost: proportional to the number of sockets. Needs "
           "CAP_SYS_ADMIN to enter the namespaces.",
           false, kTcpRows},
          [](const CustomContext& context) -> std::unique_ptr<CustomReader> { return std::make_unique<Tcp>(context); }};
}

}  // namespace cgwarden::collectors
