// SPDX-License-Identifier: Apache-2.0
#include "src/control/systemd.h"

#include <poll.h>
#include <sdbus-c++/sdbus-c++.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <limits>
#include <map>

#include "src/base/clock.h"
#include "src/base/fd.h"
#include "src/base/text.h"

namespace cgwarden::control {
namespace {

using std::chrono::milliseconds;

constexpr const char* kService = "org.freedesktop.systemd1";
constexpr const char* kManagerPath = "/org/freedesktop/systemd1";
constexpr const char* kManager = "org.freedesktop.systemd1.Manager";
constexpr const char* kProperties = "org.freedesktop.DBus.Properties";
constexpr milliseconds kConnectTimeout{500};
constexpr milliseconds kCallTimeout{5000};   // systemd may be reloading its units
constexpr milliseconds kUrgentTimeout{500};  // then freeze or kill without systemd
constexpr std::uint64_t kInfinity = std::numeric_limits<std::uint64_t>::max();

// "org.freedesktop.systemd1.Service" of "ssh.service"
std::string interface_of(const std::string& name) {
  auto type = name.substr(name.rfind('.') + 1);
  if (!type.empty() && type.front() >= 'a' && type.front() <= 'z')
    type.front() = static_cast<char>(type.front() - 'a' + 'A');
  return std::string(kService) + '.' + type;
}

bool is_device_list(std::string_view property) {
  return property.starts_with("IORead") || property.starts_with("IOWrite") || property.starts_with("IODevice");
}

bool is_mask(std::string_view property) { return property.starts_with("Allowed"); }

// Checks that the bus responds. The library's own timeout may be 90 seconds.
base::Result<void> check_bus() {
  const char* const given = ::getenv("DBUS_SYSTEM_BUS_ADDRESS");
  std::string path = "/run/dbus/system_bus_socket";
  if (given != nullptr) {
    const std::string_view address(given);
    if (!address.starts_with("unix:path=")) return {};  // other address types are left to the library
    path = std::string(address.substr(10, address.find_first_of(",;") - 10));
  }
  const auto deadline = base::monotonic_now() + kConnectTimeout;
  const base::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto unreachable = [&](int code) {
    return tl::unexpected(
        base::Error{code, "system bus at " + base::printable(path) + ": cannot connect: " + std::strerror(code)});
  };
  if (!socket || path.size() >= sizeof address.sun_path) return unreachable(ENOTCONN);
  path.copy(address.sun_path, path.size());
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return unreachable(ENOTCONN);
  // "AUTH EXTERNAL" with our user id in hexadecimal ASCII, as the D-Bus specification has it.
  std::string hello("\0AUTH EXTERNAL ", 15);
  for (const char digit : std::to_string(::geteuid())) hello += std::string("3") + digit;
  hello += "\r\n";
  if (::send(socket.get(), hello.data(), hello.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(hello.size()))
    return unreachable(ENOTCONN);
  pollfd wait{socket.get(), POLLIN, 0};
  const int n = ::poll(&wait, 1, base::milliseconds_left(deadline));
  return n == 1 ? base::Result<void>() : unreachable(ETIMEDOUT);
}

base::Error error_of(const std::string& name, const std::string& message) {
  int code = 0;
  const auto is = [&](std::string_view end) { return std::string_view(name).ends_with(end); };
  if (is("NoReply") || is("Timeout") || is("TimedOut")) code = ETIMEDOUT;
  if (is("Disconnected") || is("ServiceUnknown") || is("NameHasNoOwner") || is("NoServer")) code = ENOTCONN;
  if (is("AccessDenied") || is("InteractiveAuthorizationRequired")) code = EACCES;
  if (is("NoSuchUnit") || is("UnknownObject")) code = ENOENT;
  if (is("NotSupported") || is("UnknownMethod") || is("UnknownProperty") || is("PropertyReadOnly")) code = EOPNOTSUPP;
  return {code, "systemd: " + base::printable(message.empty() ? name : message)};
}

std::vector<std::uint8_t> mask_of(std::string_view list) {
  std::vector<std::uint8_t> mask;
  while (!list.empty()) {
    auto range = base::take_until(list, ',');
    const auto first = base::to_int<unsigned>(base::take_until(range, '-')).value_or(0);
    const auto last = range.empty() ? first : base::to_int<unsigned>(range).value_or(first);
    for (unsigned n = first; n <= last && n < 65'536; ++n) {
      if (mask.size() <= n / 8) mask.resize(n / 8 + 1);
      mask[n / 8] = static_cast<std::uint8_t>(mask[n / 8] | (1U << (n % 8)));
    }
  }
  return mask;
}

std::string list_of(const std::vector<std::uint8_t>& mask) {
  std::string out;
  for (std::size_t n = 0; n < mask.size() * 8; ++n) {
    if ((mask[n / 8] >> (n % 8) & 1U) != 0) out += (out.empty() ? "" : ",") + std::to_string(n);
  }
  return out;
}

std::uint64_t number_of(const std::string& text) {
  return text == "infinity" ? kInfinity : base::to_int<std::uint64_t>(text).value_or(0);
}

using DeviceValue = sdbus::Struct<std::string, std::uint64_t>;
using NamedValue = sdbus::Struct<std::string, sdbus::Variant>;

}  // namespace

struct Systemd::Bus {
  std::unique_ptr<sdbus::IConnection> connection;
  std::map<std::string, std::unique_ptr<sdbus::IProxy>> proxies;

