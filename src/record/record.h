// SPDX-License-Identifier: Apache-2.0
// Snapshots in a file, and back, bit for bit.
//
//   file    block block block ...        appended only, so two recordings of one host may be put together with cat(1)
//   block   header    magic, version, sizes, CRC-32 of each part
//           index     time and marks of each sample, gaps; read without unpacking anything
//           payload   zstd: the fields' names, then what changed from sample to sample (block.h)
//
// Every block can be read by itself and names its fields, so a damaged or cut place costs the block it is in, and a
// program with other fields reads those it knows. Integers are little-endian. A file is somebody else's: everything
// read is checked and bounded.
//
// Threads: none of its own; an object belongs to one thread at a time.
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

// Error::code of a file that is no recording, or of a newer version, or where nothing can be read.
inline constexpr int kDamaged = -1;

// What happened between the sample before and this one.
enum Mark : std::uint8_t {
  kCreationObserved = 1,  // a cgroup was made
  kDied = 2,              // one was removed
  kOomKilled = 4,         // memory.events: oom_kill grew
  kFrozen = 8,            // a cgroup was frozen or thawed
};
std::uint8_t marks_between(const model::Snapshot& before, const model::Snapshot& now);

// Percent of one core that the topmost cgroup used between the two; 0 when that is not known.
std::uint32_t cpu_between(const model::SnapshotPtr& before, const model::SnapshotPtr& now);

class BlockEncoder;
class BlockDecoder;

class Writer {
 public:
  struct Options {
    std::uint64_t max_bytes = 0;      // 0: no limit. The oldest blocks go first, an eighth of the file at a time.
    std::chrono::seconds max_age{0};  // 0: no limit; blocks that ended longer ago go
    // A block ends with its time, or when it is large. What was not yet written is lost with the program.
    std::chrono::seconds block_span = std::chrono::minutes(5);
    int level = 9;  // zstd's
  };

  // Makes the file, or goes on with it. Errors: kDamaged when it is something else; EWOULDBLOCK when another program
  // records into it.
  static base::Result<std::unique_ptr<Writer>> open(const std::string& path,
                                                    std::shared_ptr<const model::Catalogue> catalogue, Options options);
  // Writes what waits, and keeps silent about errors: close() tells them.
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // All snapshots must be of the catalogue. `note` belongs to the caller and comes back as it is.
  base::Result<void> add(const model::SnapshotPtr& snapshot, std::string_view note = {});
  // Nothing was recorded between the two.
  base::Result<void> add_gap(base::Wall from, base::Wall to, std::string_view why);
  // Writes what waits.
  base::Result<void> flush();

  [[nodiscard]] std::uint64_t bytes() const { return size_; }
  [[nodiscard]] std::uint64_t samples() const { return samples_; }
  // The last sample that the file held when it was opened.
  [[nodiscard]] std::optional<base::Wall> resumed_after() const { return resumed_after_; }

 private:
  struct Block {
    std::uint64_t at = 0;
    std::uint64_t size = 0;
    base::Wall last;
  };
  Writer(std::string path, base::Fd file, std::shared_ptr<const model::Catalogue> catalogue, Options options);
  base::Result<void> make_room(std::uint64_t bytes, base::Wall now);

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

class Reader {
 public:
  // Of the index: known without unpacking.
  struct Moment {
    base::Wall at;
    std::uint8_t marks = 0;  // Mark
    std::uint32_t cpu = 0;   // percent of one core that the topmost cgroup used since the sample before
    bool after_gap = false;  // nothing was recorded, or it was lost, between the sample before and this one
    std::uint32_t block = 0;
    std::uint32_t in_block = 0;
  };
  struct Gap {
    base::Wall from;
    base::Wall to;
    std::string why;
  };

  // Reads all of the index and checks every block. Errors: kDamaged, or errno. Snapshots are of `catalogue`; fields
  // that it does not have, or has with another meaning, are left out.
  static base::Result<std::unique_ptr<Reader>> open(const std::string& path,
                                                    std::shared_ptr<const model::Catalogue> catalogue);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  [[nodiscard]] std::size_t size() const { return moments_.size(); }  // samples
  [[nodiscard]] std::size_t block_count() const { return blocks_.size(); }
  // Where in the file, and how large.
  [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> block_place(std::size_t block) const;
  [[nodiscard]] const Moment& moment(std::size_t i) const { return moments_[i]; }
  [[nodiscard]] const std::vector<Gap>& gaps() const { return gaps_; }
  // Bytes that belong to no readable block, and how many places they are in.
  [[nodiscard]] std::uint64_t lost_bytes() const { return lost_bytes_; }
  [[nodiscard]] std::size_t lost_places() const { return lost_places_; }
  [[nodiscard]] const std::vector<std::string>& unknown_fields() const { return unknown_fields_; }

  // The newest sample that is not later than `at`; nothing when all are.
  [[nodiscard]] std::optional<std::size_t> find(base::Wall at) const;
  // Going on with the next sample costs one sample; anywhere else, up to one block. Error: kDamaged.
  base::Result<Sample> at(std::size_t i);

 private:
  struct Block {
    std::uint64_t at = 0;
    std::uint32_t payload_at = 0;  // from there
    std::uint32_t packed = 0;
    std::uint32_t raw = 0;
  };
  Reader(base::Fd file, std::shared_ptr<const model::Catalogue> catalogue);
  base::Result<void> scan();
  base::Result<std::unique_ptr<BlockDecoder>> unpack(const Block& block);

  base::Fd file_;
  std::shared_ptr<const model::Catalogue> catalogue_;
  std::vector<Block> blocks_;
  std::vector<Moment> moments_;
  std::vector<Gap> gaps_;
  std::vector<std::string> unknown_fields_;
  std::uint64_t lost_bytes_ = 0;
  std::size_t lost_places_ = 0;
  std::unique_ptr<BlockDecoder> decoder_;
  std::size_t decoded_block_ = 0;
  std::size_t next_in_block_ = 0;
  // The last few, as a screen looks at two neighbours and goes back and forth.
  std::vector<std::pair<std::size_t, Sample>> recent_;
};

}  // namespace cgwarden::record
