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

constexpr std::size_t kInitialBufferSize = 64UL << 10U;
constexpr std::size_t kMaxFileSize = 4UL << 20U;
constexpr std::uint32_t kAbsentRetrySeconds = 60;  // until a missing file is tried again
constexpr std::uint32_t kRereadSeconds = 300;      // until a file is read again without a write or another event
constexpr std::uint32_t kRelistSeconds = 1200;     // until files are listed again: a kernel module may have added some
constexpr auto kDeviceNamesLifetime = std::chrono::seconds(60);
constexpr std::size_t kMaxLoggedCauses = 1000;

// Files of the cgroup core, which exist without any controller.
bool is_core(std::string_view file) {
  return file.starts_with("cgroup.") || file.starts_with("cpu.stat") || file.ends_with(".pressure") ||
         file == "tasks" || file == "notify_on_release";
}

bool is_v1_core(std::string_view file) {
  return file.starts_with("cgroup.") || file == "tasks" || file == "notify_on_release";
}

// Returns the huge page sizes as the hugetlb controller spells them in its file names: "hugepages-2048kB" -> "2MB".
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
  std::string label;  // the part of the name that matched '*'
  std::vector<Part> parts;
  model::CollectorId collector = 0;   // which accounts for the time and errors
  bool read_to_eof = false;           // made of records: one read() may return only a part
  bool changes_only_on_write = true;  // holds for all collected fields: read only after a write
  const SkipRule* rule = nullptr;     // when a file that changes without a write can be skipped
  std::uint8_t limit = 0;             // bit of the limit that the file sets, or 0
  bool probe = false;                 // it shows whether tasks of the cgroup ran (activity probe)
};

struct Reader::Plan {
  std::vector<PlannedFile> files;
};

// Writes values into the columns of one cgroup.
class Reader::Sink : public RowSink {
 public:
  Sink(Reader& reader, model::Snapshot& snapshot, model::CgroupIndex cgroup)
      : reader_(reader), snapshot_(snapshot), cgroup_(cgroup) {}

  void file(const PlannedFile& file) { file_ = &file; }

  void value(FieldId field, Value value) override {
    if (!file_->label.empty()) return labeled(field, {}, value);
    if (value.is_error()) bad_value(field);
    auto& dense = snapshot_.columns[field].dense;
    if (dense.empty()) dense.assign(snapshot_.cgroup_count(), Value::absent());
    dense[cgroup_] = value;
  }

  void labeled(FieldId field, std::string_view label, Value value) override {
    if (value.is_error()) return bad_value(field);
    auto& column = snapshot_.columns[field];
    const auto at = column.text.size();
    if (!file_->label.empty()) column.text += file_->label;
    if (!file_->label.empty() && !label.empty()) column.text += '\0';
    if (reader_.catalogue_->field(field).labels == "device" && label.find(':') != std::string_view::npos) {
      label = reader_.devices_.name_of(label);
    }
    column.text += label;
    add_series(column, at, value);
  }

  void text(FieldId field, std::string_view text) override {
    if (text.empty()) return;
    auto& column = snapshot_.columns[field];
    const auto at = column.text.size();
    column.text += text.substr(0, kMaxTextLength);
    std::replace(column.text.begin() + static_cast<std::ptrdiff_t>(at), column.text.end(), '\n', ' ');
    add_series(column, at, Value::of(1));
  }

  void labeled_text(FieldId field, std::string_view label, std::string_view text) override {
    auto& column = snapshot_.columns[field];
    const auto at = column.text.size();
    column.text += label.find(':') != std::string_view::npos ? reader_.devices_.name_of(label) : label;
    column.text += '\0';
    column.text += text.substr(0, kMaxTextLength);
    add_series(column, at, Value::of(1));
  }

  void unknown_key(std::string_view key) override {
    auto& stats = reader_.stats_[file_->collector];
    const auto cause = "key " + file_->name + " " + std::string(key);
    if (reader_.logged_.contains(cause)) return;  // reported under another plan
    ++stats.unknown_keys;
    reader_.log_once(cause, "unknown key ignored: " + base::printable(key) + " in " + file_->name +
                                " (this kernel is newer than cgwarden's catalogue)");
  }

