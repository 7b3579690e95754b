// SPDX-License-Identifier: Apache-2.0
#include "src/record/block.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace cgwarden::record {

using model::CgroupIndex;
using model::Value;

namespace {

constexpr std::array<std::int64_t, 3> kDivisors = {1, 1000, 4096};
constexpr std::size_t kMaxFields = 4096;
constexpr std::size_t kMaxCgroups = 4U << 20U;
constexpr std::size_t kMaxNoteSize = 1U << 20U;

enum class SpecialValue : std::uint8_t { absent, error, unlimited, number };

std::int64_t number_or_zero(Value v) { return v.is_number() ? v.fixed() : 0; }
std::int64_t minus(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b));
}
std::int64_t plus(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}

// Writes n values: the divisor, then pairs of the number of unchanged values and the next changed value.
template <class Before, class Now>
void put_values(ByteWriter& out, std::size_t n, const Before& before, const Now& now) {
  std::array<bool, kDivisors.size()> divides{true, true, true};
  for (std::size_t i = 0; i < n; ++i) {
    const Value v = now(i);
    if (!v.is_number() || v == before(i)) continue;
    const auto difference = minus(v.fixed(), number_or_zero(before(i)));
    for (std::size_t d = 1; d < kDivisors.size(); ++d) divides[d] = divides[d] && difference % kDivisors[d] == 0;
  }
  const std::size_t chosen = divides[1] ? 1 : divides[2] ? 2 : 0;
  out.u(chosen);
  std::size_t run = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const Value v = now(i);
    const Value old = before(i);
    if (v == old) {
      ++run;
      continue;
    }
    out.u(std::exchange(run, 0));
    if (!v.is_number()) {
      out.u(0);
      out.u(static_cast<std::uint64_t>(v.is_absent()  ? SpecialValue::absent
                                       : v.is_error() ? SpecialValue::error
                                                      : SpecialValue::unlimited));
      continue;
    }
    const auto token = ByteWriter::zigzag(minus(v.fixed(), number_or_zero(old)) / kDivisors[chosen]);
    if (token == std::numeric_limits<std::uint64_t>::max()) {
      out.u(0);
      out.u(static_cast<std::uint64_t>(SpecialValue::number));
      out.s(v.fixed());
    } else {
      out.u(token + 1);
    }
  }
  if (run > 0) out.u(run);
}

// Reads n values and passes each to `set`.
template <class Before, class Set>
void get_values(ByteReader& in, std::size_t n, const Before& before, const Set& set) {
  const auto divisor = kDivisors[in.u(kDivisors.size() - 1)];
  std::size_t i = 0;
  while (i < n && !in.bad()) {
    const auto run = in.u(n - i);
    for (std::size_t end = i + run; i < end; ++i) set(i, before(i));
    if (i >= n || in.bad()) return;
    const auto token = in.u();
    Value v;
    if (token > 0) {
      const auto scaled =
          static_cast<std::uint64_t>(ByteReader::unzigzag(token - 1)) * static_cast<std::uint64_t>(divisor);
      v = Value::of(plus(number_or_zero(before(i)), static_cast<std::int64_t>(scaled)));
    } else {
      switch (static_cast<SpecialValue>(in.u(3))) {
        case SpecialValue::absent:
          break;
        case SpecialValue::error:
          v = Value::error();
          break;
        case SpecialValue::unlimited:
          v = Value::unlimited();
          break;
        case SpecialValue::number:
          v = Value::of(in.s());
          break;
      }
    }
    set(i++, v);
  }
}

bool same(const model::Cgroup& a, const model::Cgroup& b) {
  return a.id == b.id && a.created == b.created && a.creation_observed == b.creation_observed && a.path == b.path;
}

bool same(const model::Container& a, const model::Container& b) {
  if (a.role != b.role || a.labels != b.labels || a.origins.size() != b.origins.size()) return false;
  for (const auto& f : model::kTextFacts) {
    if (a.*f.member != b.*f.member) return false;
  }
  for (const auto& f : model::kNumberFacts) {
    if (a.*f.member != b.*f.member) return false;
  }
  for (const auto& f : model::kTimeFacts) {
    if (a.*f.member != b.*f.member) return false;
  }
  return std::equal(a.origins.begin(), a.origins.end(), b.origins.begin(),
                    [](const auto& x, const auto& y) { return x.fact == y.fact && x.source == y.source; });
}
bool same(const model::ContainerPtr& a, const model::ContainerPtr& b) { return a == b || (a && b && same(*a, *b)); }

