// SPDX-License-Identifier: Apache-2.0
// control::Writer on the kernel of this machine, v1 and v2: every test checks the interface files afterwards.
#include "src/control/writer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/kernel/test_cgroup.h"
#include "tests/outcome_words.h"
#include "tests/temp_dir.h"
#include "tests/threads/fake_daemon.h"

namespace cgwarden {
namespace {

using model::Action;
using model::Outcome;
using model::Verb;
using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;
using testing_kernel::host;
using testing_kernel::read;
using testing_kernel::write;
using Kind = model::Outcome::Kind;

std::string trimmed(const std::string& path) {
  auto text = read(path);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// Waits without a time limit of its own: the time limit of the test applies. After ten seconds it logs the condition.
void wait_until(const std::function<bool()>& holds, const char* what = "") {
  constexpr int ten_seconds = 2000;
  for (int tries = 0; !holds(); ++tries) {
    if (tries == ten_seconds && *what != '\0') std::cerr << "waiting for ten seconds now until " << what << std::endl;
    ::usleep(5000);
  }
}

// "S": sleeping, "D": in disk sleep, "T": stopped
std::string state_of(pid_t pid) {
  const auto status = read("/proc/" + std::to_string(pid) + "/status");
  const auto at = status.find("\nState:\t");
  return at == std::string::npos ? "" : status.substr(at + 8, 1);
}

constexpr auto kSubtreeControl = "/cgroup.subtree_control";

class Writer : public testing_kernel::CgroupTest {
 protected:
  void SetUp() override {
    CgroupTest::SetUp();
    if (IsSkipped()) return;
    if (host().v2() != nullptr) enabled_before_ = trimmed(host().v2()->mount_point + kSubtreeControl);
    enable_controllers("");
    writer_ = open_writer();
  }
  void TearDown() override {
    writer_.reset();
    // Leave nothing frozen, whatever failed.
    for (const auto& h : host().all) thaw_all(h.mount_point + path());
    CgroupTest::TearDown();
    disable_controllers();
  }

  [[nodiscard]] control::Writer::Options options() const {
    control::Writer::Options out;
    out.state_directory = folder_ + "/state";
    out.audit_file = folder_ + "/audit.jsonl";
    out.journal = false;
    return out;
  }
  [[nodiscard]] std::unique_ptr<control::Writer> open_writer() const {
    return std::move(*control::Writer::open(options()));
  }

  // On v2 controllers must be enabled for the children.
  void enable_controllers(const std::string& cgroup) const {
    const auto* v2 = host().v2();
    if (v2 == nullptr) return;
    for (const auto& controller : v2->controllers) {
      write(v2->mount_point + kSubtreeControl, "+" + controller);
      write(v2->mount_point + path(cgroup) + kSubtreeControl, "+" + controller);
    }
  }
  // Disables the controllers that were disabled before the test.
  void disable_controllers() const {
    const auto* v2 = host().v2();
    if (v2 == nullptr) return;
    for (const auto& controller : v2->controllers) {
      if ((' ' + enabled_before_ + ' ').find(' ' + controller + ' ') == std::string::npos) {
        write(v2->mount_point + kSubtreeControl, "-" + controller);
      }
    }
  }
  void make_cgroup(const std::string& cgroup) const { ASSERT_NO_FATAL_FAILURE(make(cgroup)); }

  // Path of the file in the hierarchy that has the controller; empty if neither v1 nor v2 has it here.
  [[nodiscard]] std::string file(const std::string& cgroup, const std::string& controller, const std::string& v1,
                                 const std::string& v2) const {
    const auto folder = dir(controller, cgroup);
    if (folder.empty()) return {};
    const auto name = folder + '/' + (is_v1(controller) ? v1 : v2);
    return ::access(name.c_str(), F_OK) == 0 ? name : "";
  }
  static bool is_v1(const std::string& controller) {
    return std::ranges::any_of(host().all, [&](const auto& h) { return h.version == 1 && h.has(controller); });
  }

  [[nodiscard]] Action action(Verb verb, const std::string& cgroup) const {
    Action out;
    out.verb = verb;
    out.cgroup.path = path(cgroup);
    // A policy as the actor: this process may be in the session that the guards protect.
    out.actor.via = model::Actor::Via::policy;
    return out;
  }
  Outcome limit(const std::string& cgroup, const std::vector<std::string>& settings, bool force = false,
                bool dry_run = false) {
    auto request = action(Verb::limit, cgroup);
    for (const auto& text : settings) {
      auto setting = model::parse_setting(text);
      EXPECT_TRUE(setting) << text;
      if (setting) request.settings.push_back(*setting);
    }
    request.force = force;
    request.dry_run = dry_run;
    return writer_->apply(request);
  }
  Outcome freeze(const std::string& cgroup, milliseconds time = milliseconds(60'000)) {
    auto request = action(Verb::freeze, cgroup);
    request.lease = time;
    return writer_->apply(request);
  }
  [[nodiscard]] Action move_to_b(std::vector<pid_t> pids) const {
    auto out = action(Verb::move, "/a");
    out.target.path = path("/b");
    out.pids = std::move(pids);
    return out;
  }
  Outcome undo(const std::string& id) {
    model::Actor actor;
    actor.via = model::Actor::Via::policy;
    return writer_->undo(id, actor, false);
  }
  // Whether all tasks of the cgroup are stopped according to v2 or to v1's freezer.
  [[nodiscard]] bool frozen(const std::string& cgroup) const {
    const auto v2 = host().v2() != nullptr ? read(dir("v2", cgroup) + "/cgroup.events") : "";
    if (v2.find("frozen 1") != std::string::npos) return true;
    return !dir("freezer", cgroup).empty() && trimmed(dir("freezer", cgroup) + "/freezer.state") == "FROZEN";
  }
  [[nodiscard]] std::vector<nlohmann::json> audit() const {
    std::vector<nlohmann::json> out;
    std::istringstream lines(read(folder_ + "/audit.jsonl"));
    for (std::string line; std::getline(lines, line);) out.push_back(nlohmann::json::parse(line));
    return out;
  }
  void spawn_with_32_mib(const std::string& cgroup) {
    spawn(cgroup, [] {
      constexpr std::size_t size = 32U << 20U;
      auto* const block =
          static_cast<char*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      for (std::size_t i = 0; i < size; i += 4096) block[i] = 1;
    });
  }
  // A process that counts, to see whether it runs.
  struct Counter {
    pid_t pid = -1;
    std::atomic<std::uint64_t>* count = nullptr;
  };
  Counter spawn_counter(const std::string& cgroup) {
    Counter out;
    out.count = static_cast<std::atomic<std::uint64_t>*>(
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    out.pid = spawn(cgroup, [&] {
      if (::fork() != 0) return;
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      while (true) {
        out.count->fetch_add(1);
        ::usleep(1000);
      }
    });
    return out;
  }
  static void wait_for_progress(const Counter& counter) {
    const auto before = counter.count->load();
    wait_until([&] { return counter.count->load() > before; }, "a process that is not frozen goes on");
  }

  const testing_files::TempDir temporary_;
  const std::string folder_ = temporary_.path();
  std::unique_ptr<control::Writer> writer_;
  std::string enabled_before_;  // controllers of v2 that are on for all cgroups

 private:
  static void thaw_all(const std::string& path) {
    std::error_code error;
    write(path + "/cgroup.freeze", "0");
    write(path + "/freezer.state", "THAWED");
    for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
      if (entry.is_directory(error)) thaw_all(entry.path());
    }
  }
};

TEST_F(Writer, SetsVerifiesAndUndoesLimits) {
  make_cgroup("/a");
  const auto memory = file("/a", "memory", "memory.limit_in_bytes", "memory.max");
  const auto pids = file("/a", "pids", "pids.max", "pids.max");
  const auto weight = file("/a", "cpu", "cpu.shares", "cpu.weight");
  const auto quota = file("/a", "cpu", "cpu.cfs_quota_us", "cpu.max");
  if (memory.empty() || pids.empty() || weight.empty()) GTEST_SKIP() << "memory, pids or cpu is missing here";
  const auto before = trimmed(memory);
  const auto quota_before = trimmed(quota);
  const auto set = limit("/a", {"memory.max=64M", "pids.max=50", "cpu.weight=200", "cpu.max=150%"});
  ASSERT_TRUE(set.ok()) << set.text;
  EXPECT_EQ(set.changes.size(), 4U);
  EXPECT_EQ(trimmed(memory), "67108864");
  EXPECT_EQ(trimmed(pids), "50");
  EXPECT_EQ(trimmed(weight), is_v1("cpu") ? "2048" : "200");
  EXPECT_EQ(trimmed(quota), is_v1("cpu") ? "150000" : "150000 100000");
  const auto back = undo(set.undo);
  EXPECT_TRUE(back.ok()) << back.text;
  EXPECT_EQ(trimmed(memory), before);
  EXPECT_EQ(trimmed(pids), "max");
  EXPECT_EQ(trimmed(weight), is_v1("cpu") ? "1024" : "100");
  EXPECT_EQ(trimmed(quota), quota_before);
  EXPECT_EQ(undo(set.undo).kind, Kind::gone) << "once only";
  const auto records = audit();
  ASSERT_EQ(records.size(), 4U);
  EXPECT_EQ(records[0]["event"], "begin");
  EXPECT_EQ(records[1]["event"], "end");
  EXPECT_EQ(records[1]["result"], "done");
  EXPECT_EQ(records[3]["undo_of"], set.undo);
}

TEST_F(Writer, RefusesACgroupThatWasCreatedAgainUnderTheSamePath) {
  make_cgroup("/a");
  auto request = action(Verb::limit, "/a");
  request.settings = {*model::parse_setting("pids.max=7")};
  request.dry_run = true;
  struct stat st {};
  ASSERT_EQ(
      ::stat((host().v2() != nullptr ? dir("v2", "/a") : host().all.front().mount_point + path("/a")).c_str(), &st), 0);
  request.cgroup.id = st.st_ino;
  ASSERT_TRUE(writer_->apply(request).ok());
  remove("/a");
  request.dry_run = false;
  EXPECT_EQ(writer_->apply(request).kind, Kind::gone);
  make_cgroup("/a");
  const auto outcome = writer_->apply(request);
  EXPECT_EQ(outcome.kind, Kind::gone);
  EXPECT_THAT(outcome.text, HasSubstr("created again"));
  const auto pids = file("/a", "pids", "pids.max", "pids.max");
  if (!pids.empty()) {
    EXPECT_EQ(trimmed(pids), "max");
  }
}

TEST_F(Writer, WritesNothingInADryRun) {
  make_cgroup("/a");
  spawn("/a", [] {});
  for (const auto& verb : {Verb::freeze, Verb::kill, Verb::thaw}) {
    auto request = action(verb, "/a");
    request.dry_run = true;
    const auto outcome = writer_->apply(request);
    EXPECT_TRUE(outcome.ok()) << outcome.text;
    EXPECT_TRUE(outcome.dry_run);
  }
  const auto outcome = limit("/a", {"pids.max=7"}, false, true);
  EXPECT_TRUE(outcome.ok()) << outcome.text;
  EXPECT_FALSE(frozen("/a"));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/state"));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/audit.jsonl"));
}

TEST_F(Writer, RefusesAMemoryLimitBelowUnreclaimableUsage) {
  make_cgroup("/a");
  const auto memory = file("/a", "memory", "memory.limit_in_bytes", "memory.max");
  if (memory.empty()) GTEST_SKIP() << "no memory controller here";
  spawn_with_32_mib("/a");
  const auto before = trimmed(memory);
  const auto outcome = limit("/a", {"memory.max=8M"});
  EXPECT_EQ(outcome.kind, Kind::refused);
  EXPECT_EQ(outcome.guard, "below-use");
  EXPECT_THAT(outcome.text, HasSubstr("--force"));
  EXPECT_EQ(trimmed(memory), before);
  EXPECT_TRUE(limit("/a", {"memory.max=512M"}).ok());
}

TEST_F(Writer, RefusesALimitAboveThatOfAnAncestor) {
  make_cgroup("/a");
  enable_controllers("/a");
  make_cgroup("/a/b");
  if (file("/a/b", "pids", "pids.max", "pids.max").empty() || file("/a/b", "cpu", "cpu.shares", "cpu.weight").empty()) {
    GTEST_SKIP() << "no pids or cpu controller here";
  }
  ASSERT_TRUE(limit("/a", {"pids.max=20", "cpu.max=50%"}).ok());
  auto outcome = limit("/a/b", {"pids.max=21"});
  EXPECT_EQ(outcome.guard, "ancestor") << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr(path("/a")));
  EXPECT_TRUE(limit("/a/b", {"pids.max=21"}, true).ok()) << "as it does no harm";
  outcome = limit("/a/b", {"cpu.max=60%"}, is_v1("cpu"));
  EXPECT_EQ(outcome.guard, "ancestor") << outcome.text;
  EXPECT_TRUE(limit("/a/b", {"cpu.max=50%"}).ok());
}

TEST_F(Writer, UndoesEarlierWritesWhenTheKernelRefusesALaterOne) {
  if (!is_v1("cpu") || !is_v1("pids"))
    GTEST_SKIP() << "no cgroup v1 hierarchy on this machine: v2 accepts whatever a child has";
  make_cgroup("/a");
  make_cgroup("/a/b");
  ASSERT_TRUE(limit("/a/b", {"cpu.max=80%"}).ok());
  // Lower than the child's: refused by the kernel (v1), after pids.max was written.
  auto request = action(Verb::limit, "/a");
  request.settings = {*model::parse_setting("pids.max=9"), *model::parse_setting("cpu.max=40%")};
  const auto outcome = writer_->apply(request);
  EXPECT_EQ(outcome.kind, Kind::refused) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("earlier writes were undone"));
  EXPECT_EQ(trimmed(dir("pids", "/a") + "/pids.max"), "max");
  EXPECT_EQ(trimmed(dir("cpu", "/a") + "/cpu.cfs_quota_us"), "-1");
  EXPECT_TRUE(outcome.undo.empty());
  EXPECT_EQ(audit().back()["result"], "refused");
}

