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
using Kind = model::Outcome::Kind;

constexpr std::size_t kMaxSettings = 64;
constexpr std::size_t kMaxPids = 4096;

Outcome outcome_of(const Refusal& refusal) { return outcome_of(refusal.kind, refusal.text, refusal.guard); }

Kind kind_of(int code) {
  switch (code) {
    case ENOENT:
    case ENODEV:
    case ESTALE:
      return Kind::gone;
    case EACCES:
    case EPERM:
    case EROFS:
      return Kind::denied;
    case EINVAL:
      return Kind::usage;
    default:
      return Kind::failed;
  }
}

Outcome outcome_of(const base::Error& error) {
  auto out = outcome_of(kind_of(error.code), error.what);
  if (out.kind == Kind::denied) out.text += "; as root, or through the enforcer (cgwarden enforce)";
  return out;
}

// What the kernel means by refusing this write.
std::string explain(const Write& write, int code) {
  const auto where = write.dir->where(write.file);
  auto text = where + " = " + base::printable(base::trim_end(write.text)) + " was refused by the kernel (" +
              std::strerror(code) + ")";
  switch (code) {
    case EBUSY:
      if (write.key.starts_with("memory.") || write.key.starts_with("hugetlb.")) {
        return text + ": the cgroup uses more and it cannot be reclaimed; take more, or free memory first";
      }
      if (write.key.starts_with("cpuset."))
        return text + ": a cgroup below it or its tasks still need what would be taken away";
      return text + ": in use";
    case EINVAL:
      if (write.key.starts_with("cpu.max")) {
        return text + ": on v1 a cgroup may not have more than its parent, nor less than a cgroup below it";
      }
      return text;
    case EACCES:
      if (write.key.starts_with("cpuset.")) return text + ": not within what the parent has";
      return text;
    case ENODEV:
      return text + ": there is no such device";
    case ERANGE:
      return text + ": out of range";
    default:
      return text;
  }
}

model::Change change_of(const Write& write) {
  auto where = write.dir->where(write.file);
  std::string_view asked = base::trim_end(write.text);
  if (!write.device.empty() && asked.starts_with(write.device)) {
    where += '[' + write.device + ']';
    base::take_word(asked);
    asked.remove_prefix(std::min<std::size_t>(1, asked.size()));
  }
  return {std::move(where), write.before, std::string(asked), {}};
}

// What is there afterwards, in the words it was asked in unless the kernel made something else of it.
std::string after_of(const Write& write, const model::Change& change, const std::string& now) {
  const bool same = matches_readback(write, now) && (change.requested == "-1" || change.requested == "0" ||
                                                     change.requested.find('=') != std::string::npos);
  return same ? change.requested : now;
}

base::Monotonic deadline_of(const Action& action) {
  return base::monotonic_now() +
         std::clamp(action.wait.value_or(kWait), std::chrono::milliseconds(0), std::chrono::milliseconds(3'600'000));
}

std::string seconds_text(std::chrono::milliseconds time) {
  auto text = std::to_string(time.count() / 1000);
  if (const auto rest = time.count() % 1000; rest != 0) text += '.' + std::to_string(1000 + rest).substr(1);
  return text + " s";
}

void add(std::string& text, std::string_view more) {
  if (more.empty()) return;
  text += text.empty() ? "" : "; ";
  text += more;
}

// Of several writes to one value the last one counts.
bool is_last(std::span<const Write> writes, std::size_t at) {
  return std::ranges::none_of(writes.subspan(at + 1), [&](const Write& later) {
    const auto& write = writes[at];
    return later.dir == write.dir && later.file == write.file && later.device == write.device && later.key == write.key;
  });
}

constexpr std::string_view kKeepsItsOwn = "does not know of it and may write its own values again";

// Tells the engine what the kernel has now, and has the kernel keep that whatever the engine makes of it. For people:
// how it went.
std::string tell_engine(const EngineContainer& container, const CgroupHandle& place, std::span<const Write> writes) {
  const auto told = tell_limits(container, engine_limits(place, writes));
  for (std::size_t i = 0; i < writes.size(); ++i) {
    const auto now = is_last(writes, i) ? read_back(writes[i]) : writes[i].text;
    if (now && !matches_readback(writes[i], *now))
      (void)write_file(writes[i].dir->fd.get(), writes[i].file, writes[i].text);
  }
  const std::string engine(container.engine);
  return told ? engine + " knows of it" : engine + ' ' + std::string(kKeepsItsOwn) + " (" + told.error().what + ")";
}

}  // namespace

struct Writer::Session {
  base::Fd lock;
  Ledger ledger;
  Audit audit;
  std::string id;
};

base::Result<std::unique_ptr<Writer>> Writer::open(Options options) {
  auto host = cgroup::find_hierarchies(options.paths);
  if (!host) return tl::unexpected(host.error());
  return std::unique_ptr<Writer>(new Writer(std::move(options), std::move(*host)));
}

std::vector<Entry> Writer::entries() const {
  const auto ledger = Ledger::open(options_.state_directory, false);
  return ledger ? ledger->all() : std::vector<Entry>{};
}

std::optional<Outcome> Writer::guard(const Action& action, std::string_view path) const {
  std::vector<pid_t> asking;
  if (action.actor.via != model::Actor::Via::policy && action.actor.pid > 0) asking.push_back(action.actor.pid);
  auto facts = look_at_processes(options_.paths.procfs, asking);
  facts.patterns = options_.protect;
  if (auto guarded = guard_of(facts, action.verb, path)) {
    return outcome_of(Kind::refused, std::move(guarded->text), std::move(guarded->guard));
  }
  return std::nullopt;
}