std::array<std::int64_t, 6> numbers_of(const model::CollectorStats& s) {
  const auto n = [](std::uint64_t x) { return static_cast<std::int64_t>(x); };
  return {s.duration.count(), n(s.errors_now), n(s.reads), n(s.bytes), n(s.errors), n(s.unknown_keys)};
}
std::array<std::int64_t, 7> numbers_of(const model::TreeStats& t) {
  const auto n = [](std::uint64_t x) { return static_cast<std::int64_t>(x); };
  return {n(t.cgroups_created), n(t.cgroups_removed), n(t.walks),     n(t.watch_overflows),
          n(t.watches),         n(t.dropped_cgroups), n(t.open_files)};
}

// Returns the program's own string for the name of a fact, because Origin::fact is a view that must stay valid; empty
// if it is unknown.
std::string_view static_fact_name(std::string_view name) {
  for (const auto& f : model::kTextFacts) {
    if (f.name == name) return f.name;
  }
  for (const auto& f : model::kNumberFacts) {
    if (f.name == name) return f.name;
  }
  for (const auto& f : model::kTimeFacts) {
    if (f.name == name) return f.name;
  }
  return name == "labels" ? std::string_view("labels") : std::string_view();
}

// How a column of a sample is stored: its dense values, its series, and (for lists) whether it is that of the sample
// before.
enum class Dense : std::uint8_t { none, all, other_size };
enum class SeriesChange : std::uint8_t { none, same_list, new_list };
enum class Change : std::uint8_t { none, same, other };

}  // namespace

void TextTableWriter::put(ByteWriter& out, std::string_view text) {
  const auto [at, inserted] = known_.try_emplace(std::string(text), known_.size() + 1);
  if (inserted) {
    out.u(0);
    out.text(text);
  } else {
    out.u(at->second);
  }
}

std::string_view TextTableReader::get(ByteReader& in) {
  const auto n = in.u(known_.size());
  if (n > 0) return known_[n - 1];
  const auto text = in.text();
  if (!in.bad()) known_.push_back(text);
  return text;
}

void Alignment::begin(std::size_t before_size, std::size_t now_size) {
  identical_ = false;
  before_.assign(now_size, kNew);
  now_.assign(before_size, kGone);
}

void Alignment::pair(std::size_t before, std::size_t now) {
  before_[now] = before;
  now_[before] = static_cast<CgroupIndex>(now);
}

void Alignment::align(const model::CgroupList* before, const model::CgroupList* now) {
  if (before == now) {
    if (now == nullptr)
      begin(0, 0);
    else
      identical_ = true;
    return;
  }
  const std::size_t old_size = before != nullptr ? before->cgroups.size() : 0;
  const std::size_t size = now != nullptr ? now->cgroups.size() : 0;
  begin(old_size, size);
  // Most cgroups have the same index in both lists; only the others are looked up.
  std::unordered_multimap<std::uint64_t, std::size_t> by_id;
  bool all = old_size == size;
  for (std::size_t g = 0; g < size; ++g) {
    const auto& cgroup = now->cgroups[g];
    const auto is = [&](std::size_t b) {
      return now_[b] == kGone && (before->cgroups[b] == cgroup || same(*before->cgroups[b], *cgroup));
    };
    if (g < old_size && is(g)) {
      pair(g, g);
      continue;
    }
    all = false;
    if (by_id.empty()) {
      for (std::size_t b = 0; b < old_size; ++b) by_id.emplace(before->cgroups[b]->id, b);
    }
    const auto [from, to] = by_id.equal_range(cgroup->id);
    for (auto at = from; at != to; ++at) {
      if (!is(at->second)) continue;
      pair(at->second, g);
      break;
    }
  }
  if (all) identical_ = true;
}

BlockEncoder::BlockEncoder(std::shared_ptr<const model::Catalogue> catalogue)
    : catalogue_(std::move(catalogue)), streams_(catalogue_->size()) {}

