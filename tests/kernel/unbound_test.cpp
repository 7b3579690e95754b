// SPDX-License-Identifier: Apache-2.0
// v1 controllers that most hosts do not mount. The tests mount them in a mount namespace of their own, write settings
// and cause events there, and compare the snapshot with the kernel's files.
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include <map>

#include "tests/kernel/collected.h"
#include "tests/temp_dir.h"

namespace cgwarden {
namespace {

using model::Value;
using testing::ElementsAre;
using testing_kernel::host;
using testing_kernel::read;
using testing_kernel::write;

constexpr std::size_t kHugePage = 2 << 20;

class UnboundControllers : public testing_kernel::CollectedTest {
 protected:
  void SetUp() override {
    if (const auto why = testing_kernel::skip_reason(); !why.empty()) GTEST_SKIP() << why;
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0) << std::strerror(errno);
    ASSERT_EQ(::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0) << std::strerror(errno);
    for (const std::string controller : {"net_cls", "net_prio", "perf_event", "hugetlb"}) {
      const auto at = folder_.path() + "/" + controller;
      ASSERT_EQ(::mkdir(at.c_str(), 0755), 0);
      // EBUSY: the controller is enabled in v2, or v2 has not released it yet.
      const auto mount = [&] {
        return ::mount("cgroup", at.c_str(), "cgroup", 0, controller.c_str()) == 0 ? 0 : errno;
      };
      int error = 0;
      wait_until([&] { return (error = mount()) != EBUSY || enabled_in_v2(controller); });
      if (error == 0) mounts_.push_back(at);
      not_mounted_ += error == 0 ? "" : controller + ": " + std::strerror(error) + "\n";
    }
    testing_kernel::refresh_host();
    CollectedTest::SetUp();
  }
  void TearDown() override {
    CollectedTest::TearDown();
    collection.reset();  // its descriptors keep the file systems busy
    for (const auto& at : mounts_) {
      const auto controller = at.substr(at.rfind('/') + 1);
      // The kernel releases removed cgroups with a delay. A hierarchy unmounted before that stays forever.
      wait_until([&] { return proc_cgroups_row(controller).cgroups <= 1; });
      EXPECT_EQ(::umount2(at.c_str(), 0), 0) << at << ": " << std::strerror(errno);
      // The hierarchy is released with a delay, too. Until then, no other hierarchy can have the controller.
      EXPECT_TRUE(wait_until([&] { return proc_cgroups_row(controller).hierarchy == 0; })) << at;
    }
    testing_kernel::refresh_host();
  }

  [[nodiscard]] std::map<std::string, std::int64_t> labelled(const std::string& field,
                                                             const std::string& cgroup) const {
    std::map<std::string, std::int64_t> out;
    for (const auto& one : series(field, cgroup)) out[one.labels.front()] = one.value;
    return out;
  }

  std::string not_mounted_;  // controllers that could not be mounted, with the reason

