// SPDX-License-Identifier: Apache-2.0
#include "src/model/host.h"

#include <nlohmann/json.hpp>

namespace cgwarden::model {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMaxLength = 256;

struct TextMember {
  const char* name;
  std::string Host::*member;
};
constexpr TextMember kTexts[] = {
    {"name", &Host::name}, {"kernel", &Host::kernel}, {"cgroup_mode", &Host::layout}, {"boot_id", &Host::boot_id}};

struct IntegerMember {
  const char* name;
  std::optional<std::int64_t> Host::*member;
};
constexpr IntegerMember kIntegers[] = {{"memory_total", &Host::memory_total},
                                       {"memory_available", &Host::memory_available},
                                       {"swap_total", &Host::swap_total},
                                       {"swap_free", &Host::swap_free}};

struct NumberMember {
  const char* name;
  std::optional<double> Host::*member;
};
constexpr NumberMember kNumbers[] = {{"uptime_seconds", &Host::uptime_seconds},
                                     {"psi_cpu", &Host::psi_cpu},
                                     {"psi_memory", &Host::psi_memory},
                                     {"psi_io", &Host::psi_io}};

}  // namespace

std::string to_json(const Host& host) {
  ordered_json out;
  for (const auto& m : kTexts) out[m.name] = host.*m.member;
  out["cpus"] = host.cpus;
  auto& load = out["load"] = ordered_json::array();
  for (const auto& l : host.load) load.push_back(l ? ordered_json(*l) : ordered_json());
  for (const auto& m : kIntegers) {
    if (host.*m.member) out[m.name] = *(host.*m.member);
  }
  for (const auto& m : kNumbers) {
    if (host.*m.member) out[m.name] = *(host.*m.member);
  }
  return out.dump(-1, ' ', true, ordered_json::error_handler_t::replace);
}

std::optional<Host> parse_host(std::string_view json) {
  const auto in = nlohmann::json::parse(json, nullptr, false);
  if (!in.is_object()) return std::nullopt;
  Host host;
  for (const auto& m : kTexts) {
    const auto at = in.find(m.name);
    if (at != in.end() && at->is_string()) host.*m.member = at->get<std::string>().substr(0, kMaxLength);
  }
  if (const auto at = in.find("cpus"); at != in.end() && at->is_number_integer()) {
    const auto n = at->get<std::int64_t>();
    host.cpus = n > 0 && n < 1'000'000 ? static_cast<int>(n) : 0;
  }
  if (const auto at = in.find("load"); at != in.end() && at->is_array()) {
    for (std::size_t i = 0; i < host.load.size() && i < at->size(); ++i) {
      if ((*at)[i].is_number()) host.load[i] = (*at)[i].get<double>();
    }
  }
  for (const auto& m : kIntegers) {
    const auto at = in.find(m.name);
    if (at != in.end() && at->is_number_integer()) host.*m.member = at->get<std::int64_t>();
  }
  for (const auto& m : kNumbers) {
    const auto at = in.find(m.name);
    if (at != in.end() && at->is_number()) host.*m.member = at->get<double>();
  }
  return host;
}

}  // namespace cgwarden::model
