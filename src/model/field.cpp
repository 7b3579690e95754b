// SPDX-License-Identifier: Apache-2.0
#include "src/model/field.h"

namespace cgwarden::model {

std::string metric_family(const Field& field) {
  std::string out = "cgroup_";
  out += field.name;
  if (field.unit != Unit::none) {
    out += '_';
    out += name(field.unit);
  }
  return out;
}

std::string metric_name(const Field& field) {
  auto out = metric_family(field);
  if (field.kind == MetricKind::counter) out += "_total";
  if (field.kind == MetricKind::info) out += "_info";
  return out;
}

}  // namespace cgwarden::model
