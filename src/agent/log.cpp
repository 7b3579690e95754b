// SPDX-License-Identifier: Apache-2.0
#include "src/agent/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "src/base/text.h"

namespace cgwarden::agent::log {
namespace {

std::atomic<bool> as_json = false;

void write(spdlog::level::level_enum level, std::string_view message, const Fields& fields) {
  auto* const logger = spdlog::default_logger_raw();
  if (logger->should_log(level)) logger->log(level, quoted(message) + format_fields(fields, as_json));
}

// True if a logfmt value needs no quotes.
bool is_bare(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != '=' && c != '\\'; });
}

}  // namespace

void set_up(std::string_view level, std::string_view format) {
  auto logger = std::make_shared<spdlog::logger>("cgwarden", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_level(spdlog::level::from_str(std::string(level)));
  logger->flush_on(spdlog::level::trace);
  as_json = format == "json";
  logger->set_pattern(format == "json" ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","msg":%v})"
                                       : "time=%Y-%m-%dT%H:%M:%S.%e%z level=%l msg=%v");
  spdlog::set_default_logger(std::move(logger));
}

std::string quoted(std::string_view text) {
  return nlohmann::json(base::printable(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string format_fields(const Fields& fields, bool json) {
  std::string out;
  for (const auto& field : fields) {
    const bool bare = field.is_number || (!json && is_bare(field.value));
    const auto value = bare ? field.value : log::quoted(field.value);
    out += json ? ',' + log::quoted(field.name) + ':' + value : ' ' + std::string(field.name) + '=' + value;
  }
  return out;
}

void debug(std::string_view message, const Fields& fields) { write(spdlog::level::debug, message, fields); }
void info(std::string_view message, const Fields& fields) { write(spdlog::level::info, message, fields); }
void warn(std::string_view message, const Fields& fields) { write(spdlog::level::warn, message, fields); }
void error(std::string_view message, const Fields& fields) { write(spdlog::level::err, message, fields); }

std::string duration_text(std::chrono::nanoseconds duration) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + 's' : std::to_string(ms) + "ms";
}

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
