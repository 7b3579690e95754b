// SPDX-License-Identifier: Apache-2.0
// Writes the cgroup series of a snapshot as text, straight from its columns. What repeats is prepared once: HELP and
// TYPE per catalogue, the label block per cgroup and roster. Per series it copies a name, a label block and digits; it
// allocates nothing and makes no double.
//
//   # HELP cgroup_pids_current ...                <- Family::header
//   # TYPE cgroup_pids_current gauge
//   cgroup_pids_current{ cgroup="/a.slice"}  42
//   ^ Family::name       ^ block of the cgroup
//
// A cell of no cgroup (model::kNoGroup) has its own labels only.
//
// Absent and failed values have no sample, a family without samples is left out whole, "max" is +Inf, and no series is
// written twice. One thread at a time: the writer keeps what it prepared.
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

// Appends the labels of a cgroup without braces, escaped: `cgroup="/a",pod="x"`. Nothing: path_label().
using LabelSource = std::function<void(const model::Cgroup& cgroup, std::string& out)>;

// The default: `cgroup="<path>"`. Bytes that are no UTF-8 become U+FFFD each and follow in hexadecimal after a '#', so
// that two such paths keep different labels whoever else is there: "/a\xff" is `/a<U+FFFD>#ff`.
void path_label(const model::Cgroup& cgroup, std::string& out);

// Which collectors' fields are written, by CollectorId. Empty: all.
using CollectorFilter = std::vector<bool>;

class TextWriter {
 public:
  struct Options {
    LabelSource labels = path_label;
    // OpenMetrics' `_created` (Cgroup::birth) beside every counter. Prometheus stores each as a series of its own.
    bool created = true;
  };

  TextWriter() : TextWriter(Options{}) {}
  explicit TextWriter(Options options) : options_(std::move(options)) {}

  // Appends the families to `out` in the order of their names, those of containers behind them unless there is a
  // choice of collectors, without the "# EOF" of OpenMetrics. Returns how many
  // series were written, `_created` not counted. Whenever `out` has kPiece bytes and more, within a family, too, `full`
  // may take them away.
  static constexpr std::size_t kPiece = 256UL << 10U;
  using Full = std::function<void(Buffer&)>;
  std::size_t write(const model::Snapshot& snapshot, Format format, const CollectorFilter& only, Buffer& out,
                    const Full& full = {});

  // The label source would answer differently now.
  void forget_labels() { cgroup_list_.reset(); }

 private:
  struct Family {
    std::string header;               // "# HELP ...\n# TYPE ...\n"
    std::string name;                 // "cgroup_x_total{"
    std::string created;              // "cgroup_x_created{"; empty when there is none
    std::vector<std::string> labels;  // `,device="`, `",op="`: what stands before each value
    std::size_t labels_size = 0;
  };
  struct Block {
    std::string_view text;     // `cgroup="/a.slice"} `, in block_text_; empty: not written
    std::string_view created;  // "1700000000.25\n"
  };

  const std::vector<Family>& families_of(const std::shared_ptr<const model::Catalogue>& catalogue, Format format);
  void prepare_blocks(const std::shared_ptr<const model::CgroupList>& cgroup_list);
  static void give(Buffer& out, const Full& full);
  template <int kDecimals>
  std::size_t write_dense(const Family& family, const model::Column& column, Buffer& out, const Full& full) const;
  template <int kDecimals>
  std::size_t write_cells(const Family& family, const model::Column& column, bool info, Buffer& out, const Full& full);
  [[nodiscard]] bool written_before(const model::Column& column, std::string_view text, bool plain) const;

  Options options_;
  std::shared_ptr<const model::Catalogue> catalogue_;
  std::vector<Family> families_[2];  // by Format, then FieldId
  std::shared_ptr<const model::CgroupList> cgroup_list_;
  std::string block_text_;
  std::vector<Block> blocks_;  // by GroupIndex
  std::size_t longest_block_ = 0;
  std::vector<const model::Series*> run_;  // the cells of one cgroup written so far
  std::string scratch_;
};

// The exposition of one snapshot, "# EOF" included: for `--once`.
std::string render_once(const model::Snapshot& snapshot, Format format, TextWriter::Options options = {});

}  // namespace cgwarden::exporter
