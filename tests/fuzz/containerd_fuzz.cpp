// SPDX-License-Identifier: Apache-2.0
// Parses arbitrary bytes as messages of containerd and as all data of a connection. Facts must be UTF-8, bounded and
// have a source; labels must be allowed; names must be valid; the connection must end or wait for more data.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/text.h"
#include "src/discovery/containerd.h"
#include "src/discovery/grpc.h"
#include "src/discovery/protobuf.h"

namespace {

using namespace cgwarden;

void must(bool holds) {
  if (!holds) std::abort();
}

constexpr std::size_t kMaxMessageSize = 4096;
const discovery::LabelFilter kAllowed({"org.lab.*"});

void expect_fields(std::string_view message) {
  discovery::ProtoReader reader(message);
  std::size_t fields = 0;
  while (const auto field = reader.next()) {
    ++fields;
    must(field->number > 0 && (field->has_bytes ? field->integer == 0 : field->bytes.empty()));
    if (!field->bytes.empty()) {
      must(field->bytes.data() >= message.data());
      must(field->bytes.data() + field->bytes.size() <= message.data() + message.size());
    }
  }
  must(fields * 2 <= message.size());
}

void expect_facts(std::string_view container, std::string_view task) {
  for (const std::string key : {"default/web", "default/a"}) {
    const auto report = discovery::parse_containerd(container, task, key, "it", kAllowed);
    if (report.broken || !report.container) continue;
    const auto& c = *report.container;
    must(c.id == key.substr(8) && c.runtime == "containerd" && !c.pid);
    for (const auto& fact : model::kTextFacts) {
      const auto& value = c.*fact.member;
      if (value)
        must(!value->empty() && value->size() <= discovery::ContainerFacts::kMaxLength && base::is_utf8(*value));
    }
    must(c.labels.size() <= discovery::ContainerFacts::kMaxLabels && std::ranges::is_sorted(c.labels));
    for (const auto& [name, value] : c.labels) {
      must(kAllowed.allows(name) && base::is_utf8(name) && base::is_utf8(value));
    }
    for (const auto& origin : c.origins) must(origin.source == "it");
  }
}

void expect_connection(std::string_view bytes, bool streams) {
  discovery::GrpcSession session(kMaxMessageSize);
  must(session.begin({.method = "/x/y", .name_space = "default", .message = "question", .streams = streams}));
  // In pieces, as they come from a socket.
  for (std::size_t at = 0, piece = 1; at < bytes.size() && !session.ended(); at += piece, piece = piece * 7 % 61 + 1) {
    (void)session.to_send();
    if (session.ended()) break;
    session.receive(bytes.substr(at, piece));
    while (const auto message = session.take_message()) must(message->size() <= kMaxMessageSize);
  }
  (void)session.to_send();
  const auto outcome = session.result().outcome;
  must(session.ended() || outcome == discovery::GrpcOutcome::answered);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<char> exact(data, data + size);
  const std::string_view text(exact.data(), exact.size());
  expect_fields(text);
  expect_facts(text, {});
  expect_facts(text.substr(0, size / 2), text.substr(size / 2));
  for (const auto& space : discovery::parse_containerd_namespaces(text)) must(discovery::is_containerd_name(space));
  if (const auto event = discovery::parse_containerd_event(text)) {
    must(!event->key.empty() && base::is_utf8(event->key) && event->key.size() <= 2 * 76 + 1);
    must(event->exit_code >= 0 && event->exit_code <= 0xFFFF'FFFF);
  }
  expect_connection(text, false);
  expect_connection(text, true);
  return 0;
}
