// SPDX-License-Identifier: Apache-2.0
#include "src/agent/policy_commands.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <thread>

#include "collectors/collection.h"
#include "src/agent/daemons.h"
#include "src/agent/discovery.h"
#include "src/agent/log.h"
#include "src/base/text.h"
#include "src/policy/decide.h"
#include "src/record/record.h"

namespace cgwarden::agent {
namespace {

using model::CgroupIndex;

policy::Duration interval_of(const Options& options) {
  return std::chrono::duration_cast<policy::Duration>(std::chrono::duration<double>(options.policy_interval_seconds));
}

// Null after all errors were printed.
policy::PolicyPtr load(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue) {
  const auto loaded = policy::load(policy_source(options.policy_files), catalogue, policy::Owners::reported);
  for (const auto& problem : loaded.problems) std::cerr << problem.text() << '\n';
  for (const auto& warning : loaded.warnings) std::cerr << warning.text() << "; cgwarden enforce rejects this file\n";
  return loaded.policy;
}

// Takes samples of the fields that the policy uses, with container names.
class Samples {
 public:
  Samples(Options options, std::shared_ptr<const model::Catalogue> catalogue, const policy::Policy& policy)
      : options_(std::move(options)), catalogue_(std::move(catalogue)) {
    enabled_.assign(catalogue_->collectors().size(), false);
    for (const auto field : policy.fields()) enabled_[catalogue_->collector_of(field)] = true;
  }

  base::Result<void> open() {
    collectors::CollectionOptions wanted;
    wanted.paths = options_.paths;
    wanted.enabled = enabled_;
    wanted.tree.max_cgroups = options_.max_cgroups;
    auto collection =
        collectors::Collection::open(catalogue_, wanted, [](const std::string& line) { log::warn(line); });
    if (!collection) return tl::unexpected(collection.error());
    collection_ = std::move(*collection);
    if (options_.discovery) {
      resolver_ = std::make_unique<discovery::Resolver>(discovery_options(options_),
                                                        [](const std::string& line) { log::warn(line); });
    }
    return {};
  }
  std::shared_ptr<model::Snapshot> take() {
    auto snapshot = collection_->collect();
    if (!resolver_) return snapshot;
    resolver_->resolve(snapshot->cgroup_list);
    query_daemons_once(options_, *resolver_);
    snapshot->containers = resolver_->table();
    return snapshot;
  }

 private:
  Options options_;
  std::shared_ptr<const model::Catalogue> catalogue_;
  std::vector<bool> enabled_;
  std::unique_ptr<collectors::Collection> collection_;
  std::unique_ptr<discovery::Resolver> resolver_;
};

int failed(const base::Error& error) {
  log::error("command failed", {{"error", error.what}});
  return kFailed;
}

std::string on(const model::CgroupRef& cgroup) { return cgroup.path.empty() ? "" : ' ' + base::printable(cgroup.path); }

void print(const policy::Decision& decision, std::string_view when) {
  for (const auto& notice : decision.notices) {
    std::cout << when << ' ' << policy::name(notice.kind) << (notice.rule.empty() ? "" : ' ' + notice.rule)
              << on(notice.cgroup) << ": " << base::printable(notice.reason.text) << '\n';
  }
  for (const auto& action : decision.actions) {
    std::cout << when << (action.dry_run ? " would " : " ") << model::name(action.verb) << ' ' << action.actor.rule
              << on(action.cgroup);
    for (const auto& setting : action.settings) std::cout << ' ' << base::printable(model::to_text(setting));
    if (action.bytes > 0) std::cout << ' ' << action.bytes << " bytes";
    if (action.lease) std::cout << " lease " << policy::format_duration(*action.lease);
    std::cout << ": " << base::printable(action.reason.text) << '\n';
  }
}

// The inode numbers of recorded directories differ: use the path as the identity of a cgroup.
void identify_by_path(model::Snapshot& snapshot) {
  auto cgroup_list = std::make_shared<model::CgroupList>(*snapshot.cgroup_list);
  for (auto& cgroup : cgroup_list->cgroups) {
    auto renamed = std::make_shared<model::Cgroup>(*cgroup);
    renamed->id = model::cgroup_key(0, cgroup->path);
    cgroup = std::move(renamed);
  }
  if (snapshot.containers) {
    auto containers = std::make_shared<model::Containers>(*snapshot.containers);
    containers->by_cgroup.clear();
    for (std::size_t i = 0; i < cgroup_list->cgroups.size(); ++i) {
      const auto& before = *snapshot.cgroup_list->cgroups[i];
      const auto at = snapshot.containers->by_cgroup.find(model::cgroup_key(before.id, before.path));
      if (at == snapshot.containers->by_cgroup.end()) continue;
      containers->by_cgroup[model::cgroup_key(cgroup_list->cgroups[i]->id, before.path)] = at->second;
    }
    snapshot.containers = std::move(containers);
  }
  snapshot.cgroup_list = std::move(cgroup_list);
}

}  // namespace

policy::PolicySource policy_source(const std::vector<std::string>& given) {
  policy::PolicySource out;
  for (const auto& path : given) {
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) {
      out.dirs.push_back(path);
    } else if (out.file.empty()) {
      out.file = path;
    } else {
      out.more.push_back(path);
    }
  }
  return out;
}