void BlockEncoder::add(const model::SnapshotPtr& snapshot, std::string_view note) {
  const auto& s = *snapshot;
  alignment_.align(before_ ? before_->cgroup_list.get() : nullptr, s.cgroup_list.get());
  const auto meta_before = meta_.bytes().size();
  const auto times = [](const model::SnapshotPtr& of) {
    return of ? std::array<std::int64_t, 3>{ticks(of->begun), ticks(of->taken), ticks(of->taken_wall)}
              : std::array<std::int64_t, 3>{};
  };
  const auto old = times(before_);
  const auto now = times(snapshot);
  for (std::size_t i = 0; i < now.size(); ++i) meta_.s(minus(now[i], old[i]));
  add_cgroup_list(s);
  add_hierarchies(s);
  add_containers(s);
  add_stats(s);
  const bool new_note = note != note_;
  meta_.u(new_note ? 1 : 0);
  if (new_note) {
    note_ = note.substr(0, kMaxNoteSize);
    meta_.text(note_);
  }
  raw_ += meta_.bytes().size() - meta_before;
  for (std::size_t f = 0; f < streams_.size(); ++f) add_column(static_cast<model::FieldId>(f), s);
  if (samples_++ == 0) first = s.taken_wall;
  last = s.taken_wall;
  before_ = snapshot;
}

void BlockEncoder::add_cgroup_list(const model::Snapshot& s) {
  const auto* const cgroup_list = s.cgroup_list.get();
  if (cgroup_list == nullptr) {
    meta_.u(static_cast<std::uint64_t>(Change::none));
    return;
  }
  if (before_ && before_->cgroup_list.get() == cgroup_list) {
    meta_.u(static_cast<std::uint64_t>(Change::same));
    return;
  }
  meta_.u(static_cast<std::uint64_t>(Change::other));
  meta_.u(cgroup_list->generation);
  const auto n = cgroup_list->cgroups.size();
  meta_.u(n);
  const bool any_before = before_ && before_->cgroup_list;
  std::size_t expected = 0;
  std::string_view previous;
  for (std::size_t g = 0; g < n;) {
    const auto start = any_before ? alignment_.before(g) : Alignment::kNew;
    if (start != Alignment::kNew) {
      std::size_t run = 1;
      while (g + run < n && alignment_.before(g + run) == start + run) ++run;
      meta_.u(run);
      meta_.s(static_cast<std::int64_t>(start) - static_cast<std::int64_t>(expected));
      expected = start + run;
      g += run;
    } else {
      const auto& cgroup = *cgroup_list->cgroups[g];
      std::size_t shared = 0;
      while (shared < std::min(previous.size(), cgroup.path.size()) && previous[shared] == cgroup.path[shared])
        ++shared;
      meta_.u(0);
      meta_.u(cgroup.id);
      meta_.u(shared);
      meta_.text(std::string_view(cgroup.path).substr(shared));
      meta_.s(ticks(cgroup.created));
      meta_.u(cgroup.creation_observed ? 1 : 0);
      ++g;
    }
    previous = cgroup_list->cgroups[g - 1]->path;
  }
  for (std::size_t g = 0; g < n; ++g) {
    const auto parent = g < cgroup_list->parents.size() ? cgroup_list->parents[g] : model::kNoCgroup;
    meta_.u(parent == model::kNoCgroup || parent >= g ? 0 : g - parent);
  }
}

void BlockEncoder::add_hierarchies(const model::Snapshot& s) {
  if (!s.hierarchies) {
    meta_.u(static_cast<std::uint64_t>(Change::none));
  } else if (before_ && before_->hierarchies == s.hierarchies) {
    meta_.u(static_cast<std::uint64_t>(Change::same));
  } else {
    meta_.u(static_cast<std::uint64_t>(Change::other));
    meta_.u(s.hierarchies->size());
    for (const auto& h : *s.hierarchies) {
      meta_.s(h.version);
      texts_.put(meta_, h.controllers);
      texts_.put(meta_, h.mount_point);
    }
  }
}

