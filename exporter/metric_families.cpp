// SPDX-License-Identifier: Apache-2.0
#include "exporter/metric_families.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <string_view>

namespace cgwarden::exporter {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  char digits[32];
  return {digits, std::to_chars(digits, digits + sizeof digits, value).ptr};
}

// OpenMetrics requires a decimal point in the labels le and quantile: "1.0".
std::string label_number(double value, Format format) {
  auto out = number(value);
  if (format == Format::openmetrics && out.find_first_not_of("-0123456789") == std::string::npos) out += ".0";
  return out;
}

std::string_view type_name(MetricType type, Format format) {
  switch (type) {
    case MetricType::Counter:
      return "counter";
    case MetricType::Gauge:
      return "gauge";
    case MetricType::Summary:
      return "summary";
    case MetricType::Histogram:
      return "histogram";
    case MetricType::Untyped:
      break;
  }
  return format == Format::openmetrics ? "unknown" : "untyped";
}

class FamilyWriter {
 public:
  FamilyWriter(const MetricFamily& family, Format format, std::string& out) : format_(format), out_(out) {
    const bool om = format == Format::openmetrics;
    name_ = family.name;
    std::string sample = name_;
    if (om && family.type == MetricType::Counter) {
      constexpr std::string_view total = "_total";
      if (name_.ends_with(total)) name_.resize(name_.size() - total.size());
      sample = name_ + "_total";
    }
    if (!family.help.empty()) {
      out_ += "# HELP " + name_ + ' ';
      append_help(family.help, format, out_);
      out_ += '\n';
    }
    out_ += "# TYPE " + name_ + ' ';
    out_ += type_name(family.type, format);
    out_ += '\n';
    for (const auto& metric : family.metric) add(sample, family.type, metric);
  }

 private:
  void add(const std::string& name, MetricType type, const ClientMetric& metric) {
    switch (type) {
      case MetricType::Counter:
        return line(name, metric, {}, number(metric.counter.value));
      case MetricType::Gauge:
        return line(name, metric, {}, number(metric.gauge.value));
      case MetricType::Untyped:
        return line(name, metric, {}, number(metric.untyped.value));
      case MetricType::Summary:
        for (const auto& q : metric.summary.quantile) {
          line(name, metric, "quantile=\"" + label_number(q.quantile, format_) + '"', number(q.value));
        }
        line(name + "_sum", metric, {}, number(metric.summary.sample_sum));
        return line(name + "_count", metric, {}, std::to_string(metric.summary.sample_count));
      case MetricType::Histogram:
        return histogram(name, metric);
    }
  }

  void histogram(const std::string& name, const ClientMetric& metric) {
    const auto& h = metric.histogram;
    const auto bucket = [&](double bound, std::uint64_t count) {
      line(name + "_bucket", metric, "le=\"" + label_number(bound, format_) + '"', std::to_string(count));
    };
    for (const auto& b : h.bucket) bucket(b.upper_bound, b.cumulative_count);
    if (h.bucket.empty() || !std::isinf(h.bucket.back().upper_bound)) bucket(HUGE_VAL, h.sample_count);
    line(name + "_sum", metric, {}, number(h.sample_sum));
    line(name + "_count", metric, {}, std::to_string(h.sample_count));
  }

  void line(const std::string& name, const ClientMetric& metric, std::string_view last_label,
            const std::string& value) {
    out_ += name;
    char open = '{';
    for (const auto& label : metric.label) {
      out_ += open;
      out_ += label.name;
      out_ += "=\"";
      append_label_value(label.value, out_);
      out_ += '"';
      open = ',';
    }
    if (!last_label.empty()) {
      out_ += open;
      out_ += last_label;
      open = ',';
    }
    if (open == ',') out_ += '}';
    out_ += ' ';
    out_ += value;
    if (metric.timestamp_ms != 0) {
      out_ += ' ';
      out_ += format_ == Format::text ? std::to_string(metric.timestamp_ms)
                                      : number(static_cast<double>(metric.timestamp_ms) / 1000);
    }
    out_ += '\n';
  }

  Format format_;
  std::string& out_;
  std::string name_;  // of the family, without "_total" in OpenMetrics
};

}  // namespace

void append_families(std::vector<MetricFamily> families, Format format, std::string& out) {
  std::ranges::sort(families, {}, &MetricFamily::name);
  for (auto& family : families) {
    if (family.metric.empty()) continue;
    std::ranges::stable_sort(family.metric, {}, &ClientMetric::label);
    FamilyWriter(family, format, out);
  }
}

}  // namespace cgwarden::exporter
