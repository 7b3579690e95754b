// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "src/base/file.h"
#include "src/base/names.h"
#include "src/base/text.h"
#include "tests/temp_dir.h"

namespace cgwarden::base {
namespace {

TEST(ReadFile, ReadsTheWholeFileOrUpToTheLimit) {
  const testing_files::TempDir folder;
  const std::string text(40'000, 'a');  // more than one read
  std::ofstream(folder.path() + "/f") << text;
  EXPECT_EQ(read_file(folder.path() + "/f"), text);
  const Fd dir(::open(folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  EXPECT_EQ(read_file(dir.get(), "f", 20'000), text.substr(0, 20'000));
}

TEST(ReplaceFile, ReplacesAtomicallyWithoutFollowingLinks) {
  const testing_files::TempDir folder;
  const auto path = folder.path() + "/f";
  std::ofstream(path) << "before";
  const Fd reader(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  // A link at the path of the temporary file must not be followed.
  std::ofstream(folder.path() + "/other") << "other";
  ASSERT_EQ(::symlink("other", (folder.path() + "/.f.new").c_str()), 0);
  const auto mask = ::umask(077);
  EXPECT_TRUE(replace_file(path, "after", 0644));
  ::umask(mask);
  EXPECT_EQ(read_file(path), "after");
  EXPECT_EQ(read_to_end(reader.get()), "before") << "an open file keeps the old content";
  EXPECT_EQ(read_file(folder.path() + "/other"), "other");
  struct stat st {};
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777U, 0644U);

  const auto replaced = replace_file(folder.path() + "/none/f", "x", 0644);
  ASSERT_FALSE(replaced);
  EXPECT_NE(replaced.error().what.find("/none/.f.new"), std::string::npos) << replaced.error().what;
}

TEST(ReadFile, ReturnsNulloptAndErrnoIfMissingOrADirectory) {
  const testing_files::TempDir folder;
  EXPECT_FALSE(read_file(folder.path() + "/f"));
  EXPECT_EQ(errno, ENOENT);
  EXPECT_FALSE(read_file(folder.path()));
  EXPECT_EQ(errno, EISDIR);
}

TEST(ReadFile, DoesNotBlockOnAFifoWithoutAWriter) {
  const testing_files::TempDir folder;
  const auto fifo = folder.path() + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(read_file(fifo), "");
}

TEST(ProcKib, MatchesTheWholeKeyAndReturnsBytes) {
  const std::string_view text = "MemTotalOfOthers: 1 kB\nMemTotal:   1234 kB\nSwapFree: much kB\n";
  EXPECT_EQ(proc_kib(text, "MemTotal"), 1234 * 1024);
  EXPECT_EQ(proc_kib(text, "SwapFree"), std::nullopt);
  EXPECT_EQ(proc_kib(text, "SwapTotal"), std::nullopt);
}

TEST(ToDouble, ParsesANumberAtTheFront) {
  EXPECT_EQ(to_double("0.25 rest"), 0.25);
  EXPECT_EQ(to_double("12"), 12);
  EXPECT_EQ(to_double(""), std::nullopt);
  EXPECT_EQ(to_double("avg10=1"), std::nullopt);
}

TEST(UnknownName, SuggestsTheNearestCandidateOnlyIfOneIsClose) {
  constexpr std::string_view fields[] = {"memory_current", "memory_max", "cpu_usage"};
  EXPECT_EQ(unknown_name("field", "memory_curent", fields),
            "unknown field 'memory_curent'; did you mean 'memory_current'?");
  EXPECT_EQ(unknown_name("field", "cpu", fields), "unknown field 'cpu'");
  EXPECT_EQ(unknown_name("field", "", fields), "unknown field ''");
  EXPECT_EQ(unknown_name("field", "memory_max", {}), "unknown field 'memory_max'");
}

TEST(UnknownName, EscapesControlBytesAndSkipsLongNames) {
  constexpr std::string_view fields[] = {"memory_max"};
  EXPECT_EQ(unknown_name("field", "memory_\x1bmax", fields),
            "unknown field 'memory_\\x1bmax'; did you mean 'memory_max'?");
  EXPECT_EQ(nearest_name(std::string(1000, 'm'), fields), "");
}

}  // namespace
}  // namespace cgwarden::base
