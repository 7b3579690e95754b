// SPDX-License-Identifier: Apache-2.0
#include <exception>
#include <iostream>

#include "collectors/collection.h"
#include "src/agent/agent.h"
#include "src/agent/options.h"

int main(int argc, char** argv) {
  using namespace cgwarden;
  try {
    const auto catalogue = collectors::make_catalogue();
    const auto parsed = agent::parse_command_line(argc, argv, *catalogue);
    return parsed.exit_code >= 0 ? parsed.exit_code : agent::run(parsed.options, catalogue);
  } catch (const std::exception& error) {
    std::cerr << "cgwarden: " << error.what() << '\n';
    return agent::kFailed;
  }
}
