// SPDX-License-Identifier: Apache-2.0
// What became of an action, in words where a test fails: not as "1-byte object <06>".
#pragma once

#include <ostream>

#include "src/model/action.h"

namespace cgwarden::model {

inline void PrintTo(Outcome::Kind kind, std::ostream* out) { *out << name(kind); }

}  // namespace cgwarden::model
