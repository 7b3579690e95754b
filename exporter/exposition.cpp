// SPDX-License-Identifier: Apache-2.0
#include "exporter/exposition.h"

#include "src/base/text.h"

namespace cgwarden::exporter {
namespace {

void append_escaped(std::string_view text, bool quotes, std::string& out) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

}  // namespace

void append_label_value(std::string_view value, std::string& out) {
  if (base::is_utf8(value)) return append_escaped(value, true, out);
  append_escaped(base::to_utf8(value), true, out);
}

void append_help(std::string_view help, Format format, std::string& out) {
  append_escaped(base::to_utf8(help), format == Format::openmetrics, out);
}

}  // namespace cgwarden::exporter
