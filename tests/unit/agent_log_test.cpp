// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "src/agent/log.h"

namespace cgwarden::agent {
namespace {

const log::Fields kFields = {{"runtime", "containerd"}, {"error", "no such file"}, {"path", "a=\"\x1b[31m\\"},
                             {"retry_in", "4s"},        {"cgroups", 17},           {"empty", ""}};

TEST(Log, WritesFieldsAsLogfmtAndQuotesValuesWhereNeeded) {
  EXPECT_EQ(log::format_fields(kFields, false),
            " runtime=containerd error=\"no such file\" path=" + log::quoted("a=\"\x1b[31m\\") +
                " retry_in=4s cgroups=17 empty=\"\"");
  EXPECT_EQ(log::format_fields({}, false), "");
}

TEST(Log, WritesFieldsAsMembersOfAJsonObject) {
  const auto json = nlohmann::json::parse("{\"msg\":\"x\"" + log::format_fields(kFields, true) + "}");
  EXPECT_EQ(json["runtime"], "containerd");
  EXPECT_EQ(json["error"], "no such file");
  EXPECT_EQ(json["cgroups"], 17);
  EXPECT_EQ(json["empty"], "");
  EXPECT_EQ(json["path"].get<std::string>().find('\x1b'), std::string::npos);
}

TEST(Log, WritesOneLinePerRecord) {
  for (const auto* const format : {"logfmt", "json"}) {
    testing::internal::CaptureStderr();
    log::set_up("info", format);
    log::debug("hidden");
    log::info("event stream lost, retrying", {{"error", "a\nb"}});
    const auto text = testing::internal::GetCapturedStderr();
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
    EXPECT_NE(text.find("event stream lost, retrying"), std::string::npos) << text;
  }
  log::set_up("info", "logfmt");
}

TEST(Log, FormatsDurationsInSecondsOrMilliseconds) {
  EXPECT_EQ(log::duration_text(std::chrono::seconds(4)), "4s");
  EXPECT_EQ(log::duration_text(std::chrono::milliseconds(1500)), "1500ms");
}

}  // namespace
}  // namespace cgwarden::agent
