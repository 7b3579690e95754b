// SPDX-License-Identifier: Apache-2.0
#include "src/control/audit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "src/base/file.h"
#include "src/base/text.h"

namespace cgwarden::control {
namespace {

constexpr off_t kAuditTail = 256 << 10U;

void two_digits(char* at, unsigned value) {
  at[0] = static_cast<char>('0' + value / 10 % 10);
  at[1] = static_cast<char>('0' + value % 10);
}

using OrderedJson = nlohmann::ordered_json;

OrderedJson json_of(const model::Actor& actor) {
  constexpr std::string_view via[] = {"command_line", "socket", "policy"};
  nlohmann::json out{
      {"via", via[static_cast<std::size_t>(actor.via)]}, {"uid", actor.uid}, {"gid", actor.gid}, {"pid", actor.pid}};
  if (!actor.rule.empty()) out["rule"] = base::to_utf8(actor.rule);
  return out;
}

}  // namespace

TimeText time_text(base::Wall time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(floor<milliseconds>(time - day));
  TimeText out;
  auto* const t = out.text.data();
  const auto year = static_cast<unsigned>(static_cast<int>(date.year()));
  two_digits(t, year / 100);
  two_digits(t + 2, year % 100);
  t[4] = '-';
  two_digits(t + 5, static_cast<unsigned>(date.month()));
  t[7] = '-';
  two_digits(t + 8, static_cast<unsigned>(date.day()));
  t[10] = 'T';
  two_digits(t + 11, static_cast<unsigned>(clock.hours().count()));
  t[13] = ':';
  two_digits(t + 14, static_cast<unsigned>(clock.minutes().count()));
  t[16] = ':';
  two_digits(t + 17, static_cast<unsigned>(clock.seconds().count()));
  t[19] = '.';
  const auto ms = static_cast<unsigned>(clock.subseconds().count());
  t[20] = static_cast<char>('0' + ms / 100 % 10);
  two_digits(t + 21, ms % 100);
  t[23] = 'Z';
  return out;
}

base::Result<Audit> Audit::open(const std::string& path, bool journal) {
  Audit audit;
  audit.path_ = path;
  audit.journal_ = journal;
  const auto shown = base::printable(path);
  std::error_code error;
  const auto folder = std::filesystem::path(path).parent_path();
  if (!folder.empty() && !std::filesystem::exists(folder, error)) {
    std::filesystem::create_directories(folder, error);
    if (error) return tl::unexpected(base::Error::from_errno(error.value(), shown + ": cannot create its directory"));
    (void)::chmod(folder.c_str(), 0750);
  }
  const auto open_file = [&] {
    return base::Fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640));
  };
  audit.file_ = open_file();
  struct stat st {};
  if (!audit.file_ || ::fstat(audit.file_.get(), &st) != 0)
    return base::fail_errno("audit file " + shown + ": cannot write");
  if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) return base::fail("audit file " + shown + ": not a regular file");
  if (S_ISREG(st.st_mode) && st.st_size >= kMaxSize) {
    (void)::rename(path.c_str(), (path + ".1").c_str());
    audit.file_ = open_file();
    if (!audit.file_) return base::fail_errno("audit file " + shown + ": cannot write");
  }
  return audit;
}

base::Result<void> Audit::append(const std::string& line) {
  struct stat st {};
  const bool regular = ::fstat(file_.get(), &st) == 0 && S_ISREG(st.st_mode);
  const auto text = line + '\n';
  const auto n = ::write(file_.get(), text.data(), text.size());
  const int code = n < 0 ? errno : static_cast<std::size_t>(n) < text.size() ? ENOSPC : 0;
  // fdatasync reports ENOSPC on file systems with delayed allocation.
  const bool synced = code == 0 && (::fdatasync(file_.get()) == 0 || errno == EINVAL || errno == EROFS);
  if (code == 0 && synced) {
    if (journal_) {
      (void)::sd_journal_send("MESSAGE=%s", line.c_str(), "PRIORITY=%d", LOG_NOTICE, "SYSLOG_IDENTIFIER=cgwarden-audit",
                              nullptr);
    }
    return {};
  }
  const int failed = code != 0 ? code : errno;
  const bool whole = !regular || ::ftruncate(file_.get(), st.st_size) == 0;  // remove the incomplete line
  return tl::unexpected(base::Error::from_errno(
      failed,
      "audit file " + base::printable(path_) + (whole ? ": cannot write" : ": an incomplete line was written")));
}

