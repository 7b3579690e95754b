// SPDX-License-Identifier: Apache-2.0
#include "exporter/text_writer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <unordered_set>

#include "exporter/container_families.h"
#include "src/base/text.h"

namespace cgwarden::exporter {
namespace {

using model::Value;

constexpr std::size_t kSampleRoom = 40;  // sign, 19 digits, point, newline, and spare

char* put(char* at, std::string_view text) {
  if (text.empty()) return at;  // data() may be null, which memcpy does not allow
  std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

constexpr std::uint64_t power_of_ten(int n) { return n == 0 ? 1 : 10 * power_of_ten(n - 1); }

constexpr auto kPairs = [] {
  std::array<char, 200> pairs{};
  for (std::size_t i = 0; i < 100; ++i) {
    pairs[2 * i] = static_cast<char>('0' + i / 10);
    pairs[2 * i + 1] = static_cast<char>('0' + i % 10);
  }
  return pairs;
}();

// Writes a fixed-point number with kDecimals decimals, without trailing zeros or a trailing point.
template <int kDecimals>
char* put_fixed(char* at, std::int64_t fixed) {
  auto magnitude = static_cast<std::uint64_t>(fixed);
  if (fixed < 0) {
    *at++ = '-';
    magnitude = 0 - magnitude;
  }
  if constexpr (kDecimals == 0) {
    return std::to_chars(at, at + 20, magnitude).ptr;
  } else {
    constexpr std::uint64_t one = power_of_ten(kDecimals);
    at = std::to_chars(at, at + 20, magnitude / one).ptr;
    auto fraction = static_cast<std::uint32_t>(magnitude % one);
    if (fraction == 0) return at;
    *at++ = '.';
    char* end = at + kDecimals;
    char* back = end;
    for (int left = kDecimals; left >= 2; left -= 2) {
      back -= 2;
      std::memcpy(back, &kPairs[2 * std::size_t{fraction % 100}], 2);
      fraction /= 100;
    }
    if constexpr (kDecimals % 2 == 1) *--back = static_cast<char>('0' + fraction);
    while (end[-1] == '0') --end;
    return end;
  }
}

template <int kDecimals>
char* put_value(char* at, Value value) {
  at = value.is_unlimited() ? put(at, "+Inf") : put_fixed<kDecimals>(at, value.fixed());
  *at++ = '\n';
  return at;
}

// Properties of the label text of a series. Plain text is copied without escaping.
struct LabelText {
  bool plain = true;
  std::size_t values = 1;
};

LabelText inspect(std::string_view text) {
  LabelText out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0) {
      ++out.values;
    } else if (byte == '"' || byte == '\\' || byte == '\n' || byte >= 0x80) {
      out.plain = false;
    }
  }
  return out;
}

// Any total order works; this one matches the usual order of the kernel: "8:16" after "8:0", "10" after "9".
bool label_less(std::string_view a, std::string_view b) { return a.size() != b.size() ? a.size() < b.size() : a < b; }

std::string_view type_of(model::MetricKind kind, Format format) {
  switch (kind) {
    case model::MetricKind::counter:
      return "counter";
    case model::MetricKind::info:
      if (format == Format::openmetrics) return "info";
      break;
    case model::MetricKind::gauge:
    case model::MetricKind::setting:
      break;
  }
  return "gauge";
}

std::string header_of(const model::Field& field, Format format) {
  const bool om = format == Format::openmetrics;
  const auto family = om ? model::metric_family(field) : model::metric_name(field);
  std::string out = "# HELP " + family + ' ';
  append_help(field.help, format, out);
  out += "\n# TYPE " + family + ' ';
  out += type_of(field.kind, format);
  out += '\n';
  if (om && field.unit != model::Unit::none) {
    out += "# UNIT " + family + ' ';
    out += model::name(field.unit);
    out += '\n';
  }
  return out;
}

// The invalid bytes of `raw` in hexadecimal: "ff" for "/a\xff".
std::string invalid_bytes(std::string_view raw, std::string_view cleaned) {
  constexpr std::string_view digits = "0123456789abcdef";
  constexpr std::string_view replacement = "\xEF\xBF\xBD";
  std::string out;
  while (!raw.empty()) {
    if (raw.front() == cleaned.front() && !(cleaned.starts_with(replacement) && !raw.starts_with(replacement))) {
      raw.remove_prefix(1);
      cleaned.remove_prefix(1);
    } else {
      const auto byte = static_cast<unsigned char>(raw.front());
      out += digits[byte >> 4U];
      out += digits[byte & 0xFU];
      raw.remove_prefix(1);
      cleaned.remove_prefix(replacement.size());
    }
  }
  return out;
}

}  // namespace

void path_label(const model::Cgroup& cgroup, std::string& out) {
  out += "cgroup=\"";
  if (base::is_utf8(cgroup.path)) {
    append_label_value(cgroup.path, out);
  } else {
    const auto cleaned = base::to_utf8(cgroup.path);
    append_label_value(cleaned, out);
    out += '#';
    out += invalid_bytes(cgroup.path, cleaned);
  }
  out += '"';
}

