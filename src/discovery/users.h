// SPDX-License-Identifier: Apache-2.0
// Containers that users run without root: in whose slice a cgroup is says whose they are, and /etc/passwd where that
// user keeps the state of his runtimes.
//
// All of it is the user's: it is asked for cgroups in his own slice only, so he can name nobody else's containers, and
// no link and no mount below his home is followed ("/./" in a root, see StateFiles). Users that only a directory
// service knows are not looked up: that may take long, and the loop does not wait. Loop thread.
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

  // Of the user in whose slice the cgroup is; null: in none, or in that of root or of somebody unknown.
  StateContext* state_of(std::string_view cgroup_path);

  static constexpr std::size_t kMaxUsers = 256;

 private:
  struct State {
    State(StateFiles& files, Roots where) : roots(std::move(where)), context{files, roots} {}
    Roots roots;
    StateContext context;
  };

  StateFiles& files_;
  std::uint64_t passwd_version_ = 0;
  std::string passwd_;
  std::unordered_map<std::string, std::unique_ptr<State>> by_uid_;  // null: nobody
};

// The home in passwd(5) of the user with that number; empty: none that could hold any state. Pure.
std::string home_of(std::string_view passwd, std::string_view uid);
// Where Docker, Podman and their runtimes keep a user's state by default.
Roots roots_of_user(const std::string& uid, const std::string& home);

}  // namespace cgwarden::discovery
