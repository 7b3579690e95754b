// SPDX-License-Identifier: Apache-2.0
// Maps each cgroup of a CgroupList to its container, pod or systemd unit, based on its path, on the runtimes' state
// files and on reports of container daemons.
//
//   CgroupList -> locate(path), Claims -> state readers -> Containers     a cgroup is looked up when it appears, when
//   inotify events on the files read --------^                            its state changes and, until its name is
//   exponential backoff ---------------------^                            known, again with exponential backoff
//
// A cgroup that is removed and created again is a different one, even at the same path: a restarted container is a new
// entry. Exited containers stay in the table for `exited_for`, with what their runtime reports about the exit. Loop
// thread. The tables returned are immutable.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "src/base/clock.h"
#include "src/discovery/daemon.h"
#include "src/discovery/state.h"
#include "src/discovery/state_files.h"
#include "src/discovery/users.h"
#include "src/discovery/watcher.h"
#include "src/model/snapshot.h"

namespace cgwarden::discovery {

class Resolver {
 public:
  struct Options {
    Roots roots = {};
    std::string rootfs = "/";
    std::string procfs = "/proc";
    std::vector<std::string> labels = {};
    std::size_t max_watches = 8192;
    std::size_t max_exited = 256;
    std::chrono::seconds exited_for{300};
  };
  struct Stats {
    StateFiles::Stats files;
    std::size_t watches = 0;
    std::size_t named = 0;    // containers and machines with a known name
    std::size_t unnamed = 0;  // containers and machines without a known name
    std::size_t exited = 0;
    std::uint64_t lookups = 0;
  };

  // `log` is called with single lines for the log.
  Resolver(Options options, std::function<void(std::string)> log);

  // Updates the table to this list of cgroups and returns it.
  std::shared_ptr<const model::Containers> resolve(const std::shared_ptr<const model::CgroupList>& cgroup_list,
                                                   base::Monotonic now = base::monotonic_now());
  // Ids of containers about which the daemon `title` ("docker", "podman" or "containerd") may have data that is not on
  // disk; for exited containers: exit code and time.
  [[nodiscard]] std::vector<std::string> wanted(std::string_view title) const;
  // Merges a daemon's reports. They are kept as long as the cgroup exists, and for 10 s if it does not exist yet. State
  // on disk takes precedence; reports only supply missing facts. True: table() has changed.
  bool merge(std::string_view title, const Daemon::Results& results, base::Monotonic now = base::monotonic_now());
  // Records an exit event. containerd's database does not keep the exit code once the task is deleted. True: table()
  // has changed.
  bool record_exit(const std::string& id, std::int64_t exit_code, std::optional<base::Wall> finished,
                   const std::string& source, base::Monotonic now = base::monotonic_now());
  // Ids whose cgroups were created or removed since the last call: earlier reports about them are stale.
  std::vector<std::string> take_changed() { return std::exchange(changed_, {}); }
  // Drops the daemon's facts that may be stale (state, health, restart count), because it no longer answers. True:
  // table() has changed.
  bool invalidate(std::string_view title, base::Monotonic now = base::monotonic_now());

  // Becomes readable when state on disk changes; -1 if inotify is not available.
  [[nodiscard]] int event_fd() const { return watcher_.event_fd(); }
  // Repeats lookups after inotify events and lookups that are due. True: table() has changed.
  bool refresh(base::Monotonic now = base::monotonic_now());
  // Time at which the next lookup without an event is due; nullopt if none is.
  [[nodiscard]] std::optional<base::Monotonic> next() const;

  [[nodiscard]] const std::shared_ptr<const model::Containers>& table() const { return table_; }
  [[nodiscard]] Stats stats() const;

 private:
  using Key = Watcher::Key;
  struct Entry {
    std::shared_ptr<const model::Cgroup> cgroup;
    std::optional<PathMatch> match;
    std::string daemon_id;                              // id for queries to daemons; empty: not queried
    std::shared_ptr<const model::Container> container;  // null: unknown
    bool named = false;                                 // no retry needed
    bool known = false;                                 // identified, not merely a cgroup without a name of its own
    bool watched = true;
    std::uint64_t seen = 0;
    std::chrono::nanoseconds delay{};
    base::Monotonic due = base::Monotonic::max();
  };
  struct Exited {
    Entry entry;
    base::Monotonic removed_at;
    base::Wall removed_wall;
  };

  struct DaemonFacts {
    model::ContainerPtr container;  // never null
    base::Monotonic at;
  };

  // Reads the current facts about the cgroup. True: they have changed.
  bool look_up(Key key, Entry& entry, base::Monotonic now);
  // Reads the state of a container from all matching runtimes. True: at least one of them knows it.
  bool read_states(StateContext& context, const PathMatch& match, bool known, ContainerFacts& out);
  model::ContainerPtr collect_facts(const Entry& entry, bool& named);
  void look_up_exited(Key key, Exited& exited);
  bool refresh_claims(base::Monotonic now);
  bool drop_exited(base::Monotonic now);
  bool look_up_ids(const std::unordered_set<std::string>& ids, base::Monotonic now);
  [[nodiscard]] std::string daemon_id(const Entry& entry) const;
  void drop_stale_facts(base::Monotonic now);
  void mark_changed(const std::string& id);
  void schedule(Entry& entry, bool repeated, base::Monotonic now);
  void publish();

  Options options_;
  LabelFilter labels_;
  StateFiles files_;
  StateContext context_;
  Users users_{files_};
  Claims claims_;
  std::unordered_map<std::string, DaemonFacts> daemon_facts_;  // by id
  std::vector<std::string> changed_;
  Watcher watcher_;
  std::unordered_map<Key, Entry> entries_;
  std::unordered_map<Key, Exited> exited_;
  std::deque<Key> exited_order_;     // oldest first
  std::unordered_set<Key> waiting_;  // keys of entries with a due time
  base::Monotonic claims_due_{};     // immediately
  std::chrono::nanoseconds claims_delay_{};
  std::shared_ptr<const model::CgroupList> cgroup_list_;
  std::shared_ptr<const model::Containers> table_;
  std::uint64_t round_ = 0;
  std::uint64_t generation_ = 0;
  std::uint64_t lookups_ = 0;
  std::size_t named_ = 0;  // in the table
  std::size_t unnamed_ = 0;
};

}  // namespace cgwarden::discovery
