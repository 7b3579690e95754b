// SPDX-License-Identifier: Apache-2.0
#include "exporter/http.h"

#include <time.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "src/base/text.h"

namespace cgwarden::exporter {
namespace {

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

bool iequals(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

std::optional<double> to_double(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value) || value < 0) {
    return std::nullopt;
  }
  return value;
}

// One element of an Accept or Accept-Encoding list: "text/plain;version=0.0.4;q=0.5".
struct Choice {
  std::string_view name;
  std::string_view version;
  double quality = 1;
};

Choice parse_choice(std::string_view element) {
  Choice out;
  out.name = trim(base::take_until(element, ';'));
  while (!element.empty()) {
    auto value = trim(base::take_until(element, ';'));
    const auto name = trim(base::take_until(value, '='));
    value = trim(value);
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
    // An invalid weight counts as 0, so that the default is used.
    if (iequals(name, "q")) out.quality = std::min(to_double(value).value_or(0), 1.0);
    if (iequals(name, "version")) out.version = value;
  }
  return out;
}

std::optional<Negotiated> format_of(const Choice& choice) {
  if (iequals(choice.name, "application/openmetrics-text")) {
    if (choice.version == "0.0.1") {
      return Negotiated{Format::openmetrics, "application/openmetrics-text; version=0.0.1; charset=utf-8"};
    }
    if (choice.version.empty() || choice.version == "1.0.0") {
      return Negotiated{Format::openmetrics, "application/openmetrics-text; version=1.0.0; charset=utf-8"};
    }
    return std::nullopt;
  }
  if (iequals(choice.name, "text/plain") && !choice.version.empty() && choice.version != "0.0.4") return std::nullopt;
  if (iequals(choice.name, "text/plain") || iequals(choice.name, "text/*") || choice.name == "*/*") return Negotiated{};
  return std::nullopt;
}

std::string decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
      continue;
    }
    if (text[i] == '%' && i + 2 < text.size()) {
      if (const auto byte = base::to_int<unsigned>(text.substr(i + 1, 2), 16)) {
        out += static_cast<char>(*byte);
        i += 2;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

}  // namespace

Negotiated negotiate(std::string_view accept) {
  Negotiated best;
  double quality = 0;
  while (!accept.empty()) {
    const auto choice = parse_choice(base::take_until(accept, ','));
    if (choice.quality <= quality) continue;
    if (const auto format = format_of(choice)) {
      best = *format;
      quality = choice.quality;
    }
  }
  return best;
}

bool accepts_gzip(std::string_view accept_encoding) {
  std::optional<double> gzip;
  std::optional<double> any;
  double identity = 0;
  while (!accept_encoding.empty()) {
    const auto choice = parse_choice(base::take_until(accept_encoding, ','));
    if (iequals(choice.name, "gzip") || iequals(choice.name, "x-gzip")) gzip = choice.quality;
    if (choice.name == "*") any = choice.quality;
    if (iequals(choice.name, "identity")) identity = choice.quality;
  }
  const double quality = gzip.value_or(any.value_or(0));
  return quality > 0 && quality >= identity;
}

std::optional<Target> parse_target(std::string_view target) {
  if (const auto scheme = target.find("://"); scheme != std::string_view::npos && !target.starts_with('/')) {
    const auto path = target.find_first_of("/?", scheme + 3);
    target = path == std::string_view::npos || target[path] == '?' ? "/" : target.substr(path);
  }
  if (!target.starts_with('/')) return std::nullopt;
  Target out;
  out.path = base::take_until(target, '?');
  while (!target.empty()) {
    auto value = base::take_until(target, '&');
    const auto name = base::take_until(value, '=');
    if (!name.empty()) out.query.emplace_back(decode(name), decode(value));
  }
  return out;
}

std::chrono::nanoseconds response_timeout(std::string_view scrape_timeout, std::chrono::nanoseconds otherwise) {
  constexpr double max_timeout = 3600;
  const auto seconds = to_double(trim(scrape_timeout));
  if (!seconds || *seconds <= 0) return otherwise;
  const double timeout = std::min(*seconds, max_timeout);
  return std::chrono::nanoseconds(static_cast<std::int64_t>((timeout - std::min(0.5, timeout / 10)) * 1e9));
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : base::printable(text)) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else {
      out += c;
    }
  }
  return out;
}

std::string http_date(std::chrono::system_clock::time_point time) {
  constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto seconds = std::chrono::system_clock::to_time_t(time);
  tm utc{};
  ::gmtime_r(&seconds, &utc);
  char out[64];
  const int size = std::snprintf(out, sizeof out, "%s, %02d %s %d %02d:%02d:%02d GMT", days[utc.tm_wday], utc.tm_mday,
                                 months[utc.tm_mon], 1900 + utc.tm_year, utc.tm_hour, utc.tm_min, utc.tm_sec);
  return {out, static_cast<std::size_t>(size)};
}

}  // namespace cgwarden::exporter
