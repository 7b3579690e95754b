// SPDX-License-Identifier: Apache-2.0
// All fields of the program, numbered. Created once at start from the rows of the collectors; the number of a field is
// the index of its column in every snapshot. Immutable afterwards and shared by all threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/model/field.h"

namespace cgwarden::model {

using FieldId = std::uint16_t;
using CollectorId = std::uint8_t;

// A collector is a name and its rows. Files that only its rows need are not read if it is disabled.
struct CollectorInfo {
  std::string_view name;
  std::string_view help;  // for --help: what it reads, then its cost and the privilege it needs, if any
  bool on_by_default = true;
  std::span<const Field> rows;
};

class Catalogue {
 public:
  // Throws std::logic_error if two rows have the same metric name, which is a bug that any test detects.
  explicit Catalogue(std::span<const CollectorInfo> collectors);

  [[nodiscard]] std::size_t size() const { return fields_.size(); }
  [[nodiscard]] const Field& field(FieldId id) const { return *fields_[id]; }
  [[nodiscard]] CollectorId collector_of(FieldId id) const { return owners_[id]; }
  [[nodiscard]] std::span<const CollectorInfo> collectors() const { return collectors_; }
  [[nodiscard]] std::optional<FieldId> find(std::string_view field_name) const;
  [[nodiscard]] std::optional<CollectorId> find_collector(std::string_view name) const;
  // Fields sorted by metric name, the order of an exposition.
  [[nodiscard]] std::span<const FieldId> by_metric_name() const { return by_metric_name_; }

 private:
  std::vector<CollectorInfo> collectors_;
  std::vector<const Field*> fields_;
  std::vector<CollectorId> owners_;
  std::vector<FieldId> by_metric_name_;
};

// The catalogue as a Markdown table per collector, and as JSON for programs.
std::string to_markdown(const Catalogue& catalogue);
std::string to_json(const Catalogue& catalogue);

}  // namespace cgwarden::model
