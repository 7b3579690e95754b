// SPDX-License-Identifier: Apache-2.0
// A Unix stream socket with blocking operations: each runs until it completes, its deadline expires or another thread
// calls cancel().
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
    std::size_t size = 0;  // bytes transferred
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

  // Runs the asynchronous operation that `start` initiates with the given handler. After an error, call close() before
  // the operation's buffers are destroyed.
  template <class Start>
  Done run(Clock::time_point deadline, const Start& start) {
    struct Operation {
      bool done = false;
      Done result;
    };
    const auto state = std::make_shared<Operation>();
    start([state](const boost::system::error_code& error, std::size_t size = 0) {
      state->done = true;
      state->result = {error, size};
    });
    io_.restart();
    while (!state->done && !cancelled_ && Clock::now() < deadline) {
      // Without a deadline, run_one() waits without periodic wakeups.
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
    (void)io_.poll();  // let aborted operations finish: they still refer to their buffers
  }

  // Ends the current and every later operation immediately. Any thread.
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
