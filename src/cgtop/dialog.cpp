// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/dialog.h"

#include <algorithm>
#include <utility>

#include "src/base/text.h"

namespace cgwarden::cgtop {
namespace {

using model::Verb;
using What = Input::What;

constexpr std::size_t kMaxTyped = 512;
constexpr std::int64_t kManyProcesses = 50;  // from here on the name is typed, not only for a kill

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

// The first thing that is wrong with the settings typed, or nothing.
std::string add_setting(model::Action& action, base::Result<model::Setting> setting) {
  if (!setting) return setting.error().what;
  action.settings.push_back(std::move(*setting));
  return {};
}

}  // namespace

std::string change_text(const model::Change& change) {
  auto text = change.where + ": " + (change.before.empty() ? "-" : change.before) + " -> " + change.asked;
  if (!change.after.empty() && change.after != change.asked) text += " (the kernel has " + change.after + ")";
  return base::printable(text);
}

bool type(std::string& text, char32_t k) {
  if (k == key::kBackspace || k == key::ctrl('H') || k == key::kDelete) {
    remove_last_rune(text);
  } else if (k == key::ctrl('U') || k == key::ctrl('L')) {
    text.clear();
  } else if (k >= 0x20 && k != key::kBackspace && k < 0x110000) {
    if (text.size() < kMaxTyped) append_utf8(text, k);
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
      inputs_ = {{What::lease, "thaw after", "60s", "60s", {}, {}}};
      step_ = Step::planning;
      break;
    case Verb::limit:
      inputs_ = std::move(settings);
      inputs_.push_back({What::other, "other", {}, "KEY=VALUE or KEY@DEVICE=VALUE", {}, {}});
      inputs_.push_back({What::lease, "keep for", {}, "1h; empty: until somebody changes it", {}, {}});
      break;
    case Verb::reclaim:
      inputs_ = {{What::bytes, "how much", "256M", "256M", {}, {}}};
      break;
    case Verb::signal:
      inputs_ = {{What::signal, "signal", "TERM", "TERM", {}, {}},
                 {What::pids, "processes", {}, "their ids; empty: all of the cgroup", {}, {}}};
      break;
    case Verb::move:
      inputs_ = {{What::pids, "processes", {}, "their ids", {}, {}},
                 {What::target, "to the cgroup", {}, "its path", {}, {}}};
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

// What is typed, as an action; or the first thing that is wrong with it.
std::string Dialog::fill(model::Action& action) const {
  for (const auto& input : inputs_) {
    std::string wrong;
    const auto take = [&wrong](const auto& parsed, auto& into) {
      if (parsed) {
        into = *parsed;
      } else {
        wrong = parsed.error().what;
      }
    };
    std::string_view rest = input.text;
    switch (input.what) {
      case What::setting:
        if (!rest.empty()) wrong = add_setting(action, model::parse_setting(input.label, {}, rest));
        break;
      case What::other:
        for (auto word = base::take_word(rest); !word.empty() && wrong.empty(); word = base::take_word(rest))
          wrong = add_setting(action, model::parse_setting(word));
        break;
      case What::lease:
        if (!rest.empty()) take(model::parse_timespan(rest), action.lease);
        break;
      case What::bytes:
        take(model::parse_size(rest), action.bytes);
        break;
      case What::signal:
        if (const auto signal = model::signal_of(rest)) {
          action.signal = *signal;
        } else {
          wrong = "no signal '" + base::printable(rest) + "'; TERM, INT, HUP, USR1, ...";
        }
        break;
      case What::pids:
        for (auto word = base::take_word(rest); !word.empty() && wrong.empty(); word = base::take_word(rest)) {
          if (const auto pid = base::to_int<pid_t>(word); pid && *pid > 0) {
            action.pids.push_back(*pid);
          } else {
            wrong = "'" + base::printable(word) + "' is no process id";
          }
        }
        if (action.verb == Verb::move && action.pids.empty()) wrong = "which processes?";
        break;
      case What::target:
        if (rest.starts_with('/')) {
          action.target = {input.text, 0};
        } else {
          wrong = "a path of a cgroup begins with /";
        }
        break;
      case What::name:
        break;
    }
    if (!wrong.empty()) return wrong;
  }
  if (action.verb == Verb::limit && action.settings.empty()) return "nothing to set: type a new value";
  return {};
}

bool Dialog::name_is_typed() const {
  return std::ranges::all_of(inputs_,
                             [&](const Input& i) { return i.what != What::name || i.text == base::printable(name_); });
}

Dialog::UiRequest Dialog::enter() {
  if (step_ == Step::failed) return UiRequest::close;
  if (step_ == Step::planned) {
    if (!name_is_typed()) {
      error_ = "type the name: " + base::printable(name_);
      return UiRequest::nothing;
    }
    action_.dry_run = false;
    step_ = Step::doing;
    return UiRequest::ask;
  }
  model::Action next;
  next.verb = action_.verb;
  next.cgroup = action_.cgroup;
  next.dry_run = true;
  error_ = fill(next);
  if (!error_.empty()) return UiRequest::nothing;
  action_ = std::move(next);
  outcome_.reset();
  step_ = Step::planning;
  return UiRequest::ask;
}

Dialog::UiRequest Dialog::press(char32_t k) {
  if (k == key::kEscape) return UiRequest::close;
  if (step_ == Step::planning || step_ == Step::doing) return UiRequest::nothing;
  error_.clear();
  switch (k) {
    case key::kEnter:
      return enter();
    case key::kUp:
    case key::kBackTab:
      at_ -= at_ > 0 ? 1 : 0;
      return UiRequest::nothing;
    case key::kDown:
    case key::kTab:
      at_ = std::min(at_ + 1, inputs_.empty() ? 0 : inputs_.size() - 1);
      return UiRequest::nothing;
    default:
      break;
  }
  if (inputs_.empty() || step_ == Step::failed) return UiRequest::nothing;
  auto& input = inputs_[at_];
  // The plan is of what was typed before. A name changes nothing of it.
  if (type(input.text, k) && input.what != What::name) {
    outcome_.reset();
    step_ = Step::asking;
  }
  return UiRequest::nothing;
}

void Dialog::answer(model::Outcome outcome) {
  const bool planned = step_ == Step::planning;
  outcome_ = std::move(outcome);
  if (!outcome_->ok()) {
    // What was typed can be mended; nothing else can be.
    step_ = planned && !inputs_.empty() ? Step::asking : Step::failed;
    return;
  }
  if (!planned) return;
  step_ = Step::planned;
  const bool many =
      (action_verb_ == Verb::freeze || action_verb_ == Verb::signal) && outcome_->processes > kManyProcesses;
  const bool has = std::ranges::any_of(inputs_, [](const Input& i) { return i.what == What::name; });
  if ((action_verb_ == Verb::kill || many) && !has) {
    inputs_.push_back({What::name, "type the name", {}, base::printable(name_), {}, {}});
    at_ = inputs_.size() - 1;
  }
}

}  // namespace cgwarden::cgtop
