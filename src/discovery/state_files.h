// SPDX-License-Identifier: Apache-2.0
// Reads files below a runtime's state directory. They belong to somebody else: a link, a FIFO, a device, a huge or a
// half-written file is answered with "unusable" and counted, told once, and asked again later; nothing outside of the
// directory is opened, nothing blocks, nothing grows.
//
// What was looked at is remembered, so that it can be watched (watcher.h). Loop thread.
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

enum class Answer : std::uint8_t { found, absent, unusable };

// Where somebody looked: for one name in a directory or, the name being empty, for all of it.
struct Look {
  std::string root;
  std::string directory;  // relative to the root; "" is the root itself
  std::string name;
  friend auto operator<=>(const Look&,
                          const Look&) = default;  // NOLINT(modernize-use-nullptr): clang 14 sees one in <=>
};

// What is written once and never again need not be watched: each watch holds memory of the kernel's.
enum class Changes : std::uint8_t { watched, none };

class StateFiles {
 public:
  static constexpr std::size_t kFileLimit = std::size_t{4} << 20U;
  static constexpr std::size_t kListLimit = 16'384;

  struct Stats {
    std::uint64_t reads = 0;
    std::uint64_t denied = 0;   // by rights
    std::uint64_t refused = 0;  // links, FIFOs, devices, and what lies outside
    std::uint64_t too_big = 0;  // and directories with too many entries
    std::uint64_t broken = 0;   // half-written, no UTF-8, another format
  };

  // Roots are paths of the host, below `rootfs`. What stands behind a "/./" in one is not the administrator's but a
  // user's choice: no link is followed there, and no other mount is entered, as a user may make both. `notice` gets a
  // line for the log.
  StateFiles(std::string rootfs, std::string procfs, std::function<void(std::string)> notice);

  // The whole of root/relative. Tells refusals apart from absence.
  Answer read(const std::string& root, const std::string& relative, std::string& out, std::size_t limit = kFileLimit,
              Changes changes = Changes::watched);
  // The same, parsed by parse_state().
  Answer read_json(const std::string& root, const std::string& relative, nlohmann::json& out,
                   Changes changes = Changes::watched);
  // Identity and age of a file, to know whether it is another one now; 0 when there is none.
  std::uint64_t version(const std::string& root, const std::string& relative, Changes changes = Changes::watched);
  // When the file was put there or written last, by the kernel's clock. Not watched: for a file that was just read.
  std::optional<base::Wall> changed(const std::string& root, const std::string& relative);
  // Names in a directory, sorted, without those that begin with a dot.
  std::vector<std::string> list(const std::string& root, const std::string& relative);
  // The file is there, but it is not what it should be.
  Answer broken(const std::string& root, const std::string& relative, std::string_view why);
  // A process of the host is there.
  [[nodiscard]] bool alive(std::int64_t pid) const;

  // The directory itself, for the watcher; or the nearest one above it that exists, `directory` and `name` changed so.
  base::Fd open_for_watch(Look& look);

  // What was looked at since the last call.
  std::set<Look> take_looks() { return std::exchange(looks_, {}); }
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  base::Fd open_root(const std::string& root);
  base::Fd open_below(const base::Fd& root, const std::string& relative, int flags, bool of_user);
  Answer failed(int error, const std::string& root, const std::string& relative);
  void tell(const std::string& root, const std::string& relative, std::string_view why);
  void look(const std::string& root, std::string_view relative, bool whole);

  std::string rootfs_;
  std::string procfs_;
  std::function<void(std::string)> notice_;
  std::set<Look> looks_;
  std::set<std::string> told_;  // root and reason
  Stats stats_;
};

// A state file's text as an object or a list; nothing when it is neither, or only half written. Values below a key
// "env" or "Env" are never kept. Pure.
std::optional<nlohmann::json> parse_state(std::string_view text);

// May stand as one component of a path below a root.
bool is_file_name(std::string_view text);

}  // namespace cgwarden::discovery
