// SPDX-License-Identifier: Apache-2.0
#include <csignal>
#include <exception>
#include <iostream>

#include "src/cgtop/batch.h"
#include "src/cgtop/options.h"

int main(int argc, char** argv) {
  using namespace cgwarden;
  try {
    std::signal(SIGPIPE, SIG_IGN);
    const auto parsed = cgtop::parse_command_line(argc, argv);
    if (parsed.exit_code >= 0) return parsed.exit_code;
    if (parsed.options.action == cgtop::Options::Action::version) {
      std::cout << "cgtop " CGWARDEN_VERSION "\n";
      return cgtop::kDone;
    }
    return cgtop::run_batch(parsed.options);
  } catch (const std::exception& error) {
    std::cerr << "cgtop: " << error.what() << '\n';
    return cgtop::kUnexpected;
  }
}
