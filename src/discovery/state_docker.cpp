// SPDX-License-Identifier: Apache-2.0
// Docker: <data-root>/containers/<id>/config.v2.json, rewritten at every change of state. Seen with 20.10.
#include "src/discovery/state.h"

namespace cgwarden::discovery {
namespace {

using model::Container;

// Which of these Docker's flags mean. "created" has never been started.
std::string state_of(const nlohmann::json& config) {
  if (true_at(config, {"State", "Dead"})) return "dead";
  if (true_at(config, {"State", "Restarting"})) return "restarting";
  if (true_at(config, {"State", "Paused"})) return "paused";
  if (true_at(config, {"State", "Running"})) return "running";
  return time_at(config, {"State", "StartedAt"}) ? "exited" : "created";
}

// What the file and the daemon's answer have in the same places.
void tell_both(const nlohmann::json& config, const std::string& id, Findings& out) {
  auto name = text_at(config, {"Name"}).value_or("");
  if (name.starts_with('/')) name.erase(0, 1);
  out.set(&Container::id, id);
  out.set(&Container::name, name);
  out.set(&Container::image, text_at(config, {"Config", "Image"}));
  out.set(&Container::health, text_at(config, {"State", "Health", "Status"}));
  out.set(&Container::created, time_at(config, {"Created"}));
  out.set(&Container::started, time_at(config, {"State", "StartedAt"}));
  out.set(&Container::restart_count, number_at(config, {"RestartCount"}));
  out.labels(at(config, {"Config", "Labels"}));
}

}  // namespace

bool tell_docker(const nlohmann::json& config, const std::string& id, Findings& out) {
  if (text_at(config, {"ID"}) != id) return false;
  tell_both(config, id, out);
  out.set(&Container::image_digest, text_at(config, {"Image"}));
  const auto state = state_of(config);
  out.set(&Container::state, state);
  if (const auto pid = number_at(config, {"State", "Pid"}); pid && *pid > 0) out.set(&Container::pid, pid);
  if (state == "exited" || state == "dead" || state == "restarting") {
    out.set(&Container::exit_code, number_at(config, {"State", "ExitCode"}));
    out.set(&Container::finished, time_at(config, {"State", "FinishedAt"}));
  }
  return true;
}

bool tell_inspected(const nlohmann::json& answer, const std::string& id, Findings& out) {
  if (text_at(answer, {"Id"}) != id) return false;
  tell_both(answer, id, out);
  // Podman leaves the algorithm out.
  auto digest = text_at(answer, {"Image"}).value_or("");
  if (is_engine_id(digest)) digest = "sha256:" + digest;
  out.set(&Container::image_digest, digest);
  out.set(&Container::state, text_at(answer, {"State", "Status"}));
  return true;
}

Answer read_docker(StateContext& context, const std::string& id, Findings& out) {
  auto worst = Answer::absent;
  for (const auto& root : context.roots.docker) {
    const auto file = "containers/" + id + "/config.v2.json";
    nlohmann::json config;
    const auto answer = context.files.read_json(root, file, config);
    if (answer == Answer::unusable) worst = answer;
    if (answer != Answer::found) continue;
    out.from(root, file);
    if (!tell_docker(config, id, out)) {
      worst = context.files.broken(root, file, "is of another container or another version");
      continue;
    }
    return Answer::found;
  }
  return worst;
}

}  // namespace cgwarden::discovery
