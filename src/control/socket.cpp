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
#include "src/control/guards.h"
#include "src/control/ledger.h"
#include "src/control/place.h"

namespace cgwarden::control {
namespace {

namespace asio = boost::asio;
using Local = asio::local::stream_protocol;

bool fill(sockaddr_un& address, const std::string& path) {
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
  ucred who{};
  bool admin = false;
};

std::optional<Peer> peer_of(int socket, std::optional<gid_t> admin_gid) {
  Peer peer;
  socklen_t size = sizeof peer.who;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer.who, &size) != 0) return std::nullopt;
  peer.admin = peer.who.uid == 0 || (admin_gid && peer.who.gid == *admin_gid);
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
  Inner(asio::io_context& loop, const cgroup::HostHierarchies& hierarchies, Options given, ActionHandlers to_use)
      : host(hierarchies), options(std::move(given)), hands(std::move(to_use)), acceptor(loop) {}

  struct Connection : std::enable_shared_from_this<Connection> {
    Connection(std::shared_ptr<Inner> owner, Local::socket accepted, Peer who)
        : inner(std::move(owner)), socket(std::move(accepted)), timer(socket.get_executor()), peer(who) {}
    ~Connection() {
      --inner->connections;
      if (const auto at = inner->of_user.find(peer.who.uid); at != inner->of_user.end() && --at->second == 0)
        inner->of_user.erase(at);
    }

    void read() {
      wait();
      asio::async_read_until(
          socket, asio::dynamic_buffer(text, kMaxLine + 1), '\n',
          [self = shared_from_this()](boost::system::error_code error, std::size_t size) { self->got(error, size); });
    }

    void got(boost::system::error_code error, std::size_t size) {
      timer.cancel();
      if (error == asio::error::not_found) {
        close_after = true;
        return answer(model::outcome_of(model::Outcome::Kind::usage, "a question is one line of at most 64 KiB"));
      }
      if (error || inner->stopped) return;
      const auto line = text.substr(0, size - 1);
      text.erase(0, size);
      auto request = parse_request(line);
      if (!request) return answer(model::outcome_of(model::Outcome::Kind::usage, request.error().what));
      inner->handle(*request, peer,
                    [self = shared_from_this()](const model::Outcome& outcome) { self->answer(outcome); });
    }

    void answer(const model::Outcome& outcome) {
      out = to_json(outcome) + '\n';
      wait();
      asio::async_write(socket, asio::buffer(out),
                        [self = shared_from_this()](boost::system::error_code error, std::size_t) {
                          self->timer.cancel();
                          if (!error && !self->close_after && !self->inner->stopped) self->read();
                        });
    }

    void wait() {
      timer.expires_after(inner->options.patience);
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
      if (error) {  // out of descriptors: not at once again
        self->pause.expires_after(std::chrono::milliseconds(200));
        self->pause.async_wait([self](boost::system::error_code) {
          if (!self->stopped) self->accept();
        });
        return;
      }
      self->take(std::move(socket));
      self->accept();
    });
  }

  void take(Local::socket socket) {
    const auto peer = peer_of(socket.native_handle(), gid_of(options.admin_group));
    // Root always gets in.
    if (!peer || (peer->who.uid != 0 &&
                  (connections >= options.max_connections || of_user[peer->who.uid] >= options.max_of_one_user))) {
      if (peer && of_user[peer->who.uid] == 0) of_user.erase(peer->who.uid);
      return;
    }
    ++connections;
    ++of_user[peer->who.uid];
    const auto connection = std::make_shared<Connection>(shared_from_this(), std::move(socket), *peer);
    std::erase_if(all, [](const auto& weak) { return weak.expired(); });
    all.push_back(connection);
    connection->read();
  }

  void handle(Request& request, const Peer& peer, const Answer& done) {
    model::Actor actor;
    actor.via = model::Actor::Via::socket;
    actor.uid = peer.who.uid;
    actor.gid = peer.who.gid;
    actor.pid = peer.who.pid;
    const Rights rights{peer.admin, peer.who.uid};
    if (request.what == Request::What::undo) {
      if (!peer.admin) {
        const auto ledger = Ledger::open(options.state_directory, false);
        const auto entry = ledger && !request.undo.empty() ? ledger->find(request.undo) : std::nullopt;
        if (!entry || entry->uid != peer.who.uid) {
          return done(model::outcome_of(model::Outcome::Kind::denied,
                                        "not yours to undo; name the id of what you did yourself", "owner"));
        }
      }
      return hands.undo(request.undo, actor, request.dry_run, done);
    }
    auto& action = request.action;
    for (auto* cgroup : {&action.cgroup, &action.target}) {
      if (cgroup->path.empty() && cgroup == &action.target) continue;
      // What was looked at for the rights is what is acted on.
      const auto place = CgroupHandle::open(host, *cgroup);
      if (!place)
        return done(
            model::outcome_of(place.error().code == EINVAL ? model::Outcome::Kind::usage : model::Outcome::Kind::gone,
                              place.error().what));
      cgroup->id = place->id();
      if (auto guarded = rights_of(rights, host, action.verb, *cgroup)) {
        return done(
            model::outcome_of(model::Outcome::Kind::denied, std::move(guarded->text), std::move(guarded->guard)));
      }
    }
    if (!peer.admin && action.persist)
      return done(model::outcome_of(model::Outcome::Kind::denied, "--persist is root's", "owner"));
    action.actor = actor;
    hands.apply(std::move(action), done);
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
  ActionHandlers hands;
  Local::acceptor acceptor;
  asio::steady_timer pause{acceptor.get_executor()};
  std::size_t connections = 0;
  std::map<uid_t, std::size_t> of_user;
  std::vector<std::weak_ptr<Connection>> all;
  bool stopped = false;
};

