// SPDX-License-Identifier: Apache-2.0
// The audit file: actor, action, reason and result, one JSON object per line, appended before and after each action,
// and sent to the journal as well. An action that cannot be recorded is refused, so a full disk is detected before any
// write to a cgroup.
//
//   {"time":"...","id":"9f2c41d0","event":"begin",...}      permitted, about to be carried out
//   {"time":"...","id":"9f2c41d0","event":"end",...}        the result
// "thaw" by the dead man's switch (deadman.h), "lease_end" and "lease_lost" of limits
//
// Thread: the writer's. Errors: the disk is full or the file cannot be written.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/clock.h"
#include "src/base/fd.h"
#include "src/base/result.h"
#include "src/model/action.h"

namespace cgwarden::control {

// "2026-11-24T08:00:06.123Z". No locale, no allocation: the helper process of deadman.h uses it after fork().
struct TimeText {
  std::array<char, 24> text{};
  [[nodiscard]] std::string_view view() const { return {text.data(), text.size()}; }
};
TimeText time_text(base::Wall time);

class Audit {
 public:
  static constexpr std::int64_t kMaxSize = 16LL << 20U;  // then it becomes FILE.1, and FILE.1 is dropped

  // Creates the file (0640) and its directory (0750) if missing. `journal`: also send records to the journal, best
  // effort.
  static base::Result<Audit> open(const std::string& path, bool journal);

  // Appends the whole line or nothing.
  base::Result<void> append(const std::string& line);
  [[nodiscard]] int fd() const { return file_.get(); }

 private:
  std::string path_;
  base::Fd file_;
  bool journal_ = false;
};

// One record for display. All texts are untrusted.
struct AuditEvent {
  std::string time;    // "2026-11-24T08:00:06.123Z"
  std::string event;   // "end", "fire", "thaw", ...
  std::string action;  // "limit"; empty: none
  std::string who;     // "rule calm", "uid 1000"
  std::string result;  // "done", "refused"; empty: none
  std::string text;    // the result, or the reason
};
// The records of this cgroup in the end of an audit file, newest first, at most `max_events`. Invalid lines and "begin"
// records are skipped, as the "end" record has the same content.
std::vector<AuditEvent> audit_events(std::string_view text, std::string_view cgroup, std::size_t max_events);
// The same from the last 256 KiB of a file. Error: it cannot be read.
base::Result<std::vector<AuditEvent>> read_audit(const std::string& path, std::string_view cgroup,
                                                 std::size_t max_events);

// One record, without the newline.
std::string audit_line(std::string_view event, std::string_view id, const model::Action& action,
                       const model::Outcome& outcome, std::string_view undo_of = {});

}  // namespace cgwarden::control