TEST_F(Writer, OrdersMemoryAndMemswWritesOnV1) {
  make_cgroup("/a");
  const auto folder = dir("memory", "/a");
  const auto memsw = folder + "/memory.memsw.limit_in_bytes";
  if (!is_v1("memory") || ::access(memsw.c_str(), F_OK) != 0)
    GTEST_SKIP() << "no cgroup v1 hierarchy on this machine: no memory controller of v1 that counts swap";
  ASSERT_TRUE(limit("/a", {"memory.max=64M", "memory.swap.max=16M"}).ok());
  EXPECT_EQ(trimmed(memsw), std::to_string(80U << 20U));
  // Up and down again, both at once, and the limit alone with the swap on top kept.
  ASSERT_TRUE(limit("/a", {"memory.max=256M"}).ok());
  EXPECT_EQ(trimmed(memsw), std::to_string(272U << 20U));
  const auto low = limit("/a", {"memory.max=32M", "memory.swap.max=0"});
  ASSERT_TRUE(low.ok()) << low.text;
  EXPECT_EQ(trimmed(memsw), std::to_string(32U << 20U));
  EXPECT_EQ(trimmed(folder + "/memory.limit_in_bytes"), std::to_string(32U << 20U));
  EXPECT_TRUE(undo(low.undo).ok());
  EXPECT_EQ(trimmed(memsw), std::to_string(272U << 20U));
  const auto none = limit("/a", {"memory.max=max"});
  EXPECT_TRUE(none.ok()) << none.text;
}

TEST_F(Writer, OrdersWritesOfQuotaPeriodBurstIdleAndWeight) {
  make_cgroup("/a");
  const auto burst = file("/a", "cpu", "cpu.cfs_burst_us", "cpu.max.burst");
  const auto idle = file("/a", "cpu", "cpu.idle", "cpu.idle");
  if (burst.empty() || idle.empty()) GTEST_SKIP() << "no cpu controller with burst and idle here";
  ASSERT_TRUE(limit("/a", {"cpu.max=200%", "cpu.max.burst=150ms"}).ok());
  auto outcome = limit("/a", {"cpu.max=50%"});
  EXPECT_EQ(outcome.guard, "order") << "a quota below the burst: " << outcome.text;
  outcome = limit("/a", {"cpu.max=50%", "cpu.max.burst=10ms"});
  EXPECT_TRUE(outcome.ok()) << outcome.text;
  EXPECT_EQ(trimmed(burst), "10000");
  outcome = limit("/a", {"cpu.max.period=50ms"});
  EXPECT_TRUE(outcome.ok()) << outcome.text;
  EXPECT_EQ(trimmed(file("/a", "cpu", "cpu.cfs_quota_us", "cpu.max")), is_v1("cpu") ? "25000" : "25000 50000");
  outcome = undo(outcome.undo);
  EXPECT_TRUE(outcome.ok()) << outcome.text;
  EXPECT_EQ(trimmed(file("/a", "cpu", "cpu.cfs_quota_us", "cpu.max")), is_v1("cpu") ? "50000" : "50000 100000");
  ASSERT_TRUE(limit("/a", {"cpu.idle=1"}).ok());
  EXPECT_EQ(limit("/a", {"cpu.weight=50"}).guard, "order");
  EXPECT_TRUE(limit("/a", {"cpu.weight=50", "cpu.idle=0"}).ok());
  EXPECT_EQ(limit("/a", {"cpu.max=0.5%"}).kind, Kind::usage) << "less than a millisecond";
}

