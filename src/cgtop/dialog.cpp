// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/dialog.h"

#include <algorithm>
#include <utility>

#include "src/base/text.h"

namespace cgwarden::cgtop {
namespace {

using model::Verb;

constexpr std::size_t kMaxInputBytes = 512;
constexpr std::int64_t kManyProcesses = 50;  // freezing or signaling more requires the name, as a kill always does

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6U);
    out += static_cast<char>(0x80 | (c & 0x3FU));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12U);
    out += static_cast<char>(0x80 | (c >> 6U & 0x3FU));
    out += static_cast<char>(0x80 | (c & 0x3FU));
  } else {
    out += static_cast<char>(0xF0 | c >> 18U);
    out += static_cast<char>(0x80 | (c >> 12U & 0x3FU));
    out += static_cast<char>(0x80 | (c >> 6U & 0x3FU));
    out += static_cast<char>(0x80 | (c & 0x3FU));
  }
}

void remove_last_rune(std::string& text) {
  while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0U) == 0x80) text.pop_back();
  if (!text.empty()) text.pop_back();
}

// Adds a setting; returns the error message, or an empty string.
std::string add_setting(model::Action& action, base::Result<model::Setting> setting) {
  if (!setting) return setting.error().what;
  action.settings.push_back(std::move(*setting));
  return {};
}

}  // namespace

std::string change_text(const model::Change& change) {
  auto text = change.where + ": " + (change.before.empty() ? "-" : change.before) + " -> " + change.requested;
  if (!change.after.empty() && change.after != change.requested) text += " (kernel reports " + change.after + ")";
  return base::printable(text);
}

bool edit_text(std::string& text, char32_t k) {
  if (k == key::kBackspace || k == key::ctrl('H') || k == key::kDelete) {
    remove_last_rune(text);
  } else if (k == key::ctrl('U') || k == key::ctrl('L')) {
    text.clear();
  } else if (k >= 0x20 && k != key::kBackspace && k < 0x110000) {
    if (text.size() < kMaxInputBytes) append_utf8(text, k);
  } else {
    return false;
  }
  return true;
}

Dialog::Dialog(std::optional<Verb> verb, model::CgroupRef cgroup, std::string name, std::vector<Input> settings)
    : action_verb_(verb), name_(std::move(name)) {
  action_.verb = verb.value_or(Verb::unlimit);
  action_.cgroup = std::move(cgroup);
  action_.dry_run = true;
  if (!verb) {
    step_ = Step::planning;
    return;
  }
  switch (*verb) {
    case Verb::freeze:
      inputs_ = {{InputKind::lease, "thaw after", "60s", "60s", {}, {}}};
      step_ = Step::planning;
      break;
    case Verb::limit:
      inputs_ = std::move(settings);
      inputs_.push_back({InputKind::other, "other", {}, "KEY=VALUE or KEY@DEVICE=VALUE", {}, {}});
      inputs_.push_back({InputKind::lease, "expires after", {}, "1h; empty: never", {}, {}});
      break;
    case Verb::reclaim:
      inputs_ = {{InputKind::bytes, "amount", "256M", "256M", {}, {}}};
      break;
    case Verb::signal:
      inputs_ = {{InputKind::signal, "signal", "TERM", "TERM", {}, {}},
                 {InputKind::pids, "processes", {}, "PIDs; empty: all in the cgroup", {}, {}}};
      break;
    case Verb::move:
      inputs_ = {{InputKind::pids, "processes", {}, "PIDs", {}, {}},
                 {InputKind::target, "target cgroup", {}, "absolute path", {}, {}}};
      break;
    case Verb::kill:
    case Verb::thaw:
    case Verb::unlimit:
      step_ = Step::planning;
      break;
  }
}

std::string Dialog::title() const {
  if (!action_verb_) return "Undo";
  std::string word(model::name(*action_verb_));
  word[0] = static_cast<char>(word[0] - 'a' + 'A');
  return word + ' ' + base::printable(name_);
}

