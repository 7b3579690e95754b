// SPDX-License-Identifier: Apache-2.0
// Protocol of the enforcer's socket: one JSON object per line, at most kMaxLine bytes, one response to each request, in
// order.
//
//   {"version":1,"apply":{"verb":"freeze","path":"/a.slice/b.service","id":4711,"lease_ms":60000}}
//   {"version":1,"undo":"9f2c41d0","dry_run":false}
//   {"version":1,"outcome":{"kind":"done","exit_code":0,"changes":[...],"undo":"9f2c41d0",...}}
//
// Parsing is strict: an unknown key, a wrong type or a number out of range is an error that names it, so that a
// mistyped "dry_run" cannot become a real action. The caller's identity is never part of the message: the kernel
// reports it. Text that is not UTF-8 is sent as {"bytes":[...]}. Pure functions, any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/model/action.h"

namespace cgwarden::control {

inline constexpr std::size_t kMaxLine = 64UL << 10U;
inline constexpr int kProtocolVersion = 1;

enum class RequestKind { apply, undo };

struct Request {
  RequestKind kind = RequestKind::apply;
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
