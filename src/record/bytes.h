// SPDX-License-Identifier: Apache-2.0
// Integers, times and texts as bytes: seven bits a byte, the smallest first; signed ones with the sign in the lowest
// bit.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "src/base/clock.h"

namespace cgwarden::record {

// Times in nanoseconds, of their own clock's epoch.
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

// Reads what may be anything. The first thing that cannot be makes it bad; then and ever after it gives zeros.
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
  // At most `most`, or it is bad.
  std::uint64_t u(std::uint64_t most) {
    const auto n = u();
    if (n > most) fail();
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
