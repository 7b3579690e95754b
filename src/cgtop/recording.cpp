// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/recording.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>  // sigtimedwait
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <iostream>

#include "collectors/collection.h"
#include "src/base/text.h"
#include "src/cgtop/format.h"
#include "src/cgtop/print.h"

namespace cgwarden::cgtop {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr std::size_t kMaxRecent = 1800;
constexpr std::size_t kMaxRecentBytes = 96U << 20U;

std::size_t bytes_of(const model::Snapshot& snapshot) {
  std::size_t bytes = 0;
  for (const auto& column : snapshot.columns) {
    bytes +=
        column.dense.size() * sizeof(model::Value) + column.series.size() * sizeof(model::Series) + column.text.size();
  }
  return bytes;
}

ExitError exit_error_of(const base::Error& error) {
  if (error.code == record::kDamaged) return {kDamagedRecording, base::printable(error.what)};
  if (error.code == ENOENT) return {kNotFound, base::printable(error.what)};
  if (error.code == EACCES || error.code == EPERM) return {kPermission, base::printable(error.what)};
  return {kUnexpected, base::printable(error.what)};
}

// Removes a date such as "2026-11-24" from the front of `text`.
bool take_date(std::string_view& text, std::tm& parts) {
  if (text.size() < 10 || text[4] != '-' || text[7] != '-') return false;
  const auto year = base::to_int<int>(text.substr(0, 4));
  const auto month = base::to_int<int>(text.substr(5, 2));
  const auto day = base::to_int<int>(text.substr(8, 2));
  if (!year || !month || !day || *year < 1970 || *month < 1 || *month > 12 || *day < 1 || *day > 31) return false;
  parts.tm_year = *year - 1900;
  parts.tm_mon = *month - 1;
  parts.tm_mday = *day;
  text.remove_prefix(10);
  return true;
}

// "03:41", "03:41:06" or "03:41:06.250"; `rest` becomes the fraction of the second.
bool take_clock(std::string_view text, std::tm& parts, nanoseconds& rest) {
  const auto two = [&](int below) -> std::optional<int> {
    if (text.size() < 2) return std::nullopt;
    const auto n = base::to_int<int>(text.substr(0, 2));
    text.remove_prefix(2);
    if (!n || *n < 0 || *n >= below) return std::nullopt;
    return n;
  };
  const auto hour = two(24);
  if (!hour || !text.starts_with(':')) return false;
  text.remove_prefix(1);
  const auto minute = two(60);
  if (!minute) return false;
  parts.tm_hour = *hour;
  parts.tm_min = *minute;
  parts.tm_sec = 0;
  if (text.empty()) return true;
  if (!text.starts_with(':')) return false;
  text.remove_prefix(1);
  const auto second = two(61);
  if (!second) return false;
  parts.tm_sec = *second;
  if (text.empty()) return true;
  if (text.size() < 2 || text.size() > 10 || text.front() != '.') return false;
  std::int64_t unit = 100'000'000;
  for (const char c : text.substr(1)) {
    if (c < '0' || c > '9') return false;
    rest += nanoseconds(unit * (c - '0'));
    unit /= 10;
  }
  return true;
}

}  // namespace

void RecentSamples::add(Sample sample, bool after_gap) {
  Entry entry;
  entry.moment.at = sample.snapshot->taken_wall;
  entry.moment.after_gap = after_gap;
  if (!all_.empty()) {
    entry.moment.marks = record::marks_between(*all_.back().sample.snapshot, *sample.snapshot);
    entry.moment.cpu = record::cpu_between(all_.back().sample.snapshot, sample.snapshot);
  }
  entry.bytes = bytes_of(*sample.snapshot);
  entry.sample = std::move(sample);
  bytes_ += entry.bytes;
  all_.push_back(std::move(entry));
  while (all_.size() > 3 && (all_.size() > kMaxRecent || bytes_ > kMaxRecentBytes)) {
    bytes_ -= all_.front().bytes;
    all_.pop_front();
  }
}

tl::expected<std::unique_ptr<Recording>, ExitError> Recording::open(const std::string& path,
                                                                    std::shared_ptr<const model::Catalogue> catalogue) {
  auto reader = record::RecordingReader::open(path, std::move(catalogue));
  if (!reader) return tl::unexpected(exit_error_of(reader.error()));
  return std::unique_ptr<Recording>(new Recording(std::move(*reader)));
}

base::Result<Sample> Recording::at(std::size_t i) {
  auto sample = reader_->at(i);
  if (!sample) return tl::unexpected(sample.error());
  return Sample{std::move(sample->snapshot), model::parse_host(sample->note).value_or(model::Host{})};
}

std::string Recording::gap_reason(std::size_t i) const {
  if (!moment(i).after_gap) return {};
  for (const auto& gap : reader_->gaps()) {
    if (gap.to == moment(i).at) return gap.why;
  }
  return "no samples were recorded";
}

std::string Recording::losses() const {
  if (reader_->lost_ranges() == 0) return {};
  return std::to_string(reader_->lost_ranges()) +
         (reader_->lost_ranges() == 1 ? " damaged place with " : " damaged places with ") +
         std::to_string(reader_->lost_bytes()) + " bytes skipped";
}