void BlockEncoder::add_container(const model::Container& c) {
  texts_.put(meta_, name(c.role));
  std::uint64_t facts = 0;
  for (const auto& f : model::kTextFacts) facts += (c.*f.member).has_value() ? 1U : 0U;
  for (const auto& f : model::kNumberFacts) facts += (c.*f.member).has_value() ? 1U : 0U;
  for (const auto& f : model::kTimeFacts) facts += (c.*f.member).has_value() ? 1U : 0U;
  meta_.u(facts);
  for (const auto& f : model::kTextFacts) {
    if (!(c.*f.member)) continue;
    texts_.put(meta_, f.name);
    meta_.u(0);
    texts_.put(meta_, *(c.*f.member));
  }
  for (const auto& f : model::kNumberFacts) {
    if (!(c.*f.member)) continue;
    texts_.put(meta_, f.name);
    meta_.u(1);
    meta_.s(*(c.*f.member));
  }
  for (const auto& f : model::kTimeFacts) {
    if (!(c.*f.member)) continue;
    texts_.put(meta_, f.name);
    meta_.u(1);
    meta_.s(ticks(*(c.*f.member)));
  }
  meta_.u(c.labels.size());
  for (const auto& [label, value] : c.labels) {
    texts_.put(meta_, label);
    texts_.put(meta_, value);
  }
  meta_.u(c.origins.size());
  for (const auto& origin : c.origins) {
    texts_.put(meta_, origin.fact);
    texts_.put(meta_, origin.source);
  }
}

void BlockEncoder::add_containers(const model::Snapshot& s) {
  static const model::Containers kNoContainers;
  if (!s.containers) {
    meta_.u(static_cast<std::uint64_t>(Change::none));
    return;
  }
  if (before_ && before_->containers == s.containers) {
    meta_.u(static_cast<std::uint64_t>(Change::same));
    return;
  }
  meta_.u(static_cast<std::uint64_t>(Change::other));
  const auto& old = before_ && before_->containers ? *before_->containers : kNoContainers;
  const auto& now = *s.containers;
  meta_.u(now.generation);
  const auto put_key = [this](std::uint64_t key) {
    std::array<char, 8> bytes{};
    for (auto& b : bytes) {
      b = static_cast<char>(key & 0xFFU);
      key >>= 8U;
    }
    meta_.raw({bytes.data(), bytes.size()});
  };
  std::vector<std::uint64_t> gone;
  for (const auto& [key, container] : old.by_cgroup) {
    if (!now.by_cgroup.contains(key)) gone.push_back(key);
  }
  std::vector<std::uint64_t> other;
  for (const auto& [key, container] : now.by_cgroup) {
    const auto at = old.by_cgroup.find(key);
    if (container && (at == old.by_cgroup.end() || !same(at->second, container))) other.push_back(key);
  }
  std::ranges::sort(gone);
  std::ranges::sort(other);
  meta_.u(gone.size());
  for (const auto key : gone) put_key(key);
  meta_.u(other.size());
  for (const auto key : other) {
    put_key(key);
    add_container(*now.by_cgroup.at(key));
  }
  meta_.u(now.exited.size());
  for (const auto& e : now.exited) {
    const auto at = std::ranges::find_if(old.exited, [&](const model::ExitedContainer& o) {
      return o.cgroup_id == e.cgroup_id && o.path == e.path && o.seen_gone == e.seen_gone &&
             same(o.container, e.container);
    });
    if (at != old.exited.end()) {
      meta_.u(static_cast<std::uint64_t>(at - old.exited.begin()) + 1);
      continue;
    }
    meta_.u(0);
    meta_.u(e.cgroup_id);
    meta_.text(e.path);
    meta_.s(ticks(e.seen_gone));
    meta_.u(e.container ? 1 : 0);
    if (e.container) add_container(*e.container);
  }
}

void BlockEncoder::add_stats(const model::Snapshot& s) {
  for (std::size_t c = 0; c < catalogue_->collectors().size(); ++c) {
    const auto of = [c](const model::Snapshot& x) {
      return c < x.collectors.size() ? x.collectors[c] : model::CollectorStats{};
    };
    const auto now = of(s);
    const auto numbers = numbers_of(now);
    const auto old = before_ ? numbers_of(of(*before_)) : std::array<std::int64_t, 6>{};
    meta_.u(now.enabled ? 1 : 0);
    for (std::size_t i = 0; i < numbers.size(); ++i) meta_.s(minus(numbers[i], old[i]));
  }
  const auto tree = numbers_of(s.tree);
  const auto old = before_ ? numbers_of(before_->tree) : std::array<std::int64_t, 7>{};
  for (std::size_t i = 0; i < tree.size(); ++i) meta_.s(minus(tree[i], old[i]));
  meta_.u(s.tree.inotify_active ? 1 : 0);
}

