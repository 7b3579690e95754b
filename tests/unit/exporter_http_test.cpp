// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <random>

#include "exporter/gzip.h"
#include "exporter/http.h"
#include "exporter/listener.h"
#include "tests/temp_dir.h"
#include "tests/unit/exporter_fixture.h"

namespace cgwarden::exporter {
namespace {

using ::testing::HasSubstr;
using namespace cgwarden::exporter::testing;  // NOLINT
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Negotiate, SelectsTheFormatWithTheHighestWeight) {
  const std::string text = "text/plain; version=0.0.4; charset=utf-8";
  const std::string one = "application/openmetrics-text; version=1.0.0; charset=utf-8";
  const std::string zero = "application/openmetrics-text; version=0.0.1; charset=utf-8";
  const std::vector<std::pair<std::string, std::string>> table = {
      {"", text},
      {"*/*", text},
      {"text/plain", text},
      {"text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8", text},
      {"application/openmetrics-text", one},
      {"application/openmetrics-text; version=1.0.0", one},
      {"application/openmetrics-text; version=\"1.0.0\"", one},
      {"APPLICATION/OpenMetrics-Text;VERSION=0.0.1", zero},
      {"application/openmetrics-text;version=7.0.0", text},
      {"application/openmetrics-text;q=0, text/plain", text},
      {"application/openmetrics-text;q=0", text},
      {"application/openmetrics-text;q=0.4,text/plain;q=0.5", text},
      {"text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0", one},
      {"*/*, application/openmetrics-text", text},
      {"application/openmetrics-text;q=nonsense", text},
      {"application/openmetrics-text;q=1.0;x", one},
      {",,;;=, ;q=, text/plain;;", text},
      // Prometheus 2.42 and 3
      {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/"
       "plain;version=0.0.4;q=0.5,*/*;q=0.1",
       one},
      {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/"
       "openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/"
       "plain;version=0.0.4;q=0.3,*/*;q=0.2",
       one},
      {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,text/"
       "plain;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.3",
       text},
  };
  for (const auto& [accept, expected] : table) EXPECT_EQ(negotiate(accept).content_type, expected) << accept;
}

TEST(AcceptsGzip, UsesTheWeightsOfEncodings) {
  const std::vector<std::pair<std::string, bool>> table = {
      {"", false},
      {"gzip", true},
      {"deflate, gzip;q=1.0, *;q=0.5", true},
      {"GZIP", true},
      {"x-gzip", true},
      {"gzip;q=0", false},
      {"gzip;q=0.000", false},
      {"gzip; q=0.5", true},
      {"*", true},
      {"*;q=0", false},
      {"*, gzip;q=0", false},
      {"identity", false},
      {"identity;q=0.5, gzip", true},
      {"identity, gzip;q=0.2", false},
      {"br, zstd", false},
      {"gzipped", false},
  };
  for (const auto& [header, expected] : table) EXPECT_EQ(accepts_gzip(header), expected) << header;
}

TEST(ParseTarget, SplitsAndDecodesPathAndQuery) {
  const auto target = parse_target("/metrics?collect[]=cpu&collect%5B%5D=a%20b+c&&x&=y&bad=%zz%4");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/metrics");
  const std::vector<std::pair<std::string, std::string>> query = {
      {"collect[]", "cpu"}, {"collect[]", "a b c"}, {"x", ""}, {"bad", "%zz%4"}};
  EXPECT_EQ(target->query, query);
  const std::vector<std::pair<std::string, std::string>> paths = {{"http://host:1/metrics?x=1", "/metrics"},
                                                                  {"http://host", "/"},
                                                                  {"http://host?x=/y", "/"},
                                                                  {"/a?u=http://x/", "/a"}};
  for (const auto& [text, path] : paths) {
    const auto parsed = parse_target(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(parsed->path, path);
  }
  EXPECT_FALSE(parse_target("*"));
  EXPECT_FALSE(parse_target(""));
  EXPECT_FALSE(parse_target("host:80"));
}

TEST(ResponseTimeout, SubtractsAMarginAndIgnoresInvalidValues) {
  EXPECT_EQ(response_timeout("10", seconds(1)), milliseconds(9500));
  EXPECT_EQ(response_timeout("1", seconds(1)), milliseconds(900));
  EXPECT_EQ(response_timeout(" 0.5 ", seconds(1)), milliseconds(450));
  for (const auto* invalid : {"", "0", "-1", "nan", "inf", "1e99x", "ten", "1 2"}) {
    EXPECT_EQ(response_timeout(invalid, seconds(7)), seconds(7)) << invalid;
  }
  EXPECT_LE(response_timeout("99999999999999999999", seconds(1)), std::chrono::hours(1));
}

TEST(EscapeHtml, EscapesMarkupAndControlCharacters) {
  EXPECT_EQ(escape_html("<a href=\"x\">&\x1b"), "&lt;a href=&quot;x&quot;&gt;&amp;\\x1b");
}

TEST(HttpDate, FormatsImfFixdate) {
  EXPECT_EQ(http_date(std::chrono::system_clock::from_time_t(784111777)), "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST(Gzip, CompressesWithoutLoss) {
  Gzip gzip;
  Buffer out;
  std::mt19937 random(3);
  std::string random_bytes(300000, ' ');
  for (auto& c : random_bytes) c = static_cast<char>(random());
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "cgroup_x{cgroup=\"/a/" + std::to_string(i) + "\"} 1\n";
  for (const std::string& body :
       {std::string(), std::string("x"), text, random_bytes, std::string(1 << 20, 'a'), text}) {
    ASSERT_TRUE(gzip.compress(body, out));
    EXPECT_EQ(gunzip(out.view()), body);
  }
  EXPECT_LT(out.size(), text.size() / 5);
}

TEST(Gzip, CompressesPiecesOfAnySizeToOneBody) {
  Gzip gzip;
  Buffer out;
  std::mt19937 random(5);
  for (int round = 0; round < 20; ++round) {
    std::string body;
    gzip.start(out);
    for (int i = 0; i < 10; ++i) {
      std::string piece(random() % (i % 3 == 0 ? 200'000 : 70), ' ');
      for (auto& c : piece) c = static_cast<char>('a' + random() % (round % 2 == 0 ? 4 : 60));
      gzip.add(piece);
      body += piece;
    }
    ASSERT_TRUE(gzip.finish());
    ASSERT_EQ(gunzip(out.view()), body);
  }
}

TEST(Buffer, KeepsContentsWhenItGrows) {
  Buffer out;
  std::string expected;
  for (int i = 0; i < 5000; ++i) {
    out.append(std::to_string(i));
    expected += std::to_string(i);
  }
  EXPECT_EQ(out.view(), expected);
  out.truncate(3);
  EXPECT_EQ(out.view(), "012");
}

TEST(BufferPool, ReusesABufferOnlyAfterItsLastReference) {
  BufferPool pool(1);
  auto first = pool.take();
  first->append("a");
  const auto* address = first.get();
  auto second = pool.take();
  EXPECT_NE(second.get(), address);
  first.reset();
  const auto third = pool.take();
  EXPECT_EQ(third.get(), address);
  EXPECT_EQ(third->size(), 0U);
}

TEST(Listener, RejectsInvalidAddresses) {
  for (const auto* address : {"", "10753", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "::1:9", ":-1",
                              "unix:", "unix:relative"}) {
    const auto listener = Listener::open(address);
    ASSERT_FALSE(listener) << address;
    EXPECT_THAT(listener.error().what, HasSubstr(std::string("'") + address + "': invalid listen address ("));
  }
  EXPECT_FALSE(Listener::open("203.0.113.7:0"));
  EXPECT_FALSE(Listener::open("unix:/" + std::string(200, 'x')));
  EXPECT_FALSE(Listener::open("unix:/no/such/folder/sock"));
}

TEST(Listener, ReportsAPortInUse) {
  const auto first = Listener::open("127.0.0.1:0");
  ASSERT_TRUE(first);
  const auto second = Listener::open(first->address());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, EADDRINUSE);
  EXPECT_THAT(second.error().what,
              HasSubstr(first->address() + ": cannot listen: Address already in use (another program"));
}

TEST(Listener, CreatesASocketFileWithMode0660AndRemovesIt) {
  const testing_files::TempDir folder;
  const auto path = folder.path() + "/s";
  struct stat status {};
  {
    const auto listener = Listener::open("unix:" + path);
    ASSERT_TRUE(listener) << listener.error().what;
    EXPECT_EQ(listener->address(), "unix:" + path);
    ASSERT_EQ(::lstat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0660U);
  }
  EXPECT_NE(::lstat(path.c_str(), &status), 0);
}

TEST(Listener, ReplacesASocketFileOnlyIfItIsStale) {
  const testing_files::TempDir folder;
  const auto path = folder.path() + "/s";
  const std::string address = "unix:" + path;
  {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    path.copy(name.sun_path, sizeof name.sun_path - 1);
    const base::Fd left(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(left.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
  }
  const auto first = Listener::open(address);
  ASSERT_TRUE(first) << first.error().what;
  const auto second = Listener::open(address);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, EADDRINUSE);
  EXPECT_TRUE(connect_unix(path));
}

TEST(Listener, DoesNotReplaceOtherFiles) {
  const testing_files::TempDir folder;
  const auto path = folder.path() + "/file";
  { const base::Fd file(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)); }
  const auto listener = Listener::open("unix:" + path);
  ASSERT_FALSE(listener);
  EXPECT_THAT(listener.error().what, HasSubstr("is not a socket"));
  EXPECT_EQ(::unlink(path.c_str()), 0);
}

}  // namespace
}  // namespace cgwarden::exporter
