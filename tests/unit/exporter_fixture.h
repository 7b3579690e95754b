// SPDX-License-Identifier: Apache-2.0
// Helpers of the exporter tests: a small catalogue, handmade and random snapshots, and a blocking HTTP client.
#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/fd.h"
#include "src/base/text.h"
#include "src/model/snapshot.h"

namespace cgwarden::exporter::testing {

using model::Cgroup;
using model::CgroupIndex;
using model::Column;
using model::Field;
using model::FieldId;
using model::Series;
using model::Snapshot;
using model::Value;

// clang-format off
inline constexpr Field kFirstRows[] = {
    {.name = "pids_current", .kind = model::MetricKind::gauge, .v2 = {"pids.current"}, .since = "4.3", .help = "Tasks."},
    {.name = "pids_max", .kind = model::MetricKind::setting, .v2 = {"pids.max"}, .since = "4.3", .help = "Most tasks."},
    {.name = "cpu_usage", .kind = model::MetricKind::counter, .unit = model::Unit::seconds,
     .v2 = {"cpu.stat", "usage_usec", model::Shape::flat_keyed, model::Scale::micro}, .since = "4.15",
     .help = "CPU time."},
};
inline constexpr Field kSecondRows[] = {
    {.name = "io_read", .kind = model::MetricKind::counter, .unit = model::Unit::bytes,
     .v2 = {"io.stat", "rbytes", model::Shape::nested_by_line}, .labels = "device", .since = "4.5", .help = "Read."},
    {.name = "io_cost", .kind = model::MetricKind::gauge, .v2 = {"io.cost", "x", model::Shape::nested_by_line},
     .labels = "device,operation", .since = "4.5", .help = "Two labels."},
    {.name = "pressure", .kind = model::MetricKind::gauge, .unit = model::Unit::ratio,
     .v2 = {"cpu.pressure", "some.avg10", model::Shape::nested_keyed, model::Scale::percent}, .since = "4.20",
     .help = "Share of time."},
    {.name = "type", .kind = model::MetricKind::info, .v2 = {"cgroup.type", "", model::Shape::text}, .labels = "type",
     .since = "4.14", .help = "Type."},
};
// clang-format on
static_assert(model::all_well_formed(kFirstRows) && model::all_well_formed(kSecondRows));

enum Id : FieldId { kPids, kPidsMax, kCpuUsage, kIoRead, kIoCost, kPressure, kType };

inline std::shared_ptr<const model::Catalogue> catalogue() {
  static const model::CollectorInfo collectors[] = {{"first", "First.", true, kFirstRows},
                                                    {"second", "Second.", true, kSecondRows}};
  return std::make_shared<model::Catalogue>(collectors);
}

// Builds a snapshot.
struct Maker {
  std::shared_ptr<model::CgroupList> cgroup_list = std::make_shared<model::CgroupList>();
  Snapshot snapshot;

  explicit Maker(const std::vector<std::string>& paths) {
    std::uint64_t id = 100;
    for (const auto& path : paths) {
      auto cgroup = std::make_shared<Cgroup>();
      cgroup->id = ++id;
      cgroup->path = path;
      cgroup->created = base::Wall(std::chrono::milliseconds(1700000000250));
      cgroup_list->cgroups.push_back(cgroup);
      cgroup_list->parents.push_back(model::kNoCgroup);
    }
    snapshot.catalogue = catalogue();
    snapshot.cgroup_list = cgroup_list;
    snapshot.hierarchies = std::make_shared<std::vector<model::HierarchyInfo>>(
        std::vector<model::HierarchyInfo>{{2, "cpu io memory pids", "/sys/fs/cgroup"}});
    snapshot.columns.resize(snapshot.catalogue->size());
    snapshot.collectors.resize(snapshot.catalogue->collectors().size());
    for (auto& stats : snapshot.collectors) stats.enabled = true;
    snapshot.begun = base::monotonic_now();
    snapshot.taken = snapshot.begun + std::chrono::milliseconds(3);
    snapshot.taken_wall = base::wall_now();
  }

