// SPDX-License-Identifier: Apache-2.0
// The two text formats of Prometheus and their escaping rules.
//   text         https://prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4
//   openmetrics  https://prometheus.io/docs/specs/om/open_metrics_spec, version 1.0.0
// Stateless; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cgwarden::exporter {

enum class Format : std::uint8_t { text, openmetrics };

// End of an exposition: empty, or "# EOF\n".
constexpr std::string_view last_line(Format format) { return format == Format::openmetrics ? "# EOF\n" : ""; }

// Appends `value` as label value without the quotes: valid UTF-8, with backslash, quote and newline escaped.
void append_label_value(std::string_view value, std::string& out);

// Appends `help` as the text after "# HELP name ". OpenMetrics escapes quotes there, the text format does not.
void append_help(std::string_view help, Format format, std::string& out);

}  // namespace cgwarden::exporter
