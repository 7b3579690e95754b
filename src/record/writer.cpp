// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "src/model/delta.h"
#include "src/record/block.h"
#include "src/record/frame.h"
#include "src/record/record.h"

namespace cgwarden::record {
namespace {

base::Result<void> write_all(int fd, std::string_view bytes, std::uint64_t at, const std::string& path) {
  while (!bytes.empty()) {
    const auto n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::fail_errno(path + ": cannot write");
    bytes.remove_prefix(static_cast<std::size_t>(n));
    at += static_cast<std::uint64_t>(n);
  }
  return {};
}

std::int64_t sum_of(const model::Snapshot& s, std::optional<model::FieldId> field, model::CgroupIndex g) {
  if (!field) return 0;
  const auto v = s.value(*field, g);
  return v.is_number() ? v.fixed() : 0;
}

}  // namespace

std::uint8_t marks_between(const model::Snapshot& before, const model::Snapshot& now) {
  std::uint8_t marks = 0;
  Alignment alignment;
  alignment.align(before.cgroup_list.get(), now.cgroup_list.get());
  for (std::size_t b = 0; b < before.cgroup_count(); ++b) {
    if (alignment.now(static_cast<model::CgroupIndex>(b)) == Alignment::kGone) marks |= kRemoved;
  }
  if (before.catalogue != now.catalogue || !now.catalogue) return marks;
  const auto oom = now.catalogue->find("memory_events_oom_kill");
  const auto frozen = now.catalogue->find("frozen");
  const auto freezer = now.catalogue->find("freezer_state");
  for (std::size_t g = 0; g < now.cgroup_count(); ++g) {
    const auto b = alignment.before(g);
    if (b == Alignment::kNew) {
      marks |= kCreated;
      continue;
    }
    const auto then = static_cast<model::CgroupIndex>(b);
    const auto here = static_cast<model::CgroupIndex>(g);
    if (sum_of(now, oom, here) > sum_of(before, oom, then)) marks |= kOomKilled;
    if (sum_of(now, frozen, here) != sum_of(before, frozen, then)) marks |= kFrozen;
  }
  if (freezer && before.cgroup_count() == now.cgroup_count()) {
    const auto& a = before.columns[*freezer];
    const auto& b = now.columns[*freezer];
    if (a.series.size() == b.series.size() && a.text != b.text) marks |= kFrozen;
  }
  return marks;
}

std::uint32_t cpu_between(const model::SnapshotPtr& before, const model::SnapshotPtr& now) {
  if (!now || !now->catalogue || now->cgroup_count() == 0) return 0;
  const auto usage = now->catalogue->find("cpu_usage");
  if (!usage) return 0;
  const auto rate = model::Delta(before, now).rate(*usage, 0);
  return rate && *rate > 0 && *rate < 1e6 ? static_cast<std::uint32_t>(std::lround(*rate * 100)) : 0;
}

RecordingWriter::RecordingWriter(std::string path, base::Fd file, std::shared_ptr<const model::Catalogue> catalogue,
                                 Options options)
    : path_(std::move(path)), file_(std::move(file)), catalogue_(std::move(catalogue)), options_(options) {}

RecordingWriter::~RecordingWriter() { (void)flush(); }

base::Result<std::unique_ptr<RecordingWriter>> RecordingWriter::open(const std::string& path,
                                                                     std::shared_ptr<const model::Catalogue> catalogue,
                                                                     Options options) {
  base::Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!file) return base::fail_errno(path + ": cannot write");
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return tl::unexpected(base::Error{EWOULDBLOCK, path + ": another program is recording into this file"});
    }
    return base::fail_errno(path + ": cannot lock");
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return base::fail_errno(path + ": cannot read");
  if (!S_ISREG(status.st_mode)) return tl::unexpected(base::Error{kDamaged, path + ": not a regular file"});
  std::unique_ptr<RecordingWriter> writer(new RecordingWriter(path, std::move(file), std::move(catalogue), options));
  writer->size_ = static_cast<std::uint64_t>(status.st_size);
  if (writer->size_ == 0) return writer;
  const auto reader = RecordingReader::open(path, writer->catalogue_);
  if (!reader) return tl::unexpected(reader.error());
  for (std::size_t b = 0; b < (*reader)->block_count(); ++b) {
    const auto [at, size] = (*reader)->block_extent(b);
    writer->blocks_.push_back({at, size, {}});
  }
  for (std::size_t i = 0; i < (*reader)->size(); ++i) {
    const auto& moment = (*reader)->moment(i);
    writer->blocks_[moment.block].last = moment.at;
    writer->resumed_after_ = moment.at;
  }
  return writer;
}

