// SPDX-License-Identifier: Apache-2.0
// A Unix socket to a daemon, for a thread that may wait: every operation runs until it is done, its time is over, or
// another thread cancels.
#pragma once

#include <atomic>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace cgwarden::discovery {

class TimedSocket {
 public:
  using Clock = std::chrono::steady_clock;
  using Socket = boost::asio::local::stream_protocol::socket;
  struct Done {
    boost::system::error_code error;
    std::size_t size = 0;  // bytes moved, where any are
  };
  static constexpr Clock::time_point kNoDeadline = Clock::time_point::max();

  explicit TimedSocket(std::string path) : path_(std::move(path)) {}

  [[nodiscard]] bool is_open() const { return socket_.is_open(); }
  Socket& socket() { return socket_; }

  boost::system::error_code connect(Clock::time_point deadline) {
    return run(deadline,
               [&](auto done) { socket_.async_connect(boost::asio::local::stream_protocol::endpoint(path_), done); })
        .error;
  }

  // What `start` begins with the handler it gets. After an error: close() before the operation's buffers go.
  template <class Start>
  Done run(Clock::time_point deadline, const Start& start) {
    struct State {
      bool done = false;
      Done result;
    };
    const auto state = std::make_shared<State>();
    start([state](const boost::system::error_code& error, std::size_t size = 0) {
      state->done = true;
      state->result = {error, size};
    });
    io_.restart();
    while (!state->done && !cancelled_ && Clock::now() < deadline) {
      // Without a deadline no clock wakes the thread.
      const auto ran = deadline == kNoDeadline ? io_.run_one() : io_.run_one_until(deadline);
      if (ran == 0 && io_.stopped() && !cancelled_) io_.restart();
    }
    if (state->done) return state->result;
    return {cancelled_ ? boost::asio::error::operation_aborted : boost::asio::error::timed_out, 0};
  }

  void close() {
    boost::system::error_code ignored;
    socket_.close(ignored);
    io_.restart();
    (void)io_.poll();  // what was given up still looks at its buffers
  }

  // Ends what runs at once, and all that is begun later. From any thread.
  void cancel() {
    cancelled_ = true;
    io_.stop();
  }
  [[nodiscard]] bool cancelled() const { return cancelled_; }

 private:
  std::string path_;
  boost::asio::io_context io_{1};
  Socket socket_{io_};
  std::atomic<bool> cancelled_ = false;
};

}  // namespace cgwarden::discovery
