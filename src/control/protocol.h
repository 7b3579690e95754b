// SPDX-License-Identifier: Apache-2.0
// What goes over the enforcer's socket: one JSON object a line, at most kLongestLine bytes, one answer to each
// question, in order.
//
//   {"version":1,"apply":{"verb":"freeze","path":"/a.slice/b.service","id":4711,"lease_ms":60000}}
//   {"version":1,"undo":"9f2c41d0","dry_run":false}
//   {"version":1,"outcome":{"kind":"done","exit_code":0,"changes":[...],"undo":"9f2c41d0",...}}
//
// Strict: an unknown key, a wrong type, a number out of range is an error that names it, so a mistyped "dry_run" cannot
// become a real action. Who asks is never in the message: the kernel says it. Text that is no UTF-8 goes as
// {"bytes":[...]}. Pure functions, any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/model/action.h"

namespace cgwarden::control {

inline constexpr std::size_t kMaxLine = 64UL << 10U;
inline constexpr int kProtocolVersion = 1;

struct Request {
  enum class What { apply, undo };
  What what = What::apply;
  model::Action action;  // without actor
  std::string undo;      // id; empty: the latest
  bool dry_run = false;  // of undo
};

// Without the newline.
std::string to_json(const Request& request);
std::string to_json(const model::Outcome& outcome);
base::Result<Request> parse_request(std::string_view line);
base::Result<model::Outcome> parse_outcome(std::string_view line);

}  // namespace cgwarden::control
