// SPDX-License-Identifier: Apache-2.0
#include "src/policy/load.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "src/base/fd.h"
#include "src/base/names.h"
#include "src/base/result.h"
#include "src/base/text.h"

namespace cgwarden::policy {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMaxFiles = 256;
constexpr std::size_t kMaxRules = 1000;
constexpr std::size_t kMaxConditions = 32;  // of one rule
constexpr std::size_t kMaxPatternBytes = 256;
constexpr std::size_t kMaxNameBytes = 64;
constexpr double kClear = 0.9;  // of `above`, where nothing else is said
constexpr auto kMaxFreeze = 1h;

// What a rule takes over where it says nothing itself.
struct Defaults {
  bool dry_run = true;
  Duration cooldown = 60s;
  Duration lease = 1h;
  Duration hold{};
  std::size_t max_actions_per_hour = 20;
  std::size_t max_targets = 20;
};

std::uint64_t mix(std::uint64_t hash, std::string_view text) {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return (hash ^ 0xff) * 1099511628211U;
}

std::uint64_t fingerprint_of(const YamlNode& node, std::uint64_t hash = 1469598103934665603U) {
  hash = mix(hash, std::to_string(static_cast<int>(node.kind)));
  hash = mix(hash, node.text);
  for (const auto& key : node.keys) hash = fingerprint_of(key, hash);
  for (const auto& item : node.items) hash = fingerprint_of(item, hash);
  return mix(hash, "end");
}

std::string said(std::string_view text) { return "'" + base::printable(text.substr(0, 64)) + "'"; }

// One file. What is wrong is noted and the reading goes on, so that all is told at once.
class Reader {
 public:
  Reader(const std::string& file, bool main, const model::Catalogue& catalogue, const Defaults& defaults,
         Problems& problems)
      : file_(file), main_(main), catalogue_(catalogue), defaults_(defaults), problems_(problems) {
    fields_.reserve(catalogue.size());
    for (std::size_t id = 0; id < catalogue.size(); ++id) {
      fields_.push_back(catalogue.field(static_cast<model::FieldId>(id)).name);
    }
  }

  void read(const YamlNode& top, Policy& policy) {
    if (top.kind == YamlNode::Kind::null) return fault(top, "the file is empty; it begins with 'version: 1'");
    bool version = false;
    const YamlNode* rules = nullptr;
    keys(top, "the file",
         {{"version",
           [&](const YamlNode& n) {
             version = true;
             if (text(n) != "1") fault(n, "version is " + said(n.text) + "; this program knows 1");
           }},
          {"enforcer", [&](const YamlNode& n) { enforcer(n, policy); }},
          {"defaults", [&](const YamlNode& n) { defaults(n); }},
          {"protect",
           [&](const YamlNode& n) { each(n, [&](const YamlNode& one) { policy.protect.push_back(selector(one)); }); }},
          // Once the defaults are known, wherever they stand.
          {"rules", [&](const YamlNode& n) { rules = &n; }}});
    if (top.kind == YamlNode::Kind::map && !version) fault(top, "'version: 1' is missing");
    if (rules != nullptr) each(*rules, [&](const YamlNode& n) { rule(n, policy); });
    policy.fingerprint = fingerprint_of(top, policy.fingerprint);
  }

  [[nodiscard]] const Defaults& read_defaults() const { return defaults_; }

 private:
  using Key = std::pair<std::string_view, std::function<void(const YamlNode&)>>;

  void fault(const YamlNode& node, std::string what) {
    if (problems_.size() < kMaxProblems) problems_.push_back({file_, node.mark, std::move(what)});
  }

  void keys(const YamlNode& map, std::string_view where, const std::vector<Key>& known) {
    if (map.kind != YamlNode::Kind::map) {
      std::string names;
      for (const auto& [name, read] : known) names += (names.empty() ? "" : ", ") + std::string(name);
      return fault(map, std::string(where) + " must be a map with keys among " + names);
    }
    for (std::size_t i = 0; i < map.keys.size(); ++i) {
      const auto at = std::ranges::find(known, map.keys[i].text, [](const Key& key) { return key.first; });
      if (at != known.end()) {
        at->second(map.items[i]);
        continue;
      }
      std::vector<std::string_view> names;
      names.reserve(known.size());
      for (const auto& key : known) names.push_back(key.first);
      fault(map.keys[i], base::unknown_name("key", map.keys[i].text, names) + " in " + std::string(where));
    }
  }

