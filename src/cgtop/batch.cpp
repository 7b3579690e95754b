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
#include "src/cgtop/select.h"

namespace cgwarden::cgtop {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstDelay{500};  // rates of the first sample are over this
constexpr milliseconds kDelay{2000};
constexpr std::size_t kMostNamed = 8;

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

int stop(const Stop& why) {
  std::cerr << "cgtop: " << why.what << '\n';
  return why.code;
}

// Formats for programs keep the bytes of others; a terminal must not get them.
std::string for_terminal(const std::string& text) {
  std::string out;
  std::string_view rest = text;
  while (!rest.empty()) out += base::printable(base::take_line(rest)) + '\n';
  return out;
}

tl::expected<PrintOptions, Stop> print_options(const Options& o, const Columns& columns) {
  PrintOptions p;
  p.format = o.format.value_or(Format::table);
  p.header = o.header;
  p.units = o.units;
  if (!o.fields.empty() && !o.set.empty()) return tl::unexpected(Stop{kUsage, "--fields and --set exclude each other"});
  const bool programs = p.format == Format::json || p.format == Format::jsonl || p.format == Format::prom;
  if (o.fields == "all" || (o.fields.empty() && o.set.empty() && programs)) {
    for (ColumnId id = 0; id < columns.size(); ++id) p.columns.push_back(id);
    p.only_present = true;
    return p;
  }
  std::string_view names = o.fields;
  if (!o.set.empty()) {
    const auto* const set = std::ranges::find_if(kColumnSets, [&](const ColumnSet& s) {
      return std::ranges::equal(
          s.name, o.set, {}, [](char c) { return std::tolower(static_cast<unsigned char>(c)); },
          [](char c) { return std::tolower(static_cast<unsigned char>(c)); });
    });
    if (set == std::end(kColumnSets)) {
      return tl::unexpected(Stop{kUsage, "no set of fields is called '" + base::printable(o.set) + "' (see --help)"});
    }
    names = set->columns;
    p.only_present = true;
  } else if (names.empty()) {
    names = "cpu,memory,memory_limit,swap,read,write,tasks,throttled,psi_cpu,psi_memory,psi_io,oom_kills,state";
    p.only_present = p.format == Format::table;
  }
  const auto list = columns.want_list(names);
  if (!list) return tl::unexpected(Stop{kUsage, list.error().what});
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
  Batch(const Options& options, std::unique_ptr<collectors::Collection> collection,
        std::shared_ptr<const model::Catalogue> catalogue)
      : options_(options), collection_(std::move(collection)), names_(options.paths), columns_(std::move(catalogue)) {}

  int run() {
    switch (options_.action) {
      case Options::Action::show:
        return options_.format && *options_.format != Format::table ? dump() : show();
      case Options::Action::ps:
        return ps();
      default:
        return dump();
    }
  }

 private:
  int dump() {
    Options o = options_;
    if (o.action == Options::Action::show && o.fields.empty() && o.set.empty()) o.fields = "all";
    const bool tree = o.action == Options::Action::tree;
    auto view = view_of(o, columns_, tree);
    if (!view) return stop(view.error());
    auto print = print_options(o, columns_);
    if (!print) return stop(print.error());
    print->indent = view->tree && print->format == Format::table;
    if (o.action == Options::Action::show) view->max_depth = 0;

    auto now = collect();
    auto top = wanted_group(o, *now);
    if (!top) return stop(top.error());
    if (*top) view->top = now->roster->groups[**top]->id;

    Printer printer(columns_, *print);
    const auto delay = o.delay.value_or(kDelay);
    const auto count = o.iterations.value_or(1);
    model::SnapshotPtr before;
    if (needs_two(*print, *view, o, columns_)) before = next(now, o.delay.value_or(std::min(kFirstDelay, delay)));
    for (std::size_t i = 0;; ++i) {
      if (i > 0) before = next(now, delay);
      const Table table(columns_, before, now);
      auto rows = arrange(table, *view).rows;
      if (*top && rows.empty() && view->filter.empty() && !view->only_active) {
        return stop({kNotFound, "the group '" + base::printable(o.group) + "' is gone"});
      }
      if (o.limit && rows.size() > *o.limit) rows.resize(*o.limit);
      auto text = printer.print(table, rows, read_host(o.paths, collection_->hierarchies()));
      if (print->format == Format::prom && ::isatty(STDOUT_FILENO) != 0) text = for_terminal(text);
      if (print->format == Format::table && count != 1) {
        text.insert(0, (i > 0 ? "\n" : "") + iso_time(now->taken_wall) + '\n');
      }
      int code = kDone;
      if (!write_all(text, code)) return code;
      if (count != 0 && i + 1 >= count) return kDone;
    }
  }

  int show() {
    auto now = collect();
    const auto group = wanted_group(options_, *now);
    if (!group) return stop(group.error());
    const auto id = now->roster->groups[**group]->id;
    const auto before = next(now, options_.delay.value_or(kFirstDelay));
    for (model::GroupIndex g = 0; g < now->group_count(); ++g) {
      if (now->roster->groups[g]->id != id) continue;
      int code = kDone;
      write_all(print_group(Table(columns_, before, now), g, options_.units), code);
      return code;
    }
    return stop({kNotFound, "the group '" + base::printable(options_.group) + "' is gone"});
  }

  int ps() {
    if (options_.format == Format::prom) return stop({kUsage, "processes have no Prometheus format"});
    const auto now = collect();
    const auto group = wanted_group(options_, *now);
    if (!group) return stop(group.error());
    const auto path = now->roster->groups[**group]->path;
    const auto look = [&] {
      return read_processes(options_.paths, collection_->hierarchies(), path, options_.recursive);
    };
    const auto before = look();
    std::this_thread::sleep_for(options_.delay.value_or(kFirstDelay));
    auto found = look();
    compare(before, found);
    std::ranges::stable_sort(found.all, [](const Process& a, const Process& b) {
      return a.cpu.value_or(-1) != b.cpu.value_or(-1) ? a.cpu.value_or(-1) > b.cpu.value_or(-1) : a.rss > b.rss;
    });
    if (options_.limit && found.all.size() > *options_.limit) found.all.resize(*options_.limit);
    int code = kDone;
    write_all(print_processes(found, options_.format.value_or(Format::table), options_.header, options_.units, path),
              code);
    return code;
  }

  model::SnapshotPtr collect() {
    auto snapshot = collection_->collect();
    names_.complete(*snapshot);
    return snapshot;
  }

  // Waits, takes a new sample into `now` and gives the old one.
  model::SnapshotPtr next(model::SnapshotPtr& now, milliseconds delay) {
    std::this_thread::sleep_for(delay);
    auto before = std::move(now);
    now = collect();
    return before;
  }

  Options options_;
  std::unique_ptr<collectors::Collection> collection_;
  Names names_;
  Columns columns_;
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

tl::expected<View, Stop> view_of(const Options& o, const Columns& columns, bool tree_by_default) {
  View view;
  view.tree = o.tree || (tree_by_default && !o.flat);
  std::string_view name = o.sort.empty() ? "cpu" : std::string_view(o.sort);
  std::string_view direction;
  if (const auto colon = name.rfind(':'); colon != std::string_view::npos) {
    direction = name.substr(colon + 1);
    name = name.substr(0, colon);
    if (direction != "asc" && direction != "desc") {
      return tl::unexpected(Stop{kUsage, "--sort: after the colon stands asc or desc"});
    }
  }
  const auto sort = columns.want(name);
  if (!sort) return tl::unexpected(Stop{kUsage, "--sort: " + sort.error().what});
  view.sort = *sort;
  view.descending = direction.empty() ? descends_by_default(columns[*sort]) : direction == "desc";
  if (o.reverse) view.descending = !view.descending;
  auto filter = Filter::parse(o.filter, columns);
  if (!filter) return tl::unexpected(Stop{kUsage, "--filter:\n" + explain(o.filter, filter.error())});
  view.filter = std::move(*filter);
  view.only_active = o.active;
  view.max_depth = o.depth;
  return view;
}

tl::expected<std::optional<model::GroupIndex>, Stop> wanted_group(const Options& o, const model::Snapshot& snapshot) {
  if (o.group.empty()) return std::nullopt;
  auto name = o.group;
  auto found = groups_named(snapshot, name);
  if (found.empty()) {
    if (const auto pid = base::to_int<int>(o.group); pid && *pid > 0) {
      const auto path = group_of_pid(o.paths, *pid);
      if (!path) return tl::unexpected(Stop{kNotFound, "no process has the id " + std::to_string(*pid)});
      name = *path;
      found = groups_named(snapshot, name);
    }
  }
  if (found.empty()) {
    return tl::unexpected(
        Stop{kNotFound, "no group is called '" + base::printable(name) + "' (cgtop tree lists them)"});
  }
  if (found.size() > 1) {
    std::string what = "'" + base::printable(o.group) + "' means several groups; name one by its path:";
    for (std::size_t i = 0; i < std::min(found.size(), kMostNamed); ++i) {
      what += "\n  " + base::printable(snapshot.roster->groups[found[i]]->path);
    }
    if (found.size() > kMostNamed) what += "\n  and " + std::to_string(found.size() - kMostNamed) + " more";
    return tl::unexpected(Stop{kUsage, std::move(what)});
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
  auto collection = collectors::Collection::open(catalogue, live_options(options.paths), [](const std::string&) {});
  if (!collection) {
    const bool permission = collection.error().code == EACCES || collection.error().code == EPERM;
    return stop(
        {permission ? kPermission : kNotFound, base::printable(collection.error().what) + " (try cgtop doctor)"});
  }
  return Batch(options, std::move(*collection), catalogue).run();
}

}  // namespace cgwarden::cgtop
