// SPDX-License-Identifier: Apache-2.0
#include "collectors/sampler.h"

#include <pthread.h>
#include <signal.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <utility>

namespace cgwarden::collectors {

namespace asio = boost::asio;

// The kernel queues 16,384 events (fs.inotify.max_queued_events). With this delay the queue overflows only above
// 800,000 events per second; after an overflow (IN_Q_OVERFLOW) the tree is walked.
constexpr auto kEventDelay = std::chrono::milliseconds(20);

struct Sampler::Inner {
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(io);
  std::shared_ptr<const model::Catalogue> catalogue;
  CollectionOptions options;
  std::function<void(std::string)> log;
  std::unique_ptr<Collection> collection;
  asio::posix::stream_descriptor events{io};
  asio::steady_timer pause{io};

  // Processes inotify events as they arrive, so that creation and removal times are accurate and the queue stays short:
  // the first event immediately, those within the delay after it together. A collection processes all pending events,
  // regardless of the delay.
  void watch_events() {
    if (collection->event_fd() < 0 || events.is_open()) return;
    events.assign(::dup(collection->event_fd()));
    events.async_wait(asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& error) {
      if (error) return;
      events.close();  // otherwise each event would wake this thread, even without async_wait
      collection->take_events();
      pause.expires_after(kEventDelay);
      pause.async_wait([this](const boost::system::error_code& canceled) {
        if (!canceled) watch_events();
      });
    });
  }
};

base::Result<std::unique_ptr<Sampler>> Sampler::start(asio::io_context& loop,
                                                      std::shared_ptr<const model::Catalogue> catalogue,
                                                      CollectionOptions options, std::function<void(std::string)> log) {
  auto collection = Collection::open(catalogue, options, log);
  if (!collection) return tl::unexpected(collection.error());
  return std::unique_ptr<Sampler>(
      new Sampler(loop, std::move(catalogue), std::move(options), std::move(log), std::move(*collection)));
}

Sampler::Sampler(asio::io_context& loop, std::shared_ptr<const model::Catalogue> catalogue, CollectionOptions options,
                 std::function<void(std::string)> log, std::unique_ptr<Collection> collection)
    : loop_(loop), inner_(std::make_shared<Inner>()) {
  inner_->catalogue = std::move(catalogue);
  inner_->options = std::move(options);
  inner_->log = std::move(log);
  inner_->collection = std::move(collection);
  summary_ = inner_->collection->hierarchies().summary();
  thread_ = std::thread([inner = inner_] {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);  // signals are handled by the loop's thread
    ::pthread_setname_np(::pthread_self(), "sampler");
    inner->watch_events();
    inner->io.run();
  });
}

Sampler::~Sampler() {
  *alive_ = false;
  inner_->io.stop();
  thread_.join();
}

void Sampler::request(std::chrono::nanoseconds max_age, std::function<void(model::SnapshotPtr)> done) {
  if (latest_ && base::monotonic_now() - latest_->begun <= max_age) {
    asio::post(loop_, [snapshot = latest_, done = std::move(done)] { done(snapshot); });
    return;
  }
  waiting_.push_back(std::move(done));
  if (std::exchange(collecting_, true)) return;
  asio::post(inner_->io, [this, inner = inner_.get(), alive = alive_] {
    auto snapshot = inner->collection->collect();
    asio::post(loop_, [this, alive, snapshot = std::move(snapshot)]() mutable {
      if (!*alive) return;
      if (complete_) complete_(*snapshot);
      latest_ = std::move(snapshot);
      collecting_ = false;
      for (auto& waiter : std::exchange(waiting_, {})) waiter(latest_);
    });
  });
}

void Sampler::reopen(std::function<void(base::Result<std::string>)> done) {
  asio::post(inner_->io, [this, inner = inner_.get(), alive = alive_, done = std::move(done)]() mutable {
    auto collection = Collection::open(inner->catalogue, inner->options, inner->log);
    base::Result<std::string> result;
    if (collection) {
      inner->pause.cancel();
      inner->events.close();
      inner->collection = std::move(*collection);
      inner->watch_events();
      result = inner->collection->hierarchies().summary();
    } else {
      result = tl::unexpected(collection.error());
    }
    asio::post(loop_, [alive, result = std::move(result), done = std::move(done)]() mutable {
      if (*alive) done(std::move(result));
    });
  });
}

void Sampler::ping(std::function<void()> done) {
  asio::post(inner_->io, [this, alive = alive_, done = std::move(done)]() mutable {
    asio::post(loop_, [alive, done = std::move(done)] {
      if (*alive) done();
    });
  });
}

}  // namespace cgwarden::collectors
