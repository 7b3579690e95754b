// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/batch.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <thread>

#include "src/base/text.h"
#include "src/cgtop/live.h"
#include "src/cgtop/print.h"
#include "src/cgtop/recording.h"
#include "src/cgtop/select.h"

namespace cgwarden::cgtop {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstDelay{500};  // rates of the first sample are over this
constexpr milliseconds kDelay{2000};
constexpr std::size_t kMaxNamed = 8;

// False: nobody reads any more, or it cannot be written; `code` says how to end.
bool write_all(std::string_view text, int& code) {
  while (!text.empty()) {
    const auto n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      code = errno == EPIPE ? kDone : kUnexpected;  // as `head` users expect
      if (errno != EPIPE) std::cerr << "cgtop: cannot write: " << std::strerror(errno) << '\n';
      return false;
    }
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

// Formats for programs keep the bytes of others; a terminal must not get them.
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
  const bool programs = p.format == Format::json || p.format == Format::jsonl || p.format == Format::prom;
  if (o.fields == "all" || (o.fields.empty() && o.set.empty() && programs)) {
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

bool needs_two(const PrintOptions& print, const View& view, const Options& o, const Columns& columns) {
  return columns[view.sort].needs_two || view.filter.needs_two() || o.active ||
         (print.format != Format::prom &&
          std::ranges::any_of(print.columns, [&](ColumnId id) { return columns[id].needs_two; })) ||
         print.format == Format::json || print.format == Format::jsonl;  // the state
}

class Batch {
 public:
  Batch(const Options& options, std::unique_ptr<SampleSource> source, std::shared_ptr<const model::Catalogue> catalogue)
      : options_(options), source_(std::move(source)), columns_(std::move(catalogue)) {}
  Batch(const Options& options, std::unique_ptr<Recording> recording, std::shared_ptr<const model::Catalogue> catalogue)
      : options_(options), recording_(std::move(recording)), columns_(std::move(catalogue)) {}

  int run() {
    int code = kDone;
    if (recording_) code = begin_recording();
    if (code == kDone) code = act();
    // What could be read was printed; that it is not all is said as well.
    if (code == kDone && recording_ && !recording_->losses().empty()) {
      return stop({kDamagedRecording, recording_->losses()});
    }
    return code;
  }

 private:
  int act() {
    switch (options_.action) {
      case Options::Action::show:
        return options_.format && *options_.format != Format::table ? dump() : show();
      case Options::Action::ps:
        return ps();
      default:
        return dump();
    }
  }

  int begin_recording() {
    const auto range = range_of(options_, *recording_);
    if (!range) return stop(range.error());
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
    if (!view) return stop(view.error());
    auto print = print_options(o, columns_);
    if (!print) return stop(print.error());
    print->indent = view->tree && print->format == Format::table;
    print->source = recording_ ? "replay" : source_->name();
    if (o.action == Options::Action::show) view->max_depth = 0;

    Printer printer(columns_, *print);
    const auto count = o.iterations.value_or(1);
    if (const auto why = first_pair(needs_two(*print, *view, o, columns_))) return stop(*why);
    auto top = wanted_cgroup(o, *now_.snapshot, source_.get());
    if (!top) return stop(top.error());
    const auto top_path = *top ? now_.snapshot->cgroup_list->cgroups[**top]->path : std::string();
    for (std::size_t i = 0;; ++i) {
      if (i > 0) {
        const auto more = next_pair();
        if (!more) return stop(more.error());
        if (!*more) return kDone;
      }
      if (*top) view->top = id_of(top_path);
      const Table table(columns_, before_, now_.snapshot);
      auto rows = arrange(table, *view).rows;
      if (*top && rows.empty() && view->filter.empty() && !view->only_active && !recording_) {
        return stop({kNotFound, "the cgroup '" + base::printable(o.cgroup) + "' is gone"});
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
    if (const auto why = first_pair(true)) return stop(*why);
    const auto cgroup = wanted_cgroup(options_, *now_.snapshot, source_.get());
    if (!cgroup) return stop(cgroup.error());
    int code = kDone;
    write_all(print_cgroup(Table(columns_, before_, now_.snapshot), **cgroup, options_.units), code);
    return code;
  }

  int ps() {
    if (options_.format == Format::prom) return stop({kUsage, "processes have no Prometheus format"});
    if (recording_) return stop({kUsage, "a recording holds cgroups, not processes"});
    if (const auto why = first_pair(false)) return stop(*why);
    const auto cgroup = wanted_cgroup(options_, *now_.snapshot, source_.get());
    if (!cgroup) return stop(cgroup.error());
    const auto path = now_.snapshot->cgroup_list->cgroups[**cgroup]->path;
    const auto before = source_->processes(path, options_.recursive);
    if (!before) return stop(before.error());
    std::this_thread::sleep_for(options_.delay.value_or(kFirstDelay));
    auto found = source_->processes(path, options_.recursive);
    if (!found) return stop(found.error());
    fill_cpu_use(*before, *found);
    std::ranges::stable_sort(found->all, [](const Process& a, const Process& b) {
      return a.cpu.value_or(-1) != b.cpu.value_or(-1) ? a.cpu.value_or(-1) > b.cpu.value_or(-1) : a.rss > b.rss;
    });
    if (options_.limit && found->all.size() > *options_.limit) found->all.resize(*options_.limit);
    int code = kDone;
    write_all(print_processes(*found, options_.format.value_or(Format::table), options_.header, options_.units, path),
              code);
    return code;
  }

  // The cgroup of that path now: a cgroup that was made again has another id.
  [[nodiscard]] std::uint64_t id_of(const std::string& path) const {
    for (const auto& cgroup : now_.snapshot->cgroup_list->cgroups) {
      if (cgroup->path == path) return cgroup->id;
    }
    return ~std::uint64_t{0};
  }

  std::optional<ExitError> take() {
    auto taken = source_->take();
    // An agent may answer with the sample it gave before, as that is young enough.
    for (int tries = 0; tries < 10 && taken && !taken->before && now_.snapshot && taken->snapshot == now_.snapshot;
         ++tries) {
      std::this_thread::sleep_for(milliseconds(100));
      taken = source_->take();
    }
    if (!taken) return std::move(taken.error());
    before_ = std::exchange(now_, std::move(*taken)).snapshot;
    if (now_.before) before_ = now_.before;
    return std::nullopt;
  }

  // The first sample, and the one before it when that is needed.
  std::optional<ExitError> first_pair(bool two) {
    if (recording_) {
      const auto any = next_pair();
      if (!any) return any.error();
      if (!*any) return ExitError{kDamagedRecording, "nothing of that time can be read"};
      return std::nullopt;
    }
    if (auto why = take(); why || !two || now_.before) return why;
    std::this_thread::sleep_for(options_.delay.value_or(kFirstDelay));
    return take();
  }

  // False: there is no more.
  tl::expected<bool, ExitError> next_pair() {
    if (!recording_) {
      std::this_thread::sleep_for(options_.delay.value_or(kDelay));
      if (auto why = take()) return tl::unexpected(std::move(*why));
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
  std::unique_ptr<SampleSource> source_;  // one
  std::unique_ptr<Recording> recording_;  // of both
  Columns columns_;
  model::SnapshotPtr before_;
  Sample now_;
  std::size_t next_ = 0;
  std::size_t last_ = 0;
};

int doctor(const Options& options) {
  std::string out;
  bool good = true;
  for (const auto& finding : examine(options.paths)) {
    const bool problem = finding.grade == Finding::Grade::problem;
    good &= !problem;
    out += problem ? "problem  " : finding.grade == Finding::Grade::note ? "note     " : "ok       ";
    out += base::printable(finding.what) + '\n';
    if (!finding.remedy.empty()) out += "         -> " + base::printable(finding.remedy) + '\n';
  }
  int code = good ? kDone : kUnexpected;
  write_all(out, code);
  return code;
}

}  // namespace

tl::expected<std::size_t, ExitError> set_of(const Options& o) {
  if (!o.fields.empty()) return tl::unexpected(ExitError{kUsage, "--fields and --set exclude each other"});
  const auto set = find_set(o.set);
  if (!set) {
    return tl::unexpected(
        ExitError{kUsage, "no set of fields is called '" + base::printable(o.set) + "' (see --help)"});
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
      return tl::unexpected(ExitError{kUsage, "--sort: after the colon stands asc or desc"});
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
  auto found = cgroups_named(snapshot, name);
  if (found.empty()) {
    if (const auto pid = base::to_int<int>(o.cgroup); pid && *pid > 0 && source != nullptr) {
      const auto path = source->cgroup_of_pid(*pid);
      if (!path) return tl::unexpected(ExitError{kNotFound, "no process has the id " + std::to_string(*pid)});
      name = *path;
      found = cgroups_named(snapshot, name);
    }
  }
  if (found.empty()) {
    return tl::unexpected(
        ExitError{kNotFound, "no cgroup is called '" + base::printable(name) + "' (cgtop tree lists them)"});
  }
  if (found.size() > 1) {
    std::string what = "'" + base::printable(o.cgroup) + "' means several cgroups; name one by its path:";
    for (std::size_t i = 0; i < std::min(found.size(), kMaxNamed); ++i) {
      what += "\n  " + base::printable(snapshot.cgroup_list->cgroups[found[i]]->path);
    }
    if (found.size() > kMaxNamed) what += "\n  and " + std::to_string(found.size() - kMaxNamed) + " more";
    return tl::unexpected(ExitError{kUsage, std::move(what)});
  }
  return found.front();
}

int run_batch(const Options& options) {
  const auto catalogue = collectors::make_catalogue();
  if (options.action == Options::Action::fields) {
    if (options.format == Format::prom) return stop({kUsage, "fields have no Prometheus format"});
    int code = kDone;
    write_all(print_fields(Columns(catalogue), options.format.value_or(Format::table), options.header), code);
    return code;
  }
  if (options.action == Options::Action::doctor) return doctor(options);
  if (options.action == Options::Action::record) return run_record(options);
  if (options.action == Options::Action::snapshot) return run_snapshot(options);
  if (!options.from.empty() && options.agent.empty() && options.prometheus.empty()) {
    auto recording = Recording::open(options.from, catalogue);
    if (!recording) return stop(recording.error());
    return Batch(options, std::move(*recording), catalogue).run();
  }
  auto source = open_source(options, catalogue);
  if (!source) return stop(source.error());
  return Batch(options, std::move(*source), catalogue).run();
}

}  // namespace cgwarden::cgtop
