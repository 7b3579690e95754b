// SPDX-License-Identifier: Apache-2.0
// Parses the response of an agent to GET /api/v1/snapshot. Pure. The text is untrusted input.
#pragma once

#include <memory>
#include <string_view>

#include "src/base/result.h"
#include "src/cgtop/source.h"

namespace cgwarden::cgtop {

// Skips fields that are unknown to this program or have a different kind, unit or label set here. Error: the text is
// not such a response, or its times or cgroups are missing or inconsistent.
base::Result<Sample> parse_api_snapshot(std::string_view json,
                                        const std::shared_ptr<const model::Catalogue>& catalogue);

}  // namespace cgwarden::cgtop