TEST_F(Writer, LimitsIoOfADiskAndRejectsUnknownDisks) {
  make_cgroup("/a");
  const auto v1 = is_v1("blkio");
  const auto limits = v1 ? file("/a", "blkio", "blkio.throttle.read_bps_device", "") : file("/a", "io", "", "io.max");
  std::string disk;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/block", error)) {
    const auto name = entry.path().filename().string();
    if (!name.starts_with("zram") && !name.starts_with("loop") && !name.starts_with("ram")) disk = name;
  }
  if (limits.empty() || disk.empty()) GTEST_SKIP() << "no io controller or no disk here";
  const auto number = trimmed("/sys/block/" + disk + "/dev");
  const auto set = limit("/a", {"io.max.rbps@" + disk + "=10M", "io.max.wiops@" + number + "=100"});
  ASSERT_TRUE(set.ok()) << set.text;
  EXPECT_THAT(trimmed(limits), HasSubstr(v1 ? number + " 10485760" : number + " rbps=10485760"));
  EXPECT_TRUE(undo(set.undo).ok());
  EXPECT_EQ(trimmed(limits).find("10485760"), std::string::npos);
  EXPECT_EQ(limit("/a", {"io.max.rbps@9:99=1M"}).kind, Kind::usage);
  EXPECT_EQ(limit("/a", {"io.max.rbps@nonesuch=1M"}).kind, Kind::usage);
  EXPECT_EQ(limit("/a", {"io.max.rbps@/proc=1M"}).kind, Kind::usage);
}

TEST_F(Writer, RefusesCpusOutsideTheSetOfTheParent) {
  make_cgroup("/a");
  enable_controllers("/a");
  make_cgroup("/a/b");
  if (file("/a/b", "cpuset", "cpuset.cpus", "cpuset.cpus").empty()) GTEST_SKIP() << "no cpuset controller here";
  ASSERT_TRUE(limit("/a/b", {"cpuset.cpus=0"}).ok());
  ASSERT_TRUE(limit("/a", {"cpuset.cpus=0"}).ok());
  const auto outcome = limit("/a/b", {"cpuset.cpus=0-1"});
  EXPECT_EQ(outcome.guard, "ancestor") << outcome.text;
  EXPECT_EQ(limit("/a/b", {"cpuset.cpus=4000-5000"}).guard, "ancestor");
  EXPECT_TRUE(limit("/a/b", {"cpuset.cpus="}).ok()) << "back to what the parent has";
}

TEST_F(Writer, NotesThatOnlyForksFailWhenPidsMaxIsBelowUsage) {
  make_cgroup("/a");
  if (file("/a", "pids", "pids.max", "pids.max").empty()) GTEST_SKIP() << "no pids controller here";
  const auto pid = spawn("/a", [] {});
  const auto outcome = limit("/a", {"pids.max=0"});
  EXPECT_TRUE(outcome.ok()) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("none is killed"));
  EXPECT_EQ(::kill(pid, 0), 0);
}

TEST_F(Writer, RefusesUnsupportedKeysAndMissingCgroupsWithAHint) {
  make_cgroup("/a");
  EXPECT_EQ(limit("/a", {"hugetlb.max@3MB=1G"}).kind == Kind::usage ||
                limit("/a", {"hugetlb.max@3MB=1G"}).kind == Kind::refused,
            true);
  if (is_v1("memory")) {
    const auto outcome = limit("/a", {"memory.high=1G"});
    EXPECT_EQ(outcome.guard, "controller");
    EXPECT_THAT(outcome.text, HasSubstr("v2 only"));
    auto request = action(Verb::reclaim, "/a");
    request.bytes = 1 << 20;
    EXPECT_EQ(writer_->apply(request).kind, Kind::refused);
  } else {
    EXPECT_EQ(limit("/a", {"devices.deny=a"}).guard, "controller");
  }
  const auto outcome = writer_->apply(action(Verb::freeze, "/nonesuch"));
  EXPECT_EQ(outcome.kind, Kind::gone);
}

TEST_F(Writer, RefusesActionsButThawsWhenTheAuditFileIsFull) {
  make_cgroup("/a");
  auto full = options();
  full.audit_file = "/dev/full";
  writer_ = std::move(*control::Writer::open(full));
  spawn("/a", [] {});
  const auto outcome = freeze("/a");
  EXPECT_EQ(outcome.kind, Kind::refused);
  EXPECT_EQ(outcome.guard, "audit");
  EXPECT_FALSE(frozen("/a"));
  const auto pids = file("/a", "pids", "pids.max", "pids.max");
  if (!pids.empty()) {
    EXPECT_EQ(limit("/a", {"pids.max=5"}).guard, "audit");
    EXPECT_EQ(trimmed(pids), "max");
  }
  // But a thaw is always due.
  write(dir("v2", "/a") + "/cgroup.freeze", "1");
  EXPECT_TRUE(writer_->apply(action(Verb::thaw, "/a")).ok());
  EXPECT_FALSE(frozen("/a"));
}

TEST_F(Writer, RefusesToUndoAValueChangedByAnotherProgram) {
  make_cgroup("/a");
  const auto pids = file("/a", "pids", "pids.max", "pids.max");
  if (pids.empty()) GTEST_SKIP() << "no pids controller here";
  const auto set = limit("/a", {"pids.max=50"});
  write(pids, "60");
  const auto outcome = undo(set.undo);
  EXPECT_EQ(outcome.guard, "drift") << outcome.text;
  EXPECT_EQ(trimmed(pids), "60");
}

TEST_F(Writer, UndoesAnExpiredLeaseAfterARestart) {
  make_cgroup("/a");
  const auto pids = file("/a", "pids", "pids.max", "pids.max");
  if (pids.empty()) GTEST_SKIP() << "no pids controller here";
  auto request = action(Verb::limit, "/a");
  request.settings = {*model::parse_setting("pids.max=50")};
  request.lease = milliseconds(200);
  ASSERT_TRUE(writer_->apply(request).ok());
  EXPECT_EQ(trimmed(pids), "50");
  writer_ = open_writer();
  std::vector<control::Writer::LeaseEvent> ended;
  wait_until([&] {
    ended = writer_->expire_leases();
    return !ended.empty();
  });
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0].kind, control::LeaseEventKind::ended);
  EXPECT_EQ(trimmed(pids), "max");
  EXPECT_TRUE(writer_->entries().empty());
  EXPECT_EQ(audit().back()["event"], "lease_end");
}

TEST_F(Writer, DropsALeaseWhenAnotherProgramChangesTheValue) {
  make_cgroup("/a");
  const auto pids = file("/a", "pids", "pids.max", "pids.max");
  if (pids.empty()) GTEST_SKIP() << "no pids controller here";
  auto request = action(Verb::limit, "/a");
  request.settings = {*model::parse_setting("pids.max=50")};
  request.lease = milliseconds(3'600'000);
  ASSERT_TRUE(writer_->apply(request).ok());
  EXPECT_TRUE(writer_->expire_leases().empty());
  write(pids, "60");
  const auto lost = writer_->expire_leases();
  ASSERT_EQ(lost.size(), 1U);
  EXPECT_EQ(lost[0].kind, control::LeaseEventKind::lost);
  EXPECT_EQ(trimmed(pids), "60");
  EXPECT_TRUE(writer_->expire_leases().empty());
  EXPECT_EQ(audit().back()["event"], "lease_lost");
}

