// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/screen.h"

#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include "collectors/sampler.h"
#include "src/base/text.h"
#include "src/cgtop/batch.h"
#include "src/cgtop/live.h"
#include "src/cgtop/terminal.h"
#include "src/cgtop/ui.h"

namespace cgwarden::cgtop {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;

constexpr milliseconds kFirstDelay{500};  // to the second sample, so that rates are there at once
constexpr milliseconds kSlowTerminal{100};

bool wants_color(const Options& options) {
  if (options.color != "auto") return options.color == "always";
  const char* const no_color = std::getenv("NO_COLOR");
  return no_color == nullptr || *no_color == '\0';
}

class Program {
 public:
  Program(const Options& options, std::shared_ptr<const model::Catalogue> catalogue)
      : options_(options), catalogue_(std::move(catalogue)), columns_(catalogue_), names_(options.paths) {}

  int run() {
    auto view = view_of(options_, columns_, true);
    if (!view) return stop(view.error());
    auto hierarchies = cgroup::find_hierarchies(options_.paths);
    if (!hierarchies) return stop({kNotFound, base::printable(hierarchies.error().what) + " (try cgtop doctor)"});
    hierarchies_ = std::move(*hierarchies);
    auto sampler =
        collectors::Sampler::start(loop_, catalogue_, live_options(options_.paths), [](const std::string&) {});
    if (!sampler) return stop({kNotFound, base::printable(sampler.error().what) + " (try cgtop doctor)"});
    sampler_ = std::move(*sampler);
    sampler_->complete_with([this](model::Snapshot& snapshot) { names_.complete(snapshot); });
    if (!options_.group.empty()) {
      if (const auto named = name_top(*view); named) return stop(*named);
    }

    auto terminal = Terminal::open({wants_color(options_)});
    if (!terminal) return stop({kUnexpected, terminal.error().what + "; cgtop --batch needs none"});
    terminal_ = std::move(*terminal);
    ui_.emplace(columns_, std::move(*view), options_.filter);
    ui_->scene().ascii = options_.ascii || !Terminal::is_utf8();
    ui_->scene().units = options_.units;
    ui_->scene().cpu = options_.cpu;
    ui_->scene().delay = options_.delay.value_or(milliseconds(2000));

    signals_.emplace(loop_);  // after curses has set its own handlers
    for (const int signal : {SIGWINCH, SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT}) signals_->add(signal);
    keys_.assign(::dup(terminal_->input()));
    wait_for_signal();
    wait_for_keys();
    draw();
    sample(true);
    loop_.run();
    sampler_.reset();
    terminal_.reset();
    return code_;
  }

 private:
  static int stop(const Stop& why) {
    std::cerr << "cgtop: " << why.what << '\n';
    return why.code;
  }

  // The group named on the command line has to be known before the screen opens, so that a mistake can be told.
  std::optional<Stop> name_top(View& view) {
    std::optional<Stop> wrong;
    sampler_->ask(milliseconds(0), [&](const model::SnapshotPtr& snapshot) {
      if (!snapshot) {
        wrong = Stop{kUnexpected, "no snapshot can be taken"};
      } else if (const auto group = wanted_group(options_, *snapshot); !group) {
        wrong = group.error();
      } else {
        view.top = snapshot->roster->groups[**group]->id;
      }
      loop_.stop();
    });
    {
      const auto work = asio::make_work_guard(loop_);
      loop_.run();
    }
    loop_.restart();  // after the guard: its end stops a loop that has nothing else to do
    return wrong;
  }

  void end(int code) {
    code_ = code;
    loop_.stop();
  }

  void wait_for_signal() {
    signals_->async_wait([this](const error_code& error, int signal) {
      if (error) return;
      switch (signal) {
        case SIGWINCH:
          terminal_->resize();
          draw();
          break;
        case SIGTSTP:
          terminal_->suspend();
          (void)::raise(SIGSTOP);
          break;  // SIGCONT goes on
        case SIGCONT:
          terminal_->resume();
          draw();
          break;
        case SIGHUP:
          end(kDone);
          return;
        default:
          end(128 + signal);
          return;
      }
      wait_for_signal();
    });
  }

  void wait_for_keys() {
    keys_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const error_code& error) {
      if (error) return;
      const auto keys = terminal_->read_keys();
      if (keys.empty() && terminal_->hung_up()) {
        end(kDone);
        return;
      }
      bool sample_now = false;
      for (const auto key : keys) {
        if (key == key::ctrl('Z')) continue;
        const auto wish = ui_->press(key);
        if (wish == Ui::Wish::quit) {
          end(kDone);
          return;
        }
        if (wish == Ui::Wish::redraw) terminal_->resume();
        sample_now |= wish == Ui::Wish::sample;
      }
      if (sample_now) look_at_processes();
      draw();
      wait_for_keys();
    });
  }

  // A late round is skipped, never made up for.
  void sample(bool first) {
    sampler_->ask(milliseconds(20), [this, first](const model::SnapshotPtr& snapshot) {
      if (snapshot) {
        ui_->feed(snapshot, read_host(options_.paths, hierarchies_));
        look_at_processes();
      } else {
        ui_->say("no snapshot can be taken now");
      }
      draw();
      const auto delay = ui_->scene().delay;
      timer_.expires_after(first ? std::min(kFirstDelay, delay) : delay);
      timer_.async_wait([this](const error_code& error) {
        if (!error) sample(false);
      });
    });
  }

  void look_at_processes() {
    if (const auto group = ui_->wants_processes()) {
      ui_->feed_processes(read_processes(options_.paths, hierarchies_, *group, false));
    }
  }

  void draw() {
    Grid grid(terminal_->rows(), terminal_->columns());
    ui_->draw(grid);
    if (terminal_->show(grid)) return;
    // The terminal is full: one later frame stands for all that are dropped.
    slow_.expires_after(kSlowTerminal);
    slow_.async_wait([this](const error_code& error) {
      if (!error) draw();
    });
  }

  Options options_;
  std::shared_ptr<const model::Catalogue> catalogue_;
  Columns columns_;
  Names names_;
  cgroup::HostHierarchies hierarchies_;
  asio::io_context loop_{1};
  std::optional<asio::signal_set> signals_;
  asio::posix::stream_descriptor keys_{loop_};
  asio::steady_timer timer_{loop_};
  asio::steady_timer slow_{loop_};
  std::unique_ptr<collectors::Sampler> sampler_;
  std::unique_ptr<Terminal> terminal_;
  std::optional<Ui> ui_;
  int code_ = kDone;
};

}  // namespace

bool can_show_screen() {
  if (::isatty(STDOUT_FILENO) == 0) return false;
  const char* const term = std::getenv("TERM");
  if (term == nullptr || *term == '\0' || std::string_view(term) == "dumb") return false;
  return ::isatty(STDIN_FILENO) != 0 || ::access("/dev/tty", R_OK) == 0;
}

int run_screen(const Options& options) { return Program(options, collectors::make_catalogue()).run(); }

}  // namespace cgwarden::cgtop
