// SPDX-License-Identifier: Apache-2.0
// Collection and Sampler on the real cgroup file systems of this machine.
#include "collectors/collection.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <cstring>
#include <set>

#include "collectors/sampler.h"
#include "src/base/file.h"
#include "src/base/text.h"
#include "tests/kernel/test_cgroup.h"

namespace cgwarden {
namespace {

using testing_kernel::CgroupTest;
using testing_kernel::host;
using testing_kernel::read;
using testing_kernel::write;

class Collection : public CgroupTest {
 protected:
  void open(cgroup::Tree::Options tree = {}, std::size_t max_open_files = 2048) {
    auto opened = collectors::Collection::open(catalogue, {.tree = tree, .max_open_files = max_open_files},
                                               [this](const std::string& line) { log_lines.push_back(line); });
    ASSERT_TRUE(opened) << opened.error().what;
    collection = std::move(*opened);
  }

  const model::Cgroup* find(const model::Snapshot& snapshot, const std::string& path) {
    for (index = 0; index < snapshot.cgroup_count(); ++index) {
      if (snapshot.cgroup_list->cgroups[index]->path == path) return snapshot.cgroup_list->cgroups[index].get();
    }
    return nullptr;
  }

  // Returns a field of the cgroup that find() found last.
  model::Value value(const model::Snapshot& snapshot, const std::string& field) const {
    return snapshot.value(*catalogue->find(field), index);
  }