const std::vector<TextWriter::Family>& TextWriter::families_of(const std::shared_ptr<const model::Catalogue>& catalogue,
                                                               Format format) {
  if (catalogue != catalogue_) {
    catalogue_ = catalogue;
    for (auto& families : families_) families.clear();
  }
  auto& families = families_[static_cast<std::size_t>(format)];
  if (!families.empty()) return families;
  families.reserve(catalogue->size());
  for (std::size_t id = 0; id < catalogue->size(); ++id) {
    const auto& field = catalogue->field(static_cast<model::FieldId>(id));
    Family family;
    family.header = header_of(field, format);
    family.name = model::metric_name(field) + '{';
    if (options_.created && format == Format::openmetrics && field.kind == model::MetricKind::counter) {
      family.created = model::metric_family(field) + "_created{";
    }
    auto names = field.labels;
    while (!names.empty()) {
      family.labels.push_back(family.labels.empty() ? "," : "\",");
      family.labels.back() += base::take_until(names, ',');
      family.labels.back() += "=\"";
      family.labels_size += family.labels.back().size();
    }
    families.push_back(std::move(family));
  }
  return families;
}

void TextWriter::prepare_blocks(const std::shared_ptr<const model::CgroupList>& cgroup_list) {
  if (cgroup_list == cgroup_list_ && cgroup_list) return;
  cgroup_list_.reset();  // stays empty if the label source throws
  block_text_.clear();
  blocks_.clear();
  max_block_size_ = 0;
  if (!cgroup_list) return;

  struct Extent {
    std::size_t at, size, created_at, created_size;
  };
  std::vector<Extent> extents;
  extents.reserve(cgroup_list->cgroups.size());
  for (const auto& cgroup : cgroup_list->cgroups) {
    Extent extent{};
    extent.at = block_text_.size();
    options_.labels(*cgroup, block_text_);
    if (block_text_.size() == extent.at) path_label(*cgroup, block_text_);
    extent.size = block_text_.size() - extent.at;
    extents.push_back(extent);
  }

  // Two cgroups with the same labels would write one series twice. If a label source produces such labels, the later
  // cgroup gets its ID as an additional label; if that is not unique either, it is omitted.
  std::string text;
  text.reserve(block_text_.size() + cgroup_list->cgroups.size() * 32);
  std::unordered_set<std::string> seen;
  seen.reserve(cgroup_list->cgroups.size());
  for (std::size_t i = 0; i < extents.size(); ++i) {
    auto& extent = extents[i];
    const auto& cgroup = *cgroup_list->cgroups[i];
    auto labels = block_text_.substr(extent.at, extent.size);
    extent = {text.size(), 0, 0, 0};
    if (!seen.insert(labels).second) {
      labels += ",cgroup_id=\"" + std::to_string(cgroup.id) + '"';
      if (!seen.insert(labels).second) continue;
    }
    text += labels;
    text += "} ";
    extent.size = text.size() - extent.at;
    extent.created_at = text.size();
    char number[kSampleRoom];
    const auto created =
        std::chrono::duration_cast<std::chrono::nanoseconds>(cgroup.created.time_since_epoch()).count();
    if (created != 0) text.append(number, put_value<9>(number, Value::of(created)));
    extent.created_size = text.size() - extent.created_at;
  }

  block_text_ = std::move(text);
  const std::string_view all = block_text_;
  blocks_.reserve(extents.size());
  for (const auto& e : extents) {
    blocks_.push_back({all.substr(e.at, e.size), all.substr(e.created_at, e.created_size)});
    max_block_size_ = std::max(max_block_size_, e.size);
  }
  cgroup_list_ = cgroup_list;
}

// Called within a family too: with thousands of cgroups a family can have megabytes.
void TextWriter::flush_if_full(Buffer& out, const Flush& flush) {
  if (out.size() >= kPiece && flush) flush(out);
}

template <int kDecimals>
std::size_t TextWriter::write_dense(const Family& family, const model::Column& column, Buffer& out,
                                    const Flush& flush) const {
  const std::size_t need = family.name.size() + family.created.size() + 2 * (max_block_size_ + kSampleRoom);
  const std::size_t cgroups = std::min(column.dense.size(), blocks_.size());
  std::size_t series = 0;
  char* at = out.room(need);
  for (std::size_t cgroup = 0; cgroup < cgroups; ++cgroup) {
    const Value value = column.dense[cgroup];
    const Block& block = blocks_[cgroup];
    if (!value.has_value() || block.text.empty()) continue;
    if (static_cast<std::size_t>(out.limit() - at) < need || (flush && at >= out.view().data() + kPiece)) {
      out.written_to(at);
      flush_if_full(out, flush);
      at = out.room(need);
    }
    at = put(at, family.name);
    at = put(at, block.text);
    at = put_value<kDecimals>(at, value);
    if (!family.created.empty() && !block.created.empty()) {
      at = put(at, family.created);
      at = put(at, block.text);
      at = put(at, block.created);
    }
    ++series;
  }
  out.written_to(at);
  return series;
}

