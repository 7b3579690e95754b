// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/reader.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "src/base/file.h"
#include "src/base/result.h"
#include "src/base/text.h"

namespace cgwarden::cgroup {
namespace {

using model::FieldId;
using model::Shape;
using model::Value;

constexpr std::size_t kBuffer = 64UL << 10U;
constexpr std::size_t kMaxFile = 4UL << 20U;
constexpr std::uint32_t kAbsentFor = 60;     // seconds until a missing file is looked for again
constexpr std::uint32_t kRereadAfter = 300;  // seconds until a steady file is read again although nobody wrote
constexpr std::uint32_t kListedFor = 1200;   // seconds until it is looked whether a module brought files to a cgroup
constexpr auto kDeviceNamesFor = std::chrono::seconds(60);
constexpr std::size_t kMaxTold = 1000;

// Files of the core, which no controller switches on or off.
bool is_core(std::string_view file) {
  return file.starts_with("cgroup.") || file.starts_with("cpu.stat") || file.ends_with(".pressure") ||
         file == "tasks" || file == "notify_on_release";
}

bool is_v1_core(std::string_view file) {
  return file.starts_with("cgroup.") || file == "tasks" || file == "notify_on_release";
}

// "hugepages-2048kB" -> "2MB", as the hugetlb controller spells it in its file names.
std::vector<std::string> read_page_sizes(const std::string& sysfs) {
  std::vector<std::string> sizes;
  DIR* dir = ::opendir((sysfs + "/kernel/mm/hugepages").c_str());
  if (dir == nullptr) return sizes;
  while (const auto* entry = ::readdir(dir)) {
    std::string_view name(entry->d_name);
    if (!name.starts_with("hugepages-") || !name.ends_with("kB")) continue;
    name.remove_prefix(10);
    name.remove_suffix(2);
    const auto kib = base::to_int<std::uint64_t>(name);
    if (!kib) continue;
    sizes.push_back(*kib >= 1U << 20U   ? std::to_string(*kib >> 20U) + "GB"
                    : *kib >= 1U << 10U ? std::to_string(*kib >> 10U) + "MB"
                                        : std::to_string(*kib) + "KB");
  }
  ::closedir(dir);
  std::ranges::sort(sizes);
  return sizes;
}

struct Part {
  Shape shape{};
  KeyTable keys;
};

}  // namespace

struct Reader::PlannedFile {
  std::string name;
  std::size_t hierarchy = 0;
  std::string label;  // what '*' stood for
  std::vector<Part> parts;
  model::CollectorId collector = 0;   // whose time and errors these are
  bool to_the_end = false;            // made of records: the kernel may return less than there is
  bool changes_only_on_write = true;  // all that is wanted of it is: read when somebody wrote
  const SkipRule* rule = nullptr;     // when it need not be read although it is not steady
  std::uint8_t limit = 0;             // that it sets
  bool probe = false;                 // of tasks of the cgroup running
};

struct Reader::Plan {
  std::vector<PlannedFile> files;
};

// Puts values into the columns of one cgroup.
class Reader::Sink : public RowSink {
 public:
  Sink(Reader& reader, model::Snapshot& snapshot, model::CgroupIndex cgroup)
      : reader_(reader), snapshot_(snapshot), cgroup_(cgroup) {}

  void file(const PlannedFile& file) { file_ = &file; }

  void value(FieldId field, Value value) override {
    if (!file_->label.empty()) return labelled(field, {}, value);
    if (value.is_error()) bad_value(field);
    auto& dense = snapshot_.columns[field].dense;
    if (dense.empty()) dense.assign(snapshot_.cgroup_count(), Value::absent());
    dense[cgroup_] = value;
  }

  void labelled(FieldId field, std::string_view label, Value value) override {
    if (value.is_error()) return bad_value(field);
    auto& column = snapshot_.columns[field];
    const auto at = column.text.size();
    if (!file_->label.empty()) column.text += file_->label;
    if (!file_->label.empty() && !label.empty()) column.text += '\0';
    if (reader_.catalogue_->field(field).labels == "device" && label.find(':') != std::string_view::npos) {
      label = reader_.devices_.name_of(label);
    }
    column.text += label;
    add_cell(column, at, value);
  }

  void text(FieldId field, std::string_view text) override {
    if (text.empty()) return;
    auto& column = snapshot_.columns[field];
    const auto at = column.text.size();
    column.text += text.substr(0, kMaxText);
    std::replace(column.text.begin() + static_cast<std::ptrdiff_t>(at), column.text.end(), '\n', ' ');
    add_cell(column, at, Value::of(1));
  }

