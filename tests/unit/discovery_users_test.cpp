// SPDX-License-Identifier: Apache-2.0
// Rootless containers: found without configuration, and limited to the user's own containers.
#include <gmock/gmock.h>

#include "src/discovery/users.h"
#include "tests/unit/discovery_fixture.h"

namespace cgwarden::discovery {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Optional;
using testing::SizeIs;

const std::string kPasswd =
    "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000:Ann,,,:/srv/home/ann:/bin/bash\nbob:x:1001:1001::/srv/home/bob:/"
    "bin/sh\n";

class UsersTest : public DiscoveryTest {
 protected:
  UsersTest() { write("/etc/passwd", kPasswd); }
  // Writes the state of a Podman container to a storage directory.
  void podman(const std::string& storage, const std::string& name) {
    write(storage + "/overlay-containers/containers.json",
          R"([{"id":")" + kId + R"(","names":[")" + name +
              R"("],"image":"4844","metadata":"{\"image-name\":\"localhost/lab/box:1\"}"}])");
  }
  static std::string scope_of(const std::string& uid) {
    return "/user.slice/user-" + uid + ".slice/user@" + uid + ".service/user.slice/libpod-" + kId + ".scope";
  }
  const std::string ann_ = "/srv/home/ann/.local/share/containers/storage";
  const std::string bob_ = "/srv/home/bob/.local/share/containers/storage";
};

TEST_F(UsersTest, FindsPodmanStateInHomeAndRunDirectory) {
  podman(ann_, "web");
  write("/run/user/1000/containers/overlay-containers/" + kId + "/userdata/pidfile", "4711");
  write("/proc/4711/cgroup", "0::" + scope_of("1000") + "/container\n");
  write("/run/user/1000/crun/" + kId + "/status", R"({"pid":4711,"created":"2026-11-24T10:00:00Z"})");
  see({scope_of("1000"), scope_of("1000") + "/container"});
  const auto c = at(scope_of("1000"));
  EXPECT_THAT(c.runtime, Optional(std::string("podman")));
  EXPECT_THAT(c.name, Optional(std::string("web")));
  EXPECT_THAT(c.image, Optional(std::string("localhost/lab/box:1")));
  EXPECT_THAT(c.pid, Optional(4711));
  EXPECT_TRUE(c.created);
  EXPECT_EQ(at(scope_of("1000") + "/container").role, model::Role::payload);

  write("/run/user/1000/libpod/tmp/exits/" + kId, "3");
  remove("/proc/4711");
  const auto table = see({"/user.slice"});
  ASSERT_THAT(table->exited, SizeIs(1));
  EXPECT_THAT(table->exited[0].container->exit_code, Optional(3));
}

TEST_F(UsersTest, FindsDockerStateInHome) {
  write("/srv/home/ann/.local/share/docker/containers/" + kId + "/config.v2.json",
        R"({"ID":")" + kId + R"(","Name":"/web","Config":{},"State":{}})");
  const std::string path = "/user.slice/user-1000.slice/user@1000.service/app.slice/docker-" + kId + ".scope";
  see({path});
  EXPECT_THAT(at(path).name, Optional(std::string("web")));
}

TEST_F(UsersTest, FindsStateCreatedLater) {
  see({scope_of("1000")});
  EXPECT_EQ(at(scope_of("1000")).name, std::nullopt);
  podman(ann_, "web");
  EXPECT_TRUE(resolver().refresh(now_)) << "now_ is unchanged, so the inotify event triggers the lookup";
  EXPECT_THAT(at(scope_of("1000")).name, Optional(std::string("web")));
}

TEST_F(UsersTest, FindsUserCreatedLater) {
  see({scope_of("1002")});
  podman("/srv/home/cat/.local/share/containers/storage", "web");
  resolver().refresh(now_);
  EXPECT_EQ(at(scope_of("1002")).name, std::nullopt);
  write("/etc/passwd", kPasswd + "cat:x:1002:1002::/srv/home/cat:/bin/sh\n");
  EXPECT_TRUE(resolver().refresh(now_));
  EXPECT_THAT(at(scope_of("1002")).name, Optional(std::string("web")));
}

TEST_F(UsersTest, NamesOnlyContainersInTheUsersSlice) {
  podman(ann_, "web");
  podman(bob_, "stolen");
  see({scope_of("1000"), "/machine.slice/libpod-" + kId + ".scope", "/lxc.payload.x" + scope_of("1001")});
  EXPECT_THAT(at(scope_of("1000")).name, Optional(std::string("web"))) << "both users have a container with this id";
  EXPECT_EQ(at("/machine.slice/libpod-" + kId + ".scope").name, std::nullopt) << "not in a user slice";
  EXPECT_EQ(at("/lxc.payload.x" + scope_of("1001")).name, std::nullopt)
      << "a user inside a container is not a user of the host";
}

