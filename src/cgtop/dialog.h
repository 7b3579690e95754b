// SPDX-License-Identifier: Apache-2.0
// The dialog before an action. Its steps are always the same: the user may edit values, a dry run shows the plan, Enter
// applies it. Pure: the caller executes the action and passes the outcome to set_outcome().
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/cgtop/keys.h"
#include "src/model/action.h"

namespace cgwarden::cgtop {

enum class InputKind : std::uint8_t {
  setting,  // the new value of the setting `label`
  other,    // settings, KEY=VALUE
  lease,
  bytes,
  signal,
  pids,
  target,  // a path
  name,    // the name of the cgroup, typed to confirm a dangerous action
};

// One editable line of a dialog.
struct Input {
  InputKind kind = InputKind::setting;
  std::string label;
  std::string text;
  std::string hint;            // shown while `text` is empty
  std::string now, effective;  // current values of a setting
};

class Dialog {
 public:
  enum class Step : std::uint8_t { editing, planning, planned, running, failed };
  enum class Request : std::uint8_t { nothing, close, run };

  // `verb` nullopt: undo of the latest action. `settings`: the limits with their current values.
  Dialog(std::optional<model::Verb> verb, model::CgroupRef cgroup, std::string name, std::vector<Input> settings = {});

  // True if no value is required, so that the dialog starts with the dry run. Request::run: execute action(), then call
  // set_outcome().
  [[nodiscard]] bool starts_with_plan() const { return step_ == Step::planning; }
  Request press(char32_t key);
  void set_outcome(model::Outcome outcome);

  [[nodiscard]] const std::optional<model::Verb>& verb() const { return action_verb_; }
  // The action to execute; a dry run while planning. For an undo only `dry_run` is valid.
  [[nodiscard]] const model::Action& action() const { return action_; }
  // Id of the action to undo; empty: the latest.
  [[nodiscard]] std::string undo() const { return outcome_ ? outcome_->undo : std::string(); }

  [[nodiscard]] std::string title() const;
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] Step step() const { return step_; }
  [[nodiscard]] const std::vector<Input>& inputs() const { return inputs_; }
  [[nodiscard]] std::size_t at() const { return at_; }
  [[nodiscard]] const std::string& error() const { return error_; }
  // The plan, or the result.
  [[nodiscard]] const std::optional<model::Outcome>& outcome() const { return outcome_; }

 private:
  Request enter();
  [[nodiscard]] std::string fill(model::Action& action) const;
  [[nodiscard]] bool name_is_typed() const;

  std::optional<model::Verb> action_verb_;
  std::string name_;
  std::vector<Input> inputs_;
  std::size_t at_ = 0;
  Step step_ = Step::editing;
  std::string error_;
  model::Action action_;
  std::optional<model::Outcome> outcome_;
};

// "memory.max: max -> 536870912", printable.
std::string change_text(const model::Change& change);

// Applies one key to a text of at most 512 bytes. False: the key does not edit text.
bool edit_text(std::string& text, char32_t key);

}  // namespace cgwarden::cgtop
