// SPDX-License-Identifier: Apache-2.0
// Fuzzes cgroup names. Displayed text is valid UTF-8 without terminal control sequences.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/http.h"
#include "src/base/text.h"

namespace {

void must(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cgwarden;
  const std::vector<char> exact(data, data + size);
  const std::string_view text(exact.data(), exact.size());

  const auto utf8 = base::to_utf8(text);
  must(base::is_utf8(utf8));
  must(base::to_utf8(utf8) == utf8);
  if (base::is_utf8(text)) must(utf8 == text);

  const auto shown = base::printable(text);
  must(base::is_utf8(shown));
  for (const char c : shown) must(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F);
  must(base::printable(shown) == shown);

  must(base::unescape_octal(text).size() <= text.size());

  const auto html = exporter::escape_html(text);
  for (const char c : html) must(c != '<' && c != '>');
  return 0;
}
