// SPDX-License-Identifier: Apache-2.0
// What changed between two snapshots. A pure function of both: cgroups are matched by their kernel id, never by path,
// so the counters of a cgroup that was made again do not continue the old one's. A counter that went down has no
// difference; that holds for each field by itself.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "src/model/snapshot.h"

namespace cgwarden::model {

// The series of one cgroup in a labelled column.
std::span<const Series> series_of(const Column& column, CgroupIndex cgroup);

class Delta {
 public:
  Delta() = default;  // of nothing: every answer is "unknown"
  // Both snapshots must be of one catalogue; if they are not, or `before` is null, every answer is "unknown".
  Delta(SnapshotPtr before, SnapshotPtr now);

  // Measured, not wished for.
  [[nodiscard]] double seconds() const { return seconds_; }
  [[nodiscard]] bool known() const { return seconds_ > 0; }
  // The same cgroup in the earlier snapshot, or kNoGroup.
  [[nodiscard]] CgroupIndex before(CgroupIndex now) const { return now < pairs_.size() ? pairs_[now] : kNoCgroup; }

  // In the fixed point of the field. A labelled field is summed over its series; a series that was not there before
  // counts from zero, as the kernel lists a device from its first use.
  [[nodiscard]] std::optional<std::int64_t> difference(FieldId field, CgroupIndex now) const;
  // In base units per second.
  [[nodiscard]] std::optional<double> rate(FieldId field, CgroupIndex now) const;
  // Of one series of a labelled field.
  [[nodiscard]] std::optional<double> rate(FieldId field, CgroupIndex now, std::string_view label) const;

 private:
  [[nodiscard]] std::optional<std::int64_t> series_difference(FieldId field, CgroupIndex earlier,
                                                              const Series& cell) const;
  [[nodiscard]] double per_second(FieldId field, std::int64_t difference) const;

  SnapshotPtr before_;
  SnapshotPtr now_;
  double seconds_ = 0;
  std::vector<CgroupIndex> pairs_;
};

}  // namespace cgwarden::model
