// SPDX-License-Identifier: Apache-2.0
// Samples of all hosts that a Prometheus server scrapes, now or at an earlier time. Each host becomes a top-level
// cgroup, named by the label `instance` without the port; the cgroups of the host are its descendants.
//
// The rate of a counter needs two values and the time between their scrapes, which differs from the time between the
// queries. So the values and the scrape times are queried for now and for kWindow ago, and the earlier value is
// adjusted so that the rate over kWindow equals the rate between the scrapes. Counters without a value at that time are
// queried again for kShortWindow ago.
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "src/base/text.h"
#include "src/cgtop/http_client.h"
#include "src/cgtop/recording.h"

namespace cgwarden::cgtop {
namespace {

using model::CgroupIndex;
using model::FieldId;
using model::Value;
using nlohmann::json;
using std::chrono::seconds;

constexpr seconds kWindow{120};
constexpr seconds kShortWindow{30};  // for cgroups that are newer than kWindow
constexpr std::size_t kMaxFleetCgroups = 1U << 20U;

std::string string_member(const json& object, std::string_view member) {
  const auto at = object.find(member);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

// The value of {"value": [1795500000.123, "1.5"]}; nullopt for NaN.
std::optional<double> sample_value(const json& series) {
  const auto at = series.find("value");
  if (at == series.end() || !at->is_array() || at->size() != 2 || !(*at)[1].is_string()) return std::nullopt;
  const auto& text = (*at)[1].get_ref<const std::string&>();
  if (text == "+Inf") return HUGE_VAL;
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || std::isnan(number)) return std::nullopt;
  return number;
}

// The instance without its port; '/' becomes '_', as the name is part of a path.
std::string host_name_of(const std::string& instance) {
  const auto colon = instance.rfind(':');
  const bool has_port = colon != std::string::npos && colon > 0 && instance.find(':') == colon &&
                        base::to_int<int>(std::string_view(instance).substr(colon + 1)).has_value();
  auto name = has_port ? instance.substr(0, colon) : instance;
  std::ranges::replace(name, '/', '_');
  return name.empty() ? "unknown" : name;
}

class PrometheusSource : public SampleSource {
 public:
  PrometheusSource(std::string url, std::unique_ptr<HttpClient> client,
                   std::shared_ptr<const model::Catalogue> catalogue, std::vector<bool> fields, bool all,
                   std::optional<base::Wall> at)
      : url_(std::move(url)), client_(std::move(client)), catalogue_(std::move(catalogue)), at_(at) {
    std::string metrics;
    std::string counters;
    for (std::size_t f = 0; f < catalogue_->size(); ++f) {
      const auto id = static_cast<FieldId>(f);
      const auto& field = catalogue_->field(id);
      const auto metric = model::metric_name(field);
      by_metric_.emplace(metric, id);
      if (!fields[f] && !all) continue;
      metrics += (metrics.empty() ? "" : "|") + metric;
      if (field.kind == model::MetricKind::counter) counters += (counters.empty() ? "" : "|") + metric;
    }
    now_query_ = "{__name__=~\"" + metrics + "|cgroup_container_info\"}";
    counters_query_ = "{__name__=~\"" + counters + "\"}";
  }

  [[nodiscard]] std::string_view name() const override { return "prometheus"; }

  tl::expected<Sample, ExitError> take() override {
    if (at_ && last_.snapshot) return last_;  // the past does not change
    const auto now = at_.value_or(base::wall_now());
    const auto all = query(now_query_, now);
    if (!all) return tl::unexpected(all.error());
    const auto now_times = scrape_times(now);
    if (!now_times) return tl::unexpected(now_times.error());
    std::vector<EarlierResult> earlier;
    for (const auto window : {kWindow, kShortWindow}) {
      auto series = query(counters_query_, now - window);
      if (!series) return tl::unexpected(std::move(series.error()));
      auto times = scrape_times(now - window);
      if (!times) return tl::unexpected(std::move(times.error()));
      const bool complete = series->size() >= counters_in(*all);
      earlier.push_back({std::move(*series), std::move(*times)});
      if (complete) break;
    }

    Sample out;
    if (!build(*all, earlier, *now_times, now, out)) {
      return tl::unexpected(ExitError{at_ ? kNotFound : kUnreachable,
                                      url_ + ": no metrics of cgwarden agents" + (at_ ? " at that time" : "")});
    }
    last_ = out;
    return out;
  }
  tl::expected<Processes, ExitError> processes(const std::string&, bool) override {
    return tl::unexpected(ExitError{kUsage,
                                    "processes: unsupported with --prometheus: Prometheus stores metrics of cgroups "
                                    "only (run cgtop ps on the host)"});
  }
  std::optional<std::string> cgroup_of_pid(int) override { return std::nullopt; }
  void cancel() override { client_->cancel(); }

