// SPDX-License-Identifier: Apache-2.0
// Interface counters of each network namespace that a process of a cgroup is in: Documentation/filesystems/proc.rst,
// "net/dev".
//
// Traffic belongs to a namespace, not to a cgroup: counters are read once per namespace, however many cgroups share it,
// and have no cgroup label. An info series links each cgroup to its namespaces. A cgroup in the host namespace has no
// traffic of its own, and none is attributed to it.
#include "collectors/network.h"

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "collectors/collectors.h"
#include "collectors/net_namespaces.h"
#include "collectors/series.h"
#include "src/base/text.h"

namespace cgwarden::collectors {

std::optional<Interface> parse_interface(std::string_view line) {
  Interface out;
  const auto colon = line.rfind(':');
  if (colon == std::string_view::npos || line.find('|') != std::string_view::npos) return std::nullopt;
  auto name = line.substr(0, colon);
  out.name = base::take_word(name);
  if (out.name.empty() || !base::take_word(name).empty()) return std::nullopt;
  line.remove_prefix(colon + 1);
  for (auto& counter : out.counters) {
    const auto number = base::to_int<std::uint64_t>(base::take_word(line));
    if (!number) return std::nullopt;
    counter = *number;
  }
  return out;
}

namespace {

using model::CgroupIndex;
using model::FieldId;
using model::Value;
using enum model::MetricKind;
using enum model::Unit;

constexpr std::size_t kMaxInterfaces = 256;  // per namespace
constexpr std::string_view kNetworkFrom = "`/proc/PID/net/dev`, read once per namespace";

// clang-format off
constexpr model::Field kNetworkRows[] = {
    {.name = "network_receive", .kind = counter, .unit = bytes,
     .derived = kNetworkFrom, .labels = "namespace,interface",
     .since = "5.4", .help = "Bytes received by the interface of the network namespace.",
     .cadvisor = "container_network_receive_bytes_total"},
    {.name = "network_receive_packets", .kind = counter, .derived = kNetworkFrom, .labels = "namespace,interface",
     .since = "5.4",
     .help = "Packets received by the interface of the network namespace.",
     .cadvisor = "container_network_receive_packets_total"},
    {.name = "network_receive_errors", .kind = counter, .derived = kNetworkFrom, .labels = "namespace,interface",
     .since = "5.4", .help = "Receive errors detected by the driver of the interface.",
     .cadvisor = "container_network_receive_errors_total"},
    {.name = "network_receive_dropped", .kind = counter, .derived = kNetworkFrom, .labels = "namespace,interface",
     .since = "5.4", .help = "Received packets dropped by the driver of the interface or the network stack.",
     .cadvisor = "container_network_receive_packets_dropped_total"},
    {.name = "network_receive_fifo", .kind = counter, .derived = kNetworkFrom, .labels = "namespace,interface",
     .since = "5.4", .help = "Receive FIFO buffer errors of the interface."},
    {.name = "network_receive_frame", .kind = counter, .derived = kNetworkFrom, .labels = "namespace,interface",
     .since = "5.4", .help = "Received packets with framing errors: wrong length, alignment or checksum."},
    {.name = "network_receive_compressed", .kind = counter, .derived = kNetworkFrom, .labels = "namespace,interface",
     .since = "5.4", .help = "Compressed packets received by the interface."},
    {.name = "network_receive_multicast", .kind = counter, .derived = kNetworkFrom, .labels = "namespace,interface",
     .since = "5.4", .help = "Multicast frames received by the interface."},
    {.name = "network_transmit", .kind = counter, .unit = bytes,
     .derived = kNetworkFrom, .labels = "namespace,interface",
     .since = "5.4", .help = "Bytes transmitted by the interface of the network namespace.",
     .cadvisor = "container_network_transmit_bytes_total"},
    {.name = "network_transmit_packets", .kind = counter, .derived = kNetworkFrom, .labels = "namespace,interface",
     .since = "5.4",
     .help = "Packets transmitted by the interface of the network namespace.",
     .cadvisor = "container_network_transmit_packets_total"},
    {.name = "network_transmit_errors", .kind = counter, .derived = kNetworkFrom, .labels = "namespace,interface",
     .since = "5.4", .help = "Transmit errors detected by the driver of the interface.",
     .cadvisor = "container_network_transmit_errors_total"},
    {.name = "network_transmit_dropped", .kind = counter, .derived = kNetworkFrom, .labels = "namespace,interface",
     .since = "5.4", .help = "Packets dropped instead of transmitted by the driver of the interface.",
     .cadvisor = "container_network_transmit_packets_dropped_total"},
    {.name = "network_transmit_fifo", .kind = counter, .derived = kNetworkFrom, .labels = "namespace,interface",
     .since = "5.4", .help = "Transmit FIFO buffer errors of the interface."},
    {.name = "network_transmit_collisions", .kind = counter, .derived = kNetworkFrom, .labels = "namespace,interface",
     .since = "5.4", .help = "Collisions detected on the interface."},
    {.name = "network_transmit_carrier", .kind = counter, .derived = kNetworkFrom, .labels = "namespace,interface",
     .since = "5.4", .help = "Transmit errors of the interface caused by loss of carrier."},
    {.name = "network_transmit_compressed", .kind = counter, .derived = kNetworkFrom, .labels = "namespace,interface",
     .since = "5.4", .help = "Compressed packets transmitted by the interface."},
    {.name = "network_namespace", .kind = info, .derived = "`/proc/PID/ns/net` of the cgroup's own processes",
     .labels = "namespace,host", .since = "5.4",
     .help = "Network namespaces of processes in the cgroup itself, and whether each is that of the host, whose "
             "traffic is not attributed to the cgroup."},
};
// clang-format on
static_assert(model::all_well_formed(kNetworkRows));

class Network : public CustomReader {
 public:
  explicit Network(const CustomContext& context)
      : processes_(context.processes), namespaces_(context.processes), log_(context.log) {
    for (std::size_t i = 0; i < counters_.size(); ++i)
      counters_[i] = context.catalogue.find(kNetworkRows[i].name).value();
    namespace_ = context.catalogue.find("network_namespace").value();
  }

