// SPDX-License-Identifier: Apache-2.0
// BPF programs attached to v2 cgroups: bpf(2), BPF_PROG_QUERY. They replace v1 controllers: device rules (DeviceAllow=
// of systemd, containers), and filters of addresses, sockets and sysctls.
#include <fcntl.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "collectors/collectors.h"
#include "collectors/series.h"
#include "src/base/fd.h"
#include "src/base/result.h"

namespace cgwarden::collectors {
namespace {

using model::CgroupIndex;
using model::FieldId;
using model::Value;
using enum model::MetricKind;

constexpr std::string_view kBpfFrom = "`BPF_PROG_QUERY` on the v2 cgroup directory";

// clang-format off
constexpr model::Field kBpfRows[] = {
    {.name = "bpf_programs", .kind = gauge, .derived = kBpfFrom, .labels = "attach_type", .since = "5.4",
     .help = "BPF programs attached to the cgroup itself, by attach type; types without programs are omitted except "
             "device."},
    {.name = "bpf_effective_programs", .kind = gauge, .derived = kBpfFrom, .labels = "attach_type", .since = "5.4",
     .help = "BPF programs in effect for the cgroup, attached to it or inherited from ancestors, by attach type; types "
             "without programs are omitted except device."},
};
// clang-format on
static_assert(model::all_well_formed(kBpfRows));

struct AttachType {
  std::uint32_t number;
  std::string_view name;
};

// Attach types after Linux 6.1 are given as numbers, because linux/bpf.h of Debian 12 does not define them.
constexpr AttachType kTypes[] = {
    {BPF_CGROUP_DEVICE, "device"},
    {BPF_CGROUP_INET_INGRESS, "inet_ingress"},
    {BPF_CGROUP_INET_EGRESS, "inet_egress"},
    {BPF_CGROUP_INET_SOCK_CREATE, "inet_sock_create"},
    {BPF_CGROUP_INET_SOCK_RELEASE, "inet_sock_release"},
    {BPF_CGROUP_SOCK_OPS, "sock_ops"},
    {BPF_CGROUP_INET4_BIND, "inet4_bind"},
    {BPF_CGROUP_INET6_BIND, "inet6_bind"},
    {BPF_CGROUP_INET4_CONNECT, "inet4_connect"},
    {BPF_CGROUP_INET6_CONNECT, "inet6_connect"},
    {BPF_CGROUP_INET4_POST_BIND, "inet4_post_bind"},
    {BPF_CGROUP_INET6_POST_BIND, "inet6_post_bind"},
    {BPF_CGROUP_UDP4_SENDMSG, "udp4_sendmsg"},
    {BPF_CGROUP_UDP6_SENDMSG, "udp6_sendmsg"},
    {BPF_CGROUP_UDP4_RECVMSG, "udp4_recvmsg"},
    {BPF_CGROUP_UDP6_RECVMSG, "udp6_recvmsg"},
    {BPF_CGROUP_SYSCTL, "sysctl"},
    {BPF_CGROUP_GETSOCKOPT, "getsockopt"},
    {BPF_CGROUP_SETSOCKOPT, "setsockopt"},
    {BPF_CGROUP_INET4_GETPEERNAME, "inet4_getpeername"},
    {BPF_CGROUP_INET6_GETPEERNAME, "inet6_getpeername"},
    {BPF_CGROUP_INET4_GETSOCKNAME, "inet4_getsockname"},
    {BPF_CGROUP_INET6_GETSOCKNAME, "inet6_getsockname"},
    {49, "unix_connect"},
    {50, "unix_sendmsg"},
    {51, "unix_recvmsg"},
    {52, "unix_getpeername"},
    {53, "unix_getsockname"},
};

class Bpf : public CustomReader {
 public:
  explicit Bpf(const CustomContext& context) : log_(context.log) {
    own_ = context.catalogue.find("bpf_programs").value();
    effective_ = context.catalogue.find("bpf_effective_programs").value();
    supported_.fill(true);
    for (std::size_t h = 0; h < context.host.all.size(); ++h) {
      if (context.host.all[h].version == 2) v2_ = h;
    }
  }

  void begin(model::Snapshot&) override { permitted_ = true; }

  void read(const cgroup::Tree& tree, cgroup::Node& node, CgroupIndex cgroup, model::Snapshot& snapshot,
            model::CollectorStats& stats) override {
    if (!permitted_ || v2_ >= node.dirs.size() || node.dirs[v2_].inode == 0) return;
    const base::Fd dir(tree.open_file(node, v2_, ".", O_RDONLY | O_DIRECTORY));
    if (!dir) return;  // removed meanwhile
    for (std::size_t i = 0; i < supported_.size() && permitted_; ++i) {
      if (!supported_[i]) continue;
      add(i, 0, own_, dir.get(), cgroup, snapshot, stats);
      if (supported_[i]) add(i, BPF_F_QUERY_EFFECTIVE, effective_, dir.get(), cgroup, snapshot, stats);
    }
  }

 private:
  void add(std::size_t type, std::uint32_t flags, FieldId field, int dir, CgroupIndex cgroup, model::Snapshot& snapshot,
           model::CollectorStats& stats) {
    bpf_attr attr{};
    attr.query.target_fd = static_cast<std::uint32_t>(dir);
    attr.query.attach_type = kTypes[type].number;
    attr.query.query_flags = flags;
    if (::syscall(SYS_bpf, BPF_PROG_QUERY, &attr, sizeof attr) == 0) {
      ++stats.reads;
      if (attr.query.prog_cnt > 0 || type == 0) {
        add_series(snapshot.columns[field], cgroup, kTypes[type].name, Value::of(attr.query.prog_cnt));
      }
      return;
    }
    switch (errno) {
      case EINVAL:  // attach type not known to this kernel
      case EOPNOTSUPP:
        supported_[type] = false;
        break;
      case EPERM:
      case EACCES:
      case ENOSYS:
        permitted_ = false;  // no series
        if (!std::exchange(logged_, true)) {
          log_(base::Error::from_errno(errno, "cannot query BPF programs of cgroups").what +
               " (needs CAP_NET_ADMIN, and a seccomp filter that allows bpf)");
        }
        break;
      case EBADF:   // a recorded host
      case ENODEV:  // removed meanwhile
      case ENOENT:
        break;
      default:
        ++stats.errors;
        ++stats.errors_now;
    }
  }

  std::function<void(std::string)> log_;
  FieldId own_ = 0;
  FieldId effective_ = 0;
  std::array<bool, std::size(kTypes)> supported_{};
  std::size_t v2_ = cgroup::Tree::kMaxHierarchies;
  bool permitted_ = true;
  bool logged_ = false;
};

}  // namespace

Collector bpf() {
  return {{"bpf",
           "BPF programs attached to v2 cgroups, such as device rules. Cost: about 50 system calls per cgroup. Needs "
           "CAP_NET_ADMIN.",
           false, kBpfRows},
          [](const CustomContext& context) -> std::unique_ptr<CustomReader> { return std::make_unique<Bpf>(context); }};
}

}  // namespace cgwarden::collectors
