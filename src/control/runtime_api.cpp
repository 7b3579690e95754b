// SPDX-License-Identifier: Apache-2.0
#include "src/control/runtime_api.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "src/base/text.h"
#include "src/discovery/daemon.h"
#include "src/discovery/runtimes.h"
#include "src/discovery/unix_http.h"

namespace cgwarden::control {
namespace {

using discovery::HttpResponse;
using discovery::UnixHttp;
using Json = nlohmann::json;

constexpr std::chrono::milliseconds kQueryTimeout{500};
constexpr std::chrono::milliseconds kNotifyTimeout{2000};
constexpr std::size_t kMaxResponse = std::size_t{1} << 20U;
constexpr std::size_t kMaxReason = 300;
// Docker's API cannot remove a memory limit; this is the value by which v1's kernel represents unlimited.
constexpr std::int64_t kDockerUnlimited = 9'223'372'036'854'771'712;
constexpr std::int64_t kCpusPeriod = 100'000;  // microseconds, the period that --cpus implies

struct Row {
  std::string_view runtime;
  std::string RuntimeSockets::*socket;
  std::string_view containers;  // path before the container's id in the update request
  std::string (*body)(const RuntimeLimits&, bool by_cores);
};

constexpr Row kRuntimeRows[] = {
    {"docker", &RuntimeSockets::docker, "/containers/", docker_update},
    {"podman", &RuntimeSockets::podman, "/v4.0.0/libpod/containers/",
     [](const RuntimeLimits& limits, bool) { return podman_update(limits); }},
};

const Row* find_runtime_row(std::string_view runtime) {
  const auto* const at = std::ranges::find(kRuntimeRows, runtime, &Row::runtime);
  return at == std::end(kRuntimeRows) ? nullptr : at;
}

// The error text of {"message":"..."} or of {"cause":"..."}.
std::string error_text_of(const HttpResponse& answer) {
  const auto parsed = Json::parse(answer.body, nullptr, false);
  std::string out;
  for (const auto* key : {"message", "cause"}) {
    if (!out.empty() || !parsed.is_object()) continue;
    if (const auto at = parsed.find(key); at != parsed.end() && at->is_string()) out = at->get<std::string>();
  }
  if (out.empty()) return "HTTP status " + std::to_string(answer.status);
  return base::printable(base::trim_end(std::string_view(out).substr(0, kMaxReason)));
}

base::Result<void> result_of(const RuntimeContainer& container, const HttpResponse& answer) {
  const std::string runtime(container.runtime);
  if (answer.outcome != discovery::HttpOutcome::answered) {
    return base::fail(runtime + " at " + container.socket + ": " + answer.error);
  }
  if (answer.status / 100 != 2) return base::fail(runtime + ": " + error_text_of(answer));
  return {};
}

base::Result<void> post(const RuntimeContainer& container, const std::string& target, std::string body,
                        std::chrono::milliseconds timeout) {
  UnixHttp server(container.socket, kMaxResponse);
  return result_of(container, server.post(target, std::move(body), UnixHttp::Clock::now() + timeout));
}

std::string target_of(const RuntimeContainer& container, std::string_view what) {
  return "/containers/" + container.id + std::string(what);
}

std::int64_t or_unlimited(model::Value value, std::int64_t unlimited) {
  return value.is_number() ? value.fixed() : unlimited;
}

// Memory plus swap, as the APIs define it.
std::int64_t memory_and_swap(const RuntimeLimits& limits) {
  return limits.memory.is_number() && limits.swap.is_number() ? limits.memory.fixed() + limits.swap.fixed() : -1;
}

std::string dump_or_empty(const Json& out) { return out.empty() ? std::string() : out.dump(); }

}  // namespace

std::string_view runtime_of(std::string_view path) {
  const auto path_match = discovery::locate(path);
  if (!path_match || !path_match->certain || path_match->role != model::Role::container) return {};
  return path_match->runtime;
}

base::Result<std::optional<RuntimeContainer>> find_runtime_container(const RuntimeSockets& sockets,
                                                                     std::string_view path) {
  const auto path_match = discovery::locate(path);
  if (!path_match || path_match->role != model::Role::container) return std::nullopt;
  const auto* const row = find_runtime_row(path_match->runtime);
  if (row == nullptr || !discovery::is_socket_path(sockets.*row->socket)) return std::nullopt;
  RuntimeContainer container;
  container.runtime = row->runtime;
  container.id = path_match->id;
  container.socket = sockets.*row->socket;
  UnixHttp server(container.socket, kMaxResponse);
  const auto answer = server.get(target_of(container, "/json"), UnixHttp::Clock::now() + kQueryTimeout);
  // Not running here, or a container of another runtime.
  if (answer.outcome == discovery::HttpOutcome::unreachable || answer.status == 404) return std::nullopt;
  if (const auto done = result_of(container, answer); !done) return tl::unexpected(done.error());
  auto parsed_container = parse_runtime_container(answer.body, container.id);
  if (!parsed_container)
    return base::fail(std::string(row->runtime) + ": response is invalid or belongs to another container");
  container.paused = parsed_container->paused;
  container.by_cores = parsed_container->by_cores;
  return container;
}

std::optional<RuntimeContainer> parse_runtime_container(std::string_view text, const std::string& id) {
  const auto parsed = Json::parse(text, nullptr, false);
  if (!parsed.is_object()) return std::nullopt;
  const auto reported_id = parsed.find("Id");
  if (reported_id == parsed.end() || !reported_id->is_string() || reported_id->get_ref<const std::string&>() != id) {
    return std::nullopt;
  }
  RuntimeContainer out;
  out.id = id;
  if (const auto state = parsed.find("State"); state != parsed.end() && state->is_object()) {
    const auto paused = state->find("Paused");
    out.paused = paused != state->end() && paused->is_boolean() && paused->get<bool>();
  }
  const auto host = parsed.find("HostConfig");
  const auto number = [&](const char* key) {
    if (host == parsed.end() || !host->is_object()) return std::int64_t{0};
    const auto at = host->find(key);
    return at != host->end() && at->is_number_integer() ? at->get<std::int64_t>() : 0;
  };
  out.by_cores = number("NanoCpus") > 0 || (number("CpuQuota") <= 0 && number("CpuPeriod") == 0);
  return out;
}

std::string docker_update(const RuntimeLimits& limits, bool by_cores) {
  Json out = Json::object();
  if (limits.memory.has_value()) {
    out["Memory"] = or_unlimited(limits.memory, kDockerUnlimited);
    if (limits.swap.has_value()) out["MemorySwap"] = memory_and_swap(limits);
  }
  if (limits.cpu_quota.is_unlimited()) {
    out["CpuQuota"] = -1;
  } else if (limits.cpu_quota.is_number() && limits.cpu_period.is_number()) {
    if (!by_cores) {
      out["CpuQuota"] = limits.cpu_quota.fixed();
      out["CpuPeriod"] = limits.cpu_period.fixed();
    } else if (limits.cpu_period.fixed() == kCpusPeriod) {
      out["NanoCpus"] = limits.cpu_quota.fixed() * (1'000'000'000 / kCpusPeriod);
    }
  }
  if (limits.cpu_shares.is_number()) out["CpuShares"] = limits.cpu_shares.fixed();
  if (limits.pids.has_value()) out["PidsLimit"] = or_unlimited(limits.pids, -1);
  if (!limits.cpus.empty()) out["CpusetCpus"] = limits.cpus;
  if (!limits.mems.empty()) out["CpusetMems"] = limits.mems;
  return dump_or_empty(out);
}

std::string podman_update(const RuntimeLimits& limits) {
  Json out = Json::object();
  if (limits.memory.has_value()) {
    out["memory"]["limit"] = or_unlimited(limits.memory, -1);
    if (limits.swap.has_value()) out["memory"]["swap"] = memory_and_swap(limits);
  }
  if (limits.cpu_quota.has_value()) out["cpu"]["quota"] = or_unlimited(limits.cpu_quota, -1);
  if (limits.cpu_period.is_number()) out["cpu"]["period"] = limits.cpu_period.fixed();
  if (limits.cpu_shares.is_number()) out["cpu"]["shares"] = limits.cpu_shares.fixed();
  if (limits.pids.has_value()) out["pids"]["limit"] = or_unlimited(limits.pids, -1);
  if (!limits.cpus.empty()) out["cpu"]["cpus"] = limits.cpus;
  if (!limits.mems.empty()) out["cpu"]["mems"] = limits.mems;
  return dump_or_empty(out);
}

base::Result<void> update_limits(const RuntimeContainer& container, const RuntimeLimits& limits) {
  const auto* const row = find_runtime_row(container.runtime);
  if (row == nullptr) return base::fail("unknown runtime");
  auto body = row->body(limits, container.by_cores);
  if (body.empty()) return base::fail(std::string(container.runtime) + ": its API does not support these limits");
  return post(container, std::string(row->containers) + container.id + "/update", std::move(body), kNotifyTimeout);
}

base::Result<void> pause(const RuntimeContainer& container, std::chrono::milliseconds wait) {
  return post(container, target_of(container, "/pause"), {}, std::min(wait, kNotifyTimeout));
}

base::Result<void> unpause(const RuntimeContainer& container) {
  return post(container, target_of(container, "/unpause"), {}, kNotifyTimeout);
}

std::string unpause_request(const RuntimeContainer& container) {
  return "POST " + target_of(container, "/unpause") +
         " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
}

std::optional<sockaddr_un> address_of(const std::string& socket) {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  if (socket.empty() || socket.size() >= sizeof(out.sun_path)) return std::nullopt;
  std::memcpy(out.sun_path, socket.data(), socket.size());
  return out;
}

}  // namespace cgwarden::control
