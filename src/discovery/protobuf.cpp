// SPDX-License-Identifier: Apache-2.0
#include "src/discovery/protobuf.h"

namespace cgwarden::discovery {
namespace {

enum WireType : std::uint8_t { kVarint = 0, kEightBytes = 1, kBytes = 2, kFourBytes = 5 };

constexpr std::uint64_t kMaxNumber = (std::uint64_t{1} << 29U) - 1;

void add_varint(std::string& message, std::uint64_t value) {
  while (value > 0x7F) {
    message += static_cast<char>((value & 0x7FU) | 0x80U);
    value >>= 7U;
  }
  message += static_cast<char>(value);
}

}  // namespace

std::optional<std::uint64_t> ProtoReader::varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    if (shift == 63 && byte > 1) return std::nullopt;  // more than 64 bits
    value |= std::uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> ProtoReader::fixed(std::size_t size) {
  if (rest_.size() < size) return std::nullopt;
  std::uint64_t value = 0;
  for (std::size_t i = size; i-- > 0;) value = value << 8U | static_cast<unsigned char>(rest_[i]);
  rest_.remove_prefix(size);
  return value;
}

std::optional<ProtoField> ProtoReader::next() {
  if (broken_ || rest_.empty()) return std::nullopt;
  broken_ = true;  // until the field is complete
  const auto tag = varint();
  if (!tag || *tag >> 3U == 0 || *tag >> 3U > kMaxNumber) return std::nullopt;
  ProtoField out;
  out.number = static_cast<std::uint32_t>(*tag >> 3U);
  std::optional<std::uint64_t> value;
  switch (*tag & 7U) {
    case kVarint:
      value = varint();
      break;
    case kEightBytes:
      value = fixed(8);
      break;
    case kFourBytes:
      value = fixed(4);
      break;
    case kBytes:
      value = varint();
      if (!value || *value > rest_.size()) return std::nullopt;
      out.bytes = rest_.substr(0, *value);
      out.has_bytes = true;
      rest_.remove_prefix(*value);
      break;
    default:  // group wire types, which proto3 does not have, and undefined wire types
      return std::nullopt;
  }
  if (!value) return std::nullopt;
  if (!out.has_bytes) out.integer = *value;
  broken_ = false;
  return out;
}

void add_proto_bytes(std::string& message, std::uint32_t number, std::string_view bytes) {
  add_varint(message, std::uint64_t{number} << 3U | kBytes);
  add_varint(message, bytes.size());
  message += bytes;
}

void add_proto_integer(std::string& message, std::uint32_t number, std::uint64_t value) {
  add_varint(message, std::uint64_t{number} << 3U | kVarint);
  add_varint(message, value);
}

}  // namespace cgwarden::discovery
