// SPDX-License-Identifier: Apache-2.0
// Access by number instead of by name, so that the kernel caches neither dentries nor inodes: interface files by inode
// number, namespaces by pidfd. Both must return the same values as access by name.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <map>

#include "src/cgroup/processes.h"
#include "tests/kernel/collected.h"
#include "tests/temp_dir.h"

namespace cgwarden {
namespace {

using model::Value;
using testing_kernel::host;
using testing_kernel::read;
using testing_kernel::write;

class AccessByNumber : public testing_kernel::CollectedTest {
 protected:
  struct AccessModes {
    bool by_inode = true;
    bool by_pidfd = true;
  };

  std::unique_ptr<collectors::Collection> open_by(AccessModes modes) {
    collectors::CollectionOptions options;
    options.max_open_files = 0;
    options.tree.by_inode = modes.by_inode;
    options.processes.by_pidfd = modes.by_pidfd;
    auto opened = collectors::Collection::open(catalogue, options,
                                               [this](const std::string& line) { log_lines.push_back(line); });
    return opened ? std::move(*opened) : nullptr;
  }

  // Returns all values of one of the test's own cgroups.
  std::map<std::string, std::string> values_of(collectors::Collection& from, const std::string& cgroup) {
    snapshot = from.collect();
    std::map<std::string, std::string> out;
    const auto index = index_of(path(cgroup));
    for (std::size_t i = 0; i < catalogue->size(); ++i) {
      const auto id = static_cast<model::FieldId>(i);
      const auto& field = catalogue->field(id);
      const auto name = std::string(field.name);
      const auto& column = snapshot->columns[id];
      if (index < column.dense.size() && !column.dense[index].is_absent()) {
        out[name] = std::to_string(column.dense[index].fixed());
      }
      for (const auto& cell : column.series) {
        if (cell.cgroup != index) continue;
        out[name + ' ' + std::string(column.text_of(cell))] = std::to_string(cell.value.fixed());
      }
    }
    return out;
  }

  // Returns the KiB of kernel memory that are charged to `cgroup` for a collection with that access.
  std::int64_t kernel_memory(AccessModes modes, const std::string& cgroup) {
    make(cgroup);
    const auto result = folder_.path() + "/taken";
    const auto used = [at = dir("memory", cgroup)] {
      const auto v1 = read(at + "/memory.kmem.usage_in_bytes");
      if (!v1.empty()) return std::stoll(v1) / 1024;
      const auto v2 = read(at + "/memory.stat");
      return std::stoll(v2.substr(v2.find("\nkernel ") + 8)) / 1024;
    };
    end(spawn(cgroup, [&] {
      const auto before = used();
      const auto opened = open_by(modes);
      (void)opened->collect();
      ::usleep(300'000);  // kernel memory is freed after an RCU grace period
      write(result, std::to_string(used() - before));
    }));
    return std::stoll(read(result));
  }

 private:
  testing_files::TempDir folder_;
};

bool has_pidfd_namespaces() {
  const base::Fd self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  const base::Fd ns(::ioctl(self.get(), _IO(0xFF, 4), 0));
  return static_cast<bool>(ns);
}

TEST_F(AccessByNumber, ReadsTheSameValuesByInodeAsByName) {
  make("/a");
  make("/a/b");
  const auto values = [&](bool by_inode) { return values_of(*open_by({.by_inode = by_inode}), "/a"); };
  auto before = values(false);
  EXPECT_GT(before.size(), 40U);
  for (int tries = 0; tries < 20; ++tries) {
    const auto found = values(true);
    const auto after = values(false);
    if (before == after) {
      EXPECT_EQ(found, after);
      return;
    }
    before = after;  // the host changed: v2 gets a controller with a delay after its v1 hierarchy was unmounted
  }
  FAIL() << "the values of the host change all the time";
}

TEST_F(AccessByNumber, UsesLessKernelMemoryForFilesByInode) {
  for (int i = 0; i < 100; ++i) make("/g" + std::to_string(i));
  (void)kernel_memory(
      {}, "/first");  // is charged for what later runs share; therefore the more expensive access is measured last
  const auto by_inode = kernel_memory({.by_inode = true}, "/by-inode");
  const auto by_name = kernel_memory({.by_inode = false}, "/by-name");
  EXPECT_GT(by_name, 2000);
  EXPECT_LT(by_inode, by_name / 4);
}

TEST_F(AccessByNumber, UsesLessKernelMemoryForNamespacesByPidfd) {
  if (!has_pidfd_namespaces()) GTEST_SKIP() << "this kernel cannot return the namespaces of a pidfd (since 6.11)";
  make("/many");
  for (int i = 0; i < 250; ++i) spawn("/many", [] {});
  (void)kernel_memory({}, "/first");
  const auto by_pidfd = kernel_memory({.by_pidfd = true}, "/by-pidfd");
  const auto by_link = kernel_memory({.by_pidfd = false}, "/by-link");
  EXPECT_GT(by_link, 1000);
  EXPECT_LT(by_pidfd, by_link / 4);
}

TEST_F(AccessByNumber, FailsToOpenAFileOfARecreatedCgroup) {
  make("/a");
  cgroup::Tree tree(host().all, {}, [](const std::string&) {});
  const auto& nodes = tree.nodes();
  const auto node = std::ranges::find(nodes, path("/a"), [](const auto* one) { return one->cgroup->path; });
  ASSERT_NE(node, nodes.end());
  tree.list_files(**node);
  const auto file = [&] { return base::Fd(tree.open_file(**node, 0, "cgroup.procs", O_RDONLY)); };
  EXPECT_TRUE(file());
  remove("/a");
  make("/a");
  EXPECT_FALSE(file());  // the tree has not processed the events yet
}

TEST_F(AccessByNumber, SeesFilesAddedAndRemovedByCgroupPressure) {
  if (read(dir("v2") + "/cgroup.pressure") != "1\n") GTEST_SKIP() << "no cgroup.pressure on this kernel";
  make("/a");
  open({"pressure"});
  collect();
  ASSERT_FALSE(value("pressure_cpu_some", "/a").is_absent());
  ASSERT_TRUE(write(dir("v2", "/a") + "/cgroup.pressure", "0"));
  collect();
  EXPECT_TRUE(value("pressure_cpu_some", "/a").is_absent());
  ASSERT_TRUE(write(dir("v2", "/a") + "/cgroup.pressure", "1"));
  collect();
  EXPECT_FALSE(value("pressure_cpu_some", "/a").is_absent());
}

TEST_F(AccessByNumber, SeesFilesOfAControllerThatIsEnabledLater) {
  if (read(dir("v2") + "/cgroup.controllers").find("pids") == std::string::npos) {
    GTEST_SKIP() << "no cgroup v2 controllers on this machine: no pids";
  }
  make("/a");
  ASSERT_TRUE(write(dir("v2") + "/cgroup.subtree_control", "-pids"));
  open({"pids"});
  collect();
  EXPECT_TRUE(value("pids_max", "/a").is_absent());
  ASSERT_TRUE(write(dir("v2") + "/cgroup.subtree_control", "+pids"));
  collect();
  EXPECT_EQ(value("pids_max", "/a"), Value::unlimited());
}

}  // namespace
}  // namespace cgwarden
