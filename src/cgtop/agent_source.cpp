// SPDX-License-Identifier: Apache-2.0
// Another host, or this one with more rights, through its agent's /api/v1.
#include <algorithm>

#include "src/base/text.h"
#include "src/cgtop/api_reader.h"
#include "src/cgtop/http_client.h"

namespace cgwarden::cgtop {
namespace {

class Agent : public SampleSource {
 public:
  Agent(std::string shown, std::unique_ptr<HttpClient> client, std::shared_ptr<const model::Catalogue> catalogue)
      : shown_(std::move(shown)), client_(std::move(client)), catalogue_(std::move(catalogue)) {}

  [[nodiscard]] std::string_view name() const override { return "agent"; }

  tl::expected<Taken, Stop> take() override {
    auto answer = client_->get("/api/v1/snapshot", tag_);
    if (!answer) {
      if (answer.error().what.find(": it answers 404") != std::string::npos) {
        answer.error().what = shown_ + ": nothing is served at /api/v1: no agent, or an older one";
      }
      return tl::unexpected(std::move(answer.error()));
    }
    if (answer->status == 304 && last_.snapshot) return last_;
    auto taken = parse_api_snapshot(answer->body, catalogue_);
    if (!taken) return tl::unexpected(Stop{kUnreachable, shown_ + ": " + taken.error().what});
    tag_ = answer->tag;
    // Most rosters are the one before: then what is compared by it stays cheap.
    if (last_.snapshot && same(*last_.snapshot->roster, *taken->snapshot->roster)) {
      auto shared = std::make_shared<model::Snapshot>(*taken->snapshot);
      shared->roster = last_.snapshot->roster;
      taken->snapshot = std::move(shared);
    }
    last_ = *taken;
    return std::move(*taken);
  }
  tl::expected<Processes, Stop> processes(const std::string&, bool) override {
    return tl::unexpected(Stop{kUsage, "an agent tells of groups, not of processes"});
  }
  std::optional<std::string> group_of_pid(int) override { return std::nullopt; }
  void cancel() override { client_->cancel(); }

 private:
  static bool same(const model::Roster& a, const model::Roster& b) {
    return a.generation == b.generation && a.groups.size() == b.groups.size() &&
           std::equal(a.groups.begin(), a.groups.end(), b.groups.begin(),
                      [](const auto& x, const auto& y) { return x->id == y->id && x->path == y->path; });
  }

  std::string shown_;
  std::unique_ptr<HttpClient> client_;
  std::shared_ptr<const model::Catalogue> catalogue_;
  std::string tag_;
  Taken last_;
};

}  // namespace

tl::expected<std::unique_ptr<SampleSource>, Stop> open_agent(const Options& o,
                                                             std::shared_ptr<const model::Catalogue> catalogue) {
  const auto url = parse_url(o.agent, "10753");
  if (!url) return tl::unexpected(Stop{kUsage, "--agent: " + url.error()});
  auto client = HttpClient::open(*url, {o.auth_file, o.ca_file, o.cert_file, o.key_file, o.insecure});
  if (!client) return tl::unexpected(std::move(client.error()));
  return std::make_unique<Agent>(url->shown(), std::move(*client), std::move(catalogue));
}

}  // namespace cgwarden::cgtop
