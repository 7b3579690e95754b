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
// A named cgroup is looked up once more: its state may have changed between the read and the inotify watch.
constexpr std::chrono::nanoseconds kConfirm = 1s;
// A container is created before its cgroup appears in a list: how long and how many reports are kept until then.
constexpr std::chrono::nanoseconds kEarlyFactsLifetime = 10s;
constexpr std::size_t kMaxEarlyFacts = 1024;
constexpr Watcher::Key kClaimsKey = 0;
// Immediate repetitions of the search for claims if new ones appear faster than they can be watched.
constexpr int kMaxRounds = 4;
// Bound of the list for take_changed(), which may never be called. Ids beyond it are queried again at the usual
// interval.
constexpr std::size_t kMaxChanged = 4096;

constexpr std::string_view kContainerd = "containerd";

bool may_contain_containers(Role role) { return role == Role::container || role == Role::machine; }

bool is_unit(std::string_view name) {
  return name.ends_with(".scope") || name.ends_with(".service") || name.ends_with(".slice");
}

// True if the facts that every runtime has are known.
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

// A cgroup is one run of its container: keeps the exit facts if the runtime no longer reports them.
model::ContainerPtr keep_exit(const model::ContainerPtr& before, model::ContainerPtr now) {
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

// Adds the exit facts of a daemon's report if no other source has them.
void add_exit(Container& c, const Container& report) {
  if (!report.exit_code || c.exit_code || report.id != c.id) return;
  c.exit_code = report.exit_code;
  c.finished = report.finished;
  for (const auto& origin : report.origins) {
    if (origin.fact == "exit_code" || origin.fact == "finished") c.origins.push_back(origin);
  }
}

// The labels of a pod are stored with its sandbox (pause) container and apply to all containers of the pod, except for
// those that identify the sandbox itself.
bool is_pod_label(std::string_view name) {
  return !name.starts_with("io.kubernetes.") && !name.starts_with("io.cri-containerd.");
}

void add_pod_labels(Container& c, const Container& sandbox) {
  const auto origin_of = [](auto& container) {
    return std::ranges::find(container.origins, std::string_view("labels"), &Container::Origin::fact);
  };
  const auto before = c.labels.size();
  for (const auto& label : sandbox.labels) {
    if (c.labels.size() >= ContainerFacts::kMaxLabels) break;
    const auto own = std::span(c.labels).first(before);
    if (!is_pod_label(label.first) ||
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

// Low-level runtimes run on behalf of a container manager, which has more facts.
bool is_low_level(std::string_view runtime) { return runtime == "runc" || runtime == "crun" || runtime == "runsc"; }

// True if a daemon can be queried for it.
bool can_query(const std::optional<PathMatch>& match) {
  return match && match->role == Role::container && is_container_id(match->id);
}

Watcher::Key key_of(const model::Cgroup& cgroup) {
  const auto key = model::cgroup_key(cgroup.id, cgroup.path);
  return key == kClaimsKey ? 1 : key;
}

}  // namespace

Resolver::Resolver(Options options, std::function<void(std::string)> log)
    : options_(std::move(options)),
      labels_(options_.labels),
      files_(options_.rootfs, options_.procfs, std::move(log)),
      context_{files_, options_.roots},
      watcher_(options_.max_watches),
      table_(std::make_shared<model::Containers>()) {}

bool Resolver::read_states(StateContext& context, const PathMatch& match, bool known, ContainerFacts& out) {
  const bool generated_id = is_container_id(match.id);
  const bool reported = can_query(match) && daemon_facts_.contains(match.id);
  for (const auto& row : state_rows()) {
    if (!is_file_name(match.id)) break;
    const bool own = row.runtime == match.runtime;
    if (!own && !(generated_id && row.unique_ids && (known || match.runtime.empty() || is_low_level(row.title))))
      continue;
    if (known && complete(out.facts())) break;
    if (row.read(context, match.id, out) != FileStatus::found) continue;
    if (row.title != match.runtime && (own || (!known && match.runtime.empty())) &&
        !(reported && is_low_level(row.title))) {
      out.set(&Container::runtime, std::string(row.title));
    }
    known = true;
  }
  return known;
}

model::ContainerPtr Resolver::collect_facts(const Entry& entry, bool& named) {
  named = true;
  const auto& match = entry.match;
  const auto* claim = claims_.find(entry.cgroup->path);
  if (!match && claim == nullptr) return nullptr;
  if (match && !model::is_workload(match->role)) claim = nullptr;

  ContainerFacts out(labels_);
  bool known = false;
  const auto report = daemon_facts_.find(entry.daemon_id);
  if (claim != nullptr) {
    // Search only the root that claims the cgroup: ids such as "web" are not unique.
    const auto roots = roots_of(claim->title, claim->root);
    StateContext own{files_, roots};
    for (const auto& row : state_rows()) {
      if (row.title != claim->title) continue;
      known = row.read(own, claim->id, out) == FileStatus::found;
      out.from("cgroup path in " + claim->root);
      out.set(&Container::runtime, std::string(claim->title));
    }
    if (report != daemon_facts_.end() && claim->title == kContainerd) out.fill(*report->second.container);
  } else if (match->role == Role::container || match->role == Role::machine) {
    if (auto* const users = can_query(match) ? users_.state_of(entry.cgroup->path) : nullptr) {
      known = read_states(*users, *match, false, out);
      // The pid comes from a file that the user controls, so verify that the process is in the cgroup.
      if (out.facts().pid && !is_in_cgroup(options_.procfs, *out.facts().pid, entry.cgroup->path)) out.drop_pid();
    }
    if (!known) known = read_states(context_, *match, false, out);
    if (report != daemon_facts_.end()) {
      out.fill(*report->second.container);
      known = true;
    }
    if (!known && !match->certain) {
      named = false;
      return nullptr;
    }
  }

  const auto path = std::string_view(entry.cgroup->path);
  if (match) {
    out.from("path");
    out.set(&Container::runtime, std::string(match->runtime));
    if (claim == nullptr) {
      out.set(match->runtime == "systemd" ? &Container::unit : &Container::id, match->id);
      if (match->named) out.set(&Container::name, match->id);
    }
    out.set(&Container::pod_uid, match->pod_uid);
    out.set(&Container::qos, std::string(match->qos));
    if (out.facts().role == Role::container) out.set_role(match->role);
  }
  if (is_unit(base::last_part(path))) {
    out.from("path");
    out.set(&Container::unit, base::to_utf8(base::last_part(path)));
  }
  if (match && match->runtime == "systemd") {
    out.from("path");
    out.set(&Container::slice, base::to_utf8(enclosing_slice(path)));
    out.set(&Container::uid, std::string(user_of(path)));
  }
  // Only containers and machines have names that may become known later; for other roles the path is the only source.
  if (out.facts().role == Role::container || out.facts().role == Role::machine) {
    named = known && out.facts().name.has_value();
  }
  return std::make_shared<const Container>(out.take());
}

void Resolver::schedule(Entry& entry, bool repeated, base::Monotonic now) {
  if (!entry.named) {
    entry.delay = repeated ? std::min(entry.delay * 2, kMaxDelay) : kFirstDelay;
    entry.due = now + entry.delay;
  } else if (!entry.watched) {
    entry.due = now + kUnwatchedDelay;
  } else {
    entry.due = repeated ? base::Monotonic::max() : now + kConfirm;
  }
}

bool Resolver::look_up(Key key, Entry& entry, base::Monotonic now) {
  ++lookups_;
  const bool repeated = entry.delay != 0ns || entry.due != base::Monotonic::max();
  files_.take_watch_keys();
  // Keep a known id: the state file that claims a cgroup may be removed before the cgroup.
  if (auto id = daemon_id(entry); !id.empty()) entry.daemon_id = std::move(id);
  bool named = false;
  auto found = collect_facts(entry, named);
  // The runtime is removing or rewriting its state. The cgroup is the same, so keep the known facts.
  if (entry.known && !(found && named)) {
    found = entry.container;
    named = true;
  }
  found = keep_exit(entry.container, std::move(found));
  entry.named = named;
  entry.known = found && named;
  const auto watch_keys = files_.take_watch_keys();
  const bool modified = (found == nullptr) != (entry.container == nullptr) ||
                        (found && entry.container && !same(*found, *entry.container));
  if (modified) entry.container = std::move(found);
  if (watch_keys.empty()) {  // no state file is involved
    entry.due = base::Monotonic::max();
    waiting_.erase(key);
    watcher_.forget(key);
    return modified;
  }
  entry.watched = watcher_.watch(key, watch_keys, files_).all;
  schedule(entry, repeated, now);
  if (entry.due == base::Monotonic::max()) {
    waiting_.erase(key);
  } else {
    waiting_.insert(key);
  }
  return modified;
}

// Reads exit facts from the runtime's state; if the state has been removed, keeps the facts known before.
void Resolver::look_up_exited(Key key, Exited& exited) {
  ++lookups_;
  bool named = false;
  files_.take_watch_keys();
  auto found = keep_exit(exited.entry.container, collect_facts(exited.entry, named));
  watcher_.watch(key, files_.take_watch_keys(), files_);
  auto fresh = found && named && found->id == exited.entry.container->id
                   ? std::make_shared<Container>(*found)
                   : std::make_shared<Container>(*exited.entry.container);
  if (const auto report = daemon_facts_.find(exited.entry.daemon_id); report != daemon_facts_.end())
    add_exit(*fresh, *report->second.container);
  fresh->pid.reset();
  if (fresh->state == "running" || fresh->state == "paused" || !fresh->state) {
    fresh->state = "exited";
    std::erase_if(fresh->origins, [](const auto& origin) { return origin.fact == "state" || origin.fact == "pid"; });
    fresh->origins.push_back({"state", "cgroup was removed"});
  }
  exited.entry.container = std::move(fresh);
}

bool Resolver::refresh_claims(base::Monotonic now) {
  const auto error_count = [this] { return files_.stats().broken + files_.stats().refused + files_.stats().denied; };
  const auto before = error_count();
  // Repeat until every directory was watched before it was read: a claim written between read and watch is missed.
  Watcher::Watched watched{.fresh = true};
  for (int round = 0; watched.fresh && round < kMaxRounds; ++round) {
    files_.take_watch_keys();
    claims_.refresh(context_);
    watched = watcher_.watch(kClaimsKey, files_.take_watch_keys(), files_);
  }
  if (watched.fresh || error_count() != before) {
    claims_delay_ = std::clamp<std::chrono::nanoseconds>(claims_delay_ * 2, kFirstDelay, kMaxDelay);
  } else {
    claims_delay_ = 0ns;
  }
  claims_due_ = claims_delay_ != 0ns ? now + claims_delay_
                : watched.all        ? base::Monotonic::max()
                                     : now + kUnwatchedDelay;
  bool modified = false;
  for (auto& [key, entry] : entries_) {
    if (entry.match && (!model::is_workload(entry.match->role) || entry.match->role == Role::pod)) continue;
    const bool claimed = claims_.find(entry.cgroup->path) != nullptr;
    const bool by_path = entry.match && entry.match->certain;
    if (claimed || (!by_path && entry.container)) modified = look_up(key, entry, now) || modified;
  }
  return modified;
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
    at->second.match = locate(cgroup->path);
    observed.push_back(key);
  }
  // Process removed cgroups first: their state files may be replaced by those of new containers.
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
    if (!entry.daemon_id.empty()) mark_changed(entry.daemon_id);
    if (!entry.container || !may_contain_containers(entry.container->role)) continue;
    const auto [exited, fresh] = exited_.try_emplace(key);
    if (fresh) exited_order_.push_back(key);
    exited->second = {std::move(entry), now, base::wall_now()};
    look_up_exited(key, exited->second);
  }
  for (const auto key : observed) {
    auto& entry = entries_.at(key);
    // An exit code belongs to the previous run. Other facts may have been reported before this cgroup was seen.
    if (const auto report = daemon_facts_.find(daemon_id(entry));
        report != daemon_facts_.end() && report->second.container->exit_code) {
      mark_changed(report->first);
      daemon_facts_.erase(report);
    }
    look_up(key, entry, now);
    if (!entry.container || !may_contain_containers(entry.container->role)) continue;
    // The container was restarted: remove its entry as an exited one.
    std::erase_if(exited_, [&](const auto& one) {
      const auto& old = *one.second.entry.container;
      if (old.id != entry.container->id || old.runtime != entry.container->runtime || !old.id) return false;
      watcher_.forget(one.first);
      std::erase(exited_order_, one.first);
      return true;
    });
  }
  drop_exited(now);
  drop_stale_facts(now);
  publish();
  return table_;
}

bool Resolver::refresh(base::Monotonic now) {
  bool all = false;
  auto affected = watcher_.take_events(all);
  if (all) {
    for (const auto& [key, _] : entries_) affected.insert(key);
    for (const auto& [key, _] : exited_) affected.insert(key);
    affected.insert(kClaimsKey);
  }
  bool modified = false;
  if (affected.erase(kClaimsKey) != 0 || claims_due_ <= now) modified = refresh_claims(now);
  for (const auto key : affected) {
    if (const auto at = entries_.find(key); at != entries_.end()) {
      at->second.delay = 0ns;  // the state has changed: restart the backoff
      at->second.due = base::Monotonic::max();
      modified = look_up(key, at->second, now) || modified;
    } else if (const auto exited = exited_.find(key); exited != exited_.end()) {
      const auto before = exited->second.entry.container;
      look_up_exited(key, exited->second);
      modified = modified || !same(*before, *exited->second.entry.container);
    }
  }
  std::vector<Key> due;
  for (const auto key : waiting_) {
    if (entries_.at(key).due <= now) due.push_back(key);
  }
  for (const auto key : due) modified = look_up(key, entries_.at(key), now) || modified;
  modified = drop_exited(now) || modified;
  if (modified) publish();
  return modified;
}

std::string Resolver::daemon_id(const Entry& entry) const {
  const auto& match = entry.match;
  const auto* claim = claims_.find(entry.cgroup->path);
  if (claim != nullptr && claim->title == kContainerd && (!match || model::is_workload(match->role))) return claim->id;
  return can_query(match) ? match->id : std::string();
}

void Resolver::mark_changed(const std::string& id) {
  if (changed_.size() < kMaxChanged) changed_.push_back(id);
}

std::vector<std::string> Resolver::wanted(std::string_view title) const {
  std::unordered_set<std::string> out;
  const auto want = [&](const Entry& entry) {
    if (entry.daemon_id.empty()) return;
    const auto* c = entry.container.get();
    // Only containerd has ids of the form "<namespace>/<id>".
    std::string_view runtime = is_container_id(entry.daemon_id) ? entry.match->runtime : kContainerd;
    if (runtime.empty() && c != nullptr && c->runtime && !is_low_level(*c->runtime)) runtime = *c->runtime;
    if (!runtime.empty() && runtime != title) return;
    // Docker's state file is complete. Podman keeps labels, and containerd images, in its database only.
    const bool named_by_file = c != nullptr && std::ranges::any_of(c->origins, [](const auto& origin) {
                                 return origin.fact == "name" && origin.source.starts_with('/');
                               });
    if (title != "docker" || !named_by_file) out.insert(entry.daemon_id);
  };
  for (const auto& [_, entry] : entries_) want(entry);
  for (const auto& [_, exited] : exited_) {
    const auto& c = *exited.entry.container;
    if (!c.exit_code || !c.finished) want(exited.entry);
  }
  return {out.begin(), out.end()};
}

bool Resolver::look_up_ids(const std::unordered_set<std::string>& ids, base::Monotonic now) {
  if (ids.empty()) return false;
  bool modified = false;
  for (auto& [key, entry] : entries_) {
    if (ids.contains(entry.daemon_id)) modified = look_up(key, entry, now) || modified;
  }
  for (auto& [key, exited] : exited_) {
    if (!ids.contains(exited.entry.daemon_id)) continue;
    const auto before = exited.entry.container;
    look_up_exited(key, exited);
    modified = modified || !same(*before, *exited.entry.container);
  }
  if (modified) publish();
  return modified;
}

bool Resolver::merge(std::string_view title, const Daemon::Results& results, base::Monotonic now) {
  std::unordered_set<std::string> changed;
  for (const auto& [id, container] : results) {
    if (!container) continue;
    const auto before = daemon_facts_.find(id);
    if (before == daemon_facts_.end()) {
      if (daemon_facts_.size() >= entries_.size() + kMaxEarlyFacts) continue;
    } else if (before->second.container->runtime != title) {
      continue;
    } else if (same(*before->second.container, *container)) {
      before->second.at = now;
      continue;
    }
    daemon_facts_[id] = {container, now};
    changed.insert(id);
  }
  return look_up_ids(changed, now);
}

bool Resolver::record_exit(const std::string& id, std::int64_t exit_code, std::optional<base::Wall> finished,
                           const std::string& source, base::Monotonic now) {
  const auto before = daemon_facts_.find(id);
  if (before == daemon_facts_.end() &&
      std::ranges::none_of(entries_, [&](const auto& one) { return one.second.daemon_id == id; }) &&
      std::ranges::none_of(exited_, [&](const auto& one) { return one.second.entry.daemon_id == id; })) {
    return false;
  }
  ContainerFacts end(labels_);
  end.from(source);
  end.set(&Container::runtime, std::string(kContainerd));
  end.set(&Container::id, id.substr(id.find('/') + 1));
  end.set(&Container::state, "exited");
  end.set(&Container::exit_code, exit_code);
  end.set(&Container::finished, finished);
  if (before != daemon_facts_.end()) end.fill(*before->second.container);
  daemon_facts_[id] = {std::make_shared<const Container>(end.take()), now};
  return look_up_ids({id}, now);
}

bool Resolver::invalidate(std::string_view title, base::Monotonic now) {
  std::unordered_set<std::string> changed;
  for (auto& [id, facts] : daemon_facts_) {
    const auto& container = *facts.container;
    if (container.runtime != title || !(container.state || container.health || container.restart_count)) continue;
    auto stable = std::make_shared<Container>(container);
    stable->state.reset();
    stable->health.reset();
    stable->restart_count.reset();
    facts.container = std::move(stable);
    changed.insert(id);
  }
  return look_up_ids(changed, now);
}

// Drops reports about containers that are neither in the list of cgroups nor among the exited ones.
void Resolver::drop_stale_facts(base::Monotonic now) {
  if (daemon_facts_.empty()) return;
  std::unordered_set<std::string_view> present;
  for (const auto& [_, entry] : entries_) present.insert(entry.daemon_id);
  for (const auto& [_, exited] : exited_) present.insert(exited.entry.daemon_id);
  std::erase_if(daemon_facts_, [&](const auto& one) {
    return !present.contains(one.first) && one.second.at + kEarlyFactsLifetime <= now;
  });
}

bool Resolver::drop_exited(base::Monotonic now) {
  bool dropped = false;
  while (!exited_order_.empty()) {
    const auto key = exited_order_.front();
    if (exited_.size() <= options_.max_exited && exited_.at(key).removed_at + options_.exited_for > now) break;
    watcher_.forget(key);
    exited_.erase(key);
    exited_order_.pop_front();
    dropped = true;
  }
  return dropped;
}

std::optional<base::Monotonic> Resolver::next() const {
  auto first = claims_due_;
  for (const auto key : waiting_) first = std::min(first, entries_.at(key).due);
  if (!exited_order_.empty())
    first = std::min(first, exited_.at(exited_order_.front()).removed_at + options_.exited_for);
  if (first == base::Monotonic::max()) return std::nullopt;
  return first;
}

void Resolver::publish() {
  auto table = std::make_shared<model::Containers>();
  table->generation = ++generation_;
  named_ = unnamed_ = 0;
  // Facts that depend on several cgroups: parent containers, and names and labels of pods.
  std::unordered_map<std::string, const Container*> pods;       // by uid: one of its containers
  std::unordered_map<std::string, const Container*> sandboxes;  // by uid: those with labels of the pod
  for (const auto& [_, entry] : entries_) {
    const auto* c = entry.container.get();
    if (c != nullptr && c->role != Role::pod && c->pod_uid && c->pod) pods[*c->pod_uid] = c;
    if (c != nullptr && c->role == Role::sandbox && c->pod_uid &&
        std::ranges::any_of(c->labels, [](const auto& label) { return is_pod_label(label.first); })) {
      sandboxes[*c->pod_uid] = c;
    }
  }
  const auto count = cgroup_list_ ? cgroup_list_->cgroups.size() : 0;
  std::vector<const Container*> enclosing(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto& cgroup = *cgroup_list_->cgroups[i];
    const auto key = key_of(cgroup);
    const auto at = entries_.find(key);
    const auto parent = cgroup_list_->parents[i];
    const Container* outer = nullptr;
    if (parent != model::kNoCgroup) outer = enclosing[parent];
    enclosing[i] = outer;
    if (at == entries_.end() || !at->second.container) continue;
    auto container = at->second.container;
    const auto named_pod =
        container->role == Role::pod && container->pod_uid ? pods.find(*container->pod_uid) : pods.end();
    const auto sandbox =
        container->role != Role::sandbox && container->pod_uid ? sandboxes.find(*container->pod_uid) : sandboxes.end();
    if (outer != nullptr || named_pod != pods.end() || sandbox != sandboxes.end()) {
      auto copy = std::make_shared<Container>(*container);
      if (outer != nullptr && (outer->id || outer->name)) {
        copy->parent = outer->id ? outer->id : outer->name;
        copy->origins.push_back({"parent", "ancestor cgroups"});
      }
      if (named_pod != pods.end() && !copy->pod) {
        copy->pod = named_pod->second->pod;
        copy->pod_namespace = named_pod->second->pod_namespace;
        copy->origins.push_back({"pod", "containers of the pod"});
        copy->origins.push_back({"namespace", "containers of the pod"});
      }
      if (sandbox != sandboxes.end()) add_pod_labels(*copy, *sandbox->second);
      container = std::move(copy);
    }
    if (may_contain_containers(container->role)) {
      enclosing[i] = at->second.container.get();
      ++(container->name ? named_ : unnamed_);
    }
    table->by_cgroup.emplace(model::cgroup_key(cgroup.id, cgroup.path), std::move(container));
  }
  for (const auto key : exited_order_) {
    const auto& exited = exited_.at(key);
    table->exited.push_back(
        {exited.entry.cgroup->id, exited.entry.cgroup->path, exited.removed_wall, exited.entry.container});
  }
  table_ = std::move(table);
}

Resolver::Stats Resolver::stats() const {
  Stats out;
  out.files = files_.stats();
  out.watches = watcher_.watches();
  out.exited = exited_.size();
  out.lookups = lookups_;
  out.named = named_;
  out.unnamed = unnamed_;
  return out;
}

}  // namespace cgwarden::discovery