void BlockEncoder::add_column(model::FieldId field, const model::Snapshot& s) {
  static const model::Column kEmptyColumn;
  const auto& now = field < s.columns.size() ? s.columns[field] : kEmptyColumn;
  const auto& old = before_ && field < before_->columns.size() ? before_->columns[field] : kEmptyColumn;
  auto& stream = streams_[field];
  if (!stream.used) {
    if (now.dense.empty() && now.series.empty()) return;
    stream.used = true;
    for (std::size_t i = 0; i < samples_; ++i) stream.bytes.u(0);
  }
  auto& out = stream.bytes;
  const auto size_before = out.bytes().size();

  const auto dense = now.dense.empty()                      ? Dense::none
                     : now.dense.size() == s.cgroup_count() ? Dense::all
                                                            : Dense::other_size;
  auto series = now.series.empty() ? SeriesChange::none : SeriesChange::new_list;
  if (series != SeriesChange::none && old.series.size() == now.series.size()) {
    bool same_list = true;
    for (std::size_t i = 0; i < now.series.size() && same_list; ++i) {
      same_list = alignment_.now(old.series[i].cgroup) == now.series[i].cgroup &&
                  old.text_of(old.series[i]) == now.text_of(now.series[i]);
    }
    if (same_list) series = SeriesChange::same_list;
  }
  out.u(static_cast<std::uint64_t>(dense) | static_cast<std::uint64_t>(series) << 2U);

  const auto old_dense = [&](std::size_t i) {
    if (i >= s.cgroup_count() && dense != Dense::other_size) return Value();
    const auto b = i < s.cgroup_count() ? alignment_.before(i) : Alignment::kNew;
    return b < old.dense.size() ? old.dense[b] : Value();
  };
  if (dense == Dense::other_size) out.u(now.dense.size());
  if (dense != Dense::none) {
    put_values(out, now.dense.size(), old_dense, [&](std::size_t i) { return now.dense[i]; });
  }
  if (series == SeriesChange::new_list) {
    out.u(now.series.size());
    std::uint64_t previous = 0;
    for (const auto& entry : now.series) {
      const std::uint64_t cgroup = entry.cgroup == model::kNoCgroup ? s.cgroup_count() : entry.cgroup;
      out.s(static_cast<std::int64_t>(cgroup) - static_cast<std::int64_t>(previous));
      previous = cgroup;
      stream.texts.put(out, now.text_of(entry));
    }
  }
  if (series != SeriesChange::none) {
    put_values(
        out, now.series.size(),
        [&](std::size_t i) { return series == SeriesChange::same_list ? old.series[i].value : Value(); },
        [&](std::size_t i) { return now.series[i].value; });
  }
  raw_ += out.bytes().size() - size_before;
  values_ += now.dense.size() + now.series.size();
}

std::string BlockEncoder::finish() const {
  ByteWriter out;
  std::uint64_t used = 0;
  for (const auto& stream : streams_) used += stream.used ? 1U : 0U;
  out.u(used);
  for (std::size_t f = 0; f < streams_.size(); ++f) {
    if (!streams_[f].used) continue;
    const auto& field = catalogue_->field(static_cast<model::FieldId>(f));
    out.text(field.name);
    out.text(name(field.kind));
    out.text(name(field.unit));
    out.text(field.labels);
  }
  out.u(catalogue_->collectors().size());
  for (const auto& collector : catalogue_->collectors()) out.text(collector.name);
  out.text(meta_.bytes());
  for (const auto& stream : streams_) {
    if (stream.used) out.text(stream.bytes.bytes());
  }
  return out.bytes();
}

base::Result<std::unique_ptr<BlockDecoder>> BlockDecoder::open(std::string payload,
                                                               std::shared_ptr<const model::Catalogue> catalogue) {
  std::unique_ptr<BlockDecoder> decoder(new BlockDecoder);
  auto& d = *decoder;
  d.payload_ = std::move(payload);
  d.catalogue_ = std::move(catalogue);
  ByteReader in{std::string_view(d.payload_)};
  std::vector<int> fields(in.u(kMaxFields), -1);
  std::vector<bool> assigned(d.catalogue_->size());
  for (auto& field : fields) {
    const auto field_name = in.text();
    const auto kind = in.text();
    const auto unit = in.text();
    const auto labels = in.text();
    if (in.bad()) break;
    const auto id = d.catalogue_->find(field_name);
    const bool known = id && name(d.catalogue_->field(*id).kind) == kind &&
                       name(d.catalogue_->field(*id).unit) == unit && d.catalogue_->field(*id).labels == labels;
    if (known && !assigned[*id]) {
      assigned[*id] = true;
      field = *id;
    } else {
      d.unknown_fields_.emplace_back(field_name);
    }
  }
  d.collectors_.assign(in.u(256), -1);
  for (auto& collector : d.collectors_) {
    if (const auto id = d.catalogue_->find_collector(in.text())) collector = *id;
  }
  d.stats_.resize(d.collectors_.size());
  d.meta_ = ByteReader(in.text());
  for (const int field : fields) {
    const auto bytes = in.text();
    if (field >= 0) d.streams_.push_back({static_cast<model::FieldId>(field), ByteReader(bytes), {}});
  }
  if (in.bad()) return base::fail("damaged block: list of fields");
  return decoder;
}

