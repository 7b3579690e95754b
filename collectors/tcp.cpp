// SPDX-License-Identifier: Apache-2.0
// TCP sockets by state in each network namespace: sock_diag(7). A netlink socket belongs to the namespace of the thread
// that created it, so a temporary thread enters each namespace (setns(2), CAP_SYS_ADMIN) and then exits. The sampler
// thread does not change its namespace.
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
using enum model::MetricKind;

constexpr auto kTimeout = std::chrono::seconds(2);  // for all namespaces together

// clang-format off
constexpr model::Field kTcpRows[] = {
    {.name = "network_tcp_connections", .kind = gauge, .derived = "sock_diag in each network namespace",
     .labels = "namespace,family,state", .since = "5.4",
     .help = "TCP sockets in the network namespace, by address family and state.",
     .cadvisor = "container_network_tcp_usage_total"},
};
// clang-format on
static_assert(model::all_well_formed(kTcpRows));

// Index: state number in the kernel (tcp_states.h). 12 (TCP_NEW_SYN_RECV) is counted as 3 (SYN_RECV).
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

// Counts the messages in one datagram. Returns 1 to continue, 0 after the last message, -1 on error (errno).
int count_messages(std::string_view data, std::array<std::int64_t, kTcpStates.size()>& counts) {
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
                  std::vector<char>& buffer, base::Monotonic deadline) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } message{};
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  message.request.sdiag_family = static_cast<std::uint8_t>(family);
  message.request.sdiag_protocol = IPPROTO_TCP;
  message.request.idiag_states = 0xFFFFFFFF;
  if (::send(socket, &message, sizeof message, 0) != ssize_t{sizeof message}) return false;
  while (true) {
    const auto n = ::recv(socket, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    const int more = count_messages({buffer.data(), static_cast<std::size_t>(n)}, counts);
    if (more <= 0) return more == 0;
    if (base::monotonic_now() > deadline) {
      errno = ETIME;
      return false;
    }
  }
}

// Runs on a temporary thread, because it changes the network namespace of the thread.
void count_all(std::vector<Job>& jobs, std::vector<char>& buffer) {
  const auto deadline = base::monotonic_now() + kTimeout;
  for (auto& job : jobs) {
    errno = 0;
    if (base::monotonic_now() < deadline && ::setns(job.ns.get(), CLONE_NEWNET) == 0) {
      const base::Fd socket(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
      const timeval timeout{.tv_sec = kTimeout.count(), .tv_usec = 0};
      job.done = socket && ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0 &&
                 count_family(socket.get(), AF_INET, job.counts[0], buffer, deadline) &&
                 count_family(socket.get(), AF_INET6, job.counts[1], buffer, deadline);
    }
    job.error = job.done ? 0 : errno == 0 ? ETIME : errno;
  }
}

class Tcp : public CustomReader {
 public:
  explicit Tcp(const CustomContext& context)
      : processes_(context.processes),
        namespaces_(context.processes),
        log_(context.log),
        connections_(context.catalogue.find("network_tcp_connections").value()),
        buffer_(32768) {}

  void begin(model::Snapshot&) override { namespaces_.begin(); }

  void read(const cgroup::Tree& tree, cgroup::Node& node, CgroupIndex cgroup, model::Snapshot&,
            model::CollectorStats& stats) override {
    namespaces_.meet(processes_.inspect(tree, node, cgroup, stats), cgroup, [](const NetNamespaces::Entry&) {});
  }

  void end(model::Snapshot& snapshot, model::CollectorStats& stats) override {
    jobs_.clear();
    namespaces_.end([this](const NetNamespaces::Entry& entry) {
      namespaces_.with_process(entry, [&](int process) {
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
      } else if (job.error != EPERM && job.error != ENOENT) {  // not permitted, or not in this kernel: no errors
        ++stats.errors;
        ++stats.errors_now;
      }
      if (!job.done && !std::exchange(logged_, true)) {
        log_(base::Error::from_errno(job.error, "cannot count TCP sockets of network namespaces").what +
             " (needs CAP_SYS_ADMIN and the kernel module tcp_diag)");
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
  std::function<void(std::string)> log_;
  FieldId connections_;
  std::vector<Job> jobs_;
  std::vector<Row> rows_;
  std::vector<char> buffer_;
  bool logged_ = false;
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