TEST_F(Writer, FreezesUntilAllTasksHaveStoppedAndThaws) {
  make_cgroup("/a");
  make_cgroup("/a/b");
  const auto counter = spawn_counter("/a/b");
  wait_for_progress(counter);
  const auto outcome = freeze("/a");
  ASSERT_TRUE(outcome.ok()) << outcome.text;
  EXPECT_TRUE(frozen("/a"));
  const auto stood = counter.count->load();
  ::usleep(50'000);
  EXPECT_EQ(counter.count->load(), stood);
  const auto again = freeze("/a");
  EXPECT_TRUE(again.ok()) << "a freeze of this program can be extended: " << again.text;
  EXPECT_EQ(writer_->entries().size(), 1U);
  EXPECT_TRUE(writer_->apply(action(Verb::thaw, "/a")).ok());
  wait_for_progress(counter);
  EXPECT_FALSE(frozen("/a"));
  EXPECT_TRUE(writer_->entries().empty());
}

TEST_F(Writer, ThawsWhenTheLeaseExpiresAfterTheWriterIsGone) {
  make_cgroup("/a");
  const auto counter = spawn_counter("/a");
  const auto outcome = freeze("/a", milliseconds(300));
  ASSERT_TRUE(outcome.ok()) << outcome.text;
  writer_.reset();
  wait_until([&] { return !frozen("/a"); });
  wait_for_progress(counter);
  wait_until([&] { return audit().back()["event"] == "thaw"; });
  EXPECT_EQ(audit().back()["undo_of"], outcome.undo);
}

TEST_F(Writer, LeavesNothingFrozenWhenItIsKilled) {
  make_cgroup("/a");
  make_cgroup("/writer");
  const auto counter = spawn_counter("/a");
  // A writer in a process of its own, as in the enforcer: its freezes end with the process.
  const auto enforcer = spawn("/writer", [&] {
    auto own = options();
    own.thaw_on_exit = true;
    auto writer = std::move(*control::Writer::open(own));
    auto request = action(Verb::freeze, "/a");
    request.lease = milliseconds(3'000'000);
    if (!writer->apply(request).ok()) ::_exit(1);
  });
  ASSERT_TRUE(frozen("/a"));
  end(enforcer);  // SIGKILL
  wait_until([&] { return !frozen("/a"); });
  wait_for_progress(counter);
}

TEST_F(Writer, LeavesNothingFrozenBeyondTheLeaseWhenItHangs) {
  make_cgroup("/a");
  make_cgroup("/writer");
  const auto counter = spawn_counter("/a");
  const auto enforcer = spawn("/writer", [&] {
    auto own = options();
    own.thaw_on_exit = true;
    auto writer = std::move(*control::Writer::open(own));
    auto request = action(Verb::freeze, "/a");
    request.lease = milliseconds(400);
    if (!writer->apply(request).ok()) ::_exit(1);
  });
  ::kill(enforcer, SIGSTOP);
  wait_until([&] { return !frozen("/a"); });
  wait_for_progress(counter);
}

// Makes close_range() fail as on Linux before 5.9, for this process and its children.
void take_close_range_away() {
  sock_filter steps[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                         BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
                         BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                         BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program = {4, steps};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    ::_exit(1);
  }
}

TEST_F(Writer, LeavesNoLockToItsHelperWithoutCloseRange) {
  make_cgroup("/a");
  make_cgroup("/writer");
  spawn_counter("/a");
  spawn("/writer", [&] {
    take_close_range_away();
    const auto writer = open_writer();
    auto request = action(Verb::freeze, "/a");
    request.lease = milliseconds(60'000);
    if (!writer->apply(request).ok()) ::_exit(1);
  });
  ASSERT_TRUE(frozen("/a"));
  const auto outcome = writer_->apply(action(Verb::thaw, "/a"));
  EXPECT_TRUE(outcome.ok()) << outcome.text;
  EXPECT_FALSE(frozen("/a"));
}

TEST_F(Writer, FreezesOrThawsACgroupWithAVforkedChildOnV1) {
  if (dir("freezer").empty() || !is_v1("freezer"))
    GTEST_SKIP() << "no cgroup v1 hierarchy on this machine: v1's freezer alone has trouble with it";
  make_cgroup("/a");
  // Out of v2's cgroup, so that v1's freezer has to do it.
  const auto pid = spawn("/a", [] {
    if (::fork() == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::vfork() == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (true) ::pause();
      }
    }
  });
  (void)pid;
  const auto* v2 = host().v2();
  if (v2 != nullptr) {
    std::istringstream list(read(dir("v2", "/a") + "/cgroup.procs"));
    for (std::string one; list >> one;) write(v2->mount_point + "/cgroup.procs", one);
  }
  ::usleep(20'000);
  const auto outcome = freeze("/a");
  EXPECT_TRUE(outcome.ok() || outcome.kind == Kind::timeout) << outcome.text;
  EXPECT_EQ(frozen("/a"), outcome.ok()) << "either all of it, or none";
  (void)writer_->apply(action(Verb::thaw, "/a"));
}

TEST_F(Writer, RefusesToFreezeOrThawBelowAFrozenAncestorOrOverAForeignFreeze) {
  make_cgroup("/a");
  make_cgroup("/a/b");
  const auto counter = spawn_counter("/a/b");
  ASSERT_TRUE(freeze("/a").ok());
  auto outcome = freeze("/a/b");
  EXPECT_EQ(outcome.guard, "frozen-ancestor") << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr(path("/a")));
  outcome = writer_->apply(action(Verb::thaw, "/a/b"));
  EXPECT_EQ(outcome.guard, "frozen-ancestor") << outcome.text;
  ASSERT_TRUE(writer_->apply(action(Verb::thaw, "/a")).ok());
  wait_for_progress(counter);
  // A freeze by another program is not taken over, because it would then end with our lease.
  const auto v2 = dir("v2", "/a/b") + "/cgroup.freeze";
  const auto v1 = dir("freezer", "/a/b") + "/freezer.state";
  ASSERT_TRUE(host().v2() != nullptr ? write(v2, "1") : write(v1, "FROZEN"));
  outcome = freeze("/a/b");
  EXPECT_EQ(outcome.guard, "frozen") << outcome.text;
  EXPECT_TRUE(writer_->apply(action(Verb::thaw, "/a/b")).ok());
  wait_for_progress(counter);
}

TEST_F(Writer, FreezesByBothFreezersWhenNoneHasAllProcesses) {
  if (!is_v1("freezer") || host().v2() == nullptr)
    GTEST_SKIP() << "no cgroup v1 hierarchy on this machine: one freezer only here";
  make_cgroup("/a");
  const auto one = spawn("/a", [] {});
  const auto two = spawn("/a", [] {});
  ASSERT_TRUE(write(host().v2()->mount_point + "/cgroup.procs", std::to_string(one)));
  const auto freezer =
      std::ranges::find_if(host().all, [](const auto& h) { return h.version == 1 && h.has("freezer"); });
  ASSERT_TRUE(write(freezer->mount_point + "/cgroup.procs", std::to_string(two)));
  ASSERT_TRUE(freeze("/a").ok());
  EXPECT_EQ(trimmed(dir("freezer", "/a") + "/freezer.state"), "FROZEN");
  EXPECT_THAT(read(dir("v2", "/a") + "/cgroup.events"), HasSubstr("frozen 1"));
  ASSERT_TRUE(writer_->apply(action(Verb::thaw, "/a")).ok());
  EXPECT_EQ(trimmed(dir("freezer", "/a") + "/freezer.state"), "THAWED");
  EXPECT_THAT(read(dir("v2", "/a") + "/cgroup.events"), HasSubstr("frozen 0"));
}

TEST_F(Writer, KillsAWholeForkBombAndNothingElse) {
  make_cgroup("/bomb");
  make_cgroup("/other");
  const auto other = spawn("/other", [] {});
  if (file("/bomb", "pids", "pids.max", "pids.max").empty()) GTEST_SKIP() << "no pids controller here to keep it small";
  ASSERT_TRUE(limit("/bomb", {"pids.max=500"}).ok());
  spawn("/bomb", [] {
    if (::fork() != 0) return;
    // Each process forks as soon as pids.max allows. A failing fork costs as much as a successful one.
    while (true) {
      if (::fork() < 0) ::usleep(500'000);
    }
  });
  wait_until([&] { return std::ranges::count(read(dir("pids", "/bomb") + "/cgroup.procs"), '\n') >= 499; });
  auto request = action(Verb::kill, "/bomb");
  request.wait = milliseconds(60'000);
  const auto outcome = writer_->apply(request);
  EXPECT_TRUE(outcome.ok()) << outcome.text;
  EXPECT_GE(outcome.processes, 499);
  for (const auto& h : host().all)
    EXPECT_EQ(read(h.mount_point + path("/bomb") + "/cgroup.procs"), "") << h.mount_point;
  EXPECT_EQ(::kill(other, 0), 0);
}

TEST_F(Writer, KillsAForkBombByTheFreezerWithoutCgroupKill) {
  if (!is_v1("freezer")) GTEST_SKIP() << "no cgroup v1 hierarchy on this machine: no freezer of v1 here";
  make_cgroup("/bomb");
  spawn("/bomb", [] {
    for (int i = 0; i < 100; ++i) {
      if (::fork() != 0) continue;
      while (true) {
        const auto child = ::fork();
        if (child == 0) ::_exit(0);
        ::waitpid(child, nullptr, 0);
      }
    }
  });
  // Out of v2's cgroup: cgroup.kill does not reach them.
  const auto* v2 = host().v2();
  while (v2 != nullptr) {
    const auto list = read(dir("v2", "/bomb") + "/cgroup.procs");
    if (list.empty()) break;
    std::istringstream pids(list);
    for (std::string one; pids >> one;) write(v2->mount_point + "/cgroup.procs", one);
  }
  ASSERT_FALSE(read(dir("freezer", "/bomb") + "/cgroup.procs").empty());
  auto request = action(Verb::kill, "/bomb");
  request.wait = milliseconds(60'000);
  const auto outcome = writer_->apply(request);
  EXPECT_TRUE(outcome.ok()) << outcome.text;
  EXPECT_EQ(read(dir("freezer", "/bomb") + "/cgroup.procs"), "");
  EXPECT_EQ(trimmed(dir("freezer", "/bomb") + "/freezer.state"), "THAWED");
}

TEST_F(Writer, KillsAFrozenCgroup) {
  make_cgroup("/a");
  spawn("/a", [] {});
  ASSERT_TRUE(freeze("/a").ok());
  const auto outcome = writer_->apply(action(Verb::kill, "/a"));
  EXPECT_TRUE(outcome.ok()) << outcome.text;
  EXPECT_TRUE(writer_->entries().empty()) << "the lease has ended with it";
}

// As LXC and Docker pause; if v2 has the processes too, cgroup.kill alone does not end them.
TEST_F(Writer, KillsACgroupAndDescendantsFrozenByV1) {
  if (!is_v1("freezer")) GTEST_SKIP() << "no cgroup v1 hierarchy on this machine: no freezer of v1 here";
  make_cgroup("/a");
  make_cgroup("/a/below");
  spawn("/a", [] {});
  spawn("/a/below", [] {});
  for (const std::string cgroup : {"/a", "/a/below"}) {
    write(dir("freezer", cgroup) + "/freezer.state", "FROZEN");
    wait_until([&] { return trimmed(dir("freezer", cgroup) + "/freezer.state") == "FROZEN"; });
  }
  const auto outcome = writer_->apply(action(Verb::kill, "/a"));
  EXPECT_TRUE(outcome.ok()) << outcome.text;
  EXPECT_EQ(outcome.processes, 2);
}

TEST_F(Writer, RefusesToKillBelowAnAncestorFrozenByV1) {
  if (!is_v1("freezer")) GTEST_SKIP() << "no cgroup v1 hierarchy on this machine: no freezer of v1 here";
  make_cgroup("/a");
  make_cgroup("/a/below");
  const auto child = spawn("/a/below", [] {});
  write(dir("freezer", "/a") + "/freezer.state", "FROZEN");
  const auto outcome = writer_->apply(action(Verb::kill, "/a/below"));
  EXPECT_EQ(outcome.guard, "frozen-ancestor") << outcome.text;
  write(dir("freezer", "/a") + "/freezer.state", "THAWED");
  EXPECT_EQ(::kill(child, 0), 0);
}

// systemd removes the cgroup of a unit as soon as its last process has exited. The race is between listing the
// processes and writing cgroup.kill: `after` is adjusted to hit it.
TEST_F(Writer, TreatsACgroupRemovedDuringAKillAsKilled) {
  const auto* v2 = host().v2();
  if (v2 == nullptr) GTEST_SKIP() << "no cgroup v2 hierarchy on this machine: no cgroup.kill";
  const auto cgroup = dir("v2", "/a");
  auto after = std::chrono::microseconds(1000);
  const auto enough = base::monotonic_now() + std::chrono::seconds(10);  // a round takes a sanitizer 0.3 s
  for (int round = 0; round < 300 && base::monotonic_now() < enough; ++round) {
    ASSERT_EQ(::mkdir(cgroup.c_str(), 0755), 0);
    const auto child = spawn("/a", [] {});
    std::atomic<bool> go{false};
    std::thread owner([&] {
      while (!go) continue;
      const auto start = base::monotonic_now();
      while (base::monotonic_now() - start < after) continue;
      end(child);
      remove("/a");
    });
    go = true;
    const auto outcome = writer_->apply(action(Verb::kill, "/a"));
    owner.join();
    EXPECT_TRUE(outcome.ok() || outcome.kind == Kind::gone) << outcome.text;
    const bool too_early = outcome.kind == Kind::gone || outcome.processes == 0;
    after = std::max(after + std::chrono::microseconds(too_early ? 20 : -20), std::chrono::microseconds(0));
  }
}

TEST_F(Writer, RefusesToKillProcessesListedAsPidZero) {
  if (!is_v1("freezer")) GTEST_SKIP() << "no cgroup v1 hierarchy on this machine: cgroup.kill needs no numbers";
  make_cgroup("/a");
  const auto outside = spawn("/a", [] {});
  if (const auto* v2 = host().v2()) {  // where cgroup.kill would reach it
    ASSERT_TRUE(write(v2->mount_point + "/cgroup.procs", std::to_string(outside)));
  }
  const auto asking = ::fork();
  if (asking == 0) {
    const auto inside = ::unshare(CLONE_NEWPID) == 0 ? ::fork() : -1;
    if (inside == 0) {
      const auto outcome = (*control::Writer::open(options()))->apply(action(Verb::kill, "/a"));
      ::_exit(outcome.kind == Kind::refused && outcome.guard == "namespace" ? 0 : 1);
    }
    int status = 0;
    ::waitpid(inside, &status, 0);
    ::_exit(inside > 0 && status == 0 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(asking, &status, 0), asking);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(::waitpid(outside, &status, WNOHANG), 0) << "it is alive";
}

TEST_F(Writer, RefusesToKillAThreadedCgroup) {
  if (host().v2() == nullptr) GTEST_SKIP() << "no cgroup v2 hierarchy on this machine: threaded cgroups are of v2";
  make_cgroup("/a");
  // With controllers on for its children it could have none of threads.
  ASSERT_EQ(::mkdir(dir("v2", "/a/t").c_str(), 0755), 0);
  ASSERT_TRUE(write(dir("v2", "/a/t") + "/cgroup.type", "threaded"));
  const auto process = spawn("/a", [] { std::thread([] { ::pause(); }).detach(); });
  const auto threads = "/proc/" + std::to_string(process) + "/task";
  std::string thread;
  wait_until([&] {
    for (const auto& entry : std::filesystem::directory_iterator(threads)) {
      if (entry.path().filename() != std::to_string(process)) thread = entry.path().filename();
    }
    return !thread.empty();
  });
  ASSERT_TRUE(write(dir("v2", "/a/t") + "/cgroup.threads", thread));
  const auto outcome = writer_->apply(action(Verb::kill, "/a/t"));
  EXPECT_EQ(outcome.kind, Kind::refused) << outcome.text;
  EXPECT_EQ(outcome.guard, "threaded") << outcome.text;
  int status = 0;
  EXPECT_EQ(::waitpid(process, &status, WNOHANG), 0) << "it is alive";
  const auto whole = writer_->apply(action(Verb::kill, "/a"));
  EXPECT_TRUE(whole.ok()) << whole.text;
}

TEST_F(Writer, RefusesMemoryHighBelowUsageWithoutSwap) {
  make_cgroup("/a");
  if (is_v1("memory") || file("/a", "memory", "", "memory.high").empty()) {
    GTEST_SKIP() << "no cgroup v2 controllers on this machine: no memory.high";
  }
  spawn_with_32_mib("/a");
  const auto outcome = limit("/a", {"memory.high=8M"});
  EXPECT_EQ(outcome.guard, "below-use") << outcome.text;
  EXPECT_TRUE(limit("/a", {"memory.high=512M"}).ok());
}

TEST_F(Writer, RefusesKillsByPolicyWithManagedOomPreferenceOmit) {
  if (host().v2() == nullptr) GTEST_SKIP() << "no cgroup v2 hierarchy on this machine: systemd marks its directories";
  make_cgroup("/a");
  make_cgroup("/a/b");
  const auto process = spawn("/a/b", [] {});
  const auto marked = dir("v2", "/a/b");
  ASSERT_EQ(::setxattr(marked.c_str(), "user.oomd_omit", "1", 1, 0), 0);
  for (const auto* cgroup : {"/a/b", "/a"}) {
    const auto outcome = writer_->apply(action(Verb::kill, cgroup));
    EXPECT_EQ(outcome.guard, "oom-preference") << outcome.text;
    EXPECT_THAT(outcome.text, HasSubstr(path("/a/b") + " has"));
  }
  ASSERT_EQ(::chown(marked.c_str(), 1234, 1234), 0);  // this user could have set the attribute
  auto dry = action(Verb::kill, "/a");
  dry.dry_run = true;
  const auto would = writer_->apply(dry);
  EXPECT_TRUE(would.ok()) << "the mark is not root's: " << would.text;
  ASSERT_EQ(::chown(marked.c_str(), 0, 0), 0);
  auto by_hand = action(Verb::kill, "/a");
  by_hand.actor.via = model::Actor::Via::command_line;
  const auto outcome = writer_->apply(by_hand);
  ASSERT_TRUE(outcome.ok()) << "a person is permitted: " << outcome.text;
  int status = 0;
  EXPECT_EQ(::waitpid(process, &status, 0), process);
}

TEST_F(Writer, FindsManagedOomPreferenceOmitInDeepDescendants) {
  if (host().v2() == nullptr) GTEST_SKIP() << "no cgroup v2 hierarchy on this machine: systemd marks its directories";
  make_cgroup("/a");
  auto deep = dir("v2", "/a");
  for (int depth = 0; depth < 40; ++depth) {
    deep += "/d";
    ASSERT_EQ(::mkdir(deep.c_str(), 0755), 0);
  }
  ASSERT_EQ(::setxattr(deep.c_str(), "user.oomd_omit", "1", 1, 0), 0);
  EXPECT_EQ(writer_->apply(action(Verb::kill, "/a")).guard, "oom-preference");
}

TEST_F(Writer, SignalsFirstAndKillsRemainingProcesses) {
  make_cgroup("/a");
  spawn("/a", [] { ::signal(SIGTERM, SIG_IGN); });
  auto request = action(Verb::kill, "/a");
  request.signal = SIGTERM;
  request.grace = milliseconds(100);
  const auto outcome = writer_->apply(request);
  EXPECT_TRUE(outcome.ok()) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("killed"));
}

TEST_F(Writer, SignalsOnlyProcessesOfTheCgroup) {
  make_cgroup("/a");
  make_cgroup("/b");
  const auto mine = spawn("/a", [] {});
  const auto theirs = spawn("/b", [] {});
  auto request = action(Verb::signal, "/a");
  request.signal = SIGTERM;
  request.pids = {theirs};
  EXPECT_EQ(writer_->apply(request).kind, Kind::gone);
  request.pids = {mine};
  const auto outcome = writer_->apply(request);
  EXPECT_TRUE(outcome.ok()) << outcome.text;
  EXPECT_EQ(outcome.processes, 1);
  int status = 0;
  EXPECT_EQ(::waitpid(mine, &status, 0), mine);
  EXPECT_EQ(::kill(theirs, 0), 0);
}

TEST_F(Writer, MovesProcessesAndUndoesTheMove) {
  make_cgroup("/a");
  make_cgroup("/b");
  const auto pid = spawn("/a", [] {});
  const auto request = move_to_b({pid});
  const auto moved = writer_->apply(request);
  ASSERT_TRUE(moved.ok()) << moved.text;
  for (const auto& h : host().all)
    EXPECT_EQ(trimmed(h.mount_point + path("/b") + "/cgroup.procs"), std::to_string(pid)) << h.mount_point;
  EXPECT_EQ(writer_->apply(request).kind, Kind::gone) << "it is not there any more";
  const auto back = undo(moved.undo);
  EXPECT_TRUE(back.ok()) << back.text;
  for (const auto& h : host().all)
    EXPECT_EQ(trimmed(h.mount_point + path("/a") + "/cgroup.procs"), std::to_string(pid));
}

TEST_F(Writer, MovesNothingWhenOneHierarchyRefuses) {
  if (!is_v1("cpuset"))
    GTEST_SKIP() << "no cgroup v1 hierarchy on this machine: v2 has one, and no cpuset that is empty";
  make_cgroup("/a");
  const auto pid = spawn("/a", [] {});
  for (const auto& h : host().all) ASSERT_EQ(::mkdir((h.mount_point + path("/b")).c_str(), 0755), 0);  // without cpus
  const auto outcome = writer_->apply(move_to_b({pid}));
  EXPECT_EQ(outcome.kind, Kind::refused) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("cpuset.cpus or cpuset.mems is empty"));
  for (const auto& h : host().all)
    EXPECT_EQ(trimmed(h.mount_point + path("/a") + "/cgroup.procs"), std::to_string(pid)) << h.mount_point;
}

TEST_F(Writer, RefusesToMoveIntoACgroupWithControllersForItsChildren) {
  const auto* v2 = host().v2();
  if (v2 == nullptr || v2->controllers.empty()) GTEST_SKIP() << "no cgroup v2 controllers on this machine";
  make_cgroup("/a");
  make_cgroup("/b");
  enable_controllers("/b");
  if (trimmed(dir("v2", "/b") + kSubtreeControl).empty())
    GTEST_SKIP() << "no cgroup v2 controllers on this machine that go on";
  const auto pid = spawn("/a", [] {});
  const auto outcome = writer_->apply(move_to_b({pid}));
  EXPECT_EQ(outcome.kind, Kind::refused) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("controllers enabled for its children"));
  for (const auto& h : host().all)
    EXPECT_EQ(trimmed(h.mount_point + path("/a") + "/cgroup.procs"), std::to_string(pid)) << h.mount_point;
}

TEST_F(Writer, RefusesALimitOfADisabledControllerAndDoesNotEnableIt) {
  const auto* v2 = host().v2();
  if (v2 == nullptr || !v2->has("pids")) GTEST_SKIP() << "no cgroup v2 controllers on this machine: no pids.max of v2";
  make_cgroup("/a");
  ASSERT_EQ(::mkdir(dir("v2", "/a/b").c_str(), 0755), 0);
  const auto outcome = limit("/a/b", {"pids.max=5"});
  EXPECT_EQ(outcome.guard, "controller") << outcome.text;
  EXPECT_EQ(trimmed(dir("v2", "/a") + kSubtreeControl), "");
}

TEST_F(Writer, TreatsACgroupWithOnlyZombiesAsEmpty) {
  make_cgroup("/a");
  const auto pid = spawn("/a", [] {});
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT),
            0);  // a zombie
  const auto outcome = writer_->apply(action(Verb::kill, "/a"));
  EXPECT_TRUE(outcome.ok()) << outcome.text;
  EXPECT_EQ(outcome.processes, 0) << "there was no process to kill: " << outcome.text;
}

