// SPDX-License-Identifier: Apache-2.0
// systemd over D-Bus: finds the unit of a cgroup and changes units. systemd requires a single writer per cgroup, so
// limits of a unit are set by SetUnitProperties and freezing uses FreezeUnit; cgroups below a delegated unit are not
// managed by systemd.
//
// The library starts no thread: calls are asynchronous, and this class polls the connection until the reply or the
// deadline. A bus that does not reply costs one deadline; the next call reconnects.
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

  // Whether this host was booted with systemd (sd_booted(3)).
  static bool is_running();

  // Error::code: ETIMEDOUT timed out, ENOTCONN no bus, EACCES not allowed, ENOENT no such unit, EOPNOTSUPP the
  // unit cannot do it, else 0.
  //
  // The unit whose cgroup this is or that contains it; nullopt if there is none.
  base::Result<std::optional<Unit>> unit_of(const std::string& path);
  base::Result<std::string> get(const Unit& unit, const std::string& property, const std::string& device);
  base::Result<void> set(const Unit& unit, const std::vector<UnitProperty>& properties, bool persist);
  // Returns when the whole unit is frozen.
  base::Result<void> freeze(const Unit& unit, std::chrono::milliseconds wait);
  base::Result<void> thaw(const Unit& unit);
  base::Result<void> kill(const Unit& unit, int signal);

 private:
  struct Bus;
  std::unique_ptr<Bus> bus_;
};

}  // namespace cgwarden::control
