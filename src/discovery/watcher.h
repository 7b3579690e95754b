// SPDX-License-Identifier: Apache-2.0
// Watches with inotify what was looked at: who looked for a name in a directory is told when something of that name
// changes there. Bounded; who cannot be watched has to ask again now and then. Loop thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "src/base/fd.h"
#include "src/discovery/state_files.h"

namespace cgwarden::discovery {

class Watcher {
 public:
  using Key = std::uint64_t;  // who looked

  explicit Watcher(std::size_t max_watches);

  struct Watched {
    bool all = true;     // false: some cannot be
    bool fresh = false;  // some were not watched before: they may have changed between the look and this
  };

  // Watches these looks for `key`, instead of those before.
  Watched watch(Key key, const std::set<Look>& looks, StateFiles& files);
  void forget(Key key);
  // Readable when there are events; -1 when there is no inotify.
  [[nodiscard]] int event_fd() const { return fd_.get(); }
  // Whose looks may have another answer now. Sets `all` when the kernel lost events.
  std::unordered_set<Key> take_events(bool& all);
  [[nodiscard]] std::size_t watches() const { return directories_.size(); }

 private:
  struct Directory {
    std::unordered_map<std::string, std::unordered_set<Key>> by_name;  // "" is for every name
  };
  void drop(int watch, const std::string& name, Key key);

  base::Fd fd_;
  std::size_t most_;
  std::unordered_map<int, Directory> directories_;                          // by watch descriptor
  std::unordered_map<Key, std::vector<std::pair<int, std::string>>> keys_;  // ordered
};

}  // namespace cgwarden::discovery
