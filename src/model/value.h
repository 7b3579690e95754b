// SPDX-License-Identifier: Apache-2.0
// One sample of one field. It has one of four states:
//
//   number     an integer in the fixed point of the field's unit (see Unit): nanoseconds for seconds, bytes for bytes,
//              ten-thousandths for ratios. Nothing is rounded, and decimals are written by integer arithmetic.
//   absent     the kernel, the controller or the cgroup does not provide the field.
//   error      the field should exist, but could not be read or parsed.
//   unlimited  the kernel's "max".
//
// The last three are never shown as a number.
#pragma once

#include <cstdint>
#include <limits>

namespace cgwarden::model {

class Value {
 public:
  constexpr Value() = default;  // absent
  // Numbers above the largest one that is not reserved are clamped to it.
  static constexpr Value of(std::int64_t fixed) { return Value(fixed > kMaxNumber ? kMaxNumber : fixed); }
  static constexpr Value absent() { return {}; }
  static constexpr Value error() { return Value(kError); }
  static constexpr Value unlimited() { return Value(kUnlimited); }

  [[nodiscard]] constexpr bool is_absent() const { return raw_ == kAbsent; }
  [[nodiscard]] constexpr bool is_error() const { return raw_ == kError; }
  [[nodiscard]] constexpr bool is_unlimited() const { return raw_ == kUnlimited; }
  [[nodiscard]] constexpr bool is_number() const { return raw_ > kError && raw_ < kUnlimited; }
  // A number or unlimited.
  [[nodiscard]] constexpr bool has_value() const { return raw_ > kError; }
  // Only valid if is_number().
  [[nodiscard]] constexpr std::int64_t fixed() const { return raw_; }

  friend constexpr bool operator==(Value, Value) = default;

 private:
  constexpr explicit Value(std::int64_t raw) : raw_(raw) {}
  static constexpr std::int64_t kAbsent = std::numeric_limits<std::int64_t>::min();
  static constexpr std::int64_t kError = kAbsent + 1;
  static constexpr std::int64_t kUnlimited = std::numeric_limits<std::int64_t>::max();
  static constexpr std::int64_t kMaxNumber = kUnlimited - 1;
  std::int64_t raw_ = kAbsent;
};

}  // namespace cgwarden::model
