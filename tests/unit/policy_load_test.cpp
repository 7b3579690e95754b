// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "src/policy/load.h"
#include "tests/temp_dir.h"
#include "tests/unit/cgtop_snapshots.h"

namespace cgwarden::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> texts_of(const Problems& problems) {
  std::vector<std::string> out;
  for (const auto& problem : problems) out.push_back(problem.text());
  return out;
}

Loaded load_text(const std::string& text) { return load_texts({{"p.yaml", text}}, test::catalogue()); }

// A rule around one line of it.
std::string rule_with(const std::string& line) {
  return "version: 1\nrules:\n- name: r\n  match: { path: /a }\n  when: always\n  do: [ notify: x ]\n  " + line + "\n";
}
std::string rule_when(const std::string& when) {
  return "version: 1\nrules:\n- name: r\n  match: { path: /a }\n  do: [ notify: x ]\n  when: " + when + "\n";
}
std::string rule_do(const std::string& step) {
  return "version: 1\nrules:\n- name: r\n  match: { path: /a }\n  when: always\n  do: [ " + step + " ]\n";
}
std::string rule_match(const std::string& match) {
  return "version: 1\nrules:\n- name: r\n  when: always\n  do: [ notify: x ]\n  match: " + match + "\n";
}

TEST(PolicyLoad, ReadsAWholePolicy) {
  const auto loaded = load_text(R"(version: 1
enforcer: { boot_grace: 1m, max_actions_per_hour: 7 }
defaults: { dry_run: false, cooldown: 2m, lease: 30m }
protect:
  - path: /critical.slice/**
rules:
  - name: db
    match:
      kind: [docker, podman]
      name: "*-db-*"
      label: { tier: prod }
      min_memory: 64MiB
      older_than: 10s
      not: { label: { pin: "*" } }
    when:
      all:
        - { field: pressure_memory_some_avg10, above: 10%, for: 30s, clear_below: 5%, clear_for: 1m }
        - { field: memory_events_high, rate_above: 100/m }
        - any:
          - { field: memory_current, above: 90%, of: effective_memory_max }
          - { time: "20:00-06:00", days: mon-fri }
    do:
      - notify: look at it
      - reclaim: 256MiB
      - limit: { memory.high: { to: +10%, max: 12GiB }, io.max.wbps@vda: 50M }
      - { freeze: 2m, after: 10s }
      - { kill: { signal: TERM, grace: 3s }, after: 1m30s }
    dry_run: true
)");
  ASSERT_TRUE(loaded.policy) << ::testing::PrintToString(texts_of(loaded.problems));
  const auto& policy = *loaded.policy;
  EXPECT_EQ(policy.boot_grace, std::chrono::minutes(1));
  EXPECT_EQ(policy.max_actions_per_hour, 7U);
  ASSERT_EQ(policy.rules.size(), 1U);
  const auto& rule = policy.rules[0];
  EXPECT_TRUE(rule.dry_run);
  EXPECT_EQ(rule.cooldown, std::chrono::minutes(2));
  EXPECT_EQ(rule.lease, std::chrono::minutes(30));
  EXPECT_EQ(rule.match.kind.size(), 2U);
  EXPECT_EQ(rule.match.excluded.size(), 1U);
  EXPECT_EQ(*rule.match.min_memory, 64 * 1024 * 1024);
  ASSERT_EQ(rule.conditions.size(), 3U);
  EXPECT_DOUBLE_EQ(rule.conditions[0].threshold, 0.1);
  EXPECT_DOUBLE_EQ(rule.conditions[0].clear, 0.05);
  EXPECT_DOUBLE_EQ(rule.conditions[1].threshold, 100.0 / 60);
  EXPECT_DOUBLE_EQ(rule.conditions[1].clear, 90.0 / 60);
  EXPECT_TRUE(rule.conditions[2].of);
  ASSERT_EQ(rule.steps.size(), 5U);
  EXPECT_EQ(rule.steps[2].settings.size(), 2U);
  EXPECT_EQ(rule.steps[2].settings[0].basis, model::Basis::percent_change);
  EXPECT_EQ(rule.steps[2].settings[1].device, "vda");
  EXPECT_EQ(rule.steps[4].after, std::chrono::seconds(90));
}

TEST(PolicyLoad, DryRunIsTheDefault) {
  const auto loaded = load_text(rule_with("enabled: true"));
  ASSERT_TRUE(loaded.policy);
  EXPECT_TRUE(loaded.policy->rules[0].dry_run);
}

struct Mistake {
  std::string text;
  std::string problem;
};

TEST(PolicyLoad, SaysWhatIsWrongWhereAndHowToMendIt) {
  const std::vector<Mistake> cases = {
      {"", "p.yaml:1:1: the file is empty; it begins with 'version: 1'"},
      {"rules: []\n", "p.yaml:1:1: 'version: 1' is missing"},
      {"version: 2\n", "p.yaml:1:10: version is '2'; this program knows 1"},
      {"version: 1\nversion: 1\n", "p.yaml:2:1: the key 'version' is there twice"},
      {"version: 1\nrule: []\n", "p.yaml:2:1: unknown key 'rule'; did you mean 'rules'? in the file"},
      {"version: 1\nrules: {}\n", "p.yaml:2:8: must be a list: each entry begins with '- '"},
      {"version: 1\nrules: [ x ]\n", "a rule must be a map with keys among name, match,"},
      {"- version\n", "p.yaml:1:1: the file must be a map with keys among version,"},
      {"version: 1\na: [1\n", "this is no YAML: "},
      {"version: 1\n\tx: 1\n", "this is no YAML: "},
      {"version: &v 1\n", "p.yaml:1:10: anchors are not used in policies; write the value out"},
      {"version: !!int 1\n", "tags are not used in policies"},
      {"version: 1\n---\nversion: 1\n", "more than one document"},
      {"version: 1\n[1]: 2\n", "p.yaml:2:1: a key must be a word"},
      {std::string("version: 1\n#\0\n", 14), "p.yaml:2:2: a control byte"},
      {"version: 1 # \xff\n", "p.yaml:1:1: is not UTF-8"},
      {"version: 1\ndefaults: { dryrun: true }\n",
       "p.yaml:2:13: unknown key 'dryrun'; did you mean 'dry_run'? in 'defaults'"},
      {"version: 1\ndefaults: { dry_run: yes }\n", "p.yaml:2:22: 'yes' is not true or false"},
      {"version: 1\ndefaults: { cooldown: 30 }\n", "p.yaml:2:23: '30' is not a time such as 30s or 1h30m"},
      {"version: 1\ndefaults: { cooldown: 30d }\n", "p.yaml:2:23: '30d' is not between 0s and 7d"},
      {"version: 1\ndefaults: { lease: 1s }\n", "'1s' is not between 10s and 30d"},
      {"version: 1\ndefaults: { max_targets: 0 }\n", "'0' is not a whole number from 1 to 100000"},
      {"version: 1\ndefaults: { cooldown: }\n", "p.yaml:2:23: a value is missing"},
      {"version: 1\nenforcer: { boot: 1s }\n", "'enforcer' has no key 'boot'"},
      {"version: 1\nrules:\n- match: { path: /a }\n  when: always\n  do: []\n", "p.yaml:3:3: a rule needs a 'name'"},
      {"version: 1\nrules:\n- name: r\n", "p.yaml:3:3: the rule 'r' needs a 'match': which cgroups"},
      {rule_with("name: q"), "p.yaml:7:3: the key 'name' is there twice"},
      {rule_with("cooldwn: 1s"), "p.yaml:7:3: unknown key 'cooldwn'; did you mean 'cooldown'? in a rule"},
      {"version: 1\nrules:\n- name: a b\n  enabled: false\n", "p.yaml:3:9: a name has letters, digits,"},
      {"version: 1\nrules:\n- name: a\n  enabled: false\n- name: a\n  enabled: false\n",
       "p.yaml:5:3: the rule 'a' is in this file twice"},
      {rule_with("pick: {}"), "p.yaml:7:9: a pick needs a field: { most: memory_current }"},
      {rule_with("pick: { most: memory_current, least: pids_current }"), "a pick is by 'most' or by 'least', not both"},
      {rule_with("pick: { most: cpu_usage }"), "'cpu_usage' only grows, so it says who is oldest; pick by a gauge"},
      {rule_with("pick: { most: memory_current, count: 0 }"), "'0' is not a whole number from 1 to 1000"},
      {rule_match("{}"), "p.yaml:6:10: an empty match would be every cgroup"},
      {rule_match("{ pth: /a }"), "p.yaml:6:12: unknown key 'pth'; did you mean 'path'? in a match"},
      {rule_match("{ path: a }"), "p.yaml:6:18: 'a' matches no path: paths begin with /"},
      {rule_match("{ path: [] }"), "p.yaml:6:18: an empty list matches nothing"},
      {rule_match("{ path: '' }"), "an empty pattern matches nothing"},
      {rule_match("{ user: no-such-user }"),
       "p.yaml:6:18: there is no user 'no-such-user' on this host; a number would do, too"},
      {rule_match("{ kind: dcoker }"), "p.yaml:6:18: unknown kind 'dcoker'; did you mean 'docker'?"},
      {rule_match("{ label: x }"), "p.yaml:6:19: 'label' must be a map"},
      {rule_match("{ path: /a, not: { not: { path: /b } } }"), "'not' within 'not'"},
      {rule_match("{ min_memory: 5s }"), "'5s' is not a size such as 256MiB"},
      {rule_when("never"), "p.yaml:6:9: 'when' is a condition, a schedule, 'all' or 'any'"},
      {rule_when("{ all: [] }"), "p.yaml:6:16: an empty list"},
      {rule_when("{ field: memory_curent, above: 1M }"),
       "p.yaml:6:18: unknown field 'memory_curent'; did you mean 'memory_current'?"},
      {rule_when("{ above: 1M }"), "p.yaml:6:9: a condition needs a 'field'"},
      {rule_when("{ field: memory_current }"), "p.yaml:6:9: a condition needs a comparison"},
      {rule_when("{ field: memory_current, above: 1M, at: workload.slice }"),
       "'at' is parent, or the path of a cgroup such as /workload.slice"},
      {rule_when("{ field: memory_current, above: 1M, below: 2M }"), "p.yaml:6:52: a condition has one comparison"},
      {rule_when("{ field: memory_current, above: 10s }"), "p.yaml:6:41: '10s' is not a size such as 256MiB"},
      {rule_when("{ field: memory_current, above: 10% }"), "'10%' is not a size such as 256MiB"},
      {rule_when("{ field: memory_current, above: 10, of: memory_max }"), "'10' is not a part such as 90%"},
      {rule_when("{ field: memory_current, above: 10%, of: pids_max }"), "have different units"},
      {rule_when("{ field: pressure_memory_some_avg10, above: 10s }"), "'10s' is not a part such as 12.5%"},
      {rule_when("{ field: pids_current, above: 10MiB }"), "'10MiB' is not a number without a unit"},
      {rule_when("{ field: cpu_usage, above: 10s }"), "'cpu_usage' only grows; compare its rate"},
      {rule_when("{ field: cpu_usage, rate_above: 10s }"), "'10s' is not time per time, such as 150% or 1.5"},
      {rule_when("{ field: memory_current, rate_above: 1M/s }"), "is no counter; how fast it changes is its slope"},
      {rule_when("{ field: memory_events_high, rate_above: 100 }"), "'100' is not a rate such as 100/s"},
      {rule_when("{ field: memory_current, above: 1M, window: 5m }"), "'window' goes with slope_above"},
      {rule_when("{ field: memory_current, above: 1M, clear_above: 2M }"), "clears below: clear_below"},
      {rule_when("{ field: memory_current, above: 1M, clear_below: 2M }"), "on the wrong side"},
      {rule_when("{ field: type, above: 1 }"), "'type' is a text; only numbers can be compared"},
      {rule_when("{ time: 25:00-26:00 }"), "is not two times of day such as 20:00-06:00"},
      {rule_when("{ days: mon-fry }"), "'mon-fry' is not days such as mon-fri"},
      {rule_do("frezee: 3s"), "p.yaml:6:9: unknown key 'frezee'; did you mean 'freeze'? in a step"},
      {rule_do("{ freeze: 3s, kill: now }"), "a step is one of notify, reclaim, limit, freeze and kill"},
      {rule_do("{ freeze: 2h }"), "'2h' is not between 1s and 1h"},
      {rule_do("{ kill: { signal: TREM } }"), "'TREM' is not a signal such as TERM"},
      {rule_do("{ reclaim: 150% }"), "'150%' is not a part of up to 100%"},
      {rule_do("{ limit: { memory.maxx: 5M } }"), "p.yaml:6:20: unknown key 'memory.maxx'; did you mean 'memory.max'?"},
      {rule_do("{ limit: { memory.max: 5s } }"), "p.yaml:6:32: memory.max: '5s' is not a size"},
      {rule_do("{ limit: { memory.max: { to: +5%, min: +3M } } }"), "a bound is an absolute value"},
      {rule_do("{ notify: x, force: true }"), "'force' goes with 'limit'"},
  };
  for (const auto& [text, problem] : cases) {
    const auto loaded = load_text(text);
    EXPECT_FALSE(loaded.policy) << text;
    EXPECT_THAT(texts_of(loaded.problems), ::testing::Contains(HasSubstr(problem))) << text;
  }
}

TEST(PolicyLoad, TellsAllProblemsOfAllFilesAtOnce) {
  const auto loaded =
      load_texts({{"a.yaml", "version: 1\nx: 1\ny: 2\n"}, {"b.yaml", "version: 1\nenforcer: {}\n"}}, test::catalogue());
  EXPECT_FALSE(loaded.policy);
  EXPECT_THAT(texts_of(loaded.problems),
              ElementsAre(HasSubstr("a.yaml:2:1"), HasSubstr("a.yaml:3:1"),
                          HasSubstr("b.yaml:2:11: 'enforcer' stands in the main file only")));
}

TEST(PolicyLoad, BoundsWhatAFileCanHold) {
  EXPECT_THAT(load_text(std::string(kMaxFileBytes + 1, '#')).problems.front().what, HasSubstr("larger than 256 KiB"));
  EXPECT_THAT(load_text("version: 1\nx: " + std::string(10'000, '[') + "\n").problems.front().what,
              ::testing::Not(::testing::IsEmpty()));
  std::string wide = "version: 1\nx: [";
  for (int i = 0; i < 30'000; ++i) wide += "1,";
  EXPECT_THAT(load_text(wide + "]\n").problems.front().what, HasSubstr("more than 20000 values"));
}

TEST(PolicyLoad, ALaterFileReplacesARuleByItsName) {
  const std::string other = "version: 1\nrules:\n- name: r\n  match: { path: /b }\n  when: always\n  do: []\n";
  const auto loaded = load_texts({{"a.yaml", rule_with("dry_run: false")}, {"b.yaml", other}}, test::catalogue());
  ASSERT_TRUE(loaded.policy);
  ASSERT_EQ(loaded.policy->rules.size(), 1U);
  EXPECT_EQ(loaded.policy->rules[0].match.path.front(), "/b");
  const auto off = load_texts(
      {{"a.yaml", rule_with("dry_run: false")}, {"b.yaml", "version: 1\nrules:\n- { name: r, enabled: false }\n"}},
      test::catalogue());
  ASSERT_TRUE(off.policy);
  EXPECT_TRUE(off.policy->rules.empty());
}

class PolicyFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(dir_ / "usr");
    std::filesystem::create_directory(dir_ / "etc");
    for (const auto* const below : {"", "usr", "etc"}) ::chmod((dir_ / below).c_str(), 0755);
  }
  std::string write(const std::string& name, const std::string& text) {
    const auto path = dir_ / name;
    std::ofstream(path) << text;
    ::chmod(path.c_str(), 0644);
    return path.string();
  }
  [[nodiscard]] Loaded load_all(const std::string& file) const {
    return load({file, {}, {(dir_ / "usr").string(), (dir_ / "etc").string()}}, test::catalogue(), Owners::required);
  }
  const testing_files::TempDir temporary_;
  const std::filesystem::path dir_ = temporary_.path();
};

std::string rule(const std::string& name) {
  return "version: 1\nrules:\n- { name: " + name + ", match: { path: /a }, when: always, do: [] }\n";
}

TEST_F(PolicyFiles, DropInsAreSortedReplacedByNameAndMaskedByDevNull) {
  const auto main = write("main.yaml", rule("main"));
  write("usr/20-b.yaml", rule("b"));
  write("usr/10-a.yaml", rule("a"));
  write("usr/30-c.yaml", rule("c"));
  write("usr/README", "no policy");
  write("etc/30-c.yaml", rule("other"));
  std::filesystem::create_symlink("/dev/null", dir_ / "etc/20-b.yaml");
  const auto loaded = load_all(main);
  ASSERT_TRUE(loaded.policy) << ::testing::PrintToString(texts_of(loaded.problems));
  std::vector<std::string> names;
  for (const auto& r : loaded.policy->rules) names.push_back(r.name);
  EXPECT_THAT(names, ElementsAre("main", "a", "other"));
}

TEST_F(PolicyFiles, RefusesWhatOthersMayWrite) {
  const auto main = write("main.yaml", rule("main"));
  ASSERT_TRUE(load_all(main).policy);
  ::chmod(main.c_str(), 0664);
  EXPECT_THAT(texts_of(load_all(main).problems),
              ElementsAre(HasSubstr("the file may be written by others: chmod go-w it")));
  ::chmod(main.c_str(), 0644);
  ::chmod(dir_.c_str(), 0777);
  EXPECT_THAT(texts_of(load_all(main).problems), ElementsAre(HasSubstr("may be written by others")));
  ::chmod(dir_.c_str(), 0755);
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(main.c_str(), 65534, 65534), 0);
    EXPECT_THAT(texts_of(load_all(main).problems), ElementsAre(HasSubstr("belongs to user 65534")));
    const auto noted = load({main, {}, {}}, test::catalogue(), Owners::noted);
    EXPECT_TRUE(noted.policy);
    EXPECT_EQ(noted.notes.size(), 1U);
  }
}

TEST_F(PolicyFiles, RefusesWhatIsNoRegularFile) {
  EXPECT_THAT(texts_of(load_all((dir_ / "none.yaml").string()).problems), ElementsAre(HasSubstr("cannot open")));
  ASSERT_EQ(::mkfifo((dir_ / "fifo.yaml").c_str(), 0600), 0);
  EXPECT_THAT(texts_of(load_all((dir_ / "fifo.yaml").string()).problems), ElementsAre(HasSubstr("not a regular file")));
}

}  // namespace
}  // namespace cgwarden::policy
