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
constexpr double kDefaultClearFactor =
    0.9;  // clear level = threshold * factor for upward comparisons, / factor for downward ones
constexpr auto kMaxFreeze = 1h;
constexpr std::string_view kComparisons = "above, below, rate_above, rate_below, slope_above, slope_below";

// Values of a rule for keys that the rule does not set.
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

std::string in_quotes(std::string_view text) { return "'" + base::printable(text.substr(0, 64)) + "'"; }

constexpr Expected kDuration{"duration", "examples: 30s, 1h30m"};
constexpr Expected kSize{"size", "example: 256MiB"};

constexpr std::string_view key_of(Condition::Op op) {
  constexpr std::string_view keys[] = {"above", "below", "rate_above", "rate_below", "slope_above", "slope_below"};
  return keys[static_cast<std::size_t>(op)];
}

// Parses one file. It continues after an error, so that one run reports all errors. Every message has one of two forms:
// "OBJECT: what failed (hint)" or "unknown KIND 'x'; did you mean 'y'?". OBJECT is the key that is being read, unless
// the caller of fault() names another one.
class PolicyParser {
 public:
  PolicyParser(const std::string& file, bool main, const model::Catalogue& catalogue, const Defaults& defaults,
               Problems& problems)
      : file_(file), main_(main), catalogue_(catalogue), defaults_(defaults), problems_(problems) {
    fields_.reserve(catalogue.size());
    for (std::size_t id = 0; id < catalogue.size(); ++id) {
      fields_.push_back(catalogue.field(static_cast<model::FieldId>(id)).name);
    }
  }

  void read(const YamlNode& top, Policy& policy) {
    if (top.kind == YamlNode::Kind::null) return fault(top, "policy file", "empty (start it with 'version: 1')");
    bool version = false;
    const YamlNode* rules = nullptr;
    keys(top, "policy file",
         {{"version",
           [&](const YamlNode& n) {
             version = true;
             if (text(n) != "1") fault(n, in_quotes(n.text) + " is unsupported (use 1)");
           }},
          {"enforcer", [&](const YamlNode& n) { enforcer(n, policy); }},
          {"defaults", [&](const YamlNode& n) { read_defaults(n); }},
          {"protect",
           [&](const YamlNode& n) { each(n, [&](const YamlNode& one) { policy.protect.push_back(selector(one)); }); }},
          // Read last: `defaults` may follow `rules` in the file.
          {"rules", [&](const YamlNode& n) { rules = &n; }}});
    if (top.kind == YamlNode::Kind::map && !version)
      fault(top, "policy file", "key 'version' is missing (add 'version: 1')");
    const KeyScope scope(key_, "rules");
    if (rules != nullptr) each(*rules, [&](const YamlNode& n) { rule(n, policy); });
    policy.fingerprint = fingerprint_of(top, policy.fingerprint);
  }

  [[nodiscard]] const Defaults& defaults() const { return defaults_; }

 private:
  using Key = std::pair<std::string_view, std::function<void(const YamlNode&)>>;

  // Sets the object of messages while the value of a key is read.
  class KeyScope {
   public:
    KeyScope(std::string_view& key, std::string_view inner) : key_(key), outer_(std::exchange(key, inner)) {}
    ~KeyScope() { key_ = outer_; }
    KeyScope(const KeyScope&) = delete;
    KeyScope& operator=(const KeyScope&) = delete;

   private:
    std::string_view& key_;
    std::string_view outer_;
  };

  void add_problem(const YamlNode& node, std::string text) {
    if (problems_.size() < kMaxProblems) problems_.push_back({file_, node.mark, std::move(text)});
  }
  void fault(const YamlNode& node, std::string_view object, std::string_view what) {
    add_problem(node, base::printable(object) + ": " + std::string(what));
  }
  void fault(const YamlNode& node, std::string_view what) { fault(node, key_, what); }

  static std::string listed(const std::vector<Key>& known) {
    std::string out;
    for (const auto& [name, read] : known) out += (out.empty() ? "" : ", ") + std::string(name);
    return out;
  }

