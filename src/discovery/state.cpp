// SPDX-License-Identifier: Apache-2.0
#include "src/discovery/state.h"

#include <algorithm>
#include <chrono>

#include "src/base/text.h"

namespace cgwarden::discovery {
namespace {

using model::Container;

constexpr RootRow kRootRows[] = {
    {"docker-root", &Roots::docker, "Docker data root"},
    {"containerd-state", &Roots::containerd, "containerd state directory"},
    {"podman-root", &Roots::podman, "Storage directory (graph root) of Podman and CRI-O"},
    {"podman-run", &Roots::podman_run, "Run root of Podman and CRI-O"},
    {"podman-tmp", &Roots::podman_tmp, "Temporary directory of Podman and CRI-O with exit codes"},
    {"runc-root", &Roots::runc, "runC state directory"},
    {"crun-root", &Roots::crun, "crun state directory"},
    {"runsc-root", &Roots::runsc, "gVisor (runsc) state directory"},
    {"lxc-path", &Roots::lxc, "LXC container directory (lxcpath)"},
    {"lxd-dir", &Roots::lxd, "LXD or Incus directory"},
    {"machines-dir", &Roots::machines, "systemd-machined state directory"},
    {"libvirt-run", &Roots::libvirt, "libvirt run directory"},
};

constexpr StateRow kStateRows[] = {
    {"docker", "docker", true, read_docker},
    {"containerd", "containerd", true, read_containerd},
    {"cri-o", "cri-o", true, read_podman},
    {"podman", "podman", true, read_podman},
    {"lxc", "lxd", false, read_lxd},
    {"lxc", "lxc", false, read_lxc},
    {"systemd-nspawn", "systemd-nspawn", false, read_machine},
    {"libvirt-lxc", "libvirt-lxc", false, read_libvirt},
    {"libvirt-qemu", "libvirt-qemu", false, read_libvirt},
    // Low-level runtimes, used by those above or on their own.
    {"runsc", "runsc", true, read_runsc},
    {"runc", "runc", true, read_runc},
    {"crun", "crun", true, read_crun},
};

// Labels and annotations that set facts. If two set the same fact, the first one read wins.
struct KnownLabel {
  std::string_view label;
  Container::Text Container::*fact;
};
constexpr KnownLabel kKnownLabels[] = {
    {"com.docker.swarm.service.name", &Container::service},
    {"com.docker.swarm.task.name", &Container::task},
    {"com.docker.swarm.node.id", &Container::node},
    {"com.docker.compose.project", &Container::project},
    {"com.docker.compose.service", &Container::project_service},
    {"io.podman.compose.project", &Container::project},
    {"PODMAN_SYSTEMD_UNIT", &Container::unit},
    // Kubernetes: labels of the kubelet (Docker, CRI-O), annotations of containerd and of CRI-O
    {"io.kubernetes.pod.name", &Container::pod},
    {"io.kubernetes.pod.namespace", &Container::pod_namespace},
    {"io.kubernetes.pod.uid", &Container::pod_uid},
    {"io.kubernetes.container.name", &Container::pod_container},
    {"io.kubernetes.cri.sandbox-name", &Container::pod},
    {"io.kubernetes.cri.sandbox-namespace", &Container::pod_namespace},
    {"io.kubernetes.cri.sandbox-uid", &Container::pod_uid},
    {"io.kubernetes.cri.container-name", &Container::pod_container},
    {"io.kubernetes.cri.image-name", &Container::image},
    {"io.kubernetes.cri-o.KubeName", &Container::pod},
    {"io.kubernetes.cri-o.Namespace", &Container::pod_namespace},
    {"io.kubernetes.cri-o.ImageName", &Container::image},
    {"io.kubernetes.cri-o.Image", &Container::image},
    // OCI image annotation, which an unpacked bundle may have
    {"org.opencontainers.image.ref.name", &Container::image},
};

constexpr std::string_view kSandboxLabels[] = {"io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType",
                                               "io.kubernetes.docker.type", "io.cri-containerd.kind"};

}  // namespace

std::span<const RootRow> root_rows() { return kRootRows; }
std::span<const StateRow> state_rows() { return kStateRows; }

Roots roots_of(std::string_view title, const std::string& root) {
  Roots out;
  for (const auto& row : kRootRows) (out.*row.roots).clear();
  if (title == "containerd") out.containerd = {root};
  if (title == "runc") out.runc = {root};
  if (title == "crun") out.crun = {root};
  if (title == "runsc") out.runsc = {root};
  return out;
}

bool is_container_id(std::string_view id) {
  return id.size() == 64 &&
         std::ranges::all_of(id, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_digest(std::string_view text) { return text.starts_with("sha256:") && is_container_id(text.substr(7)); }

void remember_layers(StateContext& context, const std::string& key,
                     const std::shared_ptr<const model::Layers>& layers) {
  if (context.layers.size() >= kMaxImages) context.layers.clear();
  context.layers[key] = layers;
}

bool LabelFilter::allows(std::string_view name) const {
  return std::ranges::any_of(patterns_, [name](std::string_view pattern) {
    if (!pattern.ends_with('*')) return name == pattern;
    return name.starts_with(pattern.substr(0, pattern.size() - 1));
  });
}

void ContainerFacts::from(const std::string& root, std::string_view file) {
  source_ = root;
  source_ += '/';
  source_ += file;
}

void ContainerFacts::set(Container::Text Container::*fact, std::optional<std::string> value) {
  auto& mine = facts_.*fact;
  if (mine || !value || value->empty() || value->size() > kMaxLength) return;
  mine = std::move(value);
  for (const auto& f : model::kTextFacts) {
    if (f.member == fact) facts_.origins.push_back({f.name, source_});
  }
}

void ContainerFacts::set(Container::Number Container::*fact, std::optional<std::int64_t> value) {
  auto& mine = facts_.*fact;
  if (mine || !value) return;
  mine = value;
  for (const auto& f : model::kNumberFacts) {
    if (f.member == fact) facts_.origins.push_back({f.name, source_});
  }
}

void ContainerFacts::set(Container::Time Container::*fact, std::optional<base::Wall> value) {
  auto& mine = facts_.*fact;
  if (mine || !value) return;
  mine = value;
  for (const auto& f : model::kTimeFacts) {
    if (f.member == fact) facts_.origins.push_back({f.name, source_});
  }
}

void ContainerFacts::drop_pid() {
  facts_.pid.reset();
  std::erase_if(facts_.origins, [](const auto& origin) { return origin.fact == "pid"; });
}

void ContainerFacts::set_layers(std::shared_ptr<const model::Layers> layers) {
  if (facts_.image_layers || !layers || layers->empty() || layers->size() > kMaxLayers) return;
  // 1 PiB per layer: larger values are invalid, and the sum of 256 layers does not overflow.
  constexpr std::int64_t max_layer_bytes = std::int64_t{1} << 50U;
  std::optional<std::int64_t> sum = 0;
  for (const auto& layer : *layers) {
    if (layer.bytes && (*layer.bytes < 0 || *layer.bytes > max_layer_bytes)) return;
    if (sum) sum = layer.bytes ? std::optional(*sum + *layer.bytes) : std::nullopt;
  }
  facts_.image_layers = std::move(layers);
  facts_.origins.push_back({"image_layers", source_});
  set(&Container::image_bytes, sum);
}

void ContainerFacts::label(const std::string& name, const std::string& value) {
  for (const auto& known : kKnownLabels) {
    if (known.label == name) set(known.fact, value);
  }
  if (std::ranges::find(kSandboxLabels, name) != std::end(kSandboxLabels)) {
    if (value == "sandbox" || value == "podsandbox") set_role(model::Role::sandbox);
  }
  if (name == "io.kubernetes.container.restartCount") {
    set(&Container::restart_count, base::to_int<std::int64_t>(value));
  }
  if (!labels_.allows(name) || name.size() > kMaxLength || value.size() > kMaxLength) return;
  auto& kept = facts_.labels;
  if (kept.size() >= kMaxLabels) return;
  if (std::ranges::any_of(kept, [&](const auto& label) { return label.first == name; })) return;
  kept.emplace_back(name, value);
  if (kept.size() == 1) facts_.origins.push_back({"labels", source_});
}

void ContainerFacts::labels(const nlohmann::json* object) {
  if (object == nullptr || !object->is_object()) return;
  for (const auto& [name, value] : object->items()) {
    if (value.is_string()) label(name, value.get_ref<const std::string&>());
  }
}

void ContainerFacts::fill(const Container& other) {
  const auto from_source_of = [&](std::string_view fact) {
    source_.clear();
    for (const auto& origin : other.origins) {
      if (origin.fact == fact) source_ = origin.source;
    }
  };
  // While a process runs, exit facts belong to the previous run.
  const bool runs = facts_.pid.has_value();
  const auto fill_all = [&](const auto& facts) {
    for (const auto& fact : facts) {
      if (runs && (fact.name == "exit_code" || fact.name == "finished")) continue;
      from_source_of(fact.name);
      set(fact.member, other.*fact.member);
    }
  };
  fill_all(model::kTextFacts);
  fill_all(model::kNumberFacts);
  fill_all(model::kTimeFacts);
  if (other.role == model::Role::sandbox) set_role(other.role);
  from_source_of("labels");
  const auto before = facts_.labels.size();
  for (const auto& [name, value] : other.labels) label(name, value);
  if (before == 0 || facts_.labels.size() == before) return;
  for (auto& origin : facts_.origins) {
    if (origin.fact == "labels") origin.source += " and " + source_;
  }
}

Container ContainerFacts::take() {
  std::ranges::sort(facts_.labels);
  return std::exchange(facts_, {});
}

const nlohmann::json* at(const nlohmann::json& json, std::initializer_list<const char*> keys) {
  const auto* here = &json;
  for (const char* key : keys) {
    if (!here->is_object()) return nullptr;
    const auto found = here->find(key);
    if (found == here->end()) return nullptr;
    here = &*found;
  }
  return here;
}

std::optional<std::string> text_at(const nlohmann::json& json, std::initializer_list<const char*> keys) {
  const auto* value = at(json, keys);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return value->get<std::string>();
}

std::optional<std::int64_t> number_at(const nlohmann::json& json, std::initializer_list<const char*> keys) {
  const auto* value = at(json, keys);
  if (value == nullptr || !value->is_number_integer()) return std::nullopt;
  return value->get<std::int64_t>();
}

bool true_at(const nlohmann::json& json, std::initializer_list<const char*> keys) {
  const auto* value = at(json, keys);
  return value != nullptr && value->is_boolean() && value->get<bool>();
}

std::optional<base::Wall> time_at(const nlohmann::json& json, std::initializer_list<const char*> keys) {
  const auto text = text_at(json, keys);
  return text ? parse_time(*text) : std::nullopt;
}

std::optional<base::Wall> parse_time(std::string_view text) {
  using namespace std::chrono;
  // 2026-11-24T19:40:58.123456789+01:00
  const auto number = [&](std::size_t from, std::size_t size) {
    const auto part = text.size() >= from + size ? text.substr(from, size) : std::string_view{};
    return base::to_int<unsigned>(part);
  };
  const auto y = number(0, 4), mo = number(5, 2), d = number(8, 2), h = number(11, 2), mi = number(14, 2),
             s = number(17, 2);
  if (!y || !mo || !d || !h || !mi || !s || text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != ' ') ||
      text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  const year_month_day date{year(static_cast<int>(*y)), month(*mo), day(*d)};
  if (!date.ok() || *h > 23 || *mi > 59 || *s > 60 || *y < 1970 || *y > 2200) return std::nullopt;
  auto rest = text.substr(19);
  nanoseconds fraction{0};
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    std::int64_t unit = 100'000'000;
    while (!rest.empty() && rest.front() >= '0' && rest.front() <= '9') {
      fraction += nanoseconds((rest.front() - '0') * unit);
      unit /= 10;
      rest.remove_prefix(1);
    }
  }
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  minutes offset{0};
  if (rest.starts_with('+') || rest.starts_with('-')) {
    const auto oh = base::to_int<int>(rest.substr(1, 2));
    const auto om = base::to_int<int>(
        rest.substr(rest.size() > 3 && rest[3] == ':' ? 4 : std::min<std::size_t>(3, rest.size()), 2));
    if (!oh || !om || *oh > 23 || *om > 59 || *oh < 0 || *om < 0) return std::nullopt;
    offset = hours(*oh) + minutes(*om);
    if (rest.front() == '-') offset = -offset;
  } else if (!rest.starts_with('Z')) {
    return std::nullopt;
  }
  return sys_days(date) + hours(*h) + minutes(*mi) + seconds(*s) + fraction - offset;
}

std::string cgroup_of_spec(std::string_view cgroups_path) {
  if (cgroups_path.starts_with('/')) return std::string(cgroups_path);
  const auto slice = base::take_until(cgroups_path, ':');
  const auto prefix = base::take_until(cgroups_path, ':');
  if (cgroups_path.empty() || (!slice.empty() && !slice.ends_with(".slice"))) return {};
  // "a-b.slice" is a child of "a.slice" (systemd.slice(5)).
  std::string out;
  if (slice != "-.slice") {
    for (std::size_t dash = slice.find('-'); dash != std::string_view::npos; dash = slice.find('-', dash + 1)) {
      out += '/' + std::string(slice.substr(0, dash)) + ".slice";
    }
    out += '/' + std::string(slice.empty() ? "system.slice" : slice);
  }
  out += '/';
  if (!prefix.empty()) out += std::string(prefix) + '-';
  return out + std::string(cgroups_path) + ".scope";
}

}  // namespace cgwarden::discovery