base::Result<Writer::Session> Writer::begin(const Action& action, const CgroupHandle* place,
                                            const Outcome& planned) const {
  auto ledger = Ledger::open(options_.state_directory, true);
  if (!ledger) return tl::unexpected(ledger.error());
  auto lock = ledger->lock();
  if (!lock) return tl::unexpected(lock.error());
  auto audit = Audit::open(options_.audit_file, options_.journal);
  if (!audit) return tl::unexpected(audit.error());
  Session session{std::move(*lock), std::move(*ledger), std::move(*audit), new_id()};
  if (auto done = session.audit.append(audit_line("begin", session.id, action, planned)); !done) {
    return tl::unexpected(base::Error{ENOSPC, done.error().what +
                                                  ": nothing was done, as it could not be recorded; free "
                                                  "space there"});
  }
  if (place != nullptr && !place->still_there()) {
    return tl::unexpected(base::Error{ESTALE, "the cgroup " + base::printable(place->path()) +
                                                  " was removed or made again just now; nothing was done"});
  }
  return session;
}

base::Result<void> Writer::record(Session& session, std::string_view event, const Action& action, Outcome outcome,
                                  std::string_view undo_of) const {
  outcome.duration = std::chrono::duration_cast<std::chrono::microseconds>(base::monotonic_now() - begun_);
  return session.audit.append(audit_line(event, session.id, action, outcome, undo_of));
}

namespace {

// What begin() says: the audit's full disk is a refusal.
Outcome not_begun(const base::Error& error) {
  if (error.code == ENOSPC) return outcome_of(Kind::refused, error.what, "audit");
  return outcome_of(error);
}

}  // namespace

Checked<std::optional<Unit>> Writer::route_of(const Action& action, const CgroupHandle& place) {
  if (!options_.systemd || !Systemd::is_running() || options_.paths.rootfs != "/") return std::nullopt;
  if (!systemd_) systemd_ = std::make_unique<Systemd>();
  const auto shown = base::printable(place.path());
  auto found = systemd_->unit_of(place.path());
  const bool urgent = action.verb == Verb::freeze || action.verb == Verb::thaw || action.verb == Verb::kill ||
                      action.verb == Verb::signal;
  if (!found) {
    // The bus may hang because of the very trouble that a freeze or a kill would end.
    if (urgent || action.verb == Verb::reclaim) return std::nullopt;
    if (found.error().code == EACCES) return tl::unexpected(Refusal{Kind::denied, {}, found.error().what});
    return tl::unexpected(Refusal{Kind::unreachable,
                                  {},
                                  found.error().what +
                                      ": what it runs is limited through it only; try again (systemctl "
                                      "status must answer)"});
  }
  if (!*found) return std::nullopt;
  if ((*found)->path == place.path()) return std::move(*found);
  if (urgent || action.verb == Verb::reclaim || (*found)->is_slice()) return std::nullopt;
  if (!(*found)->delegated) {
    return refuse("not-delegated", shown + " is inside of " + (*found)->name +
                                       ", which was not delegated (Delegate=yes): "
                                       "systemd is the only one to write there; limit the unit itself");
  }
  if ((*found)->name.starts_with("user@")) {
    return refuse("user-manager",
                  shown + " is managed by the user's own systemd; as that user: systemctl --user set-property");
  }
  return std::nullopt;
}

std::optional<EngineContainer> Writer::engine_of(const CgroupHandle& place, std::string_view else_it,
                                                 std::string& note) const {
  const auto runtime = runtime_of(place.path());
  if (runtime.empty() || options_.paths.rootfs != "/") return std::nullopt;
  auto found = container_of(options_.engines, place.path());
  if (found && *found) return std::move(*found);
  add(note, std::string(runtime) + ' ' + std::string(else_it) + (found ? "" : " (" + found.error().what + ")"));
  return std::nullopt;
}

Outcome Writer::apply(const Action& asked) {
  begun_ = base::monotonic_now();
  auto outcome = act(asked);
  outcome.dry_run = asked.dry_run;
  outcome.duration = std::chrono::duration_cast<std::chrono::microseconds>(base::monotonic_now() - begun_);
  return outcome;
}

Outcome Writer::act(const Action& asked) {
  if (asked.settings.size() > kMaxSettings || asked.pids.size() > kMaxPids) {
    return outcome_of(Kind::usage, "too many settings or processes in one action");
  }
  const auto place = CgroupHandle::open(host_, asked.cgroup);
  if (!place) return outcome_of(place.error());
  auto action = asked;
  action.cgroup.id = place->id();
  if (auto guarded = guard(action, place->path())) return *guarded;
  if (action.verb == Verb::kill && action.actor.via == model::Actor::Via::policy) {
    if (const auto spared = spared_from_kills(*place)) return outcome_of(Kind::refused, spared->text, spared->guard);
  }
  auto unit = route_of(action, *place);
  if (!unit) return outcome_of(unit.error());
  unit_ = std::move(*unit);
  switch (action.verb) {
    case Verb::limit:
      return limit(action, *place);
    case Verb::unlimit:
      return unlimit(action, *place);
    case Verb::freeze:
      return freeze_cgroup(action, *place);
    case Verb::thaw:
      return thaw_cgroup(action, *place);
    case Verb::kill:
      return kill_cgroup(action, *place);
    case Verb::signal:
      return signal_cgroup(action, *place);
    case Verb::reclaim:
      return reclaim_cgroup(action, *place);
    case Verb::move:
      return move_processes(action, *place);
  }
  return outcome_of(Kind::usage, "no such action");
}

Outcome Writer::limit(const Action& action, const CgroupHandle& place) {
  if (action.settings.empty()) return outcome_of(Kind::usage, "nothing to set: say KEY=VALUE, such as memory.max=512M");
  const auto plan = plan_limits(place, action.settings, Machine::look(options_.paths), action.force);
  if (!plan) return outcome_of(plan.error());
  return write_plan(action, place, *plan, {});
}

