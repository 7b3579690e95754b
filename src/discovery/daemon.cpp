// SPDX-License-Identifier: Apache-2.0
#include "src/discovery/daemon.h"

#include <sys/un.h>

#include <algorithm>

#include "src/base/text.h"
#include "src/discovery/containerd.h"
#include "src/discovery/unix_http.h"

namespace cgwarden::discovery {
namespace {

Daemon::Failure failure_of(HttpOutcome outcome) {
  switch (outcome) {
    case HttpOutcome::timeout:
      return Daemon::Failure::timeout;
    case HttpOutcome::too_big:
      return Daemon::Failure::too_big;
    case HttpOutcome::broken:
      return Daemon::Failure::broken;
    default:
      return Daemon::Failure::unreachable;
  }
}

// A daemon that implements the Docker API.
class DockerDaemon final : public Daemon {
 public:
  explicit DockerDaemon(Options options)
      : options_(std::move(options)), labels_(options_.labels), server_(options_.socket, options_.max_bytes) {}

  Round query(const std::vector<std::string>& ids) override;
  void cancel() override { server_.cancel(); }

 private:
  Options options_;
  LabelFilter labels_;
  UnixHttp server_;
};

Daemon::Round DockerDaemon::query(const std::vector<std::string>& ids) {
  Round out;
  const auto end = UnixHttp::Clock::now() + options_.round_timeout;
  const auto fail = [&](Failure failure, std::string error) {
    ++out.failures[static_cast<std::size_t>(failure)];
    out.error = std::move(error);
  };
  for (const auto& id : ids) {
    const auto now = UnixHttp::Clock::now();
    if (out.queried == options_.max_queries || now >= end || server_.cancelled()) break;
    ++out.queried;
    if (!is_container_id(id)) continue;
    const auto response = server_.get("/containers/" + id + "/json", std::min(end, now + options_.answer_timeout));
    if (response.outcome == HttpOutcome::cancelled) break;
    if (response.outcome != HttpOutcome::answered) {
      fail(failure_of(response.outcome), response.error);
      if (response.outcome == HttpOutcome::too_big) continue;
      break;  // the next query would fail in the same way
    }
    if (response.status == 404) {
      out.results.emplace_back(id, nullptr);
    } else if (response.status != 200) {
      fail(Failure::status, "HTTP status " + std::to_string(response.status));
    } else if (auto container =
                   parse_inspected(response.body, id, options_.title, "unix:" + options_.socket, labels_)) {
      out.results.emplace_back(id, std::move(container));
    } else {
      fail(Failure::broken, kMalformedResponse);
    }
  }
  // Do not keep an idle connection until the next round: the daemon may have been restarted by then.
  server_.close();
  return out;
}

}  // namespace

std::unique_ptr<Daemon> make_daemon(const Daemon::Options& options) {
  if (options.title == "containerd") return make_containerd(options);
  return std::make_unique<DockerDaemon>(options);
}

bool is_socket_path(std::string_view path) {
  return path.starts_with('/') && path.size() < sizeof(sockaddr_un::sun_path) &&
         path.find('\0') == std::string_view::npos;
}

model::ContainerPtr parse_inspected(std::string_view text, const std::string& id, const std::string& title,
                                    const std::string& source, const LabelFilter& labels) {
  if (!base::is_utf8(text)) return nullptr;
  const auto json = parse_state(text);
  if (!json) return nullptr;
  ContainerFacts out(labels);
  out.from(source);
  if (!parse_inspect(*json, id, out)) return nullptr;
  out.set(&model::Container::runtime, title);
  if (title == "podman" && is_podman_infra(out.facts().name.value_or(""))) out.set_role(model::Role::sandbox);
  return std::make_shared<const model::Container>(out.take());
}

}  // namespace cgwarden::discovery