  void labelled_text(FieldId field, std::string_view label, std::string_view text) override {
    auto& column = snapshot_.columns[field];
    const auto at = column.text.size();
    column.text += label.find(':') != std::string_view::npos ? reader_.devices_.name_of(label) : label;
    column.text += '\0';
    column.text += text.substr(0, kMaxText);
    add_cell(column, at, Value::of(1));
  }

  void unknown_key(std::string_view key) override {
    auto& stats = reader_.stats_[file_->collector];
    const auto cause = "key " + file_->name + " " + std::string(key);
    if (reader_.told_.contains(cause)) return;  // another plan met it
    ++stats.unknown_keys;
    reader_.log_once(cause, "unknown key '" + base::printable(key) + "' in " + file_->name +
                                ": this kernel is newer than the catalogue; ignoring it");
  }

  // The file could not be read: its fields are errors, not absent.
  void unreadable() {
    for (const auto& part : file_->parts) {
      for (const auto& key : part.keys.keys()) {
        if (key.field == kNoField || reader_.catalogue_->field(key.field).labelled()) continue;
        auto& dense = snapshot_.columns[key.field].dense;
        if (dense.empty()) dense.assign(snapshot_.cgroup_count(), Value::absent());
        dense[cgroup_] = Value::error();
      }
    }
  }

 private:
  static constexpr std::size_t kMaxText = 4096;

  void add_cell(model::Column& column, std::size_t at, Value value) const {
    column.series.push_back({cgroup_, static_cast<std::uint32_t>(at),
                             static_cast<std::uint16_t>(std::min<std::size_t>(column.text.size() - at, 0xFFFF)),
                             value});
  }

  void bad_value(FieldId field) {
    auto& stats = reader_.stats_[file_->collector];
    ++stats.errors;
    ++stats.errors_now;
    reader_.log_once("value " + std::to_string(field), "cannot understand the value of " +
                                                           model::metric_name(reader_.catalogue_->field(field)) +
                                                           " in " + file_->name + "; leaving it out");
  }

