// SPDX-License-Identifier: Apache-2.0
#include "src/agent/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "src/base/text.h"

namespace cgwarden::agent::log {
namespace {

void write(spdlog::level::level_enum level, std::string_view message) {
  auto* const logger = spdlog::default_logger_raw();
  if (logger->should_log(level)) logger->log(level, quoted(message));
}

}  // namespace

void set_up(std::string_view level, std::string_view format) {
  auto logger = std::make_shared<spdlog::logger>("cgwarden", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_level(spdlog::level::from_str(std::string(level)));
  logger->flush_on(spdlog::level::trace);
  logger->set_pattern(format == "json" ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","msg":%v})"
                                       : "time=%Y-%m-%dT%H:%M:%S.%e%z level=%l msg=%v");
  spdlog::set_default_logger(std::move(logger));
}

std::string quoted(std::string_view text) {
  return nlohmann::json(base::printable(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void debug(std::string_view message) { write(spdlog::level::debug, message); }
void info(std::string_view message) { write(spdlog::level::info, message); }
void warn(std::string_view message) { write(spdlog::level::warn, message); }
void error(std::string_view message) { write(spdlog::level::err, message); }

std::string time_text(base::Wall time) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
  const auto seconds = static_cast<time_t>(ms / 1000);
  tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[64];
  const auto size = ::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  auto fraction = std::to_string(ms % 1000);
  fraction.insert(0, 3 - std::min<std::size_t>(3, fraction.size()), '0');
  return std::string(text, size) + '.' + fraction + 'Z';
}

}  // namespace cgwarden::agent::log