 private:
  using ScrapeTimes = std::map<std::string, double>;  // seconds since the epoch, by instance
  struct EarlierResult {
    json series;
    ScrapeTimes times;
  };

  [[nodiscard]] std::size_t counters_in(const json& all) const {
    return static_cast<std::size_t>(std::ranges::count_if(all, [this](const json& series) {
      const auto value = field_of(series);
      return value && catalogue_->field(value->field).kind == model::MetricKind::counter;
    }));
  }

  // The result of an instant query: an array of series.
  tl::expected<json, ExitError> query(const std::string& expression, base::Wall at) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count();
    auto time = std::to_string(ms % 1000);
    time.insert(0, 3 - time.size(), '0');
    auto response = client_->get("/api/v1/query?query=" + percent_encoded(expression) +
                                 "&time=" + std::to_string(ms / 1000) + "." + time);
    if (!response) {
      if (is_http_not_found(response.error())) {
        response.error().what = url_ + ": /api/v1/query not found: HTTP status 404 (not a Prometheus server)";
      }
      return tl::unexpected(std::move(response.error()));
    }
    auto in = json::parse(response->body, nullptr, false);
    if (!in.is_object() || in.value("status", json()) != "success") {
      return tl::unexpected(
          ExitError{kUnreachable, url_ + ": /api/v1/query: invalid response (not a Prometheus server)"});
    }
    const auto data = in.find("data");
    if (data == in.end() || !data->is_object() || !data->contains("result") || !(*data)["result"].is_array()) {
      return tl::unexpected(
          ExitError{kUnreachable, url_ + ": /api/v1/query: invalid response (not a Prometheus server)"});
    }
    return std::move((*data)["result"]);
  }

  // Time of the last scrape of each host.
  tl::expected<ScrapeTimes, ExitError> scrape_times(base::Wall at) {
    const auto all = query("timestamp(up)", at);
    if (!all) return tl::unexpected(all.error());
    ScrapeTimes out;
    for (const auto& series : *all) {
      if (!series.is_object() || !series.contains("metric") || !series["metric"].is_object()) continue;
      const auto value = sample_value(series);
      if (value) out[string_member(series["metric"], "instance")] = *value;
    }
    return out;
  }

  // The value of one field of one cgroup.
  struct FieldValue {
    FieldId field = 0;
    std::string instance;
    std::string path;
    std::string labels;
    Value value;
  };

  // Path of a cgroup in the snapshot.
  std::string path_of(const std::string& instance, const std::string& path) const {
    const auto known = names_.find(instance);
    return "/" + (known == names_.end() ? host_name_of(instance) : known->second) + (path == "/" ? "" : path);
  }

  // Omits the port unless two instances differ only in it.
  void name_hosts(const json& all) {
    std::map<std::string, std::set<std::string>> instances_by_name;
    for (const auto& series : all) {
      if (!series.is_object() || !series.contains("metric") || !series["metric"].is_object()) continue;
      const auto instance = string_member(series["metric"], "instance");
      instances_by_name[host_name_of(instance)].insert(instance);
    }
    names_.clear();
    for (const auto& [name, instances] : instances_by_name) {
      for (const auto& instance : instances) {
        auto whole = instance;
        std::ranges::replace(whole, '/', '_');
        names_[instance] = instances.size() == 1 ? name : whole;
      }
    }
  }

