// SPDX-License-Identifier: Apache-2.0
// Device rules of v1 on the running kernel.
#include <gtest/gtest.h>

#include "tests/kernel/collected.h"

namespace cgwarden {
namespace {

using testing_kernel::read;
using testing_kernel::write;

class DeviceRulesCollector : public testing_kernel::CollectedTest {
 protected:
  [[nodiscard]] std::string rules(const std::string& cgroup) const {
    std::string out;
    for (const auto& one : series("device_rule", cgroup)) out += one.labels.front() + "\n";
    return out;
  }
};

TEST_F(DeviceRulesCollector, ExportsTheRulesOfDevicesList) {
  if (dir("devices").empty()) GTEST_SKIP() << "no cgroup v1 hierarchy on this machine";
  make("/d");
  open({"devices", "device_rules"});
  collect();
  EXPECT_EQ(rules("/d"), "a *:* rwm\n");
  EXPECT_EQ(value("devices_rules", "/d"), model::Value::of(1));
  ASSERT_TRUE(write(dir("devices", "/d") + "/devices.deny", "a"));
  collect();
  EXPECT_EQ(rules("/d"), "");
  EXPECT_EQ(value("devices_rules", "/d"), model::Value::of(0));
  ASSERT_TRUE(write(dir("devices", "/d") + "/devices.allow", "c 1:3 rwm"));
  ASSERT_TRUE(write(dir("devices", "/d") + "/devices.allow", "b *:* m"));
  collect();
  EXPECT_EQ(rules("/d"), "c 1:3 rwm\nb *:* m\n");
  EXPECT_EQ(rules("/d"), read(dir("devices", "/d") + "/devices.list"));
  EXPECT_EQ(value("devices_rules", "/d"), model::Value::of(2));
}

}  // namespace
}  // namespace cgwarden
