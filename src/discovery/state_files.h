// SPDX-License-Identifier: Apache-2.0
// Reads files below a runtime's state directory. Their content is untrusted: a symbolic link, a FIFO, a device, an
// oversized or an incomplete file is reported as `unusable`, counted, logged once and read again later. No file outside
// of the directory is opened, no read blocks, and memory is bounded.
//
// The names read are recorded so that they can be watched (watcher.h). Loop thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/clock.h"
#include "src/base/fd.h"
#include "src/base/result.h"

namespace cgwarden::discovery {

enum class FileStatus : std::uint8_t { found, missing, unusable };

// An object to watch with inotify: one name in a directory or, if the name is empty, all names in it.
struct WatchKey {
  std::string root;
  std::string directory;  // relative to the root; empty: the root itself
  std::string name;
  friend auto operator<=>(const WatchKey&,
                          const WatchKey&) = default;  // NOLINT(modernize-use-nullptr): clang 14 sees one in <=>
};

// Whether a file may change. Immutable files are not watched, because each inotify watch pins kernel memory.
enum class Changes : std::uint8_t { watched, none };

class StateFiles {
 public:
  static constexpr std::size_t kFileLimit = std::size_t{4} << 20U;
  static constexpr std::size_t kListLimit = 16'384;

  struct Stats {
    std::uint64_t reads = 0;
    std::uint64_t denied = 0;   // permission denied
    std::uint64_t refused = 0;  // links, FIFOs, devices, paths out of the root, I/O errors
    std::uint64_t too_big = 0;  // oversized files and directories with too many entries
    std::uint64_t broken = 0;   // incomplete, not UTF-8, unknown format
  };

  // Roots are host paths, below `rootfs`. In a root, the part after "/./" is controlled by a user rather than by the
  // administrator: links are not followed and mount points are not crossed there, because users can create both. `log`
  // is called with single lines for the log.
  StateFiles(std::string rootfs, std::string procfs, std::function<void(std::string)> log);

  // Reads all of root/relative into `out`, at most `limit` bytes.
  FileStatus read(const std::string& root, const std::string& relative, std::string& out,
                  std::size_t limit = kFileLimit, Changes changes = Changes::watched);
  // Reads and parses (parse_state()).
  FileStatus read_json(const std::string& root, const std::string& relative, nlohmann::json& out,
                       Changes changes = Changes::watched);
  // Hash of inode, size and ctime, which changes with the file; 0 if it cannot be opened.
  std::uint64_t version(const std::string& root, const std::string& relative, Changes changes = Changes::watched);
  // The ctime of the file: when it was created or last written. Adds no watch; for a file that was just read.
  std::optional<base::Wall> changed_at(const std::string& root, const std::string& relative);
  // Names in a directory, sorted, without those that start with a dot. At most kListLimit.
  std::vector<std::string> list(const std::string& root, const std::string& relative);
  // Counts and logs a file with invalid content. Returns `unusable`.
  FileStatus broken(const std::string& root, const std::string& relative, std::string_view reason);
  // True if the process exists on the host.
  [[nodiscard]] bool alive(std::int64_t pid) const;

  // Opens the directory of `key` for an inotify watch. If it does not exist, opens the nearest existing ancestor and
  // updates `key` accordingly.
  base::Fd open_for_watch(WatchKey& key);

  // Names read since the last call.
  std::set<WatchKey> take_watch_keys() { return std::exchange(watch_keys_, {}); }
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  base::Fd open_root(const std::string& root);
  base::Fd open_below(const base::Fd& root, const std::string& relative, int flags, bool of_user);
  FileStatus failed(int error, const std::string& root, const std::string& relative);
  void log_once(const std::string& root, const std::string& relative, std::string_view reason);
  void add_watch_key(const std::string& root, std::string_view relative, bool whole);

  std::string rootfs_;
  std::string procfs_;
  std::function<void(std::string)> log_;
  std::set<WatchKey> watch_keys_;
  std::set<std::string> logged_;  // root and reason of lines that were logged
  Stats stats_;
};

// Parses a state file. nullopt: not a JSON object or array, or incomplete. Values of keys "env" and "Env" are dropped.
// Pure.
std::optional<nlohmann::json> parse_state(std::string_view text);

// True if `text` is valid as one component of a path.
bool is_file_name(std::string_view text);

}  // namespace cgwarden::discovery
