// SPDX-License-Identifier: Apache-2.0
// Parts of control that need no cgroups: guards on random trees, the protocol of the socket, disk names, the undo log.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "src/control/audit.h"
#include "src/control/cgroup_handle.h"
#include "src/control/guards.h"
#include "src/control/protocol.h"
#include "src/control/settings.h"
#include "src/control/undo_log.h"
#include "tests/outcome_words.h"
#include "tests/temp_dir.h"

namespace cgwarden::control {
namespace {

using model::Verb;
using testing::HasSubstr;

constexpr Verb kGuardedVerbs[] = {Verb::limit, Verb::freeze, Verb::kill, Verb::signal, Verb::reclaim, Verb::move};

TEST(Audit, ListsTheNewestRecordsOfACgroupFirst) {
  model::Action action;
  action.verb = Verb::limit;
  action.cgroup = {"/shop", 7};
  action.actor.uid = 1000;
  action.reason.text = "it was too much";
  auto outcome = model::outcome_of(model::Outcome::Kind::refused, "402 MiB are in use", "below-use");
  auto text = audit_line("begin", "a1", action, outcome) + '\n' + audit_line("end", "a1", action, outcome) + '\n';
  action.cgroup.path = "/shop/other";
  text += audit_line("end", "a2", action, outcome) + "\nno json at all\n[1]\n{}\n{\"cgroup\":\"/shop\"}\n";
  text += R"({"time":"t","event":"fire","rule":"calm","cgroup":{"path":"/shop"},"reason":{"text":"87MiB"}})";

  const auto found = audit_events(text, "/shop", 10);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].event, "fire");
  EXPECT_EQ(found[0].who, "rule calm");
  EXPECT_EQ(found[0].result, "");
  EXPECT_EQ(found[0].text, "87MiB");
  EXPECT_EQ(found[1].event, "end");
  EXPECT_EQ(found[1].action, "limit");
  EXPECT_EQ(found[1].who, "uid 1000");
  EXPECT_EQ(found[1].result, "refused");
  EXPECT_EQ(found[1].text, "402 MiB are in use: it was too much");
  EXPECT_EQ(audit_events(text, "/shop", 1).size(), 1U);
  EXPECT_TRUE(audit_events(text, "/", 10).empty());
}

TEST(Audit, ReadsTheEndOfTheFileAndReportsErrors) {
  const testing_files::TempDir folder;
  const auto path = folder.path() + "/audit";
  model::Action action;
  action.cgroup.path = "/shop\xff";  // as it is in the file: UTF-8
  {
    std::ofstream file(path);
    for (int i = 0; i < 3000; ++i) {
      file << audit_line("end", std::to_string(i), action,
                         model::outcome_of(model::Outcome::Kind::done, std::to_string(i)))
           << '\n';
    }
  }
  ASSERT_GT(std::filesystem::file_size(path), 512U << 10U);
  const auto found = read_audit(path, "/shop\xff", 100'000);
  ASSERT_TRUE(found) << found.error().what;
  EXPECT_EQ(found->front().text, "2999");
  EXPECT_GT(found->size(), 500U);
  EXPECT_LT(found->size(), 3000U);
  EXPECT_EQ(found->back().text, std::to_string(3000 - found->size())) << "complete lines only, and none skipped";
  EXPECT_EQ(read_audit(folder.path() + "/none", "/", 1).error().code, ENOENT);
}

TEST(CheckGuards, ProtectsCgroupsWithProtectedProcessesAndTheirAncestorsInRandomTrees) {
  std::mt19937 random(7);
  const auto number = [&](int most) { return std::uniform_int_distribution<int>(0, most)(random); };
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::string> paths = {""};
    for (int i = 0; i < 30; ++i) {
      paths.push_back(paths[static_cast<std::size_t>(number(static_cast<int>(paths.size()) - 1))] + "/" +
                      std::string(1 + static_cast<std::size_t>(number(1)), static_cast<char>('a' + number(3))));
    }
    GuardFacts facts;
    for (const auto* guard : {"init", "self", "session", "system"}) {
      ProtectedProcess one{guard, "x (pid 1)", {}};
      for (int i = number(2); i >= 0; --i) one.paths.push_back(paths[static_cast<std::size_t>(number(30))]);
      for (auto& path : one.paths) path = path.empty() ? "/" : path;
      facts.processes.push_back(std::move(one));
    }
    for (const auto& path : paths) {
      const auto cgroup = path.empty() ? "/" : path;
      // Reference implementation: every prefix of a protected path at a slash is protected.
      bool wanted = cgroup == "/";
      for (const auto& one : facts.processes) {
        for (auto own : one.paths) {
          while (true) {
            wanted = wanted || own == cgroup;
            const auto slash = own.rfind('/');
            if (slash == std::string::npos || slash == 0) break;
            own.resize(slash);
          }
        }
      }
      for (const auto verb : kGuardedVerbs) {
        const auto guarded = check_guards(facts, verb, cgroup);
        ASSERT_EQ(guarded.has_value(), wanted) << cgroup << ' ' << model::name(verb);
        ASSERT_TRUE(!guarded || !guarded->text.empty());
      }
      ASSERT_EQ(check_guards(facts, Verb::thaw, cgroup).has_value(), cgroup == "/") << "a thaw is always allowed";
    }
  }
}

