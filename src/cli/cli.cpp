// SPDX-License-Identifier: Apache-2.0
#include "src/cli/cli.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <sstream>
#include <utility>

#include "src/base/names.h"
#include "src/base/text.h"

namespace cgwarden::cli {
namespace {

constexpr std::size_t kLineWidth = 100;
constexpr std::size_t kTextColumn = 34;

// `text` in lines of at most kLineWidth that begin at kTextColumn; `at` is where the cursor stands now.
std::string wrapped(std::string_view text, std::size_t at) {
  const std::string newline = '\n' + std::string(kTextColumn, ' ');
  std::string out = at + 2 > kTextColumn ? newline : std::string(kTextColumn - at, ' ');
  at = kTextColumn;
  while (!text.empty()) {
    const auto word = base::take_until(text, ' ');
    if (at > kTextColumn && at + 1 + word.size() > kLineWidth) {
      out += newline;
      at = kTextColumn;
    } else if (at > kTextColumn) {
      out += ' ';
      ++at;
    }
    out += word;
    at += word.size();
  }
  return out + '\n';
}

bool is_flag(const CLI::Option& option) { return option.get_items_expected() == 0; }

class Layout : public CLI::Formatter {
 public:
  std::string make_option_name(const CLI::Option* option, bool positional) const override {
    if (positional) return option->get_name(true, false);
    // CLI11 marks what a negated flag sets: "--no-mouse{false}".
    std::string out;
    std::string names = option->get_name(false, true);
    std::string_view rest = names;
    while (!rest.empty()) {
      const auto name = base::take_until(rest, ',');
      out += (out.empty() ? "" : ", ") + std::string(name.substr(0, name.find('{')));
    }
    return out;
  }

  std::string make_option_opts(const CLI::Option* option) const override {
    if (is_flag(*option) || option->get_positional()) return {};
    // CLI11 appends the validators' descriptions: "SECONDS:INT in [0 - 4]".
    const auto type = option->get_type_name();
    return ' ' + type.substr(0, type.find(':'));
  }

  std::string make_option_desc(const CLI::Option* option) const override {
    auto preset = option->get_default_str();
    if (preset.size() >= 2 && preset.front() == '[' && preset.back() == ']')
      preset = preset.substr(1, preset.size() - 2);
    for (std::size_t at = 0; (at = preset.find(',', at)) != std::string::npos; at += 2) preset.replace(at, 1, ", ");
    const auto text = option->get_description();
    return preset.empty() || is_flag(*option) ? text : text + " (default: " + preset + ')';
  }

  std::string make_option(const CLI::Option* option, bool positional) const override {
    std::string out = "  " + make_option_name(option, positional) + make_option_opts(option);
    return out + wrapped(make_option_desc(option), out.size());
  }

  std::string make_subcommand(const CLI::App* sub) const override {
    std::string out = "  " + sub->get_name();
    return out + wrapped(summary(*sub), out.size());
  }

  std::string make_group(std::string title, bool positional, std::vector<const CLI::Option*> options) const override {
    std::string out = '\n' + (title == "Positionals" ? std::string("Arguments") : title) + ":\n";
    for (const auto* option : options) out += make_option(option, positional);
    return out;
  }

  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    // CLI11 begins each group of options with an empty line and ends each but the last with one.
    auto out = Formatter::make_help(app, std::move(name), mode);
    for (std::size_t at = 0; (at = out.find("\n\n\n", at)) != std::string::npos;) out.erase(at, 1);
    return out;
  }

  std::string make_description(const CLI::App* app) const override { return app->get_description() + "\n\n"; }

  std::string make_usage(const CLI::App* app, std::string name) const override {
    auto out = Formatter::make_usage(app, std::move(name));
    for (const std::string_view word : {"SUBCOMMANDS", "SUBCOMMAND"}) {
      if (const auto at = out.find(word); at != std::string::npos) out.replace(at, word.size(), "COMMAND");
    }
    return out;
  }

  std::string make_subcommands(const CLI::App* app, CLI::AppFormatMode mode) const override {
    auto out = Formatter::make_subcommands(app, mode);
    constexpr std::string_view theirs = "\nSubcommands:\n";
    if (out.starts_with(theirs)) out.replace(0, theirs.size(), "\nCommands:\n");
    return out;
  }

