// SPDX-License-Identifier: Apache-2.0
#include "exporter/textfile.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "src/base/fd.h"
#include "src/base/names.h"
#include "src/base/text.h"

namespace cgwarden::exporter {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

constexpr std::size_t kMaxLabels = 64;
constexpr std::size_t kMaxBuckets = 256;
constexpr std::string_view kTypes[] = {"counter", "gauge", "summary", "histogram", "untyped"};

bool is_metric_name(std::string_view name) {
  const auto is_start = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':'; };
  return !name.empty() && name.size() <= 256 && is_start(name.front()) &&
         std::ranges::all_of(name, [&](char c) { return is_start(c) || (c >= '0' && c <= '9'); });
}

bool is_label_name(std::string_view name) {
  return is_metric_name(name) && name.find(':') == std::string_view::npos && !name.starts_with("__");
}

std::optional<double> number(std::string_view text) {
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "+Inf" || text == "Inf") return std::numeric_limits<double>::infinity();
  if (text == "-Inf") return -std::numeric_limits<double>::infinity();
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

// A count of a histogram or summary: a whole number.
std::optional<std::uint64_t> count(double value) {
  if (!(value >= 0) || value > 1e18 || value != std::floor(value)) return std::nullopt;
  return static_cast<std::uint64_t>(value);
}

class Parser {
 public:
  base::Result<std::vector<MetricFamily>> parse(std::string_view text) {
    if (!base::is_utf8(text)) return base::fail("not valid UTF-8");
    if (text.find('\0') != std::string_view::npos) return base::fail("NUL byte");
    if (!text.empty() && !text.ends_with('\n')) return base::fail("last line has no newline");
    for (int line = 1; !text.empty(); ++line) {
      const auto fault = parse_line(base::take_line(text));
      if (!fault.empty()) return base::fail("line " + std::to_string(line) + ": " + fault);
    }
    std::vector<MetricFamily> out;
    for (auto& [name, parsed] : families_) {
      for (auto& [labels, metric] : parsed.metrics) {
        if (auto fault = finish(parsed.family.type, metric); !fault.empty()) return base::fail(name + ": " + fault);
        parsed.family.metric.push_back(std::move(metric));
      }
      if (!parsed.family.metric.empty()) out.push_back(std::move(parsed.family));
    }
    return out;
  }

 private:
  struct ParsedFamily {
    MetricFamily family;
    bool typed = false;
    std::map<Labels, ClientMetric> metrics;
    std::set<Labels> seen;  // all labels including le and quantile
  };

  std::string parse_line(std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    while (line.starts_with(' ') || line.starts_with('\t')) line.remove_prefix(1);
    if (line.empty()) return {};
    return line.front() == '#' ? parse_comment(line.substr(1)) : parse_sample(line);
  }

  std::string parse_comment(std::string_view line) {
    const auto what = base::take_word(line);
    if (what != "HELP" && what != "TYPE") return {};
    const auto name = base::take_word(line);
    if (!is_metric_name(name)) return "invalid metric name";
    auto& parsed = families_[std::string(name)];
    parsed.family.name = std::string(name);
    if (what == "HELP") {
      if (!parsed.family.help.empty()) return "duplicate HELP of " + parsed.family.name;
      if (line.starts_with(' ')) line.remove_prefix(1);
      for (std::size_t i = 0; i < line.size(); ++i) {
        if (line[i] == '\\' && i + 1 < line.size() && (line[i + 1] == 'n' || line[i + 1] == '\\')) {
          parsed.family.help += line[++i] == 'n' ? '\n' : '\\';
        } else {
          parsed.family.help += line[i];
        }
      }
      return {};
    }
    if (std::exchange(parsed.typed, true)) return "duplicate TYPE of " + parsed.family.name;
    if (!parsed.metrics.empty()) return "TYPE after the first series of " + parsed.family.name;
    const auto type = base::take_word(line);
    for (const auto& [word, value] : {std::pair<std::string_view, MetricType>{"counter", MetricType::Counter},
                                      {"gauge", MetricType::Gauge},
                                      {"summary", MetricType::Summary},
                                      {"histogram", MetricType::Histogram},
                                      {"untyped", MetricType::Untyped}}) {
      if (type == word) {
        parsed.family.type = value;
        return {};
      }
    }
    return base::unknown_name("type", type.substr(0, 32), kTypes);
  }