TEST_F(Writer, ResumesAProcessMovedOutOfAFrozenCgroup) {
  make_cgroup("/a");
  make_cgroup("/b");
  const auto counter = spawn_counter("/a");
  wait_for_progress(counter);
  ASSERT_TRUE(freeze("/a").ok());
  auto request = move_to_b({});
  std::istringstream pids(read(host().all.front().mount_point + path("/a") + "/cgroup.procs"));
  for (pid_t pid = 0; pids >> pid;) request.pids.push_back(pid);
  const auto moved = writer_->apply(request);
  ASSERT_TRUE(moved.ok()) << moved.text;
  for (const auto& h : host().all) EXPECT_EQ(read(h.mount_point + path("/a") + "/cgroup.procs"), "") << h.mount_point;
  ASSERT_FALSE(HasFailure()) << "the process did not leave the frozen cgroup";
  wait_for_progress(counter);
}

TEST_F(Writer, FreezesACgroupWithAStoppedProcess) {
  make_cgroup("/a");
  const auto pid = spawn("/a", [] {});
  ASSERT_EQ(::kill(pid, SIGSTOP), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, WUNTRACED), pid);
  const auto outcome = freeze("/a");
  EXPECT_TRUE(outcome.ok()) << outcome.text;
  EXPECT_TRUE(frozen("/a"));
  EXPECT_TRUE(writer_->apply(action(Verb::thaw, "/a")).ok());
  EXPECT_FALSE(frozen("/a"));
  EXPECT_EQ(state_of(pid), "T") << "the process that stopped it resumes it";
}

