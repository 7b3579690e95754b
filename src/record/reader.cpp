// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <zstd.h>

#include <algorithm>
#include <utility>

#include "src/record/block.h"
#include "src/record/frame.h"
#include "src/record/record.h"

namespace cgwarden::record {
namespace {

constexpr std::size_t kMaxMoments = 16U << 20U;
constexpr std::size_t kMaxRecentSamples = 4;
constexpr std::size_t kSearchBytes = 1U << 16U;

// Reads up to `size` bytes; fewer at the end of the file.
base::Result<std::string> read_at(int fd, std::uint64_t at, std::size_t size) {
  std::string out(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const auto n = ::pread(fd, out.data() + done, size - done, static_cast<off_t>(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::fail_errno("cannot read the recording");
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  out.resize(done);
  return out;
}

tl::unexpected<base::Error> damaged(std::string what) { return tl::unexpected(base::Error{kDamaged, std::move(what)}); }

}  // namespace

RecordingReader::RecordingReader(base::Fd file, std::shared_ptr<const model::Catalogue> catalogue)
    : file_(std::move(file)), catalogue_(std::move(catalogue)) {}

RecordingReader::~RecordingReader() = default;

base::Result<std::unique_ptr<RecordingReader>> RecordingReader::open(
    const std::string& path, std::shared_ptr<const model::Catalogue> catalogue) {
  base::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return base::fail_errno(path + ": cannot open");
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return base::fail_errno(path + ": cannot open");
  if (!S_ISREG(status.st_mode)) return damaged(path + ": not a regular file");
  std::unique_ptr<RecordingReader> reader(new RecordingReader(std::move(file), std::move(catalogue)));
  if (auto scanned = reader->scan(); !scanned) {
    scanned.error().what.insert(0, path + ": ");
    return tl::unexpected(scanned.error());
  }
  return reader;
}

base::Result<void> RecordingReader::scan() {
  std::uint64_t at = 0;
  std::uint64_t lost_from = 0;
  bool lost = false;
  std::uint16_t newer = 0;
  const auto end_loss = [&](std::uint64_t to) {
    if (!std::exchange(lost, false)) return;
    lost_bytes_ += to - lost_from;
    ++lost_ranges_;
  };
  while (true) {
    const auto head = read_at(file_.get(), at, kHeaderBytes);
    if (!head) return tl::unexpected(head.error());
    if (head->empty()) break;
    const auto header = parse_header(*head);
    const auto skip_to = [&](std::uint64_t next) {
      if (!std::exchange(lost, true)) lost_from = at;
      at = next;
    };
    if (!header) {
      // Search for the next possible start of a block.
      const auto some = read_at(file_.get(), at + 1, kSearchBytes + kMagic.size() - 1);
      if (!some) return tl::unexpected(some.error());
      const auto found = some->find(kMagic);
      skip_to(found != std::string::npos ? at + 1 + found : at + 1 + std::min(some->size(), kSearchBytes));
      continue;
    }
    const auto size = kHeaderBytes + std::uint64_t{header->index_size} + header->packed_size;
    if (header->version != kVersion) {
      newer = header->version;
      skip_to(at + size);
      continue;
    }
    if (header->index_size > kMaxRawBytes || header->packed_size > kMaxRawBytes || header->raw_size > kMaxRawBytes) {
      skip_to(at + 1);
      continue;
    }
    const auto body = read_at(file_.get(), at + kHeaderBytes, std::size_t{header->index_size} + header->packed_size);
    if (!body) return tl::unexpected(body.error());
    const auto index_bytes = std::string_view(*body).substr(0, header->index_size);
    if (body->size() < std::size_t{header->index_size} + header->packed_size ||
        crc32(index_bytes) != header->index_crc ||
        crc32(std::string_view(*body).substr(header->index_size)) != header->payload_crc) {
      skip_to(at + 1);  // the sizes may be wrong: the next block may start anywhere
      continue;
    }
    const auto index = parse_index(index_bytes);
    if (!index || index->moments.empty() || moments_.size() + index->moments.size() > kMaxMoments) {
      skip_to(at + size);
      continue;
    }
    const bool after_loss = lost;
    end_loss(at);
    if (after_loss) {
      const auto to = index->moments.front().at;
      gaps_.push_back({moments_.empty() ? to : moments_.back().at, to, "this part of the file is damaged"});
    }
    gaps_.insert(gaps_.end(), index->gaps.begin(), index->gaps.end());
    for (const auto& moment : index->moments) {
      moments_.push_back(moment);
      moments_.back().block = static_cast<std::uint32_t>(blocks_.size());
      if (moment.in_block == 0 && after_loss) moments_.back().after_gap = true;
    }
    blocks_.push_back(
        {at, static_cast<std::uint32_t>(kHeaderBytes) + header->index_size, header->packed_size, header->raw_size});
    at += size;
  }
  const auto size = at;
  end_loss(size);
  if (!blocks_.empty()) return {};
  if (newer > kVersion) {
    return damaged("unsupported format version " + std::to_string(newer) + ": this program reads version " +
                   std::to_string(kVersion) + " (use a newer program)");
  }
  return damaged(size == 0 ? "the file is empty" : "not a recording, or no readable block");
}

std::pair<std::uint64_t, std::uint64_t> RecordingReader::block_extent(std::size_t block) const {
  const auto& b = blocks_[block];
  return {b.at, std::uint64_t{b.payload_at} + b.packed};
}

std::optional<std::size_t> RecordingReader::find(base::Wall at) const {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < moments_.size(); ++i) {
    if (moments_[i].at <= at && (!best || moments_[i].at >= moments_[*best].at)) best = i;
  }
  return best;
}

base::Result<std::unique_ptr<BlockDecoder>> RecordingReader::unpack(const Block& block) {
  const auto packed = read_at(file_.get(), block.at + block.payload_at, block.packed);
  if (!packed) return tl::unexpected(packed.error());
  std::string raw(block.raw, '\0');
  const auto size = ZSTD_decompress(raw.data(), raw.size(), packed->data(), packed->size());
  if (ZSTD_isError(size) != 0 || size != raw.size()) return damaged("damaged block: cannot decompress");
  auto decoder = BlockDecoder::open(std::move(raw), catalogue_);
  if (!decoder) return damaged(decoder.error().what);
  for (const auto& name : (*decoder)->unknown_fields()) {
    if (unknown_fields_.size() < 1000 && std::ranges::find(unknown_fields_, name) == unknown_fields_.end()) {
      unknown_fields_.push_back(name);
    }
  }
  return decoder;
}

base::Result<Sample> RecordingReader::at(std::size_t i) {
  if (i >= moments_.size()) return damaged("no such sample in the recording");
  for (const auto& [number, sample] : recent_) {
    if (number == i) return sample;
  }
  const auto& moment = moments_[i];
  if (!decoder_ || decoded_block_ != moment.block || next_in_block_ > moment.in_block) {
    decoder_.reset();
    auto decoder = unpack(blocks_[moment.block]);
    if (!decoder) return tl::unexpected(decoder.error());
    decoder_ = std::move(*decoder);
    decoded_block_ = moment.block;
    next_in_block_ = 0;
  }
  while (true) {
    auto next = decoder_->next();
    if (!next) {
      decoder_.reset();
      return damaged(next.error().what);
    }
    const auto here = i - moment.in_block + next_in_block_;
    Sample sample{std::move(next->first), std::move(next->second)};
    if (recent_.size() >= kMaxRecentSamples) recent_.erase(recent_.begin());
    recent_.emplace_back(here, sample);
    if (next_in_block_++ == moment.in_block) return sample;
  }
}

}  // namespace cgwarden::record