  // The file exists, but could not be read: its fields are errors, not absent.
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
  static constexpr std::size_t kMaxTextLength = 4096;

  void add_series(model::Column& column, std::size_t at, Value value) const {
    column.series.push_back({cgroup_, static_cast<std::uint32_t>(at),
                             static_cast<std::uint16_t>(std::min<std::size_t>(column.text.size() - at, 0xFFFF)),
                             value});
  }

  void bad_value(FieldId field) {
    auto& stats = reader_.stats_[file_->collector];
    ++stats.errors;
    ++stats.errors_now;
    reader_.log_once("value " + std::to_string(field),
                     "invalid value omitted: " + model::metric_name(reader_.catalogue_->field(field)) +
                         " (not a number of the expected kind in " + file_->name + ")");
  }

  Reader& reader_;
  model::Snapshot& snapshot_;
  model::CgroupIndex cgroup_;
  const PlannedFile* file_ = nullptr;
};

Reader::Reader(std::shared_ptr<const model::Catalogue> catalogue, const HostHierarchies& host, const HostPaths& paths,
               Options options, std::function<void(std::string)> log)
    : catalogue_(std::move(catalogue)),
      hierarchies_(host.all),
      page_sizes_(read_page_sizes(paths.sysfs)),
      options_(std::move(options)),
      log_(std::move(log)),
      devices_(paths.sysfs),
      stats_(catalogue_->collectors().size()),
      buffer_(kInitialBufferSize),
      vmstat_(::open((paths.procfs + "/vmstat").c_str(), O_RDONLY | O_CLOEXEC)) {
  options_.collectors.resize(stats_.size(), false);
  for (std::size_t c = 0; c < stats_.size(); ++c) stats_[c].enabled = options_.collectors[c];
}

Reader::~Reader() = default;

void Reader::log_once(const std::string& cause, const std::string& text) {
  if (logged_.size() < kMaxLoggedCauses && logged_.insert(cause).second) log_(text);
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
    // v2 has cpu.stat even if the controllers are on v1. Its few values that v1 lacks do not justify a read.
    if (field.v2.file.starts_with("cpu.stat") && in_v1(mask, "cpuacct")) continue;
    if (is_core(field.v2.file) || hierarchies_[h].has(field.v2.controller())) {
      hierarchy = h;
      return &field.v2;
    }
  }
  return nullptr;
}

