// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "exporter/metric_families.h"
#include "exporter/textfile.h"
#include "tests/temp_dir.h"

namespace cgwarden::exporter {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kAll =
    "# HELP a_total How\\nmany.\n"
    "# TYPE a_total counter\n"
    "a_total{x=\"1\",y=\"q\\\"\\\\\\n\"} 3\n"
    "a_total{x=\"2\",y=\"\"} 4.5\n"
    "# TYPE h histogram\n"
    "h_bucket{le=\"0.1\"} 1\n"
    "h_bucket{le=\"+Inf\"} 2\n"
    "h_sum 0.5\n"
    "h_count 2\n"
    "# TYPE s summary\n"
    "s{quantile=\"0.5\"} 1\n"
    "s_sum 3\n"
    "s_count 2\n"
    "# TYPE u untyped\n"
    "u +Inf\n";

TEST(ParseTextFormat, ParsesAllTypesWithoutLoss) {
  const auto parsed = parse_text_format(kAll);
  ASSERT_TRUE(parsed) << parsed.error().what;
  std::string out;
  append_families(*parsed, Format::text, out);
  EXPECT_EQ(out, kAll);
}

TEST(ParseTextFormat, RejectsAFileWithOneErrorAndReportsItsLine) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"a 1", "last line has no newline"},
      {"a\n", "line 1: series has no value"},
      {"\na x\n", "line 2: invalid value"},
      {"a 1 123\n", "line 1: timestamps are unsupported"},
      {"1a 1\n", "line 1: invalid metric name"},
      {"a{b=\"1\" 1\n", "line 1: ',' or '}' is missing after a label"},
      {"a{b=1} 1\n", "line 1: label value is not quoted"},
      {"a{b=\"1} 1\n", "line 1: label value has no closing quote"},
      {"a{__n=\"1\"} 1\n", "line 1: invalid label name"},
      {"a{b=\"1\",b=\"2\"} 1\n", "line 1: duplicate label"},
      {"a{b=\"\\x\"} 1\n", "line 1: unknown escape in label value"},
      {"a 1\na 2\n", "line 2: duplicate series"},
      {"a{b=\"1\",c=\"2\"} 1\na{c=\"2\",b=\"1\"} 2\n", "line 2: duplicate series"},
      {"a 1\n# TYPE a gauge\n", "line 2: TYPE after the first series of a"},
      {"# TYPE a gauge\n# TYPE a gauge\n", "line 2: duplicate TYPE of a"},
      {"# TYPE a gauges\n", "line 1: unknown type 'gauges'; did you mean 'gauge'?"},
      {"# TYPE a counter\na -1\n", "line 2: negative counter"},
      {"# TYPE h histogram\nh 1\n", "line 2: histogram sample without _bucket, _sum or _count"},
      {"# TYPE h histogram\nh_bucket 1\n", "line 2: bucket has no numeric label le"},
      {"# TYPE h histogram\nh_count 1\n", "h: histogram has no bucket +Inf"},
      {"# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_count 1\n",
       "h: bucket counts are not cumulative"},
      {"# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_count 2\n", "h: bucket +Inf differs from count"},
      {"a 1\xff\n", "not valid UTF-8"},
      {std::string("a 1\0\n", 5), "NUL byte"},
  };
  for (const auto& [text, what] : cases) {
    const auto parsed = parse_text_format(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_THAT(parsed.error().what, HasSubstr(what)) << text;
  }
  std::string many;
  for (std::size_t i = 0; i <= Textfiles::kMaxSeries; ++i) many += "a{b=\"" + std::to_string(i) + "\"} 1\n";
  EXPECT_THAT(parse_text_format(many).error().what, HasSubstr("more than 10000 series"));
}

class TextfilesTest : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const { std::ofstream(dir_ / name) << text; }
  [[nodiscard]] std::string served() const {
    std::vector<prometheus::MetricFamily> families(1);
    families[0].name = "cgwarden_own_total";
    families[0].type = prometheus::MetricType::Counter;
    families[0].metric.resize(1);
    Textfiles({dir_.string()}).add_to(families);
    std::string out;
    append_families(families, Format::text, out);
    return out;
  }
  [[nodiscard]] std::string error_of(const std::string& name, int value) const {
    return "cgwarden_textfile_scrape_error{file=\"" + (dir_ / name).string() + "\"} " + std::to_string(value) + "\n";
  }
  const testing_files::TempDir temporary_;
  const std::filesystem::path dir_ = temporary_.path();
};

TEST_F(TextfilesTest, ServesValidFilesWithTheirModificationTime) {
  write("a.prom", "a 1\n");
  write("b.prom", "b 2\n");
  write("c.txt", "c 3\n");
  write(".d.prom", "d 4\n");
  const auto text = served();
  EXPECT_THAT(text, HasSubstr("\na 1\n"));
  EXPECT_THAT(text, HasSubstr("\nb 2\n"));
  EXPECT_THAT(text, Not(HasSubstr("\nc 3\n")));
  EXPECT_THAT(text, Not(HasSubstr("\nd 4\n")));
  EXPECT_THAT(text, HasSubstr(error_of("a.prom", 0)));
  EXPECT_THAT(text, HasSubstr("cgwarden_textfile_mtime_seconds{file=\"" + (dir_ / "a.prom").string() + "\"} "));
}

TEST_F(TextfilesTest, OmitsAndReportsInvalidAndConflictingFiles) {
  write("a.prom", "a 1\na 1\n");
  write("b.prom", "cgroup_memory_current_bytes 2\n");
  write("c.prom", "cgwarden_own_total 3\n");
  write("d.prom", "d 4\n");
  write("e.prom", "d 5\n");
  write("f.prom", std::string(Textfiles::kMaxFileBytes + 1, '#'));
  write("target", "g 7\n");
  std::filesystem::create_symlink(dir_ / "target", dir_ / "g.prom");
  ASSERT_EQ(::mkfifo((dir_ / "h.prom").c_str(), 0600), 0);
  const auto text = served();
  for (const auto* const bad : {"a.prom", "b.prom", "c.prom", "e.prom", "f.prom", "g.prom", "h.prom"}) {
    EXPECT_THAT(text, HasSubstr(error_of(bad, 1))) << bad;
  }
  EXPECT_THAT(text, HasSubstr("\nd 4\n"));
  EXPECT_THAT(text, HasSubstr(error_of("d.prom", 0)));
  for (const auto* const omitted : {"\na 1", "\ncgroup_memory", "\ncgwarden_own_total 3", "\nd 5", "\ng 7"}) {
    EXPECT_THAT(text, Not(HasSubstr(omitted)));
  }
  std::filesystem::remove_all(dir_);
  EXPECT_THAT(served(), HasSubstr("cgwarden_textfile_scrape_error{file=\"" + dir_.string() + "\"} 1\n"));
}

}  // namespace
}  // namespace cgwarden::exporter