base::Result<std::unique_ptr<SocketServer>> SocketServer::start(asio::io_context& loop,
                                                                const cgroup::HostHierarchies& host, Options options,
                                                                ActionHandlers hands) {
  const auto shown = base::printable(options.path);
  sockaddr_un address{};
  if (!fill(address, options.path)) return base::fail("the socket's path must have at most 107 bytes: " + shown);
  struct stat st {};
  if (::lstat(options.path.c_str(), &st) == 0) {
    if (!S_ISSOCK(st.st_mode)) return base::fail(shown + " is there and is no socket; move it away");
    const base::Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN) {
      return base::fail(shown + " is another enforcer's, which runs");
    }
    ::unlink(options.path.c_str());  // of one that was killed
  }
  const auto path = options.path;
  auto inner = std::make_shared<Inner>(loop, host, std::move(options), std::move(hands));
  boost::system::error_code error;
  inner->acceptor.open(Local(), error);
  if (!error) inner->acceptor.bind(Local::endpoint(path), error);
  if (!error && ::chmod(path.c_str(), 0666) != 0) error = {errno, boost::system::system_category()};
  if (!error) inner->acceptor.listen(64, error);
  if (error) return tl::unexpected(base::Error::from_errno(error.value(), "cannot listen on " + shown));
  inner->accept();
  return std::unique_ptr<SocketServer>(new SocketServer(std::move(inner)));
}

SocketServer::~SocketServer() {
  inner_->stop();
  ::unlink(inner_->options.path.c_str());
}

base::Result<model::Outcome> ask_enforcer(const std::string& path, const Request& request,
                                          std::chrono::milliseconds wait) {
  const auto shown = base::printable(path);
  sockaddr_un address{};
  const base::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fill(address, path) || !socket ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return base::fail_errno("the enforcer is not to be reached at " + shown +
                            " (root acts without it; start it with "
                            "cgwarden enforce)");
  }
  const auto deadline = base::monotonic_now() + wait;
  const auto ready = [&](short events) {
    pollfd one{socket.get(), events, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - base::monotonic_now()).count();
    return left > 0 && ::poll(&one, 1, static_cast<int>(std::min<long long>(left, 3'600'000))) == 1;
  };
  const auto late = [&] { return base::fail("the enforcer at " + shown + " does not answer"); };
  const auto line = to_json(request) + '\n';
  if (line.size() > kMaxLine) return base::fail("too much for one question to the enforcer");
  for (std::size_t sent = 0; sent < line.size();) {
    if (!ready(POLLOUT)) return late();
    const auto n = ::send(socket.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return late();
    if (n > 0) sent += static_cast<std::size_t>(n);
  }
  std::string answer;
  std::array<char, 16384> piece{};
  while (answer.find('\n') == std::string::npos) {
    if (answer.size() > 16 * kMaxLine || !ready(POLLIN)) return late();
    const auto n = ::recv(socket.get(), piece.data(), piece.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) return late();
    answer.append(piece.data(), static_cast<std::size_t>(n));
  }
  return parse_outcome(std::string_view(answer).substr(0, answer.find('\n')));
}

}  // namespace cgwarden::control