 private:
  // The first line of a subcommand's description.
  static std::string summary(const CLI::App& sub) {
    const auto text = sub.get_description();
    return text.substr(0, text.find('\n'));
  }
};

// The innermost subcommand that was given, or the program itself.
const CLI::App& innermost(const CLI::App& app) {
  const auto given = app.get_subcommands();
  return given.empty() ? app : innermost(*given.front());
}

std::string unknown_option(const CLI::App& app, std::string_view name) {
  std::vector<std::string> options;
  for (const auto* at = &innermost(app); at != nullptr; at = at->get_parent()) {
    for (const auto* option : at->get_options()) {
      for (const auto& known : option->get_lnames()) options.push_back("--" + known);
    }
  }
  const std::vector<std::string_view> names(options.begin(), options.end());
  return base::unknown_name("option", name.substr(0, name.find('=')), names);
}

// Nothing if no subcommand could have stood there.
std::string unknown_command(const CLI::App& app, std::string_view name) {
  std::vector<std::string> commands;
  for (const auto* sub : innermost(app).get_subcommands([](const CLI::App*) { return true; }))
    commands.push_back(sub->get_name());
  if (commands.empty()) return {};
  const std::vector<std::string_view> names(commands.begin(), commands.end());
  return base::unknown_name("command", name, names);
}

// `first`: the first of what was left over.
std::string unexpected(const CLI::App& app, const std::string& first) {
  const auto left = app.remaining(true);
  for (const auto& one : left) {
    if (one.size() > 1 && one.starts_with('-')) return unknown_option(app, one);
  }
  // "cgtop dupm nginx": the misspelled command was taken for a positional argument.
  for (const auto* option : innermost(app).get_options()) {
    if (!option->get_positional() || option->count() == 0) continue;
    if (auto what = unknown_command(app, option->results().front()); !what.empty()) return what;
  }
  auto what = unknown_command(app, first);
  return what.empty() ? "unexpected argument '" + first + "'" : what;
}

// The first word, without a colon at its end: CLI11's messages begin with the name of the option.
std::string object_of(std::string_view message) {
  auto word = base::take_word(message);
  while (word.ends_with(':')) word.remove_suffix(1);
  return std::string(word);
}

bool is(const CLI::ParseError& error, CLI::ExitCodes kind) { return error.get_exit_code() == static_cast<int>(kind); }

std::string reason_of(const CLI::App& app, const CLI::ParseError& error) {
  std::string message = error.what();
  using CLI::ExitCodes;
  const auto left = app.remaining(true);
  // CLI11 reverses them when it has parsed all.
  if (is(error, ExitCodes::ExtrasError)) return unexpected(app, left.empty() ? std::string() : left.back());
  if (is(error, ExitCodes::ExcludesError)) {
    return object_of(message) + ": cannot be combined with " + message.substr(message.rfind(' ') + 1);
  }
  if (is(error, ExitCodes::RequiredError)) {
    const bool command = message.starts_with("A subcommand");
    if (command && !left.empty()) return unexpected(app, left.front());
    return (command ? "COMMAND" : object_of(message)) + ": missing argument";
  }
  if (is(error, ExitCodes::ArgumentMismatch)) {
    const auto object = object_of(message);
    // "once was given a value", without the dashes.
    return object.starts_with('-') || app.get_option_no_throw("--" + object) == nullptr
               ? object + ": missing value"
               : "--" + object + ": takes no value";
  }
  if (is(error, ExitCodes::ConversionError)) {
    // "Could not convert: --limit = x"
    const auto at = std::min(message.find("--"), message.size());
    const auto equals = message.find(" = ");
    return object_of(std::string_view(message).substr(at)) + ": not a number" +
           (equals == std::string::npos ? "" : ": '" + message.substr(equals + 3) + "'");
  }
  return message;
}

}  // namespace

void use_layout(CLI::App& app) {
  app.formatter(std::make_shared<Layout>());
  app.set_help_flag("-h,--help", "Print this help and exit");
}

void refuse_values_of_flags(CLI::App& app) {
  for (auto* option : app.get_options()) {
    if (is_flag(*option)) option->disable_flag_override();
  }
  for (auto* sub : app.get_subcommands([](CLI::App*) { return true; })) refuse_values_of_flags(*sub);
}

std::string describe(const CLI::App& app, const CLI::ParseError& error) {
  auto what = reason_of(app, error);
  std::ranges::replace(what, '\n', ' ');
  const auto& program = app.get_name();
  return program + ": " + base::printable(what) + " (see " + program + " --help)";
}

CLI::Validator integer_between(long long least, long long most) {
  return CLI::Validator(
      [least, most](std::string& text) {
        const auto number = base::to_int<long long>(text);
        if (number && *number >= least && *number <= most) return std::string();
        return "'" + text + "' is not an integer from " + std::to_string(least) + " to " + std::to_string(most);
      },
      "");
}

CLI::Validator seconds_between(double least, double most) {
  // CLI::Range accepts "nan", which is neither below nor above.
  return CLI::Validator(
      [least, most](std::string& text) {
        const auto seconds = base::to_double(text);
        if (seconds && *seconds >= least && *seconds <= most) return std::string();
        std::ostringstream wrong;
        wrong << "'" << text << "' is not a number of seconds from " << least << " to " << most;
        return wrong.str();
      },
      "");
}

CLI::Validator one_of(std::vector<std::string> choices) {
  return CLI::Validator(
      [choices = std::move(choices)](std::string& text) {
        if (std::ranges::find(choices, text) != choices.end()) return std::string();
        auto wrong = "unknown value '" + text + "'; use ";
        for (std::size_t i = 0; i < choices.size(); ++i)
          wrong += (i == 0 ? "" : i + 1 == choices.size() ? " or " : ", ") + choices[i];
        return wrong;
      },
      "");
}

CLI::Validator existing_directory() {
  return CLI::Validator(
      [](std::string& path) {
        struct stat info {};
        if (::stat(path.c_str(), &info) != 0) return path + ": cannot open directory: " + std::strerror(errno);
        if (!S_ISDIR(info.st_mode)) return path + ": not a directory";
        while (path.size() > 1 && path.back() == '/') path.pop_back();
        return std::string();
      },
      "");
}

CLI::Validator existing_path() {
  return CLI::Validator(
      [](std::string& path) {
        struct stat info {};
        return ::stat(path.c_str(), &info) == 0 ? std::string() : path + ": cannot open: " + std::strerror(errno);
      },
      "");
}

}  // namespace cgwarden::cli
