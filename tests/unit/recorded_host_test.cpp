// SPDX-License-Identifier: Apache-2.0
// Collection on small trees of files that the test creates.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "collectors/collection.h"
#include "tests/temp_dir.h"

namespace cgwarden {
namespace {

namespace fs = std::filesystem;

class CollectionOnRecordedHost : public testing::Test {
 protected:
  void SetUp() override {
    file("proc/1/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    file("sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n");
    file("sys/fs/cgroup/cgroup.procs", "");
    fs::create_directories(root + "/sys/dev/block");
  }

  void file(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(root + "/" + path).parent_path());
    std::ofstream(root + "/" + path) << text;
  }
  void cgroup_file(const std::string& path, const std::string& text) const {
    file("sys/fs/cgroup/" + path, text);
    file("sys/fs/cgroup/" + fs::path(path).parent_path().string() + "/cgroup.procs", "");
  }

  model::SnapshotPtr collect(std::vector<bool> enabled = {}) {
    auto opened = collectors::Collection::open(
        catalogue,
        {.paths = {root + "/proc", root + "/sys", root + "/sys/fs/cgroup", "/"}, .enabled = std::move(enabled)},
        [this](const std::string& line) { log.push_back(line); });
    EXPECT_TRUE(opened) << opened.error().what;
    collection = std::move(*opened);
    return collection->collect();
  }

  model::Value value(const model::Snapshot& snapshot, const std::string& path, const std::string& field) const {
    for (model::CgroupIndex i = 0; i < snapshot.cgroup_count(); ++i) {
      if (snapshot.cgroup_list->cgroups[i]->path == path) return snapshot.value(*catalogue->find(field), i);
    }
    ADD_FAILURE() << "no cgroup " << path;
    return {};
  }

  std::uint64_t errors(const model::Snapshot& snapshot, const std::string& collector) const {
    return snapshot.collectors[*catalogue->find_collector(collector)].errors;
  }

  const testing_files::TempDir temporary;
  const std::string root = temporary.path();
  std::shared_ptr<const model::Catalogue> catalogue = collectors::make_catalogue();
  std::unique_ptr<collectors::Collection> collection;
  std::vector<std::string> log;
};

TEST_F(CollectionOnRecordedHost, FailsWithOneLineIfNoHierarchyCanBeOpened) {
  file("proc/1/mountinfo",
       "31 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n32 23 0:29 / /sys/fs/cgroup/unified rw - cgroup2 c "
       "rw\n");
  const auto opened =
      collectors::Collection::open(catalogue, {.paths = {root + "/proc", root + "/sys", root + "/sys/fs/cgroup", "/"}},
                                   [this](const std::string& line) { log.push_back(line); });
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().what,
            "cgroup file systems: none can be opened: " + root + "/sys/fs/cgroup/cpu: No such file or directory");
  EXPECT_THAT(log, testing::IsEmpty());

