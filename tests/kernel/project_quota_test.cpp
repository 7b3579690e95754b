// SPDX-License-Identifier: Apache-2.0
// Disk usage of a writable layer on a file system with project quotas, as runtimes use them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "src/base/fd.h"
#include "src/discovery/sizes.h"
#include "tests/temp_dir.h"

namespace cgwarden::discovery {
namespace {

constexpr std::uintmax_t kMiB = 1 << 20;

void write_out(const std::string& path, std::size_t bytes) {
  std::ofstream(path) << std::string(bytes, 'x');
  const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  ::fsync(fd.get());  // blocks are allocated only when the data is written back
}

// Runs in a mount namespace of its own. Returns 0 on success, 77 if such a file system cannot be mounted here, or the
// number of the failed check.
int measure(const std::string& folder) {
  const auto image = folder + "/image";
  const auto at = folder + "/mounted";
  std::filesystem::create_directory(at);
  std::ofstream(image).close();
  std::filesystem::resize_file(image, 32 * kMiB);
  const auto make = "mkfs.ext4 -q -O quota,project -E quotatype=prjquota " + image;
  const auto mount = "mount -o loop,prjquota " + image + " " + at + " 2> /dev/null";
  if (::geteuid() != 0 || ::unshare(CLONE_NEWNS) != 0) return 77;
  if (::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 77;
  if (std::system(make.c_str()) != 0 || std::system(mount.c_str()) != 0) return 77;

  const auto layer = at + "/layer";
  std::filesystem::create_directory(layer);
  const base::Fd fd(::open(layer.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  fsxattr project{};
  project.fsx_projid = 77;
  project.fsx_xflags = FS_XFLAG_PROJINHERIT;
  if (::ioctl(fd.get(), FS_IOC_FSSETXATTR, &project) != 0) return 2;
  write_out(layer + "/file", 5 * kMiB);
  write_out(at + "/of-another", 3 * kMiB);
  const std::atomic<bool> stop{false};
  // No entry may be read: the quota has the sum.
  const auto usage = usage_of(fd.get(), {.max_entries = 0, .entries_per_second = 0}, stop);
  if (!usage) return 3;
  if (!usage->by_quota) return 4;
  return usage->bytes >= 5 * kMiB && usage->bytes < 6 * kMiB ? 0 : 5;
}

TEST(UsageOf, ReadsTheProjectQuotaWithoutWalkingTheDirectory) {
  const testing_files::TempDir folder;
  const auto child = ::fork();
  if (child == 0) ::_exit(measure(folder.path()));
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no project quotas on this machine: cannot mount one";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace cgwarden::discovery