// Fills the action from the inputs; returns the first error, or an empty string.
std::string Dialog::fill(model::Action& action) const {
  for (const auto& input : inputs_) {
    std::string error;
    const auto assign = [&error](const auto& parsed, auto& into) {
      if (parsed) {
        into = *parsed;
      } else {
        error = parsed.error().what;
      }
    };
    std::string_view rest = input.text;
    switch (input.kind) {
      case InputKind::setting:
        if (!rest.empty()) error = add_setting(action, model::parse_setting(input.label, {}, rest));
        break;
      case InputKind::other:
        for (auto word = base::take_word(rest); !word.empty() && error.empty(); word = base::take_word(rest))
          error = add_setting(action, model::parse_setting(word));
        break;
      case InputKind::lease:
        if (!rest.empty()) assign(model::parse_timespan(rest), action.lease);
        break;
      case InputKind::bytes:
        assign(model::parse_size(rest), action.bytes);
        break;
      case InputKind::signal:
        if (const auto signal = model::signal_of(rest)) {
          action.signal = *signal;
        } else {
          error =
              "unknown signal '" + base::printable(rest) + "'; use a number or a name such as TERM, INT, HUP or USR1";
        }
        break;
      case InputKind::pids:
        for (auto word = base::take_word(rest); !word.empty() && error.empty(); word = base::take_word(rest)) {
          if (const auto pid = base::to_int<pid_t>(word); pid && *pid > 0) {
            action.pids.push_back(*pid);
          } else {
            error = "'" + base::printable(word) + "': not a process ID (type positive numbers, separated by spaces)";
          }
        }
        if (action.verb == Verb::move && action.pids.empty()) error = "processes: type at least one process ID";
        break;
      case InputKind::target:
        if (rest.starts_with('/')) {
          action.target = {input.text, 0};
        } else {
          error = "target cgroup: the path must begin with /";
        }
        break;
      case InputKind::name:
        break;
    }
    if (!error.empty()) return error;
  }
  if (action.verb == Verb::limit && action.settings.empty()) return "no setting to change: type a new value";
  return {};
}

bool Dialog::name_is_typed() const {
  return std::ranges::all_of(
      inputs_, [&](const Input& i) { return i.kind != InputKind::name || i.text == base::printable(name_); });
}

Dialog::Request Dialog::enter() {
  if (step_ == Step::failed) return Request::close;
  if (step_ == Step::planned) {
    if (!name_is_typed()) {
      error_ = "type the name to confirm: " + base::printable(name_);
      return Request::nothing;
    }
    action_.dry_run = false;
    step_ = Step::running;
    return Request::run;
  }
  model::Action next;
  next.verb = action_.verb;
  next.cgroup = action_.cgroup;
  next.dry_run = true;
  error_ = fill(next);
  if (!error_.empty()) return Request::nothing;
  action_ = std::move(next);
  outcome_.reset();
  step_ = Step::planning;
  return Request::run;
}

Dialog::Request Dialog::press(char32_t k) {
  if (k == key::kEscape) return Request::close;
  if (step_ == Step::planning || step_ == Step::running) return Request::nothing;
  error_.clear();
  switch (k) {
    case key::kEnter:
      return enter();
    case key::kUp:
    case key::kBackTab:
      at_ -= at_ > 0 ? 1 : 0;
      return Request::nothing;
    case key::kDown:
    case key::kTab:
      at_ = std::min(at_ + 1, inputs_.empty() ? 0 : inputs_.size() - 1);
      return Request::nothing;
    default:
      break;
  }
  if (inputs_.empty() || step_ == Step::failed) return Request::nothing;
  auto& input = inputs_[at_];
  // The plan belongs to the previous values; typing the name does not change it.
  if (edit_text(input.text, k) && input.kind != InputKind::name) {
    outcome_.reset();
    step_ = Step::editing;
  }
  return Request::nothing;
}

void Dialog::set_outcome(model::Outcome outcome) {
  const bool planned = step_ == Step::planning;
  outcome_ = std::move(outcome);
  if (!outcome_->ok()) {
    // The user can correct the inputs of a rejected plan; other failures only allow closing the dialog.
    step_ = planned && !inputs_.empty() ? Step::editing : Step::failed;
    return;
  }
  if (!planned) return;
  step_ = Step::planned;
  const bool many =
      (action_verb_ == Verb::freeze || action_verb_ == Verb::signal) && outcome_->processes > kManyProcesses;
  const bool has = std::ranges::any_of(inputs_, [](const Input& i) { return i.kind == InputKind::name; });
  if ((action_verb_ == Verb::kill || many) && !has) {
    inputs_.push_back({InputKind::name, "type the name", {}, base::printable(name_), {}, {}});
    at_ = inputs_.size() - 1;
  }
}

}  // namespace cgwarden::cgtop