  std::shared_ptr<const model::Catalogue> catalogue = collectors::make_catalogue();
  std::unique_ptr<collectors::Collection> collection;
  std::vector<std::string> log_lines;
  model::CgroupIndex index = 0;
};

TEST_F(Collection, ReportsACgroupFromItsCreationToItsRemoval) {
  open();
  const auto before = base::wall_now();
  make("/created");
  auto snapshot = collection->collect();
  const auto* cgroup = find(*snapshot, path("/created"));
  ASSERT_NE(cgroup, nullptr);
  EXPECT_TRUE(cgroup->creation_observed);
  EXPECT_GE(cgroup->created, before);
  EXPECT_GE(snapshot->tree.cgroups_created, 1U);
  remove("/created");
  snapshot = collection->collect();
  EXPECT_EQ(find(*snapshot, path("/created")), nullptr);
  EXPECT_GE(snapshot->tree.cgroups_removed, 1U);
}

TEST_F(Collection, TreatsARecreatedCgroupAsAnotherOne) {
  make("/again");
  open();
  const auto* first = find(*collection->collect(), path("/again"));
  ASSERT_NE(first, nullptr);
  const auto id = first->id;
  remove("/again");
  make("/again");
  const auto snapshot = collection->collect();
  const auto* second = find(*snapshot, path("/again"));
  ASSERT_NE(second, nullptr);
  EXPECT_NE(second->id, id);
  EXPECT_TRUE(second->creation_observed);
}

TEST_F(Collection, FindsADeepSubtreeThatIsCreatedAtOnce) {
  open();
  std::string cgroup;
  for (int depth = 0; depth < 40; ++depth) {
    cgroup += "/d";
    make(cgroup);
  }
  auto snapshot = collection->collect();
  ASSERT_NE(find(*snapshot, path(cgroup)), nullptr);
  EXPECT_EQ(snapshot->cgroup_list->cgroups[snapshot->cgroup_list->parents[index]]->path, path(cgroup.substr(2)));
  remove("/d");
  snapshot = collection->collect();
  EXPECT_EQ(find(*snapshot, path("/d")), nullptr);
}

TEST_F(Collection, WalksTheTreeWithoutInotify) {
  open({.watch = false});
  make("/walked");
  auto snapshot = collection->collect();
  EXPECT_FALSE(snapshot->tree.inotify_active);
  EXPECT_NE(find(*snapshot, path("/walked")), nullptr);
  remove("/walked");
  make("/other");
  snapshot = collection->collect();
  EXPECT_EQ(find(*snapshot, path("/walked")), nullptr);
  EXPECT_NE(find(*snapshot, path("/other")), nullptr);
}

TEST_F(Collection, WalksTheTreeAndLogsOnceAfterAnInotifyOverflow) {
  const auto kept =
      base::to_int<int>(base::trim_end(base::read_file("/proc/sys/fs/inotify/max_queued_events").value_or("")));
  if (!kept || *kept > 100'000)
    GTEST_SKIP() << "the inotify queue is larger than the number of events that a test can cause";
  make("/parent");
  const auto shortly = host().all.front().mount_point + path("/parent/short");  // one hierarchy is enough
  open();
  for (std::uint64_t overflows = 1; overflows <= 2; ++overflows) {
    for (int i = 0; i <= *kept / 2; ++i) {  // two events each
      ASSERT_EQ(::mkdir(shortly.c_str(), 0755), 0) << std::strerror(errno);
      ASSERT_EQ(::rmdir(shortly.c_str()), 0) << std::strerror(errno);
    }
    make("/parent/lost");
    auto snapshot = collection->collect();
    EXPECT_NE(find(*snapshot, path("/parent/lost")), nullptr);
    EXPECT_EQ(find(*snapshot, path("/parent/short")), nullptr);
    EXPECT_GE(snapshot->tree.watch_overflows, overflows);
    EXPECT_TRUE(snapshot->tree.inotify_active);
    remove("/parent/lost");
    EXPECT_EQ(find(*collection->collect(), path("/parent/lost")), nullptr);
  }
  EXPECT_EQ(std::ranges::count_if(
                log_lines,
                [](const std::string& line) { return line.find("fs.inotify.max_queued_events") != std::string::npos; }),
            1);
}

TEST_F(Collection, WalksTheTreeAndLogsOnceWhenInotifyWatchesRunOut) {
  make("/a");
  make("/a/b");
  // In a user namespace of its own, which has its own limit, so that no other process is affected.
  const auto child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::unshare(CLONE_NEWUSER) != 0) ::_exit(77);
    write("/proc/sys/user/max_inotify_watches", "2");
    open();
    make("/later");
    const auto snapshot = collection->collect();
    const bool found = find(*snapshot, path("/a/b")) != nullptr && find(*snapshot, path("/later")) != nullptr;
    (void)collection->collect();
    const auto log_count = std::ranges::count_if(log_lines, [](const std::string& line) {
      return line.find("fs.inotify.max_user_watches") != std::string::npos;
    });
    ::_exit(!found ? 1 : snapshot->tree.inotify_active ? 2 : log_count == 1 ? 0 : 3);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "user namespaces cannot be created on this machine";
  EXPECT_EQ(WEXITSTATUS(status), 0) << "1: cgroups not found, 2: inotify still active, 3: not logged once";
}

TEST_F(Collection, LogsOnceThatCgroupsCannotBeOpened) {
  for (const std::string cgroup : {"/closed", "/closed-too", "/open"}) make(cgroup);
  for (const auto& h : host().all) {
    for (const std::string cgroup : {"/closed", "/closed-too"}) {
      ASSERT_EQ(::chmod((h.mount_point + path(cgroup)).c_str(), 0700), 0);
    }
  }
  const auto child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::setresuid(65534, 65534, 65534) != 0) ::_exit(4);
    open();
    const auto snapshot = collection->collect();
    const bool right = find(*snapshot, path("/open")) != nullptr && find(*snapshot, path("/closed")) == nullptr;
    const auto log_count = std::ranges::count_if(log_lines, [](const std::string& line) {
      return line.starts_with("no permission to open cgroup, such cgroups are not shown: ") &&
             line.find("CAP_DAC_READ_SEARCH") != std::string::npos;
    });
    ::_exit(!right ? 1 : log_count == 1 ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "1: wrong cgroups found, 2: not logged once";
}

TEST_F(Collection, OpensFilesByPathWithoutDirectoryDescriptors) {
  make("/by-path");
  spawn("/by-path", [] {});
  open({.max_open_dirs = 0}, 0);
  const auto snapshot = collection->collect();
  ASSERT_NE(find(*snapshot, path("/by-path")), nullptr);
  EXPECT_EQ(snapshot->tree.open_files, 0U);
  if (!dir("pids").empty()) {
    EXPECT_EQ(value(*snapshot, "pids_current"), model::Value::of(1));
  }
}

TEST_F(Collection, CountsAndLogsCgroupsBeyondTheLimit) {
  make("/x");
  open({.max_cgroups = 1});
  const auto snapshot = collection->collect();
  EXPECT_EQ(snapshot->cgroup_count(), 1U);
  EXPECT_GE(snapshot->tree.dropped_cgroups, 1U);
  EXPECT_THAT(log_lines, testing::Contains(testing::HasSubstr("--sampler.max-cgroups")));
}

TEST_F(Collection, KeepsUnusualNamesByteForByte) {
  const std::string names[] = {
      "/quote\"back\\slash", "/esc\x1b[31m", "/\xff\xfe", "/" + std::string(200, 'n'), "/-dash", "/sp ace",
      "/\xe2\x80\xae"};
  open();
  for (const auto& name : names) make(name);
  const auto snapshot = collection->collect();
  for (const auto& name : names) EXPECT_NE(find(*snapshot, path(name)), nullptr) << name;
}

TEST_F(Collection, ReadsPidsCurrentAndPidsMax) {
  if (dir("pids").empty()) GTEST_SKIP() << "no pids controller on this kernel";
  make("/pids");
  spawn("/pids", [] {});
  spawn("/pids", [] {});
  open();
  auto snapshot = collection->collect();
  ASSERT_NE(find(*snapshot, path("/pids")), nullptr);
  EXPECT_EQ(value(*snapshot, "pids_current"), model::Value::of(2));
  EXPECT_TRUE(value(*snapshot, "pids_max").is_unlimited());
  ASSERT_TRUE(write(dir("pids", "/pids") + "/pids.max", "17"));
  snapshot = collection->collect();
  find(*snapshot, path("/pids"));
  EXPECT_EQ(value(*snapshot, "pids_max"), model::Value::of(17));
}

TEST_F(Collection, ReportsMemoryInBytes) {
  if (dir("memory").empty()) GTEST_SKIP() << "no memory controller on this kernel";
  constexpr std::int64_t size = 64 << 20;
  make("/memory");
  spawn("/memory", [] {
    void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::memset(at, 1, size);
  });
  open();
  const auto snapshot = collection->collect();
  ASSERT_NE(find(*snapshot, path("/memory")), nullptr);
  EXPECT_NEAR(double(value(*snapshot, "memory_anon").fixed()), double(size), 0.05 * size);
  EXPECT_GE(value(*snapshot, "memory_current").fixed(), size);
  EXPECT_TRUE(value(*snapshot, "memory_max").is_unlimited());
}

TEST_F(Collection, ReportsCpuTimeInSeconds) {
  make("/cpu");
  int out[2];
  ASSERT_EQ(::pipe(out), 0);
  spawn("/cpu", [&] {
    rusage used{};
    do {
      ::getrusage(RUSAGE_SELF, &used);
    } while (used.ru_utime.tv_sec + used.ru_stime.tv_sec < 1);
    const double seconds = double(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                           double(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    [[maybe_unused]] const auto n = ::write(out[1], &seconds, sizeof seconds);
  });
  double seconds = 0;
  ASSERT_EQ(::read(out[0], &seconds, sizeof seconds), ssize_t{sizeof seconds});
  open();
  const auto snapshot = collection->collect();
  ASSERT_NE(find(*snapshot, path("/cpu")), nullptr);
  EXPECT_NEAR(double(value(*snapshot, "cpu_usage").fixed()) / 1e9, seconds, 0.05 * seconds);
}

TEST_F(Collection, CountsNoErrorsForCgroupsRemovedWhileTheyAreRead) {
  open();
  std::atomic<bool> stop{false};
  std::thread churn([&] {
    while (!stop) {
      // All are created before the first is removed: each exists long enough to be found, and is removed while others
      // are read.
      for (int i = 0; i < 20; ++i) make("/churn" + std::to_string(i));
      for (int i = 0; i < 20; ++i) remove("/churn" + std::to_string(i));
    }
  });
  auto snapshot = collection->collect();
  int removed = 0;
  int alone = 0;
  for (int i = 0; i < 200 || removed == 0;
       ++i) {  // which of them are removed while they are read depends on the scheduler
    snapshot = collection->collect();
    for (index = 0; index < snapshot->cgroup_count(); ++index) {
      if (!snapshot->cgroup_list->cgroups[index]->path.starts_with(path("/churn"))) continue;
      int read = 0;
      int derived = 0;
      for (std::size_t id = 0; id < snapshot->columns.size(); ++id) {
        const auto& dense = snapshot->columns[id].dense;
        if (index >= dense.size() || !dense[index].has_value()) continue;
        const auto& field = catalogue->field(static_cast<model::FieldId>(id));
        const bool of_ancestors = field.name.starts_with("effective_") || field.name == "removed_descendants_oom_kill";
        ++(of_ancestors ? derived : read);
      }
      if (read > 0) continue;
      ++removed;
      alone += derived;
    }
  }
  stop = true;
  churn.join();
  EXPECT_EQ(alone, 0) << "values derived from ancestors exist for cgroups that could not be read";
  snapshot = collection->collect();
  for (std::size_t c = 0; c < snapshot->collectors.size(); ++c) {
    EXPECT_EQ(snapshot->collectors[c].errors, 0U) << catalogue->collectors()[c].name;
  }
}

TEST_F(Collection, KeepsAtMostMaxOpenFilesOpen) {
  for (int i = 0; i < 10; ++i) make("/fd" + std::to_string(i));
  open({}, 25);
  for (int sample = 0; sample < 3; ++sample) EXPECT_LE(collection->collect()->tree.open_files, 25U);
}

TEST_F(Collection, ClosesDescriptorsWhenTheCgroupIsRemoved) {
  struct Descriptors {
    std::size_t ours = 0;    // of the test's cgroups
    std::size_t others = 0;  // not in a cgroup file system; other cgroups of the machine may change meanwhile
  };
  std::set<std::pair<dev_t, ino_t>> made;
  const auto descriptors = [&] {
    Descriptors out;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      struct stat st {};
      struct statfs fs {};
      if (::stat(entry.path().c_str(), &st) != 0 || ::statfs(entry.path().c_str(), &fs) != 0) continue;
      if (fs.f_type != CGROUP_SUPER_MAGIC && fs.f_type != CGROUP2_SUPER_MAGIC) {
        ++out.others;
      } else if (made.contains({st.st_dev, st.st_ino})) {
        ++out.ours;
      }
    }
    return out;
  };
  open({}, 5000);  // more than all cgroups of this machine need, so that all files may stay open
  for (int sample = 0; sample < 4; ++sample) (void)collection->collect();  // idle cgroups close theirs
  const auto kept = collection->collect()->tree.open_files;
  const auto before = descriptors().others;
  for (int sample = 0; sample < 5; ++sample) {
    for (int i = 0; i < 10; ++i) {
      const auto cgroup = "/fd" + std::to_string(i);
      make(cgroup);
      for (const auto& h : host().all) {
        for (const auto& entry : std::filesystem::directory_iterator(h.mount_point + path(cgroup))) {
          struct stat st {};
          if (::stat(entry.path().c_str(), &st) == 0) made.emplace(st.st_dev, st.st_ino);
        }
      }
    }
    EXPECT_GT(collection->collect()->tree.open_files, kept + 50);
    EXPECT_GT(descriptors().ours, 50U);
    for (int i = 0; i < 10; ++i) remove("/fd" + std::to_string(i));
    (void)collection->collect();
  }
  EXPECT_EQ(descriptors().ours, 0U);
  EXPECT_LE(descriptors().others, before);
}

TEST_F(Collection, ReadsAThreadedV2Cgroup) {
  const auto v2 = dir("v2");
  if (v2.empty()) GTEST_SKIP() << "no v2 hierarchy on this kernel";
  make("/threads");
  ASSERT_TRUE(write(v2 + "/threads/cgroup.type", "threaded"));
  open();
  const auto snapshot = collection->collect();
  ASSERT_NE(find(*snapshot, path("/threads")), nullptr);
  const auto& types = snapshot->columns[*catalogue->find("type")];
  const auto cell = std::ranges::find(types.series, index, &model::Series::cgroup);
  ASSERT_NE(cell, types.series.end());
  EXPECT_EQ(types.text_of(*cell), "threaded");
}

// Settings are not read again without a write; this relies on an inotify event for each write by any process.
TEST_F(Collection, SeesEachWriteToASettingInTheNextSnapshot) {
  struct Setting {
    const char* controller;
    const char* file;
    const char* text;
    const char* field;
    std::int64_t fixed;
  };
  const Setting settings[] = {
      {"pids", "pids.max", "123", "pids_max", 123},
      {"memory", "memory.limit_in_bytes", "104857600", "memory_max", 104'857'600},
      {"memory", "memory.max", "104857600", "memory_max", 104'857'600},
      {"memory", "memory.high", "104857600", "memory_high", 104'857'600},
      {"memory", "memory.soft_limit_in_bytes", "52428800", "memory_soft_limit", 52'428'800},
      {"cpu", "cpu.shares", "512", "cpu_shares", 512},
      {"cpu", "cpu.weight", "50", "cpu_weight", 50},
      {"cpu", "cpu.cfs_quota_us", "50000", "cpu_quota", 50'000'000},
      {"cpu", "cpu.max", "50000 100000", "cpu_quota", 50'000'000},
      {"v2", "cgroup.max.depth", "9", "max_depth", 9},
      {"v2", "cgroup.max.descendants", "99", "max_descendants", 99},
  };
  make("/set");
  open();
  (void)collection->collect();
  int tried = 0;
  for (const auto& s : settings) {
    const auto file = dir(s.controller, "/set") + "/" + s.file;
    if (dir(s.controller).empty() || ::access(file.c_str(), F_OK) != 0) continue;
    ASSERT_TRUE(write(file, s.text)) << file;
    const auto snapshot = collection->collect();
    ASSERT_NE(find(*snapshot, path("/set")), nullptr);
    EXPECT_EQ(value(*snapshot, s.field), model::Value::of(s.fixed)) << file;
    ++tried;
  }
  EXPECT_GE(tried, 2);
}

TEST_F(Collection, ReadsCountersForEachSnapshot) {
  make("/busy");
  open();
  (void)collection->collect();
  spawn("/busy", [] {
    rusage used{};
    while (used.ru_utime.tv_sec * 1'000'000 + used.ru_utime.tv_usec < 50'000) ::getrusage(RUSAGE_SELF, &used);
  });
  const auto snapshot = collection->collect();
  ASSERT_NE(find(*snapshot, path("/busy")), nullptr);
  EXPECT_GT(value(*snapshot, "cpu_usage").fixed(), 50'000'000);
  if (!dir("memory").empty()) {
    EXPECT_GT(value(*snapshot, "memory_current").fixed(), 0);
  }
  if (!dir("pids").empty()) {
    EXPECT_EQ(value(*snapshot, "pids_current"), model::Value::of(1));
  }
  EXPECT_GT(snapshot->tree.open_files, 0U);
}

TEST_F(Collection, SeesEffectsOfAWriteToTheParent) {
  const auto cpuset = dir("cpuset");
  if (cpuset.empty()) GTEST_SKIP() << "no cpuset controller on this kernel";
  make("/up");
  make("/up/down");
  open();
  const auto effective = [&] {
    const auto snapshot = collection->collect();
    find(*snapshot, path("/up/down"));
    const auto& column = snapshot->columns[*catalogue->find("cpuset_cpus_effective")];
    const auto cell = std::ranges::find(column.series, index, &model::Series::cgroup);
    return cell == column.series.end() ? std::string() : std::string(column.text_of(*cell));
  };
  const auto before = effective();
  if (before == "0") GTEST_SKIP() << "the machine has only one CPU";
  const bool v1 = host().v2() == nullptr || !host().v2()->has("cpuset");
  if (v1) {
    ASSERT_TRUE(write(cpuset + "/up/down/cpuset.cpus", "0"));  // v1 rejects the removal of CPUs that a child uses
  }
  ASSERT_TRUE(write(cpuset + "/up/cpuset.cpus", "0"));
  EXPECT_EQ(effective(), "0");
}

TEST_F(Collection, SeesPopulatedAndTypeOfAV2CgroupChange) {
  const auto v2 = dir("v2");
  if (v2.empty()) GTEST_SKIP() << "no v2 hierarchy on this kernel";
  make("/p");
  make("/p/c");
  open();
  const auto populated = [&](const std::string& cgroup) {
    const auto snapshot = collection->collect();
    find(*snapshot, path(cgroup));
    return value(*snapshot, "populated").fixed();
  };
  EXPECT_EQ(populated("/p"), 0);
  const auto pid = spawn("/p/c", [] {});
  EXPECT_EQ(populated("/p"), 1);
  EXPECT_EQ(populated("/p/c"), 1);
  end(pid);
  for (int tries = 0; tries < 200 && read(v2 + "/p/cgroup.events").find("populated 0") == std::string::npos; ++tries) {
    ::usleep(10'000);
  }
  EXPECT_EQ(populated("/p"), 0);

  const auto type = [&](const std::string& cgroup) {
    const auto snapshot = collection->collect();
    find(*snapshot, path(cgroup));
    const auto& column = snapshot->columns[*catalogue->find("type")];
    const auto cell = std::ranges::find(column.series, index, &model::Series::cgroup);
    return cell == column.series.end() ? std::string() : std::string(column.text_of(*cell));
  };
  EXPECT_EQ(type("/p"), "domain");
  ASSERT_TRUE(write(v2 + "/p/c/cgroup.type", "threaded"));
  EXPECT_EQ(type("/p"), "domain threaded");
  EXPECT_EQ(type("/p/c"), "threaded");
}

TEST_F(Collection, SeesThatAV1FreezeAppliesToDescendants) {
  const auto freezer = dir("freezer");
  if (freezer.empty()) GTEST_SKIP() << "no v1 freezer on this kernel";
  make("/f");
  make("/f/child");
  open();
  (void)collection->collect();
  ASSERT_TRUE(write(freezer + "/f/freezer.state", "FROZEN"));
  auto snapshot = collection->collect();
  ASSERT_NE(find(*snapshot, path("/f")), nullptr);
  EXPECT_EQ(value(*snapshot, "freezer_self_freezing"), model::Value::of(1));
  find(*snapshot, path("/f/child"));
  EXPECT_EQ(value(*snapshot, "freezer_parent_freezing"), model::Value::of(1));
  ASSERT_TRUE(write(freezer + "/f/freezer.state", "THAWED"));
  snapshot = collection->collect();
  find(*snapshot, path("/f/child"));
  EXPECT_EQ(value(*snapshot, "freezer_parent_freezing"), model::Value::of(0));
}

TEST_F(Collection, ReadsSettingsAgainOnlyAfterAWrite) {
  make("/steady");
  open();
  const auto reads = [this](const char* collector) {
    return collection->collect()->collectors[*catalogue->find_collector(collector)].reads;
  };
  if (dir("devices").empty() && dir("freezer").empty()) GTEST_SKIP() << "no v1 hierarchy on this machine";
  const auto per_sample = [&](const char* collector) {
    const auto first = reads(collector);
    return reads(collector) - first;
  };
  const auto all = reads("cpuset");
  const auto without_write = per_sample("cpuset");
  EXPECT_LT(without_write, all / 2);
  ASSERT_TRUE(write(dir("cpuset", "/steady") + "/cpuset.memory_migrate", "1"));
  const auto first = reads("cpuset");
  auto again = per_sample("cpuset");
  for (int tries = 0; tries < 50 && again > without_write; ++tries)
    again = per_sample("cpuset");  // other programs may write meanwhile
  EXPECT_LE(again, without_write);
  EXPECT_GT(first, 0U);
}

TEST_F(Collection, ReadsNoFilesBetweenSnapshots) {
  make("/first");
  open();
  auto snapshot = collection->collect();
  const auto reads = [](const model::Snapshot& s) {
    std::uint64_t sum = 0;
    for (const auto& c : s.collectors) sum += c.reads;
    return sum;
  };
  const auto before = reads(*snapshot);
  collection->take_events();
  make("/second");
  collection->take_events();
  snapshot.reset();
  snapshot = collection->collect();
  const auto once = reads(*snapshot) - before;
  EXPECT_LT(once, 2 * before);
}

// The sampler processes a burst of events together after a short delay; a request must not miss them.
TEST_F(Collection, SeesCgroupsCreatedAndRemovedJustBefore) {
  boost::asio::io_context loop;
  const auto work = boost::asio::make_work_guard(loop);
  auto sampler = collectors::Sampler::start(loop, catalogue, {}, [](const std::string&) {});
  ASSERT_TRUE(sampler) << sampler.error().what;
  const auto shown = [&](const std::string& cgroup) {
    bool there = false;
    (*sampler)->request(std::chrono::nanoseconds(0), [&](const model::SnapshotPtr& snapshot) {
      there = find(*snapshot, path(cgroup)) != nullptr;
      loop.stop();
    });
    loop.restart();
    loop.run();
    return there;
  };
  for (int i = 0; i < 10; ++i) {
    const auto cgroup = "/burst" + std::to_string(i);
    make(cgroup);
    EXPECT_TRUE(shown(cgroup));
    remove(cgroup);
    EXPECT_FALSE(shown(cgroup));
  }
}

}  // namespace
}  // namespace cgwarden