Outcome Writer::unlimit(const Action& action, const CgroupHandle& place) {
  // What this program set comes back first to what it was before; a key that it never set, to what a fresh cgroup has.
  std::vector<Entry> mine;
  if (const auto ledger = Ledger::open(options_.state_directory, false)) {
    for (auto& entry : ledger->all()) {
      if (entry.verb == Verb::limit && entry.path == place.path() && entry.cgroup == place.id())
        mine.push_back(std::move(entry));
    }
  }
  if (action.settings.empty()) {
    if (mine.empty()) {
      return outcome_of(Kind::refused,
                        base::printable(place.path()) +
                            " has no limit that was set by cgwarden; name the keys "
                            "to take back, such as memory.max",
                        "nothing");
    }
    Outcome all;
    for (auto entry = mine.rbegin(); entry != mine.rend(); ++entry) {  // the latest first
      auto one = restore(*entry, action, false);
      all.changes.insert(all.changes.end(), one.changes.begin(), one.changes.end());
      add(all.text, one.text);
      if (one.kind != Kind::done) {
        all.kind = all.kind == Kind::done && entry == mine.rbegin() ? one.kind : Kind::partly;
        all.guard = one.guard;
      }
    }
    return all;
  }
  auto wanted = default_settings(action.settings);
  if (!wanted) return outcome_of(wanted.error());
  const auto plan = plan_limits(place, *wanted, Machine::look(options_.paths), true);
  if (!plan) return outcome_of(plan.error());
  auto shown = action;
  shown.settings = *wanted;
  return write_plan(shown, place, *plan, {});
}

Outcome Writer::write_plan(const Action& action, const CgroupHandle& place, const WritePlan& plan,
                           std::string_view undo_of) {
  Outcome out;
  out.route = unit_ ? "systemd" : "cgroupfs";
  for (const auto& write : plan.writes) out.changes.push_back(change_of(write));
  out.text = plan.note;
  if (action.persist && !unit_)
    return outcome_of(Kind::usage, "--persist is for units of systemd: " + base::printable(place.path()) +
                                       " is none, and gone with the next boot");
  // What systemd writes itself, and what it knows nothing of.
  std::vector<UnitProperty> properties;
  std::vector<bool> by_unit(plan.writes.size());
  for (std::size_t i = 0; unit_ && i < plan.writes.size(); ++i) {
    for (auto& property : unit_properties(plan.writes[i])) {
      by_unit[i] = true;
      const auto same = std::ranges::find_if(
          properties, [&](const UnitProperty& p) { return p.name == property.name && p.device == property.device; });
      if (same != properties.end()) {
        *same = std::move(property);  // of several steps the last one counts
      } else {
        properties.push_back(std::move(property));
      }
    }
  }
  if (action.dry_run) {
    if (const auto engine = engine_of(place, kKeepsItsOwn, out.text)) {
      add(out.text, std::string(engine->engine) + " would be told");
    }
    return out;
  }

  auto session = begin(action, &place, out);
  if (!session) return not_begun(session.error());
  const auto finish = [&](Outcome end) {
    if (const auto done = record(*session, "end", action, end, undo_of); !done) {
      add(end.text, done.error().what);
    }
    return end;
  };

  Entry entry;
  entry.id = session->id;
  entry.verb = Verb::limit;
  entry.path = place.path();
  entry.cgroup = place.id();
  entry.route = out.route;
  entry.persist = action.persist;
  entry.made = boottime_now();
  entry.uid = action.actor.uid;
  entry.rule = action.actor.rule;
  if (unit_) entry.unit = unit_->name;
  for (const auto& property : properties) {
    const auto before = systemd_->get(*unit_, property.name, property.device);
    if (!before)
      return finish(outcome_of(before.error().code == EACCES ? Kind::denied : Kind::unreachable, before.error().what));
    entry.properties.push_back({property.name, property.device, *before});
  }
  entry.kept_by_helper = !options_.restore_command.empty();
  if (action.lease) entry.expires = entry.made + std::chrono::nanoseconds(*action.lease).count();
  for (auto write = plan.writes.rbegin(); write != plan.writes.rend(); ++write) {  // undone the other way round
    const bool systemds = by_unit[static_cast<std::size_t>(plan.writes.rend() - write - 1)];
    if (write->restore.empty() && !systemds) continue;
    entry.parts.push_back(
        {write->dir->hierarchy->title(), write->file, write->key, write->device, write->restore, {}, systemds});
  }
  if (auto done = session->ledger.put(entry); !done) {
    return finish(
        outcome_of(Kind::refused, done.error().what + ": nothing was done, as it could not be taken back", "ledger"));
  }

  std::size_t written = 0;
  std::string fault;
  auto kind = Kind::done;
  std::vector<std::string> left_there(plan.writes.size());
  if (!properties.empty()) {
    if (const auto done = systemd_->set(*unit_, properties, action.persist); !done) {
      session->ledger.remove(session->id);
      const auto code = done.error().code;
      return finish(outcome_of(code == EACCES                          ? Kind::denied
                               : code == ETIMEDOUT || code == ENOTCONN ? Kind::unreachable
                               : code == ENOENT                        ? Kind::gone
                                                                       : Kind::refused,
                               done.error().what, code == 0 || code == EOPNOTSUPP ? "systemd" : ""));
    }
  }
  for (; written < plan.writes.size(); ++written) {
    const auto& write = plan.writes[written];
    if (by_unit[written]) continue;
    if (const auto done = write_file(write.dir->fd.get(), write.file, write.text); !done) {
      const bool gone = !place.still_there();
      kind = gone ? Kind::gone : kind_of(done.error().code);
      // Whatever the kernel says no to, nobody has mistyped: the plan would have seen that.
      if (!gone && kind != Kind::denied) kind = Kind::refused;
      fault = gone ? "the cgroup " + base::printable(place.path()) + " was removed meanwhile"
                   : explain(write, done.error().code);
      break;
    }
  }
  if (kind == Kind::done) {
    if (const auto engine = engine_of(place, kKeepsItsOwn, out.text)) {
      add(out.text, tell_engine(*engine, place, plan.writes));
    }
    for (std::size_t i = 0; i < plan.writes.size(); ++i) {
      const auto& write = plan.writes[i];
      const bool last = is_last(plan.writes, i);
      auto after = read_back(write);
      // systemd answers first and writes then.
      for (const auto end = base::monotonic_now() + std::chrono::seconds(3);
           by_unit[i] && last && after && !matches_readback(write, *after) && base::monotonic_now() < end;
           after = read_back(write)) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      left_there[i] = after ? *after : "";
      out.changes[i].after = after_of(write, out.changes[i], left_there[i]);
      if (!last) continue;
      if (!after) {
        kind = place.still_there() ? Kind::failed : Kind::gone;
        fault = after.error().what;
      } else if (!matches_readback(write, *after)) {
        kind = Kind::failed;
        fault = write.dir->where(write.file) + " was accepted, but the kernel has " + base::printable(*after);
      }
    }
  }
  if (kind != Kind::done) {
    std::string left;
    if (!properties.empty() && kind != Kind::gone) {
      if (const auto done = systemd_->set(*unit_, entry.properties, action.persist); !done)
        add(left, done.error().what);
    }
    for (std::size_t i = written; i-- > 0;) {
      const auto& write = plan.writes[i];
      if (by_unit[i]) continue;
      if (write.restore.empty() || !write_file(write.dir->fd.get(), write.file, write.restore))
        add(left, write.dir->where(write.file));
    }
    session->ledger.remove(session->id);
    auto end = outcome_of(left.empty() || kind == Kind::gone ? kind : Kind::partly,
                          fault + ((written == 0 && properties.empty()) || kind == Kind::gone ? ""
                                   : left.empty() ? "; what was written before was taken back"
                                                  : "; could not be taken back: " + left),
                          kind == Kind::refused ? "kernel" : "");
    if (end.kind == Kind::denied) end.text += "; as root, or through the enforcer (cgwarden enforce)";
    end.route = out.route;
    if (end.kind == Kind::partly) end.changes = out.changes;
    return finish(end);
  }

  for (auto& part : entry.parts) {
    for (std::size_t i = 0; i < plan.writes.size(); ++i) {
      const auto& write = plan.writes[i];
      if (write.dir->hierarchy->title() == part.hierarchy && write.file == part.file && write.device == part.device &&
          write.key == part.key) {
        part.after = left_there[i];
      }
    }
  }
  const bool can_undo = !entry.parts.empty();
  if (!can_undo) {
    session->ledger.remove(session->id);
    add(out.text, "cannot be undone");
  } else {
    (void)session->ledger.put(entry);
    session->ledger.forget_oldest();
    out.undo = session->id;
    if (entry.is_lease()) {
      add(out.text, "for " + seconds_text(*action.lease));
      if (entry.kept_by_helper) {
        auto command = options_.restore_command;
        command.push_back(session->id);
        const auto started =
            start_restorer(session->ledger, {session->id, entry.expires, false, {}, -1, {}, {}}, command);
        if (!started) add(out.text, started.error().what + ": take it back by hand, cgtop undo " + session->id);
      }
    }
  }
  return finish(out);
}

