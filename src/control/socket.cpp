// SPDX-License-Identifier: Apache-2.0
#include "src/control/socket.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <map>
#include <vector>

#include "src/base/clock.h"
#include "src/base/fd.h"
#include "src/base/text.h"
#include "src/control/cgroup_handle.h"
#include "src/control/guards.h"
#include "src/control/undo_log.h"

namespace cgwarden::control {
namespace {

namespace asio = boost::asio;
using Local = asio::local::stream_protocol;

bool fill_address(sockaddr_un& address, const std::string& path) {
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return false;
  path.copy(address.sun_path, path.size());
  return true;
}

std::optional<gid_t> gid_of(const std::string& name) {
  ::group entry{};
  ::group* found = nullptr;
  std::vector<char> buffer(65'536);
  if (name.empty() || ::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return std::nullopt;
  return found->gr_gid;
}

struct Peer {
  ucred credentials{};
  bool admin = false;
};

std::optional<Peer> peer_of(int socket, std::optional<gid_t> admin_gid) {
  Peer peer;
  socklen_t size = sizeof peer.credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer.credentials, &size) != 0) return std::nullopt;
  peer.admin = peer.credentials.uid == 0 || (admin_gid && peer.credentials.gid == *admin_gid);
  std::vector<gid_t> gids(65'536);
  size = static_cast<socklen_t>(gids.size() * sizeof(gid_t));
  if (admin_gid && ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, gids.data(), &size) == 0) {
    gids.resize(size / sizeof(gid_t));
    peer.admin = peer.admin || std::ranges::find(gids, *admin_gid) != gids.end();
  }
  return peer;
}

}  // namespace

struct SocketServer::Inner : std::enable_shared_from_this<Inner> {
  Inner(asio::io_context& loop, const cgroup::HostHierarchies& hierarchies, Options given, ActionHandlers callbacks)
      : host(hierarchies), options(std::move(given)), handlers(std::move(callbacks)), acceptor(loop) {}

  struct Connection : std::enable_shared_from_this<Connection> {
    Connection(std::shared_ptr<Inner> owner, Local::socket accepted, Peer connected)
        : inner(std::move(owner)), socket(std::move(accepted)), timer(socket.get_executor()), peer(connected) {}
    ~Connection() {
      --inner->connections;
      if (const auto at = inner->connections_by_uid.find(peer.credentials.uid);
          at != inner->connections_by_uid.end() && --at->second == 0)
        inner->connections_by_uid.erase(at);
    }

    void read() {
      wait();
      asio::async_read_until(socket, asio::dynamic_buffer(text, kMaxLine + 1), '\n',
                             [self = shared_from_this()](boost::system::error_code error, std::size_t size) {
                               self->on_line(error, size);
                             });
    }

    void on_line(boost::system::error_code error, std::size_t size) {
      timer.cancel();
      if (error == asio::error::not_found) {
        close_after = true;
        return reply(model::outcome_of(model::Outcome::Kind::usage, "request: must be one line of at most 64 KiB"));
      }
      if (error || inner->stopped) return;
      const auto line = text.substr(0, size - 1);
      text.erase(0, size);
      auto request = parse_request(line);
      if (!request) return reply(model::outcome_of(model::Outcome::Kind::usage, request.error().what));
      inner->handle(*request, peer,
                    [self = shared_from_this()](const model::Outcome& outcome) { self->reply(outcome); });
    }

    void reply(const model::Outcome& outcome) {
      out = to_json(outcome) + '\n';
      wait();
      asio::async_write(socket, asio::buffer(out),
                        [self = shared_from_this()](boost::system::error_code error, std::size_t) {
                          self->timer.cancel();
                          if (!error && !self->close_after && !self->inner->stopped) self->read();
                        });
    }

    void wait() {
      timer.expires_after(inner->options.timeout);
      timer.async_wait([weak = weak_from_this()](boost::system::error_code error) {
        if (const auto self = weak.lock(); self && !error) self->close();
      });
    }
    void close() {
      boost::system::error_code ignored;
      socket.close(ignored);
    }

    std::shared_ptr<Inner> inner;
    Local::socket socket;
    asio::steady_timer timer;
    Peer peer;
    std::string text;
    std::string out;
    bool close_after = false;
  };

  void accept() {
    acceptor.async_accept([self = shared_from_this()](boost::system::error_code error, Local::socket socket) {
      if (self->stopped) return;
      if (error) {  // such as EMFILE: retry after a pause
        self->pause.expires_after(std::chrono::milliseconds(200));
        self->pause.async_wait([self](boost::system::error_code) {
          if (!self->stopped) self->accept();
        });
        return;
      }
      self->admit(std::move(socket));
      self->accept();
    });
  }

  void admit(Local::socket socket) {
    const auto peer = peer_of(socket.native_handle(), gid_of(options.admin_group));
    // The limits do not apply to root.
    if (!peer || (peer->credentials.uid != 0 &&
                  (connections >= options.max_connections ||
                   connections_by_uid[peer->credentials.uid] >= options.max_connections_per_user))) {
      if (peer && connections_by_uid[peer->credentials.uid] == 0) connections_by_uid.erase(peer->credentials.uid);
      return;
    }
    ++connections;
    ++connections_by_uid[peer->credentials.uid];
    const auto connection = std::make_shared<Connection>(shared_from_this(), std::move(socket), *peer);
    std::erase_if(all, [](const auto& weak) { return weak.expired(); });
    all.push_back(connection);
    connection->read();
  }

