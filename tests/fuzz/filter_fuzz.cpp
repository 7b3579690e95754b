// SPDX-License-Identifier: Apache-2.0
// Fuzzes filter expressions of cgtop. A filter must be valid or give an error with a position inside the text, and
// matching must be deterministic.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "src/cgtop/filter.h"
#include "tests/unit/cgtop_snapshots.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cgwarden;
  static const cgtop::Columns columns(test::catalogue());
  static const auto snapshot = test::SnapshotMaker(1)
                                   .cgroup(1, "/")
                                   .set("cpu_usage", 5)
                                   .cgroup(2, "/a.slice")
                                   .set("memory_max", model::Value::unlimited())
                                   .series("io_read", "sda", model::Value::of(7))
                                   .make();
  static const cgtop::Table table(columns, nullptr, snapshot);
  const std::string text(reinterpret_cast<const char*>(data), std::min<std::size_t>(size, 512));
  const auto filter = cgtop::Filter::parse(text, columns);
  if (!filter) {
    require(filter.error().offset <= text.size() && !filter.error().what.empty());
    (void)cgtop::explain(text, filter.error());
    return 0;
  }
  const auto parenthesized = cgtop::Filter::parse("(" + text + ")", columns);
  for (model::CgroupIndex g = 0; g < table.size(); ++g) {
    const bool passes = filter->matches(table, g);
    require(filter->matches(table, g) == passes);
    if (parenthesized && !filter->empty()) require(parenthesized->matches(table, g) == passes);
  }
  return 0;
}
