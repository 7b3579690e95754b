// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/batch.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <thread>

#include "src/base/names.h"
#include "src/base/text.h"
#include "src/cgtop/live.h"
#include "src/cgtop/print.h"
#include "src/cgtop/recording.h"
#include "src/cgtop/select.h"

namespace cgwarden::cgtop {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstDelay{500};  // interval of the first rates
constexpr milliseconds kDelay{2000};
constexpr std::size_t kMaxListed = 8;  // cgroups in the error about an ambiguous name

// False: the reader has closed the pipe, or the write failed; `code` becomes the exit status.
bool write_all(std::string_view text, int& code) {
  while (!text.empty()) {
    const auto n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      code = errno == EPIPE ? kDone : kUnexpected;  // "cgtop dump | head" is not an error
      if (errno != EPIPE) std::cerr << "cgtop: standard output: cannot write: " << std::strerror(errno) << '\n';
      return false;
    }
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

// Escapes control characters: machine-readable formats contain external bytes, which must not reach a terminal.
std::string for_terminal(const std::string& text) {
  std::string out;
  std::string_view rest = text;
  while (!rest.empty()) out += base::printable(base::take_line(rest)) + '\n';
  return out;
}

tl::expected<PrintOptions, ExitError> print_options(const Options& o, const Columns& columns) {
  PrintOptions p;
  p.format = o.format.value_or(Format::table);
  p.header = o.header;
  p.units = o.units;
  const bool machine_readable = p.format == Format::json || p.format == Format::jsonl || p.format == Format::prom;
  if (o.fields == "all" || (o.fields.empty() && o.set.empty() && machine_readable)) {
    for (ColumnId id = 0; id < columns.size(); ++id) p.columns.push_back(id);
    p.only_present = true;
    return p;
  }
  std::string_view names = o.fields;
  if (!o.set.empty()) {
    const auto set = set_of(o);
    if (!set) return tl::unexpected(set.error());
    names = kColumnSets[*set].columns;
    p.only_present = true;
  } else if (names.empty()) {
    names = "cpu,memory,memory_limit,swap,read,write,tasks,throttled,psi_cpu,psi_memory,psi_io,oom_kills,state";
    p.only_present = p.format == Format::table;
  }
  const auto list = columns.require_list(names);
  if (!list) return tl::unexpected(ExitError{kUsage, list.error().what});
  p.columns = *list;
  return p;
}

// True if the output contains a rate or a state, which need two samples.
bool needs_two(const PrintOptions& print, const View& view, const Options& o, const Columns& columns) {
  return columns[view.sort].needs_two || view.filter.needs_two() || o.active ||
         (print.format != Format::prom &&
          std::ranges::any_of(print.columns, [&](ColumnId id) { return columns[id].needs_two; })) ||
         print.format == Format::json || print.format == Format::jsonl;  // these contain the state
}

class Batch {
 public:
  Batch(const Options& options, std::unique_ptr<SampleSource> source, std::shared_ptr<const model::Catalogue> catalogue)
      : options_(options), source_(std::move(source)), columns_(std::move(catalogue)) {}
  Batch(const Options& options, std::unique_ptr<Recording> recording, std::shared_ptr<const model::Catalogue> catalogue)
      : options_(options), recording_(std::move(recording)), columns_(std::move(catalogue)) {}

  int run() {
    int code = kDone;
    if (recording_) code = select_range();
    if (code == kDone) code = run_command();
    // The readable part has been printed; report the damaged part as well.
    if (code == kDone && recording_ && !recording_->losses().empty()) {
      return report_error({kDamagedRecording, base::printable(options_.from) + ": " + recording_->losses()});
    }
    return code;
  }

 private:
  int run_command() {
    switch (options_.action) {
      case Options::Action::show:
        return options_.format && *options_.format != Format::table ? dump() : show();
      case Options::Action::ps:
        return ps();
      default:
        return dump();
    }
  }

  int select_range() {
    const auto range = range_of(options_, *recording_);
    if (!range) return report_error(range.error());
    next_ = range->first;
    last_ = range->second;
    if (!options_.iterations) options_.iterations = 0;
    return kDone;
  }

  int dump() {
    Options o = options_;
    if (o.action == Options::Action::show && o.fields.empty() && o.set.empty()) o.fields = "all";
    const bool tree = o.action == Options::Action::tree;
    auto view = view_of(o, columns_, tree);
    if (!view) return report_error(view.error());
    auto print = print_options(o, columns_);
    if (!print) return report_error(print.error());
    print->indent = view->tree && print->format == Format::table;
    print->source = recording_ ? "replay" : source_->name();
    if (o.action == Options::Action::show) view->max_depth = 0;

    Printer printer(columns_, *print);
    const auto count = o.iterations.value_or(1);
    if (const auto error = first_pair(needs_two(*print, *view, o, columns_))) return report_error(*error);
    auto top = wanted_cgroup(o, *now_.snapshot, source_.get());
    if (!top) return report_error(top.error());
    const auto top_path = *top ? now_.snapshot->cgroup_list->cgroups[**top]->path : std::string();
    for (std::size_t i = 0;; ++i) {
      if (i > 0) {
        const auto more = next_pair();
        if (!more) return report_error(more.error());
        if (!*more) return kDone;
      }
      if (*top) view->top = id_of(top_path);
      const Table table(columns_, before_, now_.snapshot);
      auto rows = arrange(table, *view).rows;
      if (*top && rows.empty() && view->filter.empty() && !view->only_active && !recording_) {
        return report_error({kNotFound, "cgroup " + base::printable(o.cgroup) + ": not found: it has been removed"});
      }
      if (o.limit && rows.size() > *o.limit) rows.resize(*o.limit);
      auto text = printer.print(table, rows, now_.host);
      if (print->format == Format::prom && ::isatty(STDOUT_FILENO) != 0) text = for_terminal(text);
      if (print->format == Format::table && (count != 1 || recording_)) {
        text.insert(0, (i > 0 ? "\n" : "") + iso_time(now_.snapshot->taken_wall) + '\n');
      }
      int code = kDone;
      if (!write_all(text, code)) return code;
      if (count != 0 && i + 1 >= count) return kDone;
    }
  }

  int show() {
    if (const auto error = first_pair(true)) return report_error(*error);
    const auto cgroup = wanted_cgroup(options_, *now_.snapshot, source_.get());
    if (!cgroup) return report_error(cgroup.error());
    int code = kDone;
    write_all(print_cgroup(Table(columns_, before_, now_.snapshot), **cgroup, options_.units), code);
    return code;
  }

  int ps() {
    if (options_.format == Format::prom)
      return report_error(
          {kUsage,
           "--format prom: unsupported by cgtop ps: processes have no Prometheus metrics (use another format)"});
    if (recording_)
      return report_error({kUsage, "processes: unsupported with --from: a recording contains cgroups, not processes"});
    if (const auto error = first_pair(false)) return report_error(*error);
    const auto cgroup = wanted_cgroup(options_, *now_.snapshot, source_.get());
    if (!cgroup) return report_error(cgroup.error());
    const auto path = now_.snapshot->cgroup_list->cgroups[**cgroup]->path;
    const auto before = source_->processes(path, options_.recursive);
    if (!before) return report_error(before.error());
    std::this_thread::sleep_for(options_.delay.value_or(kFirstDelay));
    auto now = source_->processes(path, options_.recursive);
    if (!now) return report_error(now.error());
    fill_cpu_use(*before, *now);
    std::ranges::stable_sort(now->all, [](const Process& a, const Process& b) {
      return a.cpu.value_or(-1) != b.cpu.value_or(-1) ? a.cpu.value_or(-1) > b.cpu.value_or(-1) : a.rss > b.rss;
    });
    if (options_.limit && now->all.size() > *options_.limit) now->all.resize(*options_.limit);
    int code = kDone;
    write_all(print_processes(*now, options_.format.value_or(Format::table), options_.header, options_.units, path),
              code);
    return code;
  }

  // Current id of the cgroup with this path: a cgroup that was removed and created again has a new id.
  [[nodiscard]] std::uint64_t id_of(const std::string& path) const {
    for (const auto& cgroup : now_.snapshot->cgroup_list->cgroups) {
      if (cgroup->path == path) return cgroup->id;
    }
    return ~std::uint64_t{0};
  }

  std::optional<ExitError> take() {
    auto sample = source_->take();
    // An agent returns its cached sample again while that is up to date: retry for a second.
    for (int tries = 0; tries < 10 && sample && !sample->before && now_.snapshot && sample->snapshot == now_.snapshot;
         ++tries) {
      std::this_thread::sleep_for(milliseconds(100));
      sample = source_->take();
    }
    if (!sample) return std::move(sample.error());
    before_ = std::exchange(now_, std::move(*sample)).snapshot;
    if (now_.before) before_ = now_.before;
    return std::nullopt;
  }

  // Takes the first sample, and with `two` a second one, so that rates are known.
  std::optional<ExitError> first_pair(bool two) {
    if (recording_) {
      const auto any = next_pair();
      if (!any) return any.error();
      if (!*any)
        return ExitError{kDamagedRecording,
                         base::printable(options_.from) + ": damaged: no sample of the selected range is readable"};
      return std::nullopt;
    }
    if (auto error = take(); error || !two || now_.before) return error;
    std::this_thread::sleep_for(options_.delay.value_or(kFirstDelay));
    return take();
  }

  // Takes or reads the next sample. False: end of the recording.
  tl::expected<bool, ExitError> next_pair() {
    if (!recording_) {
      std::this_thread::sleep_for(options_.delay.value_or(kDelay));
      if (auto error = take()) return tl::unexpected(std::move(*error));
      return true;
    }
    for (; next_ <= last_; ++next_) {
      auto now = recording_->at(next_);
      if (!now) continue;
      before_.reset();
      if (next_ > 0 && !recording_->moment(next_).after_gap) {
        if (auto before = recording_->at(next_ - 1)) before_ = std::move(before->snapshot);
      }
      now_ = std::move(*now);
      ++next_;
      return true;
    }
    return false;
  }

  Options options_;
  std::unique_ptr<SampleSource> source_;  // null if recording_ is set
  std::unique_ptr<Recording> recording_;  // null if source_ is set
  Columns columns_;
  model::SnapshotPtr before_;
  Sample now_;
  std::size_t next_ = 0;
  std::size_t last_ = 0;
};

int doctor(const Options& options) {
  std::string out;
  bool ok = true;
  for (const auto& finding : examine(options.paths)) {
    const bool problem = finding.grade == Finding::Grade::problem;
    ok &= !problem;
    out += problem ? "problem  " : finding.grade == Finding::Grade::note ? "note     " : "ok       ";
    out += base::printable(finding.what) + '\n';
    if (!finding.remedy.empty()) out += "         -> " + base::printable(finding.remedy) + '\n';
  }
  int code = ok ? kDone : kUnexpected;
  write_all(out, code);
  return code;
}

}  // namespace

tl::expected<std::size_t, ExitError> set_of(const Options& o) {
  if (!o.fields.empty()) return tl::unexpected(ExitError{kUsage, "--fields: cannot be combined with --set"});
  const auto set = find_set(o.set);
  if (!set) {
    std::vector<std::string_view> names;
    for (const auto& known : kColumnSets) names.push_back(known.name);
    return tl::unexpected(ExitError{kUsage, "--set: " + base::unknown_name("column set", o.set, names)});
  }
  return *set;
}

tl::expected<View, ExitError> view_of(const Options& o, const Columns& columns, bool tree_by_default) {
  View view;
  view.tree = o.tree || (tree_by_default && !o.flat);
  std::string_view name = o.sort.empty() ? "cpu" : std::string_view(o.sort);
  std::string_view direction;
  if (const auto colon = name.rfind(':'); colon != std::string_view::npos) {
    direction = name.substr(colon + 1);
    name = name.substr(0, colon);
    if (direction != "asc" && direction != "desc") {
      return tl::unexpected(
          ExitError{kUsage, "--sort: unknown order '" + base::printable(direction) + "' (use asc or desc)"});
    }
  }
  const auto sort = columns.require(name);
  if (!sort) return tl::unexpected(ExitError{kUsage, "--sort: " + sort.error().what});
  view.sort = *sort;
  view.descending = direction.empty() ? descends_by_default(columns[*sort]) : direction == "desc";
  if (o.reverse) view.descending = !view.descending;
  auto filter = Filter::parse(o.filter, columns);
  if (!filter) return tl::unexpected(ExitError{kUsage, "--filter:\n" + explain(o.filter, filter.error())});
  view.filter = std::move(*filter);
  view.only_active = o.active;
  view.max_depth = o.depth;
  return view;
}

tl::expected<std::optional<model::CgroupIndex>, ExitError> wanted_cgroup(const Options& o,
                                                                         const model::Snapshot& snapshot,
                                                                         SampleSource* source) {
  if (o.cgroup.empty()) return std::nullopt;
  auto name = o.cgroup;
  auto matches = cgroups_named(snapshot, name);
  if (matches.empty()) {
    if (const auto pid = base::to_int<int>(o.cgroup); pid && *pid > 0 && source != nullptr) {
      const auto path = source->cgroup_of_pid(*pid);
      if (!path) return tl::unexpected(ExitError{kNotFound, "process " + std::to_string(*pid) + ": not found"});
      name = *path;
      matches = cgroups_named(snapshot, name);
    }
  }
  if (matches.empty()) {
    return tl::unexpected(
        ExitError{kNotFound, "cgroup " + base::printable(name) + ": not found (cgtop tree lists all cgroups)"});
  }
  if (matches.size() > 1) {
    std::string what = "cgroup " + base::printable(o.cgroup) + ": ambiguous name: several cgroups match (use a path):";
    for (std::size_t i = 0; i < std::min(matches.size(), kMaxListed); ++i) {
      what += "\n  " + base::printable(snapshot.cgroup_list->cgroups[matches[i]]->path);
    }
    if (matches.size() > kMaxListed) what += "\n  and " + std::to_string(matches.size() - kMaxListed) + " more";
    return tl::unexpected(ExitError{kUsage, std::move(what)});
  }
  return matches.front();
}

int run_batch(const Options& options) {
  const auto catalogue = collectors::make_catalogue();
  if (options.action == Options::Action::fields) {
    if (options.format == Format::prom)
      return report_error(
          {kUsage,
           "--format prom: unsupported by cgtop fields: the list of fields has no metrics (use another format)"});
    int code = kDone;
    write_all(print_fields(Columns(catalogue), options.format.value_or(Format::table), options.header), code);
    return code;
  }
  if (options.action == Options::Action::doctor) return doctor(options);
  if (options.action == Options::Action::record) return run_record(options);
  if (options.action == Options::Action::snapshot) return run_snapshot(options);
  if (!options.from.empty() && options.agent.empty() && options.prometheus.empty()) {
    auto recording = Recording::open(options.from, catalogue);
    if (!recording) return report_error(recording.error());
    return Batch(options, std::move(*recording), catalogue).run();
  }
  auto source = open_source(options, catalogue);
  if (!source) return report_error(source.error());
  return Batch(options, std::move(*source), catalogue).run();
}

}  // namespace cgwarden::cgtop
