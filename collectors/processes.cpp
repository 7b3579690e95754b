// SPDX-License-Identifier: Apache-2.0
// Processes in a cgroup itself, without its descendants: their number, states, threads, open files and sockets. From
// cgroup.procs, proc_pid_stat(5) and proc_pid_fd(5).
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "collectors/collectors.h"
#include "collectors/series.h"
#include "src/base/file.h"
#include "src/base/text.h"

namespace cgwarden::collectors {
namespace {

using model::CgroupIndex;
using model::FieldId;
using model::Value;
using enum model::MetricKind;

// clang-format off
constexpr model::Field kProcessesRows[] = {
    {.name = "processes", .kind = gauge, .derived = "`cgroup.procs`; `cgroup.threads` in a threaded cgroup",
     .since = "5.4", .help = "Processes in the cgroup itself, without descendants.",
     .cadvisor = "container_processes"},
};
constexpr model::Field kStateRows[] = {
    {.name = "process_states", .kind = gauge, .derived = "`/proc/PID/stat` of processes in the cgroup itself",
     .labels = "state", .since = "5.4", .help = "Processes in the cgroup itself, by state of their main thread."},
    {.name = "threads", .kind = gauge, .derived = "`/proc/PID/stat` of processes in the cgroup itself", .since = "5.4",
     .help = "Threads of the processes in the cgroup itself."},
};
constexpr model::Field kFileRows[] = {
    {.name = "open_files", .kind = gauge, .derived = "`/proc/PID/fd` of processes in the cgroup itself", .since = "5.4",
     .help = "Open file descriptors of processes in the cgroup itself; missing if those of a process could not be "
             "read.",
     .cadvisor = "container_file_descriptors"},
    {.name = "sockets", .kind = gauge, .derived = "`/proc/PID/fd` of processes in the cgroup itself", .since = "5.4",
     .help = "Open file descriptors of processes in the cgroup itself that refer to sockets; missing if those of a "
             "process could not be read.",
     .cadvisor = "container_sockets"},
};
// clang-format on
static_assert(model::all_well_formed(kProcessesRows) && model::all_well_formed(kStateRows) &&
              model::all_well_formed(kFileRows));

class Processes : public CustomReader {
 public:
  explicit Processes(const CustomContext& context)
      : processes_(context.processes), count_(context.catalogue.find("processes").value()) {}

  void read(const cgroup::Tree& tree, cgroup::Node& node, CgroupIndex cgroup, model::Snapshot& snapshot,
            model::CollectorStats& stats) override {
    const auto& found = processes_.list(tree, node, cgroup, stats);
    if (found.listed) set_value(snapshot, count_, cgroup, Value::of(static_cast<std::int64_t>(found.count())));
  }

 private:
  cgroup::ProcessTable& processes_;
  FieldId count_;
};

struct State {
  char letter;
  std::string_view name;
};
constexpr std::array<State, 9> kTaskStates = {{{'R', "running"},
                                               {'S', "sleeping"},
                                               {'D', "disk_sleep"},
                                               {'T', "stopped"},
                                               {'t', "traced"},
                                               {'I', "idle"},
                                               {'Z', "zombie"},
                                               {'X', "dead"},
                                               {'P', "parked"}}};

class States : public CustomReader {
 public:
  explicit States(const CustomContext& context)
      : processes_(context.processes),
        states_(context.catalogue.find("process_states").value()),
        threads_(context.catalogue.find("threads").value()) {}

  void read(const cgroup::Tree& tree, cgroup::Node& node, CgroupIndex cgroup, model::Snapshot& snapshot,
            model::CollectorStats& stats) override {
    const auto& found = processes_.list(tree, node, cgroup, stats);
    if (!found.listed || found.count() == 0) return;
    std::array<std::int64_t, kTaskStates.size()> counts{};
    std::uint64_t threads = 0;
    std::uint64_t unknown = found.out_of_view;
    for (const auto pid : found.pids) {
      const auto fd = processes_.open(pid);
      if (!fd && !processes_.is_exited(errno)) ++unknown;
      if (!fd) continue;
      const auto text = processes_.read_file(fd.get(), "stat", stats);
      if (text.empty() && !base::exists(fd.get(), "stat")) continue;  // exited
      cgroup::ProcessStat stat;
      const bool read = cgroup::parse_process_stat(text, stat);
      const auto* const state = std::ranges::find(kTaskStates, stat.state, &State::letter);
      if (!read || state == kTaskStates.end()) {
        ++unknown;
        continue;
      }
      ++counts[static_cast<std::size_t>(state - kTaskStates.begin())];
      threads += stat.threads;
    }
    for (std::size_t i = 0; i < kTaskStates.size(); ++i) {
      if (counts[i] != 0 || i < kAlwaysShown) {
        add_series(snapshot.columns[states_], cgroup, kTaskStates[i].name, Value::of(counts[i]));
      }
    }
    if (unknown != 0) {
      add_series(snapshot.columns[states_], cgroup, "unknown", Value::of(static_cast<std::int64_t>(unknown)));
    } else {
      set_value(snapshot, threads_, cgroup, Value::of(static_cast<std::int64_t>(threads)));
    }
  }

