// SPDX-License-Identifier: Apache-2.0
// Numbers of fields as in containerd's api/services/{containers,tasks,namespaces,events}/v1 and api/types; seen with
// containerd 1.6.
#include "src/discovery/containerd.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "src/base/text.h"
#include "src/discovery/protobuf.h"

namespace cgwarden::discovery {
namespace {

using model::Container;
using Kind = GrpcResult::Kind;

constexpr std::size_t kMaxContainerdName = 76;  // containerd's own limit
constexpr std::size_t kMaxEngineSpaces = 64;
constexpr std::string_view kKubernetes = "k8s.io";
constexpr std::string_view kDocker = "moby";
// Written by dockerd, whatever namespace it was given.
constexpr std::string_view kDockersLabel = "com.docker/engine.";
constexpr std::string_view kNerdctlsName = "nerdctl/name";

std::optional<std::string_view> proto_text(const ProtoField& field) {
  if (!field.has_bytes || !base::is_utf8(field.bytes)) return std::nullopt;
  return field.bytes;
}

// The last of the message's fields with that number, a message itself; nothing where there is none.
std::optional<std::string_view> inner_message(std::string_view message, std::uint32_t number, bool& broken) {
  std::optional<std::string_view> out;
  ProtoReader reader(message);
  while (const auto field = reader.next()) {
    if (field->number == number && field->has_bytes) out = field->bytes;
  }
  broken = broken || reader.broken();
  return out;
}

// google.protobuf.Timestamp; nothing before 1970, as Go's "never" is, and after 2200.
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

// An entry of map<string, string>.
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

// containerd.types.v1.Process as the answer about a task holds it. False: broken, or of another one.
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
    // 1.6 tells the container's id as that of its first process.
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

Daemon::Failure failure_of(Kind kind) {
  switch (kind) {
    case Kind::timeout:
      return Daemon::Failure::timeout;
    case Kind::too_big:
      return Daemon::Failure::too_big;
    case Kind::refused:
      return Daemon::Failure::status;
    case Kind::broken:
      return Daemon::Failure::broken;
    default:
      return Daemon::Failure::unreachable;
  }
}

class Containerd final : public Daemon {
 public:
  explicit Containerd(Options options)
      : options_(std::move(options)), labels_(options_.labels), client_(options_.socket, options_.max_bytes) {}

  Round ask(const std::vector<std::string>& ids) override;
  void cancel() override { client_.cancel(); }

 private:
  enum class Found : std::uint8_t { told, unknown, failed, given_up };

  Found ask_one(const std::string& key, Round& out);
  Found ask_in(const std::string& space, const std::string& key, Round& out);
  GrpcResult call(const char* method, const std::string& space, std::string message, std::string& answer);
  // Counts it, and says whether the next question may do better.
  Found failed(const GrpcResult& result, Round& out);
  // Where a container of which the id alone is known may be.
  const std::vector<std::string>& other_spaces(Round& out);

