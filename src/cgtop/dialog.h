// SPDX-License-Identifier: Apache-2.0
// What is asked before the screen acts. It always goes the same way: something may be typed, a dry run says what would
// be done, Enter has it done. Pure: whoever shows it has both done, and hands the answers back.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/cgtop/keys.h"
#include "src/model/action.h"

namespace cgwarden::cgtop {

// One place to type in.
struct Input {
  enum class What : std::uint8_t {
    setting,  // the new value of the setting `label`
    other,    // settings, KEY=VALUE
    lease,
    bytes,
    signal,
    pids,
    target,  // a path
    name,    // of the cgroup, so that nothing is killed by a slip of the hand
  };
  What what = What::setting;
  std::string label;
  std::string text;
  std::string hint;            // shown while nothing is typed
  std::string now, effective;  // of a setting
};

class Dialog {
 public:
  enum class Step : std::uint8_t { asking, planning, planned, doing, failed };
  enum class UiRequest : std::uint8_t { nothing, close, ask };

  // `verb` none: undo of what was done last. `settings`: what the limits are now.
  Dialog(std::optional<model::Verb> verb, model::CgroupRef cgroup, std::string name, std::vector<Input> settings = {});

  // Wish::ask: action() is to be done, and answer() called. One that needs nothing typed asks at once.
  [[nodiscard]] bool asks_at_once() const { return step_ == Step::planning; }
  UiRequest press(char32_t key);
  void answer(model::Outcome outcome);

  [[nodiscard]] const std::optional<model::Verb>& verb() const { return action_verb_; }
  // As it is asked: a dry run while planning. Of an undo only `dry_run` counts.
  [[nodiscard]] const model::Action& action() const { return action_; }
  // Of what is undone; empty: the latest.
  [[nodiscard]] std::string undo() const { return outcome_ ? outcome_->undo : std::string(); }

  [[nodiscard]] std::string title() const;
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] Step step() const { return step_; }
  [[nodiscard]] const std::vector<Input>& inputs() const { return inputs_; }
  [[nodiscard]] std::size_t at() const { return at_; }
  [[nodiscard]] const std::string& error() const { return error_; }
  // The plan, or what came of it.
  [[nodiscard]] const std::optional<model::Outcome>& outcome() const { return outcome_; }

 private:
  UiRequest enter();
  [[nodiscard]] std::string fill(model::Action& action) const;
  [[nodiscard]] bool name_is_typed() const;

  std::optional<model::Verb> action_verb_;
  std::string name_;
  std::vector<Input> inputs_;
  std::size_t at_ = 0;
  Step step_ = Step::asking;
  std::string error_;
  model::Action action_;
  std::optional<model::Outcome> outcome_;
};

// "memory.max: max -> 536870912", fit for a terminal.
std::string change_text(const model::Change& change);

// One key typed into a text of at most 512 bytes. False: it is not one that types.
bool type(std::string& text, char32_t key);

}  // namespace cgwarden::cgtop
