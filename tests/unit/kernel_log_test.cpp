// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/kernel_log.h"

#include <gtest/gtest.h>

namespace cgwarden::cgroup {
namespace {

std::string killed(const std::string& record) { return cgroup_of_oom_kill(record).value_or("none"); }

const std::string kBegin = "6,1071,1802612815,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=";

TEST(CgroupOfOomKill, ReturnsTheCgroupOfTheKilledProcess) {
  EXPECT_EQ(killed(kBegin + "g,mems_allowed=0,oom_memcg=/up,task_memcg=/up/g,task=hog,pid=17867,uid=0\n"), "/up/g");
  EXPECT_EQ(killed(kBegin + "/,mems_allowed=0-1,global_oom,task_memcg=/,task=a b,pid=1,uid=4294967295\n SUBSYSTEM=x\n"),
            "/");
  EXPECT_EQ(killed(kBegin + "g,mems_allowed=0,global_oom,task_memcg=/a\\x1b\\x5cb,task=t,pid=1,uid=0\n"), "/a\x1b\\b");
}

TEST(CgroupOfOomKill, ReturnsPathsRelativeToTheRootOfTheMount) {
  const auto relative = [](const std::string& path) {
    return cgroup_of_oom_kill(kBegin + "g,mems_allowed=0,global_oom,task_memcg=" + path + ",task=t,pid=1,uid=0\n",
                              "/pod")
        .value_or("none");
  };
  EXPECT_EQ(relative("/pod/a/b"), "/a/b");
  EXPECT_EQ(relative("/pod"), "/");
  EXPECT_EQ(relative("/podium"), "none");
  EXPECT_EQ(relative("/other/pod/a"), "none");
}

TEST(CgroupOfOomKill, IgnoresOtherAndIncompleteRecords) {
  EXPECT_EQ(killed(""), "none");
  EXPECT_EQ(killed("6,1,2,-;Memory cgroup out of memory: Killed process 17867 (hog)\n"), "none");
  EXPECT_EQ(killed(kBegin + "g,mems_allowed=0,global_oom,task_memcg=/cut of"), "none");
  EXPECT_EQ(killed(kBegin + "g,mems_allowed=0,global_oom,task_memcg=,task=t,pid=1,uid=0\n"), "none");
}

TEST(CgroupOfOomKill, IgnoresARecordThatAProgramWrote) {
  EXPECT_EQ(killed("12,1,2,-;oom-kill:constraint=CONSTRAINT_NONE,task_memcg=/victim,task=t,pid=1,uid=0\n"), "none");
}

TEST(CgroupOfOomKill, IgnoresARecordWithDelimitersInNames) {
  EXPECT_EQ(killed(kBegin + "g,mems_allowed=0,global_oom,task_memcg=/a,task=x,task=t,pid=1,uid=0\n"), "none");
  EXPECT_EQ(killed(kBegin + "g,mems_allowed=0,global_oom,task_memcg=/a,task=,task_memcg=/b,pid=1,uid=0\n"), "none");
  EXPECT_EQ(killed(kBegin + ",task_memcg=/b,mems_allowed=0,global_oom,task_memcg=/a,task=t,pid=1,uid=0\n"), "none");
}

}  // namespace
}  // namespace cgwarden::cgroup
