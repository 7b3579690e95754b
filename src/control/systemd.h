// SPDX-License-Identifier: Apache-2.0
// systemd over D-Bus: whose cgroup is it, and let it write what is its own. One writer per cgroup is systemd's rule, so
// limits of a unit go through SetUnitProperties, freezing through FreezeUnit; what is below a delegated unit is not
// systemd's.
//
// No thread of the library's: calls are sent asynchronously, and the connection's descriptor is waited for here until
// the answer or the deadline. A bus that does not answer costs its deadline, not more; the next call connects anew.
//
// Sources: org.freedesktop.systemd1(5), systemd.resource-control(5), systemd's CGROUP_DELEGATION. Thread: the writer's.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/control/settings.h"

namespace cgwarden::control {

struct Unit {
  std::string name;  // "ssh.service"
  std::string path;  // its cgroup
  std::string object;
  bool delegated = false;
  std::int64_t watchdog_us = 0;  // 0: none

  [[nodiscard]] bool is_slice() const { return name.ends_with(".slice"); }
};

class Systemd {
 public:
  Systemd();
  ~Systemd();
  Systemd(const Systemd&) = delete;
  Systemd& operator=(const Systemd&) = delete;

  // This host was booted with systemd.
  static bool is_running();

  // Error::code: ETIMEDOUT no answer in time, ENOTCONN no bus, EACCES not allowed, ENOENT no such unit, EOPNOTSUPP the
  // unit cannot do it, else 0.
  //
  // The unit whose cgroup this is or that encloses it; nothing: nobody's of systemd.
  base::Result<std::optional<Unit>> unit_of(const std::string& path);
  base::Result<std::string> get(const Unit& unit, const std::string& property, const std::string& device);
  base::Result<void> set(const Unit& unit, const std::vector<UnitProperty>& properties, bool persist);
  // Answers when all of it is frozen.
  base::Result<void> freeze(const Unit& unit, std::chrono::milliseconds wait);
  base::Result<void> thaw(const Unit& unit);
  base::Result<void> kill(const Unit& unit, int signal);

 private:
  struct Bus;
  std::unique_ptr<Bus> bus_;
};

}  // namespace cgwarden::control
