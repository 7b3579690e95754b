// SPDX-License-Identifier: Apache-2.0
#include "src/agent/writer_thread.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "src/agent/log.h"
#include "src/control/audit.h"
#include "src/control/undo_log.h"

namespace cgwarden::agent {

namespace asio = boost::asio;

struct WriterThread::Inner {
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(io);
  control::Writer::Options options;
  std::unique_ptr<control::Writer> writer;
  bool audit_error_logged = false;

  static bool is_limit_of(const control::UndoEntry& entry, const model::Action& action) {
    return entry.verb == model::Verb::limit && entry.rule == action.actor.rule && entry.path == action.cgroup.path &&
           entry.cgroup == action.cgroup.id;
  }

  model::Outcome apply(const model::Action& action, std::optional<base::Monotonic> until) {
    if (until && base::monotonic_now() > *until) {
      model::Outcome late;
      late.kind = model::Outcome::Kind::timeout;
      late.text = "skipped: the sample behind this decision is too old";
      return late;
    }
    if (action.verb == model::Verb::unlimit && action.actor.via == model::Actor::Via::policy)
      return undo_limits(action);
    auto outcome = writer->apply(action);
    // The writer records executed actions only; record dry runs and refusals here.
    if (action.actor.via == model::Actor::Via::policy &&
        (action.dry_run || outcome.kind == model::Outcome::Kind::refused)) {
      record(control::audit_line(action.dry_run ? "dry_run" : "refused", "", action, outcome));
    }
    return outcome;
  }

  model::Outcome undo_limits(const model::Action& action) {
    model::Outcome all;
    all.dry_run = action.dry_run;
    if (action.dry_run) {
      all.text = "would undo the limits of this rule";
      return all;
    }
    auto entries = writer->entries();
    std::reverse(entries.begin(), entries.end());  // latest first
    for (const auto& entry : entries) {
      if (!is_limit_of(entry, action)) continue;
      auto one = writer->undo(entry.id, action.actor, false);
      all.changes.insert(all.changes.end(), one.changes.begin(), one.changes.end());
      if (!all.text.empty()) all.text += "; ";
      all.text += one.text;
      all.route = one.route;
      if (!one.ok()) {
        all.kind = one.kind;
        all.guard = one.guard;
      }
    }
    return all;
  }

  void renew(const model::Action& action) {
    const auto undo_log = control::UndoLog::open(options.state_directory, false);
    if (!undo_log || !action.lease) return;
    const auto lock = undo_log->lock();
    if (!lock) return;
    for (auto& entry : undo_log->all()) {
      if (!is_limit_of(entry, action)) continue;
      entry.expires = control::boottime_now() + std::chrono::nanoseconds(*action.lease).count();
      (void)undo_log->put(entry);
    }
  }

  void record(const std::string& line) {
    if (options.audit_file.empty()) return;
    auto audit = control::Audit::open(options.audit_file, options.journal);
    const auto done = audit ? audit->append(line) : tl::unexpected(audit.error());
    if (!done && !std::exchange(audit_error_logged, true))
      log::error("cannot write audit record", {{"error", done.error().what}});
    if (done) audit_error_logged = false;
  }
};

base::Result<std::unique_ptr<WriterThread>> WriterThread::start(asio::io_context& loop,
                                                                control::Writer::Options options) {
  auto inner = std::make_shared<Inner>();
  auto writer = control::Writer::open(options);
  if (!writer) return tl::unexpected(writer.error());
  inner->options = std::move(options);
  inner->writer = std::move(*writer);
  return std::unique_ptr<WriterThread>(new WriterThread(loop, std::move(inner)));
}

WriterThread::WriterThread(asio::io_context& loop, std::shared_ptr<Inner> inner)
    : loop_(loop), inner_(std::move(inner)) {
  thread_ = std::thread([inner = inner_] {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);  // the loop thread handles signals
    ::pthread_setname_np(::pthread_self(), "writer");
    inner->io.run();
  });
}

WriterThread::~WriterThread() {
  *alive_ = false;
  inner_->io.stop();
  thread_.join();
}

void WriterThread::apply(model::Action action, std::optional<base::Monotonic> until,
                         std::function<void(model::Outcome)> done) {
  asio::post(inner_->io, [this, inner = inner_.get(), alive = alive_, action = std::move(action), until,
                          done = std::move(done)]() mutable {
    auto outcome = inner->apply(action, until);
    asio::post(loop_, [alive, outcome = std::move(outcome), done = std::move(done)]() mutable {
      if (*alive) done(std::move(outcome));
    });
  });
}

void WriterThread::undo(std::string id, model::Actor actor, bool dry_run, std::function<void(model::Outcome)> done) {
  asio::post(inner_->io, [this, inner = inner_.get(), alive = alive_, id = std::move(id), actor = std::move(actor),
                          dry_run, done = std::move(done)]() mutable {
    auto outcome = inner->writer->undo(id, actor, dry_run);
    asio::post(loop_, [alive, outcome = std::move(outcome), done = std::move(done)]() mutable {
      if (*alive) done(std::move(outcome));
    });
  });
}

const cgroup::HostHierarchies& WriterThread::host() const { return inner_->writer->host(); }

void WriterThread::renew(model::Action action) {
  asio::post(inner_->io, [inner = inner_.get(), action = std::move(action)] { inner->renew(action); });
}

void WriterThread::expire_leases(std::function<void(Leases)> done) {
  asio::post(inner_->io, [this, inner = inner_.get(), alive = alive_, done = std::move(done)]() mutable {
    Leases leases;
    leases.lease_events = inner->writer->expire_leases();
    leases.entries = inner->writer->entries();
    asio::post(loop_, [alive, leases = std::move(leases), done = std::move(done)]() mutable {
      if (*alive) done(std::move(leases));
    });
  });
}

void WriterThread::record(std::string line) {
  asio::post(inner_->io, [inner = inner_.get(), line = std::move(line)] { inner->record(line); });
}

void WriterThread::ping(std::function<void()> done) {
  asio::post(inner_->io, [this, alive = alive_, done = std::move(done)]() mutable {
    asio::post(loop_, [alive, done = std::move(done)] {
      if (*alive) done();
    });
  });
}

}  // namespace cgwarden::agent