  Options options_;
  LabelFilter labels_;
  GrpcClient client_;
  GrpcClient::Clock::time_point end_;
  std::optional<std::vector<std::string>> spaces_;  // asked for once a round
};

Daemon::Round Containerd::ask(const std::vector<std::string>& ids) {
  Round out;
  end_ = GrpcClient::Clock::now() + options_.round_within;
  spaces_.reset();
  for (const auto& key : ids) {
    if (out.asked == options_.max_asked || GrpcClient::Clock::now() >= end_ || client_.cancelled()) break;
    ++out.asked;
    const auto found = ask_one(key, out);
    if (found == Found::unknown) out.told.emplace_back(key, nullptr);
    if (found == Found::given_up) break;
  }
  // None that idles until the next round: the daemon may be another one then.
  client_.close();
  return out;
}

Containerd::Found Containerd::ask_one(const std::string& key, Round& out) {
  const auto slash = key.find('/');
  if (slash != std::string::npos) {
    if (!is_containerd_name(key.substr(0, slash)) || !is_containerd_name(key.substr(slash + 1))) return Found::failed;
    return ask_in(key.substr(0, slash), key, out);
  }
  if (!is_engine_id(key)) return Found::failed;
  auto found = ask_in(std::string(kKubernetes), key, out);
  if (found != Found::unknown) return found;
  for (const auto& space : other_spaces(out)) {
    found = ask_in(space, key, out);
    if (found != Found::unknown) return found;
  }
  return client_.cancelled() ? Found::given_up : found;
}

Containerd::Found Containerd::ask_in(const std::string& space, const std::string& key, Round& out) {
  std::string id, container, task;
  add_proto_bytes(id, 1, name_of_key(key));
  auto result = call("containers.v1.Containers/Get", space, id, container);
  if (result.status == GrpcResult::kNotFound) return Found::unknown;
  if (result.kind != Kind::answered) return failed(result, out);
  // It asks the task's shim, which may hang where the daemon does not: what is known already is told.
  result = call("tasks.v1.Tasks/Get", space, std::move(id), task);
  auto found = Found::told;
  if (result.kind != Kind::answered) {
    task.clear();
    if (result.status != GrpcResult::kNotFound) found = failed(result, out);
  }
  auto told = parse_containerd(container, task, key, "unix:" + options_.socket, labels_);
  if (told.broken) {
    ++out.failures[static_cast<std::size_t>(Failure::broken)];
    out.problem = "an answer is broken or of another container";
    return found == Found::given_up ? found : Found::failed;
  }
  out.told.emplace_back(key, std::move(told.container));
  return found;
}

GrpcResult Containerd::call(const char* method, const std::string& space, std::string message, std::string& answer) {
  const auto deadline = std::min(end_, GrpcClient::Clock::now() + options_.answer_within);
  return client_.call(
      {.method = std::string("/containerd.services.") + method, .space = space, .message = std::move(message)},
      deadline, answer);
}

Containerd::Found Containerd::failed(const GrpcResult& result, Round& out) {
  if (result.kind == Kind::cancelled) return Found::given_up;
  ++out.failures[static_cast<std::size_t>(failure_of(result.kind))];
  out.problem = result.why;
  return result.kind == Kind::refused || result.kind == Kind::too_big ? Found::failed : Found::given_up;
}

const std::vector<std::string>& Containerd::other_spaces(Round& out) {
  if (spaces_) return *spaces_;
  spaces_.emplace();
  std::string answer;
  const auto result = call("namespaces.v1.Namespaces/List", {}, {}, answer);
  if (result.kind != Kind::answered) {
    failed(result, out);
    return *spaces_;
  }
  for (auto& space : parse_containerd_namespaces(answer)) {
    if (spaces_->size() < kMaxEngineSpaces && space != kKubernetes && space != kDocker) {
      spaces_->push_back(std::move(space));
    }
  }
  return *spaces_;
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
  std::string_view told_id, image, created;
  std::vector<std::pair<std::string_view, std::string_view>> pairs;
  ProtoReader reader(*message);
  while (const auto field = reader.next()) {
    // Not 5: the whole specification, environment and all.
    if (field->number == 1 || field->number == 3) {
      const auto text = proto_text(*field);
      if (!text) return broken;
      (field->number == 1 ? told_id : image) = *text;
    } else if (field->number == 2) {
      const auto pair = proto_entry(field->bytes);
      if (!pair) return broken;
      pairs.push_back(*pair);
    } else if (field->number == 8) {
      created = field->bytes;
    }
  }
  if (reader.broken() || told_id != id) return broken;
  const auto is_dockers = [](const auto& pair) { return pair.first.starts_with(kDockersLabel); };
  if (std::ranges::any_of(pairs, is_dockers)) return {};

  ContainerFacts out(labels);
  out.from(source);
  out.set(&Container::runtime, "containerd");
  out.set(&Container::id, std::string(id));
  if (!is_engine_id(id)) out.set(&Container::name, std::string(id));
  // The kubelet may ask for an image by its digest; then that is all its name.
  out.set(image.starts_with("sha256:") ? &Container::image_digest : &Container::image, std::string(image));
  out.set(&Container::created, proto_time(created));
  std::ranges::sort(pairs);  // a map comes in another order each time, and there is a limit to what is kept
  for (const auto& [name, value] : pairs) {
    out.label(std::string(name), std::string(value));
    if (name == kNerdctlsName) out.set(&Container::name, std::string(value));
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
  std::string_view space, topic, event;
  ProtoReader reader(envelope);
  while (const auto field = reader.next()) {
    if (field->number == 2) space = field->bytes;
    if (field->number == 3) topic = field->bytes;
    if (field->number == 4) event = field->bytes;
  }
  bool custom = reader.broken();
  const auto value = inner_message(event, 2, custom);
  if (custom || !value || !is_containerd_name(space) || space == kDocker) return std::nullopt;
  // All of them begin with the container's id.
  std::string_view id, process;
  ContainerdEvent out;
  out.ended = topic == "/tasks/exit";
  ProtoReader of_event(*value);
  while (const auto field = of_event.next()) {
    if (field->number == 1) id = field->bytes;
    if (!out.ended) continue;
    if (field->number == 2) process = field->bytes;
    if (field->number == 4) out.exit_code = static_cast<std::int64_t>(field->integer & 0xFFFF'FFFFU);
    if (field->number == 5) out.finished = proto_time(field->bytes);
  }
  if (of_event.broken() || !is_containerd_name(id)) return std::nullopt;
  if (out.ended && process != id) return std::nullopt;  // what somebody ran within it besides
  out.key = is_engine_id(id) ? std::string(id) : std::string(space) + '/' + std::string(id);
  return out;
}

ContainerdEvents::ContainerdEvents(Daemon::Options options)
    : options_(std::move(options)), client_(options_.socket, options_.max_bytes) {}

ContainerdEvents::End ContainerdEvents::listen(const std::function<void()>& begun,
                                               const std::function<void(ContainerdEvent)>& heard) {
  GrpcCall call{.method = "/containerd.services.events.v1.Events/Subscribe", .streams = true};
  for (const char* topic :
       {"/containers/create", "/containers/update", "/tasks/start", "/tasks/exit", "/tasks/paused", "/tasks/resumed"}) {
    add_proto_bytes(call.message, 1, std::string("topic==\"") + topic + '"');
  }
  auto result = client_.subscribe(std::move(call), GrpcClient::Clock::now() + options_.answer_within);
  if (result.kind == Kind::answered) begun();
  while (result.kind == Kind::answered) {
    std::string message;
    result = client_.next(options_.answer_within, message);
    if (result.kind != Kind::answered) break;
    if (auto event = parse_containerd_event(message)) heard(std::move(*event));
  }
  client_.close();
  if (result.kind == Kind::cancelled) return {};
  return {.failure = failure_of(result.kind), .why = std::move(result.why)};
}

}  // namespace cgwarden::discovery