 private:
  static constexpr std::size_t kAlwaysShown = 4;  // other states are rare and exported only if they occur

  cgroup::ProcessTable& processes_;
  FieldId states_;
  FieldId threads_;
};

class Files : public CustomReader {
 public:
  explicit Files(const CustomContext& context)
      : processes_(context.processes),
        files_(context.catalogue.find("open_files").value()),
        sockets_(context.catalogue.find("sockets").value()) {}

  void read(const cgroup::Tree& tree, cgroup::Node& node, CgroupIndex cgroup, model::Snapshot& snapshot,
            model::CollectorStats& stats) override {
    const auto& found = processes_.list(tree, node, cgroup, stats);
    if (!found.listed || found.count() == 0) return;
    Counts counts;
    counts.complete = found.out_of_view == 0;
    for (const auto pid : found.pids) {
      const auto fd = processes_.open(pid);
      if (fd) count(fd.get(), counts, stats);
      if (!fd && !processes_.is_exited(errno)) counts.complete = false;
    }
    if (!counts.complete) return;  // a partial count would look like the total
    set_value(snapshot, files_, cgroup, Value::of(counts.files));
    set_value(snapshot, sockets_, cgroup, Value::of(counts.sockets));
  }

 private:
  static constexpr std::int64_t kMaxFiles = 1 << 20;  // file descriptors per cgroup

  struct Counts {
    std::int64_t files = 0;
    std::int64_t sockets = 0;
    bool complete = true;
  };

  void count(int process, Counts& counts, model::CollectorStats& stats) {
    const base::Fd dir(::openat(process, "fd", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!dir) {
      counts.complete = counts.complete && errno != EACCES && errno != EPERM && errno != EMFILE && errno != ENFILE;
      return;
    }
    ++stats.reads;
    while (true) {
      const auto n = ::syscall(SYS_getdents64, dir.get(), buffer_.data(), buffer_.size());
      if (n < 0 && (errno == EACCES || errno == EPERM)) counts.complete = false;
      if (n <= 0) return;
      stats.bytes += static_cast<std::uint64_t>(n);
      for (long at = 0; at < n;) {
        const auto* entry = reinterpret_cast<const dirent64*>(buffer_.data() + at);
        at += entry->d_reclen;
        if (entry->d_name[0] == '.') continue;
        if (++counts.files > kMaxFiles) {
          counts.complete = false;
          return;
        }
        char link[16];
        const auto size = ::readlinkat(dir.get(), entry->d_name, link, sizeof link);
        if (size > 0 && std::string_view(link, static_cast<std::size_t>(size)).starts_with("socket:["))
          ++counts.sockets;
      }
    }
  }

  cgroup::ProcessTable& processes_;
  FieldId files_;
  FieldId sockets_;
  alignas(8) std::array<char, 16384> buffer_{};
};

}  // namespace

Collector processes() {
  return {{"processes", "Number of processes in the cgroup itself.", true, kProcessesRows},
          [](const CustomContext& context) -> std::unique_ptr<CustomReader> {
            return std::make_unique<Processes>(context);
          }};
}

Collector process_states() {
  return {
      {"process_states", "States and threads of processes in the cgroup itself. Cost: one file per process.", false,
       kStateRows},
      [](const CustomContext& context) -> std::unique_ptr<CustomReader> { return std::make_unique<States>(context); }};
}

Collector process_files() {
  return {
      {"process_files",
       "Open file descriptors and sockets of processes in the cgroup itself. Cost: one system call per file "
       "descriptor. Needs CAP_SYS_PTRACE.",
       false, kFileRows},
      [](const CustomContext& context) -> std::unique_ptr<CustomReader> { return std::make_unique<Files>(context); }};
}

}  // namespace cgwarden::collectors