int check_policy(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue) {
  const auto policy = load(options, catalogue);
  if (!policy) return kFailed;
  const auto enforcing = std::ranges::count(policy->rules, false, &policy::Rule::dry_run);
  for (const auto& rule : policy->rules) {
    std::cout << rule.name << (rule.dry_run ? ": dry-run" : ": enforcing") << ", " << rule.conditions.size()
              << (rule.conditions.size() == 1 ? " condition, " : " conditions, ") << rule.steps.size()
              << (rule.steps.size() == 1 ? " step\n" : " steps\n");
  }
  std::cout << policy->files.size() << (policy->files.size() == 1 ? " file, " : " files, ") << policy->rules.size()
            << (policy->rules.size() == 1 ? " rule: " : " rules: ") << enforcing << " enforcing, "
            << std::ssize(policy->rules) - enforcing << " dry-run; " << policy->protect.size() << " protected\n";
  return std::cout.flush() ? kOk : kFailed;
}

int explain_policy(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue) {
  const auto policy = load(options, catalogue);
  if (!policy) return kFailed;
  Samples samples(options, catalogue, *policy);
  if (const auto opened = samples.open(); !opened) return failed(opened.error());
  const model::SnapshotPtr before = samples.take();
  std::this_thread::sleep_for(interval_of(options));
  const model::SnapshotPtr now = samples.take();
  auto first = policy::decide(*policy, nullptr, before, {}, interval_of(options));
  const auto decision = policy::decide(*policy, before, now, std::move(first.state), interval_of(options));

  const auto& cgroups = now->cgroup_list->cgroups;
  const auto is_selected = [&](const std::string& path) {
    return options.policy_cgroup.empty() || path == options.policy_cgroup ||
           path.ends_with('/' + options.policy_cgroup);
  };
  if (std::ranges::none_of(cgroups, [&](const auto& cgroup) { return is_selected(cgroup->path); })) {
    return failed({0, "cgroup " + base::printable(options.policy_cgroup) + " does not exist"});
  }
  for (const auto& rule : policy->rules) {
    std::size_t matched = 0;
    for (CgroupIndex cgroup = 0; cgroup < cgroups.size(); ++cgroup) {
      if (!is_selected(cgroups[cgroup]->path)) continue;
      const auto lines = policy::explain(*policy, rule, before, now, decision.state, cgroup);
      if (lines.front() != "matches" && options.policy_cgroup.empty()) continue;
      ++matched;
      std::cout << rule.name << ' ' << base::printable(cgroups[cgroup]->path) << ": " << base::printable(lines.front())
                << '\n';
      for (std::size_t i = 1; i < lines.size(); ++i) std::cout << "    " << base::printable(lines[i]) << '\n';
    }
    if (matched == 0) std::cout << rule.name << ": matches no cgroup on this host\n";
  }
  print(decision, "now");
  return std::cout.flush() ? kOk : kFailed;
}

