// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/host.h"

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "src/base/fd.h"
#include "src/base/text.h"

namespace cgwarden::cgroup {
namespace {

constexpr std::size_t kMaxFile = 4U << 20U;

std::optional<std::string> read_file(const std::string& path) {
  const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return std::nullopt;
  std::string out;
  std::array<char, 16'384> buffer{};
  while (out.size() < kMaxFile) {
    const auto n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::nullopt;
    if (n == 0) break;
    out.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return out;
}

std::optional<double> to_double(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return value;
}

// "MemTotal:   1234 kB" -> bytes
std::optional<std::int64_t> meminfo(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    auto line = base::take_line(text);
    if (base::take_until(line, ':') != key) continue;
    const auto kib = base::to_int<std::int64_t>(base::take_word(line));
    if (!kib) return std::nullopt;
    return *kib * 1024;
  }
  return std::nullopt;
}

// "some avg10=1.50 ..." -> 0.015
std::optional<double> some_avg10(const std::string& path) {
  const auto text = read_file(path);
  if (!text || !text->starts_with("some avg10=")) return std::nullopt;
  const auto percent = to_double(std::string_view(*text).substr(11));
  if (!percent) return std::nullopt;
  return *percent / 100;
}

}  // namespace

model::Host read_host(const HostPaths& paths, const HostHierarchies& hierarchies) {
  model::Host host;
  utsname names{};
  ::uname(&names);
  const auto or_else = [](const std::optional<std::string>& text, const char* other) {
    return text ? std::string(base::trim_end(*text)) : std::string(other);
  };
  host.name = or_else(read_file(paths.procfs + "/sys/kernel/hostname"), static_cast<const char*>(names.nodename));
  host.kernel = or_else(read_file(paths.procfs + "/sys/kernel/osrelease"), static_cast<const char*>(names.release));
  host.boot_id = or_else(read_file(paths.procfs + "/sys/kernel/random/boot_id"), "");
  host.layout = hierarchies.layout();

  if (const auto stat = read_file(paths.procfs + "/stat")) {
    std::string_view rest = *stat;
    while (!rest.empty()) {
      const auto line = base::take_line(rest);
      if (line.size() > 3 && line.starts_with("cpu") && line[3] >= '0' && line[3] <= '9') ++host.cpus;
    }
  }
  if (const auto text = read_file(paths.procfs + "/loadavg")) {
    std::string_view rest = *text;
    for (auto& load : host.load) load = to_double(base::take_word(rest));
  }
  if (const auto text = read_file(paths.procfs + "/uptime")) host.uptime_seconds = to_double(*text);
  const auto memory = read_file(paths.procfs + "/meminfo").value_or("");
  host.memory_total = meminfo(memory, "MemTotal");
  host.memory_available = meminfo(memory, "MemAvailable");
  host.swap_total = meminfo(memory, "SwapTotal");
  host.swap_free = meminfo(memory, "SwapFree");
  host.psi_cpu = some_avg10(paths.procfs + "/pressure/cpu");
  host.psi_memory = some_avg10(paths.procfs + "/pressure/memory");
  host.psi_io = some_avg10(paths.procfs + "/pressure/io");
  return host;
}

}  // namespace cgwarden::cgroup
