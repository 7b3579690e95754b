// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/screen.h"

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "collectors/collection.h"
#include "src/base/file.h"
#include "src/base/text.h"
#include "src/cgtop/act.h"
#include "src/cgtop/batch.h"
#include "src/cgtop/config.h"
#include "src/cgtop/recording.h"
#include "src/cgtop/terminal.h"
#include "src/cgtop/ui.h"

namespace cgwarden::cgtop {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;

constexpr milliseconds kFirstInterval{500};  // from the first sample to the second, so that rates appear soon
constexpr milliseconds kRedrawDelay{100};

bool use_color(const Options& options) {
  if (options.color != "auto") return options.color == "always";
  const char* const no_color = std::getenv("NO_COLOR");
  return no_color == nullptr || *no_color == '\0';
}

class ScreenSession {
 public:
  ScreenSession(const Options& options, std::shared_ptr<const model::Catalogue> catalogue)
      : options_(options), catalogue_(std::move(catalogue)), columns_(catalogue_) {}

  int run() {
    auto view = view_of(options_, columns_, true);
    if (!view) return report_error(view.error());
    std::optional<std::size_t> set;
    std::vector<ColumnId> columns;
    if (!options_.set.empty()) {
      const auto named = set_of(options_);
      if (!named) return report_error(named.error());
      set = *named;
    } else if (!options_.fields.empty()) {
      auto named = columns_.require_list(options_.fields);
      if (!named) return report_error({kUsage, named.error().what});
      columns = std::move(*named);
    }
    std::unique_ptr<Recording> recording;
    std::size_t first = 0;
    // Report errors before the screen opens.
    model::SnapshotPtr first_snapshot;
    if (!options_.from.empty() && options_.agent.empty() && options_.prometheus.empty()) {
      auto opened = Recording::open(options_.from, catalogue_);
      if (!opened) return report_error(opened.error());
      recording = std::move(*opened);
      if (!options_.at.empty() || !options_.begin.empty()) {
        auto range = options_;
        range.end.clear();
        const auto found = range_of(range, *recording);
        if (!found) return report_error(found.error());
        first = found->first;
      } else if (recording->size() > 1 && !recording->moment(1).after_gap) {
        first = 1;  // the first sample has no rates
      }
      if (auto taken = recording->at(first)) first_snapshot = std::move(taken->snapshot);
    } else {
      auto source = open_source(options_, catalogue_);
      if (!source) return report_error(source.error());
      source_ = std::move(*source);
      if (!options_.cgroup.empty() || source_->name() != "cgroupfs") {
        auto taken = source_->take();
        if (!taken) return report_error(taken.error());
        first_snapshot = std::move(taken->snapshot);
      }
    }
    if (!options_.cgroup.empty() && first_snapshot) {
      const auto cgroup = wanted_cgroup(options_, *first_snapshot, source_.get());
      if (!cgroup) return report_error(cgroup.error());
      view->top = first_snapshot->cgroup_list->cgroups[**cgroup]->id;
    }

    auto terminal = Terminal::open({use_color(options_), options_.mouse});
    if (!terminal)
      return report_error({kUnexpected, terminal.error().what + " (cgtop --batch works without a terminal)"});
    terminal_ = std::move(*terminal);
    ui_.emplace(columns_, std::move(*view), options_.filter);
    if (set) ui_->choose_set(*set);
    if (!columns.empty()) ui_->choose_columns(std::move(columns));
    ui_->scene().ascii = options_.ascii || !Terminal::is_utf8();
    ui_->scene().units = options_.units;
    ui_->scene().cpu = options_.cpu;
    ui_->scene().theme = find_theme(options_.theme);
    ui_->scene().mouse = options_.mouse;
    ui_->scene().fleet = !options_.prometheus.empty();
    if (source_) ui_->scene().source = source_->name();
    if (options_.read_only) {
      ui_->scene().actions_disabled = "actions are disabled by --read-only";
    } else if (source_ && source_->name() != "cgroupfs") {
      ui_->scene().actions_disabled = "actions are available only for cgroups of this host; run cgtop on theirs";
    }
    ui_->scene().delay = options_.delay.value_or(recording            ? milliseconds(1000)
                                                 : ui_->scene().fleet ? milliseconds(15'000)
                                                                      : milliseconds(2000));

    signals_.emplace(loop_);  // after ncurses has installed its own handlers
    for (const int signal : {SIGWINCH, SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT}) signals_->add(signal);
    keys_.assign(::dup(terminal_->input()));
    wait_for_signal();
    wait_for_keys();
    if (recording) {
      const auto losses = recording->losses();
      ui_->replay(std::move(recording), first);
      if (!losses.empty()) ui_->set_message(losses);
      play();
    } else {
      sample(true);
    }
    draw();
    loop_.run();
    if (source_) source_->cancel();
    source_thread_.join();
    action_thread_.join();
    terminal_.reset();
    if (writer_) {
      if (const auto flushed = writer_->flush(); !flushed) return report_error({kUnexpected, flushed.error().what});
      std::cout << record_path_ << ": " << writer_->samples() << " samples, " << writer_->bytes() << " bytes\n";
    }
    return code_;
  }

 private:
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
          break;  // execution continues with SIGCONT
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
      for (const auto& pressed : keys) {
        if (const auto* const k = std::get_if<char32_t>(&pressed); k != nullptr && *k == key::ctrl('Z')) continue;
        const auto request = std::visit([this](const auto& input) { return ui_->press(input); }, pressed);
        if (request == Ui::UiRequest::quit) {
          end(kDone);
          return;
        }
        if (request == Ui::UiRequest::redraw) terminal_->resume();
        if (request == Ui::UiRequest::record) toggle_recording();
        if (request == Ui::UiRequest::act) run_action();
        if (request == Ui::UiRequest::save) save();
        if (request == Ui::UiRequest::copy) terminal_->copy(ui_->clipboard_text());
        sample_now |= request == Ui::UiRequest::sample;
      }
      if (sample_now) {
        request_processes();
        request_audit();
      }
      draw();
      wait_for_keys();
    });
  }

  // Sources block, so a thread of their own takes the samples and posts them to the loop. The next interval starts when
  // a sample has arrived; missed samples are not taken later.
  void sample(bool first) {
    asio::post(source_thread_, [this, first, cgroup = ui_->processes_cgroup()] {
      auto taken = source_->take();
      std::optional<tl::expected<Processes, ExitError>> processes;
      if (cgroup && taken) processes = source_->processes(*cgroup, false);
      asio::post(loop_, [this, first, taken = std::move(taken), processes = std::move(processes)]() mutable {
        if (taken) {
          record_sample(*taken);
          last_sample_at_ = base::monotonic_now();
          ui_->scene().no_answer_for.reset();
          ui_->feed(*taken);
        } else {
          // Keep showing the last sample; retry at the same interval.
          ui_->scene().no_answer_for =
              std::chrono::duration_cast<std::chrono::seconds>(base::monotonic_now() - last_sample_at_);
          ui_->set_message(taken.error().what);
        }
        show_processes(std::move(processes));
        request_audit();
        draw();
        const auto delay = ui_->scene().delay;
        timer_.expires_after(first ? std::min(kFirstInterval, delay) : delay);
        timer_.async_wait([this](const error_code& error) {
          if (!error) sample(false);
        });
      });
    });
  }

  void play() {
    timer_.expires_after(ui_->scene().delay);
    timer_.async_wait([this](const error_code& error) {
      if (error) return;
      ui_->step();
      draw();
      play();
    });
  }

  // Reads the audit records of the cgroup whose Events tab is open; only on this host.
  void request_audit() {
    const auto cgroup = ui_->audit_cgroup();
    if (!cgroup || !source_ || source_->name() != "cgroupfs") return;
    asio::post(source_thread_, [this, cgroup] {
      auto found =
          control::read_audit(options_.audit_file.empty() ? control::kAuditFile : options_.audit_file, *cgroup, 100);
      if (!found && found.error().code == ENOENT) found = std::vector<control::AuditEvent>();
      asio::post(loop_, [this, found = std::move(found)]() mutable {
        ui_->feed_audit(std::move(found));
        draw();
      });
    });
  }

  void request_processes() {
    const auto cgroup = ui_->processes_cgroup();
    if (!cgroup) return;
    if (!source_) {
      ui_->set_message("a recording contains no processes");
      return;
    }
    asio::post(source_thread_, [this, cgroup] {
      auto processes = source_->processes(*cgroup, false);
      asio::post(loop_, [this, processes = std::move(processes)]() mutable {
        show_processes(std::move(processes));
        draw();
      });
    });
  }

  void show_processes(std::optional<tl::expected<Processes, ExitError>> processes) {
    if (!processes) return;
    if (*processes) {
      ui_->feed_processes(std::move(**processes));
    } else {
      ui_->set_message(processes->error().what);
    }
  }

  // Runs the action on a thread of its own: a freeze waits for the last task and a write to memory.reclaim blocks, and
  // the screen must stay responsive.
  void run_action() {
    asio::post(action_thread_, [this, request = ui_->action_request()] {
      std::optional<ExitError> why;
      if (!action_client_) {
        ActionClient action_client(options_);
        why = action_client.open();
        if (!why) action_client_.emplace(std::move(action_client));
      }
      auto outcome = why            ? model::outcome_of(model::Outcome::Kind::failed, why->what)
                     : request.undo ? action_client_->undo(request.undo_id, request.action.dry_run)
                                    : action_client_->apply(request.action);
      asio::post(loop_, [this, request, outcome = std::move(outcome)]() mutable {
        ui_->set_outcome(request, std::move(outcome));
        draw();
      });
    });
  }

  // Key W: saves the current settings to the configuration file.
  void save() {
    const auto path = options_.config.empty() ? config_path() : options_.config;
    if (path.empty()) {
      ui_->set_message("cannot save settings: neither XDG_CONFIG_HOME nor HOME is an absolute path");
      return;
    }
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
    const auto done = base::replace_file(path, config_text(ui_->scene()), 0644);
    ui_->set_message(done ? "settings saved: " + path : done.error().what);
  }

  // Key R: starts or stops recording samples to a file.
  void toggle_recording() {
    if (writer_) {
      const auto flushed = writer_->flush();
      ui_->set_message(flushed ? "recorded " + std::to_string(writer_->samples()) + " samples: " + record_path_
                               : flushed.error().what);
      writer_.reset();
    } else {
      record_path_ = default_recording(ui_->scene().host.name, base::wall_now());
      if (record_path_.empty()) {
        ui_->set_message("cannot record: no directory can be created under XDG_STATE_HOME or HOME");
        return;
      }
      auto writer = record::RecordingWriter::open(record_path_, catalogue_, {});
      if (writer) {
        writer_ = std::move(*writer);
        ui_->set_message("recording: " + record_path_);
      } else {
        ui_->set_message(writer.error().what);
      }
    }
    ui_->scene().recording = writer_ != nullptr;
  }

  void record_sample(const Sample& taken) {
    if (!writer_) return;
    if (const auto added = writer_->add(taken.snapshot, model::to_json(taken.host)); !added) {
      ui_->set_message(added.error().what);
      writer_.reset();
      ui_->scene().recording = false;
    }
  }

  void draw() {
    if (ui_->scene().theme != theme_) terminal_->set_theme(*(theme_ = ui_->scene().theme));
    Grid grid(terminal_->rows(), terminal_->columns());
    ui_->draw(grid);
    if (terminal_->show(grid)) return;
    // The terminal accepts no output now: draw once later instead of every frame.
    slow_.expires_after(kRedrawDelay);
    slow_.async_wait([this](const error_code& error) {
      if (!error) draw();
    });
  }

  Options options_;
  std::shared_ptr<const model::Catalogue> catalogue_;
  Columns columns_;
  std::unique_ptr<SampleSource> source_;  // used by worker_ only; null during a replay
  asio::io_context loop_{1};
  asio::thread_pool source_thread_{1};
  std::optional<ActionClient> action_client_;  // used by acting_ only
  asio::thread_pool action_thread_{1};
  std::optional<asio::signal_set> signals_;
  asio::posix::stream_descriptor keys_{loop_};
  asio::steady_timer timer_{loop_};
  asio::steady_timer slow_{loop_};
  std::unique_ptr<record::RecordingWriter> writer_;
  std::string record_path_;
  base::Monotonic last_sample_at_ = base::monotonic_now();
  std::unique_ptr<Terminal> terminal_;
  const Theme* theme_ = kThemes.data();  // the theme set in the terminal
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

int run_screen(const Options& options) { return ScreenSession(options, collectors::make_catalogue()).run(); }

}  // namespace cgwarden::cgtop
