// SPDX-License-Identifier: Apache-2.0
#include "src/record/record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "collectors/collection.h"
#include "src/record/frame.h"
#include "tests/temp_dir.h"
#include "tests/test_data.h"
#include "tests/unit/any_history.h"
#include "tests/unit/cgtop_snapshots.h"

namespace cgwarden {
namespace {

using namespace std::chrono_literals;
using model::Value;
using record::RecordingReader;
using record::RecordingWriter;

struct Folder : testing_files::TempDir {
  [[nodiscard]] std::string file(const char* name = "recording") const { return path() + "/" + name; }
};

std::string read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}
void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

bool same(const model::Container& a, const model::Container& b) {
  for (const auto& f : model::kTextFacts) {
    if (a.*f.member != b.*f.member) return false;
  }
  for (const auto& f : model::kNumberFacts) {
    if (a.*f.member != b.*f.member) return false;
  }
  for (const auto& f : model::kTimeFacts) {
    if (a.*f.member != b.*f.member) return false;
  }
  return a.role == b.role && a.labels == b.labels &&
         std::equal(a.origins.begin(), a.origins.end(), b.origins.begin(), b.origins.end(),
                    [](const auto& x, const auto& y) { return x.fact == y.fact && x.source == y.source; });
}

// Returns the name of the first part that differs, or an empty string.
std::string difference(const model::Snapshot& a, const model::Snapshot& b) {
  if (a.begun != b.begun || a.taken != b.taken || a.taken_wall != b.taken_wall) return "times";
  if (a.catalogue != b.catalogue) return "catalogue";
  if (!a.cgroup_list != !b.cgroup_list) return "cgroup list";
  if (a.cgroup_list) {
    if (a.cgroup_list->generation != b.cgroup_list->generation || a.cgroup_list->parents != b.cgroup_list->parents)
      return "cgroup list";
    if (a.cgroup_list->cgroups.size() != b.cgroup_list->cgroups.size()) return "count of cgroups";
    for (std::size_t g = 0; g < a.cgroup_list->cgroups.size(); ++g) {
      const auto& x = *a.cgroup_list->cgroups[g];
      const auto& y = *b.cgroup_list->cgroups[g];
      if (x.id != y.id || x.path != y.path || x.created != y.created || x.creation_observed != y.creation_observed)
        return "cgroup " + x.path;
    }
  }
  if (!a.hierarchies != !b.hierarchies) return "hierarchies";
  if (a.hierarchies && !std::equal(a.hierarchies->begin(), a.hierarchies->end(), b.hierarchies->begin(),
                                   b.hierarchies->end(), [](const auto& x, const auto& y) {
                                     return x.version == y.version && x.controllers == y.controllers &&
                                            x.mount_point == y.mount_point;
                                   })) {
    return "hierarchies";
  }
  if (!a.containers != !b.containers) return "containers";
  if (a.containers) {
    const auto& x = *a.containers;
    const auto& y = *b.containers;
    if (x.generation != y.generation || x.by_cgroup.size() != y.by_cgroup.size()) return "containers";
    for (const auto& [key, container] : x.by_cgroup) {
      const auto at = y.by_cgroup.find(key);
      if (at == y.by_cgroup.end() || !same(*container, *at->second)) return "a container";
    }
    if (!std::equal(x.exited.begin(), x.exited.end(), y.exited.begin(), y.exited.end(),
                    [](const auto& p, const auto& q) {
                      return p.cgroup_id == q.cgroup_id && p.path == q.path && p.seen_gone == q.seen_gone &&
                             (p.container ? q.container && same(*p.container, *q.container) : !q.container);
                    })) {
      return "exited containers";
    }
  }
  if (a.columns.size() != b.columns.size()) return "count of columns";
  for (std::size_t f = 0; f < a.columns.size(); ++f) {
    const auto& x = a.columns[f];
    const auto& y = b.columns[f];
    const std::string column(a.catalogue->field(static_cast<model::FieldId>(f)).name);
    if (x.dense != y.dense) return "column " + column;
    if (!std::equal(x.series.begin(), x.series.end(), y.series.begin(), y.series.end(),
                    [&](const model::Series& p, const model::Series& q) {
                      return p.cgroup == q.cgroup && p.value == q.value && x.text_of(p) == y.text_of(q);
                    })) {
      return "series of " + column;
    }
  }
  if (a.collectors.size() != b.collectors.size()) return "collectors";
  for (std::size_t c = 0; c < a.collectors.size(); ++c) {
    const auto& x = a.collectors[c];
    const auto& y = b.collectors[c];
    if (x.enabled != y.enabled || x.duration != y.duration || x.errors_now != y.errors_now || x.reads != y.reads ||
        x.bytes != y.bytes || x.errors != y.errors || x.unknown_keys != y.unknown_keys) {
      return "a collector's counters";
    }
  }
  const auto& t = a.tree;
  const auto& u = b.tree;
  if (t.cgroups_created != u.cgroups_created || t.cgroups_removed != u.cgroups_removed || t.walks != u.walks ||
      t.watch_overflows != u.watch_overflows || t.watches != u.watches || t.dropped_cgroups != u.dropped_cgroups ||
      t.open_files != u.open_files || t.inotify_active != u.inotify_active) {
    return "the tree's counters";
  }
  return "";
}

model::SnapshotPtr simple(double at, std::int64_t cpu = 0) {
  return test::SnapshotMaker(at)
      .cgroup(1, "/")
      .set("cpu_usage", cpu)
      .cgroup(2, "/a.slice")
      .set("cpu_usage", cpu / 2)
      .make();
}

// Options for blocks of one sample each.
RecordingWriter::Options small_blocks() {
  RecordingWriter::Options options;
  options.block_span = 0s;
  return options;
}

TEST(Recording, RestoresAnyHistoryUnchanged) {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    const Folder folder;
    test::AnyHistory history(seed);
    std::vector<std::pair<model::SnapshotPtr, std::string>> all;
    RecordingWriter::Options options;
    options.block_span = std::chrono::seconds(seed * 5);
    {
      auto writer = RecordingWriter::open(folder.file(), test::catalogue(), options);
      ASSERT_TRUE(writer) << writer.error().what;
      for (int i = 0; i < 30; ++i) {
        all.emplace_back(history.next(), history.any_text());
        ASSERT_TRUE((*writer)->add(all.back().first, all.back().second));
      }
    }
    auto reader = RecordingReader::open(folder.file(), test::catalogue());
    ASSERT_TRUE(reader) << reader.error().what;
    ASSERT_EQ((*reader)->size(), all.size());
    EXPECT_EQ((*reader)->lost_bytes(), 0U);
    const auto check = [&](std::size_t i) {
      const auto sample = (*reader)->at(i);
      ASSERT_TRUE(sample) << sample.error().what;
      EXPECT_EQ(difference(*all[i].first, *sample->snapshot), "") << "sample " << i << " of seed " << seed;
      EXPECT_EQ(sample->note, all[i].second);
      EXPECT_EQ((*reader)->moment(i).at, all[i].first->taken_wall);
    };
    for (std::size_t i = 0; i < all.size(); ++i) check(i);
    for (int i = 0; i < 20; ++i) check(history.below(all.size()));  // and in random order
  }
}

