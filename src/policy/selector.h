// SPDX-License-Identifier: Apache-2.0
// Selects the cgroups of a rule. All given keys must match; a key with several values matches if one of them does.
// Patterns are globs over the whole text: `*` (in paths: within one component), `**` (anything), `?` (one byte). An
// unknown property matches no pattern, so `name: "*"` means "has a name".
//
// Pure functions of a snapshot. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/model/snapshot.h"
#include "src/policy/quantity.h"

namespace cgwarden::policy {

bool glob_matches(std::string_view pattern, std::string_view text, bool path);

// Values of `kind`: runtimes such as "docker", roles of discovery, unit types, and "cgroup" for any other cgroup.
std::vector<std::string_view> known_kinds();

struct Selector {
  using Patterns = std::vector<std::string>;
  Patterns path;
  Patterns kind;
  Patterns name;
  Patterns image;
  Patterns unit;
  Patterns slice;  // any slice in the path
  Patterns pod;
  Patterns pod_namespace;
  Patterns id;
  std::vector<std::uint32_t> users;                      // user IDs of the user slice or user manager in the path
  std::vector<std::pair<std::string, Patterns>> labels;  // all must match
  std::optional<double> min_memory;                      // bytes, of memory_current
  std::optional<Duration> older_than;
  std::optional<bool> populated;
  std::vector<Selector> excluded;  // none may match

  [[nodiscard]] bool is_stable() const { return !min_memory && !older_than && !populated && excluded.empty(); }
};

// IDs of the fields that selectors read, looked up once per catalogue.
struct SelectorFields {
  std::optional<model::FieldId> memory_current;
  std::optional<model::FieldId> populated;
  explicit SelectorFields(const model::Catalogue& catalogue)
      : memory_current(catalogue.find("memory_current")), populated(catalogue.find("populated")) {}
};

// Stable criteria depend only on the list of cgroups and on the containers; variable ones on values and time. `not`
// counts as variable.
enum class Criteria : std::uint8_t { all, stable, variable };
bool matches(const Selector& selector, const SelectorFields& fields, const model::Snapshot& now,
             model::CgroupIndex cgroup, Criteria criteria = Criteria::all);
// The first criterion that does not match: "kind is service, not docker". Empty if the cgroup matches.
std::string mismatch(const Selector& selector, const SelectorFields& fields, const model::Snapshot& now,
                     model::CgroupIndex cgroup);

// Display name: the name of the container or pod, else the last component of the path.
std::string_view name_of(const model::Snapshot& now, model::CgroupIndex cgroup);

}  // namespace cgwarden::policy
