// SPDX-License-Identifier: Apache-2.0
#include "src/control/engine.h"

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

using discovery::HttpAnswer;
using discovery::UnixHttp;
using Json = nlohmann::json;

constexpr std::chrono::milliseconds kLookWithin{500};
constexpr std::chrono::milliseconds kNotifyTimeout{2000};
constexpr std::size_t kMaxAnswer = std::size_t{1} << 20U;
constexpr std::size_t kMaxReason = 300;
// Docker has no word for memory without a limit once there was one; this is what the kernel of v1 makes of none.
constexpr std::int64_t kDockersUnlimited = 9'223'372'036'854'771'712;
constexpr std::int64_t kUsualPeriod = 100'000;  // microseconds: the one that --cpus means

struct Row {
  std::string_view engine;
  std::string EngineSockets::*socket;
  std::string_view containers;  // before the id, where its limits are updated
  std::string (*body)(const EngineLimits&, bool by_cores);
};

constexpr Row kEngines[] = {
    {"docker", &EngineSockets::docker, "/containers/", docker_update},
    {"podman", &EngineSockets::podman, "/v4.0.0/libpod/containers/",
     [](const EngineLimits& limits, bool) { return podman_update(limits); }},
};

const Row* row_of_engine(std::string_view engine) {
  const auto* const at = std::ranges::find(kEngines, engine, &Row::engine);
  return at == std::end(kEngines) ? nullptr : at;
}

// "container not paused" of {"message":"..."}, else of {"cause":"..."}.
std::string reason_of(const HttpAnswer& answer) {
  const auto parsed = Json::parse(answer.body, nullptr, false);
  std::string out;
  for (const auto* key : {"message", "cause"}) {
    if (!out.empty() || !parsed.is_object()) continue;
    if (const auto at = parsed.find(key); at != parsed.end() && at->is_string()) out = at->get<std::string>();
  }
  if (out.empty()) return "it answers " + std::to_string(answer.status);
  return base::printable(base::trim_end(std::string_view(out).substr(0, kMaxReason)));
}

base::Result<void> result_of(const EngineContainer& container, const HttpAnswer& answer) {
  const std::string engine(container.engine);
  if (answer.kind != HttpAnswer::Kind::answered) {
    return base::fail(engine + " at " + container.socket + ": " + answer.why);
  }
  if (answer.status / 100 != 2) return base::fail(engine + ": " + reason_of(answer));
  return {};
}

base::Result<void> post(const EngineContainer& container, const std::string& target, std::string body,
                        std::chrono::milliseconds within) {
  UnixHttp server(container.socket, kMaxAnswer);
  return result_of(container, server.post(target, std::move(body), UnixHttp::Clock::now() + within));
}

std::string target_of(const EngineContainer& container, std::string_view what) {
  return "/containers/" + container.id + std::string(what);
}

std::int64_t or_unlimited(model::Value value, std::int64_t unlimited) {
  return value.is_number() ? value.fixed() : unlimited;
}

// Memory and swap together, as engines count.
std::int64_t memory_and_swap(const EngineLimits& limits) {
  return limits.memory.is_number() && limits.swap.is_number() ? limits.memory.fixed() + limits.swap.fixed() : -1;
}

std::string dump_or_nothing(const Json& out) { return out.empty() ? std::string() : out.dump(); }

}  // namespace

std::string_view runtime_of(std::string_view path) {
  const auto place = discovery::locate(path);
  if (!place || !place->certain || place->role != model::Role::container) return {};
  return place->runtime;
}

base::Result<std::optional<EngineContainer>> container_of(const EngineSockets& sockets, std::string_view path) {
  const auto place = discovery::locate(path);
  if (!place || place->role != model::Role::container) return std::nullopt;
  const auto* const row = row_of_engine(place->runtime);
  if (row == nullptr || !discovery::is_socket_path(sockets.*row->socket)) return std::nullopt;
  EngineContainer container;
  container.engine = row->engine;
  container.id = place->id;
  container.socket = sockets.*row->socket;
  UnixHttp server(container.socket, kMaxAnswer);
  const auto answer = server.get(target_of(container, "/json"), UnixHttp::Clock::now() + kLookWithin);
  // Not running here, or another one's container.
  if (answer.kind == HttpAnswer::Kind::unreachable || answer.status == 404) return std::nullopt;
  if (const auto done = result_of(container, answer); !done) return tl::unexpected(done.error());
  auto told = parse_engine_container(answer.body, container.id);
  if (!told) return base::fail(std::string(row->engine) + ": its answer is broken or of another container");
  container.paused = told->paused;
  container.by_cores = told->by_cores;
  return container;
}

std::optional<EngineContainer> parse_engine_container(std::string_view text, const std::string& id) {
  const auto parsed = Json::parse(text, nullptr, false);
  if (!parsed.is_object()) return std::nullopt;
  const auto told_id = parsed.find("Id");
  if (told_id == parsed.end() || !told_id->is_string() || told_id->get_ref<const std::string&>() != id) {
    return std::nullopt;
  }
  EngineContainer out;
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

std::string docker_update(const EngineLimits& limits, bool by_cores) {
  Json out = Json::object();
  if (limits.memory.has_value()) {
    out["Memory"] = or_unlimited(limits.memory, kDockersUnlimited);
    if (limits.swap.has_value()) out["MemorySwap"] = memory_and_swap(limits);
  }
  if (limits.cpu_quota.is_unlimited()) {
    out["CpuQuota"] = -1;
  } else if (limits.cpu_quota.is_number() && limits.cpu_period.is_number()) {
    if (!by_cores) {
      out["CpuQuota"] = limits.cpu_quota.fixed();
      out["CpuPeriod"] = limits.cpu_period.fixed();
    } else if (limits.cpu_period.fixed() == kUsualPeriod) {
      out["NanoCpus"] = limits.cpu_quota.fixed() * (1'000'000'000 / kUsualPeriod);
    }
  }
  if (limits.cpu_shares.is_number()) out["CpuShares"] = limits.cpu_shares.fixed();
  if (limits.pids.has_value()) out["PidsLimit"] = or_unlimited(limits.pids, -1);
  if (!limits.cpus.empty()) out["CpusetCpus"] = limits.cpus;
  if (!limits.mems.empty()) out["CpusetMems"] = limits.mems;
  return dump_or_nothing(out);
}

std::string podman_update(const EngineLimits& limits) {
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
  return dump_or_nothing(out);
}

base::Result<void> tell_limits(const EngineContainer& container, const EngineLimits& limits) {
  const auto* const row = row_of_engine(container.engine);
  if (row == nullptr) return base::fail("no such engine");
  auto body = row->body(limits, container.by_cores);
  if (body.empty()) return base::fail(std::string(container.engine) + " has no word for it");
  return post(container, std::string(row->containers) + container.id + "/update", std::move(body), kNotifyTimeout);
}

base::Result<void> pause(const EngineContainer& container, std::chrono::milliseconds wait) {
  return post(container, target_of(container, "/pause"), {}, std::min(wait, kNotifyTimeout));
}

base::Result<void> unpause(const EngineContainer& container) {
  return post(container, target_of(container, "/unpause"), {}, kNotifyTimeout);
}

std::string unpause_request(const EngineContainer& container) {
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