TEST(Recording, RestoresSnapshotsOfARecordedHost) {
  collectors::CollectionOptions options;
  const std::string host = test::test_data() / "hosts/v2";
  options.paths.procfs = host + "/proc";
  options.paths.sysfs = host + "/sys";
  options.paths.cgroupfs = host + "/sys/fs/cgroup";
  options.paths.rootfs = host;
  auto collection = collectors::Collection::open(test::catalogue(), options, [](const std::string&) {});
  ASSERT_TRUE(collection);
  const model::SnapshotPtr first = (*collection)->collect();
  const model::SnapshotPtr second = (*collection)->collect();
  const Folder folder;
  {
    auto writer = RecordingWriter::open(folder.file(), test::catalogue(), {});
    ASSERT_TRUE(writer);
    ASSERT_TRUE((*writer)->add(first));
    ASSERT_TRUE((*writer)->add(second));
  }
  auto reader = RecordingReader::open(folder.file(), test::catalogue());
  ASSERT_TRUE(reader);
  EXPECT_EQ(difference(*first, *(*reader)->at(0)->snapshot), "");
  EXPECT_EQ(difference(*second, *(*reader)->at(1)->snapshot), "");
}

TEST(RecordingReader, LosesOnlyTheDamagedBlock) {
  const Folder folder;
  {
    auto writer = RecordingWriter::open(folder.file(), test::catalogue(), small_blocks());
    ASSERT_TRUE(writer);
    for (int i = 0; i < 5; ++i) ASSERT_TRUE((*writer)->add(simple(i, i * 1'000'000)));
  }
  const auto whole = read_bytes(folder.file());
  auto reader = RecordingReader::open(folder.file(), test::catalogue());
  ASSERT_TRUE(reader);
  const auto [at, size] = (*reader)->block_extent(2);
  // Damage each seventh byte of the block.
  for (std::uint64_t byte = at; byte < at + size; byte += 7) {
    auto bytes = whole;
    bytes[byte] = static_cast<char>(bytes[byte] ^ 0x21);
    write_bytes(folder.file("damaged"), bytes);
    auto damaged = RecordingReader::open(folder.file("damaged"), test::catalogue());
    ASSERT_TRUE(damaged) << damaged.error().what;
    ASSERT_EQ((*damaged)->size(), 4U) << "byte " << byte - at;
    EXPECT_EQ((*damaged)->lost_bytes(), size);
    EXPECT_EQ((*damaged)->lost_ranges(), 1U);
    EXPECT_TRUE((*damaged)->moment(2).after_gap);
    EXPECT_FALSE((*damaged)->moment(3).after_gap);
    EXPECT_EQ(difference(*simple(3, 3'000'000), *(*damaged)->at(2)->snapshot), "");
  }
}

