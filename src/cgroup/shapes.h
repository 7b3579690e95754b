// SPDX-License-Identifier: Apache-2.0
// Parsers of interface files, one per Shape. They see text and never a file, split it in place and allocate nothing for
// keys they have seen before. Broken text never stops them: the line is an error for its field, the rest is read.
//
// Shapes and units: the kernel's Documentation/admin-guide/cgroup-v2.rst ("Interface Files") and cgroup-v1/*.rst.
// Thread: a KeyTable learns the order of a file's keys and so belongs to one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/model/catalogue.h"
#include "src/model/value.h"

namespace cgwarden::cgroup {

inline constexpr model::FieldId kNoField = 0xFFFF;

// How the number of one key becomes a Value. Multiplier: from the file's unit to the fixed point of the field's unit.
struct Conversion {
  model::Scale scale = model::Scale::one;
  std::int64_t multiplier = 1;
  bool may_be_unlimited = false;  // setting: "max", and v1's numbers near 2^63
  bool minus_one_is_unlimited = false;
  bool may_be_negative = false;  // settings such as a nice level; what counts or measures is never below 0
  bool is_text = false;          // info: the word itself is a label
};

Conversion conversion_of(const model::Field& field, const model::Source& source);

// The whole of `text` as one value; Value::error() for anything that is not a number of that kind.
model::Value to_value(std::string_view text, const Conversion& conversion);

struct Key {
  std::string text;
  model::FieldId field = kNoField;  // kNoField: known, but nobody wants it
  Conversion conversion = {};
  std::uint16_t next = 0;  // the key that came after it the last time
  int label_from = -1;     // of a word that a key with '*' stands for: where its label begins
};

// The keys of one file. Files keep their order, so the key after the last hit is tried first.
class KeyTable {
 public:
  static constexpr std::size_t kMaxUnknown = 256;
  static constexpr std::size_t kMaxKey = 64;

  void add(std::string_view text, model::FieldId field, const Conversion& conversion);
  void rewind() { last_ = kStart; }
  // Null: nobody knows this key, and it is new to this table (so each is reported once). A key learned that way is
  // afterwards found with kNoField.
  const Key* find(std::string_view text);
  [[nodiscard]] const std::vector<Key>& keys() const { return keys_; }

 private:
  static constexpr std::uint16_t kStart = 0;  // a sentinel in front of the first key
  std::vector<Key> keys_ = std::vector<Key>(1);
  std::vector<Key> stars_;  // "nr_subsys_*", without the '*'
  std::uint16_t last_ = kStart;
  std::size_t unknown_ = 0;
};

// Where parsed values go.
class RowSink {
 public:
  virtual ~RowSink() = default;
  virtual void value(model::FieldId field, model::Value value) = 0;
  virtual void labelled(model::FieldId field, std::string_view label, model::Value value) = 0;
  virtual void text(model::FieldId field, std::string_view text) = 0;
  virtual void labelled_text(model::FieldId field, std::string_view label, std::string_view text) = 0;
  virtual void unknown_key(std::string_view key) = 0;
};

void parse(model::Shape shape, std::string_view text, KeyTable& keys, RowSink& sink);

}  // namespace cgwarden::cgroup