  base::Result<void> connect() {
    if (connection) return {};
    if (auto there = check_bus(); !there) return there;
    try {
      connection = sdbus::createSystemBusConnection();
    } catch (const sdbus::Error& error) {
      return tl::unexpected(
          base::Error{ENOTCONN, "system bus: cannot connect: " + base::printable(error.getMessage())});
    }
    return {};
  }

  void disconnect() {
    proxies.clear();
    connection.reset();
  }

  // `fill` writes the arguments, `read` takes the answer.
  template <class Fill, class Read>
  base::Result<void> call(const std::string& object, const char* interface, const char* method, milliseconds wait,
                          Fill fill, Read read) {
    if (auto connected = connect(); !connected) return connected;
    try {
      auto& proxy = proxies[object];
      if (proxies.size() > 64) {  // units come and go
        proxies.clear();
        return call(object, interface, method, wait, fill, read);
      }
      if (!proxy) proxy = sdbus::createProxy(*connection, kService, object);
      auto message = proxy->createMethodCall(interface, method);
      fill(message);
      bool done = false;
      std::optional<base::Error> failed;
      auto pending = proxy->callMethod(
          message,
          [&](sdbus::MethodReply& reply, const sdbus::Error* error) {
            done = true;
            if (error != nullptr) {
              failed = error_of(error->getName(), error->getMessage());
              return;
            }
            try {
              read(reply);
            } catch (const sdbus::Error& custom) {
              failed = error_of(custom.getName(), custom.getMessage());
            }
          },
          std::chrono::duration_cast<std::chrono::microseconds>(wait));
      const auto deadline = base::monotonic_now() + wait;
      while (!done) {  // NOLINT(bugprone-infinite-loop): the answer's handler sets it
        if (connection->processPendingRequest()) continue;
        if (done || base::monotonic_now() >= deadline) break;
        const auto data = connection->getEventLoopPollData();
        pollfd ready{data.fd, data.events, 0};
        const int n = ::poll(&ready, 1, std::min(base::milliseconds_left(deadline), 100));
        if (n < 0 && errno != EINTR) break;
      }
      if (!done) {
        pending.cancel();
        disconnect();  // so that a late reply is discarded
        return tl::unexpected(
            base::Error{ETIMEDOUT, "systemd: no reply within " + std::to_string(wait.count()) + " ms"});
      }
      if (failed) {
        if (failed->code == ENOTCONN) disconnect();
        return tl::unexpected(std::move(*failed));
      }
      return {};
    } catch (const sdbus::Error& error) {
      disconnect();
      auto what = error_of(error.getName(), error.getMessage());
      if (what.code == 0) what.code = ENOTCONN;
      return tl::unexpected(std::move(what));
    }
  }