  std::string parse_labels(std::string_view& line, Labels& labels) {
    line.remove_prefix(1);
    while (true) {
      while (line.starts_with(' ')) line.remove_prefix(1);
      if (line.starts_with('}')) break;
      const auto equals = line.find('=');
      if (equals == std::string_view::npos) return "label has no value";
      const auto name = base::trim_end(line.substr(0, equals));
      if (!is_label_name(name)) return "invalid label name";
      line.remove_prefix(equals + 1);
      while (line.starts_with(' ')) line.remove_prefix(1);
      if (!line.starts_with('"')) return "label value is not quoted";
      line.remove_prefix(1);
      std::string value;
      while (!line.empty() && line.front() != '"') {
        char c = line.front();
        line.remove_prefix(1);
        if (c == '\\') {
          if (line.empty()) return "label value has no closing quote";
          c = line.front();
          line.remove_prefix(1);
          if (c != 'n' && c != '\\' && c != '"') return "unknown escape in label value";
          if (c == 'n') c = '\n';
        }
        value += c;
      }
      if (line.empty()) return "label value has no closing quote";
      line.remove_prefix(1);
      if (labels.size() >= kMaxLabels) return "more than " + std::to_string(kMaxLabels) + " labels";
      labels.push_back({std::string(name), std::move(value)});
      while (line.starts_with(' ')) line.remove_prefix(1);
      if (line.starts_with(',')) {
        line.remove_prefix(1);
      } else if (!line.starts_with('}')) {
        return "',' or '}' is missing after a label";
      }
    }
    line.remove_prefix(1);
    std::ranges::sort(labels, {}, &ClientMetric::Label::name);
    const auto same = [](const auto& a, const auto& b) { return a.name == b.name; };
    if (std::ranges::adjacent_find(labels, same) != labels.end()) return "duplicate label";
    return {};
  }

  // For "x_bucket" of histogram x: the family of x and the suffix "_bucket".
  std::pair<ParsedFamily*, std::string_view> family_of(std::string_view name) {
    for (const std::string_view end : {"_bucket", "_sum", "_count"}) {
      if (!name.ends_with(end)) continue;
      const auto at = families_.find(std::string(name.substr(0, name.size() - end.size())));
      if (at == families_.end()) continue;
      const auto type = at->second.family.type;
      if (type == MetricType::Histogram || (type == MetricType::Summary && end != "_bucket")) {
        return {&at->second, end};
      }
    }
    auto& parsed = families_[std::string(name)];
    if (parsed.family.name.empty()) {
      parsed.family.name = std::string(name);
      parsed.family.type = MetricType::Untyped;
    }
    if (!parsed.typed) parsed.family.type = MetricType::Untyped;
    return {&parsed, {}};
  }

  std::string parse_sample(std::string_view line) {
    const auto end = line.find_first_of("{ \t");
    if (end == std::string_view::npos) return "series has no value";
    const auto name = line.substr(0, end);
    if (!is_metric_name(name)) return "invalid metric name";
    line.remove_prefix(end);
    while (line.starts_with(' ')) line.remove_prefix(1);
    Labels labels;
    if (line.starts_with('{')) {
      if (auto fault = parse_labels(line, labels); !fault.empty()) return fault;
    }
    const auto value = number(base::take_word(line));
    if (!value) return "invalid value";
    if (!base::take_word(line).empty()) return "timestamps are unsupported";
    const auto [parsed, part] = family_of(name);
    return add(*parsed, part, std::move(labels), *value);
  }

