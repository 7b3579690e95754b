// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/hierarchy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tests/test_data.h"

namespace cgwarden::cgroup {
namespace {

std::string sample(const std::string& name) {
  const std::string path = test::test_data() / "data/mountinfo" / name;
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

HostHierarchies host_of(const std::string& name) {
  HostHierarchies host;
  host.all = parse_mountinfo(sample(name + ".txt"));
  return host;
}

std::vector<std::string> titles(const HostHierarchies& host) {
  std::vector<std::string> out;
  for (const auto& h : host.all) out.push_back(h.title());
  return out;
}

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

TEST(ParseMountinfo, ReadsAHybridHostWithSeparateControllers) {
  const auto host = host_of("hybrid-separate");
  EXPECT_EQ(host.layout(), "hybrid");
  EXPECT_THAT(titles(host), Contains("cpu"));
  EXPECT_THAT(titles(host), Contains("cpuacct"));
  EXPECT_THAT(titles(host), Contains("name=systemd"));
  EXPECT_THAT(titles(host), Contains("v2"));
}

TEST(ParseMountinfo, ReadsAV2Host) {
  const auto host = host_of("v2-systemd");
  EXPECT_EQ(host.layout(), "v2");
  EXPECT_THAT(titles(host), ElementsAre("v2"));
  EXPECT_EQ(host.v2()->mount_point, "/sys/fs/cgroup");
}

TEST(ParseMountinfo, ReadsAV1HostWithCoMountedControllers) {
  const auto host = host_of("v1-systemd");
  EXPECT_EQ(host.layout(), "v1");
  EXPECT_EQ(host.v2(), nullptr);
  const auto joined = std::ranges::find_if(host.all, [](const auto& h) { return h.has("cpu"); });
  ASSERT_NE(joined, host.all.end());
  EXPECT_TRUE(joined->has("cpuacct"));
}

TEST(ParseMountinfo, ReadsTheRootOfAMountInAContainer) {
  const auto host = host_of("container-v1");
  ASSERT_THAT(host.all, Not(IsEmpty()));
  EXPECT_NE(host.all.front().root, "/");
}

TEST(ParseMountinfo, NormalizesARootOutsideOfTheCgroupNamespace) {
  for (const auto* name : {"container-v2-cgroupns", "container-v2-hostns"}) {
    const auto host = host_of(name);
    ASSERT_NE(host.v2(), nullptr) << name;
    EXPECT_FALSE(host.v2()->root.starts_with("/..")) << name;
  }
}

TEST(ParseMountinfo, ReturnsAHierarchyWithTwoMountsOnce) {
  const auto host = host_of("bind-duplicate");
  auto all = titles(host);
  std::ranges::sort(all);
  EXPECT_EQ(std::ranges::adjacent_find(all), all.end());
}

TEST(ParseMountinfo, UnescapesMountPoints) {
  // The same hierarchy is mounted several times; parsing one line at a time returns each mount.
  std::vector<std::string> mount_points;
  std::istringstream lines(sample("octal-escapes.txt"));
  for (std::string line; std::getline(lines, line);) {
    for (const auto& h : parse_mountinfo(line)) mount_points.push_back(h.mount_point);
  }
  EXPECT_THAT(mount_points,
              testing::IsSupersetOf({"/run/a b", "/run/tab\there", "/run/back\\slash", "/run/new\nline"}));
}

TEST(ParseMountinfo, ReadsNamedHierarchies) {
  EXPECT_THAT(titles(host_of("named-only")), Contains(testing::StartsWith("name=")));
}

TEST(ParseMountinfo, IgnoresMalformedLines) {
  for (const auto* garbage :
       {"", "\n\n", "a b c", "1 2 3 / /x - cgroup", "- cgroup2 x y", "1 2 3 / /x rw - cgroup none rw,xattr"}) {
    EXPECT_THAT(parse_mountinfo(garbage), IsEmpty()) << garbage;
  }
}

TEST(ParseUnboundControllers, ReturnsEnabledControllersWithoutAHierarchy) {
  EXPECT_THAT(parse_unbound_controllers("#subsys_name\thierarchy\tnum_cgroups\tenabled\n"
                                        "cpu\t1\t1\t1\nnet_cls\t0\t1\t1\nrdma\t0\t1\t0\n"),
              ElementsAre("net_cls"));
}

TEST(FindHierarchies, ReadsARecordedHost) {
  const std::string root = test::test_data() / "hosts/v2";
  const auto host = find_hierarchies({root + "/proc", root + "/sys", root + "/sys/fs/cgroup", "/"});
  ASSERT_TRUE(host) << host.error().what;
  EXPECT_EQ(host->layout(), "v2");
  EXPECT_TRUE(host->v2()->has("memory"));
  EXPECT_THAT(host->summary(), testing::StartsWith("v2: v2 "));
}

TEST(FindHierarchies, FailsOnAHostWithoutMountinfo) {
  const auto host = find_hierarchies({test::test_data(), "/sys", "", "/"});
  ASSERT_FALSE(host);
  EXPECT_THAT(host.error().what, testing::HasSubstr("mountinfo"));
}

}  // namespace
}  // namespace cgwarden::cgroup
