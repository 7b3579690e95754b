// SPDX-License-Identifier: Apache-2.0
// The wire format of Protocol Buffers, as much of it as asking a daemon takes: fields one after the other, in place. A
// message within another is bytes until somebody reads them, so nothing recurses and depth costs nothing. Hostile
// input: what is cut off, too long or of a kind that proto3 does not have ends the reading. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cgwarden::discovery {

struct ProtoField {
  std::uint32_t number = 0;
  std::uint64_t integer = 0;  // of a varint or of 4 or 8 bytes
  std::string_view bytes;     // of a text, a message, a packed list; within what is read
  bool has_bytes = false;
};

class ProtoReader {
 public:
  explicit ProtoReader(std::string_view message) : rest_(message) {}

  // The next field; nothing at the end, and where the message is broken.
  std::optional<ProtoField> next();
  [[nodiscard]] bool broken() const { return broken_; }

 private:
  std::optional<std::uint64_t> varint();
  std::optional<std::uint64_t> fixed(std::size_t size);

  std::string_view rest_;
  bool broken_ = false;
};

// A text, or a message within this one.
void add_proto_bytes(std::string& message, std::uint32_t number, std::string_view bytes);
void add_proto_integer(std::string& message, std::uint32_t number, std::uint64_t value);

}  // namespace cgwarden::discovery
