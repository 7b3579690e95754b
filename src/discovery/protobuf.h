// SPDX-License-Identifier: Apache-2.0
// Reader and writer for the part of the Protocol Buffers wire format that queries to a daemon need. Fields are read
// sequentially and in place. An embedded message is returned as bytes, so the reader does not recurse and nesting depth
// has no cost. Input is untrusted: reading ends at a truncated or oversized field or at a wire type that proto3 does
// not have. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cgwarden::discovery {

struct ProtoField {
  std::uint32_t number = 0;
  std::uint64_t integer = 0;  // value of a varint or a 4- or 8-byte field
  std::string_view bytes;     // string, message or packed list; points into the input
  bool has_bytes = false;
};

class ProtoReader {
 public:
  explicit ProtoReader(std::string_view message) : rest_(message) {}

  // The next field; nullopt at the end of the message and on malformed input (see broken()).
  std::optional<ProtoField> next();
  [[nodiscard]] bool broken() const { return broken_; }

 private:
  std::optional<std::uint64_t> varint();
  std::optional<std::uint64_t> fixed(std::size_t size);

  std::string_view rest_;
  bool broken_ = false;
};

// Appends a string or an embedded message.
void add_proto_bytes(std::string& message, std::uint32_t number, std::string_view bytes);
void add_proto_integer(std::string& message, std::uint32_t number, std::uint64_t value);

}  // namespace cgwarden::discovery
