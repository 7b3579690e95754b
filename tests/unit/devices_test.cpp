// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace cgwarden::cgroup {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

// A directory with the layout of /sys: dev/block/MAJ:MIN is a link to the device, a partition is inside its disk.
class BlockDevicesTest : public ::testing::Test {
 protected:
  BlockDevicesTest() : top_(fs::path(::testing::TempDir()) / ("cgwarden-test-devices-" + std::to_string(::getpid()))) {
    fs::create_directories(top_ / "dev/block");
  }
  ~BlockDevicesTest() override { fs::remove_all(top_); }

  void put(const std::string& path, const std::string& text) const {
    fs::create_directories((top_ / path).parent_path());
    std::ofstream(top_ / path) << text;
  }
  void device(const std::string& number, const std::string& path, const std::string& name,
              const std::string& size = "2048") const {
    put(path + "/uevent", "MAJOR=1\nDEVNAME=" + name + "\nDEVTYPE=disk\n");
    put(path + "/size", size + "\n");
    fs::create_directory_symlink(top_ / path, top_ / "dev/block" / number);
  }
  [[nodiscard]] std::vector<BlockDevice> read(const std::string& mountinfo = "") const {
    return BlockDevices(top_.string()).read(mountinfo);
  }

  fs::path top_;
};

std::string mount(const std::string& number, const std::string& root, const std::string& point,
                  const std::string& source, const std::string& type = "ext4") {
  return "30 1 " + number + " " + root + " " + point + " rw shared:1 - " + type + " " + source + " rw\n";
}

TEST_F(BlockDevicesTest, ReadsKindAliasAndUnderlyingDevices) {
  device("8:0", "devices/sda", "sda");
  device("8:1", "devices/sda/sda1", "sda1");
  put("devices/sda/sda1/partition", "1\n");
  device("253:0", "devices/dm-0", "dm-0");
  put("devices/dm-0/dm/name", "vg-root\n");
  put("devices/dm-0/slaves/sda1/x", "");
  put("devices/dm-0/slaves/cciss!c0d0/x", "");
  device("9:0", "devices/md0", "md0");
  put("devices/md0/md/level", "raid1\n");
  put("devices/md0/slaves/dm-0/x", "");
  const auto found = read();
  ASSERT_EQ(found.size(), 4U);
  EXPECT_EQ(found[0].number, "253:0");
  EXPECT_EQ(found[0].kind, "dm");
  EXPECT_EQ(found[0].alias, "vg-root");
  EXPECT_THAT(found[0].underlying, ElementsAre("cciss/c0d0", "sda1"));
  EXPECT_EQ(found[1].kind, "disk");
  EXPECT_THAT(found[1].underlying, IsEmpty());
  EXPECT_EQ(found[2].kind, "partition");
  EXPECT_THAT(found[2].underlying, ElementsAre("sda"));
  EXPECT_EQ(found[3].kind, "md");
  EXPECT_THAT(found[3].underlying, ElementsAre("dm-0"));
}

TEST_F(BlockDevicesTest, FindsTheDeviceUnderALoopDevice) {
  device("8:0", "devices/sda", "sda");
  device("8:16", "devices/sdb", "sdb");
  device("7:0", "devices/loop0", "loop0");
  put("devices/loop0/loop/backing_file", "/srv/images/a b.img\n");
  device("7:1", "devices/loop1", "loop1", "0");  // unused, therefore omitted
  auto found = read(mount("8:0", "/", "/", "/dev/sda") + mount("8:16", "/", "/srv/images", "/dev/sdb") +
                    mount("0:50", "/", "/srv/images-not", "none", "tmpfs"));
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].kind, "loop");
  EXPECT_EQ(found[0].alias, "/srv/images/a b.img");
  EXPECT_THAT(found[0].underlying, ElementsAre("sdb"));
  found = read(mount("7:0", "/", "/srv", "/dev/loop0"));  // its own file system hides the file: no cycle of devices
  EXPECT_THAT(found[0].underlying, IsEmpty());
}

TEST_F(BlockDevicesTest, ListsMountsOfWholeFileSystemsBeforeBindMounts) {
  device("8:0", "devices/sda", "sda");
  device("253:0", "devices/dm-0", "dm-0");
  put("devices/dm-0/dm/name", "pool\n");
  std::string many;
  for (int i = 0; i < 100; ++i)
    many += mount("8:0", "/volumes/" + std::to_string(i), "/run/" + std::to_string(i), "/dev/sda");
  const auto found = read(many + mount("8:0", "/", "/srv\\040data", "/dev/sda") + "malformed line\n" +
                          mount("0:40", "/@home", "/home", "/dev/mapper/pool", "btrfs"));
  ASSERT_EQ(found.size(), 2U);
  ASSERT_EQ(found[1].mounts.size(), 1U);
  EXPECT_EQ(found[1].mounts[0].point, "/srv data");
  EXPECT_EQ(found[1].mounts[0].type, "ext4");
  ASSERT_EQ(found[0].mounts.size(), 1U);
  EXPECT_EQ(found[0].mounts[0].point, "/home");
}

TEST_F(BlockDevicesTest, BoundsNamesMountsAndUnderlyingDevices) {
  device("8:0", "devices/sda", "");
  device("7:0", "devices/loop0", "loop0");
  put("devices/loop0/loop/backing_file", std::string(100'000, '\n') + "x");
  for (int i = 0; i < 200; ++i) put("devices/loop0/slaves/s" + std::to_string(i) + "/x", "");
  std::string mounts;
  for (int i = 0; i < 100; ++i) mounts += mount("8:0", "/", "/" + std::string(5000, 'a') + std::to_string(i), "/dev/x");
  const auto found = read(mounts);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_LE(found[0].alias.size(), 1024U);
  EXPECT_EQ(found[0].underlying.size(), 64U);
  EXPECT_EQ(found[1].name, "8:0");
  EXPECT_LE(found[1].mounts.size(), 16U);
  EXPECT_LE(found[1].mounts[0].point.size(), 1024U);
  EXPECT_THAT(BlockDevices("/nonexistent").read(mounts), IsEmpty());
}

}  // namespace
}  // namespace cgwarden::cgroup