TEST(CheckGuards, ProtectsEssentialUnitsByPath) {
  const GuardFacts facts;
  const struct {
    const char* path;
    Verb verb;
    const char* guard;
  } cases[] = {
      {"/", Verb::thaw, "root"},
      {"/init.scope", Verb::freeze, "init"},
      {"/system.slice/ssh.service", Verb::limit, "system"},
      {"/system.slice/dbus.service/inner", Verb::kill, "system"},
      {"/system.slice", Verb::freeze, "slice"},
      {"/user.slice", Verb::kill, "slice"},
      {"/kubepods.slice/kubepods-burstable.slice", Verb::limit, "kubepods"},
      {"/a/kubepods/burstable", Verb::freeze, "kubepods"},
      {"/system.slice/nginx.service", Verb::kill, ""},
      {"/system.slice", Verb::limit, ""},
      {"/system.slice/sshd.servicex", Verb::kill, ""},
      {"/system.slice/ssh.service", Verb::thaw, ""},
  };
  for (const auto& c : cases) {
    const auto guarded = check_guards(facts, c.verb, c.path);
    EXPECT_EQ(guarded ? guarded->guard : "", c.guard) << c.path;
  }
}

TEST(FindProtectedProcesses, IncludesInitAndItsOwnProcess) {
  const auto facts = find_protected_processes("/proc", {});
  EXPECT_TRUE(std::ranges::any_of(facts.processes, [](const ProtectedProcess& one) {
    return one.guard == "self" && one.description.find("(pid " + std::to_string(::getpid()) + ")") != std::string::npos;
  }));
  EXPECT_TRUE(std::ranges::any_of(facts.processes, [](const ProtectedProcess& one) { return one.guard == "init"; }));
}

TEST(CheckPermissions, AllowsOnlyRootAndTheUnixGroupOnV1) {
  cgroup::HostHierarchies host;
  host.all.push_back({1, {"memory"}, "", "/nonexistent", "/"});
  EXPECT_FALSE(check_permissions({true, 1000}, host, Verb::kill, {"/a", 0}));
  EXPECT_FALSE(check_permissions({false, 0}, host, Verb::kill, {"/a", 0}));
  EXPECT_EQ(check_permissions({false, 1000}, host, Verb::kill, {"/a", 0})->guard, "owner");
}

TEST(ParseMemberships, AcceptsPathsWithColons) {
  const auto found = parse_memberships("9:name=systemd:/a:b/c\n4:cpu,cpuacct:/x\n0::/y: z\nrubbish\n1:2\n");
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].path, "/a:b/c");
  EXPECT_EQ(found[1].controllers, "cpu,cpuacct");
  EXPECT_EQ(found[2].controllers, "");
  EXPECT_EQ(found[2].path, "/y: z");
  EXPECT_TRUE(is_within("/a/b", "/a"));
  EXPECT_FALSE(is_within("/ab", "/a"));
  EXPECT_TRUE(is_within("/ab", "/"));
}

