// SPDX-License-Identifier: Apache-2.0
// The errors and the help of both command lines: one form, one wording.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <vector>

#include "collectors/collection.h"
#include "src/agent/options.h"
#include "src/cgtop/options.h"

namespace cgwarden::cli {
namespace {

using Words = std::vector<const char*>;

struct Printed {
  int exit_status = 0;
  std::string out;
  std::string error;
};

Printed run_parser(Words words) {
  const bool agent = std::string_view(words.front()) == "cgwarden";
  const auto count = static_cast<int>(words.size());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int status = agent ? agent::parse_command_line(count, words.data(), *collectors::make_catalogue()).exit_code
                           : cgtop::parse_command_line(count, words.data()).exit_code;
  return {status, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

struct Case {
  Words words;
  std::string error;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      // Unknown names, with the nearest one.
      {{"cgwarden", "--web.listen-adress", ":1"},
       "unknown option '--web.listen-adress'; did you mean '--web.listen-address'?"},
      {{"cgwarden", "--web.listen-adress=:1"},
       "unknown option '--web.listen-adress'; did you mean '--web.listen-address'?"},
      {{"cgwarden", "--colector.cpu"}, "unknown option '--colector.cpu'; did you mean '--collector.cpu'?"},
      {{"cgwarden", "--collector.cpus"}, "unknown option '--collector.cpus'; did you mean '--collector.cpu'?"},
      {{"cgwarden", "--zzz"}, "unknown option '--zzz'"},
      {{"cgwarden", "contaners"}, "unknown command 'contaners'; did you mean 'containers'?"},
      {{"cgwarden", "policy", "chek", "p"}, "unknown command 'chek'; did you mean 'check'?"},
      {{"cgtop", "--fromat", "json"}, "unknown option '--fromat'; did you mean '--format'?"},
      {{"cgtop", "kill", "web", "--yse"}, "unknown option '--yse'; did you mean '--yes'?"},
      {{"cgtop", "dupm", "web", "x"}, "unknown command 'dupm'; did you mean 'dump'?"},
      {{"cgtop", "dump", "web", "x"}, "unexpected argument 'x'"},
      {{"cgtop", "--\x1b[31m"}, "unknown option '--\\x1b[31m'"},
      // Missing and superfluous values.
      {{"cgwarden", "policy"}, "COMMAND: missing argument"},
      {{"cgwarden", "policy", "check"}, "FILE: missing argument"},
      {{"cgwarden", "enforce"}, "--policy.file: missing argument"},
      {{"cgwarden", "--web.telemetry-path"}, "--web.telemetry-path: missing value"},
      {{"cgwarden", "--once=3"}, "--once: takes no value"},
      {{"cgtop", "limit"}, "CGROUP: missing argument"},
      {{"cgtop", "--delay"}, "--delay: missing value"},
      {{"cgtop", "--tree", "--flat"}, "--tree: cannot be combined with --flat"},
      // Values out of range and of another kind.
      {{"cgwarden", "--web.listen-address", "here"},
       "--web.listen-address: invalid address 'here'; use :10753, "
       "127.0.0.1:10753, [::1]:10753 or unix:/path"},
      {{"cgwarden", "--web.max-requests", "0"}, "--web.max-requests: '0' is not an integer from 1 to 10000"},
      {{"cgwarden", "--web.max-requests", "1e9"}, "--web.max-requests: '1e9' is not an integer from 1 to 10000"},
      {{"cgwarden", "--sampler.interval", "nan"},
       "--sampler.interval: 'nan' is not a number of seconds from 0 to 86400"},
      {{"cgwarden", "--log.level", "loud"}, "--log.level: unknown value 'loud'; use debug, info, warn or error"},
      {{"cgwarden", "--path.procfs", "/nonexistent"},
       "--path.procfs: /nonexistent: cannot open directory: No such file or directory"},
      {{"cgwarden", "--path.procfs", "/dev/null"}, "--path.procfs: /dev/null: not a directory"},
      {{"cgwarden", "--docker.socket", "docker.sock"},
       "--docker.socket: invalid socket path 'docker.sock'; use an absolute path of at most 107 bytes"},
      {{"cgtop", "--limit", "many"}, "--limit: not a number: 'many'"},
      {{"cgtop", "--theme", "drak"}, "--theme: unknown value 'drak'; use default, dark, light, high-contrast or mono"},
      {{"cgtop", "--delay", "1x"},
       "--delay: '1x' is not a duration from 50ms to 24h; use a duration such as 2, 500ms or 1m30s"},
      {{"cgtop", "record", "f", "--max-size", "5"},
       "--max-size: '5' is not a size of 64K or more; use a size such as 50M"},
      {{"cgtop", "signal", "web", "--signal", "FOO"},
       "--signal: unknown signal 'FOO'; use a name or number such as TERM or 15"},
  };
  return all;
}

TEST(CommandLine, ReportsEachMistakeInOneWording) {
  for (const auto& one : cases()) {
    SCOPED_TRACE(testing::PrintToString(one.words));
    const auto printed = run_parser(one.words);
    const std::string program = one.words.front();
    EXPECT_EQ(printed.error, program + ": " + one.error + " (see " + program + " --help)\n");
    EXPECT_EQ(printed.exit_status, 2);
    EXPECT_EQ(printed.out, "");
  }
}

TEST(CommandLine, NamesTheObjectThenWhatFailedThenTheWayOut) {
  const std::regex form(
      "(cgwarden|cgtop): "
      "(unknown (option|command) '[^']*'(; did you mean '[^']*'\\?)?|unexpected argument '[^']*'|"
      "(--[a-z.-]+|[A-Z]+): [^\n]+)"
      " \\(see \\1 --help\\)\n");
  for (const auto& one : cases()) EXPECT_TRUE(std::regex_match(run_parser(one.words).error, form)) << one.error;
}

TEST(Help, HasMetavariablesDefaultsAndNoBracketsOfTheOptionLibrary) {
  for (const auto& words : std::vector<Words>{{"cgwarden", "--help"},
                                              {"cgwarden", "enforce", "--help"},
                                              {"cgwarden", "policy", "test", "--help"},
                                              {"cgtop", "--help"},
                                              {"cgtop", "limit", "--help"},
                                              {"cgtop", "record", "--help"}}) {
    SCOPED_TRACE(testing::PrintToString(words));
    const auto printed = run_parser(words);
    EXPECT_EQ(printed.exit_status, 0);
    for (const auto* const theirs :
         {"TEXT:", " INT", "UINT", "FLOAT", "{false}", "REQUIRED", " in [", "SUBCOMMAND", "\n\n\n", " \n"})
      EXPECT_THAT(printed.out, testing::Not(testing::HasSubstr(theirs)));
    EXPECT_THAT(printed.out, testing::HasSubstr("\nUsage: " + std::string(words.front())));
    EXPECT_THAT(printed.out, testing::HasSubstr("  -h, --help "));
  }
}

TEST(Help, DescribesASubcommandAtItsTop) {
  EXPECT_THAT(run_parser({"cgtop", "freeze", "--help"}).out,
              testing::StartsWith("Freeze a cgroup for a limited time\n\nUsage: "));
  EXPECT_THAT(run_parser({"cgwarden", "policy", "check", "--help"}).out,
              testing::StartsWith("Print every error of a policy"));
}

TEST(Help, StatesDefaultsAndUnits) {
  const auto out = run_parser({"cgwarden", "--help"}).out;
  EXPECT_THAT(out, testing::HasSubstr("--sampler.interval SECONDS"));
  EXPECT_THAT(out,
              testing::ContainsRegex("--web.telemetry-path PATH +URL path of the metrics \\(default: /metrics\\)\n"));
}

}  // namespace
}  // namespace cgwarden::cli
