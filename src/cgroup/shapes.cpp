// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/shapes.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <limits>

#include "src/base/text.h"

namespace cgwarden::cgroup {
namespace {

using base::take_line;
using base::take_until;
using base::take_word;
using model::Scale;
using model::Shape;
using model::Unit;
using model::Value;

// v1 shows an unset limit as the largest page count in bytes, which depends on the page size. No real value is near it.
constexpr std::uint64_t kUnlimitedFrom = 1ULL << 62U;

std::int64_t multiplier_of(Scale scale, Unit unit) {
  static const std::int64_t page = ::sysconf(_SC_PAGESIZE);
  static const std::int64_t tick_ns = 1'000'000'000 / std::max(1L, ::sysconf(_SC_CLK_TCK));
  switch (scale) {
    case Scale::nano:
      return 1;
    case Scale::micro:
      return 1'000;
    case Scale::milli:
      return 1'000'000;
    case Scale::tick:
      return tick_ns;
    case Scale::page:
      return page;
    case Scale::kib:
      return 1'024;
    case Scale::sector:
      return 512;
    case Scale::percent:
      return 1;  // the two decimals of a percentage are the four decimals of a ratio
    case Scale::one:
      break;
  }
  return unit == Unit::seconds ? 1'000'000'000 : unit == Unit::ratio ? 10'000 : 1;
}

Value scaled(std::uint64_t number, std::int64_t multiplier) {
  constexpr auto max = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  const auto factor = static_cast<std::uint64_t>(multiplier);
  return Value::of(number > max / factor ? static_cast<std::int64_t>(max) : static_cast<std::int64_t>(number * factor));
}

// Converts "12.34" to 1234; further decimals are dropped.
Value percent(std::string_view text) {
  auto rest = text;
  const auto whole = base::to_int<std::uint32_t>(take_until(rest, '.'));
  if (!whole) return Value::error();
  std::int64_t hundredths = 0;
  int weight = 10;
  for (const char c : rest) {
    if (c < '0' || c > '9') return Value::error();
    hundredths += (c - '0') * weight;
    weight /= 10;
  }
  return Value::of(std::int64_t{*whole} * 100 + hundredths);
}

// Returns the key if its field is collected, else nullptr. Reports an unknown key to the sink.
const Key* look_up(KeyTable& keys, std::string_view text, RowSink& sink) {
  const Key* key = keys.find(text);
  if (key == nullptr) sink.unknown_key(text);
  return key != nullptr && key->field != kNoField ? key : nullptr;
}

void put(const Key* key, std::string_view number, RowSink& sink) {
  if (key != nullptr) sink.value(key->field, to_value(number, key->conversion));
}

void put(const Key* key, std::string_view label, std::string_view number, RowSink& sink) {
  if (key == nullptr) return;
  if (key->conversion.is_text) return sink.labeled_text(key->field, label, number);
  sink.labeled(key->field, label, to_value(number, key->conversion));
}

bool is_device(std::string_view word) {
  const auto colon = word.find(':');
  return colon != std::string_view::npos && base::to_int<std::uint32_t>(word.substr(0, colon)) &&
         base::to_int<std::uint32_t>(word.substr(colon + 1));
}

// "N12" -> "12"
std::string_view digits_of(std::string_view word) {
  while (!word.empty() && (word.front() < '0' || word.front() > '9')) word.remove_prefix(1);
  return word;
}

std::string_view number_text(std::size_t n, std::array<char, 20>& buffer) {
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), n).ptr;
  return {buffer.data(), static_cast<std::size_t>(end - buffer.data())};
}

void parse_spaced(std::string_view text, KeyTable& keys, RowSink& sink) {
  auto line = take_line(text);
  std::array<char, 20> buffer{};
  for (std::size_t i = 0; i < 8; ++i) {
    const auto word = take_word(line);
    if (word.empty()) return;
    put(look_up(keys, number_text(i, buffer), sink), word, sink);
  }
}

void parse_flat_keyed(std::string_view text, KeyTable& keys, RowSink& sink) {
  while (!text.empty()) {
    auto line = take_line(text);
    const auto word = take_until(line, ' ');
    if (word.empty()) continue;
    const Key* key = look_up(keys, word, sink);
    if (key != nullptr && key->label_from >= 0) {
      put(key, word.substr(static_cast<std::size_t>(key->label_from)), base::trim_end(line), sink);
    } else {
      put(key, base::trim_end(line), sink);
    }
  }
}