  Reader& reader_;
  model::Snapshot& snapshot_;
  model::CgroupIndex cgroup_;
  const PlannedFile* file_ = nullptr;
};

Reader::Reader(std::shared_ptr<const model::Catalogue> catalogue, const HostHierarchies& host, const HostPaths& paths,
               Options options, std::function<void(std::string)> notice)
    : catalogue_(std::move(catalogue)),
      hierarchies_(host.all),
      page_sizes_(read_page_sizes(paths.sysfs)),
      options_(std::move(options)),
      notice_(std::move(notice)),
      devices_(paths.sysfs),
      stats_(catalogue_->collectors().size()),
      buffer_(kBuffer),
      vmstat_(::open((paths.procfs + "/vmstat").c_str(), O_RDONLY | O_CLOEXEC)) {
  options_.collectors.resize(stats_.size(), false);
  for (std::size_t c = 0; c < stats_.size(); ++c) stats_[c].enabled = options_.collectors[c];
}

Reader::~Reader() = default;

void Reader::log_once(const std::string& cause, const std::string& text) {
  if (told_.size() < kMaxTold && told_.insert(cause).second) notice_(text);
}

bool Reader::in_v1(std::uint32_t mask, std::string_view controller) const {
  for (std::size_t h = 0; h < hierarchies_.size(); ++h) {
    if ((mask >> h & 1U) != 0 && hierarchies_[h].version == 1 && hierarchies_[h].has(controller)) return true;
  }
  return false;
}

const model::Source* Reader::choose_source(const model::Field& field, std::uint32_t mask,
                                           std::size_t& hierarchy) const {
  for (std::size_t h = 0; h < hierarchies_.size() && field.v1.exists(); ++h) {
    if ((mask >> h & 1U) == 0 || hierarchies_[h].version != 1) continue;
    if (is_v1_core(field.v1.file) || hierarchies_[h].has(field.v1.controller())) {
      hierarchy = h;
      return &field.v1;
    }
  }
  for (std::size_t h = 0; h < hierarchies_.size() && field.v2.exists(); ++h) {
    if ((mask >> h & 1U) == 0 || hierarchies_[h].version != 2) continue;
    // v2 keeps cpu.stat also where v1 has the controllers. What v1 does not say of it is not worth a read.
    if (field.v2.file.starts_with("cpu.stat") && in_v1(mask, "cpuacct")) continue;
    if (is_core(field.v2.file) || hierarchies_[h].has(field.v2.controller())) {
      hierarchy = h;
      return &field.v2;
    }
  }
  return nullptr;
}

// Says which files have rules, and sees to it that in hierarchies where a rule asks for it, it is known first whether
// tasks ran.
void Reader::add_rules(Plan& plan) const {
  for (auto& file : plan.files) {
    const int version = hierarchies_[file.hierarchy].version;
    file.limit = limit_of(version, file.name);
    if (!file.changes_only_on_write) file.rule = skip_rule(version, file.name);
  }
  for (std::size_t h = 0; h < hierarchies_.size(); ++h) {
    const auto first = std::ranges::find(plan.files, h, &PlannedFile::hierarchy);
    const auto asking = std::ranges::find_if(
        plan.files, [h](const PlannedFile& f) { return f.hierarchy == h && f.rule != nullptr && f.rule->idle; });
    if (asking == plan.files.end()) continue;
    const auto name = run_probe(hierarchies_[h].version);
    auto probe = std::ranges::find_if(plan.files,
                                      [h, name](const PlannedFile& f) { return f.hierarchy == h && f.name == name; });
    if (probe == plan.files.end()) {
      const auto collector = asking->collector;
      probe = plan.files.insert(first, PlannedFile{std::string(name), h, "", {}, collector});
      probe->changes_only_on_write = false;
    } else {
      std::rotate(first, probe, probe + 1);
      probe = first;
    }
    probe->probe = true;
  }
}

std::unique_ptr<Reader::Plan> Reader::make_plan(std::uint32_t mask) const {
  auto plan = std::make_unique<Plan>();
  const auto add = [&](FieldId id, const model::Source& source, std::size_t hierarchy, std::string name,
                       std::string label) {
    const auto collector = catalogue_->collector_of(id);
    const bool wanted = options_.collectors[collector];
    auto file = std::ranges::find_if(plan->files,
                                     [&](const PlannedFile& f) { return f.name == name && f.hierarchy == hierarchy; });
    if (file == plan->files.end()) {
      if (!wanted) return;
      const bool of_any_length = source.shape == Shape::lines || source.shape == Shape::each_line;
      plan->files.push_back({std::move(name), hierarchy, std::move(label), {}, collector, of_any_length});
      file = plan->files.end() - 1;
    }
    if (wanted && !catalogue_->field(id).changes_only_on_write()) file->changes_only_on_write = false;
    auto part = std::ranges::find(file->parts, source.shape, &Part::shape);
    if (part == file->parts.end()) {
      if (!wanted) return;
      file->parts.push_back({source.shape, {}});
      part = file->parts.end() - 1;
    }
    part->keys.add(source.key, wanted ? id : kNoField, conversion_of(catalogue_->field(id), source));
  };
  // Twice: what is wanted decides which files there are; what is not wanted is then known in them.
  for (const bool wanted : {true, false}) {
    for (std::size_t i = 0; i < catalogue_->size(); ++i) {
      const auto id = static_cast<FieldId>(i);
      if (options_.collectors[catalogue_->collector_of(id)] != wanted) continue;
      std::size_t hierarchy = 0;
      const auto* source = choose_source(catalogue_->field(id), mask, hierarchy);
      if (source == nullptr) continue;
      const auto star = source->file.find('*');
      if (star == std::string_view::npos) {
        add(id, *source, hierarchy, std::string(source->file), "");
        continue;
      }
      for (const auto& size : page_sizes_) {
        add(id, *source, hierarchy,
            std::string(source->file.substr(0, star)) + size + std::string(source->file.substr(star + 1)), size);
      }
    }
  }
  // A v2 file that v1 stands in for is known, too: its keys are no news.
  for (std::size_t i = 0; i < catalogue_->size(); ++i) {
    const auto& field = catalogue_->field(static_cast<FieldId>(i));
    std::size_t hierarchy = 0;
    const auto* chosen = choose_source(field, mask, hierarchy);
    for (const auto* source : {&field.v1, &field.v2}) {
      if (!source->exists() || source == chosen) continue;
      for (auto& file : plan->files) {
        if (file.name != source->file || hierarchies_[file.hierarchy].version != (source == &field.v1 ? 1 : 2))
          continue;
        for (auto& part : file.parts) {
          if (part.shape == source->shape) part.keys.add(source->key, kNoField, {});
        }
      }
    }
  }
  std::ranges::stable_sort(plan->files, {}, &PlannedFile::hierarchy);
  add_rules(*plan);
  return plan;
}

int Reader::plan_for(const Node& node) {
  if (const auto known = plan_of_mask_.find(node.mask); known != plan_of_mask_.end()) return known->second;
  plans_.push_back(make_plan(node.mask));
  const int number = static_cast<int>(plans_.size()) - 1;
  plan_of_mask_.emplace(node.mask, number);
  return number;
}

void Reader::close_files(Node& node) {
  for (auto& slot : node.files) {
    if (slot.fd < 0) continue;
    ::close(slot.fd);
    slot.fd = -1;
  }
}

void Reader::prepare(Tree& tree, Node& node, int plan) {
  close_files(node);
  list_files(tree, node);
  node.plan = plan;
  node.files = std::vector<OpenFile>(plans_[static_cast<std::size_t>(plan)]->files.size());
  node.limits = kAllLimits;
}

void Reader::list_files(Tree& tree, Node& node) const {
  tree.list_files(node);
  node.listed_at = now_;
}

void Reader::begin(model::Snapshot& snapshot) {
  snapshot.columns.resize(catalogue_->size());
  for (auto& column : snapshot.columns) {
    column.dense.clear();
    column.series.clear();
    column.text.clear();
  }
  for (auto& stats : stats_) {
    stats.duration = {};
    stats.errors_now = 0;
  }
  const auto now = base::monotonic_now();
  now_ =
      static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count()) + 1;
  if (now - devices_read_ > kDeviceNamesFor) {
    devices_.forget();
    devices_read_ = now;
  }
  read_oom_kills();
  budget_ = options_.max_open_files - std::min(options_.max_open_files, open_files_);
  open_files_ = 0;
}

