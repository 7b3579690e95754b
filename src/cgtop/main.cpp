// SPDX-License-Identifier: Apache-2.0
#include <sys/ioctl.h>
#include <unistd.h>

#include <clocale>
#include <csignal>
#include <exception>
#include <iostream>

#include "src/cgtop/act.h"
#include "src/cgtop/batch.h"
#include "src/cgtop/options.h"
#include "src/cgtop/screen.h"

int main(int argc, char** argv) {
  using namespace cgwarden;
  try {
    // The character encoding only: the format of numbers must not depend on the locale.
    (void)std::setlocale(LC_CTYPE, "");
    (void)std::signal(SIGPIPE, SIG_IGN);
    auto parsed = cgtop::parse_command_line(argc, argv);
    if (parsed.exit_code >= 0) return parsed.exit_code;
    auto& options = parsed.options;
    if (options.action == cgtop::Options::Action::version) {
      std::cout << "cgtop " CGWARDEN_VERSION "\n";
      return cgtop::kDone;
    }
    if (options.action == cgtop::Options::Action::act) return cgtop::run_action(options);
    if (!options.batch && cgtop::can_show_screen()) return cgtop::run_screen(options);
    // On a terminal without cursor positioning, print tables of its height repeatedly; otherwise print one complete
    // table.
    if (!options.batch && ::isatty(STDOUT_FILENO) != 0) {
      options.iterations = 0;
      winsize size{};
      if (!options.limit && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 5) {
        options.limit = size.ws_row - 4U;
      }
    }
    return cgtop::run_batch(options);
  } catch (const std::exception& error) {
    std::cerr << "cgtop: " << error.what() << '\n';
    return cgtop::kUnexpected;
  }
}
