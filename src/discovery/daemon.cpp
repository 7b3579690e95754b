// SPDX-License-Identifier: Apache-2.0
#include "src/discovery/daemon.h"

#include <sys/un.h>

#include <algorithm>

#include "src/base/text.h"
#include "src/discovery/containerd.h"
#include "src/discovery/unix_http.h"

namespace cgwarden::discovery {
namespace {

Daemon::Failure failure_of(HttpAnswer::Kind kind) {
  switch (kind) {
    case HttpAnswer::Kind::timeout:
      return Daemon::Failure::timeout;
    case HttpAnswer::Kind::too_big:
      return Daemon::Failure::too_big;
    case HttpAnswer::Kind::broken:
      return Daemon::Failure::broken;
    default:
      return Daemon::Failure::unreachable;
  }
}

// Docker's API.
class Inspector final : public Daemon {
 public:
  explicit Inspector(Options options)
      : options_(std::move(options)), labels_(options_.labels), server_(options_.socket, options_.max_bytes) {}

  Round ask(const std::vector<std::string>& ids) override;
  void cancel() override { server_.cancel(); }

 private:
  Options options_;
  LabelFilter labels_;
  UnixHttp server_;
};

Daemon::Round Inspector::ask(const std::vector<std::string>& ids) {
  Round out;
  const auto end = UnixHttp::Clock::now() + options_.round_within;
  const auto fail = [&](Failure failure, std::string why) {
    ++out.failures[static_cast<std::size_t>(failure)];
    out.problem = std::move(why);
  };
  for (const auto& id : ids) {
    const auto now = UnixHttp::Clock::now();
    if (out.asked == options_.max_asked || now >= end || server_.cancelled()) break;
    ++out.asked;
    if (!is_engine_id(id)) continue;
    const auto answer = server_.get("/containers/" + id + "/json", std::min(end, now + options_.answer_within));
    if (answer.kind == HttpAnswer::Kind::cancelled) break;
    if (answer.kind != HttpAnswer::Kind::answered) {
      fail(failure_of(answer.kind), answer.why);
      if (answer.kind == HttpAnswer::Kind::too_big) continue;
      break;  // so it would be for the next one
    }
    if (answer.status == 404) {
      out.told.emplace_back(id, nullptr);
    } else if (answer.status != 200) {
      fail(Failure::status, "it answers " + std::to_string(answer.status));
    } else if (auto told = parse_inspected(answer.body, id, options_.title, "unix:" + options_.socket, labels_)) {
      out.told.emplace_back(id, std::move(told));
    } else {
      fail(Failure::broken, "an answer is broken or of another container");
    }
  }
  // None that idles until the next round: the daemon may be another one then.
  server_.close();
  return out;
}

}  // namespace

std::unique_ptr<Daemon> make_daemon(const Daemon::Options& options) {
  if (options.title == "containerd") return make_containerd(options);
  return std::make_unique<Inspector>(options);
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
