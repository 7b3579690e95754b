// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/api_reader.h"

#include <nlohmann/json.hpp>

#include "src/base/text.h"

namespace cgwarden::cgtop {
namespace {

using model::CgroupIndex;
using model::Value;
using nlohmann::json;

constexpr std::size_t kMaxCgroups = 1U << 20U;
constexpr std::size_t kMaxPath = 65'536;

std::optional<std::string> base64_decoded(std::string_view text) {
  std::string out;
  std::uint32_t bits = 0;
  int bit_count = 0;
  for (const char c : text) {
    std::uint32_t digit = 0;
    if (c >= 'A' && c <= 'Z') {
      digit = static_cast<std::uint32_t>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      digit = static_cast<std::uint32_t>(c - 'a' + 26);
    } else if (c >= '0' && c <= '9') {
      digit = static_cast<std::uint32_t>(c - '0' + 52);
    } else if (c == '+') {
      digit = 62;
    } else if (c == '/') {
      digit = 63;
    } else if (c == '=') {
      break;
    } else {
      return std::nullopt;
    }
    bits = bits << 6U | digit;
    bit_count += 6;
    if (bit_count >= 8) {
      bit_count -= 8;
      out += static_cast<char>(bits >> bit_count & 0xFFU);
    }
  }
  return out;
}

// A string, or {"base64": ...}, which the agent writes for bytes that are not valid UTF-8.
std::optional<std::string> string_or_base64(const json& in) {
  if (in.is_string()) return in.get<std::string>();
  if (!in.is_object()) return std::nullopt;
  const auto at = in.find("base64");
  if (at == in.end() || !at->is_string()) return std::nullopt;
  return base64_decoded(at->get_ref<const std::string&>());
}

Value value_of(const json& in) {
  if (in.is_number_integer()) return Value::of(in.get<std::int64_t>());
  if (in.is_string()) return in.get_ref<const std::string&>() == "max" ? Value::unlimited() : Value::error();
  return Value::absent();
}

std::optional<std::int64_t> integer(const json& in, const char* member) {
  const auto at = in.find(member);
  if (at == in.end() || !at->is_number_integer()) return std::nullopt;
  return at->get<std::int64_t>();
}

// The array `member` of exactly `size` elements; nullptr if there is none.
const json* array_of(const json& in, const char* member, std::size_t size) {
  const auto at = in.find(member);
  if (at == in.end() || !at->is_array() || at->size() != size) return nullptr;
  return &*at;
}

base::Wall wall_time(std::int64_t ns) {
  return base::Wall(std::chrono::duration_cast<base::Wall::duration>(std::chrono::nanoseconds(ns)));
}

bool read_cgroups(const json& in, model::Snapshot& s) {
  const auto ids = in.find("ids");
  if (ids == in.end() || !ids->is_array() || ids->size() > kMaxCgroups) return false;
  const auto n = ids->size();
  const auto* const paths = array_of(in, "paths", n);
  const auto* const parents = array_of(in, "parents", n);
  const auto* const created = array_of(in, "created_ns", n);
  const auto* const observed = array_of(in, "creation_observed", n);
  if (paths == nullptr || parents == nullptr) return false;
  auto cgroup_list = std::make_shared<model::CgroupList>();
  cgroup_list->generation = static_cast<std::uint64_t>(integer(in, "generation").value_or(0));
  for (std::size_t g = 0; g < n; ++g) {
    auto path = string_or_base64((*paths)[g]);
    const auto& id = (*ids)[g];
    const auto& parent = (*parents)[g];
    if (!path || path->size() > kMaxPath || !id.is_number_integer() || !parent.is_number_integer()) return false;
    const auto parent_index = parent.get<std::int64_t>();
    if (parent_index >= static_cast<std::int64_t>(g)) return false;
    auto cgroup = std::make_shared<model::Cgroup>();
    cgroup->id = id.get<std::uint64_t>();
    cgroup->path = std::move(*path);
    if (created != nullptr && (*created)[g].is_number_integer())
      cgroup->created = wall_time((*created)[g].get<std::int64_t>());
    cgroup->creation_observed = observed != nullptr && (*observed)[g] == 1;
    cgroup_list->cgroups.push_back(std::move(cgroup));
    cgroup_list->parents.push_back(parent_index < 0 ? model::kNoCgroup : static_cast<CgroupIndex>(parent_index));
  }
  s.cgroup_list = std::move(cgroup_list);
  return true;
}

void read_containers(const json& in, model::Snapshot& s) {
  auto all = std::make_shared<model::Containers>();
  const auto at = in.find("containers");
  if (at == in.end() || !at->is_array()) return;
  for (const auto& one : *at) {
    if (!one.is_object()) continue;
    const auto g = integer(one, "cgroup");
    if (!g || *g < 0 || static_cast<std::size_t>(*g) >= s.cgroup_count()) continue;
    auto c = std::make_shared<model::Container>();
    const auto role = one.value("role", json());
    for (int r = 0; r <= static_cast<int>(model::Role::unit); ++r) {
      if (role == name(static_cast<model::Role>(r))) c->role = static_cast<model::Role>(r);
    }
    for (const auto& fact : model::kTextFacts) {
      const auto found = one.find(fact.name);
      if (found != one.end() && found->is_string()) (*c).*fact.member = found->get<std::string>();
    }
    for (const auto& fact : model::kNumberFacts) (*c).*fact.member = integer(one, std::string(fact.name).c_str());
    for (const auto& fact : model::kTimeFacts) {
      if (const auto t = integer(one, (std::string(fact.name) + "_ns").c_str())) (*c).*fact.member = wall_time(*t);
    }
    if (const auto labels = one.find("labels"); labels != one.end() && labels->is_object()) {
      for (const auto& [label, value] : labels->items()) {
        if (value.is_string()) c->labels.emplace_back(label, value.get<std::string>());
      }
    }
    const auto& cgroup = *s.cgroup_list->cgroups[static_cast<std::size_t>(*g)];
    all->by_cgroup[model::cgroup_key(cgroup.id, cgroup.path)] = std::move(c);
  }
  s.containers = std::move(all);
}

void read_field(const json& in, model::Column& column, std::size_t cgroups) {
  if (const auto values = in.find("values");
      values != in.end() && values->is_array() && values->size() <= kMaxCgroups) {
    column.dense.reserve(values->size());
    for (const auto& v : *values) column.dense.push_back(value_of(v));
  }
  const auto series = in.find("series");
  if (series == in.end() || !series->is_array()) return;
  std::int64_t last = 0;
  for (const auto& one : *series) {
    if (!one.is_array() || one.size() != 3 || !one[0].is_number_integer()) continue;
    auto g = one[0].get<std::int64_t>();
    const auto text = string_or_base64(one[1]);
    if (g < 0) g = std::int64_t{model::kNoCgroup};
    // Series of a column must be sorted by cgroup.
    if (!text || text->size() > 65'535 || g < last ||
        (g >= static_cast<std::int64_t>(cgroups) && g != model::kNoCgroup)) {
      continue;
    }
    last = g;
    column.series.push_back({static_cast<CgroupIndex>(g), static_cast<std::uint32_t>(column.text.size()),
                             static_cast<std::uint16_t>(text->size()), value_of(one[2])});
    column.text += *text;
  }
}

}  // namespace

base::Result<Sample> parse_api_snapshot(std::string_view text,
                                        const std::shared_ptr<const model::Catalogue>& catalogue) {
  const auto in = json::parse(text, nullptr, false);
  if (!in.is_object() || integer(in, "api") != 1)
    return base::fail("not a response of a cgwarden agent with API version 1");
  auto snapshot = std::make_shared<model::Snapshot>();
  auto& s = *snapshot;
  s.catalogue = catalogue;
  s.columns.resize(catalogue->size());
  s.collectors.resize(catalogue->collectors().size());
  const auto taken = integer(in, "taken_ns");
  const auto monotonic = integer(in, "monotonic_ns");
  if (!taken || !monotonic || !read_cgroups(in, s))
    return base::fail("invalid response: times or cgroups are missing or inconsistent");
  s.taken_wall = wall_time(*taken);
  s.taken = base::Monotonic(std::chrono::nanoseconds(*monotonic));
  s.begun = base::Monotonic(std::chrono::nanoseconds(integer(in, "begun_monotonic_ns").value_or(*monotonic)));
  read_containers(in, s);
  auto hierarchies = std::make_shared<std::vector<model::HierarchyInfo>>();
  if (const auto all = in.find("hierarchies"); all != in.end() && all->is_array()) {
    for (const auto& h : *all) {
      if (!h.is_object()) continue;
      hierarchies->push_back({integer(h, "version") == 1 ? 1 : 2,
                              string_or_base64(h.value("controllers", json())).value_or(""),
                              string_or_base64(h.value("mount_point", json())).value_or("")});
    }
  }
  s.hierarchies = std::move(hierarchies);
  if (const auto all = in.find("collectors"); all != in.end() && all->is_object()) {
    for (const auto& [name, stats] : all->items()) {
      const auto id = catalogue->find_collector(name);
      if (!id || !stats.is_object()) continue;
      s.collectors[*id].enabled = true;
      s.collectors[*id].reads = static_cast<std::uint64_t>(integer(stats, "reads").value_or(0));
      s.collectors[*id].errors_now = static_cast<std::uint64_t>(integer(stats, "errors").value_or(0));
    }
  }
  if (const auto all = in.find("fields"); all != in.end() && all->is_object()) {
    for (const auto& [name, column] : all->items()) {
      const auto id = catalogue->find(name);
      if (!id || !column.is_object()) continue;
      const auto& field = catalogue->field(*id);
      if (column.value("kind", json()) != model::name(field.kind) ||
          column.value("unit", json()) != model::name(field.unit) || column.value("labels", json()) != field.labels ||
          integer(column, "decimals") != model::decimals(field.unit)) {
        continue;
      }
      read_field(column, s.columns[*id], s.cgroup_count());
    }
  }
  Sample out;
  if (const auto host = in.find("host"); host != in.end() && host->is_object()) {
    out.host = model::parse_host(host->dump(-1, ' ', true, json::error_handler_t::replace)).value_or(model::Host{});
  }
  out.snapshot = std::move(snapshot);
  return out;
}

}  // namespace cgwarden::cgtop
