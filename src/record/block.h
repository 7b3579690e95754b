// SPDX-License-Identifier: Apache-2.0
// The payload of one block: samples, each encoded as the changes since the previous one. The first sample is encoded as
// the changes since an empty snapshot.
//
//   fields       name, kind, unit, labels of each field that has a value in the block
//   collectors   names
//   meta         for each sample: times, cgroup list, hierarchies, containers, counters of the agent, note
//   streams      for each field: its columns of all samples; adjacent data is similar and compresses well
//
// Values are differences to the previous value of the same cgroup, divided by 1000 or 4096 if all differences of the
// column are divisible (the kernel counts microseconds and pages). Runs of unchanged values are stored as their length.
// This file does no I/O and no compression.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "src/base/result.h"
#include "src/model/snapshot.h"
#include "src/record/bytes.h"

namespace cgwarden::record {

// A block is full at this size. Readers reject a block that is larger than this plus one more sample can make it.
inline constexpr std::size_t kBlockRawBytes = 8U << 20U;
inline constexpr std::size_t kBlockValues = 32U << 20U;
inline constexpr std::size_t kMaxRawBytes = 256U << 20U;
inline constexpr std::size_t kMaxValues = 128U << 20U;

// Write and read texts; a repeated text is stored as its number.
class TextTableWriter {
 public:
  void put(ByteWriter& out, std::string_view text);

 private:
  std::unordered_map<std::string, std::uint64_t> known_;
};
class TextTableReader {
 public:
  std::string_view get(ByteReader& in);

 private:
  std::vector<std::string_view> known_;  // views into the payload
};

// Maps the cgroups of a cgroup list to those of the previous list, and back.
class Alignment {
 public:
  void align(const model::CgroupList* before, const model::CgroupList* now);
  [[nodiscard]] std::size_t before(std::size_t now) const { return identical_ ? now : before_[now]; }
  [[nodiscard]] model::CgroupIndex now(model::CgroupIndex before) const {
    if (identical_ || before == model::kNoCgroup) return before;
    return before < now_.size() ? now_[before] : kGone;
  }
  static constexpr std::size_t kNew = static_cast<std::size_t>(-1);
  static constexpr model::CgroupIndex kGone = model::kNoCgroup - 1;
  // For a decoder, which reads the pairs instead of searching for them.
  void begin(std::size_t before_size, std::size_t now_size);
  void pair(std::size_t before, std::size_t now);
  void keep() { identical_ = true; }

 private:
  bool identical_ = true;
  std::vector<std::size_t> before_;
  std::vector<model::CgroupIndex> now_;
};

class BlockEncoder {
 public:
  explicit BlockEncoder(std::shared_ptr<const model::Catalogue> catalogue);
  void add(const model::SnapshotPtr& snapshot, std::string_view note);
  [[nodiscard]] std::string finish() const;
  [[nodiscard]] bool full() const { return raw_ >= kBlockRawBytes || values_ >= kBlockValues; }
  [[nodiscard]] std::size_t samples() const { return samples_; }

  // Index of the block; filled by the caller.
  ByteWriter index;
  std::size_t index_entries = 0;
  base::Wall first, last;

 private:
  void add_cgroup_list(const model::Snapshot& s);
  void add_hierarchies(const model::Snapshot& s);
  void add_containers(const model::Snapshot& s);
  void add_container(const model::Container& container);
  void add_stats(const model::Snapshot& s);
  void add_column(model::FieldId field, const model::Snapshot& s);

  std::shared_ptr<const model::Catalogue> catalogue_;
  model::SnapshotPtr before_;
  Alignment alignment_;
  ByteWriter meta_;
  TextTableWriter texts_;
  struct Stream {
    ByteWriter bytes;
    TextTableWriter texts;
    bool used = false;
  };
  std::vector<Stream> streams_;
  std::string note_;
  std::size_t samples_ = 0;
  std::size_t raw_ = 0;
  std::size_t values_ = 0;
};

class BlockDecoder {
 public:
  // Error: `payload` is malformed.
  static base::Result<std::unique_ptr<BlockDecoder>> open(std::string payload,
                                                          std::shared_ptr<const model::Catalogue> catalogue);
  // Returns the next sample and its note. Error: all samples have been returned, or the next one is damaged.
  base::Result<std::pair<model::SnapshotPtr, std::string>> next();
  [[nodiscard]] const std::vector<std::string>& unknown_fields() const { return unknown_fields_; }

 private:
  BlockDecoder() = default;
  bool read_cgroup_list(model::Snapshot& s);
  bool read_hierarchies(model::Snapshot& s);
  bool read_containers(model::Snapshot& s);
  model::ContainerPtr read_container();
  void read_stats(model::Snapshot& s);
  struct Stream {
    model::FieldId field = 0;
    ByteReader bytes;
    TextTableReader texts;
  };
  bool read_column(Stream& stream, model::Snapshot& s);

  std::string payload_;
  std::shared_ptr<const model::Catalogue> catalogue_;
  model::SnapshotPtr before_;
  Alignment alignment_;
  ByteReader meta_;
  TextTableReader texts_;
  std::vector<int> collectors_;  // by collector of the block: its CollectorId in our catalogue, or -1
  std::vector<std::array<std::int64_t, 6>> stats_;
  std::array<std::int64_t, 7> tree_{};
  std::vector<Stream> streams_;
  std::vector<std::string> unknown_fields_;
  std::string note_;
  std::size_t values_ = 0;
};

}  // namespace cgwarden::record
