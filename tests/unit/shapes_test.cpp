// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/shapes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <string>

namespace cgwarden::cgroup {
namespace {

using model::Field;
using model::MetricKind;
using model::Scale;
using model::Shape;
using model::Unit;
using model::Value;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

struct Collected : RowSink {
  std::map<std::string, Value> values;
  std::vector<std::string> unknown;
  std::vector<std::string> names;  // by FieldId

  void value(model::FieldId field, Value value) override { values[names[field]] = value; }
  void labeled(model::FieldId field, std::string_view label, Value value) override {
    values[names[field] + "/" + std::string(label)] = value;
  }
  void text(model::FieldId field, std::string_view text) override {
    values[names[field] + "=" + std::string(text)] = Value::of(1);
  }
  void labeled_text(model::FieldId field, std::string_view label, std::string_view text) override {
    values[names[field] + "/" + std::string(label) + "=" + std::string(text)] = Value::of(1);
  }
  void unknown_key(std::string_view key) override { unknown.emplace_back(key); }
};

struct Parser {
  KeyTable keys;
  Collected out;

  explicit Parser(std::initializer_list<const char*> wanted, Conversion conversion = {}) {
    for (const auto* key : wanted) {
      out.names.emplace_back(key);
      keys.add(key, static_cast<model::FieldId>(out.names.size() - 1), conversion);
    }
  }
  const std::map<std::string, Value>& operator()(Shape shape, std::string_view text) {
    out.values.clear();
    out.unknown.clear();
    parse(shape, text, keys, out);
    return out.values;
  }
};

Value of(std::int64_t n) { return Value::of(n); }

TEST(ParseSingle, ReadsTheWholeFileAsOneValue) {
  Parser p({""});
  EXPECT_THAT(p(Shape::single, "4096\n"), ElementsAre(Pair("", of(4096))));
  EXPECT_THAT(p(Shape::single, "0"), ElementsAre(Pair("", of(0))));
}

TEST(ParseSingle, GivesAnErrorUnlessTheFileIsANumber) {
  Parser p({""});
  for (const auto* garbage : {"", "\n", "abc", "12 34", "1e3", "0x10", "\xff", "99999999999999999999999"}) {
    EXPECT_THAT(p(Shape::single, garbage), ElementsAre(Pair("", Value::error()))) << garbage;
  }
}

TEST(ParseFlatKeyed, FindsKeysInAnyOrderAndContinuesAfterAnInvalidValue) {
  Parser p({"anon", "file", "kernel"});
  EXPECT_THAT(p(Shape::flat_keyed, "kernel 3\nanon 1\nfile x\n"),
              ElementsAre(Pair("anon", of(1)), Pair("file", Value::error()), Pair("kernel", of(3))));
  EXPECT_THAT(p(Shape::flat_keyed, "anon 1\nfile 2\nkernel 3\n"),
              ElementsAre(Pair("anon", of(1)), Pair("file", of(2)), Pair("kernel", of(3))));
}

TEST(ParseFlatKeyed, ReportsAnUnknownKeyOnce) {
  Parser p({"anon"});
  p(Shape::flat_keyed, "anon 1\nbrand_new 2\n");
  EXPECT_THAT(p.out.unknown, ElementsAre("brand_new"));
  p(Shape::flat_keyed, "anon 1\nbrand_new 2\n");
  EXPECT_THAT(p.out.unknown, IsEmpty());
}

TEST(ParseFlatKeyed, RemembersALimitedNumberOfUnknownKeys) {
  Parser p({"anon"});
  std::string text;
  for (int i = 0; i < 10'000; ++i) text += "k" + std::to_string(i) + " 1\n";
  text += std::string(100'000, 'x') + " 1\n";
  p(Shape::flat_keyed, text + "anon 5\n");
  EXPECT_EQ(p.out.unknown.size(), KeyTable::kMaxUnknownKeys);
  EXPECT_THAT(p.out.values, ElementsAre(Pair("anon", of(5))));
}

TEST(ParseFlatKeyed, TakesTheLabelFromTheWildcardMatch) {
  Parser p({"default", "*", "nr_*"});
  EXPECT_THAT(p(Shape::flat_keyed, "default 100\n8:0 200\n"),
              UnorderedElementsAre(Pair("default", of(100)), Pair("*/8:0", of(200))));
  EXPECT_THAT(p(Shape::flat_keyed, "default 101\n8:0 201\n"),
              UnorderedElementsAre(Pair("default", of(101)), Pair("*/8:0", of(201))));
}

TEST(ParseFlatLabeled, TakesTheFirstWordAsLabel) {
  Parser p({""}, {.may_be_unlimited = true});
  EXPECT_THAT(p(Shape::flat_labeled, "res_a 3\nres_b max\ndefault 100\n"),
              UnorderedElementsAre(Pair("/res_a", of(3)), Pair("/res_b", Value::unlimited())));
}

TEST(ParseFlatLabeled, TakesTheKeyFromTheEndOfTheFirstWord) {
  Parser p({"max"});
  EXPECT_THAT(p(Shape::flat_labeled, "res.a.max 3\nres_b.max 4\n"),
              UnorderedElementsAre(Pair("max/res.a", of(3)), Pair("max/res_b", of(4))));
}

TEST(ParseSpaced, UsesPositionsAsKeys) {
  Parser p({"0", "1"}, {.may_be_unlimited = true});
  EXPECT_THAT(p(Shape::spaced, "max 100000\n"), ElementsAre(Pair("0", Value::unlimited()), Pair("1", of(100000))));
}

TEST(ParseNestedKeyed, ReadsPressure) {
  Parser p({"some.total", "full.total"});
  p(Shape::nested_keyed,
    "some avg10=0.12 avg60=0.00 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n");
  EXPECT_THAT(p.out.values, ElementsAre(Pair("full.total", of(5)), Pair("some.total", of(77))));
}

TEST(ParseNestedByLine, ReadsIoStatWithALineWithoutKeys) {
  Parser p({"rbytes", "wbytes"});
  EXPECT_THAT(p(Shape::nested_by_line, "8:0 rbytes=1 wbytes=2\n8:16\n254:0 wbytes=9\n"),
              UnorderedElementsAre(Pair("rbytes/8:0", of(1)), Pair("wbytes/8:0", of(2)), Pair("wbytes/254:0", of(9))));
}

TEST(ParseNestedByLine, ReadsWordsOfIoCostAsText) {
  Parser p({"ctrl"}, {.is_text = true});
  EXPECT_THAT(p(Shape::nested_by_line, "8:0 enable=1 ctrl=auto\n8:16 ctrl=\n"),
              UnorderedElementsAre(Pair("ctrl/8:0=auto", of(1)), Pair("ctrl/8:16=", of(1))));
}

TEST(ParseNestedByKey, ReadsNumaStat) {
  Parser p({"anon"});
  EXPECT_THAT(p(Shape::nested_by_key, "anon N0=4096 N300=8192\nfile N0=1\n"),
              UnorderedElementsAre(Pair("anon/0", of(4096)), Pair("anon/300", of(8192))));
}

TEST(ParseNumaV1, IgnoresTheSum) {
  Parser p({"total"});
  EXPECT_THAT(p(Shape::numa_v1, "total=3 N0=1 N1=2\nfile=9 N0=9 N1=0\n"),
              UnorderedElementsAre(Pair("total/0", of(1)), Pair("total/1", of(2))));
}

TEST(ParseBlkio, ReadsOperationsAndIgnoresTotals) {
  Parser p({"Read", "Write", "Sync"});
  EXPECT_THAT(p(Shape::blkio, "8:0 Read 7\n8:0 Write 8\n8:0 Sync 15\n8:0 Total 15\n8:16 Read 1\nTotal 16\n"),
              UnorderedElementsAre(Pair("Read/8:0", of(7)), Pair("Write/8:0", of(8)), Pair("Sync/8:0", of(15)),
                                   Pair("Read/8:16", of(1))));
  EXPECT_THAT(p.out.unknown, IsEmpty());
}

TEST(ParseBlkio, ReadsFilesWithoutOperations) {
  Parser p({""});
  EXPECT_THAT(p(Shape::blkio, "8:0 300\nTotal 300\ndefault 100\n"), ElementsAre(Pair("/8:0", of(300))));
}

TEST(ParsePerCpu, UsesPositionsAsLabels) {
  Parser p({""});
  EXPECT_THAT(p(Shape::per_cpu, "11 22 \n"), UnorderedElementsAre(Pair("/0", of(11)), Pair("/1", of(22))));
}

TEST(ParseCpuTable, UsesTheFirstColumnAsLabel) {
  Parser p({"user", "system"});
  EXPECT_THAT(p(Shape::cpu_table, "cpu user system\n0 1 2\n7 3 4\n"),
              UnorderedElementsAre(Pair("user/0", of(1)), Pair("system/0", of(2)), Pair("user/7", of(3)),
                                   Pair("system/7", of(4))));
}

TEST(ParseText, RemovesTheLineEnd) {
  Parser p({""});
  EXPECT_THAT(p(Shape::text, "domain threaded\n"), ElementsAre(Pair("=domain threaded", of(1))));
}

TEST(ParseLines, CountsLines) {
  Parser p({""});
  EXPECT_THAT(p(Shape::lines, "1\n2\n3\n"), ElementsAre(Pair("", of(3))));
  EXPECT_THAT(p(Shape::lines, ""), ElementsAre(Pair("", of(0))));
}

TEST(ParseEachLine, MakesASeriesOfEachLine) {
  Parser p({""});
  EXPECT_THAT(p(Shape::each_line, "c 1:3 rwm\nb *:* m\n"),
              UnorderedElementsAre(Pair("=c 1:3 rwm", of(1)), Pair("=b *:* m", of(1))));
  EXPECT_THAT(p(Shape::each_line, ""), ElementsAre());
}

TEST(Parse, AcceptsAnyTextForEachShape) {
  const std::string nul("a\0b 1\n\0\0", 8);
  const std::string garbage[] = {"",
                                 "\n\n\n",
                                 " ",
                                 "=",
                                 "a=",
                                 "a =b\n",
                                 "8:0",
                                 "8:0 ",
                                 "8:0 =",
                                 "\xff\xfe",
                                 "N=1 N0=x",
                                 "x N0\n",
                                 "cpu\n1 2 3",
                                 nul,
                                 std::string(5000, 'a'),
                                 std::string(5000, ' '),
                                 std::string(5000, '=')};
  for (int shape = 0; shape <= static_cast<int>(Shape::cpu_table); ++shape) {
    for (const auto& text : garbage) {
      Parser p({"", "a", "a.b", "0"});
      p(static_cast<Shape>(shape), text);
    }
  }
}

// One case for each unit that the kernel's files use.
struct UnitCase {
  Scale scale;
  Unit unit;
  const char* text;
  std::int64_t fixed;
};

TEST(ToValue, ConvertsEachUnitToTheFixedPointOfTheField) {
  const auto page = ::sysconf(_SC_PAGESIZE);
  const auto tick = 1'000'000'000 / ::sysconf(_SC_CLK_TCK);
  const UnitCase cases[] = {
      {Scale::nano, Unit::seconds, "1500000000", 1'500'000'000},
      {Scale::micro, Unit::seconds, "1500000", 1'500'000'000},
      {Scale::milli, Unit::seconds, "1500", 1'500'000'000},
      {Scale::tick, Unit::seconds, "150", 150 * tick},
      {Scale::one, Unit::seconds, "2", 2'000'000'000},
      {Scale::percent, Unit::ratio, "12.34", 1234},
      {Scale::percent, Unit::ratio, "100.00", 10'000},
      {Scale::percent, Unit::ratio, "7", 700},
      {Scale::one, Unit::bytes, "4096", 4096},
      {Scale::kib, Unit::bytes, "4", 4096},
      {Scale::sector, Unit::bytes, "8", 4096},
      {Scale::page, Unit::bytes, "2", 2 * page},
      {Scale::one, Unit::none, "42", 42},
  };
  for (const auto& c : cases) {
    Field field;
    field.unit = c.unit;
    model::Source source;
    source.scale = c.scale;
    EXPECT_EQ(to_value(c.text, conversion_of(field, source)), Value::of(c.fixed)) << c.text;
  }
}

TEST(ToValue, RecognizesEachSpellingOfUnlimited) {
  Field field;
  field.kind = MetricKind::setting;
  field.unit = Unit::bytes;
  model::Source source;
  EXPECT_TRUE(to_value("max", conversion_of(field, source)).is_unlimited());
  EXPECT_TRUE(to_value("9223372036854771712", conversion_of(field, source)).is_unlimited());  // 4 KiB pages
  EXPECT_TRUE(to_value("9223372036854710272", conversion_of(field, source)).is_unlimited());  // 64 KiB pages
  EXPECT_TRUE(to_value("18446744073709551615", conversion_of(field, source)).is_unlimited());
  EXPECT_EQ(to_value("-1", conversion_of(field, source)), Value::of(-1));
  source.minus_one_is_unlimited = true;
  EXPECT_TRUE(to_value("-1", conversion_of(field, source)).is_unlimited());
}

TEST(ToValue, MakesCountersNeitherNegativeNorUnlimited) {
  Field field;
  field.kind = MetricKind::counter;
  const auto conversion = conversion_of(field, {});
  EXPECT_EQ(to_value("-5", conversion), Value::of(0));
  EXPECT_EQ(to_value("max", conversion), Value::error());
  EXPECT_TRUE(to_value("18446744073709551615", conversion).is_number());
}

}  // namespace
}  // namespace cgwarden::cgroup