  template <class Read>
  void each(const YamlNode& list, Read read) {
    if (list.kind != YamlNode::Kind::list) return fault(list, "must be a list: each entry begins with '- '");
    for (const auto& item : list.items) read(item);
  }

  // The text of a scalar; a fault and nothing otherwise.
  std::string text(const YamlNode& node) {
    if (node.kind != YamlNode::Kind::scalar) {
      fault(node, node.kind == YamlNode::Kind::null ? "a value is missing" : "must be one value");
      return {};
    }
    return node.text;
  }

  // With `convert`, which gives an optional; `expected` is for people.
  template <class Convert>
  auto value(const YamlNode& node, std::string_view expected, Convert convert)
      -> decltype(convert(std::string_view())) {
    if (node.kind != YamlNode::Kind::scalar) {
      text(node);
      return std::nullopt;
    }
    auto out = convert(std::string_view(node.text));
    if (!out) fault(node, said(node.text) + " is not " + std::string(expected));
    return out;
  }

  void duration(const YamlNode& node, Duration& out, Duration least = 0s, Duration most = 366 * 24h) {
    if (const auto d = value(node, "a time such as 30s or 1h30m", parse_duration)) {
      if (*d < least || *d > most) {
        return fault(node,
                     said(node.text) + " is not between " + format_duration(least) + " and " + format_duration(most));
      }
      out = *d;
    }
  }
  void boolean(const YamlNode& node, bool& out) {
    const auto b = value(node, "true or false", [](std::string_view t) {
      return t == "true" ? std::optional(true) : t == "false" ? std::optional(false) : std::nullopt;
    });
    if (b) out = *b;
  }
  void count(const YamlNode& node, std::size_t& out, std::size_t most) {
    const auto n = value(node, "a whole number from 1 to " + std::to_string(most), [most](std::string_view t) {
      const auto read = base::to_int<std::size_t>(t);
      return read && *read >= 1 && *read <= most ? read : std::nullopt;
    });
    if (n) out = *n;
  }

