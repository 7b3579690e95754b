// SPDX-License-Identifier: Apache-2.0
#include "exporter/self_metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmath>
#include <optional>
#include <utility>

#include "src/base/fd.h"
#include "src/base/text.h"

namespace cgwarden::exporter {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

double seconds(std::chrono::nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

// Builds families, most of which have one series.
class Families {
 public:
  explicit Families(std::vector<MetricFamily> families) : families_(std::move(families)) {}

  Families& family(std::string name, MetricType type, std::string help) {
    families_.push_back({std::move(name), std::move(help), type, {}});
    return *this;
  }
  Families& counter(std::string name, std::string help) {
    return family(std::move(name), MetricType::Counter, std::move(help));
  }
  Families& gauge(std::string name, std::string help) {
    return family(std::move(name), MetricType::Gauge, std::move(help));
  }
  // Adds a series to the latest family.
  template <class Number>
  void add(Number value, Labels labels = {}) {
    auto& family = families_.back();
    ClientMetric metric;
    metric.label = std::move(labels);
    (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = static_cast<double>(value);
    family.metric.push_back(std::move(metric));
  }
  std::vector<MetricFamily> take() { return std::move(families_); }

 private:
  std::vector<MetricFamily> families_;
};

struct ProcessStat {
  double virtual_bytes = 0;
  double resident_bytes = 0;
  double threads = 0;
  double start_ticks = 0;  // since boot
};

std::optional<ProcessStat> read_process_stat() {
  const base::Fd fd(::open("/proc/self/stat", O_RDONLY | O_CLOEXEC));
  char text[1024];
  const auto size = fd ? ::read(fd.get(), text, sizeof text) : -1;
  if (size <= 0) return std::nullopt;
  std::string_view rest(text, static_cast<std::size_t>(size));
  // "1 (any name) S ...": the name may contain any character; the fields after it are numbers 3 to 52 in proc(5).
  const auto name_end = rest.rfind(')');
  if (name_end == std::string_view::npos) return std::nullopt;
  rest.remove_prefix(name_end + 1);
  ProcessStat stat;
  for (int field = 3; field <= 24; ++field) {
    const auto value = static_cast<double>(base::to_int<std::uint64_t>(base::take_word(rest)).value_or(0));
    if (field == 20) stat.threads = value;
    if (field == 22) stat.start_ticks = value;
    if (field == 23) stat.virtual_bytes = value;
    if (field == 24) stat.resident_bytes = value * static_cast<double>(::sysconf(_SC_PAGESIZE));
  }
  return stat;
}

std::optional<std::size_t> count_open_fds() {
  // Since Linux 6.2 st_size of the directory is the count; counting thousands of entries would cost more than a sample.
  struct stat st {};
  if (::stat("/proc/self/fd", &st) == 0 && st.st_size > 0) return static_cast<std::size_t>(st.st_size);
  DIR* const dir = ::opendir("/proc/self/fd");
  if (dir == nullptr) return std::nullopt;
  std::size_t n = 0;
  while (const dirent* entry = ::readdir(dir)) n += entry->d_name[0] != '.' ? 1 : 0;
  ::closedir(dir);
  return n - 1;  // without the descriptor of the directory itself
}

double clock_seconds(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double process_start_time() {
  const auto stat = read_process_stat();
  if (!stat) return 0;
  const double booted = clock_seconds(CLOCK_REALTIME) - clock_seconds(CLOCK_BOOTTIME);
  const double started = booted + stat->start_ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return std::round(started * 100) / 100;  // the resolution is one clock tick
}

void add_process(Families& out, double start_time) {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  out.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")
      .add(seconds(usage.ru_utime) + seconds(usage.ru_stime));
  if (const auto stat = read_process_stat()) {
    out.gauge("process_resident_memory_bytes", "Resident memory size in bytes.").add(stat->resident_bytes);
    out.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.").add(stat->virtual_bytes);
    out.gauge("process_threads", "Number of OS threads in the process.").add(stat->threads);
  }
  if (const auto fds = count_open_fds()) {
    out.gauge("process_open_fds", "Number of open file descriptors.").add(*fds);
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    out.gauge("process_max_fds", "Maximum number of open file descriptors.")
        .add(limit.rlim_cur == RLIM_INFINITY ? HUGE_VAL : static_cast<double>(limit.rlim_cur));
  }
  if (start_time > 0) {
    out.gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.").add(start_time);
  }
}

void add_collectors(Families& out, const model::Snapshot& snapshot) {
  const auto all = snapshot.catalogue ? snapshot.catalogue->collectors() : std::span<const model::CollectorInfo>{};
  const auto each = [&](auto value) {
    for (std::size_t i = 0; i < all.size() && i < snapshot.collectors.size(); ++i) {
      const auto& stats = snapshot.collectors[i];
      if (stats.enabled) out.add(value(stats), {{"collector", std::string(all[i].name)}});
    }
  };
  using Stats = model::CollectorStats;
  out.gauge("cgwarden_collector_duration_seconds", "Duration of the collector in the last collection.");
  each([](const Stats& s) { return seconds(s.duration); });
  out.gauge("cgwarden_collector_success", "Whether the collector had no errors in the last collection.");
  each([](const Stats& s) { return s.errors_now == 0 ? 1 : 0; });
  out.counter("cgwarden_collector_reads_total", "Files read by the collector.");
  each([](const Stats& s) { return s.reads; });
  out.counter("cgwarden_collector_read_bytes_total", "Bytes read by the collector.");
  each([](const Stats& s) { return s.bytes; });
  out.counter("cgwarden_collector_errors_total", "Read and parse errors of the collector.");
  each([](const Stats& s) { return s.errors; });
  out.counter("cgwarden_collector_unknown_keys_total",
              "Distinct keys in kernel files that no field of the collector covers.");
  each([](const Stats& s) { return s.unknown_keys; });
}

void add_tree(Families& out, const model::Snapshot& snapshot) {
  const auto& tree = snapshot.tree;
  out.gauge("cgwarden_cgroups", "Cgroups in the last collection.").add(snapshot.cgroup_count());
  out.counter("cgwarden_cgroups_created_total", "Cgroups that appeared after the start.").add(tree.cgroups_created);
  out.counter("cgwarden_cgroups_removed_total", "Cgroups that disappeared after the start.").add(tree.cgroups_removed);
  out.counter("cgwarden_tree_walks_total", "Complete walks of the cgroup hierarchies.").add(tree.walks);
  out.counter("cgwarden_inotify_overflows_total", "Overflows of the kernel's inotify event queue.")
      .add(tree.watch_overflows);
  out.gauge("cgwarden_inotify_watches", "Cgroup directories that have an inotify watch.").add(tree.watches);
  out.gauge("cgwarden_inotify_active",
            "Whether new and removed cgroups are reported by inotify (1) or found by walking the hierarchies (0).")
      .add(tree.inotify_active ? 1 : 0);
  out.gauge("cgwarden_cgroups_dropped", "Cgroups omitted because the maximum number of cgroups was reached.")
      .add(tree.dropped_cgroups);
  out.gauge("cgwarden_open_files", "Cgroup interface files kept open between collections.").add(tree.open_files);
  if (snapshot.hierarchies) {
    out.gauge("cgwarden_hierarchy_info", "Cgroup hierarchies found on this host.");
    for (const auto& h : *snapshot.hierarchies) {
      out.add(1,
              {{"version", std::to_string(h.version)}, {"controllers", h.controllers}, {"mount_point", h.mount_point}});
    }
  }
}

const prometheus::Histogram::BucketBoundaries kBuckets = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                          0.25,  0.5,    1,     2.5,  5,     10};

prometheus::Histogram& make_histogram(prometheus::Registry& registry, const std::string& name,
                                      const std::string& help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, kBuckets);
}

prometheus::Counter& make_counter(prometheus::Registry& registry, const std::string& name, const std::string& help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

}  // namespace

SelfMetrics::SelfMetrics()
    : requests_(prometheus::BuildCounter()
                    .Name("cgwarden_http_requests_total")
                    .Help("HTTP requests answered, by path and status code.")
                    .Register(registry_)),
      response_bytes_(make_counter(registry_, "cgwarden_http_response_bytes_total",
                                   "Bytes of HTTP response bodies sent, after compression.")),
      rejected_connections_(make_counter(registry_, "cgwarden_http_rejected_connections_total",
                                         "HTTP connections rejected because of the connection limit.")),
      scrape_duration_(make_histogram(registry_, "cgwarden_scrape_duration_seconds",
                                      "Time from a metrics request to its response, including collection.")),
      collection_duration_(make_histogram(registry_, "cgwarden_collection_duration_seconds",
                                          "Duration of one collection of all cgroups.")),
      start_time_(process_start_time()) {
  std::map<std::string, std::string> build = {{"version", CGWARDEN_VERSION}, {"compiler", "g++ " __VERSION__}};
#ifdef __clang__
  build["compiler"] = __VERSION__;
#endif
#ifdef CGWARDEN_REVISION
  build["revision"] = CGWARDEN_REVISION;
#endif
  prometheus::BuildGauge()
      .Name("cgwarden_build_info")
      .Help("Version, revision and compiler of this build; the value is always 1.")
      .Register(registry_)
      .Add(build)
      .Set(1);
}

void SelfMetrics::count_request(std::string_view path, unsigned code, std::size_t body_bytes) {
  requests_.Add({{"path", std::string(path)}, {"code", std::to_string(code)}}).Increment();
  response_bytes_.Increment(static_cast<double>(body_bytes));
}

void SelfMetrics::observe_scrape(std::chrono::nanoseconds duration) { scrape_duration_.Observe(seconds(duration)); }

void SelfMetrics::observe_snapshot(const model::Snapshot& snapshot) {
  if (snapshot.taken == last_snapshot_) return;
  last_snapshot_ = snapshot.taken;
  collection_duration_.Observe(seconds(snapshot.taken - snapshot.begun));
}

std::vector<MetricFamily> SelfMetrics::collect(const model::Snapshot& snapshot, std::size_t series) const {
  Families out(registry_.Collect());
  add_collectors(out, snapshot);
  add_tree(out, snapshot);
  out.gauge("cgwarden_series", "Cgroup series in this response, without _created series.").add(series);
  add_process(out, start_time_);
  return out.take();
}

}  // namespace cgwarden::exporter
