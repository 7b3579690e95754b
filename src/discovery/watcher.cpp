// SPDX-License-Identifier: Apache-2.0
#include "src/discovery/watcher.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>

namespace cgwarden::discovery {
namespace {

// Not IN_MODIFY: a container's log may lie in the same directory.
constexpr std::uint32_t kEvents =
    IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_CLOSE_WRITE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

}  // namespace

Watcher::Watcher(std::size_t max_watches) : fd_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)), most_(max_watches) {}

Watcher::Watched Watcher::watch(Key key, const std::set<Look>& looks, StateFiles& files) {
  auto& now = keys_[key];
  const auto before = std::exchange(now, {});
  Watched out{.all = static_cast<bool>(fd_)};
  for (auto look : looks) {
    if (!fd_) break;
    const auto dir = files.open_for_watch(look);
    if (!dir) {
      out.all = false;
      continue;
    }
    const auto path = "/proc/self/fd/" + std::to_string(dir.get());
    // Asking again for a directory that is watched gives the same number, so the bound is checked afterwards.
    const int watch = ::inotify_add_watch(fd_.get(), path.c_str(), kEvents);
    if (watch < 0) {
      out.all = false;
      continue;
    }
    if (!directories_.contains(watch) && directories_.size() >= most_) {
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
  // What is looked at no longer; after the new ones, so that a watch is not given up and taken again.
  std::vector<std::pair<int, std::string>> no_longer;
  std::ranges::set_difference(before, now, std::back_inserter(no_longer));
  if (now.empty()) keys_.erase(key);
  for (const auto& [watch, name] : no_longer) drop(watch, name, key);
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
  std::unordered_set<Key> told;
  if (!fd_) return told;
  alignas(inotify_event) char buffer[16 * 1024];
  for (;;) {
    const auto size = ::read(fd_.get(), buffer, sizeof buffer);
    if (size <= 0) return told;
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
        for (const auto& [_, keys] : by_name) told.insert(keys.begin(), keys.end());
        // A removed watch's number is never used again before it wraps; those who looked will look and watch anew.
        if ((event.mask & IN_IGNORED) != 0) directories_.erase(directory);
        continue;
      }
      for (const std::string& wanted : {std::string(), std::string(event.len > 0 ? name : "")}) {
        if (const auto keys = by_name.find(wanted); keys != by_name.end()) {
          told.insert(keys->second.begin(), keys->second.end());
        }
      }
    }
  }
}

}  // namespace cgwarden::discovery