  Maker& dense(FieldId field, std::vector<Value> values) {
    snapshot.columns[field].dense = std::move(values);
    return *this;
  }
  Maker& series(FieldId field, CgroupIndex cgroup, std::string_view text, Value value) {
    auto& column = snapshot.columns[field];
    column.series.push_back(
        {cgroup, static_cast<std::uint32_t>(column.text.size()), static_cast<std::uint16_t>(text.size()), value});
    column.text += text;
    return *this;
  }
  [[nodiscard]] model::SnapshotPtr share() const { return std::make_shared<const Snapshot>(snapshot); }
};

inline model::SnapshotPtr small_snapshot() {
  return Maker({"/", "/a.slice"}).dense(kPids, {Value::of(7), Value::of(42)}).share();
}

// A snapshot whose exposition has about `bytes` bytes.
inline model::SnapshotPtr large_snapshot(std::size_t bytes) {
  std::vector<std::string> paths;
  for (std::size_t i = 0; i < bytes / 150 + 1; ++i) paths.push_back("/" + std::to_string(i) + std::string(100, 'x'));
  return Maker(paths).dense(kPids, std::vector<Value>(paths.size(), Value::of(1))).share();
}

// Uses `socket` (IPv4) if given.
inline base::Fd connect_tcp(const std::string& address, base::Fd socket = {}) {
  const auto colon = address.rfind(':');
  auto host = address.substr(0, colon);
  const auto port = base::to_int<std::uint16_t>(address.substr(colon + 1)).value();
  if (host == "[::]") host = "127.0.0.1";
  const bool v6 = host.front() == '[';
  sockaddr_in6 to6{};
  to6.sin6_family = AF_INET6;
  to6.sin6_port = htons(port);
  sockaddr_in to4{};
  to4.sin_family = AF_INET;
  to4.sin_port = htons(port);
  if (v6) {
    ::inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &to6.sin6_addr);
  } else {
    ::inet_pton(AF_INET, host.c_str(), &to4.sin_addr);
  }
  if (!socket) socket = base::Fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto* to = v6 ? reinterpret_cast<const sockaddr*>(&to6) : reinterpret_cast<const sockaddr*>(&to4);
  if (::connect(socket.get(), to, v6 ? sizeof to6 : sizeof to4) != 0) return {};
  return socket;
}

inline base::Fd connect_unix(const std::string& path) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  path.copy(to.sun_path, sizeof to.sun_path - 1);
  base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return {};
  return fd;
}

struct Response {
  int status = 0;  // 0: no response
  std::map<std::string, std::string> headers;
  std::string body;
};

// One connection. All operations time out after 30 s.
class Client {
 public:
  explicit Client(const std::string& address)
      : Client(address.starts_with("unix:") ? connect_unix(address.substr(5)) : connect_tcp(address)) {}
  explicit Client(base::Fd connected) : fd_(std::move(connected)) {
    const timeval limit{30, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }

  [[nodiscard]] int fd() const { return fd_.get(); }
  bool send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const auto n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  // The next response; `has_body` is false for a response to HEAD.
  Response receive(bool has_body = true) {
    Response out;
    std::size_t end = 0;
    while ((end = pending_.find("\r\n\r\n")) == std::string::npos) {
      if (!more()) return out;
    }
    auto header = pending_.substr(0, end + 2);
    pending_.erase(0, end + 4);
    std::string_view rest = header;
    auto first = base::take_line(rest);
    base::take_word(first);
    out.status = base::to_int<int>(base::take_word(first)).value_or(-1);
    while (!rest.empty()) {
      auto line = base::take_line(rest);
      line.remove_suffix(1);
      const auto name = base::take_until(line, ':');
      base::take_until(line, ' ');
      out.headers[std::string(name)] = line;
    }
    if (!has_body) return out;
    const auto size = base::to_int<std::size_t>(out.headers["Content-Length"]).value_or(0);
    while (pending_.size() < size) {
      if (!more()) return {};
    }
    out.body = pending_.substr(0, size);
    pending_.erase(0, size);
    return out;
  }
  Response get(const std::string& path, const std::string& headers = {}) {
    send("GET " + path + " HTTP/1.1\r\nHost: test\r\n" + headers + "\r\n");
    return receive();
  }
  // Shuts down the sending direction.
  void end() { ::shutdown(fd_.get(), SHUT_WR); }
  // True if the server closes the connection within 30 s without sending more data.
  bool closed() { return pending_.empty() && !more(); }

 private:
  bool more() {
    char bytes[16384];
    const auto n = ::recv(fd_.get(), bytes, sizeof bytes, 0);
    if (n <= 0) return false;
    pending_.append(bytes, static_cast<std::size_t>(n));
    return true;
  }

  base::Fd fd_;
  std::string pending_;
};

inline std::string gunzip(std::string_view in) {
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) return "cannot start";
  std::string copy(in);
  stream.next_in = reinterpret_cast<Bytef*>(copy.data());
  stream.avail_in = static_cast<uInt>(copy.size());
  std::string out;
  int code = Z_OK;
  while (code == Z_OK) {
    char bytes[65536];
    stream.next_out = reinterpret_cast<Bytef*>(bytes);
    stream.avail_out = sizeof bytes;
    code = inflate(&stream, Z_NO_FLUSH);
    out.append(bytes, sizeof bytes - stream.avail_out);
  }
  inflateEnd(&stream);
  return code == Z_STREAM_END ? out : "broken: " + std::to_string(code);
}

}  // namespace cgwarden::exporter::testing