bool BlockDecoder::read_cgroup_list(model::Snapshot& s) {
  const auto* const old = before_ ? before_->cgroup_list.get() : nullptr;
  switch (static_cast<Change>(meta_.u(2))) {
    case Change::none:
      alignment_.begin(old != nullptr ? old->cgroups.size() : 0, 0);
      return !meta_.bad();
    case Change::same:
      if (old == nullptr) return false;
      s.cgroup_list = before_->cgroup_list;
      alignment_.keep();
      return true;
    case Change::other:
      break;
  }
  auto cgroup_list = std::make_shared<model::CgroupList>();
  cgroup_list->generation = meta_.u();
  const auto n = meta_.u(kMaxCgroups);
  const std::size_t old_size = old != nullptr ? old->cgroups.size() : 0;
  alignment_.begin(old_size, n);
  std::int64_t expected = 0;
  std::string path;
  while (cgroup_list->cgroups.size() < n && !meta_.bad()) {
    if (const auto run = meta_.u(n - cgroup_list->cgroups.size()); run > 0) {
      const auto skip = meta_.s();
      if (skip > static_cast<std::int64_t>(kMaxCgroups) || skip < -static_cast<std::int64_t>(kMaxCgroups)) return false;
      const auto start = expected + skip;
      if (start < 0 || static_cast<std::uint64_t>(start) + run > old_size) return false;
      for (std::size_t i = 0; i < run; ++i) {
        const auto from = static_cast<std::size_t>(start) + i;
        if (alignment_.now(static_cast<CgroupIndex>(from)) != Alignment::kGone) return false;
        alignment_.pair(from, cgroup_list->cgroups.size());
        cgroup_list->cgroups.push_back(old->cgroups[from]);
      }
      expected = start + static_cast<std::int64_t>(run);
    } else {
      auto cgroup = std::make_shared<model::Cgroup>();
      cgroup->id = meta_.u();
      const auto shared = meta_.u(path.size());
      cgroup->path = path.substr(0, shared);
      cgroup->path += meta_.text();
      cgroup->created = wall(meta_.s());
      cgroup->creation_observed = meta_.u(1) != 0;
      if (cgroup->path.size() > 65536) return false;
      cgroup_list->cgroups.push_back(std::move(cgroup));
    }
    if (!cgroup_list->cgroups.empty()) path = cgroup_list->cgroups.back()->path;
  }
  if (meta_.bad()) return false;
  cgroup_list->parents.reserve(n);
  for (std::size_t g = 0; g < n; ++g) {
    const auto up = meta_.u(g);
    cgroup_list->parents.push_back(up == 0 ? model::kNoCgroup : static_cast<CgroupIndex>(g - up));
  }
  s.cgroup_list = std::move(cgroup_list);
  return !meta_.bad();
}

bool BlockDecoder::read_hierarchies(model::Snapshot& s) {
  switch (static_cast<Change>(meta_.u(2))) {
    case Change::none:
      return !meta_.bad();
    case Change::same:
      if (!before_) return false;
      s.hierarchies = before_->hierarchies;
      return true;
    case Change::other:
      break;
  }
  auto all = std::make_shared<std::vector<model::HierarchyInfo>>();
  const auto n = meta_.u(256);
  for (std::size_t i = 0; i < n && !meta_.bad(); ++i) {
    model::HierarchyInfo h;
    h.version = meta_.s() == 1 ? 1 : 2;
    h.controllers = texts_.get(meta_);
    h.mount_point = texts_.get(meta_);
    all->push_back(std::move(h));
  }
  s.hierarchies = std::move(all);
  return !meta_.bad();
}