  void keys(const YamlNode& map, std::string_view where, const std::vector<Key>& known) {
    if (map.kind != YamlNode::Kind::map) return fault(map, where, "must be a map (keys: " + listed(known) + ")");
    for (std::size_t i = 0; i < map.keys.size(); ++i) {
      const auto at = std::ranges::find(known, map.keys[i].text, [](const Key& key) { return key.first; });
      if (at != known.end()) {
        const KeyScope scope(key_, at->first);
        at->second(map.items[i]);
        continue;
      }
      std::vector<std::string_view> names;
      names.reserve(known.size());
      for (const auto& key : known) names.push_back(key.first);
      auto text = base::unknown_name("key", map.keys[i].text, names);
      if (base::nearest_name(map.keys[i].text, names).empty()) {
        text += " (keys of " + std::string(where) + ": " + listed(known) + ")";
      }
      add_problem(map.keys[i], std::move(text));
    }
  }

  template <class Read>
  void each(const YamlNode& list, Read read) {
    if (list.kind != YamlNode::Kind::list) return fault(list, "must be a list (start each entry with '- ')");
    for (const auto& item : list.items) read(item);
  }

  // The text of a scalar; empty, after an error was added, for anything else.
  std::string text(const YamlNode& node) {
    if (node.kind != YamlNode::Kind::scalar) {
      fault(node, node.kind == YamlNode::Kind::null ? "value is missing" : "must be a single value");
      return {};
    }
    return node.text;
  }

  // The scalar as converted by `convert`, which returns an optional. Nullopt, after an error was added, if that fails.
  template <class Convert>
  auto value(const YamlNode& node, Expected expected, Convert convert) -> decltype(convert(std::string_view())) {
    if (node.kind != YamlNode::Kind::scalar) {
      text(node);
      return std::nullopt;
    }
    auto out = convert(std::string_view(node.text));
    if (!out) {
      fault(node, "invalid " + std::string(expected.kind) + ' ' + in_quotes(node.text) + " (" +
                      std::string(expected.hint) + ")");
    }
    return out;
  }

  void duration(const YamlNode& node, Duration& out, Duration least = 0s, Duration most = 366 * 24h) {
    if (const auto d = value(node, kDuration, parse_duration)) {
      if (*d < least || *d > most) {
        return fault(node, in_quotes(node.text) + " is out of range (" + format_duration(least) + " to " +
                               format_duration(most) + ")");
      }
      out = *d;
    }
  }
  void boolean(const YamlNode& node, bool& out) {
    const auto b = value(node, Expected{"value", "use true or false"}, [](std::string_view t) {
      return t == "true" ? std::optional(true) : t == "false" ? std::optional(false) : std::nullopt;
    });
    if (b) out = *b;
  }
  void count(const YamlNode& node, std::size_t& out, std::size_t most) {
    const auto hint = "use a whole number from 1 to " + std::to_string(most);
    const auto n = value(node, Expected{"number", hint}, [most](std::string_view t) {
      const auto read = base::to_int<std::size_t>(t);
      return read && *read >= 1 && *read <= most ? read : std::nullopt;
    });
    if (n) out = *n;
  }