  void begin(model::Snapshot&) override { namespaces_.begin(); }

  void read(const cgroup::Tree& tree, cgroup::Node& node, CgroupIndex cgroup, model::Snapshot& snapshot,
            model::CollectorStats& stats) override {
    namespaces_.meet(processes_.inspect(tree, node, cgroup, stats), cgroup, [&](const NetNamespaces::Entry& entry) {
      add_series(snapshot.columns[namespace_], cgroup, entry.text, Value::of(1));
    });
  }

  void end(model::Snapshot& snapshot, model::CollectorStats& stats) override {
    row_count_ = 0;
    namespaces_.end([&](const NetNamespaces::Entry& entry) {
      namespaces_.with_process(entry, [&](int process) { return read_interfaces(process, entry, stats); });
    });
    const auto rows = std::span(rows_).first(row_count_);
    std::ranges::sort(rows, shorter_first, &Row::text);
    for (std::size_t i = 0; i < counters_.size(); ++i) {
      auto& column = snapshot.columns[counters_[i]];
      for (const auto& row : rows) {
        const auto count = std::min<std::uint64_t>(row.counters[i], INT64_MAX);
        add_series(column, model::kNoCgroup, row.text, Value::of(static_cast<std::int64_t>(count)));
      }
    }
  }

 private:
  struct Row {
    std::string text;  // "4026531840\0" "eth0"
    std::array<std::uint64_t, 16> counters{};
  };

  bool read_interfaces(int process, const NetNamespaces::Entry& entry, model::CollectorStats& stats) {
    auto text = processes_.read_file(process, "net/dev", stats);
    if (text.empty()) return false;
    std::size_t interfaces = 0;
    for (int heading = 0; heading < 2; ++heading) base::take_line(text);
    while (!text.empty()) {
      const auto found = parse_interface(base::take_line(text));
      if (!found) {
        ++stats.errors;
        ++stats.errors_now;
        continue;
      }
      // The host end of a veth pair counts the same traffic as the interface of the container.
      if (entry.host == "true" && found->name.starts_with("veth")) continue;
      if (++interfaces > kMaxInterfaces) {
        log_limit(entry);
        break;
      }
      if (row_count_ == rows_.size()) rows_.emplace_back();
      auto& row = rows_[row_count_++];
      row.text = entry.number;
      row.text += '\0';
      row.text += found->name;
      row.counters = found->counters;
    }
    return true;
  }

  void log_limit(const NetNamespaces::Entry& entry) {
    if (std::exchange(logged_limit_, true)) return;
    log_("too many interfaces in a network namespace, ignoring the rest: namespace " + entry.number + ", limit " +
         std::to_string(kMaxInterfaces));
  }

  cgroup::ProcessTable& processes_;
  NetNamespaces namespaces_;
  std::function<void(std::string)> log_;
  std::array<FieldId, 16> counters_{};
  FieldId namespace_ = 0;
  std::vector<Row> rows_;
  std::size_t row_count_ = 0;
  bool logged_limit_ = false;
};

}  // namespace

Collector network() {
  return {
      {"network",
       "Interface counters, read once per network namespace of processes in cgroups; veth interfaces of the host are "
       "omitted.",
       true, kNetworkRows},
      [](const CustomContext& context) -> std::unique_ptr<CustomReader> { return std::make_unique<Network>(context); }};
}

}  // namespace cgwarden::collectors
