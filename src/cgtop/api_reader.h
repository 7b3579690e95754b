// SPDX-License-Identifier: Apache-2.0
// A snapshot out of an agent's /api/v1/snapshot. Pure; the text is somebody else's.
#pragma once

#include <memory>
#include <string_view>

#include "src/base/result.h"
#include "src/cgtop/source.h"

namespace cgwarden::cgtop {

// Fields that this program does not have, or has with another unit, are left out. Error: it is no such answer.
base::Result<Sample> parse_api_snapshot(std::string_view json,
                                        const std::shared_ptr<const model::Catalogue>& catalogue);

}  // namespace cgwarden::cgtop