  std::string add(ParsedFamily& parsed, std::string_view part, Labels labels, double value) {
    if (++series_ > Textfiles::kMaxSeries) return "more than " + std::to_string(Textfiles::kMaxSeries) + " series";
    auto whole = labels;
    whole.push_back({"", std::string(part)});
    if (!parsed.seen.insert(whole).second) return "duplicate series";
    const auto take = [&labels](std::string_view name) -> std::optional<double> {
      const auto at = std::ranges::find(labels, name, &ClientMetric::Label::name);
      if (at == labels.end()) return std::nullopt;
      const auto bound = number(at->value);
      labels.erase(at);
      return bound;
    };
    const auto type = parsed.family.type;
    std::optional<double> bound;
    if (type == MetricType::Histogram && part == "_bucket") {
      if (!(bound = take("le")) || std::isnan(*bound)) return "bucket has no numeric label le";
    }
    if (type == MetricType::Summary && part.empty()) {
      if (!(bound = take("quantile"))) return "quantile has no numeric label quantile";
    }
    if (type == MetricType::Histogram && part.empty()) return "histogram sample without _bucket, _sum or _count";
    auto& metric = parsed.metrics[labels];
    metric.label = labels;
    const bool counts = (type == MetricType::Histogram || type == MetricType::Summary) && part != "_sum" &&
                        !(type == MetricType::Summary && part.empty());
    const auto whole_number = counts ? count(value) : std::optional<std::uint64_t>(0);
    if (!whole_number) return "count is not a whole number";
    switch (type) {
      case MetricType::Counter:
        if (!(value >= 0)) return "negative counter";
        metric.counter.value = value;
        break;
      case MetricType::Gauge:
        metric.gauge.value = value;
        break;
      case MetricType::Untyped:
        metric.untyped.value = value;
        break;
      case MetricType::Summary:
        if (part == "_sum") metric.summary.sample_sum = value;
        if (part == "_count") metric.summary.sample_count = *whole_number;
        if (part.empty()) metric.summary.quantile.push_back({*bound, value});
        if (metric.summary.quantile.size() > kMaxBuckets) return "too many quantiles";
        break;
      case MetricType::Histogram:
        if (part == "_sum") metric.histogram.sample_sum = value;
        if (part == "_count") metric.histogram.sample_count = *whole_number;
        if (part == "_bucket") metric.histogram.bucket.push_back({*whole_number, *bound});
        if (metric.histogram.bucket.size() > kMaxBuckets) return "too many buckets";
        break;
    }
    return {};
  }

  static std::string finish(MetricType type, ClientMetric& metric) {
    if (type == MetricType::Summary) std::ranges::sort(metric.summary.quantile, {}, &ClientMetric::Quantile::quantile);
    if (type != MetricType::Histogram) return {};
    auto& buckets = metric.histogram.bucket;
    std::ranges::sort(buckets, {}, &ClientMetric::Bucket::upper_bound);
    if (buckets.empty() || !std::isinf(buckets.back().upper_bound)) return "histogram has no bucket +Inf";
    const auto is_less = [](const auto& a, const auto& b) { return a.cumulative_count > b.cumulative_count; };
    if (std::ranges::adjacent_find(buckets, is_less) != buckets.end()) return "bucket counts are not cumulative";
    if (buckets.back().cumulative_count != metric.histogram.sample_count) return "bucket +Inf differs from count";
    return {};
  }

  std::map<std::string, ParsedFamily> families_;
  std::size_t series_ = 0;
};

struct File {
  std::string text;
  double mtime = 0;
};

