// SPDX-License-Identifier: Apache-2.0
#include "src/cgroup/host.h"

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "src/base/file.h"
#include "src/base/text.h"

namespace cgwarden::cgroup {
namespace {

// Returns avg10 of the line "some" as a ratio: "some avg10=1.50 ..." -> 0.015.
std::optional<double> some_avg10(const std::string& path) {
  const auto text = base::read_file(path);
  if (!text || !text->starts_with("some avg10=")) return std::nullopt;
  const auto percent = base::to_double(std::string_view(*text).substr(11));
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
  host.name = or_else(base::read_file(paths.procfs + "/sys/kernel/hostname"), static_cast<const char*>(names.nodename));
  host.kernel =
      or_else(base::read_file(paths.procfs + "/sys/kernel/osrelease"), static_cast<const char*>(names.release));
  host.boot_id = or_else(base::read_file(paths.procfs + "/sys/kernel/random/boot_id"), "");
  host.layout = hierarchies.layout();

  if (const auto stat = base::read_file(paths.procfs + "/stat")) {
    std::string_view rest = *stat;
    while (!rest.empty()) {
      const auto line = base::take_line(rest);
      if (line.size() > 3 && line.starts_with("cpu") && line[3] >= '0' && line[3] <= '9') ++host.cpus;
    }
  }
  if (const auto text = base::read_file(paths.procfs + "/loadavg")) {
    std::string_view rest = *text;
    for (auto& load : host.load) load = base::to_double(base::take_word(rest));
  }
  if (const auto text = base::read_file(paths.procfs + "/uptime")) host.uptime_seconds = base::to_double(*text);
  const auto memory = base::read_file(paths.procfs + "/meminfo").value_or("");
  host.memory_total = base::proc_kib(memory, "MemTotal");
  host.memory_available = base::proc_kib(memory, "MemAvailable");
  host.swap_total = base::proc_kib(memory, "SwapTotal");
  host.swap_free = base::proc_kib(memory, "SwapFree");
  host.psi_cpu = some_avg10(paths.procfs + "/pressure/cpu");
  host.psi_memory = some_avg10(paths.procfs + "/pressure/memory");
  host.psi_io = some_avg10(paths.procfs + "/pressure/io");
  return host;
}

}  // namespace cgwarden::cgroup