void parse_flat_labeled(std::string_view text, KeyTable& keys, RowSink& sink) {
  while (!text.empty()) {
    auto line = take_line(text);
    const auto label = take_word(line);
    const auto number = take_word(line);
    if (label.empty() || number.empty() || label == "default") continue;
    const auto dot = label.rfind('.');
    const Key* plain = keys.find("");
    if (plain != nullptr && plain->field != kNoField) {
      put(plain, label, number, sink);
    } else if (dot != std::string_view::npos) {
      put(look_up(keys, label.substr(dot + 1), sink), label.substr(0, dot), number, sink);
    }
  }
}

void parse_nested_keyed(std::string_view text, KeyTable& keys, RowSink& sink) {
  std::array<char, 128> joined{};
  while (!text.empty()) {
    auto line = take_line(text);
    const auto first = take_word(line);
    if (first.empty() || first.size() >= joined.size() / 2) continue;
    char* const dot = std::copy(first.begin(), first.end(), joined.data());
    *dot = '.';
    for (auto pair = take_word(line); !pair.empty(); pair = take_word(line)) {
      const auto sub = take_until(pair, '=');
      if (sub.size() >= joined.size() / 2) continue;
      const char* const end = std::copy(sub.begin(), sub.end(), dot + 1);
      put(look_up(keys, {joined.data(), static_cast<std::size_t>(end - joined.data())}, sink), pair, sink);
    }
  }
}

void parse_nested_by_line(std::string_view text, KeyTable& keys, RowSink& sink) {
  while (!text.empty()) {
    auto line = take_line(text);
    const auto label = take_word(line);
    for (auto pair = take_word(line); !pair.empty(); pair = take_word(line)) {
      if (pair.find('=') == std::string_view::npos) continue;
      const auto sub = take_until(pair, '=');
      put(look_up(keys, sub, sink), label, pair, sink);
    }
  }
}

void parse_nodes(const Key* key, std::string_view line, RowSink& sink) {
  if (key == nullptr) return;
  for (auto pair = take_word(line); !pair.empty(); pair = take_word(line)) {
    const auto node = digits_of(take_until(pair, '='));
    if (!node.empty()) put(key, node, pair, sink);
  }
}

void parse_nested_by_key(std::string_view text, KeyTable& keys, RowSink& sink) {
  while (!text.empty()) {
    auto line = take_line(text);
    const auto word = take_word(line);
    if (!word.empty()) parse_nodes(look_up(keys, word, sink), line, sink);
  }
}

void parse_numa_v1(std::string_view text, KeyTable& keys, RowSink& sink) {
  while (!text.empty()) {
    auto line = take_line(text);
    auto first = take_word(line);
    const auto word = take_until(first, '=');
    if (!word.empty()) parse_nodes(look_up(keys, word, sink), line, sink);
  }
}

void parse_blkio(std::string_view text, KeyTable& keys, RowSink& sink) {
  while (!text.empty()) {
    auto line = take_line(text);
    const auto device = take_word(line);
    if (!is_device(device)) continue;  // "Total 7", "default 100"
    const auto second = take_word(line);
    const auto third = take_word(line);
    if (third.empty()) {
      put(look_up(keys, "", sink), device, second, sink);
    } else if (second != "Total") {  // Total is the sum of the other lines
      put(look_up(keys, second, sink), device, third, sink);
    }
  }
}

void parse_per_cpu(std::string_view text, KeyTable& keys, RowSink& sink) {
  const Key* key = look_up(keys, "", sink);
  auto line = take_line(text);
  std::array<char, 20> buffer{};
  std::size_t cpu = 0;
  for (auto word = take_word(line); !word.empty(); word = take_word(line)) {
    put(key, number_text(cpu++, buffer), word, sink);
  }
}

void parse_cpu_table(std::string_view text, KeyTable& keys, RowSink& sink) {
  auto titles = take_line(text);
  take_word(titles);
  while (!text.empty()) {
    auto line = take_line(text);
    const auto label = take_word(line);
    auto rest = titles;
    for (auto word = take_word(line); !word.empty(); word = take_word(line)) {
      const auto title = take_word(rest);
      if (title.empty()) break;
      put(look_up(keys, title, sink), label, word, sink);
    }
  }
}

}  // namespace

