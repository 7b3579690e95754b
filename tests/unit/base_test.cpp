// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>

#include "src/base/file.h"
#include "src/base/text.h"
#include "tests/temp_dir.h"

namespace cgwarden::base {
namespace {

TEST(ASmallFile, IsReadWholeOrUpToTheLimit) {
  const testing_files::TempDir folder;
  const std::string text(40'000, 'a');  // more than one read
  std::ofstream(folder.path() + "/f") << text;
  EXPECT_EQ(read_file(folder.path() + "/f"), text);
  const Fd dir(::open(folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  EXPECT_EQ(read_file(dir.get(), "f", 20'000), text.substr(0, 20'000));
}

TEST(ASmallFile, ThatIsMissingOrADirectoryIsNothingAndErrnoSaysWhy) {
  const testing_files::TempDir folder;
  EXPECT_FALSE(read_file(folder.path() + "/f"));
  EXPECT_EQ(errno, ENOENT);
  EXPECT_FALSE(read_file(folder.path()));
  EXPECT_EQ(errno, EISDIR);
}

TEST(ASmallFile, ThatIsAFifoWithoutAWriterIsEmptyAndDoesNotBlock) {
  const testing_files::TempDir folder;
  const auto fifo = folder.path() + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(read_file(fifo), "");
}

TEST(ALineOfProc, IsFoundByItsWholeKeyAndGivenInBytes) {
  const std::string_view text = "MemTotalOfOthers: 1 kB\nMemTotal:   1234 kB\nSwapFree: much kB\n";
  EXPECT_EQ(proc_kib(text, "MemTotal"), 1234 * 1024);
  EXPECT_EQ(proc_kib(text, "SwapFree"), std::nullopt);
  EXPECT_EQ(proc_kib(text, "SwapTotal"), std::nullopt);
}

TEST(ANumber, IsWhatStandsAtTheFront) {
  EXPECT_EQ(to_double("0.25 rest"), 0.25);
  EXPECT_EQ(to_double("12"), 12);
  EXPECT_EQ(to_double(""), std::nullopt);
  EXPECT_EQ(to_double("avg10=1"), std::nullopt);
}

}  // namespace
}  // namespace cgwarden::base
