// SPDX-License-Identifier: Apache-2.0
// What of HTTP needs no socket: negotiation, targets, headers. Input is hostile; nothing here fails or throws, what is
// not understood is passed over. Stateless: any thread.
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

// The exposition format an Accept header likes best. Text when it names none of ours.
Negotiated negotiate(std::string_view accept);

// Whether an Accept-Encoding header wants gzip.
bool accepts_gzip(std::string_view accept_encoding);

struct Target {
  std::string path;
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in order
};

// "/metrics?collect[]=cpu", also "http://host/metrics". Nothing: this is no target of ours ("*", "host:1").
std::optional<Target> parse_target(std::string_view target);

// How long an answer may take so that it arrives before the scraper gives up: the header
// X-Prometheus-Scrape-Timeout-Seconds less a margin of a tenth, at most half a second. `otherwise` when the header is
// missing or makes no sense.
std::chrono::nanoseconds answer_within(std::string_view scrape_timeout, std::chrono::nanoseconds otherwise);

// `text` as HTML text.
std::string html(std::string_view text);

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::string http_date(std::chrono::system_clock::time_point time);

}  // namespace cgwarden::exporter
