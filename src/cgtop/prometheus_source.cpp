// SPDX-License-Identifier: Apache-2.0
// All hosts that a Prometheus knows, now or at a time gone by. Each host is a cgroup of its own at the top, named by
// its label `instance` without the port; the rest are the cgroups of the host, below it.
//
// A counter's rate needs two values and the time between their scrapes, not between our questions. So Prometheus is
// asked for now and for a while ago, and for the times of both scrapes; the older value is then moved so that the rate
// over our two moments is the rate between the scrapes. What was not there then is asked for a shorter while ago.
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
constexpr seconds kShortWindow{30};  // of what is younger than that
constexpr std::size_t kMaxFleetCgroups = 1U << 20U;

std::string text_of(const json& object, std::string_view member) {
  const auto at = object.find(member);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

// [1795500000.123, "1.5"]
std::optional<double> sample_of(const json& series) {
  const auto at = series.find("value");
  if (at == series.end() || !at->is_array() || at->size() != 2 || !(*at)[1].is_string()) return std::nullopt;
  const auto& text = (*at)[1].get_ref<const std::string&>();
  if (text == "+Inf") return HUGE_VAL;
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || std::isnan(number)) return std::nullopt;
  return number;
}

std::string hosts_name(const std::string& instance) {
  const auto colon = instance.rfind(':');
  const bool port = colon != std::string::npos && colon > 0 && instance.find(':') == colon &&
                    base::to_int<int>(std::string_view(instance).substr(colon + 1)).has_value();
  auto name = port ? instance.substr(0, colon) : instance;
  std::ranges::replace(name, '/', '_');
  return name.empty() ? "unknown" : name;
}

class Fleet : public SampleSource {
 public:
  Fleet(std::string shown, std::unique_ptr<HttpClient> client, std::shared_ptr<const model::Catalogue> catalogue,
        std::vector<bool> fields, bool all, std::optional<base::Wall> at)
      : shown_(std::move(shown)), client_(std::move(client)), catalogue_(std::move(catalogue)), at_(at) {
    std::string some;
    std::string counters;
    for (std::size_t f = 0; f < catalogue_->size(); ++f) {
      const auto id = static_cast<FieldId>(f);
      const auto& field = catalogue_->field(id);
      const auto metric = model::metric_name(field);
      by_metric_.emplace(metric, id);
      if (!fields[f] && !all) continue;
      some += (some.empty() ? "" : "|") + metric;
      if (field.kind == model::MetricKind::counter) counters += (counters.empty() ? "" : "|") + metric;
    }
    now_query_ = "{__name__=~\"" + some + "|cgroup_container_info\"}";
    counters_query_ = "{__name__=~\"" + counters + "\"}";
  }

  [[nodiscard]] std::string_view name() const override { return "prometheus"; }

  tl::expected<Sample, ExitError> take() override {
    if (at_ && last_.snapshot) return last_;  // the past does not change
    const auto now = at_.value_or(base::wall_now());
    const auto all = ask(now_query_, now);
    if (!all) return tl::unexpected(all.error());
    const auto now_times = times(now);
    if (!now_times) return tl::unexpected(now_times.error());
    Older older;
    for (const auto window : {kWindow, kShortWindow}) {
      auto then = ask(counters_query_, now - window);
      if (!then) return tl::unexpected(std::move(then.error()));
      auto then_times = times(now - window);
      if (!then_times) return tl::unexpected(std::move(then_times.error()));
      const bool enough = then->size() >= counters_in(*all);
      older.push_back({std::move(*then), std::move(*then_times)});
      if (enough) break;
    }

    Sample out;
    if (!build(*all, older, *now_times, now, out)) {
      return tl::unexpected(ExitError{at_ ? kNotFound : kUnreachable,
                                      shown_ + ": it knows no metric of an agent" + (at_ ? " at that time" : "")});
    }
    last_ = out;
    return out;
  }
  tl::expected<Processes, ExitError> processes(const std::string&, bool) override {
    return tl::unexpected(ExitError{kUsage, "Prometheus knows cgroups, not processes"});
  }
  std::optional<std::string> cgroup_of_pid(int) override { return std::nullopt; }
  void cancel() override { client_->cancel(); }

 private:
  using Times = std::map<std::string, double>;  // by instance
  struct Then {
    json series;
    Times times;
  };
  using Older = std::vector<Then>;  // the longest ago first

  [[nodiscard]] std::size_t counters_in(const json& all) const {
    return static_cast<std::size_t>(std::ranges::count_if(all, [this](const json& series) {
      const auto found = field_of(series);
      return found && catalogue_->field(found->field).kind == model::MetricKind::counter;
    }));
  }

