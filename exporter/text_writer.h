// SPDX-License-Identifier: Apache-2.0
// Writes the cgroup series of a snapshot as text, directly from its columns. Repeated text is prepared once: HELP and
// TYPE per catalogue, the label block of each cgroup per list of cgroups. For each series it copies a name, a label
// block and digits, without an allocation or a conversion to double.
//
//   # HELP cgroup_pids_current ...                <- Family::header
//   # TYPE cgroup_pids_current gauge
//   cgroup_pids_current{ cgroup="/a.slice"}  42
//   ^ Family::name       ^ block of the cgroup
//
// A series without a cgroup (model::kNoCgroup) has only its own labels.
//
// Missing and failed values have no sample, a family without samples is omitted, "max" is +Inf, and no series is
// written twice. One thread at a time, because of the cached text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/buffer.h"
#include "exporter/exposition.h"
#include "src/model/snapshot.h"

namespace cgwarden::exporter {

// Appends the escaped labels of a cgroup without braces: `cgroup="/a",pod="x"`. If it appends nothing, path_label() is
// used.
using LabelSource = std::function<void(const model::Cgroup& cgroup, std::string& out)>;

// The default: `cgroup="<path>"`. Each byte that is not valid UTF-8 becomes U+FFFD, and all such bytes follow in
// hexadecimal after a '#', so that different paths have different labels: "/a\xff" is `/a<U+FFFD>#ff`.
void path_label(const model::Cgroup& cgroup, std::string& out);

// Collectors whose fields are written, by CollectorId. Empty: all.
using CollectorFilter = std::vector<bool>;

class TextWriter {
 public:
  struct Options {
    LabelSource labels = path_label;
    // Write `_created` of OpenMetrics (Cgroup::created) for every counter. Prometheus stores each as a separate series.
    bool created = true;
  };

  TextWriter() : TextWriter(Options{}) {}
  explicit TextWriter(Options options) : options_(std::move(options)) {}

  // Appends the families to `out` in order of their names, then those of containers unless `only` selects collectors,
  // without the "# EOF" of OpenMetrics. Returns the number of series without `_created`. When `out` has kPiece bytes or
  // more, also within a family, `flush` is called and may empty it.
  static constexpr std::size_t kPiece = 256UL << 10U;
  using Flush = std::function<void(Buffer&)>;
  std::size_t write(const model::Snapshot& snapshot, Format format, const CollectorFilter& only, Buffer& out,
                    const Flush& flush = {});

  // Drops cached labels: the label source has changed.
  void reset_labels() { cgroup_list_.reset(); }

 private:
  struct Family {
    std::string header;               // "# HELP ...\n# TYPE ...\n"
    std::string name;                 // "cgroup_x_total{"
    std::string created;              // "cgroup_x_created{"; empty when there is none
    std::vector<std::string> labels;  // `,device="`, `",op="`: the text before each value
    std::size_t labels_size = 0;
  };
  struct Block {
    std::string_view text;     // `cgroup="/a.slice"} `, in block_text_; empty: not written
    std::string_view created;  // "1700000000.25\n"
  };

  const std::vector<Family>& families_of(const std::shared_ptr<const model::Catalogue>& catalogue, Format format);
  void prepare_blocks(const std::shared_ptr<const model::CgroupList>& cgroup_list);
  static void flush_if_full(Buffer& out, const Flush& flush);
  template <int kDecimals>
  std::size_t write_dense(const Family& family, const model::Column& column, Buffer& out, const Flush& flush) const;
  template <int kDecimals>
  std::size_t write_labeled(const Family& family, const model::Column& column, bool info, Buffer& out,
                            const Flush& flush);
  [[nodiscard]] bool is_duplicate(const model::Column& column, std::string_view text, bool plain) const;

  Options options_;
  std::shared_ptr<const model::Catalogue> catalogue_;
  std::vector<Family> families_[2];  // by Format, then FieldId
  std::shared_ptr<const model::CgroupList> cgroup_list_;
  std::string block_text_;
  std::vector<Block> blocks_;  // by CgroupIndex
  std::size_t max_block_size_ = 0;
  std::vector<const model::Series*> run_;  // series of the current cgroup that are written
  std::string scratch_;
};

// The complete exposition of one snapshot, including "# EOF"; for `--once`.
std::string render_once(const model::Snapshot& snapshot, Format format, TextWriter::Options options = {});

}  // namespace cgwarden::exporter
