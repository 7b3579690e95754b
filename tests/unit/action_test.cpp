// SPDX-License-Identifier: Apache-2.0
// Parsing and printing of settings, durations, signals and outcomes.
#include "src/model/action.h"

#include <gtest/gtest.h>
#include <signal.h>

#include "tests/outcome_words.h"

namespace cgwarden::model {
namespace {

TEST(ParseSetting, AcceptsEveryUnit) {
  const struct {
    const char* text;
    std::int64_t fixed;
  } cases[] = {
      {"memory.max=512M", 512LL << 20U},
      {"memory.max=1.5GiB", 3LL << 29U},
      {"memory.high=1MB", 1'000'000},
      {"memory.low=0", 0},
      {"cpu.max=250%", 2'500'000'000},
      {"cpu.max=2.5", 2'500'000'000},
      {"cpu.max.period=20ms", 20'000'000},
      {"cpu.weight=100", 100},
      {"pids.max=10k", 10'000},
      {"io.max.wbps@vda=50M", 50LL << 20U},
      {"io.max.riops@/a=b=7", 7},
      {"net_cls.classid=0x100001", 0x100001},
      {"hugetlb.max@2MB=1G", 1LL << 30U},
  };
  for (const auto& c : cases) {
    const auto setting = parse_setting(c.text);
    ASSERT_TRUE(setting) << c.text << ": " << setting.error().what;
    EXPECT_EQ(setting->value, Value::of(c.fixed)) << c.text;
    EXPECT_EQ(setting->basis, Basis::absolute) << c.text;
  }
  EXPECT_TRUE(parse_setting("memory.max=max")->value.is_unlimited());
  EXPECT_EQ(parse_setting("io.max.riops@/a=b=7")->device, "/a=b");
  EXPECT_EQ(parse_setting("cpuset.cpus=0-3,8")->text, "0-3,8");
  EXPECT_EQ(parse_setting("devices.deny=c 1:3 rwm")->text, "c 1:3 rwm");
}

TEST(ParseSetting, AcceptsPercentagesAndChanges) {
  EXPECT_EQ(parse_setting("memory.max=50%")->basis, Basis::percent_of_machine);
  EXPECT_EQ(parse_setting("memory.max=50%")->value, Value::of(5000));
  EXPECT_EQ(parse_setting("memory.max=+10%")->basis, Basis::percent_change);
  EXPECT_EQ(parse_setting("memory.max=-12.5%")->value, Value::of(-1250));
  EXPECT_EQ(parse_setting("memory.max=-256M")->value, Value::of(-(256LL << 20U)));
  EXPECT_EQ(parse_setting("memory.max=-256M")->basis, Basis::change);
}

TEST(ParseSetting, RejectsInvalidTextWithAOneLineHint) {
  const struct {
    const char* text;
    const char* message;  // part of it
  } cases[] = {
      {"memory.mx=1G", "unknown key 'memory.mx'; did you mean 'memory.max'?"},
      {"zzz=1", "unknown key 'zzz'"},
      {"memory.max", "KEY=VALUE"},
      {"memory.max=", "a size"},
      {"memory.max=1.2.3G", "a size"},
      {"memory.max=1e3", "a size"},
      {"memory.max=12X", "a size"},
      {"memory.max=99999999999999999999", "a size"},
      {"memory.max=110%", "a size"},
      {"memory.max@vda=1", "memory.max@vda=1: this key takes no device; use memory.max=1"},
      {"cpu.weight=0", "from 1 to 10000"},
      {"cpu.weight=max", "from 1 to 10000"},
      {"cpu.weight=1.5", "from 1 to 10000"},
      {"cpu.max=0", "cpu.max=0: invalid value; expected a number of CPUs"},
      {"cpu.max.period=2s", "a duration"},
      {"io.max.rbps=5M", "io.max.rbps=5M: no disk given; use io.max.rbps@vda=5M"},
      {"io.max.rbps@vda=0", "a size"},
      {"io.max.rbps@=5", "no device after @"},
      {"cpuset.cpus=a", "cpuset.cpus=a: invalid list; expected a form such as 0-3,8"},
      {"devices.allow=x 1:3 r", "c 1:3 rwm"},
      {"devices.allow=c 1:3 rwm x", "c 1:3 rwm"},
      {"memory.max=+x%", "invalid change"},
  };
  for (const auto& c : cases) {
    const auto setting = parse_setting(c.text);
    ASSERT_FALSE(setting) << c.text;
    EXPECT_NE(setting.error().what.find(c.message), std::string::npos) << c.text << ": " << setting.error().what;
    EXPECT_EQ(setting.error().what.find('\n'), std::string::npos) << c.text;
  }
}

TEST(ParseSetting, ReadsBackWhatToTextWrites) {
  for (const auto* text :
       {"memory.max=512M", "memory.max=max", "memory.max=50%", "memory.max=+10%", "memory.max=-12.05%",
        "memory.high=-256M", "cpu.max=33.3%", "cpu.max=4", "cpu.max.burst=1500us", "io.max.wbps@vda=1K",
        "cpuset.cpus=", "cpuset.mems=0", "devices.allow=a"}) {
    const auto first = parse_setting(text);
    ASSERT_TRUE(first) << text << ": " << first.error().what;
    const auto second = parse_setting(to_text(*first));
    ASSERT_TRUE(second) << to_text(*first) << ": " << second.error().what;
    EXPECT_EQ(*first, *second) << text << " " << to_text(*first);
  }
}

TEST(SettingKeys, HaveHelpAndAreFoundByName) {
  for (const auto& key : setting_keys()) {
    EXPECT_EQ(find_setting_key(key.name), &key);
    EXPECT_FALSE(key.help.empty()) << key.name;
    EXPECT_LE(key.lowest, key.highest) << key.name;
  }
  EXPECT_EQ(find_setting_key("memory"), nullptr);
  EXPECT_EQ(find_setting_key("zz"), nullptr);
}

TEST(ParseTimespan, AcceptsCombinedUnitsAndRejectsOthers) {
  using std::chrono::milliseconds;
  EXPECT_EQ(parse_timespan("2").value(), milliseconds(2000));
  EXPECT_EQ(parse_timespan("500ms").value(), milliseconds(500));
  EXPECT_EQ(parse_timespan("1m30s").value(), milliseconds(90'000));
  EXPECT_EQ(parse_timespan("1h").value(), milliseconds(3'600'000));
  for (const auto* text : {"", "x", "5y", "-1", "31d", "ms", "1..5s"}) EXPECT_FALSE(parse_timespan(text)) << text;
}

TEST(SignalOf, AcceptsNamesAndNumbers) {
  EXPECT_EQ(signal_of("TERM"), SIGTERM);
  EXPECT_EQ(signal_of("SIGKILL"), SIGKILL);
  EXPECT_EQ(signal_of("15"), 15);
  for (const auto* text : {"", "0", "-1", "9999", "term", "FOO"}) EXPECT_FALSE(signal_of(text)) << text;
}

TEST(Outcome, HasTheDocumentedExitCode) {
  EXPECT_EQ(exit_code(Outcome::Kind::done), 0);
  EXPECT_EQ(exit_code(Outcome::Kind::gone), 3);
  EXPECT_EQ(exit_code(Outcome::Kind::denied), 4);
  EXPECT_EQ(exit_code(Outcome::Kind::refused), 6);
  EXPECT_EQ(exit_code(Outcome::Kind::timeout), 8);
  EXPECT_EQ(verb_of("freeze"), Verb::freeze);
  EXPECT_FALSE(verb_of("melt"));
}

}  // namespace
}  // namespace cgwarden::model
