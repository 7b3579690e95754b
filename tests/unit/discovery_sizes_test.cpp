// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "src/base/fd.h"
#include "src/discovery/sizes.h"
#include "tests/temp_dir.h"

namespace cgwarden::discovery {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kHost =
    "22 1 254:0 / / rw - ext4 /dev/root rw\n"
    "30 22 8:1 /pool /data rw shared:1 - xfs /dev/sda1 rw\n"
    "40 22 0:50 / /var/lib/docker/overlay2/a/merged rw - overlay overlay "
    "rw,lowerdir=/l1:/l2,upperdir=/var/lib/docker/overlay2/a\\040b/diff,workdir=/w\n"
    "41 22 0:51 / /ro rw - overlay overlay ro,lowerdir=/l1:/l2\n";

TEST(WritableLayer, IsDerivedFromHostMountinfo) {
  const auto layer = [](std::string_view root_line) {
    return writable_layer(kHost, std::string("1 0 0:5 / /proc rw - proc proc rw\n") + std::string(root_line));
  };
  // overlay; the upper directory in the container's own mountinfo is not trusted
  EXPECT_EQ(layer("900 1 0:50 / / rw - overlay overlay rw,upperdir=/etc\n"), "/var/lib/docker/overlay2/a b/diff");
  // vfs, LXC, nspawn: a directory of the host's root file system, or of a partially mounted one
  EXPECT_EQ(layer("900 1 254:0 /var/lib/docker/vfs/dir/x / rw - ext4 /dev/root rw\n"), "/var/lib/docker/vfs/dir/x");
  EXPECT_EQ(layer("900 1 8:1 /pool/lxc/web / rw - xfs /dev/sda1 rw\n"), "/data/lxc/web");
  // unknown: the host's root, read-only, a mount invisible to the host, an unmounted part, no root mount
  EXPECT_EQ(layer("900 1 254:0 / / rw - ext4 /dev/root rw\n"), std::nullopt);
  EXPECT_EQ(layer("900 1 0:51 / / rw - overlay overlay ro\n"), std::nullopt);
  EXPECT_EQ(layer("900 1 0:99 / / rw - overlay overlay rw,upperdir=/etc\n"), std::nullopt);
  EXPECT_EQ(layer("900 1 8:1 /poolside/x / rw - xfs /dev/sda1 rw\n"), std::nullopt);
  EXPECT_EQ(layer("garbage\n900 1 0:50\n"), std::nullopt);
  EXPECT_EQ(layer(""), std::nullopt);
}

class UsageOf : public ::testing::Test {
 protected:
  void write(const std::string& path, std::size_t bytes) const {
    fs::create_directories((top_ / path).parent_path());
    std::ofstream(top_ / path) << std::string(bytes, 'x') << std::flush;
    const base::Fd fd(::open((top_ / path).c_str(), O_RDONLY));
    ::fsync(fd.get());  // allocates the blocks
  }
  [[nodiscard]] std::optional<Usage> usage(const WalkLimits& limits = {}) const {
    const base::Fd fd(::open((top_ / "layer").c_str(), O_RDONLY | O_DIRECTORY));
    return usage_of(fd.get(), limits, stop_);
  }

  const testing_files::TempDir temporary_;
  const fs::path top_ = temporary_.path();
  std::atomic<bool> stop_{false};
};

TEST_F(UsageOf, CountsHardLinksOnceAndStaysInDirectory) {
  write("outside/large", 1 << 20);
  write("layer/a", 100'000);
  const auto one = usage();
  ASSERT_TRUE(one);
  write("layer/b/c/d", 200'000);
  fs::create_hard_link(top_ / "layer/b/c/d", top_ / "layer/again");
  fs::create_symlink(top_ / "outside", top_ / "layer/way-out");
  fs::create_symlink(top_ / "outside/large", top_ / "layer/b/large");
  ASSERT_EQ(::mkfifo((top_ / "layer/fifo").c_str(), 0600), 0);
  const auto all = usage();
  ASSERT_TRUE(all);
  EXPECT_GE(all->bytes, one->bytes + 200'000);
  EXPECT_LT(all->bytes, one->bytes + 200'000 + 100'000);
  EXPECT_FALSE(all->by_quota);
}

TEST_F(UsageOf, ReturnsNulloptBeyondLimitsAndWhenStopped) {
  for (int i = 0; i < 20; ++i) write("layer/" + std::to_string(i), 1);
  EXPECT_TRUE(usage());
  EXPECT_FALSE(usage({.max_entries = 10}));
  stop_ = true;
  EXPECT_FALSE(usage());
  EXPECT_FALSE(usage_of(-1, {}, stop_));
}

TEST_F(UsageOf, RequiresProcessToBeInTheCgroup) {
  write("proc/7/cgroup", 0);
  std::ofstream(top_ / "proc/7/cgroup") << "0::/docker/abc\n";
  std::ofstream(top_ / "proc/7/mountinfo") << "900 1 254:0 /layer / rw - ext4 /dev/root rw\n";
  write("layer/file", 5000);
  write("logs/abc-json.log", 9000);
  write("logs/abc-json.log.1", 9000);
  write("logs/config.v2.json", 90'000);
  fs::create_symlink(top_ / "layer/file", top_ / "logs/abc-json.log.2");
  SizeQuery what{.rootfs = top_.string(),
                 .procfs = (top_ / "proc").string(),
                 .cgroup = "/docker/abc",
                 .pid = 7,
                 .logs = {"/logs"},
                 .log_prefix = "abc-json.log"};
  auto sizes = sizes_of(what, kHost, {}, stop_);
  ASSERT_TRUE(sizes.layer);
  EXPECT_GE(sizes.layer->bytes, 5000U);
  ASSERT_TRUE(sizes.log);
  EXPECT_GE(*sizes.log, 18'000U);
  EXPECT_LT(*sizes.log, 90'000U);
  what.cgroup = "/docker/ab";
  EXPECT_FALSE(sizes_of(what, kHost, {}, stop_).layer);
  what.pid = 8;
  EXPECT_FALSE(sizes_of(what, kHost, {}, stop_).layer);
}

}  // namespace
}  // namespace cgwarden::discovery
