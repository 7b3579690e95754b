// SPDX-License-Identifier: Apache-2.0
// Encoding of integers, times and texts: variable-length integers of seven bits per byte, least significant first;
// signed integers are zigzag-encoded (the sign in the lowest bit).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "src/base/clock.h"

namespace cgwarden::record {

// Times are nanoseconds since the epoch of their clock.
inline std::int64_t ticks(base::Wall t) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count();
}
inline base::Wall wall(std::int64_t ns) {
  return base::Wall(std::chrono::duration_cast<base::Wall::duration>(std::chrono::nanoseconds(ns)));
}
inline std::int64_t ticks(base::Monotonic t) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count();
}
inline base::Monotonic monotonic(std::int64_t ns) { return base::Monotonic(std::chrono::nanoseconds(ns)); }

// Appends encoded values. u: unsigned, s: signed, text: with its size, raw: without.
class ByteWriter {
 public:
  void u(std::uint64_t n) {
    while (n >= 0x80) {
      bytes_ += static_cast<char>(n | 0x80U);
      n >>= 7U;
    }
    bytes_ += static_cast<char>(n);
  }
  void s(std::int64_t n) { u(zigzag(n)); }
  void text(std::string_view t) {
    u(t.size());
    bytes_ += t;
  }
  void raw(std::string_view t) { bytes_ += t; }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

  static std::uint64_t zigzag(std::int64_t n) {
    return (static_cast<std::uint64_t>(n) << 1U) ^ static_cast<std::uint64_t>(n >> 63);
  }

 private:
  std::string bytes_;
};

// Decodes untrusted bytes. After the first invalid value, bad() is true and each further value is 0 or empty.
class ByteReader {
 public:
  ByteReader() = default;
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  std::uint64_t u() {
    std::uint64_t n = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) break;
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      if (shift == 63 && byte > 1) break;
      n |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
      if (byte < 0x80) return n;
    }
    fail();
    return 0;
  }
  std::int64_t s() { return unzigzag(u()); }
  // A value above `max` is invalid.
  std::uint64_t u(std::uint64_t max) {
    const auto n = u();
    if (n > max) fail();
    return bad_ ? 0 : n;
  }
  std::string_view text() { return raw(u(rest_.size())); }
  std::string_view raw(std::uint64_t size) {
    if (size > rest_.size()) fail();
    if (bad_) return {};
    const auto out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return out;
  }
  void fail() {
    bad_ = true;
    rest_ = {};
  }
  [[nodiscard]] bool bad() const { return bad_; }
  [[nodiscard]] std::size_t left() const { return rest_.size(); }

  static std::int64_t unzigzag(std::uint64_t n) { return static_cast<std::int64_t>((n >> 1U) ^ (0 - (n & 1U))); }

 private:
  std::string_view rest_;
  bool bad_ = false;
};

}  // namespace cgwarden::record