std::vector<AuditEvent> audit_events(std::string_view text, std::string_view cgroup, std::size_t max_events) {
  std::vector<AuditEvent> out;
  while (!text.empty() && out.size() < max_events) {
    if (text.back() == '\n') text.remove_suffix(1);
    const auto before = text.rfind('\n');
    const auto line = text.substr(before == std::string_view::npos ? 0 : before + 1);
    text.remove_suffix(line.size());
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object()) continue;
    const auto of = [&](const nlohmann::json& object, const char* member) {
      const auto found = object.find(member);
      return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    const auto object = [&](const char* member) {
      const auto found = json.find(member);
      return found != json.end() && found->is_object() ? *found : nlohmann::json::object();
    };
    if (of(object("cgroup"), "path") != cgroup) continue;
    AuditEvent event{of(json, "time"), of(json, "event"), of(json, "action"), {}, of(json, "result"), of(json, "text")};
    if (event.event.empty() || event.event == "begin") continue;
    const auto actor = object("actor");
    auto rule = of(json, "rule");
    if (rule.empty()) rule = of(actor, "rule");
    if (!rule.empty()) {
      event.who = "rule " + rule;
    } else if (const auto uid = actor.find("uid"); uid != actor.end() && uid->is_number_integer()) {
      event.who = "uid " + uid->dump();
    }
    const auto why = of(object("reason"), "text");
    if (!why.empty()) event.text += (event.text.empty() ? "" : ": ") + why;
    out.push_back(std::move(event));
  }
  return out;
}

base::Result<std::vector<AuditEvent>> read_audit(const std::string& path, std::string_view cgroup,
                                                 std::size_t max_events) {
  const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return base::fail_errno(base::printable(path) + ": cannot read");
  const auto size = ::lseek(fd.get(), 0, SEEK_END);
  const auto from = std::max<off_t>(0, size - kAuditTail);
  if (size < 0 || ::lseek(fd.get(), from, SEEK_SET) < 0)
    return base::fail_errno(base::printable(path) + ": cannot read");
  const auto text = base::read_to_end(fd.get(), static_cast<std::size_t>(kAuditTail));
  if (!text) return base::fail_errno(base::printable(path) + ": cannot read");
  return audit_events(*text, base::to_utf8(cgroup), max_events);  // the first, incomplete line is not valid JSON
}

std::string audit_line(std::string_view event, std::string_view id, const model::Action& action,
                       const model::Outcome& outcome, std::string_view undo_of) {
  OrderedJson out;
  out["time"] = time_text(base::wall_now()).view();
  out["id"] = id;
  out["event"] = event;
  out["action"] = model::name(action.verb);
  out["cgroup"] = {{"path", base::to_utf8(action.cgroup.path)}, {"id", action.cgroup.id}};
  out["actor"] = json_of(action.actor);
  if (!action.settings.empty()) {
    auto settings = OrderedJson::array();
    for (const auto& setting : action.settings) settings.push_back(base::to_utf8(model::to_text(setting)));
    out["settings"] = std::move(settings);
  }
  if (action.lease) out["lease_seconds"] = static_cast<double>(action.lease->count()) / 1000;
  if (action.signal != 0) out["signal"] = action.signal;
  if (action.bytes != 0) out["bytes"] = action.bytes;
  if (!action.pids.empty()) out["pids"] = action.pids;
  if (!action.target.path.empty()) out["target"] = base::to_utf8(action.target.path);
  if (action.force) out["force"] = true;
  if (!action.reason.text.empty() || !action.reason.numbers.empty()) {
    OrderedJson reason{{"text", base::to_utf8(action.reason.text)}};
    for (const auto& [name, value] : action.reason.numbers) reason[base::to_utf8(name)] = base::to_utf8(value);
    out["reason"] = std::move(reason);
  }
  if (!outcome.route.empty()) out["route"] = outcome.route;
  auto changes = OrderedJson::array();
  for (const auto& change : outcome.changes) {
    changes.push_back({{"where", base::to_utf8(change.where)},
                       {"before", base::to_utf8(change.before)},
                       {"asked", base::to_utf8(change.requested)},
                       {"after", base::to_utf8(change.after)}});
  }
  if (!changes.empty()) out["changes"] = std::move(changes);
  if (event != "begin") {
    out["result"] = model::name(outcome.kind);
    if (!outcome.guard.empty()) out["guard"] = outcome.guard;
    out["text"] = base::to_utf8(outcome.text);
    out["duration_us"] = outcome.duration.count();
    if (outcome.processes != 0) out["processes"] = outcome.processes;
    if (outcome.bytes != 0) out["reclaimed_bytes"] = outcome.bytes;
  }
  if (!undo_of.empty()) out["undo_of"] = undo_of;
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace cgwarden::control
