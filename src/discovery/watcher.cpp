// SPDX-License-Identifier: Apache-2.0
#include "src/discovery/watcher.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>

namespace cgwarden::discovery {
namespace {

// Without IN_MODIFY: a container's log may be in the same directory.
constexpr std::uint32_t kEvents =
    IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_CLOSE_WRITE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

}  // namespace

Watcher::Watcher(std::size_t max_watches) : fd_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)), max_watches_(max_watches) {}

Watcher::Watched Watcher::watch(Key key, const std::set<WatchKey>& watch_keys, StateFiles& files) {
  auto& now = keys_[key];
  const auto before = std::exchange(now, {});
  Watched out{.all = static_cast<bool>(fd_)};
  for (auto look : watch_keys) {
    if (!fd_) break;
    const auto dir = files.open_for_watch(look);
    if (!dir) {
      out.all = false;
      continue;
    }
    const auto path = "/proc/self/fd/" + std::to_string(dir.get());
    // For a directory that is watched already, inotify_add_watch() returns the same descriptor, so check the bound
    // afterwards.
    const int watch = ::inotify_add_watch(fd_.get(), path.c_str(), kEvents);
    if (watch < 0) {
      out.all = false;
      continue;
    }
    if (!directories_.contains(watch) && directories_.size() >= max_watches_) {
      ::inotify_rm_watch(fd_.get(), watch);
      out.all = false;
      continue;
    }
    directories_[watch].by_name[look.name].insert(key);
    now.emplace_back(watch, look.name);
  }
  std::ranges::sort(now);
  now.erase(std::unique(now.begin(), now.end()), now.end());
  out.fresh = !std::ranges::includes(before, now);
  // Drop old names after the new ones were added, so that a watch in both sets is not removed and added again.
  std::vector<std::pair<int, std::string>> removed;
  std::ranges::set_difference(before, now, std::back_inserter(removed));
  if (now.empty()) keys_.erase(key);
  for (const auto& [watch, name] : removed) drop(watch, name, key);
  return out;
}

void Watcher::drop(int watch, const std::string& name, Key key) {
  const auto directory = directories_.find(watch);
  if (directory == directories_.end()) return;
  auto& by_name = directory->second.by_name;
  const auto keys = by_name.find(name);
  if (keys == by_name.end()) return;
  keys->second.erase(key);
  if (keys->second.empty()) by_name.erase(keys);
  if (!by_name.empty()) return;
  ::inotify_rm_watch(fd_.get(), watch);
  directories_.erase(directory);
}

void Watcher::forget(Key key) {
  const auto at = keys_.find(key);
  if (at == keys_.end()) return;
  const auto watched = std::move(at->second);
  keys_.erase(at);
  for (const auto& [watch, name] : watched) drop(watch, name, key);
}

std::unordered_set<Watcher::Key> Watcher::take_events(bool& all) {
  all = false;
  std::unordered_set<Key> affected;
  if (!fd_) return affected;
  alignas(inotify_event) char buffer[16 * 1024];
  for (;;) {
    const auto size = ::read(fd_.get(), buffer, sizeof buffer);
    if (size <= 0) return affected;
    for (const char* at = buffer; at < buffer + size;) {
      inotify_event event{};
      std::memcpy(&event, at, sizeof event);
      const char* const name = at + sizeof event;
      at = name + event.len;
      if ((event.mask & IN_Q_OVERFLOW) != 0) all = true;
      const auto directory = directories_.find(event.wd);
      if (directory == directories_.end()) continue;
      auto& by_name = directory->second.by_name;
      if ((event.mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) != 0) {
        for (const auto& [_, keys] : by_name) affected.insert(keys.begin(), keys.end());
        // Watch descriptors are not reused before they wrap around (inotify(7)). The keys are looked up and watched
        // again.
        if ((event.mask & IN_IGNORED) != 0) directories_.erase(directory);
        continue;
      }
      for (const std::string& wanted : {std::string(), std::string(event.len > 0 ? name : "")}) {
        if (const auto keys = by_name.find(wanted); keys != by_name.end()) {
          affected.insert(keys->second.begin(), keys->second.end());
        }
      }
    }
  }
}

}  // namespace cgwarden::discovery
