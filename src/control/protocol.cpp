// SPDX-License-Identifier: Apache-2.0
#include "src/control/protocol.h"

#include <signal.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "src/base/text.h"
#include "src/control/json_bytes.h"

namespace cgwarden::control {
namespace {

using Json = nlohmann::json;
using model::Action;
using model::Outcome;

constexpr std::size_t kMaxItems = 4096;

// Takes the known keys of an object one by one; a key that remains is unknown.
class JsonObject {
 public:
  JsonObject(const Json& json, std::string where) : where_(std::move(where)) {
    if (!json.is_object()) fail("must be an object");
    rest_ = json;
  }
  std::optional<Json> take(const char* key) {
    const auto at = rest_.find(key);
    if (at == rest_.end()) return std::nullopt;
    Json value = std::move(*at);
    rest_.erase(at);
    return value;
  }
  std::string text(const char* key, std::size_t max_size = 4096) {
    const auto value = take(key);
    if (!value) return {};
    if (!value->is_string() &&
        !(value->is_object() && value->size() == 1 && value->contains("bytes") && (*value)["bytes"].is_array())) {
      fail(std::string(key) + ": must be a string");
    }
    auto out = bytes_from_json(*value);
    if (out.size() > max_size) fail(std::string(key) + ": must be at most " + std::to_string(max_size) + " bytes");
    return out;
  }
  std::int64_t number(const char* key, std::int64_t lowest, std::int64_t highest, std::int64_t default_value = 0) {
    const auto value = take(key);
    if (!value) return default_value;
    return in_range(*value, key, lowest, highest);
  }
  std::uint64_t id(const char* key) {
    const auto value = take(key);
    if (!value) return 0;
    if (!value->is_number_unsigned()) fail(std::string(key) + ": must be a non-negative integer");
    return value->get<std::uint64_t>();
  }
  bool flag(const char* key) {
    const auto value = take(key);
    if (!value) return false;
    if (!value->is_boolean()) fail(std::string(key) + ": must be true or false");
    return value->get<bool>();
  }
  Json list(const char* key) {
    auto value = take(key);
    if (!value) return Json::array();
    if (!value->is_array() || value->size() > kMaxItems)
      fail(std::string(key) + ": must be a list of at most " + std::to_string(kMaxItems) + " items");
    return std::move(*value);
  }
  void check_no_unknown_keys() {
    if (!rest_.empty()) fail("unknown key '" + base::printable(rest_.begin().key()) + "'");
  }
  std::int64_t in_range(const Json& value, const char* key, std::int64_t lowest, std::int64_t highest) {
    const bool fits =
        value.is_number_integer() &&
        (!value.is_number_unsigned() || value.get<std::uint64_t>() <= std::numeric_limits<std::int64_t>::max());
    const auto number = fits ? value.get<std::int64_t>() : 0;
    if (!fits || number < lowest || number > highest) {
      fail(std::string(key) + ": must be an integer from " + std::to_string(lowest) + " to " + std::to_string(highest));
    }
    return number;
  }
  [[noreturn]] void fail(const std::string& what) const { throw std::invalid_argument(where_ + ": " + what); }

