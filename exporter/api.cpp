// SPDX-License-Identifier: Apache-2.0
#include "exporter/api.h"

#include <algorithm>
#include <charconv>

#include "src/base/text.h"

namespace cgwarden::exporter {
namespace {

using model::CgroupIndex;
using model::Value;

constexpr std::size_t kNumberRoom = 32;

class JsonWriter {
 public:
  explicit JsonWriter(Buffer& out) : out_(out) {}

  JsonWriter& raw(std::string_view text) {
    out_.append(text);
    return *this;
  }
  JsonWriter& number(std::int64_t n) {
    char* const at = out_.room(kNumberRoom);
    out_.written_to(std::to_chars(at, at + kNumberRoom, n).ptr);
    return *this;
  }
  JsonWriter& number(std::uint64_t n) {
    char* const at = out_.room(kNumberRoom);
    out_.written_to(std::to_chars(at, at + kNumberRoom, n).ptr);
    return *this;
  }
  JsonWriter& value(Value v) {
    if (v.is_number()) return number(v.fixed());
    return raw(v.is_absent() ? "null" : v.is_unlimited() ? "\"max\"" : "\"error\"");
  }
  // `text` must be valid UTF-8.
  JsonWriter& quoted(std::string_view text) {
    constexpr std::string_view hex = "0123456789abcdef";
    raw("\"");
    while (!text.empty()) {
      const auto plain = std::ranges::find_if(
          text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\' || c == '\x7F'; });
      const auto size = static_cast<std::size_t>(plain - text.begin());
      raw(text.substr(0, size));
      text.remove_prefix(size);
      if (text.empty()) break;
      const auto c = static_cast<unsigned char>(text.front());
      if (c == '"' || c == '\\') {
        raw("\\").raw(text.substr(0, 1));
      } else {
        raw("\\u00").raw(hex.substr(c >> 4U, 1)).raw(hex.substr(c & 15U, 1));
      }
      text.remove_prefix(1);
    }
    return raw("\"");
  }
  // `bytes` may be anything.
  JsonWriter& text(std::string_view bytes) {
    if (base::is_utf8(bytes)) return quoted(bytes);
    return raw("{\"base64\":\"").raw(base64(bytes)).raw("\"}");
  }
  // Separator of list members: nothing before the first one.
  JsonWriter& comma(bool& first) {
    if (!first) raw(",");
    first = false;
    return *this;
  }

 private:
  static std::string base64(std::string_view bytes) {
    constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
      const auto byte = [&](std::size_t k) {
        return i + k < bytes.size() ? static_cast<unsigned>(static_cast<unsigned char>(bytes[i + k])) : 0U;
      };
      const auto bits = byte(0) << 16U | byte(1) << 8U | byte(2);
      out += digits[bits >> 18U];
      out += digits[bits >> 12U & 63U];
      out += i + 1 < bytes.size() ? digits[bits >> 6U & 63U] : '=';
      out += i + 2 < bytes.size() ? digits[bits & 63U] : '=';
    }
    return out;
  }

  Buffer& out_;
};

std::int64_t nanoseconds(base::Wall t) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count();
}
std::int64_t nanoseconds(base::Monotonic t) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count();
}

void write_head(JsonWriter& w, const model::Snapshot& s) {
  w.raw("{\"api\":1,\"program\":\"cgwarden " CGWARDEN_VERSION "\",\"taken_ns\":").number(nanoseconds(s.taken_wall));
  w.raw(",\"monotonic_ns\":").number(nanoseconds(s.taken));
  w.raw(",\"begun_monotonic_ns\":").number(nanoseconds(s.begun));
}

void write_cgroups(JsonWriter& w, const model::Snapshot& s) {
  w.raw(",\"generation\":").number(s.cgroup_list ? s.cgroup_list->generation : std::uint64_t{0});
  const auto each = [&](std::string_view name, const auto& write) {
    w.raw(",\"").raw(name).raw("\":[");
    bool first = true;
    for (CgroupIndex g = 0; g < s.cgroup_count(); ++g) {
      w.comma(first);
      write(*s.cgroup_list->cgroups[g], g);
    }
    w.raw("]");
  };
  each("ids", [&](const model::Cgroup& cgroup, CgroupIndex) { w.number(cgroup.id); });
  each("paths", [&](const model::Cgroup& cgroup, CgroupIndex) { w.text(cgroup.path); });
  each("parents", [&](const model::Cgroup&, CgroupIndex g) {
    const auto parent = s.cgroup_list->parents[g];
    w.number(parent == model::kNoCgroup ? std::int64_t{-1} : std::int64_t{parent});
  });
  each("created_ns", [&](const model::Cgroup& cgroup, CgroupIndex) { w.number(nanoseconds(cgroup.created)); });
  each("creation_observed",
       [&](const model::Cgroup& cgroup, CgroupIndex) { w.raw(cgroup.creation_observed ? "1" : "0"); });
}

void write_containers(JsonWriter& w, const model::Snapshot& s) {
  w.raw(",\"containers\":[");
  bool first = true;
  for (CgroupIndex g = 0; s.containers && g < s.cgroup_count(); ++g) {
    const auto& cgroup = *s.cgroup_list->cgroups[g];
    const auto* const c = s.containers->find(cgroup.id, cgroup.path);
    if (c == nullptr) continue;
    w.comma(first).raw("{\"cgroup\":").number(std::int64_t{g}).raw(",\"role\":").quoted(name(c->role));
    for (const auto& fact : model::kTextFacts) {
      if (c->*fact.member) w.raw(",\"").raw(fact.name).raw("\":").quoted(base::to_utf8(*(c->*fact.member)));
    }
    for (const auto& fact : model::kNumberFacts) {
      if (c->*fact.member) w.raw(",\"").raw(fact.name).raw("\":").number(*(c->*fact.member));
    }
    for (const auto& fact : model::kTimeFacts) {
      if (c->*fact.member) w.raw(",\"").raw(fact.name).raw("_ns\":").number(nanoseconds(*(c->*fact.member)));
    }
    if (!c->labels.empty()) {
      w.raw(",\"labels\":{");
      bool first_label = true;
      for (const auto& [label, value] : c->labels) {
        w.comma(first_label).quoted(base::to_utf8(label)).raw(":").quoted(base::to_utf8(value));
      }
      w.raw("}");
    }
    w.raw("}");
  }
  w.raw("]");
}