  void enforcer(const YamlNode& node, Policy& policy) {
    if (!main_) return fault(node, "'enforcer' stands in the main file only");
    keys(node, "'enforcer'",
         {{"boot_grace", [&](const YamlNode& n) { duration(n, policy.boot_grace, 0s, 24h); }},
          {"max_actions_per_hour", [&](const YamlNode& n) { count(n, policy.max_actions_per_hour, 100'000); }}});
  }

  void defaults(const YamlNode& node) { keys(node, "'defaults'", common(defaults_)); }

  // Keys that `defaults` and a rule have in common.
  template <class Into>
  std::vector<Key> common(Into& into) {
    return {{"dry_run", [&](const YamlNode& n) { boolean(n, into.dry_run); }},
            {"cooldown", [&](const YamlNode& n) { duration(n, into.cooldown, 0s, 7 * 24h); }},
            {"lease", [&](const YamlNode& n) { duration(n, into.lease, 10s, 30 * 24h); }},
            {"hold", [&](const YamlNode& n) { duration(n, into.hold, 0s, 7 * 24h); }},
            {"max_actions_per_hour", [&](const YamlNode& n) { count(n, into.max_actions_per_hour, 10'000); }},
            {"max_targets", [&](const YamlNode& n) { count(n, into.max_targets, 100'000); }}};
  }

  // One pattern or a list of them.
  void patterns(const YamlNode& node, Selector::Patterns& out) {
    const auto add = [&](const YamlNode& one) {
      const auto pattern = text(one);
      if (one.kind != YamlNode::Kind::scalar) return;
      if (pattern.empty()) return fault(one, "an empty pattern matches nothing");
      if (pattern.size() > kMaxPatternBytes) return fault(one, "longer than 256 bytes");
      out.push_back(pattern);
    };
    if (node.kind != YamlNode::Kind::list) return add(node);
    if (node.items.empty()) fault(node, "an empty list matches nothing");
    for (const auto& item : node.items) add(item);
  }

  // Users by name or number, which are looked up here and now.
  void users(const YamlNode& node, std::vector<std::uint32_t>& out) {
    Selector::Patterns names;
    patterns(node, names);
    for (const auto& name : names) {
      if (const auto number = base::to_int<std::uint32_t>(name)) {
        out.push_back(*number);
      } else if (const auto* const user = ::getpwnam(name.c_str()); user != nullptr) {
        out.push_back(user->pw_uid);
      } else {
        fault(node, "there is no user " + said(name) + " on this host; a number would do, too");
      }
    }
  }

  Selector selector(const YamlNode& node, int depth = 0) {
    Selector out;
    keys(node, depth == 0 ? "a match" : "'not'",
         {{"path",
           [&](const YamlNode& n) {
             patterns(n, out.path);
             for (const auto& path : out.path) {
               if (!path.starts_with('/') && !path.starts_with("**")) {
                 fault(n, said(path) + " matches no path: paths begin with /, as in /system.slice/*");
               }
             }
           }},
          {"kind",
           [&](const YamlNode& n) {
             patterns(n, out.kind);
             const auto known = known_kinds();
             for (const auto& kind : out.kind) {
               if (std::ranges::none_of(known, [&](auto k) { return glob_matches(kind, k, false); })) {
                 fault(n, base::unknown_name("kind", kind, known));
               }
             }
           }},
          {"name", [&](const YamlNode& n) { patterns(n, out.name); }},
          {"image", [&](const YamlNode& n) { patterns(n, out.image); }},
          {"label", [&](const YamlNode& n) { labels(n, out); }},
          {"unit", [&](const YamlNode& n) { patterns(n, out.unit); }},
          {"slice", [&](const YamlNode& n) { patterns(n, out.slice); }},
          {"pod", [&](const YamlNode& n) { patterns(n, out.pod); }},
          {"namespace", [&](const YamlNode& n) { patterns(n, out.pod_namespace); }},
          {"id", [&](const YamlNode& n) { patterns(n, out.id); }},
          {"user", [&](const YamlNode& n) { users(n, out.users); }},
          {"min_memory",
           [&](const YamlNode& n) {
             out.min_memory = value(n, "a size such as 256MiB",
                                    [](std::string_view t) { return parse_quantity(model::Unit::bytes, t); });
           }},
          {"older_than",
           [&](const YamlNode& n) {
             Duration age{};
             duration(n, age);
             out.older_than = age;
           }},
          {"populated",
           [&](const YamlNode& n) {
             bool populated = true;
             boolean(n, populated);
             out.populated = populated;
           }},
          {"not", [&](const YamlNode& n) {
             const auto exclude = [&](const YamlNode& one) {
               if (depth > 0) return fault(one, "'not' within 'not'; say it the other way round");
               out.excluded.push_back(selector(one, depth + 1));
             };
             if (n.kind == YamlNode::Kind::list) return each(n, exclude);
             exclude(n);
           }}});
    if (node.kind == YamlNode::Kind::map && node.keys.empty()) fault(node, "an empty match would be every cgroup");
    return out;
  }

  void labels(const YamlNode& node, Selector& out) {
    if (node.kind != YamlNode::Kind::map) return fault(node, "'label' must be a map: { tier: prod }");
    for (std::size_t i = 0; i < node.keys.size(); ++i) {
      out.labels.emplace_back(node.keys[i].text, Selector::Patterns{});
      patterns(node.items[i], out.labels.back().second);
    }
  }

  std::optional<model::FieldId> field(const YamlNode& node) {
    const auto name = text(node);
    if (name.empty()) return std::nullopt;
    const auto id = catalogue_.find(name);
    if (!id) {
      fault(node, base::unknown_name("field", name, fields_) + "; cgwarden --print-catalogue=md lists them");
      return std::nullopt;
    }
    if (catalogue_.field(*id).kind == model::Kind::info) {
      fault(node, said(name) + " is a text; only numbers can be compared");
      return std::nullopt;
    }
    return id;
  }

  static const YamlNode* find(const YamlNode& map, std::string_view key) {
    for (std::size_t i = 0; i < map.keys.size(); ++i) {
      if (map.keys[i].text == key) return &map.items[i];
    }
    return nullptr;
  }

  void condition(const YamlNode& node, Rule& rule, Trigger& out) {
    const auto* const named = find(node, "field");
    const auto id = named != nullptr ? field(*named) : std::nullopt;
    Condition c;
    const YamlNode* compared = nullptr;
    const YamlNode* clears = nullptr;
    const YamlNode* windows = nullptr;
    bool clears_below = true;
    const auto comparison = [&](std::string_view key, Condition::Op op) {
      return Key{key, [&, op](const YamlNode& n) {
                   if (compared != nullptr) return fault(n, "a condition has one comparison");
                   compared = &n;
                   c.op = op;
                 }};
    };
    keys(node, "a condition",
         {{"field", [](const YamlNode&) {}},
          comparison("above", Condition::Op::above),
          comparison("below", Condition::Op::below),
          comparison("rate_above", Condition::Op::rate_above),
          comparison("rate_below", Condition::Op::rate_below),
          comparison("slope_above", Condition::Op::slope_above),
          comparison("slope_below", Condition::Op::slope_below),
          {"of", [&](const YamlNode& n) { c.of = field(n); }},
          {"at",
           [&](const YamlNode& n) {
             c.at = text(n);
             if (c.at != "parent" && !c.at.starts_with('/')) {
               fault(n, "'at' is parent, or the path of a cgroup such as /workload.slice");
             }
           }},
          {"for", [&](const YamlNode& n) { duration(n, c.hold, 0s, 7 * 24h); }},
          {"window",
           [&](const YamlNode& n) {
             windows = &n;
             duration(n, c.window, 1s, 24h);
           }},
          {"clear_below", [&](const YamlNode& n) { clears = &n; }},
          {"clear_above",
           [&](const YamlNode& n) {
             clears = &n;
             clears_below = false;
           }},
          {"clear_for", [&](const YamlNode& n) { duration(n, c.clear_for, 0s, 7 * 24h); }}});
    if (named == nullptr) fault(node, "a condition needs a 'field'");
    if (compared == nullptr) {
      return fault(node,
                   "a condition needs a comparison: above, below, rate_above, rate_below, slope_above or slope_below");
    }
    if (!id) return;
    c.field = id.value_or(c.field);  // *id: gcc 12 does not see at -O2 that there is one
    const auto& info = catalogue_.field(c.field);
    const bool relative = find(node, "of") != nullptr;
    if (relative && (is_rate(c.op) || is_slope(c.op))) fault(node, "'of' goes with above and below");
    if (relative && c.of && catalogue_.field(*c.of).unit != info.unit) {
      fault(node, said(info.name) + " and " + said(catalogue_.field(*c.of).name) + " have different units");
    }
    if (is_rate(c.op) && info.kind != model::Kind::counter) {
      return fault(node,
                   said(info.name) + " is no counter; how fast it changes is its slope: slope_above, with a 'window'");
    }
    if (!is_rate(c.op) && info.kind == model::Kind::counter) {
      return fault(node, said(info.name) + " only grows; compare its rate: rate_above or rate_below");
    }
    if (is_slope(c.op) && windows == nullptr) c.window = 5min;
    if (!is_slope(c.op) && windows != nullptr) fault(*windows, "'window' goes with slope_above and slope_below");

    const auto amount = [&](const YamlNode& n) -> std::optional<double> {
      if (relative) return value(n, "a part such as 90%", parse_percent);
      if (is_rate(c.op) || is_slope(c.op)) {
        return value(n, expected_rate_of(info.unit), [&](std::string_view t) {
          return parse_rate(is_slope(c.op) && info.unit == model::Unit::seconds ? model::Unit::none : info.unit, t);
        });
      }
      return value(n, expected_of(info.unit), [&](std::string_view t) { return parse_quantity(info.unit, t); });
    };
    if (const auto threshold = amount(*compared)) {
      c.threshold = *threshold;
      c.clear = is_upward(c.op) ? *threshold * kClear : *threshold / kClear;
    }
    if (clears != nullptr) {
      if (clears_below != is_upward(c.op)) {
        fault(*clears, is_upward(c.op) ? "what is 'above' clears below: clear_below"
                                       : "what is 'below' clears above: clear_above");
      } else if (const auto clear = amount(*clears)) {
        c.clear = *clear;
        if (is_upward(c.op) ? c.clear > c.threshold : c.clear < c.threshold) {
          fault(*clears, "the clear level is on the wrong side of the threshold");
        }
      }
    }
    if (rule.conditions.size() >= kMaxConditions) {
      return fault(node, "more than " + std::to_string(kMaxConditions) + " conditions in one rule");
    }
    out.op = Trigger::Op::condition;
    out.condition = rule.conditions.size();
    rule.conditions.push_back(c);
  }

  void pick(const YamlNode& node, Rule& rule) {
    Pick out;
    std::optional<model::FieldId> id;
    const auto by = [&](const char* key, bool most) {
      return Key{key, [&, most](const YamlNode& n) {
                   if (id) return fault(n, "a pick is by 'most' or by 'least', not both");
                   id = field(n);
                   out.most = most;
                 }};
    };
    keys(node, "a pick",
         {by("most", true), by("least", false), {"count", [&](const YamlNode& n) { count(n, out.count, 1000); }}});
    if (!id) {
      if (find(node, "most") == nullptr && find(node, "least") == nullptr) {
        fault(node, "a pick needs a field: { most: memory_current }");
      }
      return;
    }
    if (catalogue_.field(*id).kind == model::Kind::counter) {
      return fault(node, said(catalogue_.field(*id).name) + " only grows, so it says who is oldest; pick by a gauge");
    }
    out.field = *id;
    rule.pick = out;
  }

  std::optional<std::uint8_t> days(std::string_view text) {
    constexpr std::string_view names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
    const auto day = [&](std::string_view name) {
      const auto* const at = std::ranges::find(names, name);
      return at == std::end(names) ? std::optional<int>() : static_cast<int>(at - std::begin(names));
    };
    int mask = 0;
    while (!text.empty()) {
      auto part = base::take_until(text, ',');
      const auto first = day(base::take_until(part, '-'));
      const auto last = part.empty() ? first : day(part);
      if (!first || !last) return std::nullopt;
      for (int d = *first;; d = (d + 1) % 7) {
        mask |= 1 << d;
        if (d == *last) break;
      }
    }
    if (mask == 0) return std::nullopt;
    return static_cast<std::uint8_t>(mask);
  }

  void schedule(const YamlNode& node, Trigger& out) {
    out.op = Trigger::Op::schedule;
    keys(node, "a schedule",
         {{"time",
           [&](const YamlNode& n) {
             const auto window = value(n, "two times of day such as 20:00-06:00",
                                       [](std::string_view t) -> std::optional<std::pair<int, int>> {
                                         const auto from = parse_time_of_day(base::take_until(t, '-'));
                                         const auto to = parse_time_of_day(t);
                                         if (!from || !to || *from == *to) return std::nullopt;
                                         return std::pair(*from, *to);
                                       });
             if (window) std::tie(out.schedule.from, out.schedule.to) = *window;
           }},
          {"days", [&](const YamlNode& n) {
             if (const auto mask =
                     value(n, "days such as mon-fri or sat,sun", [this](std::string_view t) { return days(t); })) {
               out.schedule.days = *mask;
             }
           }}});
  }

  Trigger trigger(const YamlNode& node, Rule& rule, int depth = 0) {
    Trigger out;
    if (node.kind == YamlNode::Kind::scalar && node.text == "always") return out;
    if (node.kind != YamlNode::Kind::map) {
      fault(node, "'when' is a condition, a schedule, 'all' or 'any' of a list of them, or the word always");
      return out;
    }
    if (depth > 4) {
      fault(node, "nested deeper than 4");
      return out;
    }
    for (const auto& [key, op] :
         {std::pair<std::string_view, Trigger::Op>{"all", Trigger::Op::all}, {"any", Trigger::Op::any}}) {
      const auto* const list = find(node, key);
      if (list == nullptr) continue;
      out.op = op;
      keys(node, "'when'", {{key, [](const YamlNode&) {}}});
      each(*list, [&](const YamlNode& one) { out.parts.push_back(trigger(one, rule, depth + 1)); });
      if (list->kind == YamlNode::Kind::list && list->items.empty()) fault(*list, "an empty list");
      return out;
    }
    if (find(node, "time") != nullptr || find(node, "days") != nullptr) {
      schedule(node, out);
    } else {
      condition(node, rule, out);
    }
    return out;
  }

  void settings(const YamlNode& node, Step& step) {
    if (node.kind != YamlNode::Kind::map || node.keys.empty()) {
      return fault(node, "'limit' must be a map of keys and values: { memory.high: 512MiB }");
    }
    for (std::size_t i = 0; i < node.keys.size(); ++i) {
      const auto& key = node.keys[i];
      const auto& item = node.items[i];
      std::string device;
      YamlNode amount = item;
      model::Value least;
      model::Value most;
      const auto name = key.text.substr(0, key.text.find('@'));
      if (name.size() < key.text.size()) device = key.text.substr(name.size() + 1);
      const auto bound = [&](const YamlNode& n, model::Value& out) {
        const auto read = model::parse_setting(name, device, text(n));
        if (!read || read->basis != model::Basis::absolute) {
          return fault(n, read ? "a bound is an absolute value" : read.error().what);
        }
        out = read->value;
      };
      if (item.kind == YamlNode::Kind::map) {
        amount = {};
        amount.mark = item.mark;
        keys(item, "a limit",
             {{"to", [&](const YamlNode& n) { amount = n; }},
              {"min", [&](const YamlNode& n) { bound(n, least); }},
              {"max", [&](const YamlNode& n) { bound(n, most); }}});
      }
      const auto written = text(amount);
      if (amount.kind != YamlNode::Kind::scalar) continue;
      auto read = model::parse_setting(name, device, written);
      if (!read) {
        fault(model::find_setting_key(name) == nullptr ? key : amount, read.error().what);
        continue;
      }
      read->at_least = least;
      read->at_most = most;
      step.settings.push_back(std::move(*read));
    }
  }

  void kill(const YamlNode& node, Step& step) {
    step.grace = 10s;
    if (node.kind == YamlNode::Kind::scalar && node.text == "now") return;
    keys(node, "'kill' (or the word now)",
         {{"signal",
           [&](const YamlNode& n) {
             if (const auto s = value(n, "a signal such as TERM", model::signal_of)) step.signal = *s;
           }},
          {"grace", [&](const YamlNode& n) { duration(n, step.grace, 0s, 10min); }}});
  }

  void reclaim(const YamlNode& node, Step& step) {
    if (node.kind == YamlNode::Kind::scalar && node.text.ends_with('%')) {
      step.part = value(node, "a part of up to 100%", [](std::string_view t) {
        const auto part = parse_percent(t);
        return part && *part > 0 && *part <= 1 ? part : std::nullopt;
      });
      return;
    }
    const auto bytes =
        value(node, "a size such as 256MiB, or a part of what is in use such as 1%", [](std::string_view t) {
          const auto read = parse_quantity(model::Unit::bytes, t);
          return read && *read > 0 ? read : std::nullopt;
        });
    if (bytes) step.bytes = *bytes;
  }

  void step(const YamlNode& node, Rule& rule) {
    Step out;
    int verbs = 0;
    const auto before = problems_.size();
    const YamlNode* forced = nullptr;
    const auto is = [&](Step::Kind kind) {
      out.kind = kind;
      ++verbs;
    };
    keys(node, "a step",
         {{"notify",
           [&](const YamlNode& n) {
             is(Step::Kind::notify);
             out.message = text(n);
           }},
          {"reclaim",
           [&](const YamlNode& n) {
             is(Step::Kind::reclaim);
             reclaim(n, out);
           }},
          {"limit",
           [&](const YamlNode& n) {
             is(Step::Kind::limit);
             settings(n, out);
           }},
          {"freeze",
           [&](const YamlNode& n) {
             is(Step::Kind::freeze);
             duration(n, out.freeze_for, 1s, kMaxFreeze);
           }},
          {"kill",
           [&](const YamlNode& n) {
             is(Step::Kind::kill);
             kill(n, out);
           }},
          {"force",
           [&](const YamlNode& n) {
             forced = &n;
             boolean(n, out.force);
           }},
          {"after", [&](const YamlNode& n) { duration(n, out.after, 0s, 24h); }}});
    if (node.kind != YamlNode::Kind::map) return;
    if (verbs == 0 && problems_.size() > before) return;
    if (verbs != 1) return fault(node, "a step is one of notify, reclaim, limit, freeze and kill");
    if (forced != nullptr && out.kind != Step::Kind::limit) fault(*forced, "'force' goes with 'limit'");
    rule.steps.push_back(std::move(out));
  }

  void rule(const YamlNode& node, Policy& policy) {
    Rule out;
    out.dry_run = defaults_.dry_run;
    out.cooldown = defaults_.cooldown;
    out.lease = defaults_.lease;
    out.hold = defaults_.hold;
    out.max_actions_per_hour = defaults_.max_actions_per_hour;
    out.max_targets = defaults_.max_targets;
    bool enabled = true;
    bool matched = false;
    bool triggered = false;
    auto known = common(out);
    known.insert(known.begin(),
                 {{"name",
                   [&](const YamlNode& n) {
                     out.name = text(n);
                     const bool good = std::ranges::all_of(out.name, [](char c) {
                       return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                              c == '_' || c == '.';
                     });
                     if (!good || out.name.size() > kMaxNameBytes) {
                       fault(n, "a name has letters, digits, '-', '_' and '.', at most 64");
                     }
                   }},
                  {"match",
                   [&](const YamlNode& n) {
                     matched = true;
                     out.match = selector(n);
                   }},
                  {"when",
                   [&](const YamlNode& n) {
                     triggered = true;
                     out.when = trigger(n, out);
                   }},
                  {"pick", [&](const YamlNode& n) { pick(n, out); }},
                  {"do", [&](const YamlNode& n) { each(n, [&](const YamlNode& one) { step(one, out); }); }},
                  {"enabled", [&](const YamlNode& n) { boolean(n, enabled); }}});
    keys(node, "a rule", known);
    if (node.kind != YamlNode::Kind::map) return;
    if (out.name.empty()) return fault(node, "a rule needs a 'name'");
    if (!names_.insert(out.name).second) fault(node, "the rule " + said(out.name) + " is in this file twice");
    if (enabled && !matched) fault(node, "the rule " + said(out.name) + " needs a 'match': which cgroups");
    if (enabled && !triggered) fault(node, "the rule " + said(out.name) + " needs a 'when'; always is one");
    if (enabled && find(node, "do") == nullptr) fault(node, "the rule " + said(out.name) + " needs a 'do'");
    out.file = file_;
    out.mark = node.mark;
    out.fingerprint = fingerprint_of(node);
    for (const auto& one : {std::to_string(out.dry_run), std::to_string(out.cooldown.count()),
                            std::to_string(out.lease.count()), std::to_string(out.hold.count())}) {
      out.fingerprint = mix(out.fingerprint, one);
    }
    std::erase_if(policy.rules, [&](const Rule& before) { return before.name == out.name; });
    if (policy.rules.size() >= kMaxRules) return fault(node, "more than " + std::to_string(kMaxRules) + " rules");
    if (enabled) policy.rules.push_back(std::move(out));
  }

  const std::string& file_;
  bool main_;
  const model::Catalogue& catalogue_;
  Defaults defaults_;
  Problems& problems_;
  std::vector<std::string_view> fields_;
  std::set<std::string> names_;
};

// Who else may write this? Empty: nobody.
std::string why_untrusted(const struct stat& st) {
  if (st.st_uid != 0 && st.st_uid != ::geteuid()) {
    return "belongs to user " + std::to_string(st.st_uid) + ", not to root or the user of this program: chown it";
  }
  const bool sticky_dir = S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX) != 0;
  if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !sticky_dir) return "may be written by others: chmod go-w it";
  return {};
}

class Files {
 public:
  Files(Loaded& loaded, Owners owners) : loaded_(loaded), owners_(owners) {}

  // A missing file is a problem, as is one that cannot be read.
  void read(const std::string& path, std::vector<Text>& into) {
    if (into.size() >= kMaxFiles) return fault(path, "more than " + std::to_string(kMaxFiles) + " files");
    const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr), &std::free);
    if (!real) return fault(path, std::string("cannot open: ") + std::strerror(errno));
    const base::Fd fd(::open(real.get(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
    struct stat st {};
    if (!fd || ::fstat(fd.get(), &st) != 0) return fault(path, std::string("cannot open: ") + std::strerror(errno));
    if (!S_ISREG(st.st_mode)) return fault(path, "is not a regular file");
    if (static_cast<std::size_t>(st.st_size) > kMaxFileBytes) {
      return fault(path, "larger than " + std::to_string(kMaxFileBytes / 1024) + " KiB");
    }
    if (const auto why = why_untrusted(st); !why.empty()) untrusted(path, "the file " + why);
    check_above(path, real.get());
    std::string text(kMaxFileBytes + 1, '\0');
    std::size_t size = 0;
    while (size < text.size()) {
      const auto n = ::read(fd.get(), text.data() + size, text.size() - size);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fault(path, std::string("cannot read: ") + std::strerror(errno));
      if (n == 0) break;
      size += static_cast<std::size_t>(n);
    }
    text.resize(size);
    into.push_back({path, std::move(text)});
  }

  // Names of drop-ins to their paths, later directories over earlier ones.
  std::map<std::string, std::string> drop_ins(const std::vector<std::string>& dirs) {
    std::map<std::string, std::string> out;
    for (const auto& dir : dirs) {
      std::error_code error;
      std::filesystem::directory_iterator entries(dir, error);
      if (error) {
        if (error.value() != ENOENT) fault(dir, "cannot open: " + error.message());
        continue;
      }
      for (; entries != std::filesystem::directory_iterator(); entries.increment(error)) {
        const auto name = entries->path().filename().string();
        if (!name.ends_with(".yaml") || name.starts_with('.')) continue;
        if (out.size() >= kMaxFiles) {
          fault(dir, "more than " + std::to_string(kMaxFiles) + " files");
          break;
        }
        out[name] = entries->path().string();
        if (error) break;
      }
    }
    std::erase_if(out, [](const auto& one) {
      std::error_code error;
      return std::filesystem::read_symlink(one.second, error) == "/dev/null";
    });
    return out;
  }

 private:
  void fault(const std::string& path, std::string what) { loaded_.problems.push_back({path, {}, std::move(what)}); }
  void untrusted(const std::string& path, std::string what) {
    auto& list = owners_ == Owners::required ? loaded_.problems : loaded_.notes;
    list.push_back({path, {}, std::move(what)});
  }
  void check_above(const std::string& path, const std::filesystem::path& real) {
    for (auto dir = real.parent_path();; dir = dir.parent_path()) {
      struct stat st {};
      if (checked_.insert(dir.string()).second && ::stat(dir.c_str(), &st) == 0) {
        if (const auto why = why_untrusted(st); !why.empty()) {
          untrusted(path, "the directory " + dir.string() + " " + why);
        }
      }
      if (dir == dir.root_path()) break;
    }
  }

  Loaded& loaded_;
  Owners owners_;
  std::set<std::string> checked_;
};

void parse(const std::vector<Text>& texts, bool first_is_main, const std::shared_ptr<const model::Catalogue>& catalogue,
           Loaded& loaded) {
  auto policy = std::make_shared<Policy>();
  policy->catalogue = catalogue;
  policy->boot_grace = 5min;
  policy->max_actions_per_hour = 200;
  Defaults defaults;
  bool main = first_is_main;
  for (const auto& [file, text] : texts) {
    if (loaded.problems.size() >= kMaxProblems) break;
    const auto top = parse_document(file, text, loaded.problems);
    if (top) {
      Reader reader(file, main, *catalogue, defaults, loaded.problems);
      reader.read(*top, *policy);
      if (main) defaults = reader.read_defaults();
    }
    policy->files.push_back(file);
    main = false;
  }
  if (loaded.problems.empty()) loaded.policy = std::move(policy);
}

}  // namespace

std::vector<model::FieldId> Policy::fields() const {
  std::set<model::FieldId> out;
  for (const auto* const name : {"memory_current", "populated", "frozen"}) {
    if (const auto id = catalogue->find(name)) out.insert(*id);
  }
  for (const auto& rule : rules) {
    for (const auto& condition : rule.conditions) {
      out.insert(condition.field);
      if (condition.of) out.insert(*condition.of);
    }
    if (rule.pick) out.insert(rule.pick->field);
  }
  return {out.begin(), out.end()};
}

Loaded load(const Source& source, const std::shared_ptr<const model::Catalogue>& catalogue, Owners owners) {
  Loaded out;
  Files files(out, owners);
  std::vector<Text> texts;
  if (!source.file.empty()) files.read(source.file, texts);
  for (const auto& path : source.more) files.read(path, texts);
  for (const auto& [name, path] : files.drop_ins(source.dirs)) files.read(path, texts);
  parse(texts, !source.file.empty(), catalogue, out);
  return out;
}

Loaded load_texts(const std::vector<Text>& texts, const std::shared_ptr<const model::Catalogue>& catalogue) {
  Loaded out;
  parse(texts, true, catalogue, out);
  return out;
}

}  // namespace cgwarden::policy
