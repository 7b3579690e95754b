// SPDX-License-Identifier: Apache-2.0
// Random snapshots, for round-trip tests: whatever is written must be read back unchanged.
#pragma once

#include <chrono>
#include <limits>
#include <memory>
#include <random>
#include <string>

#include "src/model/snapshot.h"
#include "tests/unit/cgtop_snapshots.h"

namespace cgwarden::test {

// A history that no real host would have: cgroups are created and removed, values jump, texts hold any bytes.
class AnyHistory {
 public:
  explicit AnyHistory(unsigned seed) : random_(seed) {}

  model::SnapshotPtr next() {
    auto s = std::make_shared<model::Snapshot>();
    s->catalogue = catalogue();
    now_ += std::chrono::nanoseconds(below(9) == 0 ? -50'000'000'000 : below(10'000'000'000));
    s->begun = base::Monotonic(now_);
    s->taken = base::Monotonic(now_ + std::chrono::nanoseconds(below(1'000'000)));
    s->taken_wall = base::Wall(std::chrono::seconds(1'800'000'000) + now_);
    if (!cgroup_list_ || below(3) == 0) change_cgroups();
    s->cgroup_list = below(40) == 0 ? nullptr : cgroup_list_;
    const auto n = s->cgroup_count();
    if (!hierarchies_ || below(20) == 0) {
      hierarchies_ = std::make_shared<std::vector<model::HierarchyInfo>>();
      for (auto i = below(4); i > 0; --i) hierarchies_->push_back({below(2) == 0 ? 1 : 2, any_text(), any_text()});
    }
    s->hierarchies = below(30) == 0 ? nullptr : hierarchies_;
    if (!containers_ || below(4) == 0) change_containers();
    s->containers = below(30) == 0 ? nullptr : containers_;
    s->columns.resize(s->catalogue->size());
    for (std::size_t f = 0; f < s->columns.size(); ++f) {
      auto& column = s->columns[f];
      const auto old = last_ && f < last_->columns.size() ? last_->columns[f] : model::Column();
      switch (below(12)) {
        case 0:
          break;  // empty, independent of the previous snapshot
        case 1:   // random values
          column.dense.resize(below(15) == 0 ? below(2 * n + 3) : n);
          for (auto& v : column.dense) v = any_value();
          break;
        case 2:
        case 3:  // a new list of series
          for (std::size_t g = 0; g <= n; ++g) {
            for (auto i = below(3); i > 0; --i) {
              const auto text = any_text();
              column.series.push_back({g == n ? model::kNoCgroup : static_cast<model::CgroupIndex>(g),
                                       static_cast<std::uint32_t>(column.text.size()),
                                       static_cast<std::uint16_t>(text.size()), any_value()});
              column.text += text;
            }
          }
          break;
        default:  // changes as on a real host
          column = old;
          if (!column.dense.empty()) column.dense.resize(n);
          for (auto& series : column.series) {
            if (series.cgroup != model::kNoCgroup && series.cgroup >= n) series.cgroup = model::kNoCgroup;
            grow(series.value);
          }
          for (auto& v : column.dense) grow(v);
      }
    }
    s->collectors.resize(s->catalogue->collectors().size());
    for (auto& c : s->collectors) {
      c = {below(2) == 0, std::chrono::nanoseconds(below(1'000'000)), any(), any(), any(), any(), any()};
    }
    s->tree = {any(), any(), any(), any(), any(), any(), any(), below(2) == 0};
    last_ = s;
    return s;
  }
  std::string any_text() {
    std::string out;
    for (auto i = below(12); i > 0; --i) out += static_cast<char>(below(256));
    return out;
  }
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }

 private:
  std::uint64_t any() { return below(3) == 0 ? random_() : below(100); }
  model::Value any_value() {
    switch (below(8)) {
      case 0:
        return model::Value::absent();
      case 1:
        return model::Value::error();
      case 2:
        return model::Value::unlimited();
      case 3:
        return model::Value::of(static_cast<std::int64_t>(random_()));
      case 4:
        return model::Value::of(std::numeric_limits<std::int64_t>::min() + 2 + static_cast<std::int64_t>(below(3)));
      case 5:
        return model::Value::of(std::numeric_limits<std::int64_t>::max() - static_cast<std::int64_t>(below(3)));
      default:
        return model::Value::of(static_cast<std::int64_t>(below(1000)) * 4096);
    }
  }
  void grow(model::Value& v) {
    if (v.is_number() && below(2) == 0)
      v = model::Value::of(v.fixed() / 2 + static_cast<std::int64_t>(below(1000) * 1000));
    if (below(200) == 0) v = any_value();
  }
  void change_cgroups() {
    auto next = std::make_shared<model::CgroupList>();
    next->generation = ++generation_;
    if (cgroup_list_) {
      for (const auto& cgroup : cgroup_list_->cgroups) {
        if (below(5) != 0) next->cgroups.push_back(cgroup);
      }
    }
    for (auto i = below(4); i > 0; --i) {
      auto cgroup = std::make_shared<model::Cgroup>();
      *cgroup = {below(30), "/" + any_text(), base::Wall(std::chrono::nanoseconds(any() >> 8U)), below(2) == 0};
      next->cgroups.insert(next->cgroups.begin() + static_cast<std::ptrdiff_t>(below(next->cgroups.size() + 1)),
                           cgroup);
    }
    for (std::size_t g = 0; g < next->cgroups.size(); ++g) {
      const auto parent = below(g + 1);
      next->parents.push_back(parent == g ? model::kNoCgroup : static_cast<model::CgroupIndex>(parent));
    }
    cgroup_list_ = next;
  }
  model::ContainerPtr any_container() {
    auto c = std::make_shared<model::Container>();
    c->role = static_cast<model::Role>(below(12));
    for (const auto& f : model::kTextFacts) {
      if (below(4) == 0) (*c).*f.member = any_text(), c->origins.push_back({f.name, any_text()});
    }
    for (const auto& f : model::kNumberFacts) {
      if (below(4) == 0) (*c).*f.member = static_cast<std::int64_t>(random_());
    }
    for (const auto& f : model::kTimeFacts) {
      if (below(4) == 0) (*c).*f.member = base::Wall(std::chrono::nanoseconds(any() >> 4U));
    }
    for (auto i = below(3); i > 0; --i) c->labels.emplace_back(any_text(), any_text());
    return c;
  }
  void change_containers() {
    auto next = std::make_shared<model::Containers>();
    if (containers_) *next = *containers_;
    next->generation = any();
    for (auto i = below(3); i > 0; --i) next->by_cgroup[below(10)] = any_container();
    next->by_cgroup.erase(below(10));
    if (!next->exited.empty() && below(2) == 0) next->exited.erase(next->exited.begin());
    if (below(2) == 0)
      next->exited.push_back(
          {any(), any_text(), base::Wall(std::chrono::seconds(5)), below(5) == 0 ? nullptr : any_container()});
    containers_ = next;
  }

  std::mt19937_64 random_;
  std::chrono::nanoseconds now_ = std::chrono::hours(10);
  std::uint64_t generation_ = 0;
  std::shared_ptr<model::CgroupList> cgroup_list_;
  std::shared_ptr<std::vector<model::HierarchyInfo>> hierarchies_;
  std::shared_ptr<model::Containers> containers_;
  model::SnapshotPtr last_;
};

}  // namespace cgwarden::test