Conversion conversion_of(const model::Field& field, const model::Source& source) {
  const bool setting = field.kind == model::MetricKind::setting;
  return {source.scale, multiplier_of(source.scale, field.unit), setting, source.minus_one_is_unlimited,
          setting,      field.kind == model::MetricKind::info};
}

Value to_value(std::string_view text, const Conversion& c) {
  if (text == "max") return c.may_be_unlimited ? Value::unlimited() : Value::error();
  if (c.scale == Scale::percent) return percent(text);
  if (!text.empty() && text.front() == '-') {
    const auto number = base::to_int<std::int64_t>(text);
    if (!number) return Value::error();
    if (c.minus_one_is_unlimited && *number == -1) return Value::unlimited();
    // A count or size below 0 is a transient artifact of the kernel's per-CPU batched statistics.
    if (!c.may_be_negative) return Value::of(0);
    if (*number < std::numeric_limits<std::int64_t>::min() / c.multiplier + 2) return Value::error();
    return Value::of(*number * c.multiplier);
  }
  const auto number = base::to_int<std::uint64_t>(text);
  if (!number) return Value::error();
  if (c.may_be_unlimited &&
      *number >= kUnlimitedFrom / static_cast<std::uint64_t>(c.scale == Scale::page ? c.multiplier : 1)) {
    return Value::unlimited();
  }
  return scaled(*number, c.multiplier);
}

void KeyTable::add(std::string_view text, model::FieldId field, const Conversion& conversion) {
  if (text.ends_with('*')) {
    wildcards_.push_back({std::string(text.substr(0, text.size() - 1)), field, conversion});
    return;
  }
  keys_.back().next = static_cast<std::uint16_t>(keys_.size());
  keys_.push_back({std::string(text), field, conversion});
}

const Key* KeyTable::find(std::string_view text) {
  const auto expected = keys_[last_].next;
  if (expected != kStart && keys_[expected].text == text) {
    last_ = expected;
    return &keys_[last_];
  }
  for (std::size_t i = 1; i < keys_.size(); ++i) {
    if (keys_[i].text == text) {
      keys_[last_].next = static_cast<std::uint16_t>(i);
      last_ = static_cast<std::uint16_t>(i);
      return &keys_[i];
    }
  }
  // No kernel writes so many or so long keys; they are neither stored nor reported.
  if (unknown_count_ == kMaxUnknownKeys || text.size() > kMaxKeyLength) return keys_.data();
  ++unknown_count_;
  for (const auto& wildcard : wildcards_) {
    if (!text.starts_with(wildcard.text)) continue;
    keys_.push_back(
        {std::string(text), wildcard.field, wildcard.conversion, 0, static_cast<int>(wildcard.text.size())});
    return &keys_.back();
  }
  keys_.push_back({std::string(text)});
  return nullptr;
}

void parse(Shape shape, std::string_view text, KeyTable& keys, RowSink& sink) {
  keys.rewind();
  switch (shape) {
    case Shape::single:
      put(look_up(keys, "", sink), base::trim_end(text), sink);
      break;
    case Shape::text:
      if (const Key* key = look_up(keys, "", sink)) sink.text(key->field, base::trim_end(text));
      break;
    case Shape::lines:
      if (const Key* key = look_up(keys, "", sink)) {
        sink.value(key->field, Value::of(std::ranges::count(text, '\n')));
      }
      break;
    case Shape::each_line:
      if (const Key* key = look_up(keys, "", sink)) {
        while (!text.empty()) sink.text(key->field, base::trim_end(take_line(text)));
      }
      break;
    case Shape::spaced:
      parse_spaced(text, keys, sink);
      break;
    case Shape::flat_keyed:
      parse_flat_keyed(text, keys, sink);
      break;
    case Shape::flat_labeled:
      parse_flat_labeled(text, keys, sink);
      break;
    case Shape::nested_keyed:
      parse_nested_keyed(text, keys, sink);
      break;
    case Shape::nested_by_line:
      parse_nested_by_line(text, keys, sink);
      break;
    case Shape::nested_by_key:
      parse_nested_by_key(text, keys, sink);
      break;
    case Shape::numa_v1:
      parse_numa_v1(text, keys, sink);
      break;
    case Shape::blkio:
      parse_blkio(text, keys, sink);
      break;
    case Shape::per_cpu:
      parse_per_cpu(text, keys, sink);
      break;
    case Shape::cpu_table:
      parse_cpu_table(text, keys, sink);
      break;
  }
}

}  // namespace cgwarden::cgroup
