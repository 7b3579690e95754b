// SPDX-License-Identifier: Apache-2.0
// Fuzzes interface files of each shape, with the keys of all fields of that shape. The parser must not read past the
// text, labels must be parts of it, and only settings may be negative or unlimited.
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "collectors/collection.h"
#include "src/cgroup/shapes.h"
#include "src/model/catalogue.h"

namespace {

using namespace cgwarden;

void must(bool holds) {
  if (!holds) std::abort();
}

class Checker : public cgroup::RowSink {
 public:
  Checker(const model::Catalogue& catalogue, std::string_view file) : catalogue_(catalogue), file_(file) {}

  void value(model::FieldId id, model::Value value) override { check(id, value); }
  void labeled(model::FieldId id, std::string_view label, model::Value value) override {
    check(id, value);
    must(label.size() <= file_.size() + 20);  // the label may be a position, which is not part of the text
  }
  void text(model::FieldId id, std::string_view text) override {
    must(id < catalogue_.size());
    must(text.size() <= file_.size());
  }
  void labeled_text(model::FieldId id, std::string_view label, std::string_view text) override {
    must(id < catalogue_.size() && catalogue_.field(id).kind == model::MetricKind::info);
    must(label.size() + text.size() <= file_.size());
  }
  void unknown_key(std::string_view key) override { must(key.size() <= file_.size()); }

 private:
  void check(model::FieldId id, model::Value value) {
    must(id < catalogue_.size());
    if (value.is_unlimited()) must(catalogue_.field(id).kind == model::MetricKind::setting);
    if (value.is_number() && value.fixed() < 0) must(catalogue_.field(id).kind == model::MetricKind::setting);
  }

  const model::Catalogue& catalogue_;
  std::string_view file_;
};

constexpr int kShapes = static_cast<int>(model::Shape::cpu_table) + 1;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto catalogue = collectors::make_catalogue();
  const std::vector<char> exact(data,
                                data + size);  // a copy of the exact size, so that a read past its end is detected
  const std::string_view text(exact.data(), exact.size());
  for (int shape = 0; shape < kShapes; ++shape) {
    cgroup::KeyTable keys;
    for (std::size_t i = 0; i < catalogue->size(); ++i) {
      const auto id = static_cast<model::FieldId>(i);
      const auto& field = catalogue->field(id);
      for (const auto* source : {&field.v1, &field.v2}) {
        if (source->exists() && static_cast<int>(source->shape) == shape) {
          keys.add(source->key, id, cgroup::conversion_of(field, *source));
        }
      }
    }
    Checker sink(*catalogue, text);
    for (int pass = 0; pass < 2; ++pass) {  // the second pass uses the keys that the first one added
      keys.rewind();
      cgroup::parse(static_cast<model::Shape>(shape), text, keys, sink);
    }
    must(keys.keys().size() <= catalogue->size() * 2 + cgroup::KeyTable::kMaxUnknownKeys + 2);
  }
  return 0;
}
