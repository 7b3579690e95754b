// SPDX-License-Identifier: Apache-2.0
// One sample of one field: a value, absent, an error, or unlimited.
//
// A value is an integer in the fixed point of the field's unit (see Unit): nanoseconds for seconds, bytes for bytes,
// ten-thousandths for ratios. So nothing is rounded on the way, and it is written as decimals by integer arithmetic.
// Absent: this kernel, controller or cgroup has no such thing. Error: it should be there and could not be read.
// Unlimited: the kernel's "max". None of the three is ever shown as a number.
#pragma once

#include <cstdint>
#include <limits>

namespace cgwarden::model {

class Value {
 public:
  constexpr Value() = default;  // absent
  static constexpr Value of(std::int64_t fixed) { return Value(fixed > kMaxNumber ? kMaxNumber : fixed); }
  static constexpr Value absent() { return {}; }
  static constexpr Value error() { return Value(kError); }
  static constexpr Value unlimited() { return Value(kUnlimited); }

  [[nodiscard]] constexpr bool is_absent() const { return raw_ == kAbsent; }
  [[nodiscard]] constexpr bool is_error() const { return raw_ == kError; }
  [[nodiscard]] constexpr bool is_unlimited() const { return raw_ == kUnlimited; }
  [[nodiscard]] constexpr bool is_number() const { return raw_ > kError && raw_ < kUnlimited; }
  // There is something to show: a number or unlimited.
  [[nodiscard]] constexpr bool has_value() const { return raw_ > kError; }
  // Meaningful for numbers only.
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
