// SPDX-License-Identifier: Apache-2.0
// Effective limits: the lowest limit of a cgroup and its ancestors applies. Sources: cgroup-v2.rst, "Top-down
// Constraint"; for v1, cgroup-v1/memory.rst, section 6 (hierarchy support), and scheduler/sched-bwc.rst, "Hierarchical
// considerations".
#include "collectors/effective.h"

#include <algorithm>
#include <array>
#include <memory>

#include "collectors/collectors.h"
#include "src/base/text.h"

namespace cgwarden::collectors {

using model::CgroupIndex;
using model::FieldId;
using model::Value;

Value tighter(Value a, Value b) {
  if (a.is_error() || b.is_error()) return Value::error();
  if (a.is_absent()) return b;
  if (b.is_absent() || b.is_unlimited()) return a;
  return a.is_unlimited() || b.fixed() < a.fixed() ? b : a;
}

void tighten_by_ancestors(std::span<const CgroupIndex> parents, Inherit inherit, std::vector<Value>& limits) {
  for (std::size_t g = 0; g < std::min(parents.size(), limits.size()); ++g) {
    const auto parent = parents[g];
    if (parent >= g) continue;  // the topmost cgroup
    if (limits[g].is_absent() && inherit == Inherit::nothing) continue;
    limits[g] = tighter(limits[g], limits[parent]);
  }
}

Value cores(Value quota, Value period) {
  if (!quota.is_number()) return quota;
  if (!period.is_number() || period.fixed() <= 0 || quota.fixed() < 0) return Value::error();
  const auto whole = quota.fixed() / period.fixed();
  const auto rest = quota.fixed() % period.fixed();
  constexpr std::int64_t one = 1'000'000'000;
  // The kernel limits a period to one second, so the remainder times 10^9 does not overflow. Longer ones are errors.
  if (period.fixed() > 9 * one || whole > 1'000'000'000) return Value::error();
  return Value::of(whole * one + rest * one / period.fixed());
}

std::optional<std::int64_t> count_of_list(std::string_view list) {
  std::int64_t count = 0;
  list = base::trim_end(list);
  if (list.empty() || list.back() == ',') return std::nullopt;
  while (!list.empty()) {
    auto piece = base::take_until(list, ',');
    const bool range = piece.find('-') != std::string_view::npos;
    const auto first = base::to_int<std::uint32_t>(base::take_until(piece, '-'));
    const auto last = range ? base::to_int<std::uint32_t>(piece) : first;
    if (!first || !last || *last < *first) return std::nullopt;
    count += std::int64_t{*last} - *first + 1;
  }
  return count;
}

namespace {

using enum model::MetricKind;
using enum model::Unit;

// clang-format off
constexpr model::Field kEffectiveRows[] = {
    {.name = "effective_cpu_max", .kind = setting, .unit = model::Unit::cores,
     .derived = "lowest quota divided by period of the cgroup and its ancestors", .since = "5.4",
     .help = "Lowest CPU bandwidth limit of the cgroup and its ancestors, in CPUs."},
    {.name = "effective_cpuset_cpus", .kind = gauge,
     .derived = "number of CPUs in `cpuset.cpus.effective` (v1: `cpuset.effective_cpus`)", .since = "5.4",
     .help = "Number of CPUs that tasks of the cgroup may run on."},
    {.name = "effective_memory_max", .kind = setting, .unit = bytes,
     .derived = "lowest limit of the cgroup and its ancestors",
     .since = "5.4", .help = "Lowest hard memory limit of the cgroup and its ancestors."},
    {.name = "effective_memory_high", .kind = setting, .unit = bytes,
     .derived = "lowest limit of the cgroup and its ancestors",
     .since = "5.4", .help = "Lowest memory throttling limit (memory.high) of the cgroup and its ancestors."},
    {.name = "effective_memory_swap_max", .kind = setting, .unit = bytes,
     .derived = "lowest limit of the cgroup and its ancestors",
     .since = "5.4", .help = "Lowest hard swap limit of the cgroup and its ancestors (v2)."},
    {.name = "effective_memory_memsw_max", .kind = setting, .unit = bytes,
     .derived = "lowest limit of the cgroup and its ancestors",
     .since = "5.4", .help = "Lowest hard limit on the sum of memory and swap of the cgroup and its ancestors (v1)."},
    {.name = "effective_pids_max", .kind = setting,
     .derived = "lowest limit of the cgroup and its ancestors", .since = "5.4",
     .help = "Lowest limit on the number of tasks (processes and threads) of the cgroup and its ancestors."},
};
// clang-format on
static_assert(model::all_well_formed(kEffectiveRows));

class Effective : public CustomReader {
 public:
  explicit Effective(const CustomContext& context) : catalogue_(context.catalogue), host_(context.host) {
    cpu_max_ = id("effective_cpu_max");
    cpu_quota_ = id("cpu_quota");
    cpu_period_ = id("cpu_period");
    cpuset_cpus_ = id("effective_cpuset_cpus");
    cpuset_list_ = id("cpuset_cpus_effective");
    memory_hierarchical_ = id("memory_hierarchical_limit");
    memsw_hierarchical_ = id("memory_hierarchical_memsw_limit");
    plain_ = {{{id("memory_high"), id("effective_memory_high"), "memory"},
               {id("memory_swap_max"), id("effective_memory_swap_max"), "memory"},
               {id("pids_max"), id("effective_pids_max"), "pids"}}};
    memory_max_ = {id("memory_max"), id("effective_memory_max"), "memory"};
    memsw_max_ = {id("memory_memsw_max"), id("effective_memory_memsw_max"), "memory"};
  }

  void end(model::Snapshot& snapshot, model::CollectorStats& stats) override {
    for (const auto& limit : plain_) tighten(snapshot, limit);
    tighten(snapshot, memory_max_);
    prefer_kernel_value(snapshot, memory_hierarchical_, memory_max_.effective);
    tighten(snapshot, memsw_max_);
    prefer_kernel_value(snapshot, memsw_hierarchical_, memsw_max_.effective);

    const auto& quota = snapshot.columns[cpu_quota_].dense;
    auto& cpu = snapshot.columns[cpu_max_].dense;
    cpu.assign(quota.size(), Value::absent());
    for (std::size_t g = 0; g < quota.size(); ++g) {
      const auto cgroup = static_cast<CgroupIndex>(g);
      if (!quota[g].is_absent()) cpu[g] = collectors::cores(quota[g], snapshot.value(cpu_period_, cgroup));
    }
    tighten_by_ancestors(snapshot.cgroup_list->parents, inherit("cpu"), cpu);
    count_cpus(snapshot, stats);
  }

 private:
  struct Limit {
    FieldId own = 0;
    FieldId effective = 0;
    std::string_view controller = {};
  };

  [[nodiscard]] FieldId id(std::string_view field) const { return catalogue_.find(field).value(); }

  [[nodiscard]] Inherit inherit(std::string_view controller) const {
    const auto on_v1 = [&](const auto& h) { return h.version == 1 && h.has(controller); };
    return std::ranges::any_of(host_.all, on_v1) ? Inherit::nothing : Inherit::from_parent;
  }

  void tighten(model::Snapshot& snapshot, const Limit& limit) const {
    const auto& own = snapshot.columns[limit.own].dense;
    auto& effective = snapshot.columns[limit.effective].dense;
    effective.assign(own.begin(), own.end());
    tighten_by_ancestors(snapshot.cgroup_list->parents, inherit(limit.controller), effective);
  }

  // On v1 the kernel computes the limit itself (memory.stat, hierarchical_*). Its value also covers ancestors outside
  // of the mounted subtree, and cgroups without use_hierarchy on old kernels.
  static void prefer_kernel_value(model::Snapshot& snapshot, FieldId computed_field, FieldId effective) {
    const auto& computed = snapshot.columns[computed_field].dense;
    auto& limits = snapshot.columns[effective].dense;
    for (std::size_t g = 0; g < std::min(computed.size(), limits.size()); ++g) {
      if (computed[g].has_value()) limits[g] = computed[g];
    }
  }

  void count_cpus(model::Snapshot& snapshot, model::CollectorStats& stats) const {
    const auto& lists = snapshot.columns[cpuset_list_];
    if (lists.series.empty()) return;
    const auto& parents = snapshot.cgroup_list->parents;
    auto& counts = snapshot.columns[cpuset_cpus_].dense;
    counts.assign(snapshot.cgroup_count(), Value::absent());
    for (const auto& series : lists.series) {
      if (series.cgroup >= counts.size()) continue;
      const auto count = count_of_list(lists.text_of(series));
      counts[series.cgroup] = count ? Value::of(*count) : Value::error();
      if (count) continue;
      ++stats.errors;
      ++stats.errors_now;
    }
    if (inherit("cpuset") == Inherit::nothing) return;
    for (std::size_t g = 0; g < counts.size(); ++g) {
      if (counts[g].is_absent() && parents[g] < g) counts[g] = counts[parents[g]];
    }
  }

  const model::Catalogue& catalogue_;
  const cgroup::HostHierarchies& host_;
  FieldId cpu_max_ = 0, cpu_quota_ = 0, cpu_period_ = 0;
  FieldId cpuset_cpus_ = 0, cpuset_list_ = 0;
  FieldId memory_hierarchical_ = 0, memsw_hierarchical_ = 0;
  Limit memory_max_, memsw_max_;
  std::array<Limit, 3> plain_{};
};

}  // namespace

Collector effective() {
  return {{"effective",
           "Lowest limits of the cgroup and its ancestors, derived from the collectors cpu, cpuset, memory and pids.",
           true, kEffectiveRows},
          [](const CustomContext& context) -> std::unique_ptr<CustomReader> {
            return std::make_unique<Effective>(context);
          }};
}

}  // namespace cgwarden::collectors