class ResolveDisk : public testing::Test {
 protected:
  void SetUp() override {
    machine_.sys = folder_.path();
    put("devices/vda/dev", "254:0\n");
    put("devices/vda/vda1/dev", "254:1\n");
    put("devices/vda/vda1/partition", "1\n");
    std::filesystem::create_directories(machine_.sys + "/dev/block");
    std::filesystem::create_directories(machine_.sys + "/class/block");
    for (const auto& [name_of, number, at] :
         {std::tuple("vda", "254:0", "vda"), std::tuple("vda1", "254:1", "vda/vda1")}) {
      std::filesystem::create_directory_symlink(machine_.sys + "/devices/" + at, machine_.sys + "/dev/block/" + number);
      std::filesystem::create_directory_symlink(machine_.sys + "/devices/" + at,
                                                machine_.sys + "/class/block/" + name_of);
    }
  }
  void put(const std::string& file, const std::string& text) const {
    const std::filesystem::path path = machine_.sys + "/" + file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  const testing_files::TempDir folder_;
  Machine machine_;
};

TEST_F(ResolveDisk, FindsADiskByNameAndNumber) {
  EXPECT_EQ(resolve_disk("vda", machine_).value(), "254:0");
  EXPECT_EQ(resolve_disk("254:0", machine_).value(), "254:0");
}

TEST_F(ResolveDisk, NamesTheDiskOfAPartition) {
  for (const auto* partition : {"vda1", "254:1"}) {
    const auto disk = resolve_disk(partition, machine_);
    ASSERT_FALSE(disk);
    EXPECT_EQ(disk.error().kind, model::Outcome::Kind::usage);
    EXPECT_THAT(disk.error().text, HasSubstr("254:0"));
  }
}

TEST_F(ResolveDisk, RejectsUnknownDisks) {
  for (const auto* bad : {"vdz", "9:99", "1:", ":", "a:b", "../vda", "/nonesuch", "/proc"})
    EXPECT_FALSE(resolve_disk(bad, machine_)) << bad;
}

TEST(SettingRows, HaveOneRowPerSettingKey) {
  for (const auto& key : model::setting_keys()) {
    const auto* const row = find_setting_row(key.name);
    ASSERT_NE(row, nullptr) << key.name;
    EXPECT_TRUE(row->v1.layout != Layout::none || row->v2.layout != Layout::none) << key.name;
  }
  EXPECT_EQ(setting_rows().size(), model::setting_keys().size());
}

TEST(ParseRequest, ReturnsTheRequestThatWasWritten) {
  Request request;
  request.action.verb = Verb::limit;
  request.action.cgroup = {"/a\xff/b", 4711};
  request.action.settings = {*model::parse_setting("memory.max=+10%"), *model::parse_setting("io.max.rbps@vda=5M")};
  request.action.settings[0].at_most = model::Value::of(1 << 30);
  request.action.lease = std::chrono::milliseconds(1500);
  request.action.pids = {3, 4};
  request.action.target = {"/t", 7};
  request.action.dry_run = true;
  request.action.reason.text = "why";
  const auto back = parse_request(to_json(request));
  ASSERT_TRUE(back) << back.error().what;
  EXPECT_EQ(back->action.cgroup.path, request.action.cgroup.path);
  EXPECT_EQ(back->action.cgroup.id, 4711U);
  EXPECT_EQ(back->action.settings, request.action.settings);
  EXPECT_EQ(back->action.lease, request.action.lease);
  EXPECT_EQ(back->action.pids, request.action.pids);
  EXPECT_EQ(back->action.target.path, "/t");
  EXPECT_TRUE(back->action.dry_run);
  EXPECT_EQ(to_json(*back), to_json(request));
}

TEST(ParseRequest, NamesTheInvalidKeyInErrors) {
  const struct {
    const char* line;
    const char* expected;
  } cases[] = {
      {"", "parse error"},
      {"[]", "must be an object"},
      {R"({"apply":{"verb":"freeze","path":"/a"}})", "version"},
      {R"({"version":2,"apply":{"verb":"freeze","path":"/a"}})", "version 2"},
      {R"({"version":1})", "exactly one of"},
      {R"({"version":1,"apply":{"verb":"melt","path":"/a"}})", "verb"},
      {R"({"version":1,"apply":{"verb":"freeze"}})", "path: required"},
      {R"({"version":1,"apply":{"verb":"freeze","path":"/a","dryrun":true}})", "dryrun"},
      {R"({"version":1,"apply":{"verb":"freeze","path":"/a","dry_run":1}})", "dry_run"},
      {R"({"version":1,"apply":{"verb":"freeze","path":"/a","lease_ms":-1}})", "lease_ms"},
      {R"({"version":1,"apply":{"verb":"freeze","path":"/a","lease_ms":1e3}})", "lease_ms"},
      {R"({"version":1,"apply":{"verb":"freeze","path":"/a","id":-1}})", "id"},
      {R"({"version":1,"apply":{"verb":"signal","path":"/a","pids":[0]}})", "pids"},
      {R"({"version":1,"apply":{"verb":"limit","path":"/a","settings":[{"key":"memory.mx","value":"1"}]}})",
       "memory.max"},
      {R"({"version":1,"apply":{"verb":"limit","path":"/a","actor":{"uid":0}}})", "actor"},
      {R"({"version":1,"undo":5})", "undo"},
  };
  for (const auto& c : cases) {
    const auto request = parse_request(c.line);
    ASSERT_FALSE(request) << c.line;
    EXPECT_THAT(request.error().what, HasSubstr(c.expected)) << c.line;
  }
  EXPECT_FALSE(parse_request(std::string(kMaxLine + 1, ' ')));
}

TEST(ParseOutcome, ReturnsTheOutcomeThatWasWritten) {
  model::Outcome outcome;
  outcome.kind = model::Outcome::Kind::partly;
  outcome.text = "half";
  outcome.changes = {{"memory.max", "max", "5", "4"}};
  outcome.undo = "01234567";
  outcome.bytes = 9;
  const auto back = parse_outcome(to_json(outcome));
  ASSERT_TRUE(back) << back.error().what;
  EXPECT_EQ(to_json(*back), to_json(outcome));
  EXPECT_FALSE(parse_outcome(R"({"version":1,"outcome":{"kind":"odd"}})"));
}

TEST(ParseUndoEntry, ReturnsTheEntryThatWasWritten) {
  UndoEntry entry;
  entry.id = "0a1b2c3d";
  entry.path = "/a\xff";
  entry.cgroup = ~std::uint64_t{0};
  entry.parts = {{"memory", "memory.max", "memory.max", "", "max", "5"}};
  entry.pids = {4};
  const auto back = parse_undo_entry(to_json(entry));
  ASSERT_TRUE(back) << back.error().what;
  EXPECT_EQ(to_json(*back), to_json(entry));
  for (const auto* bad : {"", "{}", "[1]", R"({"id":"../../etc"})"}) EXPECT_FALSE(parse_undo_entry(bad)) << bad;
}

TEST(UndoLog, RefusesADirectoryThatOthersCanWrite) {
  const testing_files::TempDir folder;
  const auto& name = folder.path();
  EXPECT_TRUE(control::UndoLog::open(name, false));
  std::filesystem::permissions(name, std::filesystem::perms::all);
  const auto open = control::UndoLog::open(name, false);
  ASSERT_FALSE(open);
  EXPECT_THAT(open.error().what, HasSubstr("chmod"));
}

TEST(TimeText, FormatsRfc3339InUtcWithMilliseconds) {
  const base::Wall moment{std::chrono::milliseconds(1'764'036'006'123)};
  EXPECT_EQ(time_text(moment).view(), "2025-11-25T02:00:06.123Z");
}

}  // namespace
}  // namespace cgwarden::control
