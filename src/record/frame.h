// SPDX-License-Identifier: Apache-2.0
// Header and index of a block: what is in the file around the payload. Pure.
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
// Nothing: this is no header of a block, or a damaged one.
std::optional<Header> parse_header(std::string_view bytes);

// An entry is a sample or a gap.
void put_sample(ByteWriter& index, base::Wall at, std::uint8_t marks, std::uint32_t cpu);
void put_gap(ByteWriter& index, base::Wall from, base::Wall to, std::string_view why);
struct Index {
  std::vector<Reader::Moment> moments;
  std::vector<Reader::Gap> gaps;
};
std::optional<Index> parse_index(std::string_view bytes);

}  // namespace cgwarden::record
