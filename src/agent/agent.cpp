// SPDX-License-Identifier: Apache-2.0
#include "src/agent/agent.h"

#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <iostream>

#include "collectors/sampler.h"
#include "exporter/container_families.h"
#include "exporter/server.h"
#include "src/agent/containers.h"
#include "src/agent/discovery.h"
#include "src/agent/enforcer.h"
#include "src/agent/log.h"
#include "src/agent/own_memory.h"
#include "src/agent/policy_commands.h"
#include "src/base/file.h"
#include "src/base/text.h"
#include "src/cgroup/host.h"

namespace cgwarden::agent {
namespace {

namespace asio = boost::asio;
using std::chrono::microseconds;

constexpr rlim_t kReservedDescriptors = 512;  // connections, listeners, libraries

// Raises the soft limit of open files to the hard limit. Directories and files are kept open within their budgets.
rlim_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

collectors::CollectionOptions collection_options(const Options& options) {
  collectors::CollectionOptions out;
  out.paths = options.paths;
  out.enabled = options.collectors;
  out.custom.max_removed = options.max_removed;
  out.custom.removed_for = std::chrono::seconds(options.removed_seconds);
  out.tree.max_cgroups = options.max_cgroups;
  const auto limit = raise_descriptor_limit();
  const auto free = limit > 2 * kReservedDescriptors ? limit - kReservedDescriptors : limit / 2;
  out.max_open_files = std::min<std::size_t>(options.max_open_files, free / 2);
  out.tree.max_open_dirs = free - out.max_open_files;
  return out;
}

class Service {
 public:
  Service(const Options& options, std::shared_ptr<const model::Catalogue> catalogue)
      : options_(options), catalogue_(std::move(catalogue)) {}

  int run() {
    auto sampler = collectors::Sampler::start(loop_, catalogue_, collection_options(options_),
                                              [](const std::string& line) { log::warn(line); });
    if (!sampler) return failed(sampler.error());
    sampler_ = std::move(*sampler);
    log::info("cgroup hierarchies found", {{"hierarchies", sampler_->summary()}});

    exporter::Server::Options web;
    web.listen = options_.listen_addresses;
    web.telemetry_path = options_.telemetry_path;
    web.max_connections = options_.max_connections;
    web.max_requests_in_flight = options_.max_requests;
    web.textfile_directories = options_.textfile_directories;
    web.writer.created = options_.created_timestamps;
    web.writer.labels = exporter::container_labels([this] { return discovery_ ? discovery_->table() : nullptr; });
    const auto paths = collection_options(options_).paths;
    if (const auto found = cgroup::find_hierarchies(paths)) {
      web.host = [paths, hierarchies = *found] { return cgroup::read_host(paths, hierarchies); };
    }
    const auto metrics = std::make_shared<exporter::SelfMetrics>();
    exporter::Server server(
        loop_, web, catalogue_,
        [this](std::chrono::nanoseconds max_age, std::function<void(model::SnapshotPtr)> done) {
          sampler_->request(max_age, std::move(done));
        },
        metrics);
    if (options_.discovery) {
      discovery_ =
          std::make_unique<Discovery>(loop_, options_, metrics->registry(), [&server] { server.reset_labels(); });
      sampler_->complete_with([this](model::Snapshot& snapshot) { discovery_->complete(snapshot); });
    }
    if (const auto started = server.start(); !started) return failed(started.error());
    for (const auto& address : server.addresses()) log::info("listening", {{"address", address}});

    wait_for_signals(server);
    // Ready after the first sample.
    sampler_->request(std::chrono::nanoseconds(0), [paths](const model::SnapshotPtr& snapshot) {
      log::info("ready", {{"cgroups", snapshot->cgroup_count()}});
      const auto own = base::read_file(paths.procfs + "/self/cgroup");
      if (const auto shortage = memory_shortage(*snapshot, own.value_or(""))) {
        log::warn(
            "memory limit too low, scrapes will be slow or fail (raise MemoryHigh= or the container limit)",
            {{"cgroups", shortage->cgroups}, {"needed_mib", shortage->needed_mib}, {"limit_mib", shortage->limit_mib}});
      }
      ::sd_notify(0, "READY=1");
    });
    if (options_.interval_seconds > 0) sample_in_background();
    std::uint64_t watchdog_us = 0;
    if (::sd_watchdog_enabled(0, &watchdog_us) > 0) feed_watchdog(microseconds(watchdog_us / 3));

    loop_.run();
    sampler_.reset();
    log::info("stopped");
    return kOk;
  }

 private:
  static int failed(const base::Error& error) {
    log::error("start failed", {{"error", error.what}});
    return kFailed;
  }

  void wait_for_signals(exporter::Server& server) {
    signals_.async_wait([this, &server](const boost::system::error_code& error, int signal) {
      if (error) return;
      if (signal == SIGHUP) {
        reload();
        wait_for_signals(server);
        return;
      }
      ::sd_notify(0, "STOPPING=1");
      server.stop();
      loop_.stop();
    });
  }

  void reload() {
    ::sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
                 static_cast<long long>(
                     std::chrono::duration_cast<microseconds>(base::monotonic_now().time_since_epoch()).count()));
    sampler_->reopen([](const base::Result<std::string>& found) {
      if (found) {
        log::info("reloaded", {{"hierarchies", *found}});
      } else {
        log::error("reload failed, previous state stays active", {{"error", found.error().what}});
      }
      ::sd_notify(0, "READY=1");
    });
  }