bool TextWriter::is_duplicate(const model::Column& column, std::string_view text, bool plain) const {
  if (plain)
    return std::ranges::any_of(run_, [&](const auto* series_row) { return column.text_of(*series_row) == text; });
  // Different bytes may map to the same UTF-8 text.
  const auto cleaned = base::to_utf8(text);
  return std::ranges::any_of(
      run_, [&](const auto* series_row) { return base::to_utf8(column.text_of(*series_row)) == cleaned; });
}

template <int kDecimals>
std::size_t TextWriter::write_labeled(const Family& family, const model::Column& column, bool info, Buffer& out,
                                      const Flush& flush) {
  std::size_t series = 0;
  const model::Series* previous = nullptr;
  std::string_view lowest;
  std::string_view highest;
  for (const auto& series_row : column.series) {
    const bool of_no_cgroup = series_row.cgroup == model::kNoCgroup;
    if (!series_row.value.has_value() || (!of_no_cgroup && series_row.cgroup >= blocks_.size())) continue;
    const Block block = of_no_cgroup ? Block{} : blocks_[series_row.cgroup];
    if (block.text.empty() && !of_no_cgroup) continue;
    auto text = column.text_of(series_row);
    const auto text_info = inspect(text);
    if (text_info.values != family.labels.size()) continue;

    if (previous == nullptr || series_row.cgroup != previous->cgroup) {
      run_.clear();
      lowest = highest = text;
    } else if (text_info.plain && label_less(highest, text)) {
      highest = text;
    } else if (text_info.plain && label_less(text, lowest)) {
      lowest = text;
    } else if (is_duplicate(column, text, text_info.plain)) {
      continue;
    }
    previous = &series_row;
    run_.push_back(&series_row);

    // Labels of this series, from the end of the cgroup block to the space before the value.
    const std::size_t need = family.name.size() + family.created.size() +
                             2 * (max_block_size_ + family.labels_size + 3 * text.size() + kSampleRoom);
    const auto cgroup_labels = of_no_cgroup ? std::string_view() : block.text.substr(0, block.text.size() - 2);
    char* at = out.room(need);
    at = put(at, family.name);
    at = put(at, cgroup_labels);
    const char* labels = at;
    for (const auto& label : family.labels) {
      const bool leads = at == labels && of_no_cgroup;  // no comma before the first label
      at = put(at, std::string_view(label).substr(leads ? 1 : 0));
      const auto value = base::take_until(text, '\0');
      if (text_info.plain) {
        at = put(at, value);
      } else {
        scratch_.clear();
        append_label_value(value, scratch_);
        at = put(at, scratch_);
      }
    }
    at = put(at, "\"} ");
    const std::string_view tail(labels, static_cast<std::size_t>(at - labels));
    at = info ? put(at, "1\n") : put_value<kDecimals>(at, series_row.value);
    if (!family.created.empty() && !block.created.empty()) {
      at = put(at, family.created);
      at = put(at, cgroup_labels);
      at = put(at, tail);
      at = put(at, block.created);
    }
    out.written_to(at);
    flush_if_full(out, flush);
    ++series;
  }
  run_.clear();
  return series;
}

std::size_t TextWriter::write(const model::Snapshot& snapshot, Format format, const CollectorFilter& only, Buffer& out,
                              const Flush& flush) {
  if (!snapshot.catalogue) return 0;
  prepare_blocks(snapshot.cgroup_list);
  const auto& families = families_of(snapshot.catalogue, format);
  std::size_t all = 0;
  for (const auto id : snapshot.catalogue->by_metric_name()) {
    const auto collector = snapshot.catalogue->collector_of(id);
    if (!only.empty() && (collector >= only.size() || !only[collector])) continue;
    if (id >= snapshot.columns.size()) continue;
    const auto& column = snapshot.columns[id];
    if (column.dense.empty() && column.series.empty()) continue;
    const auto& field = snapshot.catalogue->field(id);
    const auto& family = families[id];

    const auto start = out.size();
    out.append(family.header);
    const auto write_as = [&]<int kDecimals>() {
      return field.labelled()
                 ? write_labeled<kDecimals>(family, column, field.kind == model::MetricKind::info, out, flush)
                 : write_dense<kDecimals>(family, column, out, flush);
    };
    std::size_t series = 0;
    switch (model::decimals(field.unit)) {
      case 9:
        series = write_as.template operator()<9>();
        break;
      case 4:
        series = write_as.template operator()<4>();
        break;
      default:
        series = write_as.template operator()<0>();
    }
    if (series == 0) out.truncate(start);
    all += series;
  }
  if (only.empty()) all += write_containers(snapshot, format, out);
  return all;
}

std::string render_once(const model::Snapshot& snapshot, Format format, TextWriter::Options options) {
  Buffer out;
  TextWriter(std::move(options)).write(snapshot, format, {}, out);
  out.append(last_line(format));
  return std::string(out.view());
}

}  // namespace cgwarden::exporter
