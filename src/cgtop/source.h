// SPDX-License-Identifier: Apache-2.0
// Where cgtop's samples come from: this host, an agent, a Prometheus. A recording is read by recording.h, as one can go
// back and forth in it. Everything blocks, within deadlines, and is called from one thread; only cancel() may be
// called from another.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "src/cgtop/host.h"
#include "src/cgtop/options.h"
#include "src/model/snapshot.h"

namespace cgwarden::cgtop {

// A reason to end with this exit code; one line for standard error.
struct ExitError {
  int code = kUnexpected;
  std::string what;
};
// Says it, and gives the code.
int stop(const ExitError& why);

struct Sample {
  model::SnapshotPtr snapshot;
  model::Host host;
  model::SnapshotPtr before = nullptr;  // what rates are from; null: the sample taken before
};

class SampleSource {
 public:
  SampleSource() = default;
  virtual ~SampleSource() = default;
  SampleSource(const SampleSource&) = delete;
  SampleSource& operator=(const SampleSource&) = delete;

  // "cgroupfs", "agent", "prometheus": what JSON says of it.
  [[nodiscard]] virtual std::string_view name() const = 0;
  virtual tl::expected<Sample, ExitError> take() = 0;
  // Who is in the cgroup. Not every source knows.
  virtual tl::expected<Processes, ExitError> processes(const std::string& cgroup, bool recursive) = 0;
  // The cgroup a process of that host is in.
  virtual std::optional<std::string> cgroup_of_pid(int pid) = 0;
  // Ends what waits, and all that comes.
  virtual void cancel() {}
};

// The one that the options ask for.
tl::expected<std::unique_ptr<SampleSource>, ExitError> open_source(const Options& options,
                                                                   std::shared_ptr<const model::Catalogue> catalogue);
tl::expected<std::unique_ptr<SampleSource>, ExitError> open_agent(const Options& options,
                                                                  std::shared_ptr<const model::Catalogue> catalogue);
tl::expected<std::unique_ptr<SampleSource>, ExitError> open_prometheus(
    const Options& options, std::shared_ptr<const model::Catalogue> catalogue);
tl::expected<std::unique_ptr<SampleSource>, ExitError> open_live(const Options& options,
                                                                 std::shared_ptr<const model::Catalogue> catalogue);

}  // namespace cgwarden::cgtop