base::Result<File> read_file(int dir, const std::string& name) {
  const base::Fd fd(::openat(dir, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!fd) return base::fail_errno("cannot open");
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return base::fail_errno("cannot stat");
  if (!S_ISREG(st.st_mode)) return base::fail("not a regular file");
  File out;
  out.mtime = static_cast<double>(st.st_mtim.tv_sec) + static_cast<double>(st.st_mtim.tv_nsec) * 1e-9;
  out.text.resize(Textfiles::kMaxFileBytes + 1);
  std::size_t size = 0;
  while (size < out.text.size()) {
    const auto n = ::read(fd.get(), out.text.data() + size, out.text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::fail_errno("cannot read");
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  if (size > Textfiles::kMaxFileBytes) return base::fail("larger than 1 MiB");
  out.text.resize(size);
  return out;
}

std::size_t series_of(const std::vector<MetricFamily>& families) {
  std::size_t n = 0;
  for (const auto& family : families) {
    for (const auto& metric : family.metric) n += 1 + metric.histogram.bucket.size() + metric.summary.quantile.size();
  }
  return n;
}

// The name without the suffixes of OpenMetrics and histograms.
std::string base_name(std::string_view name) {
  for (const std::string_view end : {"_total", "_bucket", "_sum", "_count", "_created"}) {
    if (name.ends_with(end)) return std::string(name.substr(0, name.size() - end.size()));
  }
  return std::string(name);
}

}  // namespace

base::Result<std::vector<MetricFamily>> parse_text_format(std::string_view text) { return Parser().parse(text); }

void Textfiles::add_to(std::vector<MetricFamily>& families) const {
  if (directories_.empty()) return;
  std::set<std::string> taken = {"cgwarden_textfile_mtime_seconds", "cgwarden_textfile_scrape_error"};
  for (const auto& family : families) taken.insert(base_name(family.name));
  MetricFamily mtime{"cgwarden_textfile_mtime_seconds",
                     "Modification time of the textfile in seconds since the Unix epoch.",
                     MetricType::Gauge,
                     {}};
  MetricFamily error{"cgwarden_textfile_scrape_error",
                     "Whether reading the textfile or the directory failed (1) or succeeded (0).",
                     MetricType::Gauge,
                     {}};
  const auto add_sample = [](MetricFamily& family, const std::string& file, double value) {
    ClientMetric metric;
    metric.label = {{"file", base::to_utf8(file)}};
    metric.gauge.value = value;
    family.metric.push_back(std::move(metric));
  };
  std::size_t files = 0;
  std::size_t series = 0;
  for (const auto& directory : directories_) {
    const base::Fd dir(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    std::error_code failed;
    std::vector<std::string> names;
    std::filesystem::directory_iterator entries(directory, failed);
    for (std::size_t seen = 0; !failed && entries != std::filesystem::directory_iterator() && seen < 4096; ++seen) {
      const auto name = entries->path().filename().string();
      if (name.ends_with(".prom") && !name.starts_with('.')) names.push_back(name);
      entries.increment(failed);
    }
    add_sample(error, directory, !dir || failed ? 1 : 0);
    std::ranges::sort(names);
    for (const auto& name : names) {
      if (++files > kMaxFiles) break;
      const auto path = directory + '/' + name;
      const auto file = read_file(dir.get(), name);
      auto parsed = file ? parse_text_format(file->text) : tl::unexpected(file.error());
      bool good = parsed.has_value();
      if (good) {
        series += series_of(*parsed);
        good = series <= kMaxSeries && std::ranges::none_of(*parsed, [&](const MetricFamily& family) {
                 return family.name.starts_with("cgroup_") || taken.contains(base_name(family.name));
               });
      }
      if (file) add_sample(mtime, path, file->mtime);
      add_sample(error, path, good ? 0 : 1);
      if (!good) continue;
      for (auto& family : *parsed) {
        taken.insert(base_name(family.name));
        families.push_back(std::move(family));
      }
    }
  }
  families.push_back(std::move(mtime));
  families.push_back(std::move(error));
}

}  // namespace cgwarden::exporter
