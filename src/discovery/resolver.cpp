// SPDX-License-Identifier: Apache-2.0
#include "src/discovery/resolver.h"

#include <algorithm>
#include <span>
#include <utility>

#include "src/base/text.h"
#include "src/discovery/sizes.h"

namespace cgwarden::discovery {
namespace {

using model::Container;
using model::Role;
using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kFirstDelay = 100ms;
constexpr std::chrono::nanoseconds kMaxDelay = 60s;
constexpr std::chrono::nanoseconds kUnwatchedDelay = 30s;
// What is named is looked at once more: it may have changed between being read and being watched.
constexpr std::chrono::nanoseconds kConfirm = 1s;
// How long what a daemon told waits for its cgroup, and how much of it: a container is made before its cgroup is seen.
constexpr std::chrono::nanoseconds kExpected = 10s;
constexpr std::size_t kMaxExpected = 1024;
constexpr Watcher::Key kClaimsKey = 0;
// Of looking for claims again at once where they come faster than they can be watched.
constexpr int kMaxRounds = 4;
// Nobody may ask for them; and who comes too late for this is asked for like everybody, now and then.
constexpr std::size_t kMaxChanged = 4096;

constexpr std::string_view kContainerd = "containerd";

bool holds_others(Role role) { return role == Role::container || role == Role::machine; }

bool is_unit(std::string_view name) {
  return name.ends_with(".scope") || name.ends_with(".service") || name.ends_with(".slice");
}

// Nothing that matters is missing.
bool complete(const Container& c) { return c.name && c.pid && c.created; }

bool same(const Container& a, const Container& b) {
  const auto all_same = [&](const auto& facts) {
    return std::ranges::all_of(facts, [&](const auto& fact) { return a.*fact.member == b.*fact.member; });
  };
  const bool same_layers =
      a.image_layers == b.image_layers || (a.image_layers && b.image_layers && *a.image_layers == *b.image_layers);
  return a.role == b.role && a.labels == b.labels && same_layers && all_same(model::kTextFacts) &&
         all_same(model::kNumberFacts) && all_same(model::kTimeFacts);
}

// A cgroup is one run of its container: how it ended stays when its runtime tells it no longer.
model::ContainerPtr keep_end(const model::ContainerPtr& before, model::ContainerPtr now) {
  if (!before || !now || !before->exit_code || now->exit_code || now->pid || before->id != now->id) return now;
  if (now->state == "running") return now;
  auto out = std::make_shared<Container>(*now);
  out->exit_code = before->exit_code;
  out->state = before->state;
  if (!now->finished) out->finished = before->finished;
  for (const auto& origin : before->origins) {
    if (origin.fact == "exit_code" || (origin.fact == "state" && !now->state) ||
        (origin.fact == "finished" && !now->finished)) {
      out->origins.push_back(origin);
    }
  }
  return out;
}

// How it ended, where a daemon told that and nobody else does.
void add_end(Container& c, const Container& told) {
  if (!told.exit_code || c.exit_code || told.id != c.id) return;
  c.exit_code = told.exit_code;
  c.finished = told.finished;
  for (const auto& origin : told.origins) {
    if (origin.fact == "exit_code" || origin.fact == "finished") c.origins.push_back(origin);
  }
}

// A pod's own labels are known of its pause container alone, and are everybody's in it. Not those by which runtimes
// know the pause container itself.
bool is_pods_label(std::string_view name) {
  return !name.starts_with("io.kubernetes.") && !name.starts_with("io.cri-containerd.");
}

void add_pods_labels(Container& c, const Container& sandbox) {
  const auto origin_of = [](auto& container) {
    return std::ranges::find(container.origins, std::string_view("labels"), &Container::Origin::fact);
  };
  const auto before = c.labels.size();
  for (const auto& label : sandbox.labels) {
    if (c.labels.size() >= ContainerFacts::kMaxLabels) break;
    const auto own = std::span(c.labels).first(before);
    if (!is_pods_label(label.first) ||
        std::ranges::any_of(own, [&](const auto& mine) { return mine.first == label.first; }))
      continue;
    c.labels.push_back(label);
  }
  const auto source = origin_of(sandbox);
  if (c.labels.size() == before || source == sandbox.origins.end()) return;
  std::ranges::sort(c.labels);
  const auto mine = origin_of(c);
  if (mine == c.origins.end()) {
    c.origins.push_back(*source);
  } else if (mine->source != source->source) {
    mine->source += " and " + source->source;
  }
}

// They serve an engine, which knows more.
bool is_low_level(std::string_view runtime) { return runtime == "runc" || runtime == "crun" || runtime == "runsc"; }

// A daemon can be asked for it.
bool is_askable(const std::optional<PathMatch>& place) {
  return place && place->role == Role::container && is_engine_id(place->id);
}

Watcher::Key key_of(const model::Cgroup& cgroup) {
  const auto key = model::cgroup_key(cgroup.id, cgroup.path);
  return key == kClaimsKey ? 1 : key;
}

}  // namespace

Resolver::Resolver(Options options, std::function<void(std::string)> notice)
    : options_(std::move(options)),
      labels_(options_.labels),
      files_(options_.rootfs, options_.procfs, std::move(notice)),
      context_{files_, options_.roots},
      watcher_(options_.max_watches),
      table_(std::make_shared<model::Containers>()) {}

bool Resolver::read_states(StateContext& context, const PathMatch& place, bool known, ContainerFacts& out) {
  const bool engine = is_engine_id(place.id);
  const bool told = is_askable(place) && told_.contains(place.id);
  for (const auto& row : state_rows()) {
    if (!is_file_name(place.id)) break;
    const bool own = row.runtime == place.runtime;
    if (!own && !(engine && row.engine_ids && (known || place.runtime.empty() || is_low_level(row.title)))) continue;
    if (known && complete(out.facts())) break;
    if (row.read(context, place.id, out) != Answer::found) continue;
    if (row.title != place.runtime && (own || (!known && place.runtime.empty())) &&
        !(told && is_low_level(row.title))) {
      out.set(&Container::runtime, std::string(row.title));
    }
    known = true;
  }
  return known;
}

model::ContainerPtr Resolver::find_out(const Entry& entry, bool& named) {
  named = true;
  const auto& place = entry.place;
  const auto* claim = claims_.find(entry.cgroup->path);
  if (!place && claim == nullptr) return nullptr;
  if (place && !model::is_workload(place->role)) claim = nullptr;

  ContainerFacts out(labels_);
  bool known = false;
  const auto told = told_.find(entry.daemon_id);
  if (claim != nullptr) {
    // Its own root and no other: ids such as "web" are not unique.
    const auto roots = roots_of(claim->title, claim->root);
    StateContext own{files_, roots};
    for (const auto& row : state_rows()) {
      if (row.title != claim->title) continue;
      known = row.read(own, claim->id, out) == Answer::found;
      out.from("path of the cgroup in " + claim->root);
      out.set(&Container::runtime, std::string(claim->title));
    }
    if (told != told_.end() && claim->title == kContainerd) out.fill(*told->second.container);
  } else if (place->role == Role::container || place->role == Role::machine) {
    if (auto* const users = is_askable(place) ? users_.state_of(entry.cgroup->path) : nullptr) {
      known = read_states(*users, *place, false, out);
      // It is the user's word, and could be anybody's process.
      if (out.facts().pid && !is_in_cgroup(options_.procfs, *out.facts().pid, entry.cgroup->path)) out.drop_pid();
    }
    if (!known) known = read_states(context_, *place, false, out);
    if (told != told_.end()) {
      out.fill(*told->second.container);
      known = true;
    }
    if (!known && !place->certain) {
      named = false;
      return nullptr;
    }
  }

  const auto path = std::string_view(entry.cgroup->path);
  if (place) {
    out.from("path");
    out.set(&Container::runtime, std::string(place->runtime));
    if (claim == nullptr) {
      out.set(place->runtime == "systemd" ? &Container::unit : &Container::id, place->id);
      if (place->named) out.set(&Container::name, place->id);
    }
    out.set(&Container::pod_uid, place->pod_uid);
    out.set(&Container::qos, std::string(place->qos));
    if (out.facts().role == Role::container) out.set_role(place->role);
  }
  if (is_unit(base::last_part(path))) {
    out.from("path");
    out.set(&Container::unit, base::to_utf8(base::last_part(path)));
  }
  if (place && place->runtime == "systemd") {
    out.from("path");
    out.set(&Container::slice, base::to_utf8(slice_around(path)));
    out.set(&Container::uid, std::string(user_of(path)));
  }
  // A pause container has no name of its own, and of the others the path says what there is to say.
  if (out.facts().role == Role::container || out.facts().role == Role::machine) {
    named = known && out.facts().name.has_value();
  }
  return std::make_shared<const Container>(out.take());
}

void Resolver::plan(Entry& entry, bool again, base::Monotonic now) {
  if (!entry.named) {
    entry.delay = again ? std::min(entry.delay * 2, kMaxDelay) : kFirstDelay;
    entry.due = now + entry.delay;
  } else if (!entry.watched) {
    entry.due = now + kUnwatchedDelay;
  } else {
    entry.due = again ? base::Monotonic::max() : now + kConfirm;
  }
}

bool Resolver::look_up(Key key, Entry& entry, base::Monotonic now) {
  ++lookups_;
  const bool again = entry.delay != 0ns || entry.due != base::Monotonic::max();
  files_.take_looks();
  // An id that was known once stays: the state that claims a cgroup may go before the cgroup does.
  if (auto id = daemon_id(entry); !id.empty()) entry.daemon_id = std::move(id);
  bool named = false;
  auto found = find_out(entry, named);
  // Its runtime is about to forget it, or writes its state anew: the cgroup is the same, so what was known stays.
  if (entry.known && !(found && named)) {
    found = entry.container;
    named = true;
  }
  found = keep_end(entry.container, std::move(found));
  entry.named = named;
  entry.known = found && named;
  const auto looks = files_.take_looks();
  const bool other = (found == nullptr) != (entry.container == nullptr) ||
                     (found && entry.container && !same(*found, *entry.container));
  if (other) entry.container = std::move(found);
  if (looks.empty()) {  // the path says all
    entry.due = base::Monotonic::max();
    waiting_.erase(key);
    watcher_.forget(key);
    return other;
  }
  entry.watched = watcher_.watch(key, looks, files_).all;
  plan(entry, again, now);
  if (entry.due == base::Monotonic::max()) {
    waiting_.erase(key);
  } else {
    waiting_.insert(key);
  }
  return other;
}

// Its runtime may say how it ended, or have forgotten it: then what was known before stays.
void Resolver::look_up_ended(Key key, Ended& ended) {
  ++lookups_;
  bool named = false;
  files_.take_looks();
  auto found = keep_end(ended.entry.container, find_out(ended.entry, named));
  watcher_.watch(key, files_.take_looks(), files_);
  auto fresh = found && named && found->id == ended.entry.container->id
                   ? std::make_shared<Container>(*found)
                   : std::make_shared<Container>(*ended.entry.container);
  if (const auto told = told_.find(ended.entry.daemon_id); told != told_.end())
    add_end(*fresh, *told->second.container);
  fresh->pid.reset();
  if (fresh->state == "running" || fresh->state == "paused" || !fresh->state) {
    fresh->state = "exited";
    std::erase_if(fresh->origins, [](const auto& origin) { return origin.fact == "state" || origin.fact == "pid"; });
    fresh->origins.push_back({"state", "the cgroup is gone"});
  }
  ended.entry.container = std::move(fresh);
}

bool Resolver::refresh_claims(base::Monotonic now) {
  const auto problems = [this] { return files_.stats().broken + files_.stats().refused + files_.stats().denied; };
  const auto before = problems();
  // Until all that is looked at was watched before the look: a claim that is written between the two goes unnoticed.
  Watcher::Watched watched{.fresh = true};
  for (int round = 0; watched.fresh && round < kMaxRounds; ++round) {
    files_.take_looks();
    claims_.refresh(context_);
    watched = watcher_.watch(kClaimsKey, files_.take_looks(), files_);
  }
  if (watched.fresh || problems() != before) {
    claims_delay_ = std::clamp<std::chrono::nanoseconds>(claims_delay_ * 2, kFirstDelay, kMaxDelay);
  } else {
    claims_delay_ = 0ns;
  }
  claims_due_ = claims_delay_ != 0ns ? now + claims_delay_
                : watched.all        ? base::Monotonic::max()
                                     : now + kUnwatchedDelay;
  bool other = false;
  for (auto& [key, entry] : entries_) {
    if (entry.place && (!model::is_workload(entry.place->role) || entry.place->role == Role::pod)) continue;
    const bool claimed = claims_.find(entry.cgroup->path) != nullptr;
    const bool by_path = entry.place && entry.place->certain;
    if (claimed || (!by_path && entry.container)) other = look_up(key, entry, now) || other;
  }
  return other;
}

std::shared_ptr<const model::Containers> Resolver::resolve(const std::shared_ptr<const model::CgroupList>& cgroup_list,
                                                           base::Monotonic now) {
  refresh(now);
  if (!cgroup_list || cgroup_list == cgroup_list_) return table_;
  cgroup_list_ = cgroup_list;
  ++round_;
  std::vector<Key> observed;
  for (const auto& cgroup : cgroup_list->cgroups) {
    const auto key = key_of(*cgroup);
    auto [at, fresh] = entries_.try_emplace(key);
    at->second.seen = round_;
    if (!fresh) continue;
    at->second.cgroup = cgroup;
    at->second.place = locate(cgroup->path);
    observed.push_back(key);
  }
  // First what has ended: its state file may be another one's by and by.
  for (auto at = entries_.begin(); at != entries_.end();) {
    if (at->second.seen == round_) {
      ++at;
      continue;
    }
    const auto key = at->first;
    waiting_.erase(key);
    watcher_.forget(key);
    auto entry = std::move(at->second);
    at = entries_.erase(at);
    if (!entry.daemon_id.empty()) changed(entry.daemon_id);
    if (!entry.container || !holds_others(entry.container->role)) continue;
    const auto [ended, fresh] = ended_.try_emplace(key);
    if (fresh) ended_order_.push_back(key);
    ended->second = {std::move(entry), now, base::wall_now()};
    look_up_ended(key, ended->second);
  }
  for (const auto key : observed) {
    auto& entry = entries_.at(key);
    // How it ended was its last life; the rest may have been told of this one, before its cgroup was seen.
    if (const auto told = told_.find(daemon_id(entry)); told != told_.end() && told->second.container->exit_code) {
      changed(told->first);
      told_.erase(told);
    }
    look_up(key, entry, now);
    if (!entry.container || !holds_others(entry.container->role)) continue;
    // Started again: it has not ended.
    std::erase_if(ended_, [&](const auto& one) {
      const auto& old = *one.second.entry.container;
      if (old.id != entry.container->id || old.runtime != entry.container->runtime || !old.id) return false;
      watcher_.forget(one.first);
      std::erase(ended_order_, one.first);
      return true;
    });
  }
  drop_ended(now);
  forget_reported(now);
  publish();
  return table_;
}

bool Resolver::refresh(base::Monotonic now) {
  bool all = false;
  auto told = watcher_.take_events(all);
  if (all) {
    for (const auto& [key, _] : entries_) told.insert(key);
    for (const auto& [key, _] : ended_) told.insert(key);
    told.insert(kClaimsKey);
  }
  bool other = false;
  if (told.erase(kClaimsKey) != 0 || claims_due_ <= now) other = refresh_claims(now);
  for (const auto key : told) {
    if (const auto at = entries_.find(key); at != entries_.end()) {
      at->second.delay = 0ns;  // something happened: look often again
      at->second.due = base::Monotonic::max();
      other = look_up(key, at->second, now) || other;
    } else if (const auto gone = ended_.find(key); gone != ended_.end()) {
      const auto before = gone->second.entry.container;
      look_up_ended(key, gone->second);
      other = other || !same(*before, *gone->second.entry.container);
    }
  }
  std::vector<Key> due;
  for (const auto key : waiting_) {
    if (entries_.at(key).due <= now) due.push_back(key);
  }
  for (const auto key : due) other = look_up(key, entries_.at(key), now) || other;
  other = drop_ended(now) || other;
  if (other) publish();
  return other;
}

std::string Resolver::daemon_id(const Entry& entry) const {
  const auto& place = entry.place;
  const auto* claim = claims_.find(entry.cgroup->path);
  if (claim != nullptr && claim->title == kContainerd && (!place || model::is_workload(place->role))) return claim->id;
  return is_askable(place) ? place->id : std::string();
}

void Resolver::changed(const std::string& id) {
  if (turned_.size() < kMaxChanged) turned_.push_back(id);
}

std::vector<std::string> Resolver::wanted(std::string_view title) const {
  std::unordered_set<std::string> out;
  const auto want = [&](const Entry& entry) {
    if (entry.daemon_id.empty()) return;
    const auto* c = entry.container.get();
    // "<namespace>/<id>" is an id of containerd's alone.
    std::string_view runtime = is_engine_id(entry.daemon_id) ? entry.place->runtime : kContainerd;
    if (runtime.empty() && c != nullptr && c->runtime && !is_low_level(*c->runtime)) runtime = *c->runtime;
    if (!runtime.empty() && runtime != title) return;
    // Docker's file has all that Docker knows; Podman's labels are in its database only, as containerd's images are.
    const bool by_file = c != nullptr && std::ranges::any_of(c->origins, [](const auto& origin) {
                           return origin.fact == "name" && origin.source.starts_with('/');
                         });
    if (title != "docker" || !by_file) out.insert(entry.daemon_id);
  };
  for (const auto& [_, entry] : entries_) want(entry);
  for (const auto& [_, ended] : ended_) {
    const auto& c = *ended.entry.container;
    if (!c.exit_code || !c.finished) want(ended.entry);
  }
  return {out.begin(), out.end()};
}

bool Resolver::look_up_reported(const std::unordered_set<std::string>& ids, base::Monotonic now) {
  if (ids.empty()) return false;
  bool other = false;
  for (auto& [key, entry] : entries_) {
    if (ids.contains(entry.daemon_id)) other = look_up(key, entry, now) || other;
  }
  for (auto& [key, ended] : ended_) {
    if (!ids.contains(ended.entry.daemon_id)) continue;
    const auto before = ended.entry.container;
    look_up_ended(key, ended);
    other = other || !same(*before, *ended.entry.container);
  }
  if (other) publish();
  return other;
}

bool Resolver::tell(std::string_view title, const Daemon::Told& told, base::Monotonic now) {
  std::unordered_set<std::string> changed;
  for (const auto& [id, container] : told) {
    if (!container) continue;
    const auto before = told_.find(id);
    if (before == told_.end()) {
      if (told_.size() >= entries_.size() + kMaxExpected) continue;
    } else if (before->second.container->runtime != title) {
      continue;
    } else if (same(*before->second.container, *container)) {
      before->second.at = now;
      continue;
    }
    told_[id] = {container, now};
    changed.insert(id);
  }
  return look_up_reported(changed, now);
}

bool Resolver::record_exit(const std::string& id, std::int64_t exit_code, std::optional<base::Wall> finished,
                           const std::string& source, base::Monotonic now) {
  const auto before = told_.find(id);
  if (before == told_.end() &&
      std::ranges::none_of(entries_, [&](const auto& one) { return one.second.daemon_id == id; }) &&
      std::ranges::none_of(ended_, [&](const auto& one) { return one.second.entry.daemon_id == id; })) {
    return false;
  }
  ContainerFacts end(labels_);
  end.from(source);
  end.set(&Container::runtime, std::string(kContainerd));
  end.set(&Container::id, id.substr(id.find('/') + 1));
  end.set(&Container::state, "exited");
  end.set(&Container::exit_code, exit_code);
  end.set(&Container::finished, finished);
  if (before != told_.end()) end.fill(*before->second.container);
  told_[id] = {std::make_shared<const Container>(end.take()), now};
  return look_up_reported({id}, now);
}

bool Resolver::invalidate(std::string_view title, base::Monotonic now) {
  std::unordered_set<std::string> changed;
  for (auto& [id, told] : told_) {
    const auto& container = *told.container;
    if (container.runtime != title || !(container.state || container.health || container.restart_count)) continue;
    auto sure = std::make_shared<Container>(container);
    sure->state.reset();
    sure->health.reset();
    sure->restart_count.reset();
    told.container = std::move(sure);
    changed.insert(id);
  }
  return look_up_reported(changed, now);
}

// What was told of cgroups that are gone, also from the list of the ended.
void Resolver::forget_reported(base::Monotonic now) {
  if (told_.empty()) return;
  std::unordered_set<std::string_view> there;
  for (const auto& [_, entry] : entries_) there.insert(entry.daemon_id);
  for (const auto& [_, ended] : ended_) there.insert(ended.entry.daemon_id);
  std::erase_if(told_, [&](const auto& one) { return !there.contains(one.first) && one.second.at + kExpected <= now; });
}

bool Resolver::drop_ended(base::Monotonic now) {
  bool dropped = false;
  while (!ended_order_.empty()) {
    const auto key = ended_order_.front();
    if (ended_.size() <= options_.max_ended && ended_.at(key).gone + options_.ended_for > now) break;
    watcher_.forget(key);
    ended_.erase(key);
    ended_order_.pop_front();
    dropped = true;
  }
  return dropped;
}

std::optional<base::Monotonic> Resolver::next() const {
  auto first = claims_due_;
  for (const auto key : waiting_) first = std::min(first, entries_.at(key).due);
  if (!ended_order_.empty()) first = std::min(first, ended_.at(ended_order_.front()).gone + options_.ended_for);
  if (first == base::Monotonic::max()) return std::nullopt;
  return first;
}

void Resolver::publish() {
  auto table = std::make_shared<model::Containers>();
  table->generation = ++generation_;
  named_ = unnamed_ = 0;
  // What only the cgroups together tell: who is around whom, and the names of pods.
  std::unordered_map<std::string, const Container*> pods;       // by uid: one of its containers
  std::unordered_map<std::string, const Container*> sandboxes;  // by uid: those with labels of the pod's
  for (const auto& [_, entry] : entries_) {
    const auto* c = entry.container.get();
    if (c != nullptr && c->role != Role::pod && c->pod_uid && c->pod) pods[*c->pod_uid] = c;
    if (c != nullptr && c->role == Role::sandbox && c->pod_uid &&
        std::ranges::any_of(c->labels, [](const auto& label) { return is_pods_label(label.first); })) {
      sandboxes[*c->pod_uid] = c;
    }
  }
  const auto count = cgroup_list_ ? cgroup_list_->cgroups.size() : 0;
  std::vector<const Container*> around(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto& cgroup = *cgroup_list_->cgroups[i];
    const auto key = key_of(cgroup);
    const auto at = entries_.find(key);
    const auto parent = cgroup_list_->parents[i];
    const Container* outer = nullptr;
    if (parent != model::kNoCgroup) outer = around[parent];
    around[i] = outer;
    if (at == entries_.end() || !at->second.container) continue;
    auto container = at->second.container;
    const auto told = container->role == Role::pod && container->pod_uid ? pods.find(*container->pod_uid) : pods.end();
    const auto sandbox =
        container->role != Role::sandbox && container->pod_uid ? sandboxes.find(*container->pod_uid) : sandboxes.end();
    if (outer != nullptr || told != pods.end() || sandbox != sandboxes.end()) {
      auto copy = std::make_shared<Container>(*container);
      if (outer != nullptr && (outer->id || outer->name)) {
        copy->parent = outer->id ? outer->id : outer->name;
        copy->origins.push_back({"parent", "cgroups above"});
      }
      if (told != pods.end() && !copy->pod) {
        copy->pod = told->second->pod;
        copy->pod_namespace = told->second->pod_namespace;
        copy->origins.push_back({"pod", "cgroups below"});
        copy->origins.push_back({"namespace", "cgroups below"});
      }
      if (sandbox != sandboxes.end()) add_pods_labels(*copy, *sandbox->second);
      container = std::move(copy);
    }
    if (holds_others(container->role)) {
      around[i] = at->second.container.get();
      ++(container->name ? named_ : unnamed_);
    }
    table->by_cgroup.emplace(model::cgroup_key(cgroup.id, cgroup.path), std::move(container));
  }
  for (const auto key : ended_order_) {
    const auto& ended = ended_.at(key);
    table->ended.push_back({ended.entry.cgroup->id, ended.entry.cgroup->path, ended.gone_wall, ended.entry.container});
  }
  table_ = std::move(table);
}

Resolver::Stats Resolver::stats() const {
  Stats out;
  out.files = files_.stats();
  out.watches = watcher_.watches();
  out.ended = ended_.size();
  out.lookups = lookups_;
  out.named = named_;
  out.unnamed = unnamed_;
  return out;
}

}  // namespace cgwarden::discovery
