// SPDX-License-Identifier: Apache-2.0
// perf_event counters and BPF programs, with events that the test causes and programs that it attaches.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <filesystem>

#include "tests/kernel/collected.h"

namespace cgwarden {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

std::ptrdiff_t descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

class PerfEventCollector : public testing_kernel::CollectedTest {
 protected:
  void SetUp() override {
    CollectedTest::SetUp();
    if (IsSkipped()) return;
    open({"perf_event"});
    make("/p");
    collect();
    if (!value("perf_page_faults", "/p").is_number()) {
      ASSERT_THAT(log_lines, testing::Not(IsEmpty()));  // absent, and the reason is logged
      GTEST_SKIP() << log_lines.front();
    }
  }
};

TEST_F(PerfEventCollector, CountsPageFaultsAndSwitchesOfACgroupAndItsDescendants) {
  EXPECT_EQ(value("perf_page_faults", "/p"), model::Value::of(0));
  make("/p/below");
  make("/other");
  collect();
  constexpr std::size_t pages = 2000;
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  spawn("/p/below", [&] {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    auto* at =
        static_cast<char*>(::mmap(nullptr, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ::madvise(at, pages * page, MADV_NOHUGEPAGE);
    for (std::size_t i = 0; i < pages; ++i) at[i * page] = 1;
    for (int i = 0; i < 100; ++i) ::usleep(1000);
  });
  ::close(go[0]);
  ::close(go[1]);
  collect();
  for (const auto* cgroup : {"/p", "/p/below"}) {
    EXPECT_GE(value("perf_page_faults", cgroup).fixed(), std::int64_t{pages}) << cgroup;
    EXPECT_LT(value("perf_page_faults", cgroup).fixed(), std::int64_t{2 * pages}) << cgroup;
    EXPECT_GE(value("perf_context_switches", cgroup).fixed(), 100) << cgroup;
  }
  EXPECT_EQ(value("perf_page_faults", "/other"), model::Value::of(0));
  EXPECT_EQ(errors("perf_event"), 0U);
}

TEST_F(PerfEventCollector, ClosesFileDescriptorsOfRemovedCgroups) {
  remove("/p");
  collect();
  const auto before = descriptors();
  for (int i = 0; i < 10; ++i) make("/fd" + std::to_string(i));
  collect();
  EXPECT_GT(descriptors(), before + 20);
  for (int i = 0; i < 10; ++i) remove("/fd" + std::to_string(i));
  collect();
  for (int tries = 0; tries < 100 && descriptors() > before;
       ++tries) {  // other programs may have created cgroups meanwhile
    ::usleep(50'000);
    collect();
  }
  EXPECT_LE(descriptors(), before);
}

class BpfCollector : public testing_kernel::CollectedTest {
 protected:
  // Attaches a program that allows all devices to the v2 directory of the cgroup. Returns its descriptor, or -1.
  int attach(const std::string& cgroup) {
    const bpf_insn code[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 1},
        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
    bpf_attr load{};
    load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    load.insns = reinterpret_cast<std::uint64_t>(&code[0]);
    load.insn_cnt = 2;
    load.license = reinterpret_cast<std::uint64_t>("GPL");
    const auto program = static_cast<int>(::syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load));
    if (program < 0) return -1;
    const base::Fd directory(::open(dir("v2", cgroup).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    bpf_attr attr{};
    attr.target_fd = static_cast<std::uint32_t>(directory.get());
    attr.attach_bpf_fd = static_cast<std::uint32_t>(program);
    attr.attach_type = BPF_CGROUP_DEVICE;
    attr.attach_flags = BPF_F_ALLOW_MULTI;
    if (::syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof attr) != 0) {
      ::close(program);
      return -1;
    }
    return program;
  }
  [[nodiscard]] std::int64_t count(const std::string& field, const std::string& cgroup) const {
    for (const auto& one : series(field, cgroup)) {
      if (one.labels.front() == "device") return one.value;
    }
    return -1;
  }
};

TEST_F(BpfCollector, CountsAttachedAndInheritedPrograms) {
  if (dir("v2").empty()) GTEST_SKIP() << "no v2 hierarchy on this kernel";
  make("/b");
  make("/b/below");
  const base::Fd first(attach("/b"));
  const base::Fd second(attach("/b"));
  if (!first || !second)
    GTEST_SKIP() << "BPF programs cannot be attached: not supported by the kernel or not permitted";
  open({"bpf"});
  collect();
  EXPECT_EQ(count("bpf_programs", "/b"), 2);
  EXPECT_EQ(count("bpf_programs", "/b/below"), 0);
  EXPECT_GE(count("bpf_effective_programs", "/b/below"), 2);
  EXPECT_EQ(errors("bpf"), 0U);
  EXPECT_THAT(log_lines, IsEmpty());
}

}  // namespace
}  // namespace cgwarden
