// SPDX-License-Identifier: Apache-2.0
// LXC:         <lxcpath>/<name>/config          proves that the container with the name in the cgroup's path exists
// LXD, Incus:  <dir>/storage-pools/<pool>/containers/<name>/backup.yaml          (<dir>/containers/ has links only)
// Verified with LXC 5.0 and LXD 5.0.
#include "src/base/text.h"
#include "src/discovery/state.h"

namespace cgwarden::discovery {
namespace {

using model::Container;

constexpr std::size_t kMaxPools = 64;

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  return base::trim_end(text);
}

// A plain or quoted one-line YAML scalar. Other scalars do not occur in the keys read here.
std::string scalar(std::string_view text) {
  text = trim(text);
  if (text.size() >= 2 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front()) {
    text = text.substr(1, text.size() - 2);
    if (text.find('\\') != std::string_view::npos || text.find('\'') != std::string_view::npos) return {};
  }
  return std::string(text);
}

}  // namespace

// Parses created_at and the lines of "config:" in the instance section of backup.yaml.
void parse_lxd_backup(std::string_view backup, ContainerFacts& out) {
  bool instance = false;
  bool config = false;
  std::string os, release, description;
  while (!backup.empty()) {
    auto line = base::take_line(backup);
    const auto indent = line.find_first_not_of(' ');
    if (indent == std::string_view::npos) continue;
    auto rest = line.substr(indent);
    const auto key = base::take_until(rest, ':');
    if (indent == 0) {
      instance = key == "container" || key == "instance";
      config = false;
      continue;
    }
    if (!instance) continue;
    if (indent == 2) {
      config = key == "config";
      if (key == "created_at") out.set(&Container::created, parse_time(scalar(rest)));
      continue;
    }
    if (!config || indent != 4) continue;
    const auto value = scalar(rest);
    if (key == "image.os") os = value;
    if (key == "image.release") release = value;
    if (key == "image.description") description = value;
    if (key == "volatile.base_image" && !value.empty()) out.set(&Container::image_digest, "sha256:" + value);
    if (key.starts_with("user.") && key != "user.user-data") out.label(std::string(key), value);
  }
  out.set(&Container::image, !description.empty() || os.empty() ? description
                             : release.empty()                  ? os
                                                                : os + ' ' + release);
}

void parse_lxc_config(std::string_view config, ContainerFacts& out) {
  while (!config.empty()) {
    auto line = base::take_line(config);
    const auto key = trim(base::take_until(line, '='));
    // Never read "lxc.environment".
    if (key.starts_with("user.")) out.label(std::string(key), std::string(trim(line)));
  }
}

FileStatus read_lxd(StateContext& context, const std::string& id, ContainerFacts& out) {
  auto worst = FileStatus::missing;
  for (const auto& root : context.roots.lxd) {
    auto pools = context.files.list(root, "storage-pools");
    if (pools.size() > kMaxPools) pools.resize(kMaxPools);
    for (const auto& pool : pools) {
      const auto file = "storage-pools/" + pool + "/containers/" + id + "/backup.yaml";
      std::string text;
      const auto answer = context.files.read(root, file, text);
      if (answer == FileStatus::unusable) worst = answer;
      if (answer != FileStatus::found) continue;
      out.from(root, file);
      out.set(&Container::runtime, root.ends_with("incus") ? "incus" : "lxd");
      out.set(&Container::id, id);
      // The id is "<project>_<name>", or "<name>" in the default project. Names contain no '_'.
      const auto project = id.find('_');
      out.set(&Container::name, project == std::string::npos ? id : id.substr(project + 1));
      if (project != std::string::npos) out.set(&Container::project, id.substr(0, project));
      parse_lxd_backup(text, out);
      return FileStatus::found;
    }
  }
  return worst;
}

FileStatus read_lxc(StateContext& context, const std::string& id, ContainerFacts& out) {
  auto worst = FileStatus::missing;
  // LXC appends "-1", "-2" and so on if a cgroup of that name still existed.
  std::vector<std::string> names = {id};
  if (const auto dash = id.rfind('-'); dash != std::string::npos && base::to_int<unsigned>(id.substr(dash + 1))) {
    names.push_back(id.substr(0, dash));
  }
  for (const auto& name : names) {
    if (!is_file_name(name)) continue;
    for (const auto& root : context.roots.lxc) {
      const auto file = name + "/config";
      std::string text;
      const auto answer = context.files.read(root, file, text);
      if (answer == FileStatus::unusable) worst = answer;
      if (answer != FileStatus::found) continue;
      out.from(root, file);
      out.set(&Container::id, name);
      out.set(&Container::name, name);
      parse_lxc_config(text, out);
      return FileStatus::found;
    }
  }
  return worst;
}

}  // namespace cgwarden::discovery
