// SPDX-License-Identifier: Apache-2.0
#include "src/record/frame.h"

#include <boost/crc.hpp>
#include <chrono>
#include <limits>
#include <utility>

namespace cgwarden::record {
namespace {

constexpr std::size_t kMaxReasonSize = 256;

void put(std::string& out, std::uint64_t n, int bytes) {
  for (int i = 0; i < bytes; ++i) {
    out += static_cast<char>(n & 0xFFU);
    n >>= 8U;
  }
}

std::uint32_t take(std::string_view& rest, int bytes) {
  std::uint32_t n = 0;
  for (int i = 0; i < bytes; ++i) {
    n |= static_cast<std::uint32_t>(static_cast<unsigned char>(rest[static_cast<std::size_t>(i)])) << (8 * i);
  }
  rest.remove_prefix(static_cast<std::size_t>(bytes));
  return n;
}

}  // namespace

std::uint32_t crc32(std::string_view bytes) {
  boost::crc_32_type crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

std::string to_bytes(const Header& h) {
  std::string out(kMagic);
  put(out, h.version, 2);
  put(out, 0, 2);
  for (const auto n : {h.index_size, h.packed_size, h.raw_size, h.index_crc, h.payload_crc}) put(out, n, 4);
  put(out, 0, 4);
  put(out, crc32(out), 4);
  return out;
}

std::optional<Header> parse_header(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes || !bytes.starts_with(kMagic)) return std::nullopt;
  const auto before_crc = bytes.substr(0, kHeaderBytes - 4);
  auto rest = bytes.substr(kMagic.size());
  Header h;
  h.version = static_cast<std::uint16_t>(take(rest, 2));
  (void)take(rest, 2);
  h.index_size = take(rest, 4);
  h.packed_size = take(rest, 4);
  h.raw_size = take(rest, 4);
  h.index_crc = take(rest, 4);
  h.payload_crc = take(rest, 4);
  (void)take(rest, 4);
  if (take(rest, 4) != crc32(before_crc)) return std::nullopt;
  return h;
}

void put_sample(ByteWriter& index, base::Wall at, std::uint8_t marks, std::uint32_t cpu) {
  index.u(0);
  index.s(ticks(at));
  index.u(marks);
  index.u(cpu);
}

void put_gap(ByteWriter& index, base::Wall from, base::Wall to, std::string_view why) {
  index.u(1);
  index.s(ticks(from));
  index.s(ticks(to));
  index.text(why.substr(0, kMaxReasonSize));
}

std::optional<Index> parse_index(std::string_view bytes) {
  Index out;
  ByteReader in(bytes);
  bool gap = false;
  while (in.left() > 0) {
    if (in.u(1) == 0) {
      RecordingReader::Moment moment;
      moment.at = wall(in.s());
      moment.marks = static_cast<std::uint8_t>(in.u(255));
      moment.cpu = static_cast<std::uint32_t>(in.u(std::numeric_limits<std::uint32_t>::max()));
      moment.after_gap = std::exchange(gap, false);
      moment.in_block = static_cast<std::uint32_t>(out.moments.size());
      out.moments.push_back(moment);
    } else {
      const auto from = in.s();
      const auto to = in.s();
      const auto why = in.text();
      out.gaps.push_back({wall(from), wall(to), std::string(why.substr(0, kMaxReasonSize))});
      gap = true;
    }
  }
  if (in.bad()) return std::nullopt;
  return out;
}

}  // namespace cgwarden::record