TEST_F(UsersTest, FollowsNoLinkOutOfTheHome) {
  podman("/var/secret/storage", "stolen");
  podman("/var/secret/share/containers/storage", "stolen");
  std::filesystem::create_directories(root_ + "/srv/home/ann/.local/share");
  std::filesystem::create_directory_symlink(root_ + "/var/secret", root_ + "/srv/home/ann/.local/share/containers");
  std::filesystem::create_directories(root_ + "/srv/home/bob");
  std::filesystem::create_directory_symlink("/var/secret", root_ + "/srv/home/bob/.local");
  see({scope_of("1000"), scope_of("1001")});
  EXPECT_EQ(at(scope_of("1000")).name, std::nullopt);
  EXPECT_EQ(at(scope_of("1001")).name, std::nullopt);
  EXPECT_THAT(log_lines_, Contains(HasSubstr("symbolic link")));
}

TEST_F(UsersTest, FollowsLinkedHomeDirectory) {
  podman("/data/ann/.local/share/containers/storage", "web");
  std::filesystem::create_directories(root_ + "/srv/home");
  std::filesystem::create_directory_symlink("/data/ann", root_ + "/srv/home/ann");
  see({scope_of("1000")});
  EXPECT_THAT(at(scope_of("1000")).name, Optional(std::string("web")));
}

TEST_F(UsersTest, ReadsStateFromConfiguredRoot) {
  options_.roots.podman = {"/srv/ann"};
  podman("/srv/ann", "web");
  see({scope_of("1000")});
  EXPECT_THAT(at(scope_of("1000")).name, Optional(std::string("web")));
}

TEST_F(UsersTest, DropsPidOfProcessOutsideTheCgroup) {
  podman(ann_, "web");
  write("/run/user/1000/containers/overlay-containers/" + kId + "/userdata/pidfile", "1");
  write("/proc/1/cgroup", "0::/init.scope\n");
  see({scope_of("1000")});
  EXPECT_THAT(at(scope_of("1000")).name, Optional(std::string("web")));
  EXPECT_EQ(at(scope_of("1000")).pid, std::nullopt);
}

TEST_F(UsersTest, FindsStateOfMoreUsersThanAreCached) {
  std::string all;
  std::vector<std::string> paths;
  for (int uid = 2000; uid < 2260; ++uid) {
    const auto number = std::to_string(uid);
    all += "u:x:" + number + ":1::/srv/home/u" + number + ":/bin/sh\n";
    podman("/srv/home/u" + number + "/.local/share/containers/storage", "c" + number);
    paths.push_back(scope_of(number));
  }
  write("/etc/passwd", all);
  see(paths);
  EXPECT_THAT(at(scope_of("2000")).name, Optional(std::string("c2000")));
  EXPECT_THAT(at(scope_of("2259")).name, Optional(std::string("c2259")));
}

TEST(StateFiles, CrossesNoMountPointBelowUserRoot) {
  // Every host has mount points below /sys.
  StateFiles files("/", "/proc", [](const std::string&) {});
  ASSERT_THAT(files.list("/sys/fs/cgroup", ""), Not(IsEmpty()));
  EXPECT_THAT(files.list("/sys/./fs/cgroup", ""), IsEmpty());
  EXPECT_EQ(files.stats().refused, 1U);
  EXPECT_THAT(files.list("/sys/./fs", ""), Contains("cgroup"));
  EXPECT_THAT(files.list("/sys/./fs", "cgroup"), IsEmpty());
}

TEST(HomeOf, ReturnsOnlyUsableHomes) {
  EXPECT_EQ(home_of(kPasswd, "1000"), "/srv/home/ann");
  EXPECT_EQ(home_of(kPasswd, "0"), "/root");
  EXPECT_EQ(home_of(kPasswd, "100"), "");
  EXPECT_EQ(home_of(kPasswd, ""), "");
  for (const auto* home : {"", "/", "home", "/srv/home/./x"}) {
    EXPECT_EQ(home_of("x:x:5:5::" + std::string(home) + ":/bin/sh", "5"), "") << home;
  }
  EXPECT_EQ(home_of("x:x:5:5::/h", "5"), "/h");
  EXPECT_EQ(home_of(":::::", "5"), "");
}

TEST(RootsOfUser, DiffersBetweenUsers) {
  const auto roots = roots_of_user("1000", "/srv/home/ann");
  EXPECT_THAT(roots.podman, ElementsAre("/srv/home/ann/./.local/share/containers/storage"));
  EXPECT_THAT(roots.podman_tmp, ElementsAre("/run/user/1000/./libpod/tmp"));
  EXPECT_THAT(roots.lxc, IsEmpty());
}

}  // namespace
}  // namespace cgwarden::discovery
