// SPDX-License-Identifier: Apache-2.0
// What the command lines of cgwarden and cgtop share: the layout of --help, validators, and the wording of errors.
// The form is `PROGRAM: OBJECT: what failed: reason (hint)`; docs/glossary.md has the words.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace cgwarden::cli {

// To be called before the first option or subcommand is added: subcommands inherit the layout.
//
//   --log.level LEVEL             Lowest level to log: debug, info, warn or error (default: info)
//
// Options are grouped, metavariables are those of Option::type_name(), and descriptions are wrapped.
void use_layout(CLI::App& app);

// To be called when all options are added: refuses a value for a flag (`--once=3`), in all subcommands.
void refuse_values_of_flags(CLI::App& app);

// The error of app.parse() as one line without a newline, for standard error:
//   "cgtop: unknown option '--fromat'; did you mean '--format'? (see cgtop --help)"
//   "cgtop: --delay: missing value (see cgtop --help)"
std::string describe(const CLI::App& app, const CLI::ParseError& error);

// Validators. Each message reads well after "OPTION: ".
CLI::Validator integer_between(long long least, long long most);
CLI::Validator seconds_between(double least, double most);
CLI::Validator one_of(std::vector<std::string> choices);
CLI::Validator existing_directory();  // removes slashes at the end
CLI::Validator existing_path();

}  // namespace cgwarden::cli
