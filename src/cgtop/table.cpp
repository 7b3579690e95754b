// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/table.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "src/base/text.h"
#include "src/cgtop/format.h"

namespace cgwarden::cgtop {

using model::CgroupIndex;
using model::Value;

namespace {

constexpr double kRatioScale = 10'000;  // ratios have 4 decimals

Value ratio(Value part, Value whole) {
  if (!part.is_number() || !whole.is_number() || whole.fixed() <= 0) return {};
  return Value::of(std::llround(static_cast<double>(part.fixed()) / static_cast<double>(whole.fixed()) * kRatioScale));
}

Value minus(Value a, Value b) {
  if (!a.is_number() || !b.is_number()) return {};
  return Value::of(std::max<std::int64_t>(a.fixed() - b.fixed(), 0));
}

}  // namespace

const model::Container* container_of(const model::Snapshot& snapshot, CgroupIndex cgroup) {
  const auto& g = *snapshot.cgroup_list->cgroups[cgroup];
  return snapshot.containers ? snapshot.containers->find(g.id, g.path) : nullptr;
}

std::string_view name_of(const model::Snapshot& snapshot, CgroupIndex cgroup) {
  if (const auto* const c = container_of(snapshot, cgroup); c != nullptr && model::is_workload(c->role)) {
    if (c->role == model::Role::pod && c->pod && !c->pod->empty()) return *c->pod;
    for (const auto& name : {&c->name, &c->pod_container}) {
      if (*name && !(*name)->empty()) return **name;
    }
  }
  return base::last_part(snapshot.cgroup_list->cgroups[cgroup]->path);
}

std::string_view kind_of(const model::Snapshot& snapshot, CgroupIndex cgroup) {
  if (const auto* const c = container_of(snapshot, cgroup); c != nullptr && model::is_workload(c->role)) {
    return c->role == model::Role::container && c->runtime ? std::string_view(*c->runtime) : model::name(c->role);
  }
  return kind_of_path(snapshot.cgroup_list->cgroups[cgroup]->path);
}

std::string_view kind_of_path(std::string_view path) {
  if (path == "/") return "root";
  for (const auto& [suffix, kind] : {std::pair<std::string_view, std::string_view>{".slice", "slice"},
                                     {".service", "service"},
                                     {".scope", "scope"},
                                     {".mount", "mount"},
                                     {".socket", "socket"},
                                     {".swap", "swap"}}) {
    if (path.ends_with(suffix)) return kind;
  }
  return "cgroup";
}

int depth_of(std::string_view path) { return path == "/" ? 0 : static_cast<int>(std::ranges::count(path, '/')); }

Table::Table(const Columns& columns, model::SnapshotPtr before, model::SnapshotPtr now)
    : columns_(&columns), now_(std::move(now)), delta_(std::move(before), now_) {}

CgroupIndex Table::find(std::uint64_t id) const {
  const auto& cgroups = now_->cgroup_list->cgroups;
  const auto found = std::ranges::find_if(cgroups, [&](const auto& g) { return g->id == id; });
  return found == cgroups.end() ? model::kNoCgroup : static_cast<CgroupIndex>(found - cgroups.begin());
}

Value Table::field(Id id, CgroupIndex cgroup) const { return id ? now_->value(*id, cgroup) : Value::absent(); }

bool Table::increased(Id id, CgroupIndex cgroup) const { return id && delta_.difference(*id, cgroup).value_or(0) > 0; }

Value Table::sum_of_series(model::FieldId id, CgroupIndex cgroup) const {
  Value sum;
  for (const auto& series : model::series_of(now_->columns[id], cgroup)) {
    if (!series.value.is_number()) return series.value;
    std::int64_t total = 0;
    if (__builtin_add_overflow(sum.is_number() ? sum.fixed() : 0, series.value.fixed(), &total)) return Value::error();
    sum = Value::of(total);
  }
  return sum;
}

Value Table::rate(model::FieldId id, int decimals, CgroupIndex cgroup) const {
  const auto per_second = delta_.rate(id, cgroup);
  if (!per_second) return {};
  const double fixed = *per_second * std::pow(10.0, decimals);
  return std::abs(fixed) < 9e18 ? Value::of(std::llround(fixed)) : Value::error();
}

Value Table::tightest_limit(Id id, CgroupIndex cgroup) const {
  Value best;
  for (auto g = cgroup; g != model::kNoCgroup; g = parent(g)) {
    const auto v = field(id, g);
    if (v.is_number() && (!best.is_number() || v.fixed() < best.fixed())) best = v;
    if (v.is_unlimited() && !best.has_value()) best = v;
  }
  return best;
}

Value Table::cpu_limit(CgroupIndex cgroup) const {
  const auto quota = field(columns_->known().cpu_quota, cgroup);
  return quota.is_unlimited() ? quota : ratio(quota, field(columns_->known().cpu_period, cgroup));
}

Value Table::computed(ColumnSource source, CgroupIndex cgroup) const {
  const auto& k = columns_->known();
  switch (source) {
    case ColumnSource::id:
      return Value::of(static_cast<std::int64_t>(this->cgroup(cgroup).id));
    case ColumnSource::depth:
      return Value::of(depth_of(this->cgroup(cgroup).path));
    case ColumnSource::age: {
      const auto age = now_->taken_wall - this->cgroup(cgroup).created;
      if (this->cgroup(cgroup).created == base::Wall{} || age.count() < 0) return {};
      return Value::of(std::chrono::duration_cast<std::chrono::nanoseconds>(age).count());
    }
    case ColumnSource::cpu_limit:
      return cpu_limit(cgroup);
    case ColumnSource::cpu_of_limit:
      return k.cpu_usage ? ratio(rate(*k.cpu_usage, 4, cgroup), cpu_limit(cgroup)) : Value();
    case ColumnSource::throttled: {
      if (!k.cpu_periods || !k.cpu_throttled_periods) return {};
      const auto periods = delta_.difference(*k.cpu_periods, cgroup);
      const auto throttled = delta_.difference(*k.cpu_throttled_periods, cgroup);
      if (!periods || !throttled) return {};
      return *periods == 0 ? Value::of(0) : ratio(Value::of(*throttled), Value::of(*periods));
    }
    case ColumnSource::memory:
      return field(k.memory_current, cgroup);
    case ColumnSource::working_set:
      return minus(field(k.memory_current, cgroup), field(k.memory_inactive_file, cgroup));
    case ColumnSource::memory_limit:
      return tightest_limit(k.memory_max, cgroup);
    case ColumnSource::memory_of_limit:
      return ratio(field(k.memory_current, cgroup), tightest_limit(k.memory_max, cgroup));
    case ColumnSource::swap: {
      const auto swap = field(k.memory_swap_current, cgroup);
      // cgroup v1 has no counter of swap alone: memory.memsw.usage_in_bytes counts memory and swap.
      return swap.is_absent() ? minus(field(k.memory_memsw_current, cgroup), field(k.memory_current, cgroup)) : swap;
    }
    case ColumnSource::tasks_limit:
      return tightest_limit(k.pids_max, cgroup);
    case ColumnSource::tasks_of_limit:
      return ratio(field(k.pids_current, cgroup), tightest_limit(k.pids_max, cgroup));
    case ColumnSource::oom_kills:
      return field(k.memory_events_oom_kill, cgroup);
    case ColumnSource::field:
    case ColumnSource::rate:
    case ColumnSource::name:
    case ColumnSource::path:
    case ColumnSource::kind:
    case ColumnSource::state:
    case ColumnSource::container:
      break;
  }
  return {};
}

Value Table::value(ColumnId column, CgroupIndex cgroup) const {
  const auto& c = (*columns_)[column];
  if (c.form == Form::text) return {};
  switch (c.source) {
    case ColumnSource::field:
      return columns_->catalogue().field(c.field).labelled() ? sum_of_series(c.field, cgroup)
                                                             : now_->value(c.field, cgroup);
    case ColumnSource::rate:
      return rate(c.field, c.decimals, cgroup);
    default:
      return computed(c.source, cgroup);
  }
}

std::string Table::field_text(model::FieldId id, CgroupIndex cgroup) const {
  const auto& info = columns_->catalogue().field(id);
  const auto& column = now_->columns[id];
  std::string out;
  for (const auto& series : model::series_of(column, cgroup)) {
    if (!out.empty()) out += ' ';
    std::string label(column.text_of(series));
    std::ranges::replace(label, '\0', ',');
    out += label;
    if (info.kind != model::MetricKind::info) {
      out += '=';
      append_exact(out, series.value, model::decimals(info.unit));
    }
  }
  return out;
}

std::string Table::text(ColumnId column, CgroupIndex cgroup) const {
  const auto& c = (*columns_)[column];
  switch (c.source) {
    case ColumnSource::name:
      return std::string(name_of(*now_, cgroup));
    case ColumnSource::path:
      return this->cgroup(cgroup).path;
    case ColumnSource::kind:
      return std::string(kind_of(*now_, cgroup));
    case ColumnSource::state:
      return state(cgroup);
    case ColumnSource::field:
      return field_text(c.field, cgroup);
    case ColumnSource::container: {
      const auto* const container = container_of(*now_, cgroup);
      return container == nullptr ? std::string() : (container->*c.container_text).value_or("");
    }
    default:
      return {};
  }
}

std::string Table::state(CgroupIndex cgroup) const {
  const auto& k = columns_->known();
  const auto equals = [&](Id id, std::int64_t number) { return field(id, cgroup) == Value::of(number); };
  std::string out;
  std::string freezer_state;  // cgroup v1 only
  if (k.freezer_state) freezer_state = field_text(*k.freezer_state, cgroup);
  if (equals(k.frozen, 1) || freezer_state == "FROZEN") {
    out += 'Z';
  } else if (equals(k.freeze, 1) || freezer_state == "FREEZING") {
    out += 'F';
  }
  if (increased(k.cpu_throttled_periods, cgroup)) out += 'T';
  if (increased(k.memory_events_high, cgroup)) out += 'H';
  if (increased(k.memory_events_max, cgroup)) out += 'M';
  if (increased(k.memory_events_oom_kill, cgroup)) out += 'O';
  if (delta_.known() && delta_.before(cgroup) == model::kNoCgroup) out += '+';
  return out;
}

bool Table::active(CgroupIndex cgroup) const {
  const auto& k = columns_->known();
  return increased(k.cpu_usage, cgroup) || increased(k.io_read, cgroup) || increased(k.io_write, cgroup) ||
         !state(cgroup).empty();
}

}  // namespace cgwarden::cgtop