TEST_F(Writer, DetectsAFreezeByTheCgroupAndNotByTheStateOfItsTasks) {
  make_cgroup("/a");
  const auto pid = spawn("/a", [] {});
  const auto* v2 = host().v2();
  const auto freeze_and_thaw = [&](const char* state) {
    wait_until([&] { return state_of(pid) == "S"; }, "a process sleeps that has nothing to do");
    const auto outcome = freeze("/a");
    ASSERT_TRUE(outcome.ok()) << outcome.text;
    EXPECT_TRUE(frozen("/a"));
    EXPECT_EQ(state_of(pid), state);
    const auto again = freeze("/a");
    EXPECT_TRUE(again.ok()) << again.text;
    const auto thawed = writer_->apply(action(Verb::thaw, "/a"));
    EXPECT_TRUE(thawed.ok()) << thawed.text;
    EXPECT_THAT(thawed.text, Not(HasSubstr("was not frozen")));
    EXPECT_FALSE(frozen("/a"));
  };
  if (v2 != nullptr) {
    SCOPED_TRACE("the freezer of v2");
    freeze_and_thaw("S");  // as any process that waits
  }
  if (is_v1("freezer")) {
    SCOPED_TRACE("the freezer of v1");
    if (v2 != nullptr) {  // out of its freezer
      ASSERT_TRUE(write(v2->mount_point + "/cgroup.procs", std::to_string(pid)));
    }
    freeze_and_thaw("D");  // as one that is stuck in the kernel
  }
}

