// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <regex>

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

LoadedPolicy load_text(const std::string& text) { return load_texts({{"p.yaml", text}}, test::catalogue()); }

// Policies with one valid rule and the given part of it.
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

TEST(PolicyParser, ReadsEveryKeyOfAPolicy) {
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
      - notify: please check
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

TEST(PolicyParser, DefaultsToDryRun) {
  const auto loaded = load_text(rule_with("enabled: true"));
  ASSERT_TRUE(loaded.policy);
  EXPECT_TRUE(loaded.policy->rules[0].dry_run);
}

struct BrokenPolicy {
  std::string text;
  std::string problem;
};

const std::vector<BrokenPolicy>& broken_policies() {
  static const std::vector<BrokenPolicy> cases = {
      {"", "p.yaml:1:1: policy file: empty (start it with 'version: 1')"},
      {"rules: []\n", "p.yaml:1:1: policy file: key 'version' is missing (add 'version: 1')"},
      {"version: 2\n", "p.yaml:1:10: version: '2' is unsupported (use 1)"},
      {"version: 1\nversion: 1\n", "p.yaml:2:1: key 'version': duplicate"},
      {"version: 1\nrule: []\n", "p.yaml:2:1: unknown key 'rule'; did you mean 'rules'?"},
      {"version: 1\nrules: {}\n", "p.yaml:2:8: rules: must be a list (start each entry with '- ')"},
      {"version: 1\nrules: [ x ]\n", "rule: must be a map (keys: name, match, when,"},
      {"- version\n", "p.yaml:1:1: policy file: must be a map (keys: version, enforcer, defaults, protect, rules)"},
      {"version: 1\na: [1\n", "YAML: syntax error: "},
      {"version: 1\n\tx: 1\n", "YAML: syntax error: "},
      {"version: &v 1\n", "p.yaml:1:10: YAML: anchors are unsupported (write the value out)"},
      {"version: *v\n", "p.yaml:1:10: YAML: "},
      {"version: !!int 1\n", "YAML: tag 'tag:yaml.org,2002:int' is unsupported"},
      {"version: 1\n---\nversion: 1\n", "YAML: more than one document (a policy file holds one)"},
      {"version: 1\n[1]: 2\n", "p.yaml:2:1: YAML: map keys must be scalars"},
      {std::string("version: 1\n#\0\n", 14), "p.yaml:2:2: file: control character"},
      {"version: 1 # \xff\n", "p.yaml:1:1: file: not valid UTF-8"},
      {"version: 1\ndefaults: { dryrun: true }\n", "p.yaml:2:13: unknown key 'dryrun'; did you mean 'dry_run'?"},
      {"version: 1\ndefaults: { dry_run: yes }\n", "p.yaml:2:22: dry_run: invalid value 'yes' (use true or false)"},
      {"version: 1\ndefaults: { cooldown: 30 }\n",
       "p.yaml:2:23: cooldown: invalid duration '30' (examples: 30s, 1h30m)"},
      {"version: 1\ndefaults: { cooldown: 30d }\n", "p.yaml:2:23: cooldown: '30d' is out of range (0s to 7d)"},
      {"version: 1\ndefaults: { lease: 1s }\n", "lease: '1s' is out of range (10s to 30d)"},
      {"version: 1\ndefaults: { max_targets: 0 }\n",
       "max_targets: invalid number '0' (use a whole number from 1 to 100000)"},
      {"version: 1\ndefaults: { cooldown: }\n", "p.yaml:2:23: cooldown: value is missing"},
      {"version: 1\ndefaults: { cooldown: [1s] }\n", "p.yaml:2:23: cooldown: must be a single value"},
      {"version: 1\nenforcer: { boot: 1s }\n",
       "unknown key 'boot' (keys of enforcer: boot_grace, max_actions_per_hour)"},
      {"version: 1\nrules:\n- match: { path: /a }\n  when: always\n  do: []\n",
       "p.yaml:3:3: rule: key 'name' is missing"},
      {"version: 1\nrules:\n- name: r\n", "p.yaml:3:3: rule 'r': key 'match' is missing (it selects the cgroups)"},
      {rule_with("name: q"), "p.yaml:7:3: key 'name': duplicate"},
      {rule_with("cooldwn: 1s"), "p.yaml:7:3: unknown key 'cooldwn'; did you mean 'cooldown'?"},
      {"version: 1\nrules:\n- name: a b\n  enabled: false\n",
       "p.yaml:3:9: name: invalid rule name 'a b' (use at most 64 letters, digits, '-', '_' and '.')"},
      {"version: 1\nrules:\n- name: a\n  enabled: false\n- name: a\n  enabled: false\n",
       "p.yaml:5:3: rule 'a': defined twice in this file"},
      {rule_with("pick: {}"), "p.yaml:7:9: pick: field is missing (example: { most: memory_current })"},
      {rule_with("pick: { most: memory_current, least: pids_current }"),
       "pick: 'most' and 'least' are mutually exclusive"},
      {rule_with("pick: { most: cpu_usage }"), "pick: 'cpu_usage' is a counter (pick by the value of a gauge)"},
      {rule_with("pick: { most: memory_current, count: 0 }"),
       "count: invalid number '0' (use a whole number from 1 to 1000)"},
      {rule_match("{}"), "p.yaml:6:10: match: empty match would select every cgroup (add at least one key)"},
      {rule_match("{ pth: /a }"), "p.yaml:6:12: unknown key 'pth'; did you mean 'path'?"},
      {rule_match("{ path: a }"),
       "p.yaml:6:18: path: pattern 'a' matches no cgroup (paths start with /, example: /system.slice/*)"},
      {rule_match("{ path: [] }"), "p.yaml:6:18: path: empty list matches no cgroup"},
      {rule_match("{ path: '' }"), "path: empty pattern matches no cgroup"},
      {rule_match("{ path: " + std::string(300, '/') + " }"), "path: pattern is longer than 256 bytes"},
      {rule_match("{ user: no-such-user }"),
       "p.yaml:6:18: unknown user 'no-such-user' (a numeric user ID needs no account on this host)"},
      {rule_match("{ kind: dcoker }"), "p.yaml:6:18: unknown kind 'dcoker'; did you mean 'docker'?"},
      {rule_match("{ label: x }"), "p.yaml:6:19: label: must be a map (example: { tier: prod })"},
      {rule_match("{ path: /a, not: { not: { path: /b } } }"),
       "not: nested 'not' is unsupported (state the inner match without 'not')"},
      {rule_match("{ min_memory: 5s }"), "min_memory: invalid size '5s' (example: 256MiB)"},
      {rule_when("never"),
       "p.yaml:6:9: when: must be a condition, a schedule, 'all' or 'any' with a list of conditions and schedules, or "
       "always"},
      {rule_when("{ all: [ { all: [ { all: [ { all: [ { all: [ { all: [ always ] } ] } ] } ] } ] } ] }"),
       "when: nested more than 4 levels deep"},
      {rule_when("{ all: [] }"), "p.yaml:6:16: all: list is empty"},
      {rule_when("{ field: memory_curent, above: 1M }"),
       "p.yaml:6:18: unknown field 'memory_curent'; did you mean 'memory_current'? (list: cgwarden "
       "--print-catalogue=md)"},
      {rule_when("{ above: 1M }"), "p.yaml:6:9: condition: key 'field' is missing"},
      {rule_when("{ field: memory_current }"),
       "p.yaml:6:9: condition: comparison is missing (use one of above, below,"},
      {rule_when("{ field: memory_current, above: 1M, at: workload.slice }"),
       "at: invalid cgroup 'workload.slice' (use parent or a cgroup path, example: /workload.slice)"},
      {rule_when("{ field: memory_current, above: 1M, below: 2M }"),
       "p.yaml:6:52: condition: only one comparison is allowed (use one of above, below,"},
      {rule_when("{ field: memory_current, above: 10s }"), "p.yaml:6:41: above: invalid size '10s' (example: 256MiB)"},
      {rule_when("{ field: memory_current, above: 10% }"), "above: invalid size '10%' (example: 256MiB)"},
      {rule_when("{ field: memory_current, above: 10, of: memory_max }"),
       "above: invalid percentage '10' (example: 90%)"},
      {rule_when("{ field: memory_current, above: 10%, of: pids_max }"),
       "of: 'memory_current' and 'pids_max' have different units"},
      {rule_when("{ field: cpu_usage, rate_above: 10%, of: cpu_usage }"), "of: only allowed with above and below"},
      {rule_when("{ field: pressure_memory_some_avg10, above: 10s }"),
       "above: invalid percentage '10s' (example: 12.5%)"},
      {rule_when("{ field: pids_current, above: 10MiB }"),
       "above: invalid number '10MiB' (use a number without a unit)"},
      {rule_when("{ field: cpu_usage, above: 10s }"), "above: 'cpu_usage' is a counter (use rate_above or rate_below)"},
      {rule_when("{ field: cpu_usage, rate_above: 10s }"),
       "rate_above: invalid rate '10s' (use seconds per second, examples: 150%, 1.5)"},
      {rule_when("{ field: memory_current, rate_above: 1M/s }"),
       "rate_above: 'memory_current' is not a counter (use slope_above or slope_below with 'window')"},
      {rule_when("{ field: memory_events_high, rate_above: 100 }"),
       "rate_above: invalid rate '100' (examples: 100/s, 5/m, 1/h)"},
      {rule_when("{ field: memory_current, above: 1M, window: 5m }"),
       "window: only allowed with slope_above and slope_below"},
      {rule_when("{ field: memory_current, above: 1M, clear_above: 2M }"),
       "clear_above: does not fit 'above' (use clear_below)"},
      {rule_when("{ field: memory_current, above: 1M, clear_below: 2M }"),
       "clear_below: clear level is above the threshold"},
      {rule_when("{ field: memory_current, below: 1M, clear_above: 5K }"),
       "clear_above: clear level is below the threshold"},
      {rule_when("{ field: type, above: 1 }"), "field: field 'type' is text (only numeric fields can be compared)"},
      {rule_when("{ time: 25:00-26:00 }"), "time: invalid time window '25:00-26:00' (example: 20:00-06:00)"},
      {rule_when("{ days: mon-fry }"), "days: invalid day list 'mon-fry' (examples: mon-fri; sat,sun)"},
      {rule_do("frezee: 3s"), "p.yaml:6:9: unknown key 'frezee'; did you mean 'freeze'?"},
      {rule_do("{ freeze: 3s, kill: now }"),
       "step: exactly one of notify, reclaim, limit, freeze and kill is required"},
      {rule_do("{ freeze: 2h }"), "freeze: '2h' is out of range (1s to 1h)"},
      {rule_do("{ kill: soon }"), "kill: must be 'now' or a map (keys: signal, grace)"},
      {rule_do("{ kill: { signal: TREM } }"), "signal: invalid signal 'TREM' (example: TERM)"},
      {rule_do("{ reclaim: 150% }"), "reclaim: invalid percentage '150%' (use more than 0% and at most 100%)"},
      {rule_do("{ reclaim: much }"),
       "reclaim: invalid amount 'much' (use a size such as 256MiB or a percentage of the memory in use such as 1%)"},
      {rule_do("{ limit: x }"), "limit: must be a map of setting keys to values (example: { memory.high: 512MiB })"},
      {rule_do("{ limit: { memory.maxx: 5M } }"), "p.yaml:6:20: unknown key 'memory.maxx'; did you mean 'memory.max'?"},
      {rule_do("{ limit: { memory.max: 5s } }"), "p.yaml:6:32: memory.max=5s: "},
      {rule_do("{ limit: { memory.max: { to: +5%, min: +3M } } }"),
       "min: must be an absolute value (no percentage or change)"},
      {rule_do("{ notify: x, force: true }"), "force: only allowed with 'limit'"},
  };
  return cases;
}

TEST(PolicyParser, ReportsPositionObjectAndHintOfEachError) {
  for (const auto& [text, problem] : broken_policies()) {
    const auto loaded = load_text(text);
    EXPECT_FALSE(loaded.policy) << text;
    EXPECT_THAT(texts_of(loaded.problems), ::testing::Contains(HasSubstr(problem))) << text;
  }
}

// "FILE:LINE:COLUMN: unknown KIND 'x'; did you mean 'y'? (hint)" or "FILE:LINE:COLUMN: OBJECT: what failed (hint)",
// where OBJECT is a key (with the value: KEY=VALUE) or a noun with an optional name.
TEST(PolicyParser, WritesEveryErrorInOneOfTwoForms) {
  const std::regex form(
      R"re(p\.yaml:[0-9]+:[0-9]+: (unknown [a-z]+ '[^']*'(; did you mean '[^']*'\?)?( \([^()]+\))?|[A-Za-z][A-Za-z_.]*(=[^:]+)?( [a-z]+)?( '[^']*')?: ([^()]|\([^()]+\))+))re");
  for (const auto& [text, problem] : broken_policies()) {
    for (const auto& line : texts_of(load_text(text).problems)) {
      EXPECT_TRUE(std::regex_match(line, form) && !line.ends_with('.') && !line.ends_with(' ')) << line;
    }
  }
}

TEST(PolicyParser, ReportsErrorsOfAllFilesTogether) {
  const auto loaded =
      load_texts({{"a.yaml", "version: 1\nx: 1\ny: 2\n"}, {"b.yaml", "version: 1\nenforcer: {}\n"}}, test::catalogue());
  EXPECT_FALSE(loaded.policy);
  EXPECT_THAT(texts_of(loaded.problems),
              ElementsAre(HasSubstr("a.yaml:2:1"), HasSubstr("a.yaml:3:1"),
                          HasSubstr("b.yaml:2:11: enforcer: only allowed in the main policy file")));
}

TEST(ParseDocument, RejectsFilesBeyondItsLimits) {
  EXPECT_THAT(load_text(std::string(kMaxFileBytes + 1, '#')).problems.front().what, HasSubstr("larger than 256 KiB"));
  EXPECT_THAT(load_text("version: 1\nx: " + std::string(10'000, '[') + "\n").problems.front().what,
              ::testing::Not(::testing::IsEmpty()));
  std::string wide = "version: 1\nx: [";
  for (int i = 0; i < 30'000; ++i) wide += "1,";
  EXPECT_THAT(load_text(wide + "]\n").problems.front().what, HasSubstr("more than 20000 values"));
}

TEST(PolicyParser, ReplacesARuleByALaterOneWithTheSameName) {
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

class LoadPolicy : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(dir_ / "usr");
    std::filesystem::create_directory(dir_ / "etc");
    for (const auto* const child : {"", "usr", "etc"}) ::chmod((dir_ / child).c_str(), 0755);
  }
  std::string write(const std::string& name, const std::string& text) {
    const auto path = dir_ / name;
    std::ofstream(path) << text;
    ::chmod(path.c_str(), 0644);
    return path.string();
  }
  [[nodiscard]] LoadedPolicy load_all(const std::string& file) const {
    return load({file, {}, {(dir_ / "usr").string(), (dir_ / "etc").string()}}, test::catalogue(), Owners::required);
  }
  const testing_files::TempDir temporary_;
  const std::filesystem::path dir_ = temporary_.path();
};

std::string rule(const std::string& name) {
  return "version: 1\nrules:\n- { name: " + name + ", match: { path: /a }, when: always, do: [] }\n";
}

TEST_F(LoadPolicy, SortsDropInsReplacesThemByNameAndMasksLinksToDevNull) {
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

TEST_F(LoadPolicy, RejectsFilesAndDirectoriesThatOthersCanWrite) {
  const auto main = write("main.yaml", rule("main"));
  ASSERT_TRUE(load_all(main).policy);
  ::chmod(main.c_str(), 0664);
  EXPECT_THAT(texts_of(load_all(main).problems),
              ElementsAre(HasSubstr("main.yaml:1:1: file: writable by group or others (run chmod go-w)")));
  ::chmod(main.c_str(), 0644);
  ::chmod(dir_.c_str(), 0777);
  EXPECT_THAT(texts_of(load_all(main).problems),
              ElementsAre(HasSubstr("directory " + dir_.string() + ": writable by group or others (run chmod go-w)")));
  ::chmod(dir_.c_str(), 0755);
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(main.c_str(), 65534, 65534), 0);
    EXPECT_THAT(
        texts_of(load_all(main).problems),
        ElementsAre(HasSubstr("file: owned by user 65534, which is neither root nor the user of this process")));
    const auto reported = load({main, {}, {}}, test::catalogue(), Owners::reported);
    EXPECT_TRUE(reported.policy);
    EXPECT_EQ(reported.warnings.size(), 1U);
  }
}

TEST_F(LoadPolicy, RejectsMissingAndIrregularFiles) {
  EXPECT_THAT(texts_of(load_all((dir_ / "none.yaml").string()).problems),
              ElementsAre(HasSubstr("file: cannot open: No such file or directory")));
  ASSERT_EQ(::mkfifo((dir_ / "fifo.yaml").c_str(), 0600), 0);
  EXPECT_THAT(texts_of(load_all((dir_ / "fifo.yaml").string()).problems),
              ElementsAre(HasSubstr("file: not a regular file")));
}

}  // namespace
}  // namespace cgwarden::policy
