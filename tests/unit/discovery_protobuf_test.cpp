// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <limits>
#include <random>

#include "src/discovery/protobuf.h"

namespace cgwarden::discovery {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::IsEmpty;

// Fields as "number=integer" or "number:bytes", followed by "broken" if the message is malformed.
std::vector<std::string> read(std::string_view message) {
  std::vector<std::string> out;
  ProtoReader reader(message);
  while (const auto field = reader.next()) {
    const auto number = std::to_string(field->number);
    out.push_back(field->has_bytes ? number + ':' + std::string(field->bytes)
                                   : number + '=' + std::to_string(field->integer));
  }
  if (reader.broken()) out.emplace_back("broken");
  EXPECT_EQ(reader.next(), std::nullopt);
  return out;
}

TEST(ProtoReader, ReturnsFieldsInOrder) {
  // Example of the Protocol Buffers encoding guide: 150 in field 1, "testing" in field 2.
  EXPECT_THAT(read("\x08\x96\x01\x12\x07testing"s), ElementsAre("1=150", "2:testing"));
  EXPECT_THAT(read("\x11\x01\x00\x00\x00\x00\x00\x00\x80\x1D\x02\x01\x00\x00"s),
              ElementsAre("2=9223372036854775809", "3=258"));
  EXPECT_THAT(read("\x0A\x00\x0A\x01x"s), ElementsAre("1:", "1:x"));
  EXPECT_THAT(read(""), IsEmpty());
}

TEST(ProtoReader, ReadsBackRandomMessages) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string message;
    std::vector<std::string> wanted;
    for (auto n = random() % 5; n > 0; --n) {
      const auto number = static_cast<std::uint32_t>(1 + random() % ((1U << 29U) - 1));
      if (random() % 2 == 0) {
        const std::string bytes(random() % 300, static_cast<char>(random()));
        add_proto_bytes(message, number, bytes);
        wanted.push_back(std::to_string(number) + ':' + bytes);
      } else {
        const auto value = random() >> random() % 64;
        add_proto_integer(message, number, value);
        wanted.push_back(std::to_string(number) + '=' + std::to_string(value));
      }
    }
    EXPECT_EQ(read(message), wanted);
  }
}

TEST(ProtoReader, StopsAtMalformedField) {
  const std::pair<std::string, std::vector<std::string>> cases[] = {
      {"\x08"s, {"broken"}},                                              // no value
      {"\x08\x96"s, {"broken"}},                                          // truncated value
      {"\x08\x01\x12\x07test"s, {"1=1", "broken"}},                       // truncated string
      {"\x12\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01x"s, {"broken"}},     // of 2^64-1 bytes
      {"\x12\xFF\xFF\xFF\xFF\x0Fx"s, {"broken"}},                         // of 4 GiB
      {"\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02"s, {"broken"}},      // 65 bits
      {"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"s, {"broken"}},  // eleven bytes
      {"\x00\x01"s, {"broken"}},                                          // field 0
      {"\x80\x80\x80\x80\x10\x01"s, {"broken"}},                          // field 2^29
      {"\x0B\x08\x01\x0C"s, {"broken"}},                                  // group wire type
      {"\x0E\x01"s, {"broken"}},                                          // undefined wire type
      {"\x09\x01\x02\x03"s, {"broken"}},                                  // 3 of 8 bytes
      {"\x0D\x01\x02\x03"s, {"broken"}},                                  // 3 of 4 bytes
  };
  for (const auto& [message, wanted] : cases) EXPECT_EQ(read(message), wanted) << testing::PrintToString(message);
  EXPECT_THAT(read("\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"s),
              ElementsAre("1=" + std::to_string(std::numeric_limits<std::uint64_t>::max())));
}

TEST(ProtoReader, ReadsDeeplyNestedMessages) {
  std::string message = "x";
  for (int i = 0; i < 10'000; ++i) {
    std::string enclosing;
    add_proto_bytes(enclosing, 1, message);
    message = std::move(enclosing);
  }
  EXPECT_EQ(read(message).size(), 1);
}

}  // namespace
}  // namespace cgwarden::discovery
