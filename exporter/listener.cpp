// SPDX-License-Identifier: Apache-2.0
#include "exporter/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <memory>
#include <string_view>
#include <utility>

#include "src/base/text.h"

namespace cgwarden::exporter {
namespace {

using base::Error;
using base::Fd;
using base::Result;

constexpr int kBacklog = 128;
constexpr std::string_view kUnixPrefix = "unix:";

tl::unexpected<Error> cannot(const std::string& address, int code, std::string_view advice = {}) {
  auto error = Error::from_errno(code, address + ": cannot listen");
  if (advice.empty() && code == EADDRINUSE)
    advice = "another program uses it; stop that program or choose another address";
  if (advice.empty() && code == EACCES) advice = "ports below 1024 and some directories require privileges";
  if (advice.empty() && code == EADDRNOTAVAIL) advice = "no network interface of this host has this address";
  if (!advice.empty()) error.what += " (" + std::string(advice) + ")";
  return tl::unexpected(std::move(error));
}

tl::unexpected<Error> malformed(const std::string& address) {
  return base::fail("'" + base::printable(address) +
                    "': invalid listen address (examples: :10753, 127.0.0.1:10753, [::1]:10753, unix:/path)");
}

struct AddrinfoDeleter {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

std::string address_text(const sockaddr_storage& address, socklen_t size) {
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "?";
  }
  const std::string name = host;
  return (address.ss_family == AF_INET6 ? "[" + name + "]" : name) + ":" + port;
}

// A socket that listens on `address`; a negative errno on failure.
int bind_and_listen(const sockaddr* address, socklen_t size, bool both_families) {
  Fd fd(::socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return -errno;
  const int on = 1;
  const int v6_only = both_families ? 0 : 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address->sa_family == AF_INET6) {
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only);
  }
  if (::bind(fd.get(), address, size) != 0 || ::listen(fd.get(), kBacklog) != 0) return -errno;
  return fd.release();
}

// Removes a socket file without a listener. 0 if the path is free; otherwise an errno.
int remove_stale_socket(const std::string& path, const sockaddr_un& address) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return errno == ENOENT ? 0 : errno;
  if (!S_ISSOCK(status.st_mode)) return EEXIST;
  const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return errno;
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return EADDRINUSE;
  if (errno != ECONNREFUSED) return errno == EAGAIN ? EADDRINUSE : errno;
  return ::unlink(path.c_str()) == 0 || errno == ENOENT ? 0 : errno;
}

}  // namespace

Listener::~Listener() {
  if (!fd_ || path_.empty()) return;
  struct stat status {};
  if (::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

bool Listener::is_address(std::string_view address) {
  if (address.starts_with(kUnixPrefix)) return address.substr(kUnixPrefix.size()).starts_with('/');
  const auto colon = address.rfind(':');
  if (colon == std::string_view::npos || !base::to_int<std::uint16_t>(address.substr(colon + 1))) return false;
  const auto host = address.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') return true;
  return host.find(':') == std::string_view::npos;
}

Result<Listener> Listener::open(const std::string& address) {
  if (!is_address(address)) return malformed(address);
  if (address.starts_with(kUnixPrefix)) return open_unix(address, address.substr(kUnixPrefix.size()));
  return open_tcp(address);
}

Result<Listener> Listener::open_tcp(const std::string& address) {
  const auto colon = address.rfind(':');
  auto host = address.substr(0, colon);
  const auto port = address.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }

  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* raw = nullptr;
  if (const int code = ::getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &raw); code != 0) {
    return base::fail(address + ": cannot listen: " + ::gai_strerror(code));
  }
  const std::unique_ptr<addrinfo, AddrinfoDeleter> list(raw);

  // All addresses: one IPv6 socket accepts both families; on a host without IPv6 use an IPv4 socket. A host name: its
  // first IPv4 address that works, else its first IPv6 address.
  const bool all = host.empty();
  int result = -EADDRNOTAVAIL;
  for (const int family : {all ? AF_INET6 : AF_INET, all ? AF_INET : AF_INET6}) {
    for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
      if (entry->ai_family != family) continue;
      result = bind_and_listen(entry->ai_addr, entry->ai_addrlen, all);
      if (result >= 0 || result == -EADDRINUSE) break;
    }
    if (result >= 0 || result == -EADDRINUSE) break;
  }
  if (result < 0) return cannot(address, -result);

  Listener out;
  out.fd_ = Fd(result);
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (::getsockname(result, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return cannot(address, errno);
  out.address_ = address_text(bound, size);
  return out;
}

Result<Listener> Listener::open_unix(const std::string& address, const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof name.sun_path) return cannot(address, ENAMETOOLONG, "the path may have at most 107 bytes");
  path.copy(name.sun_path, path.size());

  if (const int code = remove_stale_socket(path, name); code == EEXIST) {
    return cannot(address, code, "the file is not a socket; remove it or choose another path");
  } else if (code != 0) {
    return cannot(address, code);
  }
  Listener out;
  out.fd_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!out.fd_) return cannot(address, errno);
  // bind() creates the file with the mode of the socket inode minus the umask, so it never has more than mode 0660.
  if (::fchmod(out.fd_.get(), 0660) != 0) return cannot(address, errno);
  if (::bind(out.fd_.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) return cannot(address, errno);
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return cannot(address, errno);
  out.path_ = path;
  out.device_ = status.st_dev;
  out.inode_ = status.st_ino;
  if (::chmod(path.c_str(), 0660) != 0 || ::listen(out.fd_.get(), kBacklog) != 0) return cannot(address, errno);
  out.address_ = address;
  return out;
}

}  // namespace cgwarden::exporter
