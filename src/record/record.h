// SPDX-License-Identifier: Apache-2.0
// Recordings: writes snapshots to a file and reads them back unchanged.
//
//   file    block block block ...        append-only, so that recordings of one host can be concatenated with cat(1)
//   block   header    magic, version, sizes, CRC-32 of each part
//           index     time and marks of each sample, gaps; read without decompressing the payload
//           payload   zstd: field names, then the changes from sample to sample (block.h)
//
// Each block can be read independently and names its fields. Damage or truncation therefore loses only the block that
// it affects, and a program with other fields reads those that it knows. Integers of the header are little-endian.
// Files are untrusted: all input is checked and bounded.
//
// Thread: any; an object belongs to one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/clock.h"
#include "src/base/fd.h"
#include "src/base/result.h"
#include "src/model/snapshot.h"

namespace cgwarden::record {

inline constexpr std::uint16_t kVersion = 1;

// Error::code if the file is not a recording, has a newer format version, or has no readable block.
inline constexpr int kDamaged = -1;

// Events between the previous sample and this one.
enum Mark : std::uint8_t {
  kCreated = 1,    // a cgroup was created
  kRemoved = 2,    // a cgroup was removed
  kOomKilled = 4,  // oom_kill of memory.events increased
  kFrozen = 8,     // a cgroup was frozen or thawed
};
// Returns the marks (Mark) of the events between the two snapshots.
std::uint8_t marks_between(const model::Snapshot& before, const model::Snapshot& now);

// Returns the CPU usage of the root cgroup between the two snapshots in percent of one core; 0 if it is unknown.
std::uint32_t cpu_between(const model::SnapshotPtr& before, const model::SnapshotPtr& now);

class BlockEncoder;
class BlockDecoder;

class RecordingWriter {
 public:
  struct Options {
    std::uint64_t max_bytes = 0;      // 0: unlimited. The oldest blocks are removed, one eighth of the limit at a time.
    std::chrono::seconds max_age{0};  // 0: unlimited. Blocks whose last sample is older are removed.
    // A block is written after this time, or earlier if it is large. If the program is killed, the open block is lost.
    std::chrono::seconds block_span = std::chrono::minutes(5);
    int level = 9;  // zstd compression level
  };

  // Creates the file, or appends to it. Errors: kDamaged if the file is not a recording, EWOULDBLOCK if another program
  // records into it, or the errno of a system call.
  static base::Result<std::unique_ptr<RecordingWriter>> open(const std::string& path,
                                                             std::shared_ptr<const model::Catalogue> catalogue,
                                                             Options options);
  // Writes the open block and ignores errors; call flush() first to get them.
  ~RecordingWriter();
  RecordingWriter(const RecordingWriter&) = delete;
  RecordingWriter& operator=(const RecordingWriter&) = delete;

  // Adds a sample. The snapshot must use the writer's catalogue. `note` is any text of the caller; it is stored
  // unchanged.
  base::Result<void> add(const model::SnapshotPtr& snapshot, std::string_view note = {});
  // Records that there are no samples between the two times, and why.
  base::Result<void> add_gap(base::Wall from, base::Wall to, std::string_view why);
  // Writes the open block.
  base::Result<void> flush();

  [[nodiscard]] std::uint64_t bytes() const { return size_; }
  [[nodiscard]] std::uint64_t samples() const { return samples_; }
  // Time of the last sample in the file when it was opened; nullopt if it had none.
  [[nodiscard]] std::optional<base::Wall> resumed_after() const { return resumed_after_; }

 private:
  struct Block {
    std::uint64_t at = 0;
    std::uint64_t size = 0;
    base::Wall last;
  };
  RecordingWriter(std::string path, base::Fd file, std::shared_ptr<const model::Catalogue> catalogue, Options options);
  base::Result<void> remove_old_blocks(std::uint64_t bytes, base::Wall now);

  std::string path_;
  base::Fd file_;
  std::shared_ptr<const model::Catalogue> catalogue_;
  Options options_;
  std::uint64_t size_ = 0;
  std::uint64_t samples_ = 0;
  std::vector<Block> blocks_;
  std::optional<base::Wall> resumed_after_;
  std::unique_ptr<BlockEncoder> open_;
  model::SnapshotPtr last_;
};

struct Sample {
  model::SnapshotPtr snapshot;
  std::string note;
};

class RecordingReader {
 public:
  // A sample as listed in the index, available without decompression.
  struct Moment {
    base::Wall at;
    std::uint8_t marks = 0;  // Mark
    std::uint32_t cpu = 0;   // CPU usage of the root cgroup since the previous sample, percent of one core
    bool after_gap = false;  // samples between the previous one and this one were not recorded or are lost
    std::uint32_t block = 0;
    std::uint32_t in_block = 0;
  };
  struct Gap {
    base::Wall from;
    base::Wall to;
    std::string why;
  };

  // Reads the whole index and checks each block. Errors: kDamaged, or errno. Snapshots use `catalogue`; recorded fields
  // that it does not have, or has with another kind, unit or labels, are omitted and listed in unknown_fields().
  static base::Result<std::unique_ptr<RecordingReader>> open(const std::string& path,
                                                             std::shared_ptr<const model::Catalogue> catalogue);
  ~RecordingReader();
  RecordingReader(const RecordingReader&) = delete;
  RecordingReader& operator=(const RecordingReader&) = delete;

  [[nodiscard]] std::size_t size() const { return moments_.size(); }  // samples
  [[nodiscard]] std::size_t block_count() const { return blocks_.size(); }
  // Returns offset and size of the block in the file.
  [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> block_extent(std::size_t block) const;
  [[nodiscard]] const Moment& moment(std::size_t i) const { return moments_[i]; }
  [[nodiscard]] const std::vector<Gap>& gaps() const { return gaps_; }
  // Bytes that belong to no readable block, and the number of contiguous ranges of them.
  [[nodiscard]] std::uint64_t lost_bytes() const { return lost_bytes_; }
  [[nodiscard]] std::size_t lost_ranges() const { return lost_ranges_; }
  [[nodiscard]] const std::vector<std::string>& unknown_fields() const { return unknown_fields_; }

  // Returns the newest sample that is not later than `at`; nullopt if all are later.
  [[nodiscard]] std::optional<std::size_t> find(base::Wall at) const;
  // Returns sample `i`. Reading the next sample decodes one sample, any other up to one block. Error: kDamaged.
  base::Result<Sample> at(std::size_t i);

 private:
  struct Block {
    std::uint64_t at = 0;
    std::uint32_t payload_at = 0;  // relative to `at`
    std::uint32_t packed = 0;      // compressed size of the payload
    std::uint32_t raw = 0;         // size of the payload
  };
  RecordingReader(base::Fd file, std::shared_ptr<const model::Catalogue> catalogue);
  base::Result<void> scan();
  base::Result<std::unique_ptr<BlockDecoder>> unpack(const Block& block);

  base::Fd file_;
  std::shared_ptr<const model::Catalogue> catalogue_;
  std::vector<Block> blocks_;
  std::vector<Moment> moments_;
  std::vector<Gap> gaps_;
  std::vector<std::string> unknown_fields_;
  std::uint64_t lost_bytes_ = 0;
  std::size_t lost_ranges_ = 0;
  std::unique_ptr<BlockDecoder> decoder_;
  std::size_t decoded_block_ = 0;
  std::size_t next_in_block_ = 0;
  // The last few samples: a screen reads two adjacent samples, and moves back and forth.
  std::vector<std::pair<std::size_t, Sample>> recent_;
};

}  // namespace cgwarden::record
