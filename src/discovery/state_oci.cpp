// SPDX-License-Identifier: Apache-2.0
// What OCI runtimes and containerd leave on disk:
//   containerd  <state>/io.containerd.runtime.v2.task/<namespace>/<id>/{config.json,init.pid}   image names are not
//   there runC        <root>/[<namespace>/]<id>/state.json crun        <root>/<id>/{status,config.json} runsc
//   <root>/[<namespace>/]<id>_sandbox:<id>.state
// Seen with containerd 1.6, runC 1.1, crun 1.8, runsc 20221219. Their ids are free names unless an engine made them.
#include <algorithm>

#include "src/base/text.h"
#include "src/discovery/state.h"

namespace cgwarden::discovery {
namespace {

using model::Container;

const std::string kTasks = "io.containerd.runtime.v2.task";
constexpr std::size_t kMaxNamespaces = 64;

// An id that an engine made is no name.
void set_id(const std::string& id, ContainerFacts& out) {
  out.set(&Container::id, id);
  if (!is_engine_id(id)) out.set(&Container::name, id);
}

void set_pid(StateContext& context, std::optional<std::int64_t> pid, ContainerFacts& out) {
  if (!pid || !context.files.alive(*pid)) return;
  out.set(&Container::pid, pid);
  out.set(&Container::state, "running");
}

std::vector<std::string> namespaces(StateContext& context, const std::string& root, const std::string& below) {
  auto out = context.files.list(root, below);
  if (out.size() > kMaxNamespaces) out.resize(kMaxNamespaces);
  return out;
}

// The first file `name` below the roots, and where that is.
Answer read_below(StateContext& context, const std::vector<std::string>& roots, const std::string& name,
                  nlohmann::json& json, std::string& root, std::string& file) {
  auto worst = Answer::absent;
  for (const auto& one : roots) {
    const bool spaces = one.ends_with("/*");
    root = spaces ? one.substr(0, one.size() - 2) : one;
    for (const auto& space : spaces ? namespaces(context, root, "") : std::vector<std::string>{""}) {
      file = space.empty() ? name : space + '/' + name;
      const auto answer = context.files.read_json(root, file, json);
      if (answer == Answer::found) return answer;
      if (answer == Answer::unusable) worst = answer;
    }
  }
  return worst;
}

// Annotations of a pod's container name its sandbox, whose own name the pod.
void read_sandbox(StateContext& context, const std::string& root, const std::string& space, const std::string& sandbox,
                  ContainerFacts& out) {
  if (!is_file_name(sandbox)) return;
  const auto file = kTasks + '/' + space + '/' + sandbox + "/config.json";
  nlohmann::json spec;
  if (context.files.read_json(root, file, spec) != Answer::found) return;
  out.from(root, file);
  for (const char* key :
       {"io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-uid"}) {
    if (const auto text = text_at(spec, {"annotations", key})) out.label(key, *text);
  }
}

}  // namespace

std::string claimed_cgroup(const nlohmann::json& json) {
  // crun, runC, runsc, a bundle
  if (const auto path = text_at(json, {"cgroup-path"})) return *path;
  if (const auto path = text_at(json, {"config", "cgroups", "path"}); path && !path->empty()) return *path;
  // runC with systemd's driver
  const auto scope = text_at(json, {"config", "cgroups", "name"});
  if (scope && !scope->empty()) {
    return cgroup_of_spec(text_at(json, {"config", "cgroups", "parent"}).value_or("") + ':' +
                          text_at(json, {"config", "cgroups", "scope_prefix"}).value_or("") + ':' + *scope);
  }
  for (const auto* keys : {"spec", ""}) {
    const auto* spec = *keys == '\0' ? &json : at(json, {keys});
    if (spec == nullptr) continue;
    if (const auto path = text_at(*spec, {"linux", "cgroupsPath"})) return cgroup_of_spec(*path);
  }
  return {};
}

bool parse_runc_state(const nlohmann::json& state, const std::string& id, ContainerFacts& out) {
  if (text_at(state, {"id"}) != id) return false;
  set_id(id, out);
  out.set(&Container::created, time_at(state, {"created"}));
  const auto* labels = at(state, {"config", "labels"});
  if (labels == nullptr || !labels->is_array()) return true;
  for (const auto& one : *labels) {
    if (!one.is_string()) continue;
    std::string_view rest = one.get_ref<const std::string&>();
    const auto name = base::take_until(rest, '=');
    if (name != "bundle") out.label(std::string(name), std::string(rest));
  }
  return true;
}

void parse_runsc_state(const nlohmann::json& state, ContainerFacts& out) {
  out.set(&Container::state, text_at(state, {"status"}));
  out.set(&Container::created, time_at(state, {"createdAt"}));
  out.labels(at(state, {"spec", "annotations"}));
}

Answer read_containerd(StateContext& context, const std::string& claimed, ContainerFacts& out) {
  // An id is unique within its namespace; of an engine's, any will do.
  const auto slash = claimed.find('/');
  const auto id = claimed.substr(slash == std::string::npos ? 0 : slash + 1);
  auto worst = Answer::absent;
  for (const auto& root : context.roots.containerd) {
    for (const auto& space : slash == std::string::npos ? namespaces(context, root, kTasks)
                                                        : std::vector<std::string>{claimed.substr(0, slash)}) {
      const auto bundle = kTasks + '/' + space + '/' + id;
      nlohmann::json spec;
      const auto answer = context.files.read_json(root, bundle + "/config.json", spec);
      if (answer == Answer::unusable) worst = answer;
      if (answer != Answer::found) continue;
      out.from(root, bundle + "/config.json");
      set_id(id, out);
      out.labels(at(spec, {"annotations"}));
      const auto& facts = out.facts();
      const auto sandbox = text_at(spec, {"annotations", "io.kubernetes.cri.sandbox-id"});
      if (sandbox && (!facts.pod || !facts.pod_namespace || !facts.pod_uid)) {
        read_sandbox(context, root, space, *sandbox, out);
      }
      if (facts.role == model::Role::container) out.set(&Container::name, facts.pod_container);
      std::string pid;
      if (context.files.read(root, bundle + "/init.pid", pid, 32) == Answer::found) {
        out.from(root, bundle + "/init.pid");
        set_pid(context, base::to_int<std::int64_t>(base::trim_end(pid)), out);
      }
      return Answer::found;
    }
  }
  return worst;
}

Answer read_runc(StateContext& context, const std::string& id, ContainerFacts& out) {
  nlohmann::json state;
  std::string root, file;
  const auto answer = read_below(context, context.roots.runc, id + "/state.json", state, root, file);
  if (answer != Answer::found) return answer;
  out.from(root, file);
  if (!parse_runc_state(state, id, out)) return context.files.broken(root, file, "is of another container or version");
  set_pid(context, number_at(state, {"init_process_pid"}), out);
  return Answer::found;
}

Answer read_crun(StateContext& context, const std::string& id, ContainerFacts& out) {
  nlohmann::json status;
  std::string root, file;
  const auto answer = read_below(context, context.roots.crun, id + "/status", status, root, file);
  if (answer != Answer::found) return answer;
  out.from(root, file);
  set_id(id, out);
  set_pid(context, number_at(status, {"pid"}), out);
  out.set(&Container::created, time_at(status, {"created"}));
  nlohmann::json spec;
  const auto config = id + "/config.json";
  if (context.files.read_json(root, config, spec) == Answer::found) {
    out.from(root, config);
    out.labels(at(spec, {"annotations"}));
  }
  return Answer::found;
}

Answer read_runsc(StateContext& context, const std::string& id, ContainerFacts& out) {
  nlohmann::json state;
  std::string root, file;
  const auto name = id + "_sandbox:" + id + ".state";
  if (!is_file_name(name)) return Answer::absent;
  const auto answer = read_below(context, context.roots.runsc, name, state, root, file);
  if (answer != Answer::found) return answer;
  out.from(root, file);
  set_id(id, out);
  parse_runsc_state(state, out);
  set_pid(context, number_at(state, {"sandbox", "pid"}), out);
  return Answer::found;
}

namespace {

// A file that claims a cgroup for the container `id`.
struct Source {
  const char* title;
  std::string root;
  std::string file;
  std::string id;
};

std::vector<Source> sources(StateContext& context) {
  std::vector<Source> out;
  const auto add = [&out](const char* title, const std::string& root, std::string file, std::string id) {
    if (out.size() < kMaxClaims) out.push_back({title, root, std::move(file), std::move(id)});
  };
  for (const auto& root : context.roots.containerd) {
    for (const auto& space : namespaces(context, root, kTasks)) {
      if (space == "k8s.io" || space == "moby") continue;  // their paths tell
      for (const auto& id : context.files.list(root, kTasks + '/' + space)) {
        if (!is_engine_id(id))
          add("containerd", root, kTasks + '/' + space + '/' + id + "/config.json", space + '/' + id);
      }
    }
  }
  const auto add_all = [&](const std::vector<std::string>& roots, const char* title, std::string_view file) {
    for (const auto& root : roots) {
      if (root.ends_with("/*")) continue;  // an engine's
      for (const auto& id : context.files.list(root, "")) {
        if (!is_engine_id(id)) add(title, root, id + std::string(file), id);
      }
    }
  };
  add_all(context.roots.runc, "runc", "/state.json");
  add_all(context.roots.crun, "crun", "/status");
  constexpr std::string_view middle = "_sandbox:";
  for (const auto& root : context.roots.runsc) {
    if (root.ends_with("/*")) continue;
    for (const auto& name : context.files.list(root, "")) {
      const auto end = name.find(middle);
      if (end != std::string::npos && name.ends_with(".state")) add("runsc", root, name, name.substr(0, end));
    }
  }
  return out;
}

}  // namespace

void Claims::refresh(StateContext& context) {
  std::unordered_map<std::string, Known> known;
  by_cgroup_.clear();
  for (const auto& source : sources(context)) {
    const auto version = context.files.version(source.root, source.file);
    if (version == 0) continue;
    const auto key = source.root + '/' + source.file;
    Known one;
    if (const auto before = known_.find(key); before != known_.end() && before->second.version == version) {
      one = std::move(before->second);
    } else {
      nlohmann::json json;
      // A version is remembered only for what could be read: the rest is tried again.
      if (context.files.read_json(source.root, source.file, json) != Answer::found) continue;
      one.version = version;
      one.claim = {claimed_cgroup(json), source.title, source.id, source.root};
    }
    // The root and what is above everything is nobody's.
    if (one.claim.cgroup.size() > 1) by_cgroup_.try_emplace(one.claim.cgroup, one.claim);
    known.emplace(key, std::move(one));
  }
  known_ = std::move(known);
}

const Claim* Claims::find(const std::string& cgroup) const {
  const auto found = by_cgroup_.find(cgroup);
  return found == by_cgroup_.end() ? nullptr : &found->second;
}

}  // namespace cgwarden::discovery
