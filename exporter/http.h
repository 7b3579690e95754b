// SPDX-License-Identifier: Apache-2.0
// The parts of HTTP that need no socket: content negotiation, request targets, headers. Input is untrusted. No function
// fails or throws; elements that cannot be parsed are ignored. Stateless; any thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "exporter/exposition.h"

namespace cgwarden::exporter {

struct Negotiated {
  Format format = Format::text;
  std::string_view content_type = "text/plain; version=0.0.4; charset=utf-8";
};

// The exposition format with the highest weight in an Accept header; the text format if it contains none of ours.
Negotiated negotiate(std::string_view accept);

// True if an Accept-Encoding header prefers gzip over identity.
bool accepts_gzip(std::string_view accept_encoding);

struct Target {
  std::string path;
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in order
};

// Parses "/metrics?collect[]=cpu" and "http://host/metrics". Nullopt for other forms ("*", "host:1").
std::optional<Target> parse_target(std::string_view target);

// Time limit for a response, so that it arrives before the scraper times out: the header
// X-Prometheus-Scrape-Timeout-Seconds minus a tenth of it, at most half a second. `otherwise` if the header is missing
// or invalid.
std::chrono::nanoseconds response_timeout(std::string_view scrape_timeout, std::chrono::nanoseconds otherwise);

// Escapes `text` for HTML; control characters become visible.
std::string escape_html(std::string_view text);

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::string http_date(std::chrono::system_clock::time_point time);

}  // namespace cgwarden::exporter
