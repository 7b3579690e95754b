// SPDX-License-Identifier: Apache-2.0
// Gives every cgroup of a roster its container, pod or unit: by its path and by what runtimes left on disk.
//
//   roster -> locate(path), Claims -> readers of state -> Containers      a cgroup is looked up when it appears,
//   inotify on what was looked at ------^                                 when its state changes, and, not named yet,
//   back-off ---------------------------^                                 again and again, ever more seldom
//
// A cgroup is one life of a cgroup: a container that is started again is another one. What has ended is shown for a
// while with what its runtime says then. All on the loop's thread; tables are handed out immutable.
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
    std::size_t max_ended = 256;
    std::chrono::seconds ended_for{300};
  };
  struct Stats {
    StateFiles::Stats files;
    std::size_t watches = 0;
    std::size_t named = 0;    // containers and machines whose name is known
    std::size_t unnamed = 0;  // and those whose name is not
    std::size_t ended = 0;
    std::uint64_t lookups = 0;
  };

  // `notice` gets single lines for the log.
  Resolver(Options options, std::function<void(std::string)> notice);

  // What is known of the roster's cgroups.
  std::shared_ptr<const model::Containers> resolve(const std::shared_ptr<const model::CgroupList>& cgroup_list,
                                                   base::Monotonic now = base::monotonic_now());
  // Ids of the cgroups of which a daemon of "docker", "podman" or "containerd" may know more than the disk tells: of
  // those that have ended, how.
  [[nodiscard]] std::vector<std::string> wanted(std::string_view title) const;
  // What that daemon said, kept as long as the cgroups are there, and for a moment where they are not yet: the disk
  // comes first, this fills what it leaves open. True: table() is another one.
  bool tell(std::string_view title, const Daemon::Told& told, base::Monotonic now = base::monotonic_now());
  // That it said how this one has ended. What its database says later may know nothing of that.
  bool record_exit(const std::string& id, std::int64_t exit_code, std::optional<base::Wall> finished,
                   const std::string& source, base::Monotonic now = base::monotonic_now());
  // Ids whose cgroups came or went since the last call: what a daemon said of them is of another moment.
  std::vector<std::string> take_turned() { return std::exchange(turned_, {}); }
  // It answers no longer: what may have changed since (state, health, restarts) is not known by it any more.
  bool invalidate(std::string_view title, base::Monotonic now = base::monotonic_now());

  // Readable when state on disk changed; -1: there is no inotify.
  [[nodiscard]] int event_fd() const { return watcher_.event_fd(); }
  // Looks again where the kernel says something changed, and where the time has come. True: table() is another one.
  bool refresh(base::Monotonic now = base::monotonic_now());
  // When refresh() will have something to do without an event; nothing when it will not.
  [[nodiscard]] std::optional<base::Monotonic> next() const;

  [[nodiscard]] const std::shared_ptr<const model::Containers>& table() const { return table_; }
  [[nodiscard]] Stats stats() const;

 private:
  using Key = Watcher::Key;
  struct Entry {
    std::shared_ptr<const model::Cgroup> cgroup;
    std::optional<PathMatch> place;
    std::string daemon_id;                              // its id to a daemon; empty: none is to be asked for it
    std::shared_ptr<const model::Container> container;  // null: nothing is known
    bool named = false;                                 // nothing more is waited for
    bool known = false;                                 // and that is because it is known who it is
    bool watched = true;
    std::uint64_t seen = 0;
    std::chrono::nanoseconds delay{};
    base::Monotonic due = base::Monotonic::max();
  };
  struct Ended {
    Entry entry;
    base::Monotonic gone;
    base::Wall gone_wall;
  };

  struct DaemonFacts {
    model::ContainerPtr container;  // never null
    base::Monotonic at;
  };

  // Reads what is known of the cgroup now. True: that is something else than before.
  bool look_up(Key key, Entry& entry, base::Monotonic now);
  // What the states say of an engine's container. True: they know it.
  bool read_states(StateContext& context, const PathMatch& place, bool known, ContainerFacts& out);
  model::ContainerPtr find_out(const Entry& entry, bool& named);
  void look_up_ended(Key key, Ended& ended);
  bool refresh_claims(base::Monotonic now);
  bool drop_ended(base::Monotonic now);
  bool look_up_reported(const std::unordered_set<std::string>& ids, base::Monotonic now);
  [[nodiscard]] std::string daemon_id(const Entry& entry) const;
  void forget_reported(base::Monotonic now);
  void changed(const std::string& id);
  void plan(Entry& entry, bool again, base::Monotonic now);
  void publish();

  Options options_;
  LabelFilter labels_;
  StateFiles files_;
  StateContext context_;
  Users users_{files_};
  Claims claims_;
  std::unordered_map<std::string, DaemonFacts> told_;  // by id
  std::vector<std::string> turned_;
  Watcher watcher_;
  std::unordered_map<Key, Entry> entries_;
  std::unordered_map<Key, Ended> ended_;
  std::deque<Key> ended_order_;      // oldest first
  std::unordered_set<Key> waiting_;  // entries with a due time
  base::Monotonic claims_due_{};     // at once
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