  void enforcer(const YamlNode& node, Policy& policy) {
    if (!main_) return fault(node, "only allowed in the main policy file");
    keys(node, "enforcer",
         {{"boot_grace", [&](const YamlNode& n) { duration(n, policy.boot_grace, 0s, 24h); }},
          {"max_actions_per_hour", [&](const YamlNode& n) { count(n, policy.max_actions_per_hour, 100'000); }}});
  }

  void read_defaults(const YamlNode& node) { keys(node, "defaults", common(defaults_)); }

  // Keys of both `defaults` and rules.
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
      if (pattern.empty()) return fault(one, "empty pattern matches no cgroup");
      if (pattern.size() > kMaxPatternBytes)
        return fault(one, "pattern is longer than " + std::to_string(kMaxPatternBytes) + " bytes");
      out.push_back(pattern);
    };
    if (node.kind != YamlNode::Kind::list) return add(node);
    if (node.items.empty()) fault(node, "empty list matches no cgroup");
    for (const auto& item : node.items) add(item);
  }

  // User names or numeric IDs. Names are resolved once, when the policy is loaded.
  void users(const YamlNode& node, std::vector<std::uint32_t>& out) {
    Selector::Patterns names;
    patterns(node, names);
    for (const auto& name : names) {
      if (const auto number = base::to_int<std::uint32_t>(name)) {
        out.push_back(*number);
      } else if (const auto* const user = ::getpwnam(name.c_str()); user != nullptr) {
        out.push_back(user->pw_uid);
      } else {
        add_problem(node, "unknown user " + in_quotes(name) + " (a numeric user ID needs no account on this host)");
      }
    }
  }

  Selector selector(const YamlNode& node, int depth = 0) {
    Selector out;
    keys(node, depth == 0 ? "match" : "not",
         {{"path",
           [&](const YamlNode& n) {
             patterns(n, out.path);
             for (const auto& path : out.path) {
               if (!path.starts_with('/') && !path.starts_with("**")) {
                 fault(n, "pattern " + in_quotes(path) +
                              " matches no cgroup (paths start with /, example: /system.slice/*)");
               }
             }
           }},
          {"kind",
           [&](const YamlNode& n) {
             patterns(n, out.kind);
             const auto known = known_kinds();
             for (const auto& kind : out.kind) {
               if (std::ranges::none_of(known, [&](auto k) { return glob_matches(kind, k, false); })) {
                 add_problem(n, base::unknown_name("kind", kind, known));
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
             out.min_memory = value(n, kSize, [](std::string_view t) { return parse_quantity(model::Unit::bytes, t); });
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
               if (depth > 0) return fault(one, "nested 'not' is unsupported (state the inner match without 'not')");
               out.excluded.push_back(selector(one, depth + 1));
             };
             if (n.kind == YamlNode::Kind::list) return each(n, exclude);
             exclude(n);
           }}});
    if (node.kind == YamlNode::Kind::map && node.keys.empty())
      fault(node, depth == 0 ? "match" : "not", "empty match would select every cgroup (add at least one key)");
    return out;
  }

  void labels(const YamlNode& node, Selector& out) {
    if (node.kind != YamlNode::Kind::map) return fault(node, "must be a map (example: { tier: prod })");
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
      add_problem(node, base::unknown_name("field", name, fields_) + " (list: cgwarden --print-catalogue=md)");
      return std::nullopt;
    }
    if (catalogue_.field(*id).kind == model::MetricKind::info) {
      fault(node, "field " + in_quotes(name) + " is text (only numeric fields can be compared)");
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
    std::optional<model::FieldId> id;
    if (named != nullptr) {
      const KeyScope scope(key_, "field");
      id = field(*named);
    }
    Condition c;
    const YamlNode* compared = nullptr;
    const YamlNode* clears = nullptr;
    const YamlNode* windows = nullptr;
    bool clears_below = true;
    const auto comparison = [&](std::string_view key, Condition::Op op) {
      return Key{key, [&, op](const YamlNode& n) {
                   if (compared != nullptr)
                     return fault(n, "condition",
                                  "only one comparison is allowed (use one of " + std::string(kComparisons) + ")");
                   compared = &n;
                   c.op = op;
                 }};
    };
    keys(node, "condition",
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
               fault(n,
                     "invalid cgroup " + in_quotes(c.at) + " (use parent or a cgroup path, example: /workload.slice)");
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
    if (named == nullptr) fault(node, "condition", "key 'field' is missing");
    if (compared == nullptr) {
      return fault(node, "condition", "comparison is missing (use one of " + std::string(kComparisons) + ")");
    }
    if (!id) return;
    c.field = id.value_or(c.field);  // not *id: gcc 12 at -O2 warns that it may be unset
    const auto& info = catalogue_.field(c.field);
    const bool relative = find(node, "of") != nullptr;
    if (relative && (is_rate(c.op) || is_slope(c.op))) fault(node, "of", "only allowed with above and below");
    if (relative && c.of && catalogue_.field(*c.of).unit != info.unit) {
      fault(node, "of",
            in_quotes(info.name) + " and " + in_quotes(catalogue_.field(*c.of).name) + " have different units");
    }
    if (is_rate(c.op) && info.kind != model::MetricKind::counter) {
      return fault(node, key_of(c.op),
                   in_quotes(info.name) + " is not a counter (use slope_above or slope_below with 'window')");
    }
    if (!is_rate(c.op) && info.kind == model::MetricKind::counter) {
      return fault(node, key_of(c.op), in_quotes(info.name) + " is a counter (use rate_above or rate_below)");
    }
    if (is_slope(c.op) && windows == nullptr) c.window = 5min;
    if (!is_slope(c.op) && windows != nullptr) {
      fault(*windows, "window", "only allowed with slope_above and slope_below");
    }

    const auto amount = [&](std::string_view key, const YamlNode& n) -> std::optional<double> {
      const KeyScope scope(key_, key);
      if (relative) return value(n, Expected{"percentage", "example: 90%"}, parse_percent);
      if (is_rate(c.op) || is_slope(c.op)) {
        return value(n, expected_rate(info.unit), [&](std::string_view t) {
          return parse_rate(is_slope(c.op) && info.unit == model::Unit::seconds ? model::Unit::none : info.unit, t);
        });
      }
      return value(n, expected_quantity(info.unit), [&](std::string_view t) { return parse_quantity(info.unit, t); });
    };
    if (const auto threshold = amount(key_of(c.op), *compared)) {
      c.threshold = *threshold;
      c.clear = is_upward(c.op) ? *threshold * kDefaultClearFactor : *threshold / kDefaultClearFactor;
    }
    if (clears != nullptr) {
      const std::string_view key = clears_below ? "clear_below" : "clear_above";
      if (clears_below != is_upward(c.op)) {
        fault(*clears, key,
              "does not fit " + in_quotes(key_of(c.op)) +
                  (is_upward(c.op) ? " (use clear_below)" : " (use clear_above)"));
      } else if (const auto clear = amount(key, *clears)) {
        c.clear = *clear;
        if (is_upward(c.op) ? c.clear > c.threshold : c.clear < c.threshold) {
          fault(*clears, key,
                is_upward(c.op) ? "clear level is above the threshold" : "clear level is below the threshold");
        }
      }
    }
    if (rule.conditions.size() >= kMaxConditions) {
      return fault(node, "when", "more than " + std::to_string(kMaxConditions) + " conditions in one rule");
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
                   if (id) return fault(n, "pick", "'most' and 'least' are mutually exclusive");
                   id = field(n);
                   out.most = most;
                 }};
    };
    keys(node, "pick",
         {by("most", true), by("least", false), {"count", [&](const YamlNode& n) { count(n, out.count, 1000); }}});
    if (!id) {
      if (find(node, "most") == nullptr && find(node, "least") == nullptr) {
        fault(node, "pick", "field is missing (example: { most: memory_current })");
      }
      return;
    }
    if (catalogue_.field(*id).kind == model::MetricKind::counter) {
      return fault(node, "pick",
                   in_quotes(catalogue_.field(*id).name) + " is a counter (pick by the value of a gauge)");
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
    keys(node, "schedule",
         {{"time",
           [&](const YamlNode& n) {
             const auto window = value(n, Expected{"time window", "example: 20:00-06:00"},
                                       [](std::string_view t) -> std::optional<std::pair<int, int>> {
                                         const auto from = parse_time_of_day(base::take_until(t, '-'));
                                         const auto to = parse_time_of_day(t);
                                         if (!from || !to || *from == *to) return std::nullopt;
                                         return std::pair(*from, *to);
                                       });
             if (window) std::tie(out.schedule.from, out.schedule.to) = *window;
           }},
          {"days", [&](const YamlNode& n) {
             if (const auto mask = value(n, Expected{"day list", "examples: mon-fri; sat,sun"},
                                         [this](std::string_view t) { return days(t); })) {
               out.schedule.days = *mask;
             }
           }}});
  }

  Trigger trigger(const YamlNode& node, Rule& rule, int depth = 0) {
    Trigger out;
    if (node.kind == YamlNode::Kind::scalar && node.text == "always") return out;
    if (node.kind != YamlNode::Kind::map) {
      fault(node, "when",
            "must be a condition, a schedule, 'all' or 'any' with a list of conditions and schedules, or always");
      return out;
    }
    if (depth > 4) {
      fault(node, "when", "nested more than 4 levels deep");
      return out;
    }
    for (const auto& [key, op] :
         {std::pair<std::string_view, Trigger::Op>{"all", Trigger::Op::all}, {"any", Trigger::Op::any}}) {
      const auto* const list = find(node, key);
      if (list == nullptr) continue;
      out.op = op;
      keys(node, "when", {{key, [](const YamlNode&) {}}});
      const KeyScope scope(key_, key);
      each(*list, [&](const YamlNode& one) { out.parts.push_back(trigger(one, rule, depth + 1)); });
      if (list->kind == YamlNode::Kind::list && list->items.empty()) fault(*list, "list is empty");
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
      return fault(node, "limit", "must be a map of setting keys to values (example: { memory.high: 512MiB })");
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
          return read ? fault(n, "must be an absolute value (no percentage or change)")
                      : add_problem(n, read.error().what);
        }
        out = read->value;
      };
      if (item.kind == YamlNode::Kind::map) {
        amount = {};
        amount.mark = item.mark;
        keys(item, "limit",
             {{"to", [&](const YamlNode& n) { amount = n; }},
              {"min", [&](const YamlNode& n) { bound(n, least); }},
              {"max", [&](const YamlNode& n) { bound(n, most); }}});
      }
      const KeyScope scope(key_, key.text);
      const auto written = text(amount);
      if (amount.kind != YamlNode::Kind::scalar) continue;
      auto read = model::parse_setting(name, device, written);
      if (!read) {
        add_problem(model::find_setting_key(name) == nullptr ? key : amount, read.error().what);
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
    if (node.kind != YamlNode::Kind::map) return fault(node, "kill", "must be 'now' or a map (keys: signal, grace)");
    keys(node, "kill",
         {{"signal",
           [&](const YamlNode& n) {
             if (const auto s = value(n, Expected{"signal", "example: TERM"}, model::signal_of)) step.signal = *s;
           }},
          {"grace", [&](const YamlNode& n) { duration(n, step.grace, 0s, 10min); }}});
  }

  void reclaim(const YamlNode& node, Step& step) {
    if (node.kind == YamlNode::Kind::scalar && node.text.ends_with('%')) {
      step.ratio = value(node, Expected{"percentage", "use more than 0% and at most 100%"}, [](std::string_view t) {
        const auto part = parse_percent(t);
        return part && *part > 0 && *part <= 1 ? part : std::nullopt;
      });
      return;
    }
    const auto bytes =
        value(node, Expected{"amount", "use a size such as 256MiB or a percentage of the memory in use such as 1%"},
              [](std::string_view t) {
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
    keys(node, "step",
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
    if (verbs != 1) {
      return fault(node, "step", "exactly one of notify, reclaim, limit, freeze and kill is required");
    }
    if (forced != nullptr && out.kind != Step::Kind::limit) fault(*forced, "force", "only allowed with 'limit'");
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
                       fault(n, "invalid rule name " + in_quotes(out.name) +
                                    " (use at most 64 letters, digits, '-', '_' and '.')");
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
    keys(node, "rule", known);
    if (node.kind != YamlNode::Kind::map) return;
    if (out.name.empty()) return fault(node, "rule", "key 'name' is missing");
    const auto object = "rule " + in_quotes(out.name);
    if (!names_.insert(out.name).second) fault(node, object, "defined twice in this file");
    if (enabled && !matched) fault(node, object, "key 'match' is missing (it selects the cgroups)");
    if (enabled && !triggered) fault(node, object, "key 'when' is missing (use always for no condition)");
    if (enabled && find(node, "do") == nullptr) fault(node, object, "key 'do' is missing (it lists the steps)");
    out.file = file_;
    out.mark = node.mark;
    out.fingerprint = fingerprint_of(node);
    for (const auto& one : {std::to_string(out.dry_run), std::to_string(out.cooldown.count()),
                            std::to_string(out.lease.count()), std::to_string(out.hold.count())}) {
      out.fingerprint = mix(out.fingerprint, one);
    }
    std::erase_if(policy.rules, [&](const Rule& before) { return before.name == out.name; });
    if (policy.rules.size() >= kMaxRules) {
      return fault(node, "rules", "more than " + std::to_string(kMaxRules) + " rules");
    }
    if (enabled) policy.rules.push_back(std::move(out));
  }

  const std::string& file_;
  bool main_;
  const model::Catalogue& catalogue_;
  Defaults defaults_;
  Problems& problems_;
  std::vector<std::string_view> fields_;
  std::set<std::string> names_;
  std::string_view key_ = "policy file";
};

// Why another user could change the file or directory; empty if only root and the user of this process can.
std::string why_untrusted(const struct stat& st) {
  if (st.st_uid != 0 && st.st_uid != ::geteuid()) {
    return "owned by user " + std::to_string(st.st_uid) +
           ", which is neither root nor the user of this process (change the owner with chown)";
  }
  const bool sticky_dir = S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX) != 0;
  if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !sticky_dir) {
    return "writable by group or others (run chmod go-w)";
  }
  return {};
}

class PolicyFileReader {
 public:
  PolicyFileReader(LoadedPolicy& loaded, Owners owners) : loaded_(loaded), owners_(owners) {}

  // Appends the text of the file. A file that is missing or unreadable is an error.
  void read(const std::string& path, std::vector<PolicyText>& into) {
    if (into.size() >= kMaxFiles) return fault(path, "policy", "more than " + std::to_string(kMaxFiles) + " files");
    const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr), &std::free);
    if (!real) return fault(path, "file", std::string("cannot open: ") + std::strerror(errno));
    const base::Fd fd(::open(real.get(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
    struct stat st {};
    if (!fd || ::fstat(fd.get(), &st) != 0)
      return fault(path, "file", std::string("cannot open: ") + std::strerror(errno));
    if (!S_ISREG(st.st_mode)) return fault(path, "file", "not a regular file");
    if (static_cast<std::size_t>(st.st_size) > kMaxFileBytes) {
      return fault(path, "file", "larger than " + std::to_string(kMaxFileBytes / 1024) + " KiB");
    }
    if (const auto why = why_untrusted(st); !why.empty()) untrusted(path, "file", why);
    check_directories(path, real.get());
    std::string text(kMaxFileBytes + 1, '\0');
    std::size_t size = 0;
    while (size < text.size()) {
      const auto n = ::read(fd.get(), text.data() + size, text.size() - size);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fault(path, "file", std::string("cannot read: ") + std::strerror(errno));
      if (n == 0) break;
      size += static_cast<std::size_t>(n);
    }
    text.resize(size);
    into.push_back({path, std::move(text)});
  }

  // Drop-in files by name; a file in a later directory replaces one with the same name in an earlier directory.
  std::map<std::string, std::string> drop_ins(const std::vector<std::string>& dirs) {
    std::map<std::string, std::string> out;
    for (const auto& dir : dirs) {
      std::error_code error;
      std::filesystem::directory_iterator entries(dir, error);
      if (error) {
        if (error.value() != ENOENT) fault(dir, "directory", "cannot open: " + error.message());
        continue;
      }
      for (; entries != std::filesystem::directory_iterator(); entries.increment(error)) {
        const auto name = entries->path().filename().string();
        if (!name.ends_with(".yaml") || name.starts_with('.')) continue;
        if (out.size() >= kMaxFiles) {
          fault(dir, "policy", "more than " + std::to_string(kMaxFiles) + " files");
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
  void fault(const std::string& path, std::string_view object, const std::string& what) {
    loaded_.problems.push_back({path, {}, std::string(object) + ": " + what});
  }
  void untrusted(const std::string& path, const std::string& object, const std::string& why) {
    auto& list = owners_ == Owners::required ? loaded_.problems : loaded_.warnings;
    list.push_back({path, {}, object + ": " + why});
  }
  void check_directories(const std::string& path, const std::filesystem::path& real) {
    for (auto dir = real.parent_path();; dir = dir.parent_path()) {
      struct stat st {};
      if (checked_.insert(dir.string()).second && ::stat(dir.c_str(), &st) == 0) {
        if (const auto why = why_untrusted(st); !why.empty()) {
          untrusted(path, "directory " + dir.string(), why);
        }
      }
      if (dir == dir.root_path()) break;
    }
  }

  LoadedPolicy& loaded_;
  Owners owners_;
  std::set<std::string> checked_;
};

void parse(const std::vector<PolicyText>& texts, bool first_is_main,
           const std::shared_ptr<const model::Catalogue>& catalogue, LoadedPolicy& loaded) {
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
      PolicyParser parser(file, main, *catalogue, defaults, loaded.problems);
      parser.read(*top, *policy);
      if (main) defaults = parser.defaults();
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

LoadedPolicy load(const PolicySource& source, const std::shared_ptr<const model::Catalogue>& catalogue, Owners owners) {
  LoadedPolicy out;
  PolicyFileReader files(out, owners);
  std::vector<PolicyText> texts;
  if (!source.file.empty()) files.read(source.file, texts);
  for (const auto& path : source.more) files.read(path, texts);
  for (const auto& [name, path] : files.drop_ins(source.dirs)) files.read(path, texts);
  parse(texts, !source.file.empty(), catalogue, out);
  return out;
}

LoadedPolicy load_texts(const std::vector<PolicyText>& texts,
                        const std::shared_ptr<const model::Catalogue>& catalogue) {
  LoadedPolicy out;
  parse(texts, true, catalogue, out);
  return out;
}

}  // namespace cgwarden::policy
