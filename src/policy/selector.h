// SPDX-License-Identifier: Apache-2.0
// Which cgroups a rule is about. All keys that are given must hold; of several values of one key, one must. Patterns
// are globs over the whole text: `*` (in paths: within one part), `**` (anything), `?` (one byte). What is not known of
// a cgroup matches nothing, so `name: "*"` means "has a name".
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

// What a cgroup may be: "docker" and other runtimes, the roles of discovery, and the kinds of units and plain cgroups.
std::vector<std::string_view> known_kinds();

struct Selector {
  using Patterns = std::vector<std::string>;
  Patterns path;
  Patterns kind;
  Patterns name;
  Patterns image;
  Patterns unit;
  Patterns slice;  // of any slice around the cgroup, or itself
  Patterns pod;
  Patterns pod_namespace;
  Patterns id;
  std::vector<std::uint32_t> users;  // ids of those whose slice or manager is around the cgroup, or is it
  std::vector<std::pair<std::string, Patterns>> labels;  // all of these
  std::optional<double> min_memory;                      // bytes, of memory_current
  std::optional<Duration> older_than;
  std::optional<bool> populated;
  std::vector<Selector> excluded;  // none of these

  [[nodiscard]] bool lasts() const { return !min_memory && !older_than && !populated && excluded.empty(); }
};

// The memory and populated fields of this catalogue, looked up once.
struct SelectorFields {
  std::optional<model::FieldId> memory_current;
  std::optional<model::FieldId> populated;
  explicit SelectorFields(const model::Catalogue& catalogue)
      : memory_current(catalogue.find("memory_current")), populated(catalogue.find("populated")) {}
};

// What lasts depends on the roster and the containers alone, the rest on values and time (and 'not' may).
enum class Part : std::uint8_t { all, lasting, momentary };
bool matches(const Selector& selector, const SelectorFields& fields, const model::Snapshot& now,
             model::CgroupIndex cgroup, Part part = Part::all);
// The first thing that keeps the cgroup out, for people: "kind is service, not docker". Empty: it matches.
std::string why_not(const Selector& selector, const SelectorFields& fields, const model::Snapshot& now,
                    model::CgroupIndex cgroup);

// What a screen would call the cgroup: the container's or pod's name, else the last part of the path.
std::string_view name_of(const model::Snapshot& now, model::CgroupIndex cgroup);

}  // namespace cgwarden::policy
