// SPDX-License-Identifier: Apache-2.0
#include "src/control/writer.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "src/base/clock.h"
#include "src/base/text.h"
#include "src/control/deadman.h"

namespace cgwarden::control {
namespace {

using model::Action;
using model::Outcome;
using model::outcome_of;
using model::Verb;
using OutcomeKind = model::Outcome::Kind;

constexpr std::size_t kMaxSettings = 64;
constexpr std::size_t kMaxPids = 4096;

Outcome outcome_of(const Refusal& refusal) { return outcome_of(refusal.kind, refusal.text, refusal.guard); }

OutcomeKind kind_of(int code) {
  switch (code) {
    case ENOENT:
    case ENODEV:
    case ESTALE:
      return OutcomeKind::gone;
    case EACCES:
    case EPERM:
    case EROFS:
      return OutcomeKind::denied;
    case EINVAL:
      return OutcomeKind::usage;
    default:
      return OutcomeKind::failed;
  }
}

Outcome outcome_of(const base::Error& error) {
  auto out = outcome_of(kind_of(error.code), error.what);
  if (out.kind == OutcomeKind::denied) out.text += " (run as root or through the enforcer, cgwarden enforce)";
  return out;
}

// Explains why the kernel refused this write.
std::string explain_refusal(const Write& write, int code) {
  const auto where = write.dir->where(write.file);
  auto text = where + "=" + base::printable(base::trim_end(write.text)) +
              ": the kernel refused the write: " + std::strerror(code);
  switch (code) {
    case EBUSY:
      if (write.key.starts_with("memory.") || write.key.starts_with("hugetlb.")) {
        return text + ": the cgroup uses more, which cannot be reclaimed (set a higher limit or free memory first)";
      }
      if (write.key.starts_with("cpuset.")) return text + ": descendants or tasks still use what would be removed";
      return text + ": in use";
    case EINVAL:
      if (write.key.starts_with("cpu.max")) {
        return text + ": on v1 the ratio must not exceed that of the parent nor be below that of a child";
      }
      return text;
    case EACCES:
      if (write.key.starts_with("cpuset.")) return text + ": not a subset of the parent's set";
      return text;
    case ENODEV:
      return text + ": the device does not exist";
    case ERANGE:
      return text + ": out of range";
    default:
      return text;
  }
}

model::Change change_of(const Write& write) {
  auto where = write.dir->where(write.file);
  std::string_view requested = base::trim_end(write.text);
  if (!write.device.empty() && requested.starts_with(write.device)) {
    where += '[' + write.device + ']';
    base::take_word(requested);
    requested.remove_prefix(std::min<std::size_t>(1, requested.size()));
  }
  return {std::move(where), write.before, std::string(requested), {}};
}

// The value after the write: as requested if the kernel stores the same value in another form, else as read back.
std::string shown_value(const Write& write, const model::Change& change, const std::string& now) {
  const bool same = matches_readback(write, now) && (change.requested == "-1" || change.requested == "0" ||
                                                     change.requested.find('=') != std::string::npos);
  return same ? change.requested : now;
}

base::Monotonic deadline_of(const Action& action) {
  return base::monotonic_now() + std::clamp(action.wait.value_or(kDefaultWait), std::chrono::milliseconds(0),
                                            std::chrono::milliseconds(3'600'000));
}

std::string seconds_text(std::chrono::milliseconds time) {
  auto text = std::to_string(time.count() / 1000);
  if (const auto rest = time.count() % 1000; rest != 0) text += '.' + std::to_string(1000 + rest).substr(1);
  return text + " s";
}

void append_text(std::string& text, std::string_view more) {
  if (more.empty()) return;
  text += text.empty() ? "" : "; ";
  text += more;
}

// Whether no later write sets the same value.
bool is_last_write(std::span<const Write> writes, std::size_t at) {
  return std::ranges::none_of(writes.subspan(at + 1), [&](const Write& later) {
    const auto& write = writes[at];
    return later.dir == write.dir && later.file == write.file && later.device == write.device && later.key == write.key;
  });
}

constexpr std::string_view kStaleRuntimeLimits = "was not updated and may overwrite the limits with its own values";

// Updates the runtime with the limits that the kernel has now, and writes them again if the runtime changed them.
// Returns the result as text.
std::string update_runtime(const RuntimeContainer& container, const CgroupHandle& handle,
                           std::span<const Write> writes) {
  const auto notified = update_limits(container, runtime_limits(handle, writes));
  for (std::size_t i = 0; i < writes.size(); ++i) {
    const auto now = is_last_write(writes, i) ? read_back(writes[i]) : writes[i].text;
    if (now && !matches_readback(writes[i], *now))
      (void)write_file(writes[i].dir->fd.get(), writes[i].file, writes[i].text);
  }
  const std::string runtime(container.runtime);
  return notified ? runtime + " was updated"
                  : runtime + ' ' + std::string(kStaleRuntimeLimits) + " (" + notified.error().what + ")";
}

}  // namespace

struct Writer::Session {
  base::Fd lock;
  UndoLog undo_log;
  Audit audit;
  std::string id;
};

base::Result<std::unique_ptr<Writer>> Writer::open(Options options) {
  auto host = cgroup::find_hierarchies(options.paths);
  if (!host) return tl::unexpected(host.error());
  return std::unique_ptr<Writer>(new Writer(std::move(options), std::move(*host)));
}

std::vector<UndoEntry> Writer::entries() const {
  const auto undo_log = UndoLog::open(options_.state_directory, false);
  return undo_log ? undo_log->all() : std::vector<UndoEntry>{};
}

std::optional<Outcome> Writer::guard(const Action& action, std::string_view path) const {
  std::vector<pid_t> requesters;
  if (action.actor.via != model::Actor::Via::policy && action.actor.pid > 0) requesters.push_back(action.actor.pid);
  auto facts = find_protected_processes(options_.paths.procfs, requesters);
  facts.patterns = options_.protect;
  if (auto guarded = check_guards(facts, action.verb, path)) {
    return outcome_of(OutcomeKind::refused, std::move(guarded->text), std::move(guarded->guard));
  }
  return std::nullopt;
}

base::Result<Writer::Session> Writer::begin_session(const Action& action, const CgroupHandle* handle,
                                                    const Outcome& planned) const {
  auto undo_log = UndoLog::open(options_.state_directory, true);
  if (!undo_log) return tl::unexpected(undo_log.error());
  auto lock = undo_log->lock();
  if (!lock) return tl::unexpected(lock.error());
  auto audit = Audit::open(options_.audit_file, options_.journal);
  if (!audit) return tl::unexpected(audit.error());
  Session session{std::move(*lock), std::move(*undo_log), std::move(*audit), new_id()};
  if (auto done = session.audit.append(audit_line("begin", session.id, action, planned)); !done) {
    return tl::unexpected(base::Error{
        ENOSPC, done.error().what + "; nothing was done, because every action must be recorded (free space there)"});
  }
  if (handle != nullptr && !handle->still_exists()) {
    return tl::unexpected(base::Error{ESTALE, "cgroup " + base::printable(handle->path()) +
                                                  ": removed or created again meanwhile; nothing was done"});
  }
  return session;
}

base::Result<void> Writer::append_audit(Session& session, std::string_view event, const Action& action, Outcome outcome,
                                        std::string_view undo_of) const {
  outcome.duration = std::chrono::duration_cast<std::chrono::microseconds>(base::monotonic_now() - started_at_);
  return session.audit.append(audit_line(event, session.id, action, outcome, undo_of));
}

namespace {

// The outcome if begin_session() failed: a full disk of the audit file is a refusal.
Outcome session_failure(const base::Error& error) {
  if (error.code == ENOSPC) return outcome_of(OutcomeKind::refused, error.what, "audit");
  return outcome_of(error);
}

}  // namespace

Checked<std::optional<Unit>> Writer::find_unit(const Action& action, const CgroupHandle& handle) {
  if (!options_.systemd || !Systemd::is_running() || options_.paths.rootfs != "/") return std::nullopt;
  if (!systemd_) systemd_ = std::make_unique<Systemd>();
  const auto shown = base::printable(handle.path());
  auto found = systemd_->unit_of(handle.path());
  const bool urgent = action.verb == Verb::freeze || action.verb == Verb::thaw || action.verb == Verb::kill ||
                      action.verb == Verb::signal;
  if (!found) {
    // The bus may hang because of the overload that a freeze or a kill would end.
    if (urgent || action.verb == Verb::reclaim) return std::nullopt;
    if (found.error().code == EACCES) return tl::unexpected(Refusal{OutcomeKind::denied, {}, found.error().what});
    return tl::unexpected(
        Refusal{OutcomeKind::unreachable,
                {},
                shown + ": cannot find its unit: " + found.error().what +
                    " (units are limited through systemd only; try again when systemctl status works)"});
  }
  if (!*found) return std::nullopt;
  if ((*found)->path == handle.path()) return std::move(*found);
  if (urgent || action.verb == Verb::reclaim || (*found)->is_slice()) return std::nullopt;
  if (!(*found)->delegated) {
    return refuse(
        "not-delegated",
        shown + ": refused: it is inside " + (*found)->name +
            ", which is not delegated, so only systemd may write there (limit the unit, or set Delegate=yes)");
  }
  if ((*found)->name.starts_with("user@")) {
    return refuse(
        "user-manager",
        shown + ": refused: the user's systemd instance manages it (run systemctl --user set-property as that user)");
  }
  return std::nullopt;
}

std::optional<RuntimeContainer> Writer::runtime_container(const CgroupHandle& handle, std::string_view else_it,
                                                          std::string& note) const {
  const auto runtime = runtime_of(handle.path());
  if (runtime.empty() || options_.paths.rootfs != "/") return std::nullopt;
  auto found = find_runtime_container(options_.runtime_sockets, handle.path());
  if (found && *found) return std::move(*found);
  append_text(note, std::string(runtime) + ' ' + std::string(else_it) + (found ? "" : " (" + found.error().what + ")"));
  return std::nullopt;
}

Outcome Writer::apply(const Action& requested) {
  started_at_ = base::monotonic_now();
  auto outcome = act(requested);
  outcome.dry_run = requested.dry_run;
  outcome.duration = std::chrono::duration_cast<std::chrono::microseconds>(base::monotonic_now() - started_at_);
  return outcome;
}

Outcome Writer::act(const Action& requested) {
  if (requested.settings.size() > kMaxSettings || requested.pids.size() > kMaxPids) {
    return outcome_of(OutcomeKind::usage, "action: too many settings or processes (at most " +
                                              std::to_string(kMaxSettings) + " settings and " +
                                              std::to_string(kMaxPids) + " processes)");
  }
  const auto handle = CgroupHandle::open(host_, requested.cgroup);
  if (!handle) return outcome_of(handle.error());
  auto action = requested;
  action.cgroup.id = handle->id();
  if (auto guarded = guard(action, handle->path())) return *guarded;
  if (action.verb == Verb::kill && action.actor.via == model::Actor::Via::policy) {
    if (const auto spared = check_oom_preference(*handle))
      return outcome_of(OutcomeKind::refused, spared->text, spared->guard);
  }
  auto unit = find_unit(action, *handle);
  if (!unit) return outcome_of(unit.error());
  unit_ = std::move(*unit);
  switch (action.verb) {
    case Verb::limit:
      return limit(action, *handle);
    case Verb::unlimit:
      return unlimit(action, *handle);
    case Verb::freeze:
      return freeze_cgroup(action, *handle);
    case Verb::thaw:
      return thaw_cgroup(action, *handle);
    case Verb::kill:
      return kill_cgroup(action, *handle);
    case Verb::signal:
      return signal_cgroup(action, *handle);
    case Verb::reclaim:
      return reclaim_cgroup(action, *handle);
    case Verb::move:
      return move_processes(action, *handle);
  }
  return outcome_of(OutcomeKind::usage, "action: unknown verb");
}

Outcome Writer::limit(const Action& action, const CgroupHandle& handle) {
  if (action.settings.empty())
    return outcome_of(OutcomeKind::usage, "limit: no setting given (expected KEY=VALUE, such as memory.max=512M)");
  const auto plan = plan_limits(handle, action.settings, Machine::read(options_.paths), action.force);
  if (!plan) return outcome_of(plan.error());
  return write_plan(action, handle, *plan, {});
}

Outcome Writer::unlimit(const Action& action, const CgroupHandle& handle) {
  // Limits set by this program return to their previous value; named keys return to the value of a new cgroup.
  std::vector<UndoEntry> own_entries;
  if (const auto undo_log = UndoLog::open(options_.state_directory, false)) {
    for (auto& entry : undo_log->all()) {
      if (entry.verb == Verb::limit && entry.path == handle.path() && entry.cgroup == handle.id())
        own_entries.push_back(std::move(entry));
    }
  }
  if (action.settings.empty()) {
    if (own_entries.empty()) {
      return outcome_of(OutcomeKind::refused,
                        base::printable(handle.path()) +
                            ": no limit was set by cgwarden (name the keys to reset, such as memory.max)",
                        "nothing");
    }
    Outcome all;
    for (auto entry = own_entries.rbegin(); entry != own_entries.rend(); ++entry) {  // the latest first
      auto one = restore(*entry, action, false);
      all.changes.insert(all.changes.end(), one.changes.begin(), one.changes.end());
      append_text(all.text, one.text);
      if (one.kind != OutcomeKind::done) {
        all.kind = all.kind == OutcomeKind::done && entry == own_entries.rbegin() ? one.kind : OutcomeKind::partly;
        all.guard = one.guard;
      }
    }
    return all;
  }
  auto wanted = default_settings(action.settings);
  if (!wanted) return outcome_of(wanted.error());
  const auto plan = plan_limits(handle, *wanted, Machine::read(options_.paths), true);
  if (!plan) return outcome_of(plan.error());
  auto shown = action;
  shown.settings = *wanted;
  return write_plan(shown, handle, *plan, {});
}

Outcome Writer::write_plan(const Action& action, const CgroupHandle& handle, const WritePlan& plan,
                           std::string_view undo_of) {
  Outcome out;
  out.route = unit_ ? "systemd" : "cgroupfs";
  for (const auto& write : plan.writes) out.changes.push_back(change_of(write));
  out.text = plan.note;
  if (action.persist && !unit_)
    return outcome_of(
        OutcomeKind::usage,
        base::printable(handle.path()) +
            ": cannot use --persist: it is not the cgroup of a systemd unit and does not survive a reboot");
  // Separates the settings that systemd has a property for from those written directly.
  std::vector<UnitProperty> properties;
  std::vector<bool> by_systemd(plan.writes.size());
  for (std::size_t i = 0; unit_ && i < plan.writes.size(); ++i) {
    for (auto& property : unit_properties(plan.writes[i])) {
      by_systemd[i] = true;
      const auto same = std::ranges::find_if(
          properties, [&](const UnitProperty& p) { return p.name == property.name && p.device == property.device; });
      if (same != properties.end()) {
        *same = std::move(property);  // several writes of one value: the last one is final
      } else {
        properties.push_back(std::move(property));
      }
    }
  }
  if (action.dry_run) {
    if (const auto runtime = runtime_container(handle, kStaleRuntimeLimits, out.text)) {
      append_text(out.text, std::string(runtime->runtime) + " would be updated");
    }
    return out;
  }

  auto session = begin_session(action, &handle, out);
  if (!session) return session_failure(session.error());
  const auto finish = [&](Outcome end) {
    if (const auto done = append_audit(*session, "end", action, end, undo_of); !done) {
      append_text(end.text, done.error().what);
    }
    return end;
  };

  UndoEntry entry;
  entry.id = session->id;
  entry.verb = Verb::limit;
  entry.path = handle.path();
  entry.cgroup = handle.id();
  entry.route = out.route;
  entry.persist = action.persist;
  entry.created = boottime_now();
  entry.uid = action.actor.uid;
  entry.rule = action.actor.rule;
  if (unit_) entry.unit = unit_->name;
  for (const auto& property : properties) {
    const auto before = systemd_->get(*unit_, property.name, property.device);
    if (!before)
      return finish(outcome_of(before.error().code == EACCES ? OutcomeKind::denied : OutcomeKind::unreachable,
                               before.error().what));
    entry.properties.push_back({property.name, property.device, *before});
  }
  entry.ended_by_helper = !options_.restore_command.empty();
  if (action.lease) entry.expires = entry.created + std::chrono::nanoseconds(*action.lease).count();
  for (auto write = plan.writes.rbegin(); write != plan.writes.rend(); ++write) {  // undone in reverse order
    const bool via_systemd = by_systemd[static_cast<std::size_t>(plan.writes.rend() - write - 1)];
    if (write->restore.empty() && !via_systemd) continue;
    entry.parts.push_back(
        {write->dir->hierarchy->title(), write->file, write->key, write->device, write->restore, {}, via_systemd});
  }
  if (auto done = session->undo_log.put(entry); !done) {
    return finish(outcome_of(OutcomeKind::refused,
                             done.error().what + "; nothing was done, because it could not be undone later",
                             "undo-log"));
  }

  std::size_t written = 0;
  std::string fault;
  auto kind = OutcomeKind::done;
  std::vector<std::string> values_left(plan.writes.size());
  if (!properties.empty()) {
    if (const auto done = systemd_->set(*unit_, properties, action.persist); !done) {
      session->undo_log.remove(session->id);
      const auto code = done.error().code;
      return finish(outcome_of(code == EACCES                          ? OutcomeKind::denied
                               : code == ETIMEDOUT || code == ENOTCONN ? OutcomeKind::unreachable
                               : code == ENOENT                        ? OutcomeKind::gone
                                                                       : OutcomeKind::refused,
                               done.error().what, code == 0 || code == EOPNOTSUPP ? "systemd" : ""));
    }
  }
  for (; written < plan.writes.size(); ++written) {
    const auto& write = plan.writes[written];
    if (by_systemd[written]) continue;
    if (const auto done = write_file(write.dir->fd.get(), write.file, write.text); !done) {
      const bool gone = !handle.still_exists();
      kind = gone ? OutcomeKind::gone : kind_of(done.error().code);
      // The plan validated the input, so EINVAL here is a refusal of the kernel, not a usage error.
      if (!gone && kind != OutcomeKind::denied) kind = OutcomeKind::refused;
      fault = gone ? "cgroup " + base::printable(handle.path()) + ": removed meanwhile"
                   : explain_refusal(write, done.error().code);
      break;
    }
  }
  if (kind == OutcomeKind::done) {
    if (const auto runtime = runtime_container(handle, kStaleRuntimeLimits, out.text)) {
      append_text(out.text, update_runtime(*runtime, handle, plan.writes));
    }
    for (std::size_t i = 0; i < plan.writes.size(); ++i) {
      const auto& write = plan.writes[i];
      const bool last = is_last_write(plan.writes, i);
      auto after = read_back(write);
      // systemd replies before it writes.
      for (const auto end = base::monotonic_now() + std::chrono::seconds(3);
           by_systemd[i] && last && after && !matches_readback(write, *after) && base::monotonic_now() < end;
           after = read_back(write)) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      values_left[i] = after ? *after : "";
      out.changes[i].after = shown_value(write, out.changes[i], values_left[i]);
      if (!last) continue;
      if (!after) {
        kind = handle.still_exists() ? OutcomeKind::failed : OutcomeKind::gone;
        fault = after.error().what;
      } else if (!matches_readback(write, *after)) {
        kind = OutcomeKind::failed;
        fault = write.dir->where(write.file) + ": the write succeeded, but the file now contains " +
                base::printable(*after);
      }
    }
  }
  if (kind != OutcomeKind::done) {
    std::string left;
    if (!properties.empty() && kind != OutcomeKind::gone) {
      if (const auto done = systemd_->set(*unit_, entry.properties, action.persist); !done)
        append_text(left, done.error().what);
    }
    for (std::size_t i = written; i-- > 0;) {
      const auto& write = plan.writes[i];
      if (by_systemd[i]) continue;
      if (write.restore.empty() || !write_file(write.dir->fd.get(), write.file, write.restore))
        append_text(left, write.dir->where(write.file));
    }
    session->undo_log.remove(session->id);
    auto end = outcome_of(left.empty() || kind == OutcomeKind::gone ? kind : OutcomeKind::partly,
                          fault + ((written == 0 && properties.empty()) || kind == OutcomeKind::gone ? ""
                                   : left.empty() ? "; earlier writes were undone"
                                                  : "; could not be undone: " + left),
                          kind == OutcomeKind::refused ? "kernel" : "");
    if (end.kind == OutcomeKind::denied) end.text += " (run as root or through the enforcer, cgwarden enforce)";
    end.route = out.route;
    if (end.kind == OutcomeKind::partly) end.changes = out.changes;
    return finish(end);
  }

  for (auto& part : entry.parts) {
    for (std::size_t i = 0; i < plan.writes.size(); ++i) {
      const auto& write = plan.writes[i];
      if (write.dir->hierarchy->title() == part.hierarchy && write.file == part.file && write.device == part.device &&
          write.key == part.key) {
        part.after = values_left[i];
      }
    }
  }
  const bool can_undo = !entry.parts.empty();
  if (!can_undo) {
    session->undo_log.remove(session->id);
    append_text(out.text, "cannot be undone");
  } else {
    (void)session->undo_log.put(entry);
    session->undo_log.drop_oldest();
    out.undo = session->id;
    if (entry.is_lease()) {
      append_text(out.text, "for " + seconds_text(*action.lease));
      if (entry.ended_by_helper) {
        auto command = options_.restore_command;
        command.push_back(session->id);
        const auto started =
            start_restore_helper(session->undo_log, {session->id, entry.expires, false, {}, -1, {}, {}}, command);
        if (!started)
          append_text(out.text, started.error().what + " (undo it yourself: cgtop undo " + session->id + ")");
      }
    }
  }
  return finish(out);
}

Outcome Writer::restore(const UndoEntry& entry, const Action& as, bool lease_ended) {
  auto action = as;
  action.verb = Verb::unlimit;
  action.cgroup = {entry.path, entry.cgroup};
  const auto handle = CgroupHandle::open(host_, action.cgroup);
  if (!handle) {
    if (const auto undo_log = UndoLog::open(options_.state_directory, false); undo_log && !as.dry_run)
      undo_log->remove(entry.id);
    return outcome_of(handle.error());
  }
  WritePlan plan;
  std::vector<bool> by_systemd;
  std::string drifted;
  for (const auto& part : entry.parts) {
    const auto dir = std::ranges::find_if(
        handle->dirs(), [&](const CgroupHandle::Dir& d) { return d.hierarchy->title() == part.hierarchy; });
    if (dir == handle->dirs().end()) continue;
    Write write;
    write.dir = &*dir;
    write.file = part.file;
    write.key = part.key;
    write.device = part.device;
    write.text = part.restore;
    write.restore = {};
    const auto now = read_back(write);
    if (!now) return outcome_of(now.error());
    write.before = *now;
    // Several parts may set one value; the first one, which is undone first, has the final value.
    const bool first = std::none_of(plan.writes.begin(), plan.writes.end(), [&](const Write& w) {
      return w.dir == write.dir && w.file == write.file && w.device == write.device;
    });
    if (first && !part.after.empty() && *now != part.after)
      append_text(drifted, write.dir->where(part.file) + " is " + base::printable(*now) + ", expected " +
                               base::printable(part.after));
    by_systemd.push_back(part.by_systemd);
    plan.writes.push_back(std::move(write));
  }
  if (!drifted.empty()) {
    auto out =
        outcome_of(OutcomeKind::refused,
                   base::printable(entry.path) + ": not undone: changed by another program since: " + drifted, "drift");
    if (!as.dry_run) {
      if (auto session = begin_session(action, nullptr, out)) {
        (void)append_audit(*session, "lease_lost", action, out, entry.id);
        session->undo_log.remove(entry.id);
      }
    }
    return out;
  }
  Outcome out;
  out.route = entry.route;
  for (const auto& write : plan.writes) out.changes.push_back(change_of(write));
  if (action.dry_run) return out;
  std::optional<Unit> unit;
  if (!entry.properties.empty()) {
    auto routed = find_unit(action, *handle);
    if (!routed) return outcome_of(routed.error());
    unit = std::move(*routed);
    if (!unit || unit->name != entry.unit) {
      return outcome_of(
          OutcomeKind::refused,
          base::printable(entry.path) + ": cannot undo: it is no longer the cgroup of " + base::printable(entry.unit),
          "systemd");
    }
  }
  auto session = begin_session(action, &*handle, out);
  if (!session) return session_failure(session.error());
  std::size_t written = 0;
  if (unit) {
    if (const auto done = systemd_->set(*unit, entry.properties, entry.persist); !done) {
      out.kind = done.error().code == ETIMEDOUT || done.error().code == ENOTCONN ? OutcomeKind::unreachable
                                                                                 : OutcomeKind::refused;
      if (out.kind == OutcomeKind::refused) out.guard = "systemd";
      out.text = done.error().what;
      (void)append_audit(*session, "end", action, out, entry.id);
      return out;
    }
  }
  for (std::size_t i = 0; i < plan.writes.size(); ++i) {
    const auto& write = plan.writes[i];
    if (by_systemd[i]) {
      auto now = read_back(write);
      // When several writes restore one file, only the last value is the original; readers may briefly see an earlier
      // one.
      for (const auto end = base::monotonic_now() + std::chrono::seconds(3);
           now && *now == write.before && *now != write.text && base::monotonic_now() < end; now = read_back(write)) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      out.changes[i].after = now.value_or("");
      ++written;
      continue;
    }
    const auto done = write_file(write.dir->fd.get(), write.file, write.text);
    if (!done) {
      out.kind = written == 0 ? OutcomeKind::refused : OutcomeKind::partly;
      out.guard = "kernel";
      append_text(out.text, explain_refusal(write, done.error().code));
      continue;
    }
    ++written;
    out.changes[i].after = shown_value(write, out.changes[i], read_back(write).value_or(""));
  }
  if (out.ok()) {
    session->undo_log.remove(entry.id);
    append_text(out.text, base::printable(entry.path) + ": previous values restored");
    if (const auto runtime = runtime_container(*handle, kStaleRuntimeLimits, out.text)) {
      append_text(out.text, update_runtime(*runtime, *handle, plan.writes));
    }
  }
  (void)append_audit(*session, lease_ended ? "lease_end" : "end", action, out, entry.id);
  return out;
}

Outcome Writer::undo(const std::string& id, const model::Actor& actor, bool dry_run, bool lease_ended) {
  const auto undo_log = UndoLog::open(options_.state_directory, false);
  if (!undo_log)
    return undo_log.error().code == ENOENT ? outcome_of(OutcomeKind::gone, "undo: nothing to undo")
                                           : outcome_of(undo_log.error());
  std::optional<UndoEntry> entry;
  if (id.empty()) {
    auto all = undo_log->all();
    if (!all.empty()) entry = std::move(all.back());
  } else {
    entry = undo_log->find(id);
  }
  if (!entry) {
    return outcome_of(OutcomeKind::gone,
                      id.empty() ? "undo: nothing to undo"
                                 : "undo " + base::printable(id) + ": no such entry (already undone or expired)");
  }
  Action action;
  action.actor = actor;
  action.dry_run = dry_run;
  action.cgroup = {entry->path, entry->cgroup};
  started_at_ = base::monotonic_now();
  Outcome out;
  switch (entry->verb) {
    case Verb::freeze:
      action.verb = Verb::thaw;
      out = act(action);
      break;
    case Verb::move:
      action.verb = Verb::move;
      action.pids = entry->pids;
      action.cgroup = {entry->target, 0};
      action.target = {entry->path, entry->cgroup};
      out = act(action);
      if (out.ok() && !dry_run) {
        undo_log->remove(entry->id);
        if (!out.undo.empty()) undo_log->remove(out.undo);
        out.undo.clear();
      }
      break;
    default:
      action.verb = Verb::unlimit;
      out = restore(*entry, action, lease_ended);
      break;
  }
  out.dry_run = dry_run;
  if (dry_run) {
    out.undo = entry->id;
    if (out.ok())
      append_text(out.text, "would undo " + std::string(name(entry->verb)) + ' ' + base::printable(entry->path));
  }
  out.duration = std::chrono::duration_cast<std::chrono::microseconds>(base::monotonic_now() - started_at_);
  return out;
}

Outcome Writer::freeze_cgroup(const Action& action, const CgroupHandle& handle) {
  const auto shown = base::printable(handle.path());
  const auto time = action.lease.value_or(kDefaultFreeze);
  if (time <= std::chrono::milliseconds(0) || time > kMaxFreeze) {
    return outcome_of(OutcomeKind::usage,
                      shown + ": cannot freeze: the duration must be from 1ms to 1h, so that no cgroup stays frozen");
  }
  const auto state = freeze_state(handle);
  if (state.by_ancestor) {
    return outcome_of(OutcomeKind::refused,
                      shown + ": cannot freeze: its ancestor " + base::printable(state.ancestor) +
                          " is frozen, so thawing this cgroup alone would have no effect",
                      "frozen-ancestor");
  }
  std::vector<UndoEntry> own_entries;
  if (const auto undo_log = UndoLog::open(options_.state_directory, false)) {
    for (auto& entry : undo_log->all()) {
      if (entry.verb == Verb::freeze && entry.path == handle.path() && entry.cgroup == handle.id())
        own_entries.push_back(std::move(entry));
    }
  }
  if (state.frozen_here && own_entries.empty()) {
    return outcome_of(
        OutcomeKind::refused,
        shown + ": cannot freeze: already frozen by another program (let that program thaw it, or run cgtop thaw)",
        "frozen");
  }
  if (unit_ && unit_->watchdog_us > 0 && std::chrono::microseconds(time).count() > unit_->watchdog_us / 3) {
    return outcome_of(
        OutcomeKind::refused,
        unit_->name + ": cannot freeze: its watchdog would expire after " + std::to_string(unit_->watchdog_us / 1000) +
            " ms and systemd would kill it (freeze it for at most " + std::to_string(unit_->watchdog_us / 3000) + "ms)",
        "watchdog");
  }
  Outcome out;
  auto runtime = runtime_container(handle, "will still show the container as running", out.text);
  const auto freezers = plan_freeze(handle, !runtime_of(handle.path()).empty());
  if (!freezers) return outcome_of(freezers.error());
  // systemd freezes each unit of a slice separately, so that one may fail; the kernel freezes the whole subtree.
  const bool by_systemd = !runtime && unit_ && !unit_->is_slice() && freezers->v2 != nullptr && freezers->v1 == nullptr;
  out.route = runtime ? runtime->runtime : by_systemd ? "systemd" : "cgroupfs";
  if (freezers->v2 != nullptr)
    out.changes.push_back({freezers->v2->where("cgroup.freeze"), state.frozen_here ? "1" : "0", "1", {}});
  if (freezers->v1 != nullptr)
    out.changes.push_back(
        {freezers->v1->where("freezer.state"), state.frozen_here ? "FROZEN" : "THAWED", "FROZEN", {}});
  append_text(out.text, "for " + seconds_text(time));
  const auto members = handle.members();
  out.processes = static_cast<std::int64_t>(members.pids.size() + members.foreign);
  if (action.dry_run) return out;

  auto session = begin_session(action, &handle, out);
  if (!session) return session_failure(session.error());
  const auto finish = [&](Outcome end) {
    if (const auto done = append_audit(*session, "end", action, end); !done) append_text(end.text, done.error().what);
    return end;
  };
  UndoEntry entry;
  entry.id = session->id;
  entry.verb = Verb::freeze;
  entry.path = handle.path();
  entry.cgroup = handle.id();
  entry.route = "cgroupfs";
  entry.created = boottime_now();
  entry.expires = entry.created + std::chrono::nanoseconds(time).count();
  entry.ended_by_helper = true;
  entry.uid = action.actor.uid;
  entry.rule = action.actor.rule;
  if (session->undo_log.all().size() >= UndoLog::kMaxLeases) {
    return finish(outcome_of(
        OutcomeKind::refused,
        shown + ": cannot freeze: the maximum of " + std::to_string(UndoLog::kMaxLeases) + " leases is reached",
        "leases"));
  }
  if (const auto done = session->undo_log.put(entry); !done) {
    return finish(outcome_of(OutcomeKind::refused,
                             done.error().what + "; nothing was frozen, because it might never be thawed", "undo-log"));
  }
  Deadman deadman;
  deadman.lease = session->id;
  deadman.expires = entry.expires;
  deadman.with_owner = options_.thaw_on_exit;
  deadman.audit_fd = session->audit.fd();
  if (by_systemd) deadman.unit = unit_->name;
  deadman.runtime = runtime;
  auto thawed = action;
  thawed.verb = Verb::thaw;
  auto ended = Outcome{};
  ended.text = "the freeze expired or its owner exited";
  deadman.audit_line = audit_line("thaw", session->id, thawed, ended, session->id);
  deadman.audit_line.erase(0, deadman.audit_line.find(',') + 1);  // the helper writes its own time
  if (const auto started = start_thaw_helper(session->undo_log, *freezers, deadman); !started) {
    session->undo_log.remove(session->id);
    return finish(outcome_of(OutcomeKind::refused,
                             started.error().what + "; nothing was frozen, because it might never be thawed", "timer"));
  }
  // A new freeze replaces older leases of this program on the cgroup.
  const auto drop_older = [&] {
    for (const auto& old : own_entries) session->undo_log.remove(old.id);
  };
  const auto deadline = deadline_of(action);
  if ((by_systemd || runtime) && !state.frozen_here) {
    // The kernel's state decides whether this worked. If it fails or times out, cgroup files are written directly.
    const auto wait =
        std::clamp(action.wait.value_or(kDefaultWait), std::chrono::milliseconds(1), std::chrono::milliseconds(2000));
    if (const auto notified = runtime ? pause(*runtime, wait) : systemd_->freeze(*unit_, wait); !notified) {
      out.route = "cgroupfs";
      append_text(out.text, notified.error().what);
    }
  }
  const auto done = freeze(*freezers, deadline);
  if (!done || !*done) {
    std::string tasks;
    std::size_t named = 0;
    for (const auto pid : handle.members().pids) {
      if (++named > 5) break;
      append_text(tasks, "pid " + std::to_string(pid));
    }
    if (by_systemd) (void)systemd_->thaw(*unit_);
    if (runtime) (void)unpause(*runtime);
    (void)thaw(handle);
    session->undo_log.remove(session->id);
    drop_older();
    if (!done && !handle.still_exists())
      return finish(outcome_of(OutcomeKind::gone, "cgroup " + shown + ": removed meanwhile"));
    if (!done) return finish(outcome_of(kind_of(done.error().code), done.error().what));
    return finish(
        outcome_of(OutcomeKind::timeout,
                   shown + ": did not freeze within " + seconds_text(action.wait.value_or(kDefaultWait)) +
                       " and was thawed again: some tasks are blocked in the kernel, possibly one of: " + tasks));
  }
  drop_older();
  for (auto& change : out.changes) change.after = change.requested;
  out.undo = session->id;
  return finish(out);
}

Outcome Writer::thaw_cgroup(const Action& action, const CgroupHandle& handle) {
  const auto shown = base::printable(handle.path());
  const auto state = freeze_state(handle);
  Outcome out;
  out.route = "cgroupfs";
  if (!state.frozen_here && state.by_ancestor) {
    return outcome_of(
        OutcomeKind::refused,
        shown + ": cannot thaw: its ancestor " + base::printable(state.ancestor) + " is frozen (thaw the ancestor)",
        "frozen-ancestor");
  }
  for (const auto& dir : handle.dirs()) {
    const bool v1 = dir.hierarchy->has("freezer") && !dir.is_v2();
    if (!v1 && !dir.is_v2()) continue;
    const auto own = read_file(dir.fd.get(), v1 ? "freezer.self_freezing" : "cgroup.freeze");
    if (!own || base::trim_end(*own) != "1") continue;
    out.changes.push_back(
        {dir.where(v1 ? "freezer.state" : "cgroup.freeze"), v1 ? "FROZEN" : "1", v1 ? "THAWED" : "0", {}});
  }
  if (action.dry_run) return out;
  auto session = begin_session(action, &handle, out);
  // A thaw is carried out even if it cannot be recorded.
  if (!session && session.error().code != ENOSPC) return session_failure(session.error());
  std::string unused;
  const auto runtime = runtime_container(handle, "", unused);
  if (runtime && runtime->paused && unpause(*runtime)) {
    out.route = runtime->runtime;
  } else if (unit_ && state.frozen_here && systemd_->thaw(*unit_)) {
    out.route = "systemd";
  }
  const auto done = thaw(handle);  // whether or not systemd thawed it
  if (!done) {
    out = outcome_of(done.error());
  } else {
    for (auto& change : out.changes) change.after = change.requested;
    if (state.by_ancestor) {
      out.kind = OutcomeKind::partly;
      out.text = shown + ": thawed, but still frozen by its ancestor " + base::printable(state.ancestor) +
                 " (thaw the ancestor)";
    } else if (!state.frozen_here) {
      out.text = shown + ": was not frozen";
    }
  }
  if (session) {
    if (out.ok() || out.kind == OutcomeKind::partly) {
      for (const auto& entry : session->undo_log.all()) {
        if (entry.verb == Verb::freeze && entry.path == handle.path()) session->undo_log.remove(entry.id);
      }
    }
    (void)append_audit(*session, "end", action, out);
  } else {
    append_text(out.text, session.error().what);
  }
  return out;
}

Outcome Writer::kill_cgroup(const Action& action, const CgroupHandle& handle) {
  const auto shown = base::printable(handle.path());
  Outcome out;
  out.route = unit_ ? "systemd" : "cgroupfs";
  const auto members = handle.members();
  out.processes = static_cast<std::int64_t>(members.pids.size() + members.foreign);
  out.text = std::to_string(out.processes) + (out.processes == 1 ? " process in " : " processes in ") +
             std::to_string(members.cgroups) + (members.cgroups == 1 ? " cgroup" : " cgroups");
  if (action.dry_run) return out;
  auto session = begin_session(action, &handle, out);
  if (!session) return session_failure(session.error());
  const auto finish = [&](Outcome end) {
    end.route = out.route;
    if (const auto done = append_audit(*session, "end", action, end); !done) append_text(end.text, done.error().what);
    return end;
  };
  if (action.signal > 0 && action.signal != SIGKILL) {
    const bool notified = unit_ && systemd_->kill(*unit_, action.signal);
    const auto sent =
        notified ? SignalResult{1, 0, 0} : signal_processes(handle, options_.paths.procfs, members.pids, action.signal);
    if (sent.refused > 0 && sent.sent == 0)
      return finish(outcome_of(OutcomeKind::denied, shown + ": cannot signal: no permission for any of its processes"));
    if (wait_until_empty(handle,
                         base::monotonic_now() + std::min(action.grace, std::chrono::milliseconds(3'600'000)))) {
      out.text = std::to_string(out.processes) + " processes exited after signal " + std::to_string(action.signal);
      return finish(out);
    }
  }
  if (unit_) (void)systemd_->kill(*unit_, SIGKILL);  // so that systemd records it; the kernel then kills every process
  const auto ended = kill_all(handle, options_.paths.procfs, deadline_of(action));
  if (!ended) return finish(outcome_of(ended.error()));
  if (!ended->remaining.empty() || ended->foreign > 0) {
    std::string left;
    for (std::size_t i = 0; i < std::min<std::size_t>(ended->remaining.size(), 5); ++i)
      append_text(left, "pid " + std::to_string(ended->remaining[i]));
    auto end =
        outcome_of(OutcomeKind::timeout, shown + ": " + std::to_string(ended->remaining.size() + ended->foreign) +
                                             " processes were not killed in time, blocked in the kernel: " + left);
    end.processes = out.processes;
    return finish(end);
  }
  // A lease of a freeze ends with the processes.
  for (const auto& entry : session->undo_log.all()) {
    if (entry.verb == Verb::freeze && entry.path == handle.path() && entry.cgroup == handle.id())
      session->undo_log.remove(entry.id);
  }
  out.text = std::to_string(out.processes) + (out.processes == 1 ? " process" : " processes") + " killed";
  return finish(out);
}

Outcome Writer::signal_cgroup(const Action& action, const CgroupHandle& handle) {
  if (action.signal <= 0 || action.signal >= NSIG)
    return outcome_of(OutcomeKind::usage, "signal " + std::to_string(action.signal) +
                                              ": invalid number (expected 1 to " + std::to_string(NSIG - 1) + ")");
  auto pids = handle.members().pids;
  if (!action.pids.empty()) {
    std::set<pid_t> wanted;
    for (const auto pid : action.pids) {
      if (!pids.contains(pid)) {
        return outcome_of(OutcomeKind::gone,
                          "process " + std::to_string(pid) + ": not in " + base::printable(handle.path()));
      }
      wanted.insert(pid);
    }
    pids = std::move(wanted);
  }
  Outcome out;
  out.route = "cgroupfs";
  out.processes = static_cast<std::int64_t>(pids.size());
  if (action.dry_run) return out;
  auto session = begin_session(action, &handle, out);
  if (!session) return session_failure(session.error());
  const auto sent = signal_processes(handle, options_.paths.procfs, pids, action.signal);
  out.processes = static_cast<std::int64_t>(sent.sent);
  if (sent.refused > 0) {
    out.kind = sent.sent == 0 ? OutcomeKind::denied : OutcomeKind::partly;
    out.text = base::printable(handle.path()) + ": no permission to signal " + std::to_string(sent.refused) + " of " +
               std::to_string(pids.size()) + " processes";
  } else if (sent.sent == 0) {
    out.kind = OutcomeKind::gone;
    out.text = base::printable(handle.path()) + ": all processes have exited";
  } else {
    out.text = "signal " + std::to_string(action.signal) + " sent to " + std::to_string(sent.sent) +
               (sent.sent == 1 ? " process" : " processes");
  }
  (void)append_audit(*session, "end", action, out);
  return out;
}

Outcome Writer::reclaim_cgroup(const Action& action, const CgroupHandle& handle) {
  if (action.bytes <= 0) return outcome_of(OutcomeKind::usage, "reclaim: no size given (expected a size such as 256M)");
  Outcome out;
  out.route = "cgroupfs";
  const auto* const dir = handle.dir_of_controller("memory");
  if (dir == nullptr || !dir->is_v2()) {
    const auto why = reclaim(handle, 0, base::monotonic_now());
    return why ? out : outcome_of(why.error());
  }
  out.changes.push_back({"memory.reclaim", {}, std::to_string(action.bytes), {}});
  if (action.dry_run) return out;
  auto session = begin_session(action, &handle, out);
  if (!session) return session_failure(session.error());
  const auto done = reclaim(handle, action.bytes, deadline_of(action));
  if (!done) {
    out = outcome_of(done.error());
  } else {
    out.bytes = done->bytes;
    out.text = "memory usage dropped by " + format_bytes(done->bytes);
    if (!done->all) {
      out.kind = OutcomeKind::partly;
      out.text += "; no more could be reclaimed";
    }
  }
  (void)append_audit(*session, "end", action, out);
  return out;
}

Outcome Writer::move_processes(const Action& action, const CgroupHandle& handle) {
  if (action.pids.empty()) return outcome_of(OutcomeKind::usage, "move: no process given");
  const auto target = CgroupHandle::open(host_, action.target);
  if (!target) return outcome_of(target.error());
  auto there = action;
  there.verb = Verb::move;
  if (auto guarded = guard(there, target->path())) return *guarded;
  for (const auto pid : action.pids) {
    if (pid <= 1 || !handle.contains(options_.paths.procfs, pid)) {
      return outcome_of(OutcomeKind::gone,
                        "process " + std::to_string(pid) + ": not in " + base::printable(handle.path()));
    }
  }
  Outcome out;
  out.route = "cgroupfs";
  out.processes = static_cast<std::int64_t>(action.pids.size());
  // Only in hierarchies that have both cgroups: in others the process stays.
  std::vector<std::pair<const CgroupHandle::Dir*, const CgroupHandle::Dir*>> pairs;
  for (const auto& to : target->dirs()) {
    for (const auto& from : handle.dirs()) {
      if (from.hierarchy == to.hierarchy) pairs.emplace_back(&from, &to);
    }
  }
  for (const auto& [from, to] : pairs)
    out.changes.push_back({to->where("cgroup.procs"), handle.path(), target->path(), {}});
  if (unit_ && !unit_->delegated) {
    return outcome_of(OutcomeKind::refused,
                      base::printable(handle.path()) + ": cannot move: its processes belong to " + unit_->name +
                          ", which is not delegated",
                      "not-delegated");
  }
  if (pairs.empty())
    return outcome_of(OutcomeKind::refused,
                      base::printable(target->path()) + ": cannot move: the two cgroups have no hierarchy in common",
                      "controller");
  if (action.dry_run) return out;
  auto session = begin_session(action, &handle, out);
  if (!session) return session_failure(session.error());
  std::vector<std::pair<const CgroupHandle::Dir*, pid_t>> moved;
  std::string fault;
  auto kind = OutcomeKind::done;
  for (const auto pid : action.pids) {
    for (const auto& [from, to] : pairs) {
      if (!fault.empty() || !handle.members(*from).pids.contains(pid)) continue;
      const auto done = write_file(to->fd.get(), "cgroup.procs", std::to_string(pid));
      if (done) {
        moved.emplace_back(from, pid);
        continue;
      }
      kind = done.error().code == ESRCH ? OutcomeKind::gone : kind_of(done.error().code);
      if (kind == OutcomeKind::failed || kind == OutcomeKind::usage) kind = OutcomeKind::refused;
      fault = "process " + std::to_string(pid) + ": cannot move to " + base::printable(target->path()) + ": " +
              to->where("cgroup.procs") + ": " + std::strerror(done.error().code);
      if (done.error().code == EBUSY)
        fault += ": on v2 a cgroup with controllers enabled for its children cannot contain processes";
      if (done.error().code == ENOSPC) fault += ": its cpuset.cpus or cpuset.mems is empty";
    }
  }
  if (kind != OutcomeKind::done) {
    bool back = true;
    for (auto one = moved.rbegin(); one != moved.rend(); ++one) {
      back = write_file(one->first->fd.get(), "cgroup.procs", std::to_string(one->second)).has_value() && back;
    }
    out = outcome_of(back ? kind : OutcomeKind::partly,
                     fault + (moved.empty() ? ""
                              : back        ? "; earlier moves were undone"
                                            : "; not all processes could be moved back"),
                     kind == OutcomeKind::refused ? "kernel" : "");
  } else {
    UndoEntry entry;
    entry.id = session->id;
    entry.verb = Verb::move;
    entry.path = handle.path();
    entry.cgroup = handle.id();
    entry.route = "cgroupfs";
    entry.created = boottime_now();
    entry.uid = action.actor.uid;
    entry.pids = action.pids;
    entry.target = target->path();
    if (session->undo_log.put(entry)) out.undo = session->id;
    session->undo_log.drop_oldest();
    for (auto& change : out.changes) change.after = change.requested;
  }
  (void)append_audit(*session, "end", action, out);
  return out;
}

std::vector<Writer::LeaseEvent> Writer::expire_leases() {
  std::vector<LeaseEvent> out;
  const auto undo_log = UndoLog::open(options_.state_directory, false);
  if (!undo_log) return out;
  const auto now = boottime_now();
  constexpr std::int64_t helper_grace_ns = 2'000'000'000;  // leave the helper time to end the lease itself
  for (auto& entry : undo_log->all()) {
    if (!entry.is_lease()) continue;
    const bool due = now >= entry.expires + (entry.ended_by_helper ? helper_grace_ns : 0);
    model::Actor actor;
    actor.via = model::Actor::Via::policy;
    actor.uid = ::geteuid();
    actor.pid = ::getpid();
    actor.rule = entry.rule;
    if (entry.verb == Verb::freeze) {
      if (!due) continue;
      auto outcome = undo(entry.id, actor, false, true);
      if (outcome.kind == OutcomeKind::gone) undo_log->remove(entry.id);
      out.push_back({outcome.ok()                        ? LeaseEventKind::ended
                     : outcome.kind == OutcomeKind::gone ? LeaseEventKind::gone
                                                         : LeaseEventKind::failed,
                     entry, outcome});
      continue;
    }
    // A value changed by another program is kept, and the lease ends.
    auto outcome = undo(entry.id, actor, !due, true);
    if (outcome.kind == OutcomeKind::gone) {
      undo_log->remove(entry.id);
      out.push_back({LeaseEventKind::gone, entry, outcome});
    } else if (outcome.guard == "drift") {
      if (!due) outcome = undo(entry.id, actor, false, true);
      out.push_back({LeaseEventKind::lost, entry, outcome});
    } else if (due) {
      out.push_back({outcome.ok() ? LeaseEventKind::ended : LeaseEventKind::failed, entry, outcome});
    }
  }
  return out;
}

}  // namespace cgwarden::control