 private:
  struct ProcCgroupsRow {
    int hierarchy = 0;  // 0: v2 or none
    int cgroups = 0;    // includes dying cgroups
  };
  static ProcCgroupsRow proc_cgroups_row(const std::string& controller) {
    std::istringstream table(read("/proc/cgroups"));
    std::string line;
    while (std::getline(table, line)) {
      std::istringstream row(line);
      std::string name;
      ProcCgroupsRow out;
      if (row >> name >> out.hierarchy >> out.cgroups && name == controller) return out;
    }
    return {};
  }
  [[nodiscard]] static bool enabled_in_v2(const std::string& controller) {
    const auto* v2 = host().v2();
    if (v2 == nullptr) return false;
    return (" " + read(v2->mount_point + "/cgroup.subtree_control")).find(" " + controller) != std::string::npos;
  }
  template <class Condition>
  static bool wait_until(Condition condition) {
    for (int tries = 0; tries < 500; ++tries) {
      if (condition()) return true;
      ::usleep(10'000);
    }
    return false;
  }

  testing_files::TempDir folder_;
  std::vector<std::string> mounts_;
};

TEST_F(UnboundControllers, NetClsClassIdIsTheOneThatWasWritten) {
  const auto directory = dir("net_cls");
  if (directory.empty()) GTEST_SKIP() << "no net_cls controller on this kernel";
  make("/net");
  open({"net"});
  collect();
  EXPECT_EQ(value("net_cls_classid", "/net"), Value::of(0));
  ASSERT_TRUE(write(dir("net_cls", "/net") + "/net_cls.classid", "0x100001"));
  make("/net/child");
  collect();
  EXPECT_EQ(value("net_cls_classid", "/net"), Value::of(0x100001));
  for (const auto* cgroup : {"/net", "/net/child"}) {  // a child inherits the value of its parent
    EXPECT_EQ(std::to_string(value("net_cls_classid", cgroup).fixed()) + "\n",
              read(dir("net_cls", cgroup) + "/net_cls.classid"));
  }
}

TEST_F(UnboundControllers, NetPrioPrioritiesAreThoseOfIfpriomap) {
  if (dir("net_prio").empty()) GTEST_SKIP() << "no net_prio controller on this kernel";
  make("/net");
  open({"net"});
  collect();
  EXPECT_EQ(labelled("net_prio_ifprio", "/net")["lo"], 0);
  ASSERT_TRUE(write(dir("net_prio", "/net") + "/net_prio.ifpriomap", "lo 5"));
  collect();
  std::map<std::string, std::int64_t> kernel;
  std::istringstream map(read(dir("net_prio", "/net") + "/net_prio.ifpriomap"));
  std::string interface;
  for (std::int64_t priority = 0; map >> interface >> priority;) kernel[interface] = priority;
  EXPECT_EQ(kernel["lo"], 5);
  EXPECT_EQ(labelled("net_prio_ifprio", "/net"), kernel);
  EXPECT_EQ(std::to_string(value("net_prio_prioidx", "/net").fixed()) + "\n",
            read(dir("net_prio", "/net") + "/net_prio.prioidx"));
}

TEST_F(UnboundControllers, ProcessesAreCountedInACgroupOfPerfEventOnly) {
  const auto parent = dir("perf_event");
  if (parent.empty() || parent == dir("v2")) GTEST_SKIP() << "perf_event has no v1 hierarchy on this machine";
  ASSERT_EQ(::mkdir((parent + "/counted").c_str(), 0755), 0) << std::strerror(errno);
  spawn("", [&] { write(parent + "/counted/cgroup.procs", std::to_string(::getpid())); });
  open({"processes"});
  collect();
  ASSERT_NE(index_of(path("/counted")), model::kNoCgroup);
  EXPECT_EQ(value("processes", "/counted"), Value::of(1));
}

class HugePages : public UnboundControllers {
 protected:
  static constexpr auto kPages = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

  void SetUp() override {
    UnboundControllers::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (dir("hugetlb").empty()) GTEST_SKIP() << "no hugetlb controller on this kernel";
    before_ = read(kPages);
    if (before_.empty()) GTEST_SKIP() << "no huge pages of 2 MiB on this kernel";
    const auto wanted = std::to_string(std::stoul(before_) + 4);
    write(kPages, wanted);
    if (read(kPages) != wanted + "\n") GTEST_SKIP() << "not enough contiguous memory for huge pages";
    // On a hybrid host, a runtime may have enabled the controller in v2.
    if (dir("hugetlb") == dir("v2")) write(dir("v2") + "/cgroup.subtree_control", "+hugetlb");
    make("/huge");
    on_v1_ = ::access(file("limit_in_bytes").c_str(), F_OK) == 0;
    ASSERT_TRUE(on_v1_ || ::access(file("max").c_str(), F_OK) == 0) << file("max") << "\n" << not_mounted_;
  }
  void TearDown() override {
    UnboundControllers::TearDown();
    if (!before_.empty()) write(kPages, before_);
  }