  tl::expected<json, ExitError> ask(const std::string& query, base::Wall at) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count();
    auto time = std::to_string(ms % 1000);
    time.insert(0, 3 - time.size(), '0');
    auto answer = client_->get("/api/v1/query?query=" + percent_encoded(query) + "&time=" + std::to_string(ms / 1000) +
                               "." + time);
    if (!answer) {
      if (answer.error().what.find(": it answers 404") != std::string::npos) {
        answer.error().what = shown_ + ": this is no Prometheus: it has no /api/v1/query";
      }
      return tl::unexpected(std::move(answer.error()));
    }
    auto in = json::parse(answer->body, nullptr, false);
    if (!in.is_object() || in.value("status", json()) != "success") {
      return tl::unexpected(ExitError{kUnreachable, shown_ + ": this is no answer of a Prometheus"});
    }
    const auto data = in.find("data");
    if (data == in.end() || !data->is_object() || !data->contains("result") || !(*data)["result"].is_array()) {
      return tl::unexpected(ExitError{kUnreachable, shown_ + ": this is no answer of a Prometheus"});
    }
    return std::move((*data)["result"]);
  }

  // When each host was scraped last.
  tl::expected<Times, ExitError> times(base::Wall at) {
    const auto all = ask("timestamp(up)", at);
    if (!all) return tl::unexpected(all.error());
    Times out;
    for (const auto& series : *all) {
      if (!series.is_object() || !series.contains("metric") || !series["metric"].is_object()) continue;
      const auto value = sample_of(series);
      if (value) out[text_of(series["metric"], "instance")] = *value;
    }
    return out;
  }

  struct Found {
    FieldId field = 0;
    std::string instance;
    std::string path;
    std::string labels;
    Value value;
  };

  std::string place(const std::string& instance, const std::string& path) const {
    const auto known = names_.find(instance);
    return "/" + (known == names_.end() ? hosts_name(instance) : known->second) + (path == "/" ? "" : path);
  }

  // The port is left out where that leaves different names.
  void name_hosts(const json& all) {
    std::map<std::string, std::set<std::string>> of_name;
    for (const auto& series : all) {
      if (!series.is_object() || !series.contains("metric") || !series["metric"].is_object()) continue;
      const auto instance = text_of(series["metric"], "instance");
      of_name[hosts_name(instance)].insert(instance);
    }
    names_.clear();
    for (const auto& [name, instances] : of_name) {
      for (const auto& instance : instances) {
        auto whole = instance;
        std::ranges::replace(whole, '/', '_');
        names_[instance] = instances.size() == 1 ? name : whole;
      }
    }
  }

  // Those series that are a field of a cgroup.
  std::optional<Found> field_of(const json& series) const {
    if (!series.is_object()) return std::nullopt;
    const auto metric = series.find("metric");
    if (metric == series.end() || !metric->is_object()) return std::nullopt;
    const auto known = by_metric_.find(text_of(*metric, "__name__"));
    const auto cgroup = metric->find("cgroup");
    const auto value = sample_of(series);
    if (known == by_metric_.end() || cgroup == metric->end() || !cgroup->is_string() || !value) return std::nullopt;
    Found out;
    out.field = known->second;
    const auto& path = cgroup->get_ref<const std::string&>();
    if (path.empty() || path.front() != '/' || path.size() > 65'536) return std::nullopt;
    out.instance = text_of(*metric, "instance");
    out.path = place(out.instance, path);
    const auto& field = catalogue_->field(out.field);
    std::string_view names = field.labels;
    for (bool first = true; !names.empty(); first = false) {
      if (!first) out.labels += '\0';
      out.labels += text_of(*metric, base::take_until(names, ','));
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

  bool build(const json& all, const Older& older, const Times& now_times, base::Wall now, Sample& out) {
    name_hosts(all);
    // Who is there. In order of paths, so that parents come first; those that nothing is told of are made up.
    std::map<std::string, std::shared_ptr<model::Container>> cgroups;
    std::vector<Found> values;
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
      if (auto found = field_of(series)) {
        add_cgroup(found->path);
        describe(series["metric"], add_cgroup(found->path));
        values.push_back(std::move(*found));
      } else if (series.is_object() && series.contains("metric") && series["metric"].is_object() &&
                 text_of(series["metric"], "__name__") == "cgroup_container_info") {
        const auto& metric = series["metric"];
        const auto path = text_of(metric, "cgroup");
        if (path.starts_with('/')) {
          describe(metric, add_cgroup(place(text_of(metric, "instance"), path)));
        }
      }
    }
    if (values.empty()) return false;

    auto cgroup_list = std::make_shared<model::CgroupList>();
    auto containers = std::make_shared<model::Containers>();
    std::map<std::string_view, CgroupIndex> places;
    // Of "/a", "/a-b", "/a/c" the last is below the first, and a path alone would put the second between them.
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
      const auto above = places.find(std::string_view(*path).substr(0, path->rfind('/')));
      cgroup_list->parents.push_back(above == places.end() ? model::kNoCgroup : above->second);
      auto& container = cgroups[*path];
      if (!container) {
        container = std::make_shared<model::Container>();
        container->role = model::Role::unit;
      }
      container->node = path->substr(1, path->find('/', 1) - 1);
      containers->by_cgroup[model::cgroup_key(cgroup->id, cgroup->path)] = container;
      places.emplace(*path, static_cast<CgroupIndex>(cgroup_list->cgroups.size()));
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

    const auto make = [&](base::Wall taken) {
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
    const auto fill = [&](model::Snapshot& s, std::vector<Found>& found) {
      std::ranges::sort(found, {}, [&](const Found& f) { return std::tuple(f.field, places.at(f.path), f.labels); });
      for (const auto& f : found) {
        auto& column = s.columns[f.field];
        const auto cgroup = places.at(f.path);
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
    std::map<std::tuple<FieldId, std::string, std::string>, Value> newer;
    for (const auto& f : values) newer.emplace(std::tuple(f.field, f.path, f.labels), f.value);
    std::map<std::tuple<FieldId, std::string, std::string>, Found> moved;
    for (const auto& then : older) {
      for (const auto& series : then.series) {
        auto old = field_of(series);
        if (!old || !places.contains(old->path)) continue;
        auto key = std::tuple(old->field, old->path, old->labels);
        const auto at = newer.find(key);
        if (at == newer.end() || !at->second.is_number() || !old->value.is_number()) continue;
        const auto t = now_times.find(old->instance);
        const auto u = then.times.find(old->instance);
        if (t == now_times.end() || u == then.times.end() || t->second <= u->second) continue;
        const double part = static_cast<double>(kWindow.count()) / (t->second - u->second);
        const auto grown = static_cast<double>(at->second.fixed()) - static_cast<double>(old->value.fixed());
        // Less than before: a cgroup that was made again. It has no rate, as everywhere.
        old->value = grown < 0 ? Value::absent() : Value::of(at->second.fixed() - std::llround(grown * part));
        moved.try_emplace(std::move(key), std::move(*old));
      }
    }
    std::vector<Found> before;
    before.reserve(moved.size());
    for (auto& [key, found] : moved) before.push_back(std::move(found));
    auto s = make(now);
    fill(*s, values);
    auto b = make(now - kWindow);
    fill(*b, before);
    out.snapshot = std::move(s);
    out.before = std::move(b);
    out.host.name = std::to_string(hosts.size()) + (hosts.size() == 1 ? " host" : " hosts");
    return true;
  }

  // What the labels of a series say of its container.
  static void describe(const json& metric, std::shared_ptr<model::Container>& container) {
    const auto named = text_of(metric, "container");
    const bool info = text_of(metric, "__name__") == "cgroup_container_info";
    if (named.empty() && !info) return;
    if (!container) container = std::make_shared<model::Container>();
    if (!named.empty()) container->name = named;
    if (const auto runtime = text_of(metric, "runtime"); !runtime.empty()) container->runtime = runtime;
    if (!info) return;
    const auto role = text_of(metric, "role");
    for (int r = 0; r <= static_cast<int>(model::Role::unit); ++r) {
      if (model::name(static_cast<model::Role>(r)) == role) container->role = static_cast<model::Role>(r);
    }
    for (const auto& fact : model::kTextFacts) {
      if (const auto text = text_of(metric, fact.name); !text.empty() && fact.name != "name") {
        (*container).*fact.member = text;
      }
    }
  }

  std::string shown_;
  std::unique_ptr<HttpClient> client_;
  std::shared_ptr<const model::Catalogue> catalogue_;
  std::optional<base::Wall> at_;
  std::map<std::string, FieldId, std::less<>> by_metric_;
  std::map<std::string, std::string> names_;  // of hosts, by instance
  std::string now_query_;
  std::string counters_query_;
  std::uint64_t generation_ = 0;
  Sample last_;
};

// Which fields are worth asking for: those of the nine sets, and those that the options name.
std::vector<bool> wanted_fields(const Options& o, const Columns& columns, const model::Catalogue& catalogue) {
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
  // Words of an expression that are names of fields.
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
    if (!at) {
      return tl::unexpected(ExitError{kUsage, "--at: '" + base::printable(o.at) +
                                                  "' is no time such as 2026-11-24T03:41:06, 03:41, -10m or @SECONDS"});
    }
  }
  auto client = HttpClient::open(
      *url, {o.auth_file, o.ca_file, o.cert_file, o.key_file, o.insecure, std::chrono::milliseconds(30'000)});
  if (!client) return tl::unexpected(std::move(client.error()));
  auto fields = wanted_fields(o, Columns(catalogue), *catalogue);
  return std::make_unique<Fleet>(url->shown(), std::move(*client), std::move(catalogue), std::move(fields),
                                 o.fields == "all", at);
}

}  // namespace cgwarden::cgtop