Reader::Got Reader::read_text(int fd, bool to_the_end, std::string_view& text) {
  std::size_t size = 0;
  while (true) {
    const auto n = ::pread(fd, buffer_.data() + size, buffer_.size() - size, static_cast<off_t>(size));
    if (n < 0) {
      if (errno == EINTR) continue;
      // Not supported here and now: PSI switched off, processes of a threaded cgroup.
      if (errno == EOPNOTSUPP) return Got::absent;
      return base::means_vanished(errno) ? Got::vanished : Got::error;
    }
    size += static_cast<std::size_t>(n);
    if (n == 0 || (!to_the_end && size < buffer_.size())) break;
    if (size == buffer_.size()) {
      if (size >= kMaxFile) {
        errno = EFBIG;
        return Got::error;
      }
      buffer_.resize(size * 2);
    }
  }
  text = std::string_view(buffer_.data(), size);
  return Got::text;
}

// The host's count of kills for want of memory: where it stands still, no cgroup's has changed.
void Reader::read_oom_kills() {
  constexpr std::string_view key = "\noom_kill ";
  std::string_view text;
  if (vmstat_ && read_text(vmstat_.get(), true, text) == Got::text) {
    if (const auto at = text.find(key); at != std::string_view::npos) {
      text.remove_prefix(at + key.size());
      const auto kills = base::to_int<std::uint64_t>(base::take_line(text));
      if (kills && *kills == oom_kills_) return;
      oom_kills_ = kills.value_or(0);
    }
  }
  ++oom_changes_;  // also when it is not known
}

bool Reader::holds(const SkipRule& rule, const Node& node, const Dir& dir) const {
  return dir.watch >= 0 && (!rule.idle || dir.idle) && (!rule.leaf || node.children.empty()) &&
         (rule.own_unlimited & node.limits) == 0 && (rule.path_unlimited & node.path_limits) == 0;
}

std::uint32_t Reader::change_count_of(const SkipRule& rule, const Tree& tree, std::size_t hierarchy) const {
  return (rule.unmoved ? tree.moves(hierarchy) : 0) + (rule.no_oom ? oom_changes_ : 0);
}

bool Reader::need_not_read(const Tree& tree, const Node& node, const PlannedFile& file, const OpenFile& slot) const {
  const auto& dir = node.dirs[file.hierarchy];
  if (slot.looked_at == 0) return false;
  const auto age = now_ - slot.looked_at;
  if (slot.absent) return age < kAbsentFor;
  // Cgroups are read again at different times, so that no scrape has to do it for all.
  if (dir.watch < 0 || slot.writes != dir.writes || age >= kRereadAfter + node.cgroup->id % kRereadAfter) return false;
  return file.changes_only_on_write || (slot.quiet && holds(*file.rule, node, dir) &&
                                        slot.change_count == change_count_of(*file.rule, tree, file.hierarchy));
}

// What a file that was just looked at says about the cgroup as a whole.
void Reader::update_limits(const PlannedFile& file, Got got, std::string_view text, Node& node) {
  if (file.limit != 0) {
    const bool none = got == Got::absent || (got == Got::text && is_unlimited_text(file.limit, text));
    node.limits = static_cast<std::uint8_t>(none ? node.limits & ~file.limit : node.limits | file.limit);
  }
  if (file.probe) {
    auto& dir = node.dirs[file.hierarchy];
    dir.ran_for(got == Got::text ? run_time(text) : 0, got == Got::text);
  }
}

