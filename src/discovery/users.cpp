// SPDX-License-Identifier: Apache-2.0
#include "src/discovery/users.h"

#include <array>
#include <utility>

#include "src/base/text.h"
#include "src/discovery/runtimes.h"

namespace cgwarden::discovery {

std::string home_of(std::string_view passwd, std::string_view uid) {
  while (!passwd.empty()) {
    auto line = base::take_line(passwd);
    std::array<std::string_view, 6> fields;  // name, password, uid, gid, comment, home
    for (auto& field : fields) field = base::take_until(line, ':');
    if (fields[2] != uid) continue;
    const auto home = fields[5];
    const bool usable = home.size() > 1 && home.size() < 1024 && home.starts_with('/') &&
                        home.find("/./") == std::string_view::npos && home.find('\0') == std::string_view::npos;
    return std::string(usable ? home : "");
  }
  return {};
}

Roots roots_of_user(const std::string& uid, const std::string& home) {
  Roots out;
  for (const auto& row : root_rows()) (out.*row.roots).clear();
  const auto run = "/run/user/" + uid + "/./";
  out.docker = {home + "/./.local/share/docker"};
  out.podman = {home + "/./.local/share/containers/storage"};
  out.podman_run = {run + "containers"};
  out.podman_tmp = {run + "libpod/tmp"};
  out.runc = {run + "runc", run + "docker/runtime-runc/*"};
  out.crun = {run + "crun"};
  return out;
}

StateContext* Users::state_of(std::string_view cgroup_path) {
  const std::string uid(model::host_user_of(cgroup_path));
  if (uid.empty() || uid == "0") return nullptr;
  const auto version = files_.version("/etc", "passwd");
  if (version != passwd_version_) {
    by_uid_.clear();
    passwd_version_ = files_.read("/etc", "passwd", passwd_) == FileStatus::found ? version : 0;
  }
  if (const auto known = by_uid_.find(uid); known != by_uid_.end()) {
    return known->second ? &known->second->context : nullptr;
  }
  const auto home = home_of(passwd_, uid);
  if (by_uid_.size() >= kMaxUsers) by_uid_.clear();
  auto& state = by_uid_[uid];
  if (!home.empty()) state = std::make_unique<UserState>(files_, roots_of_user(uid, home));
  return state ? &state->context : nullptr;
}

}  // namespace cgwarden::discovery
