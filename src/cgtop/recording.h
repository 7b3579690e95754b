// SPDX-License-Identifier: Apache-2.0
// Sequences of samples with random access: those of this session and those of a recording. Also the commands `cgtop
// record` and `cgtop snapshot`, which write recordings.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/cgtop/source.h"
#include "src/record/record.h"

namespace cgwarden::cgtop {

// Samples in order of time, indexed from 0, the oldest. Not thread-safe.
class History {
 public:
  using Moment = record::RecordingReader::Moment;

  History() = default;
  virtual ~History() = default;
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  [[nodiscard]] virtual std::size_t size() const = 0;
  [[nodiscard]] virtual const Moment& moment(std::size_t i) const = 0;
  // Error: this part of the file is damaged.
  virtual base::Result<Sample> at(std::size_t i) = 0;
  // Why samples are missing between the previous one and this one; empty without a gap.
  [[nodiscard]] virtual std::string gap_reason(std::size_t i) const = 0;
};

// The newest samples of this session: at most 1800, or about 96 MiB of values.
class RecentSamples : public History {
 public:
  void add(Sample sample, bool after_gap);
  [[nodiscard]] std::size_t size() const override { return all_.size(); }
  [[nodiscard]] const Moment& moment(std::size_t i) const override { return all_[i].moment; }
  base::Result<Sample> at(std::size_t i) override { return all_[i].sample; }
  [[nodiscard]] std::string gap_reason(std::size_t i) const override {
    return all_[i].moment.after_gap ? "no sample was taken" : "";
  }

 private:
  struct Entry {
    Sample sample;
    Moment moment;
    std::size_t bytes = 0;
  };
  std::deque<Entry> all_;  // oldest first
  std::size_t bytes_ = 0;
};

// The samples of a file.
class Recording : public History {
 public:
  // Error: the file is missing, unreadable, damaged, or not a recording.
  static tl::expected<std::unique_ptr<Recording>, ExitError> open(const std::string& path,
                                                                  std::shared_ptr<const model::Catalogue> catalogue);
  [[nodiscard]] std::size_t size() const override { return reader_->size(); }
  [[nodiscard]] const Moment& moment(std::size_t i) const override { return reader_->moment(i); }
  base::Result<Sample> at(std::size_t i) override;
  [[nodiscard]] std::string gap_reason(std::size_t i) const override;
  [[nodiscard]] const record::RecordingReader& reader() const { return *reader_; }
  // "2 damaged places with 4096 bytes skipped"; empty if the file is undamaged.
  [[nodiscard]] std::string losses() const;

 private:
  explicit Recording(std::unique_ptr<record::RecordingReader> reader) : reader_(std::move(reader)) {}
  std::unique_ptr<record::RecordingReader> reader_;
};

// "2026-11-24T03:41:06Z", "2026-11-24 03:41", "03:41" (of the day of `now`), "-10m" (before `now`), "@1764041000",
// "+10m" (after `now`), "now". Local time unless it ends in Z. nullopt: none of these forms.
std::optional<base::Wall> parse_time(std::string_view text, base::Wall now);
// The error for an option whose value parse_time() rejects.
ExitError invalid_time(std::string_view option, std::string_view value);

// The samples that --at, --begin and --end select: [first, last], both included. Without these options the last sample.
tl::expected<std::pair<std::size_t, std::size_t>, ExitError> range_of(const Options& options, const History& history);

// `cgtop record`: records until --for or --iterations is reached, or until SIGINT, SIGTERM or SIGHUP. Returns the exit
// status.
int run_record(const Options& options);
// `cgtop snapshot`: copies a part of a recording to a new recording. Returns the exit status.
int run_snapshot(const Options& options);

// Default file for the key R: $XDG_STATE_HOME/cgtop/HOST-TIME.cgrec, otherwise below $HOME/.local/state. Creates the
// directory. Empty: neither variable holds an absolute path, or the directory cannot be created.
std::string default_recording(const std::string& host, base::Wall now);

}  // namespace cgwarden::cgtop