std::optional<base::Wall> parse_time(std::string_view text, base::Wall now) {
  if (text == "now") return now;
  if (text.starts_with('-') || text.starts_with('+')) {
    const auto by = parse_duration(text.substr(1));
    if (!by) return std::nullopt;
    return text.front() == '-' ? now - *by : now + *by;
  }
  if (text.starts_with('@')) {
    const auto seconds = base::to_int<std::int64_t>(text.substr(1));
    if (!seconds || *seconds < 0 || *seconds > 9'000'000'000) return std::nullopt;
    return base::Wall(std::chrono::seconds(*seconds));
  }
  const bool utc = text.ends_with('Z');
  if (utc) text.remove_suffix(1);
  std::tm parts{};
  const std::time_t today = std::chrono::system_clock::to_time_t(now);
  if (utc) {
    ::gmtime_r(&today, &parts);
  } else {
    ::localtime_r(&today, &parts);
  }
  parts.tm_isdst = -1;
  parts.tm_hour = parts.tm_min = parts.tm_sec = 0;
  nanoseconds rest{};
  if (take_date(text, parts)) {
    if (!text.empty() && text.front() != 'T' && text.front() != ' ') return std::nullopt;
    if (!text.empty() && !take_clock(text.substr(1), parts, rest)) return std::nullopt;
  } else if (!take_clock(text, parts, rest)) {
    return std::nullopt;
  }
  const auto seconds = utc ? ::timegm(&parts) : ::mktime(&parts);
  return base::Wall(std::chrono::seconds(seconds)) + std::chrono::duration_cast<base::Wall::duration>(rest);
}

ExitError invalid_time(std::string_view option, std::string_view value) {
  return {kUsage, std::string(option) + ": '" + base::printable(value) +
                      "': invalid time (use 2026-11-24T03:41:06, 03:41, -10m or @SECONDS)"};
}

tl::expected<std::pair<std::size_t, std::size_t>, ExitError> range_of(const Options& o, const History& history) {
  const auto last = history.size() - 1;
  const auto newest = history.moment(last).at;
  const auto time = [&](const std::string& text, const char* option) -> tl::expected<base::Wall, ExitError> {
    const auto t = parse_time(text, newest);
    if (!t) return tl::unexpected(invalid_time(option, text));
    return *t;
  };
  const auto begins_later = [&](const char* option, const std::string& text) {
    return ExitError{kNotFound, std::string(option) + ": '" + base::printable(text) +
                                    "': no sample: the recording begins at " + iso_time(history.moment(0).at)};
  };
  if (o.at.empty() && o.begin.empty() && o.end.empty()) return std::pair{last, last};
  if (!o.at.empty() && (!o.begin.empty() || !o.end.empty())) {
    return tl::unexpected(ExitError{
        kUsage, "--at: cannot be combined with --begin and --end: it selects one sample, they select a range"});
  }
  // Output has times in milliseconds; compare in milliseconds, so that a printed time selects its sample.
  const auto moment = [&](std::size_t i) { return std::chrono::floor<milliseconds>(history.moment(i).at); };
  std::size_t first = 0;
  std::size_t end = last;
  if (!o.at.empty()) {
    const auto at = time(o.at, "--at");
    if (!at) return tl::unexpected(at.error());
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i <= last; ++i) {
      if (moment(i) <= *at) best = i;
    }
    if (!best) return tl::unexpected(begins_later("--at", o.at));
    return std::pair{*best, *best};
  }
  if (!o.begin.empty()) {
    const auto begin = time(o.begin, "--begin");
    if (!begin) return tl::unexpected(begin.error());
    while (first <= last && moment(first) < *begin) ++first;
  }
  if (!o.end.empty()) {
    const auto until = time(o.end, "--end");
    if (!until) return tl::unexpected(until.error());
    while (end > 0 && moment(end) > *until) --end;
    if (moment(end) > *until) return tl::unexpected(begins_later("--end", o.end));
  }
  if (first > end)
    return tl::unexpected(ExitError{kNotFound, "--begin, --end: the recording has no sample in this range"});
  return std::pair{first, end};
}

std::string default_recording(const std::string& host, base::Wall now) {
  const char* const state = std::getenv("XDG_STATE_HOME");
  const char* const home = std::getenv("HOME");
  std::filesystem::path directory;
  if (state != nullptr && *state == '/') {
    directory = state;
  } else if (home != nullptr && *home == '/') {
    directory = std::filesystem::path(home) / ".local/state";
  } else {
    return {};
  }
  directory /= "cgtop";
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return {};
  std::string name;
  for (const char c : host) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
    if (name.size() < 64) name += plain ? c : '_';
  }
  const auto seconds = std::chrono::system_clock::to_time_t(now);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 32> time{};
  const auto size = std::strftime(time.data(), time.size(), "%Y%m%dT%H%M%SZ", &parts);
  return (directory / ((name.empty() ? "host" : name) + "-" + std::string(time.data(), size) + ".cgrec")).string();
}