  fs::create_directories(root + "/sys/fs/cgroup/cpu");
  collect();
  EXPECT_THAT(log, testing::ElementsAre("cannot open hierarchy: " + root +
                                        "/sys/fs/cgroup/unified: No such file or directory"));
}

TEST_F(CollectionOnRecordedHost, DistinguishesNumberAbsentAndUnlimited) {
  cgroup_file("a/memory.current", "4096\n");
  cgroup_file("a/memory.max", "max\n");
  const auto snapshot = collect();
  EXPECT_EQ(value(*snapshot, "/a", "memory_current"), model::Value::of(4096));
  EXPECT_TRUE(value(*snapshot, "/a", "memory_max").is_unlimited());
  EXPECT_TRUE(value(*snapshot, "/a", "memory_peak").is_absent());
  EXPECT_TRUE(value(*snapshot, "/", "memory_current").is_absent());
}

TEST_F(CollectionOnRecordedHost, CountsInvalidTextAsAnErrorOfItsCollectorAndContinues) {
  cgroup_file("a/memory.current", "garbage\n");
  cgroup_file("a/memory.stat", "anon 1\nfile \xff\xff\nkernel 3");
  cgroup_file("a/pids.current", "7\n");
  const auto snapshot = collect();
  EXPECT_TRUE(value(*snapshot, "/a", "memory_current").is_error());
  EXPECT_EQ(value(*snapshot, "/a", "memory_anon"), model::Value::of(1));
  EXPECT_TRUE(value(*snapshot, "/a", "memory_file").is_error());
  EXPECT_EQ(value(*snapshot, "/a", "memory_kernel"), model::Value::of(3));
  EXPECT_EQ(value(*snapshot, "/a", "pids_current"), model::Value::of(7));
  EXPECT_EQ(errors(*snapshot, "memory"), 2U);
  EXPECT_EQ(errors(*snapshot, "pids"), 0U);
}

TEST_F(CollectionOnRecordedHost, LogsAndCountsAnUnknownKeyOnce) {
  for (const auto* cgroup : {"a", "b"})
    cgroup_file(std::string(cgroup) + "/memory.stat", "anon 1\nfrom_the_future 2\n");
  const auto snapshot = collect();
  EXPECT_EQ(value(*snapshot, "/b", "memory_anon"), model::Value::of(1));
  EXPECT_EQ(snapshot->collectors[*catalogue->find_collector("memory")].unknown_keys, 1U);
  EXPECT_THAT(log, testing::Contains(testing::HasSubstr("from_the_future")));
}

TEST_F(CollectionOnRecordedHost, LabelsDevicesByNameOrByNumberIfUnnamed) {
  file("sys/dev/block/254:0/uevent", "MAJOR=254\nMINOR=0\nDEVNAME=vda\nDEVTYPE=disk\n");
  cgroup_file("a/io.stat", "254:0 rbytes=1 wbytes=2\n7:9 rbytes=3\n");
  const auto snapshot = collect();
  const auto& column = snapshot->columns[*catalogue->find("io_read")];
  std::vector<std::string> labels;
  for (const auto& series : column.series) labels.emplace_back(column.text_of(series));
  EXPECT_THAT(labels, testing::ElementsAre("vda", "7:9"));
}

TEST_F(CollectionOnRecordedHost, Reads512CpusAnd64MemoryNodes) {
  file("proc/1/mountinfo",
       "31 23 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
       "32 23 0:29 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n");
  file("sys/fs/cgroup/unified/cgroup.controllers", "memory\n");
  std::string cpus;
  for (int cpu = 0; cpu < 512; ++cpu) cpus += std::to_string(cpu + 1) + ' ';
  cgroup_file("cpuacct/a/cpuacct.usage_percpu", cpus + "\n");
  std::string nodes = "anon";
  for (int node = 0; node < 64; ++node) nodes += " N" + std::to_string(node) + '=' + std::to_string(4096 * node);
  cgroup_file("unified/a/memory.numa_stat", nodes + "\n");
  const auto snapshot = collect(std::vector<bool>(catalogue->collectors().size(), true));
  const auto& usage = snapshot->columns[*catalogue->find("percpu_usage")];
  ASSERT_EQ(usage.series.size(), 512U);
  EXPECT_EQ(usage.text_of(usage.series.back()), "511");
  EXPECT_EQ(usage.series.back().value, model::Value::of(512));
  const auto& anon = snapshot->columns[*catalogue->find("memory_numa_anon")];
  ASSERT_EQ(anon.series.size(), 64U);
  EXPECT_EQ(anon.text_of(anon.series.back()), "63");
  EXPECT_EQ(anon.series.back().value, model::Value::of(4096 * 63));
}

TEST_F(CollectionOnRecordedHost, RejectsSymbolicLinksOutOfTheTree) {
  cgroup_file("a/memory.current", "1\n");
  fs::create_symlink("/etc/passwd", root + "/sys/fs/cgroup/a/memory.peak");
  const auto snapshot = collect();
  EXPECT_TRUE(value(*snapshot, "/a", "memory_peak").is_error());
}

TEST_F(CollectionOnRecordedHost, CountsAVeryLargeFileAsAnError) {
  cgroup_file("a/memory.stat", "anon 1\n" + std::string(8U << 20U, 'x'));
  const auto snapshot = collect();
  EXPECT_TRUE(value(*snapshot, "/a", "memory_anon").is_error());
  EXPECT_EQ(errors(*snapshot, "memory"), 1U);
}

TEST_F(CollectionOnRecordedHost, ReusesTheMemoryOfAReleasedSnapshot) {
  cgroup_file("a/memory.current", "1\n");
  auto first = collect();
  const auto* address = first.get();
  first.reset();
  EXPECT_EQ(collection->collect().get(), address);
}

TEST_F(CollectionOnRecordedHost, ComputesEffectiveLimitsFromAncestors) {
  cgroup_file("a/memory.max", "1000\n");
  cgroup_file("a/cpu.max", "max 100000\n");
  cgroup_file("a/cpuset.cpus.effective", "0-3\n");
  file("sys/fs/cgroup/cgroup.controllers", "cpu cpuset io memory pids\n");
  cgroup_file("a/b/memory.max", "max\n");
  cgroup_file("a/b/cpu.max", "25000 100000\n");
  cgroup_file("a/b/c/cpu.max", "max 100000\n");
  cgroup_file("a/b/c/pids.max", "garbage\n");
  const auto snapshot = collect();
  EXPECT_EQ(value(*snapshot, "/a/b", "effective_memory_max"), model::Value::of(1000));
  EXPECT_EQ(value(*snapshot, "/a/b/c", "effective_memory_max"), model::Value::of(1000));
  EXPECT_TRUE(value(*snapshot, "/a", "effective_cpu_max").is_unlimited());
  EXPECT_EQ(value(*snapshot, "/a/b/c", "effective_cpu_max"), model::Value::of(250'000'000));
  EXPECT_EQ(value(*snapshot, "/a/b/c", "effective_cpuset_cpus"), model::Value::of(4));
  EXPECT_TRUE(value(*snapshot, "/a/b/c", "effective_pids_max").is_error());
  EXPECT_TRUE(value(*snapshot, "/a", "effective_pids_max").is_absent());
  EXPECT_TRUE(value(*snapshot, "/", "effective_memory_max").is_absent());
}

TEST(MakeCatalogue, ContainsTheFieldsOfAllCollectors) {
  const auto catalogue = collectors::make_catalogue();
  EXPECT_GT(catalogue->size(), 100U);
  EXPECT_TRUE(catalogue->find("memory_current"));
  EXPECT_FALSE(catalogue->find("memory_nonsense"));
}

}  // namespace
}  // namespace cgwarden