// Sets the skip rule of each file, and puts the activity probe (cpu.stat, cpuacct.usage) first in each hierarchy that
// has rules with the condition `idle`.
void Reader::add_skip_rules(Plan& plan) const {
  for (auto& file : plan.files) {
    const int version = hierarchies_[file.hierarchy].version;
    file.limit = limit_of(version, file.name);
    if (!file.changes_only_on_write) file.rule = skip_rule(version, file.name);
  }
  for (std::size_t h = 0; h < hierarchies_.size(); ++h) {
    const auto first = std::ranges::find(plan.files, h, &PlannedFile::hierarchy);
    const auto idle_rule = std::ranges::find_if(
        plan.files, [h](const PlannedFile& f) { return f.hierarchy == h && f.rule != nullptr && f.rule->idle; });
    if (idle_rule == plan.files.end()) continue;
    const auto name = activity_probe_file(hierarchies_[h].version);
    auto probe = std::ranges::find_if(plan.files,
                                      [h, name](const PlannedFile& f) { return f.hierarchy == h && f.name == name; });
    if (probe == plan.files.end()) {
      const auto collector = idle_rule->collector;
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
      const bool is_record_list = source.shape == Shape::lines || source.shape == Shape::each_line;
      plan->files.push_back({std::move(name), hierarchy, std::move(label), {}, collector, is_record_list});
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
  // First pass: files of enabled collectors. Second pass: register the keys of disabled collectors in these files, so
  // that they are not reported as unknown.
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
  // Register the keys of the source that was not chosen (v2 where v1 is read), so that they are not reported as
  // unknown.
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
  add_skip_rules(*plan);
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
  if (now - devices_read_ > kDeviceNamesLifetime) {
    devices_.clear();
    devices_read_ = now;
  }
  read_oom_kills();
  fd_budget_ = options_.max_open_files - std::min(options_.max_open_files, open_files_);
  open_files_ = 0;
}

Reader::ReadStatus Reader::read_text(int fd, bool read_to_eof, std::string_view& text) {
  std::size_t size = 0;
  while (true) {
    const auto n = ::pread(fd, buffer_.data() + size, buffer_.size() - size, static_cast<off_t>(size));
    if (n < 0) {
      if (errno == EINTR) continue;
      // Not supported in this state: PSI disabled, or cgroup.procs of a threaded cgroup.
      if (errno == EOPNOTSUPP) return ReadStatus::absent;
      return base::is_gone(errno) ? ReadStatus::gone : ReadStatus::error;
    }
    size += static_cast<std::size_t>(n);
    if (n == 0 || (!read_to_eof && size < buffer_.size())) break;
    if (size == buffer_.size()) {
      if (size >= kMaxFileSize) {
        errno = EFBIG;
        return ReadStatus::error;
      }
      buffer_.resize(size * 2);
    }
  }
  text = std::string_view(buffer_.data(), size);
  return ReadStatus::ok;
}

// Reads the OOM kill count of the host: if it is unchanged, no count of a cgroup changed.
void Reader::read_oom_kills() {
  constexpr std::string_view key = "\noom_kill ";
  std::string_view text;
  if (vmstat_ && read_text(vmstat_.get(), true, text) == ReadStatus::ok) {
    if (const auto at = text.find(key); at != std::string_view::npos) {
      text.remove_prefix(at + key.size());
      const auto kills = base::to_int<std::uint64_t>(base::take_line(text));
      if (kills && *kills == oom_kills_) return;
      oom_kills_ = kills.value_or(0);
    }
  }
  ++oom_changes_;  // changed or unknown
}

bool Reader::rule_applies(const SkipRule& rule, const Node& node, const Dir& dir) const {
  return dir.watch >= 0 && (!rule.idle || dir.idle) && (!rule.leaf || node.children.empty()) &&
         (rule.own_unlimited & node.limits) == 0 && (rule.path_unlimited & node.path_limits) == 0;
}

std::uint32_t Reader::change_count_of(const SkipRule& rule, const Tree& tree, std::size_t hierarchy) const {
  return (rule.no_migration ? tree.migrations(hierarchy) : 0) + (rule.no_oom_kill ? oom_changes_ : 0);
}

bool Reader::can_skip_read(const Tree& tree, const Node& node, const PlannedFile& file, const OpenFile& slot) const {
  const auto& dir = node.dirs[file.hierarchy];
  if (slot.read_at == 0) return false;
  const auto age = now_ - slot.read_at;
  if (slot.absent) return age < kAbsentRetrySeconds;
  // The interval depends on the cgroup, so that no sample has to read the files of all cgroups again.
  if (dir.watch < 0 || slot.writes != dir.writes || age >= kRereadSeconds + node.cgroup->id % kRereadSeconds)
    return false;
  return file.changes_only_on_write || (slot.unchanged && rule_applies(*file.rule, node, dir) &&
                                        slot.change_count == change_count_of(*file.rule, tree, file.hierarchy));
}

// Updates the cgroup's set of limits and its activity from a file that was just read.
void Reader::update_limits(const PlannedFile& file, ReadStatus status, std::string_view text, Node& node) {
  if (file.limit != 0) {
    const bool unlimited =
        status == ReadStatus::absent || (status == ReadStatus::ok && is_unlimited_text(file.limit, text));
    node.limits = static_cast<std::uint8_t>(unlimited ? node.limits & ~file.limit : node.limits | file.limit);
  }
  if (file.probe) {
    auto& dir = node.dirs[file.hierarchy];
    dir.update_run_time(status == ReadStatus::ok ? parse_run_time(text) : 0, status == ReadStatus::ok);
  }
}

Reader::ReadStatus Reader::fetch(const Tree& tree, const Node& node, const PlannedFile& file, OpenFile& slot,
                                 std::string_view& text) {
  const auto& dir = node.dirs[file.hierarchy];
  if (can_skip_read(tree, node, file, slot)) {
    if (slot.absent) return ReadStatus::absent;
    text = slot.text.view();
    return ReadStatus::ok;
  }
  const bool no_write = slot.read_at != 0 && slot.writes == dir.writes;
  slot.writes = dir.writes;
  auto& stats = stats_[file.collector];
  const bool was_open = slot.fd >= 0;
  int fd = slot.fd;
  if (!was_open) {
    fd = tree.open_file(node, file.hierarchy, file.name.c_str(), O_RDONLY | O_NOFOLLOW);
    if (fd < 0) {
      if (errno != ENOENT) return base::is_gone(errno) ? ReadStatus::gone : ReadStatus::error;
      slot.mark_read(now_);
      slot.absent = true;
      return ReadStatus::absent;
    }
  }
  ++stats.reads;
  auto status = read_text(fd, file.read_to_eof, text);
  const int cause = errno;
  if (status == ReadStatus::ok) stats.bytes += text.size();
  if (status == ReadStatus::gone && base::exists(dir.fd.get(), "cgroup.procs")) {
    status = ReadStatus::absent;  // the cgroup exists: only the controller was disabled here
  }
  slot.absent = status == ReadStatus::absent;
  slot.mark_read(status == ReadStatus::ok || status == ReadStatus::absent ? now_ : 0);
  if (file.rule != nullptr && status == ReadStatus::ok) {
    const auto change_count = change_count_of(*file.rule, tree, file.hierarchy);
    slot.unchanged = no_write && change_count == slot.change_count && slot.text.view() == text &&
                     rule_applies(*file.rule, node, dir) &&
                     (file.rule->text_condition == nullptr || file.rule->text_condition(text));
    slot.change_count = change_count;
  }
  if ((file.changes_only_on_write || file.rule != nullptr) && status == ReadStatus::ok) slot.text = text;
  // Keep the descriptor of a file that will be read in each sample.
  if (status == ReadStatus::ok && !file.changes_only_on_write && !slot.unchanged && (was_open || fd_budget_ > 0)) {
    if (!was_open) --fd_budget_;
    slot.fd = fd;
    ++open_files_;
  } else {
    ::close(fd);
    slot.fd = -1;
  }
  errno = cause;
  return status;
}

bool Reader::read(Tree& tree, Node& node, model::CgroupIndex cgroup, model::Snapshot& snapshot) {
  if (node.plan < 0) prepare(tree, node, plan_for(node));
  if (now_ - node.listed_at >= kRelistSeconds + node.cgroup->id % kRelistSeconds) list_files(tree, node);
  auto& plan = *plans_[static_cast<std::size_t>(node.plan)];
  Sink sink(*this, snapshot, cgroup);
  node.path_limits = node.limits | (node.parent != nullptr ? node.parent->path_limits : 0);
  auto started = base::monotonic_now();
  for (std::size_t i = 0; i < plan.files.size(); ++i) {
    auto& file = plan.files[i];
    auto& stats = stats_[file.collector];
    std::string_view text;
    sink.file(file);
    const auto status = fetch(tree, node, file, node.files[i], text);
    if (file.limit != 0 || file.probe) update_limits(file, status, text, node);
    switch (status) {
      case ReadStatus::ok:
        for (auto& part : file.parts) parse(part.shape, text, part.keys, sink);
        break;
      case ReadStatus::absent:
        break;
      case ReadStatus::gone:
        drop(cgroup, snapshot);
        return false;
      case ReadStatus::error:
        ++stats.errors;
        ++stats.errors_now;
        log_once("read " + file.name + std::to_string(errno),
                 "cannot read interface file, further errors are only counted: " + file.name + " of " +
                     base::printable(node.cgroup->path) + " (" + std::strerror(errno) + ")");
        sink.unreadable();
        break;
    }
    // Reading the clock costs as much as a cached file, so that it is read once for adjacent files of a collector.
    if (i + 1 < plan.files.size() && plan.files[i + 1].collector == file.collector) continue;
    const auto now = base::monotonic_now();
    stats.duration += now - started;
    started = now;
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