int run_record(const Options& o) {
  if (!o.prometheus.empty())
    return report_error(
        {kUsage,
         "--prometheus: unsupported by cgtop record: it records one host, and Prometheus stores the samples already"});
  const auto catalogue = collectors::make_catalogue();
  auto source = open_source(o, catalogue);
  if (!source) return report_error(source.error());
  record::RecordingWriter::Options limits;
  limits.max_bytes = o.max_size;
  limits.max_age = std::chrono::duration_cast<std::chrono::seconds>(o.max_age);
  auto writer = record::RecordingWriter::open(o.file, catalogue, limits);
  if (!writer) return report_error(exit_error_of(writer.error()));

  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  const auto delay = o.delay.value_or(milliseconds(5000));
  const auto begun = base::monotonic_now();
  auto due = begun;
  auto last = (*writer)->resumed_after();
  std::string gap_reason = "recording was stopped";
  bool first = true;
  int code = kDone;
  while (true) {
    auto sample = (*source)->take();
    if (!sample) {
      // Continue when the source responds again; the file records the gap and its reason.
      if (first) return report_error(sample.error());
      gap_reason = sample.error().what;
    } else {
      const auto now = sample->snapshot->taken_wall;
      if (last && (first || !gap_reason.empty() || now - *last > 2 * delay + milliseconds(100))) {
        const auto added = (*writer)->add_gap(*last, now, gap_reason.empty() ? "the sample was late" : gap_reason);
        if (!added) return report_error(exit_error_of(added.error()));
      }
      gap_reason.clear();
      last = now;
      first = false;
      if (const auto added = (*writer)->add(sample->snapshot, model::to_json(sample->host)); !added) {
        code = report_error(exit_error_of(added.error()));
        break;
      }
    }
    due += delay;
    auto now = base::monotonic_now();
    while (due < now) due += delay;  // missed samples are not taken later
    if (o.for_time.count() > 0 && due > begun + o.for_time) break;
    if (o.iterations && *o.iterations > 0 && (*writer)->samples() >= *o.iterations) break;
    int signal = 0;
    while (signal <= 0 && now < due) {
      const auto wait = std::chrono::duration_cast<nanoseconds>(due - now);
      const timespec ts{static_cast<std::time_t>(wait.count() / 1'000'000'000),
                        static_cast<long>(wait.count() % 1'000'000'000)};
      signal = ::sigtimedwait(&signals, nullptr, &ts);
      now = base::monotonic_now();
    }
    if (signal > 0) break;
  }
  if (const auto flushed = (*writer)->flush(); !flushed) return report_error(exit_error_of(flushed.error()));
  if (code == kDone) {
    std::cout << o.file << ": " << (*writer)->samples() << " samples, " << (*writer)->bytes() << " bytes\n";
  }
  return code;
}

int run_snapshot(const Options& o) {
  const auto catalogue = collectors::make_catalogue();
  auto from = Recording::open(o.from, catalogue);
  if (!from) return report_error(from.error());
  auto& recording = **from;
  auto range_options = o;
  if (o.at.empty() && o.begin.empty() && o.end.empty()) range_options.begin = "@0";  // the whole recording
  const auto range = range_of(range_options, recording);
  if (!range) return report_error(range.error());
  std::error_code error;
  if (std::filesystem::exists(o.file, error))
    return report_error({kUsage, base::printable(o.file) + ": cannot create: the file exists (use another name)"});
  auto writer = record::RecordingWriter::open(o.file, catalogue, {});
  if (!writer) return report_error(exit_error_of(writer.error()));
  std::size_t unreadable = 0;
  base::Result<void> result;
  std::optional<base::Wall> last;
  // Include the previous sample, so that the first selected one has rates.
  const auto first = range->first > 0 && !recording.moment(range->first).after_gap ? range->first - 1 : range->first;
  bool gap = false;
  for (auto i = first; i <= range->second && result; ++i) {
    auto sample = recording.at(i);
    if (!sample) {
      ++unreadable;
      gap = true;
      continue;
    }
    const auto& moment = recording.moment(i);
    if (last && (gap || moment.after_gap)) {
      result = (*writer)->add_gap(*last, moment.at, gap ? "this part of the file is damaged" : recording.gap_reason(i));
    }
    gap = false;
    last = moment.at;
    if (result) result = (*writer)->add(sample->snapshot, model::to_json(sample->host));
  }
  if (result) result = (*writer)->flush();
  if (!result) {
    std::filesystem::remove(o.file, error);
    return report_error(exit_error_of(result.error()));
  }
  std::cout << o.file << ": " << (*writer)->samples() << " samples, " << (*writer)->bytes() << " bytes\n";
  const auto losses = recording.losses();
  if (unreadable > 0 || !losses.empty()) {
    return report_error(
        {kDamagedRecording, base::printable(o.from) + ": " +
                                (losses.empty() ? std::to_string(unreadable) + " samples are unreadable" : losses)});
  }
  return kDone;
}

}  // namespace cgwarden::cgtop