Outcome Writer::restore(const Entry& entry, const Action& as, bool lease_ended) {
  auto action = as;
  action.verb = Verb::unlimit;
  action.cgroup = {entry.path, entry.cgroup};
  const auto place = CgroupHandle::open(host_, action.cgroup);
  if (!place) {
    if (const auto ledger = Ledger::open(options_.state_directory, false); ledger && !as.dry_run)
      ledger->remove(entry.id);
    return outcome_of(place.error());
  }
  WritePlan plan;
  std::vector<bool> by_unit;
  std::string drifted;
  for (const auto& part : entry.parts) {
    const auto dir = std::ranges::find_if(
        place->dirs(), [&](const CgroupHandle::Dir& d) { return d.hierarchy->title() == part.hierarchy; });
    if (dir == place->dirs().end()) continue;
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
    // Several parts may be steps of one value; the first one, which is undone first, has what was left there.
    const bool first = std::none_of(plan.writes.begin(), plan.writes.end(), [&](const Write& w) {
      return w.dir == write.dir && w.file == write.file && w.device == write.device;
    });
    if (first && !part.after.empty() && *now != part.after)
      add(drifted,
          write.dir->where(part.file) + " is " + base::printable(*now) + ", not " + base::printable(part.after));
    by_unit.push_back(part.by_unit);
    plan.writes.push_back(std::move(write));
  }
  if (!drifted.empty()) {
    auto out = outcome_of(
        Kind::refused, base::printable(entry.path) + ": somebody has changed it since: " + drifted + "; left as it is",
        "drift");
    if (!as.dry_run) {
      if (auto session = begin(action, nullptr, out)) {
        (void)record(*session, "lease_lost", action, out, entry.id);
        session->ledger.remove(entry.id);
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
    auto routed = route_of(action, *place);
    if (!routed) return outcome_of(routed.error());
    unit = std::move(*routed);
    if (!unit || unit->name != entry.unit) {
      return outcome_of(
          Kind::refused,
          base::printable(entry.path) + " is not the cgroup of " + base::printable(entry.unit) + " any more",
          "systemd");
    }
  }
  auto session = begin(action, &*place, out);
  if (!session) return not_begun(session.error());
  std::size_t written = 0;
  if (unit) {
    if (const auto done = systemd_->set(*unit, entry.properties, entry.persist); !done) {
      out.kind = done.error().code == ETIMEDOUT || done.error().code == ENOTCONN ? Kind::unreachable : Kind::refused;
      if (out.kind == Kind::refused) out.guard = "systemd";
      out.text = done.error().what;
      (void)record(*session, "end", action, out, entry.id);
      return out;
    }
  }
  for (std::size_t i = 0; i < plan.writes.size(); ++i) {
    const auto& write = plan.writes[i];
    if (by_unit[i]) {
      auto now = read_back(write);
      // Several steps end in the last one's value, which is what was there in the beginning; whoever was quick sees it.
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
      out.kind = written == 0 ? Kind::refused : Kind::partly;
      out.guard = "kernel";
      add(out.text, explain(write, done.error().code));
      continue;
    }
    ++written;
    out.changes[i].after = after_of(write, out.changes[i], read_back(write).value_or(""));
  }
  if (out.ok()) {
    session->ledger.remove(entry.id);
    add(out.text, base::printable(entry.path) + ": what was set before is back");
    if (const auto engine = engine_of(*place, kKeepsItsOwn, out.text)) {
      add(out.text, tell_engine(*engine, *place, plan.writes));
    }
  }
  (void)record(*session, lease_ended ? "lease_end" : "end", action, out, entry.id);
  return out;
}

Outcome Writer::undo(const std::string& id, const model::Actor& actor, bool dry_run, bool lease_ended) {
  const auto ledger = Ledger::open(options_.state_directory, false);
  if (!ledger)
    return ledger.error().code == ENOENT ? outcome_of(Kind::gone, "there is nothing to undo")
                                         : outcome_of(ledger.error());
  std::optional<Entry> entry;
  if (id.empty()) {
    auto all = ledger->all();
    if (!all.empty()) entry = std::move(all.back());
  } else {
    entry = ledger->find(id);
  }
  if (!entry) {
    return outcome_of(Kind::gone, id.empty() ? "there is nothing to undo"
                                             : "there is nothing to undo with the id " + base::printable(id) +
                                                   " (undone already, or its time was up)");
  }
  Action action;
  action.actor = actor;
  action.dry_run = dry_run;
  action.cgroup = {entry->path, entry->cgroup};
  begun_ = base::monotonic_now();
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
        ledger->remove(entry->id);
        if (!out.undo.empty()) ledger->remove(out.undo);
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
    if (out.ok()) add(out.text, "takes back: " + std::string(name(entry->verb)) + ' ' + base::printable(entry->path));
  }
  out.duration = std::chrono::duration_cast<std::chrono::microseconds>(base::monotonic_now() - begun_);
  return out;
}

Outcome Writer::freeze_cgroup(const Action& action, const CgroupHandle& place) {
  const auto shown = base::printable(place.path());
  const auto time = action.lease.value_or(kFreezeFor);
  if (time <= std::chrono::milliseconds(0) || time > kMaxFreeze) {
    return outcome_of(Kind::usage, "a freeze lasts from 1ms to 1h, so that no cgroup is forgotten");
  }
  const auto state = freeze_state(place);
  if (state.above) {
    return outcome_of(Kind::refused,
                      shown + " is frozen already, as " + base::printable(state.ancestor) +
                          " above it is; a thaw of it alone "
                          "would change nothing",
                      "frozen-ancestor");
  }
  std::vector<Entry> mine;
  if (const auto ledger = Ledger::open(options_.state_directory, false)) {
    for (auto& entry : ledger->all()) {
      if (entry.verb == Verb::freeze && entry.path == place.path() && entry.cgroup == place.id())
        mine.push_back(std::move(entry));
    }
  }
  if (state.self && mine.empty()) {
    return outcome_of(Kind::refused, shown + " was frozen by somebody else; whoever did it thaws it (or cgtop thaw)",
                      "frozen");
  }
  if (unit_ && unit_->watchdog_us > 0 && std::chrono::microseconds(time).count() > unit_->watchdog_us / 3) {
    return outcome_of(Kind::refused,
                      unit_->name + " has a watchdog of " + std::to_string(unit_->watchdog_us / 1000) +
                          " ms, after which systemd would kill it; freeze it for at most " +
                          std::to_string(unit_->watchdog_us / 3000) + "ms",
                      "watchdog");
  }
  Outcome out;
  auto engine = engine_of(place, "will still show it as running", out.text);
  const auto freezers = plan_freeze(place, !runtime_of(place.path()).empty());
  if (!freezers) return outcome_of(freezers.error());
  // Of a slice systemd freezes each unit for itself, so that one of them may stay behind; the kernel freezes the whole.
  const bool by_systemd = !engine && unit_ && !unit_->is_slice() && freezers->v2 != nullptr && freezers->v1 == nullptr;
  out.route = engine ? engine->engine : by_systemd ? "systemd" : "cgroupfs";
  if (freezers->v2 != nullptr)
    out.changes.push_back({freezers->v2->where("cgroup.freeze"), state.self ? "1" : "0", "1", {}});
  if (freezers->v1 != nullptr)
    out.changes.push_back({freezers->v1->where("freezer.state"), state.self ? "FROZEN" : "THAWED", "FROZEN", {}});
  add(out.text, "for " + seconds_text(time));
  const auto members = place.members();
  out.processes = static_cast<std::int64_t>(members.pids.size() + members.foreign);
  if (action.dry_run) return out;

  auto session = begin(action, &place, out);
  if (!session) return not_begun(session.error());
  const auto finish = [&](Outcome end) {
    if (const auto done = record(*session, "end", action, end); !done) add(end.text, done.error().what);
    return end;
  };
  Entry entry;
  entry.id = session->id;
  entry.verb = Verb::freeze;
  entry.path = place.path();
  entry.cgroup = place.id();
  entry.route = "cgroupfs";
  entry.made = boottime_now();
  entry.expires = entry.made + std::chrono::nanoseconds(time).count();
  entry.kept_by_helper = true;
  entry.uid = action.actor.uid;
  entry.rule = action.actor.rule;
  if (session->ledger.all().size() >= Ledger::kMaxLeases) {
    return finish(
        outcome_of(Kind::refused, "there are " + std::to_string(Ledger::kMaxLeases) + " leases already", "leases"));
  }
  if (const auto done = session->ledger.put(entry); !done) {
    return finish(
        outcome_of(Kind::refused, done.error().what + ": nothing was frozen, as it might never be thawed", "ledger"));
  }
  DeadMan deadman;
  deadman.lease = session->id;
  deadman.expires = entry.expires;
  deadman.with_owner = options_.freeze_ends_with_us;
  deadman.audit_fd = session->audit.fd();
  if (by_systemd) deadman.unit = unit_->name;
  deadman.engine = engine;
  auto thawed = action;
  thawed.verb = Verb::thaw;
  auto ended = Outcome{};
  ended.text = "the freeze's time was up, or who asked for it had ended";
  deadman.audit_line = audit_line("thaw", session->id, thawed, ended, session->id);
  deadman.audit_line.erase(0, deadman.audit_line.find(',') + 1);  // its time comes when it is written
  if (const auto started = start_thawer(session->ledger, *freezers, deadman); !started) {
    session->ledger.remove(session->id);
    return finish(
        outcome_of(Kind::refused, started.error().what + ": nothing was frozen, as it might never be thawed", "timer"));
  }
  // The older lease of this program ends here: this one has its own time.
  const auto drop_older = [&] {
    for (const auto& old : mine) session->ledger.remove(old.id);
  };
  const auto deadline = deadline_of(action);
  if ((by_systemd || engine) && !state.self) {
    // Whether it did is seen from the kernel. If it cannot, or has no time, the kernel is told directly.
    const auto wait =
        std::clamp(action.wait.value_or(kWait), std::chrono::milliseconds(1), std::chrono::milliseconds(2000));
    if (const auto told = engine ? pause(*engine, wait) : systemd_->freeze(*unit_, wait); !told) {
      out.route = "cgroupfs";
      add(out.text, told.error().what);
    }
  }
  const auto done = freeze(*freezers, deadline);
  if (!done || !*done) {
    std::string tasks;
    std::size_t named = 0;
    for (const auto pid : place.members().pids) {
      if (++named > 5) break;
      add(tasks, "pid " + std::to_string(pid));
    }
    if (by_systemd) (void)systemd_->thaw(*unit_);
    if (engine) (void)unpause(*engine);
    (void)thaw(place);
    session->ledger.remove(session->id);
    drop_older();
    if (!done && !place.still_there())
      return finish(outcome_of(Kind::gone, "the cgroup " + shown + " was removed meanwhile"));
    if (!done) return finish(outcome_of(kind_of(done.error().code), done.error().what));
    return finish(
        outcome_of(Kind::timeout, shown + " did not freeze within " + seconds_text(action.wait.value_or(kWait)) +
                                      " and was thawed again; among its tasks, some stuck in the kernel: " + tasks));
  }
  drop_older();
  for (auto& change : out.changes) change.after = change.requested;
  out.undo = session->id;
  return finish(out);
}

Outcome Writer::thaw_cgroup(const Action& action, const CgroupHandle& place) {
  const auto shown = base::printable(place.path());
  const auto state = freeze_state(place);
  Outcome out;
  out.route = "cgroupfs";
  if (!state.self && state.above) {
    return outcome_of(Kind::refused,
                      shown + " is frozen because " + base::printable(state.ancestor) + " above it is; thaw that",
                      "frozen-ancestor");
  }
  for (const auto& dir : place.dirs()) {
    const bool v1 = dir.hierarchy->has("freezer") && !dir.is_v2();
    if (!v1 && !dir.is_v2()) continue;
    const auto own = read_file(dir.fd.get(), v1 ? "freezer.self_freezing" : "cgroup.freeze");
    if (!own || base::trim_end(*own) != "1") continue;
    out.changes.push_back(
        {dir.where(v1 ? "freezer.state" : "cgroup.freeze"), v1 ? "FROZEN" : "1", v1 ? "THAWED" : "0", {}});
  }
  if (action.dry_run) return out;
  auto session = begin(action, &place, out);
  // A thaw is due also when it cannot be recorded.
  if (!session && session.error().code != ENOSPC) return not_begun(session.error());
  std::string unused;
  const auto engine = engine_of(place, "", unused);
  if (engine && engine->paused && unpause(*engine)) {
    out.route = engine->engine;
  } else if (unit_ && state.self && systemd_->thaw(*unit_)) {
    out.route = "systemd";
  }
  const auto done = thaw(place);  // whatever systemd has made of it
  if (!done) {
    out = outcome_of(done.error());
  } else {
    for (auto& change : out.changes) change.after = change.requested;
    if (state.above) {
      out.kind = Kind::partly;
      out.text = shown + " itself is thawed, but it stays frozen because " + base::printable(state.ancestor) +
                 " above it is; thaw that";
    } else if (!state.self) {
      out.text = shown + " was not frozen";
    }
  }
  if (session) {
    if (out.ok() || out.kind == Kind::partly) {
      for (const auto& entry : session->ledger.all()) {
        if (entry.verb == Verb::freeze && entry.path == place.path()) session->ledger.remove(entry.id);
      }
    }
    (void)record(*session, "end", action, out);
  } else {
    add(out.text, session.error().what);
  }
  return out;
}

Outcome Writer::kill_cgroup(const Action& action, const CgroupHandle& place) {
  const auto shown = base::printable(place.path());
  Outcome out;
  out.route = unit_ ? "systemd" : "cgroupfs";
  const auto members = place.members();
  out.processes = static_cast<std::int64_t>(members.pids.size() + members.foreign);
  out.text = std::to_string(out.processes) + (out.processes == 1 ? " process in " : " processes in ") +
             std::to_string(members.cgroups) + (members.cgroups == 1 ? " cgroup" : " cgroups");
  if (action.dry_run) return out;
  auto session = begin(action, &place, out);
  if (!session) return not_begun(session.error());
  const auto finish = [&](Outcome end) {
    end.route = out.route;
    if (const auto done = record(*session, "end", action, end); !done) add(end.text, done.error().what);
    return end;
  };
  if (action.signal > 0 && action.signal != SIGKILL) {
    const bool told = unit_ && systemd_->kill(*unit_, action.signal);
    const auto sent =
        told ? Signalled{1, 0, 0} : signal_each(place, options_.paths.procfs, members.pids, action.signal);
    if (sent.refused > 0 && sent.sent == 0)
      return finish(outcome_of(Kind::denied, "no right to signal the processes of " + shown));
    if (wait_until_empty(place, base::monotonic_now() + std::min(action.grace, std::chrono::milliseconds(3'600'000)))) {
      out.text = std::to_string(out.processes) + " processes ended by the signal " + std::to_string(action.signal);
      return finish(out);
    }
  }
  if (unit_) (void)systemd_->kill(*unit_, SIGKILL);  // so that it knows; then the kernel, which misses nobody
  const auto ended = kill_all(place, options_.paths.procfs, deadline_of(action));
  if (!ended) return finish(outcome_of(ended.error()));
  if (!ended->left.empty() || ended->foreign > 0) {
    std::string left;
    for (std::size_t i = 0; i < std::min<std::size_t>(ended->left.size(), 5); ++i)
      add(left, "pid " + std::to_string(ended->left[i]));
    auto end = outcome_of(Kind::timeout, std::to_string(ended->left.size() + ended->foreign) + " processes of " +
                                             shown + " are still there, stuck in the kernel: " + left);
    end.processes = out.processes;
    return finish(end);
  }
  // A freeze of what is dead needs no end.
  for (const auto& entry : session->ledger.all()) {
    if (entry.verb == Verb::freeze && entry.path == place.path() && entry.cgroup == place.id())
      session->ledger.remove(entry.id);
  }
  out.text = std::to_string(out.processes) + (out.processes == 1 ? " process" : " processes") + " killed";
  return finish(out);
}

Outcome Writer::signal_cgroup(const Action& action, const CgroupHandle& place) {
  if (action.signal <= 0 || action.signal >= NSIG)
    return outcome_of(Kind::usage, "which signal? 1 to " + std::to_string(NSIG - 1));
  auto pids = place.members().pids;
  if (!action.pids.empty()) {
    std::set<pid_t> wanted;
    for (const auto pid : action.pids) {
      if (!pids.contains(pid)) {
        return outcome_of(Kind::gone, "process " + std::to_string(pid) + " is not in " + base::printable(place.path()) +
                                          " (any more)");
      }
      wanted.insert(pid);
    }
    pids = std::move(wanted);
  }
  Outcome out;
  out.route = "cgroupfs";
  out.processes = static_cast<std::int64_t>(pids.size());
  if (action.dry_run) return out;
  auto session = begin(action, &place, out);
  if (!session) return not_begun(session.error());
  const auto sent = signal_each(place, options_.paths.procfs, pids, action.signal);
  out.processes = static_cast<std::int64_t>(sent.sent);
  if (sent.refused > 0) {
    out.kind = sent.sent == 0 ? Kind::denied : Kind::partly;
    out.text =
        "no right to signal " + std::to_string(sent.refused) + " of " + std::to_string(pids.size()) + " processes";
  } else if (sent.sent == 0) {
    out.kind = Kind::gone;
    out.text = "no process was there any more";
  } else {
    out.text = "signal " + std::to_string(action.signal) + " to " + std::to_string(sent.sent) +
               (sent.sent == 1 ? " process" : " processes");
  }
  (void)record(*session, "end", action, out);
  return out;
}

Outcome Writer::reclaim_cgroup(const Action& action, const CgroupHandle& place) {
  if (action.bytes <= 0) return outcome_of(Kind::usage, "how much? a size such as 256M");
  Outcome out;
  out.route = "cgroupfs";
  const auto* const dir = place.of_controller("memory");
  if (dir == nullptr || !dir->is_v2()) {
    const auto why = reclaim(place, 0, base::monotonic_now());
    return why ? out : outcome_of(why.error());
  }
  out.changes.push_back({"memory.reclaim", {}, std::to_string(action.bytes), {}});
  if (action.dry_run) return out;
  auto session = begin(action, &place, out);
  if (!session) return not_begun(session.error());
  const auto done = reclaim(place, action.bytes, deadline_of(action));
  if (!done) {
    out = outcome_of(done.error());
  } else {
    out.bytes = done->bytes;
    out.text = "the cgroup uses " + show_bytes(done->bytes) + " less";
    if (!done->all) {
      out.kind = Kind::partly;
      out.text += "; more was not to be had";
    }
  }
  (void)record(*session, "end", action, out);
  return out;
}

Outcome Writer::move_processes(const Action& action, const CgroupHandle& place) {
  if (action.pids.empty()) return outcome_of(Kind::usage, "which processes?");
  const auto target = CgroupHandle::open(host_, action.target);
  if (!target) return outcome_of(target.error());
  auto there = action;
  there.verb = Verb::move;
  if (auto guarded = guard(there, target->path())) return *guarded;
  for (const auto pid : action.pids) {
    if (pid <= 1 || !place.has(options_.paths.procfs, pid)) {
      return outcome_of(
          Kind::gone, "process " + std::to_string(pid) + " is not in " + base::printable(place.path()) + " (any more)");
    }
  }
  Outcome out;
  out.route = "cgroupfs";
  out.processes = static_cast<std::int64_t>(action.pids.size());
  // Only in hierarchies where both are: elsewhere the process stays where it is.
  std::vector<std::pair<const CgroupHandle::Dir*, const CgroupHandle::Dir*>> pairs;
  for (const auto& to : target->dirs()) {
    for (const auto& from : place.dirs()) {
      if (from.hierarchy == to.hierarchy) pairs.emplace_back(&from, &to);
    }
  }
  for (const auto& [from, to] : pairs)
    out.changes.push_back({to->where("cgroup.procs"), place.path(), target->path(), {}});
  if (unit_ && !unit_->delegated) {
    return outcome_of(Kind::refused,
                      base::printable(place.path()) + " is " + unit_->name + ", whose processes are systemd's to place",
                      "not-delegated");
  }
  if (pairs.empty()) return outcome_of(Kind::refused, "the two cgroups are in no common hierarchy", "controller");
  if (action.dry_run) return out;
  auto session = begin(action, &place, out);
  if (!session) return not_begun(session.error());
  std::vector<std::pair<const CgroupHandle::Dir*, pid_t>> moved;
  std::string fault;
  auto kind = Kind::done;
  for (const auto pid : action.pids) {
    for (const auto& [from, to] : pairs) {
      if (!fault.empty() || !place.members(*from).pids.contains(pid)) continue;
      const auto done = write_file(to->fd.get(), "cgroup.procs", std::to_string(pid));
      if (done) {
        moved.emplace_back(from, pid);
        continue;
      }
      kind = done.error().code == ESRCH ? Kind::gone : kind_of(done.error().code);
      if (kind == Kind::failed || kind == Kind::usage) kind = Kind::refused;
      fault = "process " + std::to_string(pid) + ": " + to->where("cgroup.procs") + " of " +
              base::printable(target->path()) + ": " + std::strerror(done.error().code);
      if (done.error().code == EBUSY)
        fault += ": on v2 a cgroup with controllers switched on for its children can have no processes";
      if (done.error().code == ENOSPC) fault += ": its cpuset.cpus or cpuset.mems are empty";
    }
  }
  if (kind != Kind::done) {
    bool back = true;
    for (auto one = moved.rbegin(); one != moved.rend(); ++one) {
      back = write_file(one->first->fd.get(), "cgroup.procs", std::to_string(one->second)).has_value() && back;
    }
    out = outcome_of(back ? kind : Kind::partly,
                     fault + (moved.empty() ? ""
                              : back        ? "; what was moved before is back"
                                            : "; not all could be moved back"),
                     kind == Kind::refused ? "kernel" : "");
  } else {
    Entry entry;
    entry.id = session->id;
    entry.verb = Verb::move;
    entry.path = place.path();
    entry.cgroup = place.id();
    entry.route = "cgroupfs";
    entry.made = boottime_now();
    entry.uid = action.actor.uid;
    entry.pids = action.pids;
    entry.target = target->path();
    if (session->ledger.put(entry)) out.undo = session->id;
    session->ledger.forget_oldest();
    for (auto& change : out.changes) change.after = change.requested;
  }
  (void)record(*session, "end", action, out);
  return out;
}

std::vector<Writer::LeaseEvent> Writer::tend() {
  std::vector<LeaseEvent> out;
  const auto ledger = Ledger::open(options_.state_directory, false);
  if (!ledger) return out;
  const auto now = boottime_now();
  constexpr std::int64_t helpers_grace = 2'000'000'000;  // it is the helper's as long as it may be about to do it
  for (auto& entry : ledger->all()) {
    if (!entry.is_lease()) continue;
    const bool due = now >= entry.expires + (entry.kept_by_helper ? helpers_grace : 0);
    model::Actor actor;
    actor.via = model::Actor::Via::policy;
    actor.uid = ::geteuid();
    actor.pid = ::getpid();
    actor.rule = entry.rule;
    if (entry.verb == Verb::freeze) {
      if (!due) continue;
      auto outcome = undo(entry.id, actor, false, true);
      if (outcome.kind == Kind::gone) ledger->remove(entry.id);
      out.push_back({outcome.ok()                 ? LeaseEvent::What::ended
                     : outcome.kind == Kind::gone ? LeaseEvent::What::gone
                                                  : LeaseEvent::What::failed,
                     entry, outcome});
      continue;
    }
    // Somebody else's value is theirs: the lease ends when it is seen.
    auto outcome = undo(entry.id, actor, !due, true);
    if (outcome.kind == Kind::gone) {
      ledger->remove(entry.id);
      out.push_back({LeaseEvent::What::gone, entry, outcome});
    } else if (outcome.guard == "drift") {
      if (!due) outcome = undo(entry.id, actor, false, true);
      out.push_back({LeaseEvent::What::lost, entry, outcome});
    } else if (due) {
      out.push_back({outcome.ok() ? LeaseEvent::What::ended : LeaseEvent::What::failed, entry, outcome});
    }
  }
  return out;
}

}  // namespace cgwarden::control