  // nullopt: the series is not a field of a cgroup.
  std::optional<FieldValue> field_of(const json& series) const {
    if (!series.is_object()) return std::nullopt;
    const auto metric = series.find("metric");
    if (metric == series.end() || !metric->is_object()) return std::nullopt;
    const auto known = by_metric_.find(string_member(*metric, "__name__"));
    const auto cgroup = metric->find("cgroup");
    const auto value = sample_value(series);
    if (known == by_metric_.end() || cgroup == metric->end() || !cgroup->is_string() || !value) return std::nullopt;
    FieldValue out;
    out.field = known->second;
    const auto& path = cgroup->get_ref<const std::string&>();
    if (path.empty() || path.front() != '/' || path.size() > 65'536) return std::nullopt;
    out.instance = string_member(*metric, "instance");
    out.path = path_of(out.instance, path);
    const auto& field = catalogue_->field(out.field);
    std::string_view names = field.labels;
    for (bool first = true; !names.empty(); first = false) {
      if (!first) out.labels += '\0';
      out.labels += string_member(*metric, base::take_until(names, ','));
    }
    if (out.labels.size() > 65'535) return std::nullopt;
    if (std::isinf(*value)) {
      out.value = Value::unlimited();
    } else {
      const double fixed = *value * std::pow(10.0, model::decimals(field.unit));
      if (std::abs(fixed) > 9e18) return std::nullopt;
      out.value = Value::of(std::llround(fixed));
    }
    return out;
  }

  // Builds the snapshot, and `before` for the rates. False: no series is a field of a cgroup.
  bool build(const json& all, const std::vector<EarlierResult>& earlier, const ScrapeTimes& now_times, base::Wall now,
             Sample& out) {
    name_hosts(all);
    // All cgroups, in order of paths, so that parents come first. Ancestors without series are added.
    std::map<std::string, std::shared_ptr<model::Container>> cgroups;
    std::vector<FieldValue> values;
    std::set<std::string> hosts;
    const auto add_cgroup = [&](const std::string& path) -> std::shared_ptr<model::Container>& {
      const auto host = path.substr(1, path.find('/', 1) - 1);
      hosts.insert(host);
      for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
        cgroups.try_emplace(path.substr(0, end));
      }
      return cgroups[path];
    };
    for (const auto& series : all) {
      if (cgroups.size() > kMaxFleetCgroups) break;
      if (auto value = field_of(series)) {
        describe(series["metric"], add_cgroup(value->path));
        values.push_back(std::move(*value));
      } else if (series.is_object() && series.contains("metric") && series["metric"].is_object() &&
                 string_member(series["metric"], "__name__") == "cgroup_container_info") {
        const auto& metric = series["metric"];
        const auto path = string_member(metric, "cgroup");
        if (path.starts_with('/')) {
          describe(metric, add_cgroup(path_of(string_member(metric, "instance"), path)));
        }
      }
    }
    if (values.empty()) return false;

    auto cgroup_list = std::make_shared<model::CgroupList>();
    auto containers = std::make_shared<model::Containers>();
    std::map<std::string_view, CgroupIndex> indices;
    // "/a", "/a/c", "/a-b": compare '/' as the smallest character, so that descendants directly follow their ancestor.
    std::vector<const std::string*> order;
    order.reserve(cgroups.size());
    for (const auto& [path, container] : cgroups) order.push_back(&path);
    std::ranges::sort(order, [](const std::string* a, const std::string* b) {
      return std::lexicographical_compare(a->begin(), a->end(), b->begin(), b->end(), [](char x, char y) {
        return (x == '/' ? 0 : 1 + static_cast<unsigned char>(x)) < (y == '/' ? 0 : 1 + static_cast<unsigned char>(y));
      });
    });
    for (const auto* const path : order) {
      auto cgroup = std::make_shared<model::Cgroup>();
      cgroup->id = model::cgroup_key(0, *path);
      cgroup->path = *path;
      const auto parent = indices.find(std::string_view(*path).substr(0, path->rfind('/')));
      cgroup_list->parents.push_back(parent == indices.end() ? model::kNoCgroup : parent->second);
      auto& container = cgroups[*path];
      if (!container) {
        container = std::make_shared<model::Container>();
        container->role = model::Role::unit;
      }
      container->node = path->substr(1, path->find('/', 1) - 1);
      containers->by_cgroup[model::cgroup_key(cgroup->id, cgroup->path)] = container;
      indices.emplace(*path, static_cast<CgroupIndex>(cgroup_list->cgroups.size()));
      cgroup_list->cgroups.push_back(std::move(cgroup));
    }
    if (last_.snapshot && last_.snapshot->cgroup_list->cgroups.size() == cgroup_list->cgroups.size() &&
        std::equal(cgroup_list->cgroups.begin(), cgroup_list->cgroups.end(),
                   last_.snapshot->cgroup_list->cgroups.begin(),
                   [](const auto& a, const auto& b) { return a->path == b->path; })) {
      cgroup_list->generation = last_.snapshot->cgroup_list->generation;
    } else {
      cgroup_list->generation = ++generation_;
    }

    const auto make_snapshot = [&](base::Wall taken) {
      auto s = std::make_shared<model::Snapshot>();
      s->catalogue = catalogue_;
      s->cgroup_list = cgroup_list;
      s->containers = containers;
      s->taken_wall = taken;
      s->taken = base::Monotonic(std::chrono::duration_cast<std::chrono::nanoseconds>(taken.time_since_epoch()));
      s->begun = s->taken;
      s->columns.resize(catalogue_->size());
      s->collectors.resize(catalogue_->collectors().size());
      return s;
    };
    const auto fill = [&](model::Snapshot& s, std::vector<FieldValue>& fields) {
      std::ranges::sort(fields, {},
                        [&](const FieldValue& f) { return std::tuple(f.field, indices.at(f.path), f.labels); });
      for (const auto& f : fields) {
        auto& column = s.columns[f.field];
        const auto cgroup = indices.at(f.path);
        if (!catalogue_->field(f.field).labelled()) {
          column.dense.resize(s.cgroup_count());
          column.dense[cgroup] = f.value;
          continue;
        }
        column.series.push_back({cgroup, static_cast<std::uint32_t>(column.text.size()),
                                 static_cast<std::uint16_t>(f.labels.size()), f.value});
        column.text += f.labels;
      }
    };
    std::map<std::tuple<FieldId, std::string, std::string>, Value> current;
    for (const auto& f : values) current.emplace(std::tuple(f.field, f.path, f.labels), f.value);
    std::map<std::tuple<FieldId, std::string, std::string>, FieldValue> adjusted;
    for (const auto& result : earlier) {
      for (const auto& series : result.series) {
        auto old = field_of(series);
        if (!old || !indices.contains(old->path)) continue;
        auto key = std::tuple(old->field, old->path, old->labels);
        const auto at = current.find(key);
        if (at == current.end() || !at->second.is_number() || !old->value.is_number()) continue;
        const auto t = now_times.find(old->instance);
        const auto u = result.times.find(old->instance);
        if (t == now_times.end() || u == result.times.end() || t->second <= u->second) continue;
        const double factor = static_cast<double>(kWindow.count()) / (t->second - u->second);
        const auto increase = static_cast<double>(at->second.fixed()) - static_cast<double>(old->value.fixed());
        // A counter that decreased belongs to a cgroup that was removed and created again: no rate.
        old->value = increase < 0 ? Value::absent() : Value::of(at->second.fixed() - std::llround(increase * factor));
        adjusted.try_emplace(std::move(key), std::move(*old));
      }
    }
    std::vector<FieldValue> before;
    before.reserve(adjusted.size());
    for (auto& [key, value] : adjusted) before.push_back(std::move(value));
    auto s = make_snapshot(now);
    fill(*s, values);
    auto b = make_snapshot(now - kWindow);
    fill(*b, before);
    out.snapshot = std::move(s);
    out.before = std::move(b);
    out.host.name = std::to_string(hosts.size()) + (hosts.size() == 1 ? " host" : " hosts");
    return true;
  }

  // Sets what the labels of a series contain about the container of the cgroup.
  static void describe(const json& metric, std::shared_ptr<model::Container>& container) {
    const auto name = string_member(metric, "container");
    const bool info = string_member(metric, "__name__") == "cgroup_container_info";
    if (name.empty() && !info) return;
    if (!container) container = std::make_shared<model::Container>();
    if (!name.empty()) container->name = name;
    if (const auto runtime = string_member(metric, "runtime"); !runtime.empty()) container->runtime = runtime;
    if (!info) return;
    const auto role = string_member(metric, "role");
    for (int r = 0; r <= static_cast<int>(model::Role::unit); ++r) {
      if (model::name(static_cast<model::Role>(r)) == role) container->role = static_cast<model::Role>(r);
    }
    for (const auto& fact : model::kTextFacts) {
      if (const auto text = string_member(metric, fact.name); !text.empty() && fact.name != "name") {
        (*container).*fact.member = text;
      }
    }
  }

  std::string url_;
  std::unique_ptr<HttpClient> client_;
  std::shared_ptr<const model::Catalogue> catalogue_;
  std::optional<base::Wall> at_;
  std::map<std::string, FieldId, std::less<>> by_metric_;
  std::map<std::string, std::string> names_;  // host names by instance
  std::string now_query_;
  std::string counters_query_;
  std::uint64_t generation_ = 0;
  Sample last_;
};

// The fields to query: those of the column sets, those that the options name, and those that the state needs.
std::vector<bool> fields_to_query(const Options& o, const Columns& columns, const model::Catalogue& catalogue) {
  std::vector<bool> out(catalogue.size());
  const auto add = [&](ColumnId id) {
    const auto& c = columns[id];
    if (c.source == ColumnSource::field || c.source == ColumnSource::rate) out[c.field] = true;
  };
  for (const auto& set : kColumnSets) {
    std::string_view names = set.columns;
    while (!names.empty()) {
      if (const auto id = columns.find(base::take_until(names, ','))) add(*id);
    }
  }
  // Every word of an expression that is the name of a field.
  for (const std::string_view text :
       {std::string_view(o.fields), std::string_view(o.sort), std::string_view(o.filter)}) {
    std::string word;
    for (const char c : std::string(text) + " ") {
      if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '%') {
        word += c;
        continue;
      }
      if (const auto id = columns.find(word)) add(*id);
      word.clear();
    }
  }
  const auto& k = columns.known();
  for (const auto& id : {k.cpu_usage,
                         k.cpu_quota,
                         k.cpu_period,
                         k.cpu_periods,
                         k.cpu_throttled_periods,
                         k.memory_current,
                         k.memory_max,
                         k.memory_inactive_file,
                         k.memory_swap_current,
                         k.memory_memsw_current,
                         k.memory_events_high,
                         k.memory_events_max,
                         k.memory_events_oom_kill,
                         k.pids_current,
                         k.pids_max,
                         k.frozen,
                         k.freeze,
                         k.freezer_state,
                         k.populated,
                         k.io_read,
                         k.io_write}) {
    if (id) out[*id] = true;
  }
  return out;
}

}  // namespace

tl::expected<std::unique_ptr<SampleSource>, ExitError> open_prometheus(
    const Options& o, std::shared_ptr<const model::Catalogue> catalogue) {
  const auto url = parse_url(o.prometheus, "9090");
  if (!url) return tl::unexpected(ExitError{kUsage, "--prometheus: " + url.error()});
  std::optional<base::Wall> at;
  if (!o.at.empty()) {
    at = parse_time(o.at, base::wall_now());
    if (!at) return tl::unexpected(invalid_time("--at", o.at));
  }
  auto client = HttpClient::open(
      *url, {o.auth_file, o.ca_file, o.cert_file, o.key_file, o.insecure, std::chrono::milliseconds(30'000)});
  if (!client) return tl::unexpected(std::move(client.error()));
  auto fields = fields_to_query(o, Columns(catalogue), *catalogue);
  return std::make_unique<PrometheusSource>(url->without_credentials(), std::move(*client), std::move(catalogue),
                                            std::move(fields), o.fields == "all", at);
}

}  // namespace cgwarden::cgtop