TEST(RecordingReader, LosesOnlyTheLastBlockOfATruncatedFile) {
  const Folder folder;
  {
    auto writer = RecordingWriter::open(folder.file(), test::catalogue(), small_blocks());
    for (int i = 0; i < 3; ++i) ASSERT_TRUE((*writer)->add(simple(i)));
  }
  const auto whole = read_bytes(folder.file());
  const auto last = (*RecordingReader::open(folder.file(), test::catalogue()))->block_extent(2).first;
  for (auto size = last; size < whole.size(); size += 5) {
    write_bytes(folder.file("cut"), whole.substr(0, size));
    auto cut = RecordingReader::open(folder.file("cut"), test::catalogue());
    ASSERT_TRUE(cut);
    EXPECT_EQ((*cut)->size(), 2U);
    EXPECT_EQ((*cut)->lost_bytes(), size - last);
  }
}

TEST(RecordingWriter, AppendsToATruncatedFileAndRecordsTheGap) {
  const Folder folder;
  {
    auto writer = RecordingWriter::open(folder.file(), test::catalogue(), small_blocks());
    for (int i = 0; i < 3; ++i) ASSERT_TRUE((*writer)->add(simple(i)));
  }
  const auto whole = read_bytes(folder.file());
  write_bytes(folder.file(), whole.substr(0, whole.size() - 20));
  {
    auto writer = RecordingWriter::open(folder.file(), test::catalogue(), small_blocks());
    ASSERT_TRUE(writer) << writer.error().what;
    ASSERT_EQ((*writer)->resumed_after(), simple(1)->taken_wall);
    ASSERT_TRUE((*writer)->add_gap(*(*writer)->resumed_after(), simple(9)->taken_wall, "nobody recorded"));
    ASSERT_TRUE((*writer)->add(simple(9)));
  }
  auto reader = RecordingReader::open(folder.file(), test::catalogue());
  ASSERT_EQ((*reader)->size(), 3U);
  EXPECT_TRUE((*reader)->moment(2).after_gap);
  ASSERT_EQ((*reader)->gaps().size(), 2U);
  EXPECT_EQ((*reader)->gaps()[1].why, "nobody recorded");
  EXPECT_EQ((*reader)->find(simple(8)->taken_wall), 1U);
  EXPECT_EQ((*reader)->find(simple(9)->taken_wall), 2U);
  EXPECT_FALSE((*reader)->find(simple(-1)->taken_wall));
}

TEST(RecordingWriter, RemovesTheOldestBlocksAtTheSizeLimit) {
  const Folder folder;
  auto options = small_blocks();
  options.max_bytes = 12'000;
  auto writer = RecordingWriter::open(folder.file(), test::catalogue(), options);
  test::AnyHistory history(7);
  model::SnapshotPtr last;
  const auto one = [&] {
    last = simple(static_cast<double>(history.below(1000)), static_cast<std::int64_t>(history.below(1'000'000)));
    return last;
  };
  for (int i = 0; i < 120; ++i) {
    ASSERT_TRUE((*writer)->add(one()));
    struct stat status {};
    ASSERT_EQ(::stat(folder.file().c_str(), &status), 0);
    ASSERT_LE(status.st_size, 12'000);
    ASSERT_EQ(static_cast<std::uint64_t>(status.st_size), (*writer)->bytes());
  }
  auto reader = RecordingReader::open(folder.file(), test::catalogue());
  ASSERT_TRUE(reader);
  EXPECT_EQ((*reader)->lost_bytes(), 0U);
  EXPECT_GT((*reader)->size(), 5U);
  EXPECT_EQ(difference(*last, *(*reader)->at((*reader)->size() - 1)->snapshot), "");
}

TEST(RecordingWriter, RemovesBlocksThatAreTooOld) {
  const Folder folder;
  auto options = small_blocks();
  options.max_age = 10s;
  auto writer = RecordingWriter::open(folder.file(), test::catalogue(), options);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE((*writer)->add(simple(i)));
  auto reader = RecordingReader::open(folder.file(), test::catalogue());
  EXPECT_GE((*reader)->size(), 10U);
  EXPECT_LE((*reader)->size(), 13U);
  EXPECT_EQ((*reader)->moment((*reader)->size() - 1).at, simple(99)->taken_wall);
}

TEST(RecordingWriter, FailsIfAnotherProgramRecordsIntoTheFile) {
  const Folder folder;
  auto first = RecordingWriter::open(folder.file(), test::catalogue(), {});
  ASSERT_TRUE(first);
  auto second = RecordingWriter::open(folder.file(), test::catalogue(), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, EWOULDBLOCK);
}

TEST(RecordingWriter, DoesNotChangeAFileThatIsNotARecording) {
  const Folder folder;
  write_bytes(folder.file(), "not a recording");
  auto writer = RecordingWriter::open(folder.file(), test::catalogue(), {});
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().code, record::kDamaged);
  EXPECT_EQ(read_bytes(folder.file()), "not a recording");
}

