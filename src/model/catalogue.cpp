// SPDX-License-Identifier: Apache-2.0
#include "src/model/catalogue.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace cgwarden::model {
namespace {

// "memory.stat: total_rss", for a table cell.
std::string where(const Field& field, const Source& source) {
  if (!field.derived.empty()) return std::string(field.derived);
  if (!source.exists()) return "";
  std::string out = "`" + std::string(source.file) + "`";
  if (!source.key.empty()) out += " " + std::string(source.key);
  return out;
}

std::string label_list(const Field& field) {
  std::string out;
  for (const char c : field.labels) out += c == ',' ? std::string(", ") : std::string(1, c);
  return out;
}

}  // namespace

Catalogue::Catalogue(std::span<const CollectorInfo> collectors) : collectors_(collectors.begin(), collectors.end()) {
  for (std::size_t c = 0; c < collectors_.size(); ++c) {
    for (const Field& field : collectors_[c].rows) {
      fields_.push_back(&field);
      owners_.push_back(static_cast<CollectorId>(c));
    }
  }
  by_metric_name_.resize(fields_.size());
  for (std::size_t i = 0; i < fields_.size(); ++i) by_metric_name_[i] = static_cast<FieldId>(i);
  const auto metric = [&](FieldId id) { return metric_name(*fields_[id]); };
  std::ranges::sort(by_metric_name_, {}, metric);
  const auto duplicate = std::ranges::adjacent_find(by_metric_name_, {}, metric);
  if (duplicate != by_metric_name_.end()) throw std::logic_error("duplicate metric " + metric(*duplicate));
}

std::optional<FieldId> Catalogue::find(std::string_view field_name) const {
  const auto at = std::ranges::find(fields_, field_name, [](const Field* f) { return f->name; });
  if (at == fields_.end()) return std::nullopt;
  return static_cast<FieldId>(at - fields_.begin());
}

std::optional<CollectorId> Catalogue::find_collector(std::string_view name) const {
  const auto at = std::ranges::find(collectors_, name, &CollectorInfo::name);
  if (at == collectors_.end()) return std::nullopt;
  return static_cast<CollectorId>(at - collectors_.begin());
}

std::string to_markdown(const Catalogue& catalogue) {
  std::string out;
  for (const auto& collector : catalogue.collectors()) {
    if (collector.rows.empty()) continue;
    out += "## " + std::string(collector.name) + "\n\n" + std::string(collector.help);
    out += collector.on_by_default ? "\n\n" : " Off by default: `--collector." + std::string(collector.name) + "`.\n\n";
    out += "| metric | type | labels | v1 | v2 | since | meaning | cAdvisor |\n|---|---|---|---|---|---|---|---|\n";
    for (const Field& f : collector.rows) {
      out += "| `" + metric_name(f) + "` | " + std::string(name(f.kind)) + " | " + label_list(f) + " | " +
             where(f, f.v1) + " | " + where(f, f.v2) + " | " + std::string(f.since) + " | " + std::string(f.help) +
             " | " + (f.cadvisor.empty() ? "" : "`" + std::string(f.cadvisor) + "`") + " |\n";
    }
    out += '\n';
  }
  return out;
}

std::string to_json(const Catalogue& catalogue) {
  using nlohmann::ordered_json;
  const auto source = [](const Source& s) -> ordered_json {
    if (!s.exists()) return nullptr;
    return {{"file", s.file}, {"key", s.key}};
  };
  auto all = ordered_json::array();
  for (std::size_t i = 0; i < catalogue.size(); ++i) {
    const auto id = static_cast<FieldId>(i);
    const Field& f = catalogue.field(id);
    all.push_back({{"metric", metric_name(f)},
                   {"field", f.name},
                   {"collector", catalogue.collectors()[catalogue.collector_of(id)].name},
                   {"kind", name(f.kind)},
                   {"unit", name(f.unit)},
                   {"labels", f.labels},
                   {"v1", source(f.v1)},
                   {"v2", source(f.v2)},
                   {"derived", f.derived},
                   {"since", f.since},
                   {"help", f.help},
                   {"cadvisor", f.cadvisor}});
  }
  return all.dump(2) + "\n";
}

}  // namespace cgwarden::model
