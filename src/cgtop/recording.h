// SPDX-License-Identifier: Apache-2.0
// Samples that one can go through: those of this session, or those of a file. And the commands that make and cut files.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/cgtop/source.h"
#include "src/record/record.h"

namespace cgwarden::cgtop {

class History {
 public:
  using Moment = record::RecordingReader::Moment;

  History() = default;
  virtual ~History() = default;
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  [[nodiscard]] virtual std::size_t size() const = 0;
  [[nodiscard]] virtual const Moment& moment(std::size_t i) const = 0;
  // Error: that part of the file is damaged.
  virtual base::Result<Sample> at(std::size_t i) = 0;
  // Why nothing is known between the sample before and this one; empty: it is, or nobody told.
  [[nodiscard]] virtual std::string why_gap(std::size_t i) const = 0;
};

// The newest samples of this session, within bounds.
class Ring : public History {
 public:
  void add(Sample taken, bool after_gap);
  [[nodiscard]] std::size_t size() const override { return all_.size(); }
  [[nodiscard]] const Moment& moment(std::size_t i) const override { return all_[i].moment; }
  base::Result<Sample> at(std::size_t i) override { return all_[i].taken; }
  [[nodiscard]] std::string why_gap(std::size_t i) const override {
    return all_[i].moment.after_gap ? "no sample was taken" : "";
  }

 private:
  struct Entry {
    Sample taken;
    Moment moment;
    std::size_t bytes = 0;
  };
  std::deque<Entry> all_;  // oldest first
  std::size_t bytes_ = 0;
};

class Recording : public History {
 public:
  static tl::expected<std::unique_ptr<Recording>, ExitError> open(const std::string& path,
                                                                  std::shared_ptr<const model::Catalogue> catalogue);
  [[nodiscard]] std::size_t size() const override { return reader_->size(); }
  [[nodiscard]] const Moment& moment(std::size_t i) const override { return reader_->moment(i); }
  base::Result<Sample> at(std::size_t i) override;
  [[nodiscard]] std::string why_gap(std::size_t i) const override;
  [[nodiscard]] const record::RecordingReader& reader() const { return *reader_; }
  // One line, or nothing when nothing is missing.
  [[nodiscard]] std::string losses() const;

 private:
  explicit Recording(std::unique_ptr<record::RecordingReader> reader) : reader_(std::move(reader)) {}
  std::unique_ptr<record::RecordingReader> reader_;
};

// "2026-11-24T03:41:06Z", "2026-11-24 03:41", "03:41" (of the day of `now`), "-10m" (before `now`), "@1764041000",
// "now". Without Z it is local time. Nothing: it is none of these.
std::optional<base::Wall> parse_time(std::string_view text, base::Wall now);

// The samples that --at, --begin and --end name: [first, last]. Without any of them the last one.
tl::expected<std::pair<std::size_t, std::size_t>, ExitError> range_of(const Options& options, const History& history);

// `cgtop record`: until it is told to end. The exit code.
int run_record(const Options& options);
// `cgtop snapshot`: a piece of a recording as a recording.
int run_snapshot(const Options& options);

// Where R of the screen records to when nothing else was said.
std::string default_recording(const std::string& host, base::Wall now);

}  // namespace cgwarden::cgtop