namespace {

// Evaluates one sample after the other.
class Player {
 public:
  explicit Player(const policy::Policy& policy) : policy_(policy) {}

  void play(const model::SnapshotPtr& now, policy::Duration interval, std::string_view when) {
    if (previous_ && now->taken <= previous_->taken) {  // reboot between two samples
      state_ = {};
      previous_.reset();
    }
    auto decision = policy::decide(policy_, previous_, now, std::move(state_), interval);
    print(decision, when);
    actions_ += decision.actions.size();
    ++samples_;
    state_ = std::move(decision.state);
    previous_ = now;
  }
  void sum_up() const { std::cout << samples_ << " samples, " << actions_ << " actions\n"; }

 private:
  const policy::Policy& policy_;
  policy::State state_;
  model::SnapshotPtr previous_;
  std::size_t samples_ = 0;
  std::size_t actions_ = 0;
};

base::Result<void> play_directory(Options options, const std::string& root, std::size_t number,
                                  const std::shared_ptr<const model::Catalogue>& catalogue,
                                  const policy::Policy& policy, Player& player) {
  options.paths.procfs = root + "/proc";
  options.paths.sysfs = root + "/sys";
  options.paths.cgroupfs = root + "/sys/fs/cgroup";
  options.paths.rootfs = root;
  Samples samples(options, catalogue, policy);
  if (auto opened = samples.open(); !opened) return opened;
  const auto now = samples.take();
  const auto at = interval_of(options) * static_cast<std::int64_t>(number);
  now->taken = base::Monotonic(std::chrono::hours(24)) + at;  // past the boot grace period
  identify_by_path(*now);
  player.play(now, interval_of(options), '+' + policy::format_duration(at));
  return {};
}

// Median time between two samples.
policy::Duration interval_of(const record::RecordingReader& recording) {
  std::vector<policy::Duration> steps;
  for (std::size_t i = 1; i < recording.size(); ++i) {
    steps.push_back(recording.moment(i).at - recording.moment(i - 1).at);
  }
  if (steps.empty()) return std::chrono::seconds(1);
  const auto middle = steps.begin() + static_cast<std::ptrdiff_t>(steps.size() / 2);
  std::ranges::nth_element(steps, middle);
  return *middle;
}

base::Result<void> play_recording(const std::string& path, const std::shared_ptr<const model::Catalogue>& catalogue,
                                  Player& player) {
  auto recording = record::RecordingReader::open(path, catalogue);
  if (!recording) return tl::unexpected(recording.error());
  auto& reader = **recording;
  const auto interval = interval_of(reader);
  for (std::size_t i = 0; i < reader.size(); ++i) {
    const auto sample = reader.at(i);
    if (!sample) return tl::unexpected(sample.error());
    player.play(sample->snapshot, interval, log::time_text(reader.moment(i).at));
  }
  return {};
}

}  // namespace

int test_policy(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue) {
  const auto policy = load(options, catalogue);
  if (!policy) return kFailed;
  Player player(*policy);
  std::size_t number = 0;
  for (const auto& from : options.policy_from) {
    std::error_code error;
    const auto played = std::filesystem::is_directory(from, error)
                            ? play_directory(options, from, number++, catalogue, *policy, player)
                            : play_recording(from, catalogue, player);
    if (!played) return failed(played.error());
  }
  player.sum_up();
  return std::cout.flush() ? kOk : kFailed;
}

}  // namespace cgwarden::agent