Reader::Got Reader::fetch(const Tree& tree, const Node& node, const PlannedFile& file, OpenFile& slot,
                          std::string_view& text) {
  const auto& dir = node.dirs[file.hierarchy];
  if (need_not_read(tree, node, file, slot)) {
    if (slot.absent) return Got::absent;
    text = slot.text.view();
    return Got::text;
  }
  const bool undisturbed = slot.looked_at != 0 && slot.writes == dir.writes;
  slot.writes = dir.writes;
  auto& stats = stats_[file.collector];
  const bool kept = slot.fd >= 0;
  int fd = slot.fd;
  if (!kept) {
    fd = tree.open_file(node, file.hierarchy, file.name.c_str(), O_RDONLY | O_NOFOLLOW);
    if (fd < 0) {
      if (errno != ENOENT) return base::means_vanished(errno) ? Got::vanished : Got::error;
      slot.look(now_);
      slot.absent = true;
      return Got::absent;
    }
  }
  ++stats.reads;
  auto got = read_text(fd, file.to_the_end, text);
  const int cause = errno;
  if (got == Got::text) stats.bytes += text.size();
  if (got == Got::vanished && base::exists(dir.fd.get(), "cgroup.procs")) {
    got = Got::absent;  // the cgroup lives: only the controller was switched off here
  }
  slot.absent = got == Got::absent;
  slot.look(got == Got::text || got == Got::absent ? now_ : 0);
  if (file.rule != nullptr && got == Got::text) {
    const auto change_count = change_count_of(*file.rule, tree, file.hierarchy);
    slot.quiet = undisturbed && change_count == slot.change_count && slot.text.view() == text &&
                 holds(*file.rule, node, dir) && (file.rule->says == nullptr || file.rule->says(text));
    slot.change_count = change_count;
  }
  if ((file.changes_only_on_write || file.rule != nullptr) && got == Got::text) slot.text = text;
  // A descriptor pays where a file is read again and again.
  if (got == Got::text && !file.changes_only_on_write && !slot.quiet && (kept || budget_ > 0)) {
    if (!kept) --budget_;
    slot.fd = fd;
    ++open_files_;
  } else {
    ::close(fd);
    slot.fd = -1;
  }
  errno = cause;
  return got;
}

bool Reader::read(Tree& tree, Node& node, model::CgroupIndex cgroup, model::Snapshot& snapshot) {
  if (node.plan < 0) prepare(tree, node, plan_for(node));
  if (now_ - node.listed_at >= kListedFor + node.cgroup->id % kListedFor) list_files(tree, node);
  auto& plan = *plans_[static_cast<std::size_t>(node.plan)];
  Sink sink(*this, snapshot, cgroup);
  node.path_limits = node.limits | (node.parent != nullptr ? node.parent->path_limits : 0);
  auto begun = base::monotonic_now();
  for (std::size_t i = 0; i < plan.files.size(); ++i) {
    auto& file = plan.files[i];
    auto& stats = stats_[file.collector];
    std::string_view text;
    sink.file(file);
    const auto got = fetch(tree, node, file, node.files[i], text);
    if (file.limit != 0 || file.probe) update_limits(file, got, text, node);
    switch (got) {
      case Got::text:
        for (auto& part : file.parts) parse(part.shape, text, part.keys, sink);
        break;
      case Got::absent:
        break;
      case Got::vanished:
        drop(cgroup, snapshot);
        return false;
      case Got::error:
        ++stats.errors;
        ++stats.errors_now;
        log_once(
            "read " + file.name + std::to_string(errno),
            base::Error::from_errno(errno, "cannot read " + file.name + " of " + base::printable(node.cgroup->path))
                    .what +
                "; counting further ones");
        sink.unreadable();
        break;
    }
    // Files of a collector lie together, and most are not read: a look at the clock costs as much as what is kept of
    // one.
    if (i + 1 < plan.files.size() && plan.files[i + 1].collector == file.collector) continue;
    const auto now = base::monotonic_now();
    stats.duration += now - begun;
    begun = now;
  }
  return true;
}

void Reader::drop(model::CgroupIndex cgroup, model::Snapshot& snapshot) const {
  for (auto& column : snapshot.columns) {
    if (cgroup < column.dense.size()) column.dense[cgroup] = Value::absent();
    while (!column.series.empty() && column.series.back().cgroup == cgroup) column.series.pop_back();
  }
}

void Reader::end(model::Snapshot& snapshot) {
  snapshot.collectors = stats_;
  snapshot.tree.open_files = open_files_;
}

}  // namespace cgwarden::cgroup