TEST_F(Writer, NotesWhenAncestorsDoNotPassOnMemoryProtection) {
  make_cgroup("/a");
  enable_controllers("/a");
  make_cgroup("/a/b");
  if (is_v1("memory") || file("/a/b", "memory", "", "memory.low").empty()) {
    GTEST_SKIP() << "no cgroup v2 controllers on this machine: no memory.low";
  }
  for (const std::string key : {"memory.low", "memory.min"}) {
    auto outcome = limit("/a/b", {key + "=16M"});
    EXPECT_TRUE(outcome.ok()) << outcome.text;
    EXPECT_EQ(trimmed(file("/a/b", "memory", "", key)), "16777216") << "set as requested all the same";
    EXPECT_THAT(outcome.text, HasSubstr(key + " of its ancestor " + path("/a") + " is 0 B: nothing is protected"));
    EXPECT_THAT(limit("/a", {key + "=8M"}).text, HasSubstr(key + " of its ancestor " + path() + " is 0 B"));
    EXPECT_THAT(limit("", {key + "=32M"}).text, Not(HasSubstr("protected"))) << "only the root is its ancestor";
    EXPECT_THAT(limit("/a/b", {key + "=16M"}).text,
                HasSubstr(key + " of its ancestor " + path("/a") + " is 8 MiB: no more is protected"));
    EXPECT_THAT(limit("/a", {key + "=16M"}).text, Not(HasSubstr("protected")));
    EXPECT_THAT(limit("/a/b", {key + "=16M"}).text, Not(HasSubstr("protected")));
    outcome = limit("/a/b", {key + "=0"});
    EXPECT_THAT(outcome.text, Not(HasSubstr("protected"))) << "no protection was requested";
  }
}

TEST_F(Writer, NeverDisablesTheOomKiller) {
  for (const auto* text : {"memory.oom_control=1", "memory.oom_kill_disable=1"}) {
    EXPECT_FALSE(model::parse_setting(text)) << text;
  }
  for (const auto& row : control::setting_rows()) {  // under any name
    EXPECT_THAT(std::string(row.v1.file), Not(HasSubstr("oom_control"))) << row.key;
  }
  if (!is_v1("memory")) GTEST_SKIP() << "no cgroup v1 hierarchy on this machine: on v2 it cannot be switched off";
  make_cgroup("/a");
  spawn("/a", [] {});
  EXPECT_TRUE(limit("/a", {"memory.max=64M"}).ok());
  EXPECT_TRUE(freeze("/a").ok());
  EXPECT_TRUE(writer_->apply(action(Verb::thaw, "/a")).ok());
  EXPECT_THAT(read(dir("memory", "/a") + "/memory.oom_control"), HasSubstr("oom_kill_disable 0"));
}

TEST_F(Writer, RefusesRealTimeThatTheParentDoesNotHave) {
  make_cgroup("/a");
  make_cgroup("/a/b");
  if (!is_v1("cpu") || file("/a", "cpu", "cpu.rt_runtime_us", "").empty())
    GTEST_SKIP() << "no cgroup v1 hierarchy on this machine whose cgroups have real time";
  const auto child = dir("cpu", "/a/b") + "/cpu.rt_runtime_us";
  const auto early = limit("/a/b", {"cpu.rt.max=1%"});
  EXPECT_EQ(early.kind, Kind::refused) << early.text;
  EXPECT_EQ(trimmed(child), "0");
  for (const auto* above : {"", "/a"}) {
    const auto outcome = limit(above, {"cpu.rt.max=2%"});
    ASSERT_TRUE(outcome.ok()) << outcome.text;
  }
  const auto now = limit("/a/b", {"cpu.rt.max=1%"});
  EXPECT_TRUE(now.ok()) << now.text;
  EXPECT_EQ(trimmed(child), "10000");
}

TEST_F(Writer, RefusesToRemoveCpusThatAChildUsesOnV1) {
  if (!is_v1("cpuset")) GTEST_SKIP() << "no cgroup v1 hierarchy on this machine: v2 takes them from the child as well";
  make_cgroup("/a");
  make_cgroup("/a/b");
  const auto before = trimmed(dir("cpuset", "/a") + "/cpuset.cpus");
  if (before == "0") GTEST_SKIP() << "no cgroup v1 hierarchy on this machine that has two CPUs";
  const auto outcome = limit("/a", {"cpuset.cpus=0"}, true);
  EXPECT_EQ(outcome.kind, Kind::refused) << outcome.text;
  EXPECT_EQ(trimmed(dir("cpuset", "/a") + "/cpuset.cpus"), before);
}

TEST_F(Writer, KillsNothingWithoutPermissionToSignalAllProcesses) {
  if (!is_v1("freezer"))
    GTEST_SKIP() << "no cgroup v1 hierarchy on this machine: cgroup.kill needs no permission to signal";
  constexpr uid_t nobody = 65534;
  make_cgroup("/a");
  const auto roots = spawn("/a", [] {});
  const auto nobodys = spawn("/a", [] { [[maybe_unused]] const auto done = ::setuid(nobody); });
  for (const auto pid : {roots, nobodys}) {
    if (host().v2() == nullptr) continue;
    ASSERT_TRUE(write(host().v2()->mount_point + "/cgroup.procs", std::to_string(pid)));
  }
  ASSERT_EQ(::chmod(folder_.c_str(), 0777), 0);
  const auto asking = ::fork();
  if (asking == 0) {
    if (::setgid(nobody) != 0 || ::setuid(nobody) != 0) ::_exit(2);
    const auto outcome = (*control::Writer::open(options()))->apply(action(Verb::kill, "/a"));
    ::_exit(outcome.kind == Kind::denied ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(asking, &status, 0), asking);
  EXPECT_EQ(status, 0);
  for (const auto pid : {roots, nobodys}) EXPECT_EQ(::waitpid(pid, &status, WNOHANG), 0) << "it is alive";
}

TEST_F(Writer, RefusesEveryActionOnItsOwnCgroup) {
  make_cgroup("/a");
  make_cgroup("/a/b");
  const auto child = spawn("/a/b", [&] {
    auto writer = std::move(*control::Writer::open(options()));
    for (const auto& cgroup : {"/a", "/a/b"}) {
      for (const auto verb : {Verb::freeze, Verb::kill, Verb::signal, Verb::limit, Verb::move, Verb::reclaim}) {
        auto request = action(verb, cgroup);
        request.signal = SIGKILL;
        request.force = true;
        request.settings = {*model::parse_setting("pids.max=0")};
        const auto outcome = writer->apply(request);
        if (outcome.kind != Kind::refused || outcome.guard != "self") ::_exit(1);
      }
    }
  });
  EXPECT_EQ(::kill(child, 0), 0);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, WNOHANG), 0) << "it is alive, so all was refused";
}

TEST_F(Writer, RefusesCgroupsThatMatchAProtectedPattern) {
  make_cgroup("/a");
  make_cgroup("/a/b");
  auto own = options();
  own.protect = {path("/a") + "/*"};
  writer_ = std::move(*control::Writer::open(own));
  EXPECT_EQ(freeze("/a/b").guard, "protected");
  EXPECT_EQ(writer_->apply(action(Verb::kill, "/a/b")).guard, "protected");
}

TEST_F(Writer, RejectsInvalidPaths) {
  for (const std::string bad : {"", "a", "/..", "/a/../b", "/a//b", "/a/"}) {
    Action request;
    request.verb = Verb::kill;
    request.cgroup.path = bad;
    const auto kind = writer_->apply(request).kind;
    EXPECT_TRUE(kind == Kind::usage || kind == Kind::gone) << bad;
  }
}

