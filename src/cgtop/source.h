// SPDX-License-Identifier: Apache-2.0
// Sources of samples: this host, an agent, or a Prometheus server. Recordings allow random access and are in
// recording.h. All calls block until their deadline at most and are made from one thread; only cancel() is thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "src/cgtop/host.h"
#include "src/cgtop/options.h"
#include "src/model/snapshot.h"

namespace cgwarden::cgtop {

// A failure that ends the program: the exit status, and the message without the "cgtop: " prefix.
struct ExitError {
  int code = kUnexpected;
  std::string what;
};
// Prints the error to standard error and returns its exit status.
int report_error(const ExitError& error);

struct Sample {
  model::SnapshotPtr snapshot;
  model::Host host;
  model::SnapshotPtr before = nullptr;  // start of the interval for rates; null: the previous sample
};

class SampleSource {
 public:
  SampleSource() = default;
  virtual ~SampleSource() = default;
  SampleSource(const SampleSource&) = delete;
  SampleSource& operator=(const SampleSource&) = delete;

  // "cgroupfs", "agent" or "prometheus"; the value of `source` in JSON output.
  [[nodiscard]] virtual std::string_view name() const = 0;
  // Takes one sample. It may be the same snapshot as before if the source has no newer one.
  virtual tl::expected<Sample, ExitError> take() = 0;
  // The processes of the cgroup, with `recursive` also those of its descendants. Error: also if the source does not
  // support it.
  virtual tl::expected<Processes, ExitError> processes(const std::string& cgroup, bool recursive) = 0;
  // Path of the cgroup of a process. nullopt: no such process, or unsupported by the source.
  virtual std::optional<std::string> cgroup_of_pid(int pid) = 0;
  // Aborts the pending call; all later calls fail.
  virtual void cancel() {}
};

// Opens the source that the options select. Error: they select more than one, or it cannot be opened.
tl::expected<std::unique_ptr<SampleSource>, ExitError> open_source(const Options& options,
                                                                   std::shared_ptr<const model::Catalogue> catalogue);
tl::expected<std::unique_ptr<SampleSource>, ExitError> open_agent(const Options& options,
                                                                  std::shared_ptr<const model::Catalogue> catalogue);
tl::expected<std::unique_ptr<SampleSource>, ExitError> open_prometheus(
    const Options& options, std::shared_ptr<const model::Catalogue> catalogue);
tl::expected<std::unique_ptr<SampleSource>, ExitError> open_live(const Options& options,
                                                                 std::shared_ptr<const model::Catalogue> catalogue);

}  // namespace cgwarden::cgtop
