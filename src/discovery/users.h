// SPDX-License-Identifier: Apache-2.0
// Rootless containers. The slice (user-UID.slice) that contains a cgroup identifies its user, and /etc/passwd has the
// home directory with the state of the user's runtimes.
//
// The state is controlled by the user. So it is used only for cgroups in the user's own slice, which prevents a user
// from naming other containers, and no link or mount below the home directory is followed ("/./" in a root, see
// StateFiles). Users known only to a directory service (NSS) are not looked up: this may take long, and the loop must
// not block. Loop thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "src/discovery/state.h"

namespace cgwarden::discovery {

class Users {
 public:
  explicit Users(StateFiles& files) : files_(files) {}

  // State of the user whose slice contains the cgroup; null: in no user slice, or the user is root or unknown.
  StateContext* state_of(std::string_view cgroup_path);

  static constexpr std::size_t kMaxUsers = 256;

 private:
  struct UserState {
    UserState(StateFiles& files, Roots where) : roots(std::move(where)), context{files, roots} {}
    Roots roots;
    StateContext context;
  };

  StateFiles& files_;
  std::uint64_t passwd_version_ = 0;
  std::string passwd_;
  std::unordered_map<std::string, std::unique_ptr<UserState>> by_uid_;  // null: unknown user
};

// Home directory of the user in passwd(5) text; empty: no such user, or no usable home. Pure.
std::string home_of(std::string_view passwd, std::string_view uid);
// Default directories of rootless Docker, Podman and their runtimes.
Roots roots_of_user(const std::string& uid, const std::string& home);

}  // namespace cgwarden::discovery
