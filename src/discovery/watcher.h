// SPDX-License-Identifier: Apache-2.0
// Watches state files with inotify. Each watch is on a directory; a key is notified when a name that it registered
// changes there. The number of watches is bounded; a key that cannot be watched must be polled by the caller. Loop
// thread.
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
  using Key = std::uint64_t;  // identifies the lookup that read the names

  explicit Watcher(std::size_t max_watches);

  struct Watched {
    bool all = true;     // false: some names cannot be watched
    bool fresh = false;  // some names were not watched before and may have changed since they were read
  };

  // Replaces the names watched for `key`.
  Watched watch(Key key, const std::set<WatchKey>& watch_keys, StateFiles& files);
  void forget(Key key);
  // Becomes readable when there are events; -1 if inotify is not available.
  [[nodiscard]] int event_fd() const { return fd_.get(); }
  // Keys with changed names. Sets `all` if the kernel dropped events (IN_Q_OVERFLOW).
  std::unordered_set<Key> take_events(bool& all);
  [[nodiscard]] std::size_t watches() const { return directories_.size(); }

 private:
  struct Directory {
    std::unordered_map<std::string, std::unordered_set<Key>> by_name;  // empty name: every name
  };
  void drop(int watch, const std::string& name, Key key);

  base::Fd fd_;
  std::size_t max_watches_;
  std::unordered_map<int, Directory> directories_;                          // by watch descriptor
  std::unordered_map<Key, std::vector<std::pair<int, std::string>>> keys_;  // sorted
};

}  // namespace cgwarden::discovery