  template <class T>
  base::Result<T> property(const std::string& object, const std::string& interface, const std::string& name) {
    T out{};
    auto done = call(
        object, kProperties, "Get", kCallTimeout, [&](sdbus::MethodCall& message) { message << interface << name; },
        [&](sdbus::MethodReply& reply) {
          sdbus::Variant value;
          reply >> value;
          out = value.get<T>();
        });
    if (!done) return tl::unexpected(done.error());
    return out;
  }
};

Systemd::Systemd() : bus_(std::make_unique<Bus>()) {}
Systemd::~Systemd() = default;

bool Systemd::is_running() {
  struct stat st {};
  return ::lstat("/run/systemd/system", &st) == 0 && S_ISDIR(st.st_mode);
}

base::Result<std::optional<Unit>> Systemd::unit_of(const std::string& path) {
  sdbus::ObjectPath object;
  const auto found = bus_->call(
      kManagerPath, kManager, "GetUnitByControlGroup", kUrgentTimeout,
      [&](sdbus::MethodCall& message) { message << path; }, [&](sdbus::MethodReply& reply) { reply >> object; });
  if (!found) {
    if (found.error().code == ENOENT) return std::nullopt;
    return tl::unexpected(found.error());
  }
  Unit unit;
  unit.object = object;
  const auto name = bus_->property<std::string>(unit.object, "org.freedesktop.systemd1.Unit", "Id");
  if (!name) return tl::unexpected(name.error());
  unit.name = *name;
  const auto interface = interface_of(unit.name);
  const auto cgroup = bus_->property<std::string>(unit.object, interface, "ControlGroup");
  if (!cgroup) return tl::unexpected(cgroup.error());
  unit.path = *cgroup;
  if (!unit.is_slice()) unit.delegated = bus_->property<bool>(unit.object, interface, "Delegate").value_or(false);
  if (unit.name.ends_with(".service")) {
    const auto watchdog = bus_->property<std::uint64_t>(unit.object, interface, "WatchdogUSec").value_or(0);
    if (watchdog < (std::uint64_t{1} << 62U)) unit.watchdog_us = static_cast<std::int64_t>(watchdog);
  }
  return unit;
}

base::Result<std::string> Systemd::get(const Unit& unit, const std::string& name, const std::string& device) {
  const auto interface = interface_of(unit.name);
  const auto text = [](std::uint64_t number) {
    return number == kInfinity ? std::string("infinity") : std::to_string(number);
  };
  if (is_mask(name)) {
    const auto mask = bus_->property<std::vector<std::uint8_t>>(unit.object, interface, name);
    if (!mask) return tl::unexpected(mask.error());
    return list_of(*mask);
  }
  if (is_device_list(name)) {
    const auto list = bus_->property<std::vector<DeviceValue>>(unit.object, interface, name);
    if (!list) return tl::unexpected(list.error());
    for (const auto& entry : *list) {
      if (std::get<0>(entry) == device) return text(std::get<1>(entry));
    }
    return "infinity";
  }
  const auto number = bus_->property<std::uint64_t>(unit.object, interface, name);
  if (!number) return tl::unexpected(number.error());
  return text(*number);
}

base::Result<void> Systemd::set(const Unit& unit, const std::vector<UnitProperty>& properties, bool persist) {
  std::vector<NamedValue> values;
  std::map<std::string, std::vector<DeviceValue>> devices;
  for (const auto& property : properties) {
    if (is_mask(property.name)) {
      values.emplace_back(property.name, sdbus::Variant(mask_of(property.value)));
    } else if (is_device_list(property.name)) {
      devices[property.name].emplace_back(property.device, number_of(property.value));
    } else {
      values.emplace_back(property.name, sdbus::Variant(number_of(property.value)));
    }
  }
  for (auto& [name, list] : devices) values.emplace_back(name, sdbus::Variant(list));
  return bus_->call(
      kManagerPath, kManager, "SetUnitProperties", kCallTimeout,
      [&](sdbus::MethodCall& message) { message << unit.name << !persist << values; }, [](sdbus::MethodReply&) {});
}

base::Result<void> Systemd::freeze(const Unit& unit, milliseconds wait) {
  return bus_->call(
      kManagerPath, kManager, "FreezeUnit", wait, [&](sdbus::MethodCall& message) { message << unit.name; },
      [](sdbus::MethodReply&) {});
}

base::Result<void> Systemd::thaw(const Unit& unit) {
  return bus_->call(
      kManagerPath, kManager, "ThawUnit", kUrgentTimeout, [&](sdbus::MethodCall& message) { message << unit.name; },
      [](sdbus::MethodReply&) {});
}

base::Result<void> Systemd::kill(const Unit& unit, int signal) {
  return bus_->call(
      kManagerPath, kManager, "KillUnit", kUrgentTimeout,
      [&](sdbus::MethodCall& message) {
        message << unit.name << std::string("all") << static_cast<std::int32_t>(signal);
      },
      [](sdbus::MethodReply&) {});
}

}  // namespace cgwarden::control
