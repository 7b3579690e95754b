// SPDX-License-Identifier: Apache-2.0
// Differences between two snapshots. A pure function of both. Cgroups are matched by their kernel id, never by path, so
// the counters of a cgroup that was removed and created again do not continue those of the old one. A counter that
// decreased has no difference; other fields of the cgroup are not affected.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "src/model/snapshot.h"

namespace cgwarden::model {

// The series of one cgroup in a column of a labeled field.
std::span<const Series> series_of(const Column& column, CgroupIndex cgroup);

class Delta {
 public:
  Delta() = default;  // without snapshots: every result is unknown (nullopt)
  // If the snapshots have different catalogues or one is null, every result is unknown (nullopt).
  Delta(SnapshotPtr before, SnapshotPtr now);

  // The measured time between the snapshots; 0 if unknown.
  [[nodiscard]] double seconds() const { return seconds_; }
  [[nodiscard]] bool known() const { return seconds_ > 0; }
  // The index of the same cgroup in the earlier snapshot, or kNoCgroup.
  [[nodiscard]] CgroupIndex before(CgroupIndex now) const { return now < pairs_.size() ? pairs_[now] : kNoCgroup; }

  // The difference in the fixed point of the field. A labeled field is summed over its series. A series that is
  // missing in the earlier snapshot counts from zero, because the kernel lists a device from its first use.
  [[nodiscard]] std::optional<std::int64_t> difference(FieldId field, CgroupIndex now) const;
  // The difference in base units per second.
  [[nodiscard]] std::optional<double> rate(FieldId field, CgroupIndex now) const;
  // The rate of one series of a labeled field.
  [[nodiscard]] std::optional<double> rate(FieldId field, CgroupIndex now, std::string_view label) const;

 private:
  [[nodiscard]] std::optional<std::int64_t> series_difference(FieldId field, CgroupIndex earlier,
                                                              const Series& series) const;
  [[nodiscard]] double per_second(FieldId field, std::int64_t difference) const;

  SnapshotPtr before_;
  SnapshotPtr now_;
  double seconds_ = 0;
  std::vector<CgroupIndex> pairs_;
};

}  // namespace cgwarden::model
