// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "collectors/collection.h"
#include "src/agent/options.h"

namespace cgwarden::agent {
namespace {

struct ParsedLine {
  Parsed parsed;
  std::string error;
};

ParsedLine parse(std::vector<const char*> words) {
  words.insert(words.begin(), "cgwarden");
  testing::internal::CaptureStderr();
  auto parsed = parse_command_line(static_cast<int>(words.size()), words.data(), *collectors::make_catalogue());
  return {std::move(parsed), testing::internal::GetCapturedStderr()};
}

TEST(AgentOptions, RefusesAnInvalidCommandLineInOneLineThatNamesTheOption) {
  const std::vector<std::vector<const char*>> wrong = {
      {"--no-such-flag"},
      {"--web.listen-address"},
      {"--web.listen-address", "here"},
      {"--web.listen-address", ":65536"},
      {"--web.listen-address", "[::1:80"},
      {"--web.listen-address", "::1:80"},
      {"--web.listen-address", "unix:run/s"},
      {"--web.telemetry-path", "metrics"},
      {"--web.max-connections", "0"},
      {"--sampler.interval", "-1"},
      {"--sampler.interval", "nan"},
      {"--sampler.interval", "inf"},
      {"--path.procfs", "/nonexistent"},
      {"--path.procfs", "/dev/null"},
      {"--log.level", "loud"},
      {"--docker.socket", "docker.sock"},
      {"enforce", "--policy.file", "p", "--interval", "nan"},
      {"enforce", "--policy.file", "p", "--control.docker-socket", "run/docker.sock"},
  };
  for (const auto& words : wrong) {
    SCOPED_TRACE(testing::PrintToString(words));
    const auto line = parse(words);
    EXPECT_EQ(line.parsed.exit_code, kUsage);
    EXPECT_THAT(line.error, testing::StartsWith("cgwarden: "));
    EXPECT_THAT(line.error, testing::HasSubstr(words[words.size() == 1 || words[0][0] == '-' ? 0 : 3]));
    EXPECT_EQ(line.error.find('\n'), line.error.size() - 1);
  }
}

TEST(AgentOptions, AcceptsEachFormOfAnAddress) {
  const auto line = parse({"--web.listen-address", ":10753", "--web.listen-address", "[::1]:0", "--web.listen-address",
                           "localhost:80", "--web.listen-address", "unix:/run/s", "--sampler.interval", "0.5"});
  EXPECT_EQ(line.error, "");
  EXPECT_THAT(line.parsed.options.listen_addresses,
              testing::ElementsAre(":10753", "[::1]:0", "localhost:80", "unix:/run/s"));
}

TEST(AgentOptions, EnablesOnlyNamedCollectorsWithDisableDefaultsInAnyOrder) {
  const auto catalogue = collectors::make_catalogue();
  for (const auto& words :
       {std::vector<const char*>{"--collector.disable-defaults", "--collector.cpu", "--collector.bpf"},
        {"--collector.bpf", "--collector.cpu", "--collector.disable-defaults"}}) {
    const auto line = parse(words);
    EXPECT_EQ(line.error, "");
    std::vector<std::string_view> on;
    for (std::size_t c = 0; c < catalogue->collectors().size(); ++c) {
      if (line.parsed.options.collectors[c]) on.push_back(catalogue->collectors()[c].name);
    }
    EXPECT_THAT(on, testing::UnorderedElementsAre("cpu", "bpf"));
  }
}

}  // namespace
}  // namespace cgwarden::agent
