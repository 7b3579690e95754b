// SPDX-License-Identifier: Apache-2.0
// systemd-machined:  /run/systemd/machines/<name>, lines NAME=VALUE; stale if machined exited before the machine
// libvirt:           <run>/{lxc,qemu}/<name>.xml, searched for a few elements only
// Verified with systemd 252 and libvirt 9.0.
#include <chrono>

#include "src/base/text.h"
#include "src/discovery/state.h"

namespace cgwarden::discovery {
namespace {

using model::Container;

constexpr std::int64_t kLatest = 7'258'118'400'000'000;  // year 2200 in microseconds: fits into 64-bit nanoseconds

// machined escapes values as in C. Only the backslash needs to be handled for the values shown.
std::string unescape_value(std::string_view value) {
  std::string out;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '\\' && i + 1 < value.size()) ++i;
    out += value[i];
  }
  return out;
}

// The text between `before` and `after`; nullopt if it is missing, too long or contains markup or an entity.
std::optional<std::string> between(std::string_view text, std::string_view before, std::string_view after) {
  const auto from = text.find(before);
  if (from == std::string_view::npos) return std::nullopt;
  text.remove_prefix(from + before.size());
  const auto to = text.find(after);
  if (to > 1024) return std::nullopt;  // also if npos
  const auto found = text.substr(0, to);
  if (found.find_first_of("<&") != std::string_view::npos) return std::nullopt;
  return std::string(found);
}

}  // namespace

std::optional<MachineState> parse_machine(std::string_view text, const std::string& id) {
  std::unordered_map<std::string, std::string> values;
  while (!text.empty()) {
    auto line = base::take_line(text);
    const std::string key(base::take_until(line, '='));
    values.try_emplace(key, unescape_value(line));
  }
  const auto leader = base::to_int<std::int64_t>(values["LEADER"]);
  if (values["NAME"] != id || !leader) return std::nullopt;
  MachineState out{*leader, values["SCOPE"], std::nullopt};
  if (const auto since = base::to_int<std::int64_t>(values["REALTIME"]); since && *since > 0 && *since < kLatest) {
    out.started = base::Wall(std::chrono::microseconds(*since));
  }
  return out;
}

bool parse_libvirt(std::string_view xml, const std::string& id, ContainerFacts& out) {
  if (between(xml, "<name>", "</name>") != id) return false;
  out.set(&Container::name, id);
  out.set(&Container::id, between(xml, "<uuid>", "</uuid>"));
  const auto status = between(xml, "<domstatus ", ">").value_or("");
  auto state = between(status, "state='", "'").value_or("");
  out.set(&Container::state, state == "shutoff" ? "exited" : state);
  if (const auto pid = base::to_int<std::int64_t>(between(status, " pid='", "'").value_or("")); pid && *pid > 0) {
    out.set(&Container::pid, pid);
  }
  return true;
}

FileStatus read_machine(StateContext& context, const std::string& id, ContainerFacts& out) {
  auto worst = FileStatus::missing;
  for (const auto& root : context.roots.machines) {
    std::string text;
    const auto answer = context.files.read(root, id, text, std::size_t{64} << 10U);
    if (answer == FileStatus::unusable) worst = answer;
    if (answer != FileStatus::found) continue;
    const auto state = parse_machine(text, id);
    if (!state) {
      worst = context.files.broken(root, id, "not a machine state file");
      continue;
    }
    if (!context.files.alive(state->leader)) continue;
    out.from(root, id);
    out.set(&Container::id, id);
    out.set(&Container::name, id);
    out.set(&Container::pid, state->leader);
    out.set(&Container::state, "running");
    out.set(&Container::unit, state->unit);
    out.set(&Container::started, state->started);
    return FileStatus::found;
  }
  return worst;
}

FileStatus read_libvirt(StateContext& context, const std::string& id, ContainerFacts& out) {
  auto worst = FileStatus::missing;
  for (const auto& root : context.roots.libvirt) {
    for (const char* kind : {"lxc/", "qemu/"}) {
      const auto file = kind + id + ".xml";
      std::string text;
      const auto answer = context.files.read(root, file, text);
      if (answer == FileStatus::unusable) worst = answer;
      if (answer != FileStatus::found) continue;
      out.from(root, file);
      if (!parse_libvirt(text, id, out)) {
        worst = context.files.broken(root, file, "of another domain");
        continue;
      }
      return FileStatus::found;
    }
  }
  return worst;
}

}  // namespace cgwarden::discovery
