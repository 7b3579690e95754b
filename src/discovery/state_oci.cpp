// SPDX-License-Identifier: Apache-2.0
// State of OCI runtimes and containerd:
//   containerd  <state>/io.containerd.runtime.v2.task/<namespace>/<id>/{config.json,init.pid}   without image names
//   runC        <root>/[<namespace>/]<id>/state.json
//   crun        <root>/<id>/{status,config.json}
//   runsc       <root>/[<namespace>/]<id>_sandbox:<id>.state
// Verified with containerd 1.6, runC 1.1, crun 1.8 and runsc 20221219. Ids are arbitrary names unless a container
// manager generated them.
#include <algorithm>

#include "src/base/text.h"
#include "src/discovery/state.h"

namespace cgwarden::discovery {
namespace {

using model::Container;

const std::string kTasks = "io.containerd.runtime.v2.task";
constexpr std::size_t kMaxNamespaces = 64;

// Sets the id and, unless a container manager generated it, also the name.
void set_id(const std::string& id, ContainerFacts& out) {
  out.set(&Container::id, id);
  if (!is_container_id(id)) out.set(&Container::name, id);
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

// Reads the first file `name` below the roots. Sets `root` and `file` to its location.
FileStatus read_below(StateContext& context, const std::vector<std::string>& roots, const std::string& name,
                      nlohmann::json& json, std::string& root, std::string& file) {
  auto worst = FileStatus::missing;
  for (const auto& one : roots) {
    const bool has_namespaces = one.ends_with("/*");
    root = has_namespaces ? one.substr(0, one.size() - 2) : one;
    for (const auto& name_space : has_namespaces ? namespaces(context, root, "") : std::vector<std::string>{""}) {
      file = name_space.empty() ? name : name_space + '/' + name;
      const auto answer = context.files.read_json(root, file, json);
      if (answer == FileStatus::found) return answer;
      if (answer == FileStatus::unusable) worst = answer;
    }
  }
  return worst;
}

// The annotations of a pod's container have the id of its sandbox; those of the sandbox have the names of the pod.
void read_sandbox(StateContext& context, const std::string& root, const std::string& name_space,
                  const std::string& sandbox, ContainerFacts& out) {
  if (!is_file_name(sandbox)) return;
  const auto file = kTasks + '/' + name_space + '/' + sandbox + "/config.json";
  nlohmann::json spec;
  if (context.files.read_json(root, file, spec) != FileStatus::found) return;
  out.from(root, file);
  for (const char* key :
       {"io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-uid"}) {
    if (const auto text = text_at(spec, {"annotations", key})) out.label(key, *text);
  }
}

}  // namespace

std::string claimed_cgroup(const nlohmann::json& json) {
  // crun; then runC, runsc and bundles
  if (const auto path = text_at(json, {"cgroup-path"})) return *path;
  if (const auto path = text_at(json, {"config", "cgroups", "path"}); path && !path->empty()) return *path;
  // runC with the systemd cgroup driver
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

FileStatus read_containerd(StateContext& context, const std::string& claimed, ContainerFacts& out) {
  // A name is unique within its namespace only. A generated id is globally unique, so search all namespaces.
  const auto slash = claimed.find('/');
  const auto id = claimed.substr(slash == std::string::npos ? 0 : slash + 1);
  auto worst = FileStatus::missing;
  for (const auto& root : context.roots.containerd) {
    for (const auto& name_space : slash == std::string::npos ? namespaces(context, root, kTasks)
                                                             : std::vector<std::string>{claimed.substr(0, slash)}) {
      const auto bundle = kTasks + '/' + name_space + '/' + id;
      nlohmann::json spec;
      const auto answer = context.files.read_json(root, bundle + "/config.json", spec);
      if (answer == FileStatus::unusable) worst = answer;
      if (answer != FileStatus::found) continue;
      out.from(root, bundle + "/config.json");
      set_id(id, out);
      out.labels(at(spec, {"annotations"}));
      const auto& facts = out.facts();
      const auto sandbox = text_at(spec, {"annotations", "io.kubernetes.cri.sandbox-id"});
      if (sandbox && (!facts.pod || !facts.pod_namespace || !facts.pod_uid)) {
        read_sandbox(context, root, name_space, *sandbox, out);
      }
      if (facts.role == model::Role::container) out.set(&Container::name, facts.pod_container);
      std::string pid;
      if (context.files.read(root, bundle + "/init.pid", pid, 32) == FileStatus::found) {
        out.from(root, bundle + "/init.pid");
        set_pid(context, base::to_int<std::int64_t>(base::trim_end(pid)), out);
      }
      return FileStatus::found;
    }
  }
  return worst;
}

FileStatus read_runc(StateContext& context, const std::string& id, ContainerFacts& out) {
  nlohmann::json state;
  std::string root, file;
  const auto answer = read_below(context, context.roots.runc, id + "/state.json", state, root, file);
  if (answer != FileStatus::found) return answer;
  out.from(root, file);
  if (!parse_runc_state(state, id, out))
    return context.files.broken(root, file, "of another container or an unknown version");
  set_pid(context, number_at(state, {"init_process_pid"}), out);
  return FileStatus::found;
}

FileStatus read_crun(StateContext& context, const std::string& id, ContainerFacts& out) {
  nlohmann::json status;
  std::string root, file;
  const auto answer = read_below(context, context.roots.crun, id + "/status", status, root, file);
  if (answer != FileStatus::found) return answer;
  out.from(root, file);
  set_id(id, out);
  set_pid(context, number_at(status, {"pid"}), out);
  out.set(&Container::created, time_at(status, {"created"}));
  nlohmann::json spec;
  const auto config = id + "/config.json";
  if (context.files.read_json(root, config, spec) == FileStatus::found) {
    out.from(root, config);
    out.labels(at(spec, {"annotations"}));
  }
  return FileStatus::found;
}

FileStatus read_runsc(StateContext& context, const std::string& id, ContainerFacts& out) {
  nlohmann::json state;
  std::string root, file;
  const auto name = id + "_sandbox:" + id + ".state";
  if (!is_file_name(name)) return FileStatus::missing;
  const auto answer = read_below(context, context.roots.runsc, name, state, root, file);
  if (answer != FileStatus::found) return answer;
  out.from(root, file);
  set_id(id, out);
  parse_runsc_state(state, out);
  set_pid(context, number_at(state, {"sandbox", "pid"}), out);
  return FileStatus::found;
}

namespace {

// A state file that assigns a cgroup to the container `id`.
struct ClaimFile {
  const char* title;
  std::string root;
  std::string file;
  std::string id;
};

std::vector<ClaimFile> claim_files(StateContext& context) {
  std::vector<ClaimFile> out;
  const auto add = [&out](const char* title, const std::string& root, std::string file, std::string id) {
    if (out.size() < kMaxClaims) out.push_back({title, root, std::move(file), std::move(id)});
  };
  for (const auto& root : context.roots.containerd) {
    for (const auto& name_space : namespaces(context, root, kTasks)) {
      if (name_space == "k8s.io" || name_space == "moby") continue;  // identified by the path of the cgroup
      for (const auto& id : context.files.list(root, kTasks + '/' + name_space)) {
        if (!is_container_id(id))
          add("containerd", root, kTasks + '/' + name_space + '/' + id + "/config.json", name_space + '/' + id);
      }
    }
  }
  const auto add_all = [&](const std::vector<std::string>& roots, const char* title, std::string_view file) {
    for (const auto& root : roots) {
      if (root.ends_with("/*")) continue;  // used by a container manager
      for (const auto& id : context.files.list(root, "")) {
        if (!is_container_id(id)) add(title, root, id + std::string(file), id);
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
  std::unordered_map<std::string, CachedClaim> known;
  by_cgroup_.clear();
  for (const auto& file : claim_files(context)) {
    const auto version = context.files.version(file.root, file.file);
    if (version == 0) continue;
    const auto key = file.root + '/' + file.file;
    CachedClaim one;
    if (const auto before = cached_.find(key); before != cached_.end() && before->second.version == version) {
      one = std::move(before->second);
    } else {
      nlohmann::json json;
      // Only files that could be read are cached; the others are read again next time.
      if (context.files.read_json(file.root, file.file, json) != FileStatus::found) continue;
      one.version = version;
      one.claim = {claimed_cgroup(json), file.title, file.id, file.root};
    }
    // The root cgroup belongs to no container.
    if (one.claim.cgroup.size() > 1) by_cgroup_.try_emplace(one.claim.cgroup, one.claim);
    known.emplace(key, std::move(one));
  }
  cached_ = std::move(known);
}

const Claim* Claims::find(const std::string& cgroup) const {
  const auto found = by_cgroup_.find(cgroup);
  return found == by_cgroup_.end() ? nullptr : &found->second;
}

}  // namespace cgwarden::discovery