model::ContainerPtr BlockDecoder::read_container() {
  auto c = std::make_shared<model::Container>();
  const auto role = texts_.get(meta_);
  for (int r = 0; r <= static_cast<int>(model::Role::unit); ++r) {
    if (name(static_cast<model::Role>(r)) == role) c->role = static_cast<model::Role>(r);
  }
  for (auto facts = meta_.u(1000); facts > 0 && !meta_.bad(); --facts) {
    const auto fact = texts_.get(meta_);
    if (meta_.u(1) == 0) {
      const auto text = texts_.get(meta_);
      for (const auto& f : model::kTextFacts) {
        if (f.name == fact) (*c).*f.member = std::string(text);
      }
      continue;
    }
    const auto number = meta_.s();
    for (const auto& f : model::kNumberFacts) {
      if (f.name == fact) (*c).*f.member = number;
    }
    for (const auto& f : model::kTimeFacts) {
      if (f.name == fact) (*c).*f.member = wall(number);
    }
  }
  for (auto labels = meta_.u(meta_.left()); labels > 0 && !meta_.bad(); --labels) {
    const auto label = texts_.get(meta_);
    c->labels.emplace_back(label, texts_.get(meta_));
  }
  for (auto origins = meta_.u(meta_.left()); origins > 0 && !meta_.bad(); --origins) {
    const auto fact = static_fact_name(texts_.get(meta_));
    const auto source = texts_.get(meta_);
    if (!fact.empty()) c->origins.push_back({fact, std::string(source)});
  }
  return c;
}

bool BlockDecoder::read_containers(model::Snapshot& s) {
  switch (static_cast<Change>(meta_.u(2))) {
    case Change::none:
      return !meta_.bad();
    case Change::same:
      if (!before_) return false;
      s.containers = before_->containers;
      return true;
    case Change::other:
      break;
  }
  auto all = std::make_shared<model::Containers>();
  std::vector<model::ExitedContainer> old_exited;
  if (before_ && before_->containers) {
    values_ += before_->containers->by_cgroup.size() + before_->containers->exited.size();
    if (values_ > kMaxValues) return false;
    all->by_cgroup = before_->containers->by_cgroup;
    old_exited = before_->containers->exited;
  }
  all->generation = meta_.u();
  const auto get_key = [this] {
    std::uint64_t key = 0;
    const auto bytes = meta_.raw(8);
    for (std::size_t i = bytes.size(); i-- > 0;) key = key << 8U | static_cast<unsigned char>(bytes[i]);
    return key;
  };
  for (auto gone = meta_.u(meta_.left()); gone > 0 && !meta_.bad(); --gone) all->by_cgroup.erase(get_key());
  for (auto other = meta_.u(meta_.left()); other > 0 && !meta_.bad(); --other) {
    const auto key = get_key();
    auto container = read_container();
    if (!meta_.bad()) all->by_cgroup.insert_or_assign(key, std::move(container));
  }
  for (auto ended = meta_.u(meta_.left()); ended > 0 && !meta_.bad(); --ended) {
    if (const auto from = meta_.u(old_exited.size()); from > 0) {
      all->exited.push_back(old_exited[from - 1]);
      continue;
    }
    model::ExitedContainer e;
    e.cgroup_id = meta_.u();
    e.path = meta_.text();
    e.seen_gone = wall(meta_.s());
    if (meta_.u(1) != 0) e.container = read_container();
    all->exited.push_back(std::move(e));
  }
  s.containers = std::move(all);
  return !meta_.bad();
}

void BlockDecoder::read_stats(model::Snapshot& s) {
  s.collectors.resize(catalogue_->collectors().size());
  for (std::size_t c = 0; c < collectors_.size(); ++c) {
    model::CollectorStats now;
    now.enabled = meta_.u(1) != 0;
    auto& n = stats_[c];
    for (auto& number : n) number = plus(number, meta_.s());
    const auto u = [](std::int64_t x) { return static_cast<std::uint64_t>(x); };
    now.duration = std::chrono::nanoseconds(n[0]);
    now.errors_now = u(n[1]);
    now.reads = u(n[2]);
    now.bytes = u(n[3]);
    now.errors = u(n[4]);
    now.unknown_keys = u(n[5]);
    if (collectors_[c] >= 0) s.collectors[static_cast<std::size_t>(collectors_[c])] = now;
  }
  for (auto& number : tree_) number = plus(number, meta_.s());
  const auto u = [this](std::size_t i) { return static_cast<std::uint64_t>(tree_[i]); };
  s.tree = {u(0), u(1), u(2), u(3), u(4), u(5), u(6), meta_.u(1) != 0};
}