  // The next interval starts after a sample: late samples are skipped, not repeated.
  void sample_in_background() {
    sampling_.expires_after(
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(options_.interval_seconds)));
    sampling_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      sampler_->request(std::chrono::nanoseconds(0), [this](const model::SnapshotPtr&) { sample_in_background(); });
    });
  }

  // The loop feeds the watchdog after the sampling thread has answered: systemd restarts the agent if either hangs.
  void feed_watchdog(microseconds every) {
    watchdog_.expires_after(every);
    watchdog_.async_wait([this, every](const boost::system::error_code& error) {
      if (error) return;
      sampler_->ping([this, every] {
        ::sd_notify(0, "WATCHDOG=1");
        feed_watchdog(every);
      });
    });
  }

  Options options_;
  std::shared_ptr<const model::Catalogue> catalogue_;
  asio::io_context loop_{1};
  asio::signal_set signals_{loop_, SIGTERM, SIGINT, SIGHUP};
  asio::steady_timer watchdog_{loop_};
  asio::steady_timer sampling_{loop_};
  std::unique_ptr<collectors::Sampler> sampler_;
  std::unique_ptr<Discovery> discovery_;
};

// Runs discovery once, for commands that print one sample.
void discover_once(const Options& options, model::Snapshot& snapshot) {
  if (!options.discovery) return;
  discovery::Resolver resolver(discovery_options(options), [](const std::string& line) { log::warn(line); });
  resolver.resolve(snapshot.cgroup_list);
  query_daemons_once(options, resolver);
  snapshot.containers = resolver.table();
}

int print_once(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue) {
  auto collection = collectors::Collection::open(catalogue, collection_options(options),
                                                 [](const std::string& line) { log::warn(line); });
  if (!collection) {
    log::error("cannot read cgroups", {{"error", collection.error().what}});
    return kFailed;
  }
  const auto format = options.once_format == "openmetrics" ? exporter::Format::openmetrics : exporter::Format::text;
  const auto snapshot = (*collection)->collect();
  discover_once(options, *snapshot);
  exporter::TextWriter::Options writer;
  writer.labels = exporter::container_labels([table = snapshot->containers] { return table; });
  const auto text = exporter::render_once(*snapshot, format, std::move(writer));
  std::cout.write(text.data(), static_cast<std::streamsize>(text.size())).flush();
  return std::cout ? kOk : kFailed;
}

int list_containers(Options options, const std::shared_ptr<const model::Catalogue>& catalogue) {
  options.discovery = true;
  options.collectors.assign(options.collectors.size(), false);
  auto collection = collectors::Collection::open(catalogue, collection_options(options),
                                                 [](const std::string& line) { log::warn(line); });
  if (!collection) {
    log::error("cannot read cgroups", {{"error", collection.error().what}});
    return kFailed;
  }
  const auto snapshot = (*collection)->collect();
  discover_once(options, *snapshot);
  find_writable_layers(*snapshot, options.paths.procfs);
  print_containers(*snapshot, options.containers_as_json, std::cout);
  return std::cout.flush() ? kOk : kFailed;
}

int check(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue) {
  const auto warn = [](const std::string& line) { std::cout << "warning: " << base::printable(line) << '\n'; };
  auto collection = collectors::Collection::open(catalogue, collection_options(options), warn);
  if (!collection) {
    std::cout << "error: " << collection.error().what << '\n';
    return kFailed;
  }
  std::cout << "hierarchies: " << (*collection)->hierarchies().summary() << '\n';
  const auto snapshot = (*collection)->collect();
  std::cout << "cgroups: " << snapshot->cgroup_count()
            << (snapshot->tree.inotify_active ? " (watched with inotify)" : " (found by scanning)") << '\n';
  bool good = true;
  for (std::size_t c = 0; c < snapshot->collectors.size(); ++c) {
    const auto& stats = snapshot->collectors[c];
    const auto& info = catalogue->collectors()[c];
    std::cout << "collector " << info.name << ": ";
    if (!stats.enabled) {
      std::cout << "disabled\n";
    } else if (std::ranges::all_of(info.rows, [](const model::Field& row) { return !row.derived.empty(); }) &&
               stats.errors == 0) {
      std::cout << "enabled\n";
    } else if (stats.reads == 0) {
      std::cout << "no files on this host\n";
    } else {
      std::cout << stats.reads << " files read, " << stats.errors << " errors\n";
      good = good && stats.errors == 0;
    }
  }
  if (!good) std::cout << "error: some files are not readable (run as root or with CAP_DAC_READ_SEARCH)\n";
  return good ? kOk : kFailed;
}

}  // namespace

int run(const Options& options, const std::shared_ptr<const model::Catalogue>& catalogue) {
  log::set_up(options.log_level, options.log_format);
  switch (options.action) {
    case Options::Action::version:
      std::cout << "cgwarden " CGWARDEN_VERSION "\n";
      return kOk;
    case Options::Action::print_markdown:
      std::cout << model::to_markdown(*catalogue);
      return kOk;
    case Options::Action::print_json:
      std::cout << model::to_json(*catalogue);
      return kOk;
    case Options::Action::once:
      return print_once(options, catalogue);
    case Options::Action::containers:
      return list_containers(options, catalogue);
    case Options::Action::check:
      return check(options, catalogue);
    case Options::Action::policy_check:
      return check_policy(options, catalogue);
    case Options::Action::policy_explain:
      return explain_policy(options, catalogue);
    case Options::Action::policy_test:
      return test_policy(options, catalogue);
    case Options::Action::enforce:
      return enforce(options, catalogue);
    case Options::Action::serve:
      break;
  }
  return Service(options, catalogue).run();
}

}  // namespace cgwarden::agent
