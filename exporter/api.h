// SPDX-License-Identifier: Apache-2.0
// /api/v1: a whole snapshot as JSON, for programs that look at cgroups rather than at series (cgtop --agent).
// Read-only; docs/api.md says what each member means. Members may be added; one that changes its meaning makes it
// /api/v2. Pure: a snapshot in, text out. Every byte of a cgroup's name arrives: what is no UTF-8 is {"base64":"..."}.
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

// `fields`, by FieldId: which to write; empty: all.
void write_api_snapshot(const model::Snapshot& snapshot, const std::optional<model::Host>& host,
                        const std::vector<bool>& fields, Buffer& out);
// Who is there and what is known of the containers; no values.
void write_api_cgroups(const model::Snapshot& snapshot, Buffer& out);
void write_api_fields(const model::Catalogue& catalogue, Buffer& out);

// Entity tags, with their quotes: another one when the answer is another.
std::string snapshot_tag(const model::Snapshot& snapshot);
std::string cgroups_tag(const model::Snapshot& snapshot);
std::string fields_tag(const model::Catalogue& catalogue);
// Whether an If-None-Match header names the tag. Weak comparison, as RFC 9110 (13.1.2) wants.
bool none_match_names(std::string_view if_none_match, std::string_view tag);

}  // namespace cgwarden::exporter