void write_column(JsonWriter& w, const model::Field& field, const model::Column& column) {
  w.raw("{\"kind\":").quoted(name(field.kind)).raw(",\"unit\":").quoted(name(field.unit));
  w.raw(",\"decimals\":").number(std::int64_t{model::decimals(field.unit)}).raw(",\"labels\":").quoted(field.labels);
  if (!column.dense.empty()) {
    w.raw(",\"values\":[");
    bool first = true;
    for (const auto v : column.dense) w.comma(first).value(v);
    w.raw("]");
  }
  if (!column.series.empty()) {
    w.raw(",\"series\":[");
    bool first = true;
    for (const auto& series : column.series) {
      w.comma(first).raw("[").number(series.cgroup == model::kNoCgroup ? std::int64_t{-1}
                                                                       : std::int64_t{series.cgroup});
      w.raw(",").text(column.text_of(series)).raw(",").value(series.value).raw("]");
    }
    w.raw("]");
  }
  w.raw("}");
}

}  // namespace

void write_api_snapshot(const model::Snapshot& s, const std::optional<model::Host>& host,
                        const std::vector<bool>& fields, Buffer& out) {
  JsonWriter w(out);
  write_head(w, s);
  w.raw(",\"host\":").raw(host ? model::to_json(*host) : "null");
  w.raw(",\"hierarchies\":[");
  bool first = true;
  for (std::size_t h = 0; s.hierarchies && h < s.hierarchies->size(); ++h) {
    const auto& info = (*s.hierarchies)[h];
    w.comma(first).raw("{\"version\":").number(std::int64_t{info.version}).raw(",\"controllers\":");
    w.text(info.controllers).raw(",\"mount_point\":").text(info.mount_point).raw("}");
  }
  w.raw("]");
  write_cgroups(w, s);
  write_containers(w, s);
  w.raw(",\"collectors\":{");
  first = true;
  for (std::size_t c = 0; c < s.collectors.size() && c < s.catalogue->collectors().size(); ++c) {
    const auto& stats = s.collectors[c];
    if (!stats.enabled) continue;
    w.comma(first).quoted(s.catalogue->collectors()[c].name).raw(":{\"reads\":").number(stats.reads);
    w.raw(",\"errors\":").number(stats.errors_now).raw("}");
  }
  w.raw("},\"fields\":{");
  first = true;
  for (std::size_t f = 0; f < s.columns.size(); ++f) {
    const auto& column = s.columns[f];
    if ((!fields.empty() && !fields[f]) || (column.dense.empty() && column.series.empty())) continue;
    const auto& field = s.catalogue->field(static_cast<model::FieldId>(f));
    w.comma(first).quoted(field.name).raw(":");
    write_column(w, field, column);
  }
  w.raw("}}\n");
}

void write_api_cgroups(const model::Snapshot& s, Buffer& out) {
  JsonWriter w(out);
  write_head(w, s);
  write_cgroups(w, s);
  write_containers(w, s);
  w.raw("}\n");
}

void write_api_fields(const model::Catalogue& catalogue, Buffer& out) {
  JsonWriter w(out);
  w.raw("{\"api\":1,\"program\":\"cgwarden " CGWARDEN_VERSION "\",\"fields\":")
      .raw(model::to_json(catalogue))
      .raw("}\n");
}

std::string snapshot_tag(const model::Snapshot& s) {
  return "\"" + std::to_string(nanoseconds(s.taken_wall)) + "-" + std::to_string(nanoseconds(s.taken)) + "\"";
}

// A hash of IDs and paths, not the generation: generations restart with the agent.
std::string cgroups_tag(const model::Snapshot& s) {
  std::uint64_t hash = 0;
  for (CgroupIndex g = 0; g < s.cgroup_count(); ++g) {
    hash = hash * 1099511628211U ^ model::cgroup_key(s.cgroup_list->cgroups[g]->id, s.cgroup_list->cgroups[g]->path);
  }
  return "\"" + std::to_string(hash) + "-" + std::to_string(s.containers ? s.containers->generation : 0) + "\"";
}

std::string fields_tag(const model::Catalogue& catalogue) {
  std::uint64_t hash = 0;
  for (std::size_t f = 0; f < catalogue.size(); ++f) {
    const auto& field = catalogue.field(static_cast<model::FieldId>(f));
    for (const auto text : {field.name, field.help}) hash = hash * 1099511628211U ^ model::cgroup_key(f, text);
  }
  return "\"" CGWARDEN_VERSION "-" + std::to_string(hash) + "\"";
}

bool if_none_match_contains(std::string_view header, std::string_view tag) {
  while (!header.empty()) {
    auto one = base::take_until(header, ',');
    one = base::trim_end(one);
    while (!one.empty() && (one.front() == ' ' || one.front() == '\t')) one.remove_prefix(1);
    if (one.starts_with("W/")) one.remove_prefix(2);
    if (one == "*" || one == tag) return true;
  }
  return false;
}

}  // namespace cgwarden::exporter
