// SPDX-License-Identifier: Apache-2.0
// /api/v1: a snapshot as JSON, for clients that need cgroups instead of metrics (cgtop --agent). Read-only; docs/api.md
// documents the members. Members may be added; a member that changes its meaning requires /api/v2. Cgroup paths are
// transferred without loss: a path that is not valid UTF-8 is {"base64":"..."}. Pure functions; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/buffer.h"
#include "src/model/host.h"
#include "src/model/snapshot.h"

namespace cgwarden::exporter {

inline constexpr std::string_view kApiSnapshot = "/api/v1/snapshot";
inline constexpr std::string_view kApiCgroups = "/api/v1/cgroups";
inline constexpr std::string_view kApiFields = "/api/v1/fields";

// `fields`: fields to write, by FieldId; empty: all.
void write_api_snapshot(const model::Snapshot& snapshot, const std::optional<model::Host>& host,
                        const std::vector<bool>& fields, Buffer& out);
// Cgroups and containers without values.
void write_api_cgroups(const model::Snapshot& snapshot, Buffer& out);
void write_api_fields(const model::Catalogue& catalogue, Buffer& out);

// Entity tags with quotes. The tag changes if the response changes.
std::string snapshot_tag(const model::Snapshot& snapshot);
std::string cgroups_tag(const model::Snapshot& snapshot);
std::string fields_tag(const model::Catalogue& catalogue);
// True if an If-None-Match header contains the tag. Weak comparison, see RFC 9110, section 13.1.2.
bool if_none_match_contains(std::string_view if_none_match, std::string_view tag);

}  // namespace cgwarden::exporter
