// SPDX-License-Identifier: Apache-2.0
// Parsers of interface files, one per Shape. They are functions of text, split it in place, and do not allocate for
// keys that they have seen before. Malformed text does not stop them: the field of that line gets an error, the rest is
// read.
//
// Source of shapes and units: Documentation/admin-guide/cgroup-v2.rst ("Interface Files") and cgroup-v1/*.rst.
// Thread: a KeyTable remembers the order of a file's keys, so that it belongs to one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/model/catalogue.h"
#include "src/model/value.h"

namespace cgwarden::cgroup {

inline constexpr model::FieldId kNoField = 0xFFFF;

// How the number of a key is converted to a Value. `multiplier` converts from the unit of the file to the fixed-point
// unit of the field.
struct Conversion {
  model::Scale scale = model::Scale::one;
  std::int64_t multiplier = 1;
  bool may_be_unlimited = false;  // a setting: "max", and numbers near 2^63 on v1, mean unlimited
  bool minus_one_is_unlimited = false;
  bool may_be_negative = false;  // a setting such as a nice level; counters and gauges are never negative
  bool is_text = false;          // an info field: the word itself is the value of a label
};

Conversion conversion_of(const model::Field& field, const model::Source& source);

// Converts the whole `text` to one value; Value::error() if it is not a number of that kind.
model::Value to_value(std::string_view text, const Conversion& conversion);

struct Key {
  std::string text;
  model::FieldId field = kNoField;  // kNoField: known, but not collected
  Conversion conversion = {};
  std::uint16_t next = 0;  // index of the key that followed it in the last read
  int label_from = -1;     // for a word that matched a key with '*': position at which its label starts
};

// The keys of one file. A file's keys keep their order, so that the key after the last hit is tried first.
class KeyTable {
 public:
  static constexpr std::size_t kMaxUnknownKeys = 256;
  static constexpr std::size_t kMaxKeyLength = 64;

  void add(std::string_view text, model::FieldId field, const Conversion& conversion);
  void rewind() { last_ = kStart; }
  // Returns nullptr if the key is unknown and new to this table, so that each unknown key is reported once. Afterwards
  // the key is found with kNoField.
  const Key* find(std::string_view text);
  [[nodiscard]] const std::vector<Key>& keys() const { return keys_; }

 private:
  static constexpr std::uint16_t kStart = 0;  // a sentinel before the first key
  std::vector<Key> keys_ = std::vector<Key>(1);
  std::vector<Key> wildcards_;  // keys such as "nr_subsys_*", without the '*'
  std::uint16_t last_ = kStart;
  std::size_t unknown_count_ = 0;
};

// Receives parsed values.
class RowSink {
 public:
  virtual ~RowSink() = default;
  virtual void value(model::FieldId field, model::Value value) = 0;
  virtual void labeled(model::FieldId field, std::string_view label, model::Value value) = 0;
  virtual void text(model::FieldId field, std::string_view text) = 0;
  virtual void labeled_text(model::FieldId field, std::string_view label, std::string_view text) = 0;
  virtual void unknown_key(std::string_view key) = 0;
};

// Parses the content of one file of that shape and passes the values to `sink`.
void parse(model::Shape shape, std::string_view text, KeyTable& keys, RowSink& sink);

}  // namespace cgwarden::cgroup
