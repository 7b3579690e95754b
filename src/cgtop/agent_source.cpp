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

  tl::expected<Sample, ExitError> take() override {
    auto answer = client_->get("/api/v1/snapshot", tag_);
    if (!answer) {
      if (answer.error().what.find(": it answers 404") != std::string::npos) {
        answer.error().what = shown_ + ": nothing is served at /api/v1: no agent, or an older one";
      }
      return tl::unexpected(std::move(answer.error()));
    }
    if (answer->status == 304 && last_.snapshot) return last_;
    auto taken = parse_api_snapshot(answer->body, catalogue_);
    if (!taken) return tl::unexpected(ExitError{kUnreachable, shown_ + ": " + taken.error().what});
    tag_ = answer->tag;
    // Most rosters are the one before: then what is compared by it stays cheap.
    if (last_.snapshot && same(*last_.snapshot->cgroup_list, *taken->snapshot->cgroup_list)) {
      auto shared = std::make_shared<model::Snapshot>(*taken->snapshot);
      shared->cgroup_list = last_.snapshot->cgroup_list;
      taken->snapshot = std::move(shared);
    }
    last_ = *taken;
    return std::move(*taken);
  }
  tl::expected<Processes, ExitError> processes(const std::string&, bool) override {
    return tl::unexpected(ExitError{kUsage, "an agent tells of cgroups, not of processes"});
  }
  std::optional<std::string> cgroup_of_pid(int) override { return std::nullopt; }
  void cancel() override { client_->cancel(); }

 private:
  static bool same(const model::CgroupList& a, const model::CgroupList& b) {
    return a.generation == b.generation && a.cgroups.size() == b.cgroups.size() &&
           std::equal(a.cgroups.begin(), a.cgroups.end(), b.cgroups.begin(),
                      [](const auto& x, const auto& y) { return x->id == y->id && x->path == y->path; });
  }

  std::string shown_;
  std::unique_ptr<HttpClient> client_;
  std::shared_ptr<const model::Catalogue> catalogue_;
  std::string tag_;
  Sample last_;
};

}  // namespace

tl::expected<std::unique_ptr<SampleSource>, ExitError> open_agent(const Options& o,
                                                                  std::shared_ptr<const model::Catalogue> catalogue) {
  const auto url = parse_url(o.agent, "10753");
  if (!url) return tl::unexpected(ExitError{kUsage, "--agent: " + url.error()});
  auto client = HttpClient::open(*url, {o.auth_file, o.ca_file, o.cert_file, o.key_file, o.insecure});
  if (!client) return tl::unexpected(std::move(client.error()));
  return std::make_unique<Agent>(url->shown(), std::move(*client), std::move(catalogue));
}

}  // namespace cgwarden::cgtop