base::Result<void> RecordingWriter::add(const model::SnapshotPtr& snapshot, std::string_view note) {
  if (!open_) open_ = std::make_unique<BlockEncoder>(catalogue_);
  put_sample(open_->index, snapshot->taken_wall, last_ ? marks_between(*last_, *snapshot) : std::uint8_t{0},
             cpu_between(last_, snapshot));
  open_->add(snapshot, note);
  last_ = snapshot;
  ++samples_;
  if (open_->full() || open_->last - open_->first >= options_.block_span) return flush();
  return {};
}

base::Result<void> RecordingWriter::add_gap(base::Wall from, base::Wall to, std::string_view why) {
  if (!open_) open_ = std::make_unique<BlockEncoder>(catalogue_);
  put_gap(open_->index, from, to, why);
  return {};
}

base::Result<void> RecordingWriter::flush() {
  if (!open_ || open_->samples() == 0) return {};
  const auto block = std::exchange(open_, nullptr);
  const auto raw = block->finish();
  std::string packed(ZSTD_compressBound(raw.size()), '\0');
  const auto size = ZSTD_compress(packed.data(), packed.size(), raw.data(), raw.size(), options_.level);
  if (ZSTD_isError(size) != 0) return base::fail(path_ + ": cannot compress: " + ZSTD_getErrorName(size));
  packed.resize(size);
  const auto& index = block->index.bytes();
  if (raw.size() > kMaxRawBytes || index.size() > kMaxRawBytes)
    return base::fail(path_ + ": a sample is too large to be recorded");
  Header header;
  header.index_size = static_cast<std::uint32_t>(index.size());
  header.packed_size = static_cast<std::uint32_t>(packed.size());
  header.raw_size = static_cast<std::uint32_t>(raw.size());
  header.index_crc = crc32(index);
  header.payload_crc = crc32(packed);
  const auto bytes = to_bytes(header) + index + packed;
  if (auto removed = remove_old_blocks(bytes.size(), block->last); !removed) return removed;
  if (auto written = write_all(file_.get(), bytes, size_, path_); !written) {
    // Remove the incomplete block. If this fails, readers skip the block.
    [[maybe_unused]] const int truncated = ::ftruncate(file_.get(), static_cast<off_t>(size_));
    return written;
  }
  blocks_.push_back({size_, bytes.size(), block->last});
  size_ += bytes.size();
  return {};
}

// The start of a file cannot be removed, so that the remaining blocks are copied to a new file. Enough blocks are
// removed at once to do this rarely.
base::Result<void> RecordingWriter::remove_old_blocks(std::uint64_t bytes, base::Wall now) {
  const auto limit = options_.max_bytes;
  const bool too_large = limit != 0 && size_ + bytes > limit;
  std::size_t keep_from = 0;
  std::uint64_t too_old = 0;
  if (options_.max_age.count() > 0) {
    while (keep_from < blocks_.size() && blocks_[keep_from].last < now - options_.max_age) ++keep_from;
    too_old = keep_from < blocks_.size() ? blocks_[keep_from].at : size_;
  }
  if (!too_large && (too_old == 0 || too_old < size_ / 8)) return {};
  if (limit != 0 && bytes > limit)
    return base::fail(path_ + ": one block is larger than the size limit of the recording (raise the limit)");
  if (too_large) {
    const auto wanted = limit - std::min(limit, std::max(limit / 8, bytes));
    while (keep_from < blocks_.size() && size_ - blocks_[keep_from].at > wanted) ++keep_from;
  }
  const auto from = keep_from < blocks_.size() ? blocks_[keep_from].at : size_;
  const auto other = path_ + ".new";
  base::Fd file(::open(other.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!file) return base::fail_errno(other + ": cannot write");
  const auto copy = [&]() -> base::Result<void> {
    struct stat status {};
    if (::fstat(file_.get(), &status) == 0) (void)::fchmod(file.get(), status.st_mode & 07777U);
    std::string buffer(1U << 20U, '\0');
    for (auto at = from; at < size_;) {
      const auto n = ::pread(file_.get(), buffer.data(), std::min<std::uint64_t>(buffer.size(), size_ - at),
                             static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return base::fail_errno(path_ + ": cannot read");
      if (auto written =
              write_all(file.get(), std::string_view(buffer).substr(0, static_cast<std::size_t>(n)), at - from, other);
          !written) {
        return written;
      }
      at += static_cast<std::uint64_t>(n);
    }
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0 || ::fsync(file.get()) != 0 ||
        ::rename(other.c_str(), path_.c_str()) != 0) {
      return base::fail_errno(path_ + ": cannot replace");
    }
    return {};
  };
  if (auto copied = copy(); !copied) {
    ::unlink(other.c_str());
    return copied;
  }
  file_ = std::move(file);
  blocks_.erase(blocks_.begin(), blocks_.begin() + static_cast<std::ptrdiff_t>(keep_from));
  for (auto& block : blocks_) block.at -= from;
  size_ -= from;
  return {};
}

}  // namespace cgwarden::record