TEST(RecordingReader, RejectsANewerFormatVersion) {
  const Folder folder;
  {
    auto writer = RecordingWriter::open(folder.file(), test::catalogue(), {});
    ASSERT_TRUE((*writer)->add(simple(1)));
  }
  auto bytes = read_bytes(folder.file());
  auto header = record::parse_header(bytes);
  ASSERT_TRUE(header);
  header->version = record::kVersion + 1;
  bytes.replace(0, record::kHeaderBytes, record::to_bytes(*header));
  write_bytes(folder.file(), bytes);
  const auto newer = RecordingReader::open(folder.file(), test::catalogue());
  ASSERT_FALSE(newer);
  EXPECT_EQ(newer.error().code, record::kDamaged);
  EXPECT_NE(newer.error().what.find("unsupported format version 2: this program reads version 1"), std::string::npos)
      << newer.error().what;
}

TEST(RecordingReader, OmitsFieldsThatTheCatalogueLacks) {
  using model::Field;
  static constexpr Field rows[] = {
      {.name = "cpu_usage",
       .kind = model::MetricKind::counter,
       .unit = model::Unit::seconds,
       .derived = "x",
       .since = "5.4",
       .help = "Known."},
      {.name = "memory_current",
       .kind = model::MetricKind::gauge,
       .unit = model::Unit::none,
       .derived = "x",
       .since = "5.4",
       .help = "Another unit."},
      {.name = "tomorrow", .kind = model::MetricKind::gauge, .derived = "x", .since = "9.9", .help = "New."},
  };
  const model::CollectorInfo info{"cpu", "x", true, rows};
  const auto other = std::make_shared<const model::Catalogue>(std::span(&info, 1));
  const Folder folder;
  {
    auto writer = RecordingWriter::open(folder.file(), test::catalogue(), {});
    ASSERT_TRUE((*writer)->add(test::SnapshotMaker(1)
                                   .cgroup(1, "/")
                                   .set("cpu_usage", 5)
                                   .set("memory_current", 6)
                                   .set("pids_current", 7)
                                   .make()));
  }
  auto reader = RecordingReader::open(folder.file(), other);
  ASSERT_TRUE(reader);
  const auto sample = (*reader)->at(0);
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->snapshot->value(0, 0), Value::of(5));
  EXPECT_EQ(sample->snapshot->value(1, 0), Value::absent());
  EXPECT_EQ(sample->snapshot->value(2, 0), Value::absent());
  EXPECT_THAT((*reader)->unknown_fields(), (std::vector<std::string>{"memory_current", "pids_current"}));
}

TEST(MarksBetween, ReturnsEventsBetweenTwoSnapshots) {
  using record::marks_between;
  const auto make = [](std::int64_t kills, std::int64_t frozen, std::uint64_t id) {
    return test::SnapshotMaker(1)
        .cgroup(1, "/")
        .cgroup(id, "/a")
        .set("memory_events_oom_kill", kills)
        .set("frozen", frozen)
        .make();
  };
  EXPECT_EQ(marks_between(*make(1, 0, 2), *make(1, 0, 2)), 0);
  EXPECT_EQ(marks_between(*make(1, 0, 2), *make(2, 0, 2)), record::kOomKilled);
  EXPECT_EQ(marks_between(*make(1, 0, 2), *make(1, 1, 2)), record::kFrozen);
  EXPECT_EQ(marks_between(*make(1, 0, 2), *make(1, 0, 3)), record::kCreated | record::kRemoved);
}

}  // namespace
}  // namespace cgwarden
