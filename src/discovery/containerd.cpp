// SPDX-License-Identifier: Apache-2.0
// Field numbers are those of containerd's api/services/{containers,tasks,namespaces,events}/v1 and api/types, verified
// with containerd 1.6.
#include "src/discovery/containerd.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "src/base/text.h"
#include "src/discovery/protobuf.h"

namespace cgwarden::discovery {
namespace {

using model::Container;

constexpr std::size_t kMaxContainerdName = 76;  // limit of containerd
constexpr std::size_t kMaxContainerdNamespaces = 64;
constexpr std::string_view kKubernetes = "k8s.io";
constexpr std::string_view kDocker = "moby";
// Prefix of labels that dockerd writes in every containerd namespace that it is configured to use.
constexpr std::string_view kDockerLabel = "com.docker/engine.";
constexpr std::string_view kNerdctlName = "nerdctl/name";

std::optional<std::string_view> proto_text(const ProtoField& field) {
  if (!field.has_bytes || !base::is_utf8(field.bytes)) return std::nullopt;
  return field.bytes;
}

// The last embedded message with field number `number`, or nullopt. Sets `broken` if the message is malformed.
std::optional<std::string_view> inner_message(std::string_view message, std::uint32_t number, bool& broken) {
  std::optional<std::string_view> out;
  ProtoReader reader(message);
  while (const auto field = reader.next()) {
    if (field->number == number && field->has_bytes) out = field->bytes;
  }
  broken = broken || reader.broken();
  return out;
}

// A google.protobuf.Timestamp. nullopt before 1970 (Go's zero time) and after 2200.
std::optional<base::Wall> proto_time(std::string_view message) {
  using namespace std::chrono;
  std::uint64_t seconds_since = 0, fraction = 0;
  ProtoReader reader(message);
  while (const auto field = reader.next()) {
    if (field->number == 1) seconds_since = field->integer;
    if (field->number == 2) fraction = field->integer;
  }
  constexpr std::uint64_t last = 7'258'118'400;
  if (reader.broken() || seconds_since == 0 || seconds_since > last || fraction >= 1'000'000'000) return std::nullopt;
  return base::Wall{} + seconds(seconds_since) + nanoseconds(fraction);
}

// One entry of a map<string, string>.
std::optional<std::pair<std::string_view, std::string_view>> proto_entry(std::string_view message) {
  std::pair<std::string_view, std::string_view> out;
  ProtoReader reader(message);
  while (const auto field = reader.next()) {
    const auto text = field->number <= 2 ? proto_text(*field) : std::string_view{};
    if (!text) return std::nullopt;
    if (field->number == 1) out.first = *text;
    if (field->number == 2) out.second = *text;
  }
  if (reader.broken()) return std::nullopt;
  return out;
}

std::string_view name_of_key(std::string_view key) { return key.substr(key.find('/') + 1); }

// Parses containerd.types.v1.Process in the response to Tasks/Get. False: malformed, or of another container.
bool parse_task(std::string_view task, std::string_view id, ContainerFacts& out) {
  bool broken = false;
  const auto process = inner_message(task, 1, broken);
  if (!process || broken) return false;
  constexpr std::uint64_t stopped = 3;
  constexpr const char* states[] = {nullptr, "created", "running", "exited", "paused", "paused"};
  std::uint64_t status = 0, exit_status = 0;
  std::optional<base::Wall> finished;
  ProtoReader reader(*process);
  while (const auto field = reader.next()) {
    // containerd 1.6 sets the process id to the container id for the init process.
    if (field->number == 2 && field->bytes != id) return false;
    if (field->number == 4) status = field->integer;
    if (field->number == 9) exit_status = field->integer;
    if (field->number == 10) finished = proto_time(field->bytes);
  }
  if (reader.broken()) return false;
  if (status < std::size(states) && states[status] != nullptr) out.set(&Container::state, states[status]);
  if (status == stopped) {
    out.set(&Container::exit_code, static_cast<std::int64_t>(exit_status & 0xFFFF'FFFFU));
    out.set(&Container::finished, finished);
  }
  return true;
}

Daemon::Failure failure_of(GrpcOutcome outcome) {
  switch (outcome) {
    case GrpcOutcome::timeout:
      return Daemon::Failure::timeout;
    case GrpcOutcome::too_big:
      return Daemon::Failure::too_big;
    case GrpcOutcome::refused:
      return Daemon::Failure::status;
    case GrpcOutcome::broken:
      return Daemon::Failure::broken;
    default:
      return Daemon::Failure::unreachable;
  }
}

class Containerd final : public Daemon {
 public:
  explicit Containerd(Options options)
      : options_(std::move(options)), labels_(options_.labels), client_(options_.socket, options_.max_bytes) {}

  Round query(const std::vector<std::string>& ids) override;
  void cancel() override { client_.cancel(); }

 private:
  enum class QueryStatus : std::uint8_t { reported, unknown, failed, aborted };

  QueryStatus query_one(const std::string& key, Round& out);
  QueryStatus query_in_namespace(const std::string& name_space, const std::string& key, Round& out);
  GrpcResult call(const char* method, const std::string& name_space, std::string message, std::string& answer);
  // Counts the failure. Returns `failed` if the next query may succeed, `aborted` if the round must end.
  QueryStatus failed(const GrpcResult& result, Round& out);
  // Namespaces, other than k8s.io and moby, in which to search for a container of which only the id is known.
  const std::vector<std::string>& other_namespaces(Round& out);

  Options options_;
  LabelFilter labels_;
  GrpcClient client_;
  GrpcClient::Clock::time_point end_;
  std::optional<std::vector<std::string>> namespaces_;  // queried once per round
};

Daemon::Round Containerd::query(const std::vector<std::string>& ids) {
  Round out;
  end_ = GrpcClient::Clock::now() + options_.round_timeout;
  namespaces_.reset();
  for (const auto& key : ids) {
    if (out.queried == options_.max_queries || GrpcClient::Clock::now() >= end_ || client_.cancelled()) break;
    ++out.queried;
    const auto found = query_one(key, out);
    if (found == QueryStatus::unknown) out.results.emplace_back(key, nullptr);
    if (found == QueryStatus::aborted) break;
  }
  // Do not keep an idle connection until the next round: the daemon may have been restarted by then.
  client_.close();
  return out;
}

Containerd::QueryStatus Containerd::query_one(const std::string& key, Round& out) {
  const auto slash = key.find('/');
  if (slash != std::string::npos) {
    if (!is_containerd_name(key.substr(0, slash)) || !is_containerd_name(key.substr(slash + 1)))
      return QueryStatus::failed;
    return query_in_namespace(key.substr(0, slash), key, out);
  }
  if (!is_container_id(key)) return QueryStatus::failed;
  auto found = query_in_namespace(std::string(kKubernetes), key, out);
  if (found != QueryStatus::unknown) return found;
  for (const auto& name_space : other_namespaces(out)) {
    found = query_in_namespace(name_space, key, out);
    if (found != QueryStatus::unknown) return found;
  }
  return client_.cancelled() ? QueryStatus::aborted : found;
}

Containerd::QueryStatus Containerd::query_in_namespace(const std::string& name_space, const std::string& key,
                                                       Round& out) {
  std::string id, container, task;
  add_proto_bytes(id, 1, name_of_key(key));
  auto result = call("containers.v1.Containers/Get", name_space, id, container);
  if (result.status == GrpcResult::kNotFound) return QueryStatus::unknown;
  if (result.outcome != GrpcOutcome::answered) return failed(result, out);
  // Tasks/Get calls the task's shim, which may hang even if the daemon does not. Report the container anyway.
  result = call("tasks.v1.Tasks/Get", name_space, std::move(id), task);
  auto found = QueryStatus::reported;
  if (result.outcome != GrpcOutcome::answered) {
    task.clear();
    if (result.status != GrpcResult::kNotFound) found = failed(result, out);
  }
  auto report = parse_containerd(container, task, key, "unix:" + options_.socket, labels_);
  if (report.broken) {
    ++out.failures[static_cast<std::size_t>(Failure::broken)];
    out.error = kMalformedResponse;
    return found == QueryStatus::aborted ? found : QueryStatus::failed;
  }
  out.results.emplace_back(key, std::move(report.container));
  return found;
}

GrpcResult Containerd::call(const char* method, const std::string& name_space, std::string message,
                            std::string& answer) {
  const auto deadline = std::min(end_, GrpcClient::Clock::now() + options_.answer_timeout);
  return client_.call({.method = std::string("/containerd.services.") + method,
                       .name_space = name_space,
                       .message = std::move(message)},
                      deadline, answer);
}

Containerd::QueryStatus Containerd::failed(const GrpcResult& result, Round& out) {
  if (result.outcome == GrpcOutcome::cancelled) return QueryStatus::aborted;
  ++out.failures[static_cast<std::size_t>(failure_of(result.outcome))];
  out.error = result.error;
  return result.outcome == GrpcOutcome::refused || result.outcome == GrpcOutcome::too_big ? QueryStatus::failed
                                                                                          : QueryStatus::aborted;
}

const std::vector<std::string>& Containerd::other_namespaces(Round& out) {
  if (namespaces_) return *namespaces_;
  namespaces_.emplace();
  std::string answer;
  const auto result = call("namespaces.v1.Namespaces/List", {}, {}, answer);
  if (result.outcome != GrpcOutcome::answered) {
    failed(result, out);
    return *namespaces_;
  }
  for (auto& name_space : parse_containerd_namespaces(answer)) {
    if (namespaces_->size() < kMaxContainerdNamespaces && name_space != kKubernetes && name_space != kDocker) {
      namespaces_->push_back(std::move(name_space));
    }
  }
  return *namespaces_;
}

}  // namespace

std::unique_ptr<Daemon> make_containerd(const Daemon::Options& options) {
  return std::make_unique<Containerd>(options);
}

bool is_containerd_name(std::string_view text) {
  const auto is_alphanumeric = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  return !text.empty() && text.size() <= kMaxContainerdName && is_alphanumeric(text.front()) &&
         std::ranges::all_of(text, [&](char c) { return is_alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

ContainerdFacts parse_containerd(std::string_view container, std::string_view task, const std::string& key,
                                 const std::string& source, const LabelFilter& labels) {
  ContainerdFacts broken{.broken = true, .container = nullptr};
  const auto id = name_of_key(key);
  bool custom = false;
  const auto message = inner_message(container, 1, custom);
  if (!message || custom) return broken;
  std::string_view actual_id, image, created;
  std::vector<std::pair<std::string_view, std::string_view>> pairs;
  ProtoReader reader(*message);
  while (const auto field = reader.next()) {
    // Field 5, the complete OCI specification, is skipped: it contains the environment.
    if (field->number == 1 || field->number == 3) {
      const auto text = proto_text(*field);
      if (!text) return broken;
      (field->number == 1 ? actual_id : image) = *text;
    } else if (field->number == 2) {
      const auto pair = proto_entry(field->bytes);
      if (!pair) return broken;
      pairs.push_back(*pair);
    } else if (field->number == 8) {
      created = field->bytes;
    }
  }
  if (reader.broken() || actual_id != id) return broken;
  const auto is_docker_label = [](const auto& pair) { return pair.first.starts_with(kDockerLabel); };
  if (std::ranges::any_of(pairs, is_docker_label)) return {};

  ContainerFacts out(labels);
  out.from(source);
  out.set(&Container::runtime, "containerd");
  out.set(&Container::id, std::string(id));
  if (!is_container_id(id)) out.set(&Container::name, std::string(id));
  // The kubelet may request an image by digest; then the image has no other name.
  out.set(image.starts_with("sha256:") ? &Container::image_digest : &Container::image, std::string(image));
  out.set(&Container::created, proto_time(created));
  std::ranges::sort(pairs);  // map order is random, and the number of labels kept is limited
  for (const auto& [name, value] : pairs) {
    out.label(std::string(name), std::string(value));
    if (name == kNerdctlName) out.set(&Container::name, std::string(value));
  }
  if (out.facts().role == model::Role::container) out.set(&Container::name, out.facts().pod_container);
  if (!task.empty() && !parse_task(task, id, out)) return broken;
  return {.broken = false, .container = std::make_shared<const Container>(out.take())};
}

std::vector<std::string> parse_containerd_namespaces(std::string_view answer) {
  std::vector<std::string> out;
  ProtoReader reader(answer);
  while (const auto field = reader.next()) {
    if (field->number != 1 || !field->has_bytes) continue;
    bool custom = false;
    const auto name = inner_message(field->bytes, 1, custom);
    if (name && !custom && is_containerd_name(*name)) out.emplace_back(*name);
  }
  return out;
}

std::optional<ContainerdEvent> parse_containerd_event(std::string_view envelope) {
  std::string_view name_space, topic, event;
  ProtoReader reader(envelope);
  while (const auto field = reader.next()) {
    if (field->number == 2) name_space = field->bytes;
    if (field->number == 3) topic = field->bytes;
    if (field->number == 4) event = field->bytes;
  }
  bool custom = reader.broken();
  const auto value = inner_message(event, 2, custom);
  if (custom || !value || !is_containerd_name(name_space) || name_space == kDocker) return std::nullopt;
  // The container id is field 1 of every event.
  std::string_view id, process;
  ContainerdEvent out;
  out.exited = topic == "/tasks/exit";
  ProtoReader event_reader(*value);
  while (const auto field = event_reader.next()) {
    if (field->number == 1) id = field->bytes;
    if (!out.exited) continue;
    if (field->number == 2) process = field->bytes;
    if (field->number == 4) out.exit_code = static_cast<std::int64_t>(field->integer & 0xFFFF'FFFFU);
    if (field->number == 5) out.finished = proto_time(field->bytes);
  }
  if (event_reader.broken() || !is_containerd_name(id)) return std::nullopt;
  if (out.exited && process != id) return std::nullopt;  // an additional process (exec) exited, not the init process
  out.key = is_container_id(id) ? std::string(id) : std::string(name_space) + '/' + std::string(id);
  return out;
}

ContainerdEvents::ContainerdEvents(Daemon::Options options)
    : options_(std::move(options)), client_(options_.socket, options_.max_bytes) {}

ContainerdEvents::End ContainerdEvents::listen(const std::function<void()>& on_subscribed,
                                               const std::function<void(ContainerdEvent)>& on_event) {
  GrpcCall call{.method = "/containerd.services.events.v1.Events/Subscribe", .streams = true};
  for (const char* topic :
       {"/containers/create", "/containers/update", "/tasks/start", "/tasks/exit", "/tasks/paused", "/tasks/resumed"}) {
    add_proto_bytes(call.message, 1, std::string("topic==\"") + topic + '"');
  }
  auto result = client_.subscribe(std::move(call), GrpcClient::Clock::now() + options_.answer_timeout);
  if (result.outcome == GrpcOutcome::answered) on_subscribed();
  while (result.outcome == GrpcOutcome::answered) {
    std::string message;
    result = client_.next(options_.answer_timeout, message);
    if (result.outcome != GrpcOutcome::answered) break;
    if (auto event = parse_containerd_event(message)) on_event(std::move(*event));
  }
  client_.close();
  if (result.outcome == GrpcOutcome::cancelled) return {};
  return {.failure = failure_of(result.outcome), .error = std::move(result.error)};
}

}  // namespace cgwarden::discovery