  [[nodiscard]] std::string file(const std::string& name) const {
    return dir("hugetlb", "/huge") + "/hugetlb.2MB." + name;
  }
  [[nodiscard]] std::string kernel(const std::string& v1, const std::string& v2) const {
    return read(file(on_v1_ ? v1 : v2));
  }
  [[nodiscard]] std::string reported(const std::string& field) const {
    return std::to_string(labelled(field, "/huge")["2MB"]) + "\n";
  }
  // Starts a process in the cgroup that touches that many huge pages in a child, and one page itself.
  void touch_pages(std::size_t pages) {
    spawn("/huge", [pages] {
      auto* at = static_cast<char*>(::mmap(nullptr, pages * kHugePage, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0));
      if (at == MAP_FAILED) return;
      if (::fork() != 0) {  // beyond the limit, the kernel sends SIGBUS to the child
        ::wait(nullptr);
        at[0] = 1;
        return;
      }
      for (std::size_t i = 0; i < pages; ++i) at[i * kHugePage] = 1;
      ::_exit(0);
    });
  }

  bool on_v1_ = false;

 private:
  std::string before_;
};

TEST_F(HugePages, UsageLimitAndFailuresEqualTheKernelFiles) {
  open({"hugetlb", "hugetlb_numa"});
  collect();
  EXPECT_EQ(reported("hugetlb_current"), "0\n");
  ASSERT_TRUE(write(file(on_v1_ ? "limit_in_bytes" : "max"), std::to_string(2 * kHugePage)));
  touch_pages(3);  // the third fails, and one stays in use
  collect();
  EXPECT_EQ(reported("hugetlb_current"), std::to_string(kHugePage) + "\n");
  EXPECT_EQ(reported("hugetlb_current"), kernel("usage_in_bytes", "current"));
  EXPECT_EQ(reported("hugetlb_max"), kernel("limit_in_bytes", "max"));
  if (on_v1_) {
    EXPECT_EQ(reported("hugetlb_peak"), std::to_string(2 * kHugePage) + "\n");
    EXPECT_EQ(reported("hugetlb_peak"), kernel("max_usage_in_bytes", ""));
    EXPECT_NE(reported("hugetlb_failcnt"), "0\n");
    EXPECT_EQ(reported("hugetlb_failcnt"), kernel("failcnt", ""));
  } else {
    EXPECT_NE(reported("hugetlb_events_max"), "0\n");
    EXPECT_EQ("max " + reported("hugetlb_events_max"), kernel("", "events"));
  }
  if (::access(file("numa_stat").c_str(), F_OK) == 0) {
    std::int64_t sum = 0;
    for (const auto& node : series("hugetlb_numa_current", "/huge")) sum += node.value;
    EXPECT_EQ(sum, std::int64_t{kHugePage});
  }
}

TEST_F(HugePages, ReservationsAreCountedBeforePagesAreUsed) {
  if (::access(file(on_v1_ ? "rsvd.limit_in_bytes" : "rsvd.max").c_str(), F_OK) != 0) {
    GTEST_SKIP() << "this kernel does not limit reservations";
  }
  open({"hugetlb"});
  ASSERT_TRUE(write(file(on_v1_ ? "rsvd.limit_in_bytes" : "rsvd.max"), std::to_string(3 * kHugePage)));
  spawn("/huge", [] {
    for (const std::size_t pages : {2, 4}) {  // the second reservation exceeds the limit
      [[maybe_unused]] const auto* at =
          ::mmap(nullptr, pages * kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    }
  });
  collect();
  EXPECT_EQ(reported("hugetlb_current"), "0\n");
  EXPECT_EQ(reported("hugetlb_rsvd_current"), std::to_string(2 * kHugePage) + "\n");
  EXPECT_EQ(reported("hugetlb_rsvd_current"), kernel("rsvd.usage_in_bytes", "rsvd.current"));
  EXPECT_EQ(reported("hugetlb_rsvd_max"), kernel("rsvd.limit_in_bytes", "rsvd.max"));
  if (on_v1_) {
    EXPECT_EQ(reported("hugetlb_rsvd_failcnt"), kernel("rsvd.failcnt", ""));
    EXPECT_NE(reported("hugetlb_rsvd_failcnt"), "0\n");
  }
}

}  // namespace
}  // namespace cgwarden