  void handle(Request& request, const Peer& peer, const ReplyCallback& done) {
    model::Actor actor;
    actor.via = model::Actor::Via::socket;
    actor.uid = peer.credentials.uid;
    actor.gid = peer.credentials.gid;
    actor.pid = peer.credentials.pid;
    const Permissions rights{peer.admin, peer.credentials.uid};
    if (request.kind == RequestKind::undo) {
      if (!peer.admin) {
        const auto undo_log = UndoLog::open(options.state_directory, false);
        const auto entry = undo_log && !request.undo.empty() ? undo_log->find(request.undo) : std::nullopt;
        if (!entry || entry->uid != peer.credentials.uid) {
          return done(model::outcome_of(
              model::Outcome::Kind::denied,
              "undo: permission denied: the action belongs to another user (name the id of an action of your own)",
              "owner"));
        }
      }
      return handlers.undo(request.undo, actor, request.dry_run, done);
    }
    auto& action = request.action;
    for (auto* cgroup : {&action.cgroup, &action.target}) {
      if (cgroup->path.empty() && cgroup == &action.target) continue;
      // The instance whose permissions were checked is the one that is acted on.
      const auto handle = CgroupHandle::open(host, *cgroup);
      if (!handle)
        return done(
            model::outcome_of(handle.error().code == EINVAL ? model::Outcome::Kind::usage : model::Outcome::Kind::gone,
                              handle.error().what));
      cgroup->id = handle->id();
      if (auto guarded = check_permissions(rights, host, action.verb, *cgroup)) {
        return done(
            model::outcome_of(model::Outcome::Kind::denied, std::move(guarded->text), std::move(guarded->guard)));
      }
    }
    if (!peer.admin && action.persist)
      return done(model::outcome_of(
          model::Outcome::Kind::denied,
          "--persist: permission denied: only root and members of the enforcer's Unix group may use it", "owner"));
    action.actor = actor;
    handlers.apply(std::move(action), done);
  }

  void stop() {
    stopped = true;
    boost::system::error_code ignored;
    acceptor.close(ignored);
    pause.cancel();
    for (const auto& weak : all) {
      if (const auto connection = weak.lock()) connection->close();
    }
  }

  const cgroup::HostHierarchies host;
  Options options;
  ActionHandlers handlers;
  Local::acceptor acceptor;
  asio::steady_timer pause{acceptor.get_executor()};
  std::size_t connections = 0;
  std::map<uid_t, std::size_t> connections_by_uid;
  std::vector<std::weak_ptr<Connection>> all;
  bool stopped = false;
};

base::Result<std::unique_ptr<SocketServer>> SocketServer::start(asio::io_context& loop,
                                                                const cgroup::HostHierarchies& host, Options options,
                                                                ActionHandlers handlers) {
  const auto shown = base::printable(options.path);
  sockaddr_un address{};
  if (!fill_address(address, options.path))
    return base::fail(shown + ": cannot listen: the path of a Unix socket must be 1 to 107 bytes long");
  struct stat st {};
  if (::lstat(options.path.c_str(), &st) == 0) {
    if (!S_ISSOCK(st.st_mode))
      return base::fail(shown + ": cannot listen: the file exists and is not a socket (remove it)");
    const base::Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN) {
      return base::fail(shown + ": cannot listen: another enforcer is running");
    }
    ::unlink(options.path.c_str());  // left by an enforcer that was killed
  }
  const auto path = options.path;
  auto inner = std::make_shared<Inner>(loop, host, std::move(options), std::move(handlers));
  boost::system::error_code error;
  inner->acceptor.open(Local(), error);
  if (!error) inner->acceptor.bind(Local::endpoint(path), error);
  if (!error && ::chmod(path.c_str(), 0666) != 0) error = {errno, boost::system::system_category()};
  if (!error) inner->acceptor.listen(64, error);
  if (error) return tl::unexpected(base::Error::from_errno(error.value(), shown + ": cannot listen"));
  inner->accept();
  return std::unique_ptr<SocketServer>(new SocketServer(std::move(inner)));
}

SocketServer::~SocketServer() {
  inner_->stop();
  ::unlink(inner_->options.path.c_str());
}

base::Result<model::Outcome> query_enforcer(const std::string& path, const Request& request,
                                            std::chrono::milliseconds wait) {
  const auto shown = base::printable(path);
  sockaddr_un address{};
  const base::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fill_address(address, path) || !socket ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return base::fail_errno("enforcer at " + shown +
                            ": cannot connect (start it with cgwarden enforce, or run as root without it)");
  }
  const auto deadline = base::monotonic_now() + wait;
  const auto ready = [&](short events) {
    pollfd one{socket.get(), events, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - base::monotonic_now()).count();
    return left > 0 && ::poll(&one, 1, static_cast<int>(std::min<long long>(left, 3'600'000))) == 1;
  };
  const auto no_reply = [&] { return base::fail("enforcer at " + shown + ": no response in time"); };
  const auto line = to_json(request) + '\n';
  if (line.size() > kMaxLine) return base::fail("enforcer at " + shown + ": request is longer than 64 KiB");
  for (std::size_t sent = 0; sent < line.size();) {
    if (!ready(POLLOUT)) return no_reply();
    const auto n = ::send(socket.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return no_reply();
    if (n > 0) sent += static_cast<std::size_t>(n);
  }
  std::string reply;
  std::array<char, 16384> piece{};
  while (reply.find('\n') == std::string::npos) {
    if (reply.size() > 16 * kMaxLine || !ready(POLLIN)) return no_reply();
    const auto n = ::recv(socket.get(), piece.data(), piece.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) return no_reply();
    reply.append(piece.data(), static_cast<std::size_t>(n));
  }
  return parse_outcome(std::string_view(reply).substr(0, reply.find('\n')));
}

}  // namespace cgwarden::control
