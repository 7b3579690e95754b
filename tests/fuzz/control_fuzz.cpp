// SPDX-License-Identifier: Apache-2.0
// Any bytes on the enforcer's socket and in its undo log: an error, or data that is unchanged after writing and reading
// it.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "src/control/audit.h"
#include "src/control/cgroup_handle.h"
#include "src/control/protocol.h"
#include "src/control/undo_log.h"

namespace {

void must(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cgwarden;
  const std::vector<char> exact(data, data + size);
  const std::string_view text(exact.data(), exact.size());

  if (const auto request = control::parse_request(text)) {
    const auto again = control::to_json(*request);
    const auto back = control::parse_request(again);
    must(back.has_value());
    must(control::to_json(*back) == again);
  }
  if (const auto outcome = control::parse_outcome(text))
    must(control::parse_outcome(control::to_json(*outcome)).has_value());
  if (const auto entry = control::parse_undo_entry(text))
    must(control::parse_undo_entry(control::to_json(*entry)).has_value());
  if (const auto setting = model::parse_setting(text)) {
    const auto back = model::parse_setting(model::to_text(*setting));
    must(back && *back == *setting);
  }
  for (const auto& event : control::audit_events(text, "/a", 8)) must(!event.event.empty());
  (void)model::parse_size(text);
  (void)model::parse_timespan(text);
  for (const auto& membership : control::parse_memberships(text)) must(membership.path.find('\n') == std::string::npos);
  return 0;
}
