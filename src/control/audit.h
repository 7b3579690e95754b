// SPDX-License-Identifier: Apache-2.0
// Who did what, why, and what came of it: one JSON object a line, appended before and after each action, and the same
// to the journal. What cannot be recorded is not done: a full disk is found before anything is written.
//
//   {"time":"...","id":"9f2c41d0","event":"begin",...}      asked and allowed, about to be done
//   {"time":"...","id":"9f2c41d0","event":"end",...}        what came of it
//   "thaw" by the dead-man's timer, "lease_end" and "lease_lost" of limits
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

// "2026-11-24T08:00:06.123Z". No locale, no allocation: the dead-man's process uses it after fork().
struct TimeText {
  std::array<char, 24> text{};
  [[nodiscard]] std::string_view view() const { return {text.data(), text.size()}; }
};
TimeText time_text(base::Wall time);

class Audit {
 public:
  static constexpr std::int64_t kMaxSize = 16LL << 20U;  // then it becomes FILE.1, and FILE.1 is dropped

  // Makes the file (0640) and its directory (0750) if need be. `journal`: also there, best effort.
  static base::Result<Audit> open(const std::string& path, bool journal);

  // The whole line or nothing of it.
  base::Result<void> append(const std::string& line);
  [[nodiscard]] int fd() const { return file_.get(); }

 private:
  std::string path_;
  base::Fd file_;
  bool journal_ = false;
};

// One record as people want it. All texts are as hostile as the file.
struct AuditEvent {
  std::string time;    // "2026-11-24T08:00:06.123Z"
  std::string event;   // "end", "fire", "thaw", ...
  std::string action;  // "limit"; empty: none
  std::string who;     // "rule calm", "uid 1000"
  std::string result;  // "done", "refused"; empty: none
  std::string text;    // what came of it, or why
};
// Those of this cgroup in what is at the end of a record, the newest first, at most `most`. A line that is none is left
// out; a "begin" is left out as well, its "end" says it all.
std::vector<AuditEvent> audit_events(std::string_view text, std::string_view cgroup, std::size_t most);
// The same from the last 256 KiB of a file. Error: it cannot be read.
base::Result<std::vector<AuditEvent>> read_audit(const std::string& path, std::string_view cgroup, std::size_t most);

// One record, without the newline.
std::string audit_line(std::string_view event, std::string_view id, const model::Action& action,
                       const model::Outcome& outcome, std::string_view undo_of = {});

}  // namespace cgwarden::control