TEST_F(Writer, DoesNotReadAChildCgroupNamedLikeAFile) {
  make_cgroup("/a");
  const auto* v2 = host().v2();
  if (v2 == nullptr || is_v1("memory") == false)
    GTEST_SKIP() << "no cgroup v1 hierarchy on this machine: needs a v2 hierarchy without the memory controller";
  make_cgroup("/a/memory.reclaim");
  const base::Fd dir(::open((v2->mount_point + path("/a")).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  EXPECT_EQ(control::read_file(dir.get(), "memory.reclaim").error().code, ENOENT);
  EXPECT_EQ(control::write_file(dir.get(), "memory.reclaim", "1").error().code, ENOENT);
}

TEST_F(Writer, ReclaimsAsMuchAsPossible) {
  make_cgroup("/a");
  const auto file_path = file("/a", "memory", "", "memory.reclaim");
  if (is_v1("memory") || file_path.empty())
    GTEST_SKIP() << "no cgroup v2 controllers on this machine: no memory.reclaim";
  spawn("/a", [&] {
    std::ofstream(folder_ + "/cache") << std::string(8U << 20U, 'x');
    (void)read(folder_ + "/cache");
  });
  auto request = action(Verb::reclaim, "/a");
  request.bytes = 1LL << 40U;
  const auto outcome = writer_->apply(request);
  EXPECT_TRUE(outcome.ok() || outcome.kind == Kind::partly) << outcome.text;
}

// Cgroups named as Docker names them, and a fake daemon. Real runtimes are tested by container_limits_test.py.
class WriterWithRuntime : public Writer {
 protected:
  using Answer = std::function<std::string(const std::string& what)>;  // "json", "update", "pause", "unpause"

  void SetUp() override {
    Writer::SetUp();
    if (IsSkipped()) return;
    make_cgroup("/docker");
    enable_controllers("/docker");
    make_cgroup(cgroup_);
  }
  void TearDown() override {
    daemon_.reset();
    Writer::TearDown();
  }
  void answer(Answer answer) {
    daemon_ = std::make_unique<FakeDaemon>(socket_, [answer = std::move(answer)](int fd, const std::string& target) {
      return FakeDaemon::send(fd, answer(target.substr(target.rfind('/') + 1)));
    });
    auto own = options();
    own.runtime_sockets = {.docker = socket_, .podman = ""};
    writer_ = std::move(*control::Writer::open(own));
  }
  [[nodiscard]] std::string usual(const std::string& what) const {
    if (what == "json") return FakeDaemon::http(200, R"({"Id":")" + id_ + R"(","State":{"Paused":true}})");
    return FakeDaemon::http(what == "update" ? 200 : 204, what == "update" ? "{}" : "");
  }

  using FakeDaemon = discovery::FakeDaemon;
  const std::string id_ = std::string(63, 'a') + '1';
  const std::string cgroup_ = "/docker/" + id_;
  const std::string socket_ = folder_ + "/docker.sock";
  std::unique_ptr<FakeDaemon> daemon_;
};

TEST_F(WriterWithRuntime, UpdatesTheRuntimeAfterALimitAndAfterItsUndo) {
  if (file(cgroup_, "pids", "pids.max", "pids.max").empty()) GTEST_SKIP() << "no pids controller";
  answer([&](const std::string& what) { return usual(what); });
  const auto set = limit(cgroup_, {"pids.max=40"});
  EXPECT_EQ(set.kind, Kind::done) << set.text;
  EXPECT_THAT(set.text, HasSubstr("docker was updated"));
  EXPECT_EQ(undo(set.undo).kind, Kind::done);
  EXPECT_EQ(daemon_->posted("/update"), (std::vector<std::string>{R"({"PidsLimit":40})", R"({"PidsLimit":-1})"}));
}

TEST_F(WriterWithRuntime, DoesNotUpdateTheRuntimeInADryRun) {
  if (file(cgroup_, "pids", "pids.max", "pids.max").empty()) GTEST_SKIP() << "no pids controller";
  answer([&](const std::string& what) { return usual(what); });
  EXPECT_THAT(limit(cgroup_, {"pids.max=40"}, false, true).text, HasSubstr("docker would be updated"));
  EXPECT_TRUE(daemon_->posted("").empty());
}

TEST_F(WriterWithRuntime, SetsLimitsWhenTheRuntimeRefusesOrIsUnreachable) {
  const auto pids = file(cgroup_, "pids", "pids.max", "pids.max");
  if (pids.empty()) GTEST_SKIP() << "no pids controller";
  answer([&](const std::string& what) {
    return what == "update" ? FakeDaemon::http(409, R"({"message":"Conflicting options"})") : usual(what);
  });
  const auto refused = limit(cgroup_, {"pids.max=40"});
  EXPECT_EQ(refused.kind, Kind::done);
  EXPECT_THAT(refused.text, HasSubstr("docker was not updated and may overwrite the limits with its own values "
                                      "(docker: Conflicting options)"));
  EXPECT_EQ(trimmed(pids), "40");
  daemon_.reset();
  const auto away = limit(cgroup_, {"pids.max=41"});
  EXPECT_EQ(away.kind, Kind::done);
  EXPECT_THAT(away.text, HasSubstr("docker was not updated"));
  EXPECT_EQ(trimmed(pids), "41");
}

TEST_F(WriterWithRuntime, CorrectsADifferentValueWrittenByTheRuntime) {
  const auto pids = file(cgroup_, "pids", "pids.max", "pids.max");
  if (pids.empty()) GTEST_SKIP() << "no pids controller";
  answer([&](const std::string& what) {
    if (what == "update") write(pids, "39");
    return usual(what);
  });
  const auto set = limit(cgroup_, {"pids.max=40"});
  EXPECT_EQ(set.kind, Kind::done) << set.text;
  EXPECT_EQ(trimmed(pids), "40");
  // An undo compares with the value after the correction.
  EXPECT_EQ(undo(set.undo).kind, Kind::done);
}

TEST_F(WriterWithRuntime, PausesAndUnpausesThroughTheRuntime) {
  const auto counter = spawn_counter(cgroup_);
  std::atomic<bool> was_frozen = false;
  const auto write_freezer = [&](bool freeze) {
    const auto folder = dir("freezer", cgroup_);
    folder.empty() ? write(dir("v2", cgroup_) + "/cgroup.freeze", freeze ? "1" : "0")
                   : write(folder + "/freezer.state", freeze ? "FROZEN" : "THAWED");
  };
  answer([&](const std::string& what) {
    if (what == "pause") write_freezer(true);
    if (what == "unpause") {
      was_frozen = frozen(cgroup_);
      write_freezer(false);
    }
    return usual(what);
  });
  auto outcome = freeze(cgroup_);
  EXPECT_EQ(outcome.kind, Kind::done) << outcome.text;
  EXPECT_EQ(outcome.route, "docker");
  EXPECT_TRUE(frozen(cgroup_));
  EXPECT_EQ(writer_->apply(action(Verb::thaw, cgroup_)).route, "docker");
  EXPECT_TRUE(was_frozen) << "it cannot end a pause that the kernel has ended";
  wait_for_progress(counter);
  // The same when its time is up.
  was_frozen = false;
  outcome = freeze(cgroup_, milliseconds(300));
  EXPECT_EQ(outcome.kind, Kind::done) << outcome.text;
  wait_for_progress(counter);
  wait_until([&] { return was_frozen.load(); });
}

TEST_F(WriterWithRuntime, FreezesAndThawsWhenTheRuntimeHangs) {
  const auto counter = spawn_counter(cgroup_);
  FakeDaemon* hanging = nullptr;
  auto own = options();
  own.runtime_sockets = {.docker = socket_, .podman = ""};
  writer_ = std::move(*control::Writer::open(own));
  daemon_ = std::make_unique<FakeDaemon>(socket_, [&](int fd, const std::string& target) {
    return target.ends_with("/json") ? FakeDaemon::send(fd, usual("json")) : hanging->hang(fd);
  });
  hanging = daemon_.get();
  auto request = action(Verb::freeze, cgroup_);
  request.lease = milliseconds(1500);
  const auto outcome = writer_->apply(request);
  EXPECT_EQ(outcome.kind, Kind::done) << outcome.text;
  EXPECT_EQ(outcome.route, "cgroupfs");
  EXPECT_THAT(outcome.text, HasSubstr("timed out"));
  wait_until([&] { return !frozen(cgroup_); });
  wait_for_progress(counter);
}

}  // namespace
}  // namespace cgwarden