bool BlockDecoder::read_column(Stream& stream, model::Snapshot& s) {
  static const model::Column kEmptyColumn;
  auto& in = stream.bytes;
  auto& now = s.columns[stream.field];
  const auto& old = before_ ? before_->columns[stream.field] : kEmptyColumn;
  const auto encoding = in.u(15);
  const auto dense = encoding & 3U;
  const auto series = encoding >> 2U;
  if (dense > 2 || series > 2) return false;

  if (dense != 0) {
    const auto n = dense == 2 ? in.u(kMaxCgroups) : s.cgroup_count();
    values_ += n;
    if (values_ > kMaxValues || in.bad()) return false;
    now.dense.resize(n);
    get_values(
        in, n,
        [&](std::size_t i) {
          const auto b = i < s.cgroup_count() ? alignment_.before(i) : Alignment::kNew;
          return b < old.dense.size() ? old.dense[b] : Value();
        },
        [&](std::size_t i, Value v) { now.dense[i] = v; });
  }
  if (series == 0) return !in.bad();
  if (series == 1) {
    values_ += old.series.size();
    if (values_ > kMaxValues) return false;
    now.series = old.series;
    now.text = old.text;
    for (auto& entry : now.series) {
      entry.cgroup = alignment_.now(entry.cgroup);
      if (entry.cgroup == Alignment::kGone) return false;
    }
  } else {
    const auto n = in.u(in.left());
    values_ += n;
    if (values_ > kMaxValues) return false;
    std::int64_t previous = 0;
    for (std::size_t i = 0; i < n && !in.bad(); ++i) {
      const auto step = in.s();
      if (step > static_cast<std::int64_t>(kMaxCgroups) || step < -static_cast<std::int64_t>(kMaxCgroups)) return false;
      previous += step;
      const auto text = stream.texts.get(in);
      if (previous < 0 || static_cast<std::uint64_t>(previous) > s.cgroup_count() || text.size() > 65535 ||
          now.text.size() > kMaxRawBytes) {
        return false;
      }
      const auto cgroup = static_cast<std::uint64_t>(previous) == s.cgroup_count() ? model::kNoCgroup
                                                                                   : static_cast<CgroupIndex>(previous);
      now.series.push_back(
          {cgroup, static_cast<std::uint32_t>(now.text.size()), static_cast<std::uint16_t>(text.size()), Value()});
      now.text += text;
    }
  }
  if (in.bad()) return false;
  get_values(
      in, now.series.size(), [&](std::size_t i) { return series == 1 ? old.series[i].value : Value(); },
      [&](std::size_t i, Value v) { now.series[i].value = v; });
  return !in.bad();
}

base::Result<std::pair<model::SnapshotPtr, std::string>> BlockDecoder::next() {
  const auto damaged = [this]() -> tl::unexpected<base::Error> {
    meta_.fail();
    return base::fail("damaged block: sample data");
  };
  if (meta_.bad() || meta_.left() == 0) return damaged();
  auto snapshot = std::make_shared<model::Snapshot>();
  auto& s = *snapshot;
  s.catalogue = catalogue_;
  const auto since = [](std::int64_t old, std::int64_t difference) { return plus(old, difference); };
  s.begun = monotonic(since(before_ ? ticks(before_->begun) : 0, meta_.s()));
  s.taken = monotonic(since(before_ ? ticks(before_->taken) : 0, meta_.s()));
  s.taken_wall = wall(since(before_ ? ticks(before_->taken_wall) : 0, meta_.s()));
  if (!read_cgroup_list(s) || !read_hierarchies(s) || !read_containers(s)) return damaged();
  read_stats(s);
  if (meta_.u(1) != 0) note_ = meta_.text();
  if (meta_.bad()) return damaged();
  s.columns.resize(catalogue_->size());
  for (auto& stream : streams_) {
    if (!read_column(stream, s)) return damaged();
  }
  before_ = snapshot;
  return std::pair{model::SnapshotPtr(std::move(snapshot)), note_};
}

}  // namespace cgwarden::record