 private:
  std::string where_;
  Json rest_;
};

constexpr std::int64_t kMaxMilliseconds = 30LL * 86'400'000;
constexpr std::int64_t kMaxNumber = std::numeric_limits<std::int64_t>::max() / 2;

Json json_of(const Action& action) {
  Json out{{"verb", model::name(action.verb)}, {"path", bytes_to_json(action.cgroup.path)}, {"id", action.cgroup.id}};
  auto settings = Json::array();
  for (const auto& setting : action.settings) {
    const auto text = model::to_text(setting);
    Json one{{"key", setting.key}, {"value", text.substr(text.rfind('=') + 1)}};
    if (!setting.device.empty()) one["device"] = bytes_to_json(setting.device);
    if (setting.at_least.is_number()) one["at_least"] = setting.at_least.fixed();
    if (setting.at_most.is_number()) one["at_most"] = setting.at_most.fixed();
    settings.push_back(std::move(one));
  }
  if (!settings.empty()) out["settings"] = std::move(settings);
  if (action.lease) out["lease_ms"] = action.lease->count();
  if (action.wait) out["wait_ms"] = action.wait->count();
  if (action.signal != 0) out["signal"] = action.signal;
  if (action.grace.count() != 0) out["grace_ms"] = action.grace.count();
  if (action.bytes != 0) out["bytes"] = action.bytes;
  if (!action.pids.empty()) out["pids"] = action.pids;
  if (!action.target.path.empty()) {
    out["target_path"] = bytes_to_json(action.target.path);
    out["target_id"] = action.target.id;
  }
  if (action.force) out["force"] = true;
  if (action.persist) out["persist"] = true;
  if (action.dry_run) out["dry_run"] = true;
  if (!action.reason.text.empty()) out["reason"] = bytes_to_json(action.reason.text);
  return out;
}

Action parse_action(const Json& json) {
  JsonObject object(json, "apply");
  Action action;
  const auto verb = model::verb_of(object.text("verb", 16));
  if (!verb) object.fail("verb: must be one of limit, unlimit, freeze, thaw, kill, signal, reclaim, move");
  action.verb = *verb;
  action.cgroup.path = object.text("path");
  if (action.cgroup.path.empty()) object.fail("path: required");
  action.cgroup.id = object.id("id");
  for (const auto& one : object.list("settings")) {
    JsonObject setting(one, "settings");
    const auto key = setting.text("key", 64);
    const auto device = setting.text("device");
    auto value = setting.take("value");
    base::Result<model::Setting> parsed;
    if (action.verb == model::Verb::unlimit && (!value || value->empty())) {
      if (model::find_setting_key(key) == nullptr) setting.fail("unknown key '" + base::printable(key) + "'");
      parsed = model::Setting{key, device, {}, {}, {}, {}, {}};
    } else {
      if (!value || !value->is_string()) setting.fail("value: must be a string");
      parsed = model::parse_setting(key, device, value->get<std::string>());
    }
    if (!parsed) setting.fail(parsed.error().what);
    if (const auto bound = setting.take("at_least"))
      parsed->at_least = model::Value::of(setting.in_range(*bound, "at_least", 0, kMaxNumber));
    if (const auto bound = setting.take("at_most"))
      parsed->at_most = model::Value::of(setting.in_range(*bound, "at_most", 0, kMaxNumber));
    setting.check_no_unknown_keys();
    action.settings.push_back(std::move(*parsed));
  }
  if (const auto lease = object.take("lease_ms"))
    action.lease = std::chrono::milliseconds(object.in_range(*lease, "lease_ms", 1, kMaxMilliseconds));
  if (const auto wait = object.take("wait_ms"))
    action.wait = std::chrono::milliseconds(object.in_range(*wait, "wait_ms", 0, 3'600'000));
  action.signal = static_cast<int>(object.number("signal", 1, NSIG - 1));
  action.grace = std::chrono::milliseconds(object.number("grace_ms", 0, 3'600'000));
  action.bytes = object.number("bytes", 1, kMaxNumber);
  for (const auto& pid : object.list("pids")) {
    action.pids.push_back(static_cast<pid_t>(object.in_range(pid, "pids", 1, std::numeric_limits<pid_t>::max())));
  }
  action.target.path = object.text("target_path");
  action.target.id = object.id("target_id");
  action.force = object.flag("force");
  action.persist = object.flag("persist");
  action.dry_run = object.flag("dry_run");
  action.reason.text = object.text("reason", 1024);
  object.check_no_unknown_keys();
  return action;
}

Json parse_line(std::string_view line) {
  if (line.size() > kMaxLine) throw std::invalid_argument("line: must be at most 64 KiB");
  return Json::parse(line);
}

void check_version(JsonObject& object) {
  const auto version = object.number("version", 0, 1'000'000, 0);
  if (version != kProtocolVersion) {
    object.fail("version " + std::to_string(version) + ": unsupported; expected " + std::to_string(kProtocolVersion) +
                " (use cgtop and cgwarden of the same release)");
  }
}

std::string dump(const Json& json) { return json.dump(-1, ' ', true, Json::error_handler_t::replace); }

}  // namespace

std::string to_json(const Request& request) {
  Json out{{"version", kProtocolVersion}};
  if (request.kind == RequestKind::undo) {
    out["undo"] = request.undo;
    if (request.dry_run) out["dry_run"] = true;
  } else {
    out["apply"] = json_of(request.action);
  }
  return dump(out);
}

std::string to_json(const Outcome& outcome) {
  Json one{{"kind", model::name(outcome.kind)},
           {"exit_code", model::exit_code(outcome.kind)},
           {"text", bytes_to_json(outcome.text)},
           {"duration_us", outcome.duration.count()}};
  if (!outcome.guard.empty()) one["guard"] = outcome.guard;
  if (!outcome.route.empty()) one["route"] = outcome.route;
  if (!outcome.undo.empty()) one["undo"] = outcome.undo;
  if (outcome.processes != 0) one["processes"] = outcome.processes;
  if (outcome.bytes != 0) one["bytes"] = outcome.bytes;
  if (outcome.dry_run) one["dry_run"] = true;
  auto changes = Json::array();
  for (const auto& change : outcome.changes) {
    changes.push_back({{"where", bytes_to_json(change.where)},
                       {"before", bytes_to_json(change.before)},
                       {"asked", bytes_to_json(change.requested)},
                       {"after", bytes_to_json(change.after)}});
  }
  if (!changes.empty()) one["changes"] = std::move(changes);
  return dump({{"version", kProtocolVersion}, {"outcome", std::move(one)}});
}

base::Result<Request> parse_request(std::string_view line) {
  try {
    JsonObject object(parse_line(line), "request");
    check_version(object);
    Request request;
    const auto apply = object.take("apply");
    const auto undo = object.take("undo");
    if (apply.has_value() == undo.has_value()) object.fail("exactly one of \"apply\" and \"undo\" is required");
    if (apply) {
      request.action = parse_action(*apply);
    } else {
      if (!undo->is_string()) object.fail("undo: must be a string");
      request.kind = RequestKind::undo;
      request.undo = undo->get<std::string>();
      if (request.undo.size() > 64) object.fail("undo: must be at most 64 bytes");
      request.dry_run = object.flag("dry_run");
    }
    object.check_no_unknown_keys();
    return request;
  } catch (const std::exception& error) {
    return base::fail(base::printable(error.what()));
  }
}

base::Result<Outcome> parse_outcome(std::string_view line) {
  try {
    JsonObject object(parse_line(line), "answer");
    check_version(object);
    const auto json = object.take("outcome");
    if (!json) object.fail("outcome: required");
    object.check_no_unknown_keys();
    JsonObject one(*json, "outcome");
    Outcome out;
    const auto kind = one.text("kind", 16);
    bool known = false;
    for (int k = 0; k <= static_cast<int>(Outcome::Kind::timeout); ++k) {
      if (model::name(static_cast<Outcome::Kind>(k)) == kind) {
        out.kind = static_cast<Outcome::Kind>(k);
        known = true;
      }
    }
    if (!known) one.fail("kind: unknown value '" + base::printable(kind) + "'");
    (void)one.take("exit_code");
    out.text = one.text("text", kMaxLine);
    out.duration = std::chrono::microseconds(one.number("duration_us", 0, kMaxNumber));
    out.guard = one.text("guard", 64);
    out.route = one.text("route", 64);
    out.undo = one.text("undo", 64);
    out.processes = one.number("processes", 0, kMaxNumber);
    out.bytes = one.number("bytes", 0, kMaxNumber);
    out.dry_run = one.flag("dry_run");
    for (const auto& change : one.list("changes")) {
      JsonObject c(change, "changes");
      out.changes.push_back(
          {c.text("where"), c.text("before", kMaxLine), c.text("asked", kMaxLine), c.text("after", kMaxLine)});
      c.check_no_unknown_keys();
    }
    one.check_no_unknown_keys();
    return out;
  } catch (const std::exception& error) {
    return base::fail(base::printable(error.what()));
  }
}

}  // namespace cgwarden::control
