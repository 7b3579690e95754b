// SPDX-License-Identifier: Apache-2.0
// Header and index of a block. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/record/bytes.h"
#include "src/record/record.h"

namespace cgwarden::record {

inline constexpr std::string_view kMagic =
    "\x89"
    "CGREC\r\n";
inline constexpr std::size_t kHeaderBytes = 40;

struct Header {
  std::uint16_t version = kVersion;
  std::uint32_t index_size = 0;
  std::uint32_t packed_size = 0;
  std::uint32_t raw_size = 0;
  std::uint32_t index_crc = 0;
  std::uint32_t payload_crc = 0;
};

std::uint32_t crc32(std::string_view bytes);
std::string to_bytes(const Header& header);
// Returns nullopt if `bytes` do not start with an undamaged block header.
std::optional<Header> parse_header(std::string_view bytes);

// Append an entry of the index: a sample or a gap.
void put_sample(ByteWriter& index, base::Wall at, std::uint8_t marks, std::uint32_t cpu);
void put_gap(ByteWriter& index, base::Wall from, base::Wall to, std::string_view why);
struct Index {
  std::vector<RecordingReader::Moment> moments;
  std::vector<RecordingReader::Gap> gaps;
};
// Returns nullopt if the index is malformed.
std::optional<Index> parse_index(std::string_view bytes);

}  // namespace cgwarden::record
