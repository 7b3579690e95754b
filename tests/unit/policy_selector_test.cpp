// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/discovery/runtimes.h"
#include "src/policy/load.h"
#include "src/policy/selector.h"
#include "tests/unit/cgtop_snapshots.h"

namespace cgwarden::policy {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using std::chrono_literals::operator""s;

TEST(GlobMatches, MatchesStarsAndQuestionMarksInPathsAndOtherTexts) {
  struct Case {
    const char* pattern;
    const char* text;
    bool in_path;
    bool other_text;
  };
  const Case cases[] = {
      {"/a", "/a", true, true},
      {"/a", "/ab", false, false},
      {"/*", "/a", true, true},
      {"/*", "/a/b", false, true},
      {"/**", "/a/b", true, true},
      {"/a/**", "/a", false, false},
      {"/a/**/c", "/a/b/c", true, true},
      {"/a/*/c", "/a/b/c", true, true},
      {"/a/*/c", "/a/b/d/c", false, true},
      {"**/db*", "/x/y/db1", true, true},
      {"/?", "/a", true, true},
      {"/a?b", "/a/b", false, true},
      {"*", "", true, true},
      {"", "", true, true},
      {"", "a", false, false},
      {"a*b*c", "aXbYc", true, true},
      {"a*b*c", "aXbY", false, false},
      {"*\x1b*", "/a\x1b[31m", false, true},
      {"***", "/a/b", true, true},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(glob_matches(c.pattern, c.text, true), c.in_path) << c.pattern << " path " << c.text;
    EXPECT_EQ(glob_matches(c.pattern, c.text, false), c.other_text) << c.pattern << " text " << c.text;
  }
}

TEST(GlobMatches, TakesLinearTimeForHostilePatterns) {
  std::string pattern;
  for (int i = 0; i < 60; ++i) pattern += "a*";
  EXPECT_FALSE(glob_matches(pattern + "b", std::string(4000, 'a'), false));
}

TEST(KnownKinds, ContainAllRuntimesOfDiscovery) {
  const auto known = known_kinds();
  for (const auto runtime : discovery::known_runtimes()) {
    EXPECT_THAT(known, Contains(runtime)) << "src/policy/selector.cpp lists the runtimes";
  }
}

model::SnapshotPtr host() {
  model::Container db;
  db.role = model::Role::container;
  db.runtime = "docker";
  db.id = "4f1dd";
  db.name = "shop-db-1";
  db.image = "registry/postgres:16";
  db.labels = {{"tier", "prod"}, {"job", "shop"}};
  model::Container pod;
  pod.role = model::Role::pod;
  pod.pod = "api";
  pod.pod_namespace = "shop";
  return test::SnapshotMaker()
      .cgroup(1, "/")
      .cgroup(2, "/k8s.slice")
      .container(pod)
      .cgroup(3, "/system.slice")
      .cgroup(4, "/system.slice/docker-4f1dd.scope")
      .set("memory_current", 100 << 20)
      .set("populated", 1)
      .container(db)
      .cgroup(5, "/system.slice/worker@2.service")
      .set("memory_current", 1 << 20)
      .set("populated", 0)
      .cgroup(6, "/user.slice")
      .cgroup(7, "/user.slice/user-0.slice")
      .cgroup(8, "/user.slice/user-0.slice/session-3.scope")
      .cgroup(9, "/user.slice/user-1000.slice/user@1000.service")
      .cgroup(10, "/user.slice/user-1000.slice/user@1000.service/x.slice/user.slice/user-0.slice")
      .make();
}

std::vector<std::string> matched(const std::string& match) {
  const auto loaded = load_texts(
      {{"p", "version: 1\nrules:\n- { name: r, when: always, do: [], match: " + match + " }\n"}}, test::catalogue());
  if (!loaded.policy) return {loaded.problems.front().text()};
  const auto now = host();
  const SelectorFields fields(*now->catalogue);
  std::vector<std::string> out;
  for (model::CgroupIndex g = 0; g < now->cgroup_count(); ++g) {
    const bool does = matches(loaded.policy->rules[0].match, fields, *now, g);
    EXPECT_EQ(does, mismatch(loaded.policy->rules[0].match, fields, *now, g).empty());
    if (does) out.push_back(now->cgroup_list->cgroups[g]->path);
  }
  return out;
}

TEST(Selector, MatchesCgroupsByEachKey) {
  const std::string root = "/";
  const std::string k8s = "/k8s.slice";
  const std::string system = "/system.slice";
  const std::string db = "/system.slice/docker-4f1dd.scope";
  const std::string worker = "/system.slice/worker@2.service";
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases = {
      {"{ path: /system.slice/* }", {db, worker}},
      {"{ path: [ /system.slice, /k8s* ] }", {k8s, system}},
      {"{ kind: docker }", {db}},
      {"{ kind: container }", {db}},
      {"{ kind: [ pod, service ], not: { user: 1000 } }", {k8s, worker}},
      {"{ kind: slice, not: { path: /user.slice** } }", {k8s, system}},
      {"{ kind: root }", {root}},
      {"{ name: '*-db-*' }", {db}},
      {"{ name: api }", {k8s}},
      {"{ image: '*/postgres:*' }", {db}},
      {"{ label: { tier: prod } }", {db}},
      {"{ label: { tier: [ dev, prod ], job: '*' } }", {db}},
      {"{ label: { tier: prod, pin: '*' } }", {}},
      {"{ unit: 'worker@*.service' }", {worker}},
      {"{ slice: system.slice }", {system, db, worker}},
      {"{ user: root }", {"/user.slice/user-0.slice", "/user.slice/user-0.slice/session-3.scope"}},
      {"{ user: [ 1000, 1001 ] }",
       {"/user.slice/user-1000.slice/user@1000.service",
        "/user.slice/user-1000.slice/user@1000.service/x.slice/user.slice/user-0.slice"}},
      {"{ user: root, kind: scope }", {"/user.slice/user-0.slice/session-3.scope"}},
      {"{ pod: api, namespace: shop }", {k8s}},
      {"{ id: '4f*' }", {db}},
      {"{ min_memory: 50MiB }", {db}},
      {"{ populated: true }", {db}},
      {"{ populated: false }", {worker}},
      {"{ path: /system.slice/*, not: { kind: docker } }", {worker}},
      {"{ path: /system.slice/*, not: [ { kind: docker }, { unit: 'worker@*' } ] }", {}},
      {"{ older_than: 1h, path: /system.slice }", {system}},
      {"{ older_than: 30d, path: /system.slice }", {}},
  };
  for (const auto& [match, expected] : cases) EXPECT_EQ(matched(match), expected) << match;
}

TEST(Selector, ReportsTheFirstCriterionThatDoesNotMatch) {
  const auto now = host();
  const SelectorFields fields(*now->catalogue);
  Selector selector;
  selector.kind = {"docker", "podman"};
  EXPECT_EQ(mismatch(selector, fields, *now, 4), "kind is service, not docker or podman");
  selector.kind.clear();
  selector.image = {"x"};
  EXPECT_EQ(mismatch(selector, fields, *now, 4), "image is unknown, not x");
  selector.image.clear();
  selector.min_memory = 1 << 30;
  EXPECT_EQ(mismatch(selector, fields, *now, 3), "memory is 100MiB, less than 1GiB");
}

}  // namespace
}  // namespace cgwarden::policy
