// SPDX-License-Identifier: Apache-2.0
// Samples from the /api/v1 of an agent: on another host, or on this host with more privileges than the caller has.
#include <algorithm>

#include "src/base/text.h"
#include "src/cgtop/api_reader.h"
#include "src/cgtop/http_client.h"

namespace cgwarden::cgtop {
namespace {

class AgentSource : public SampleSource {
 public:
  AgentSource(std::string url, std::unique_ptr<HttpClient> client, std::shared_ptr<const model::Catalogue> catalogue)
      : url_(std::move(url)), client_(std::move(client)), catalogue_(std::move(catalogue)) {}

  [[nodiscard]] std::string_view name() const override { return "agent"; }

  tl::expected<Sample, ExitError> take() override {
    auto response = client_->get("/api/v1/snapshot", tag_);
    if (!response) {
      if (is_http_not_found(response.error())) {
        response.error().what =
            url_ + ": /api/v1/snapshot not found: HTTP status 404 (no cgwarden agent, or an older version)";
      }
      return tl::unexpected(std::move(response.error()));
    }
    if (response->status == 304 && last_.snapshot) return last_;
    auto sample = parse_api_snapshot(response->body, catalogue_);
    if (!sample) return tl::unexpected(ExitError{kUnreachable, url_ + ": " + sample.error().what});
    tag_ = response->tag;
    // Cgroup lists rarely change. Sharing the previous one lets callers compare them by pointer.
    if (last_.snapshot && same_cgroups(*last_.snapshot->cgroup_list, *sample->snapshot->cgroup_list)) {
      auto shared = std::make_shared<model::Snapshot>(*sample->snapshot);
      shared->cgroup_list = last_.snapshot->cgroup_list;
      sample->snapshot = std::move(shared);
    }
    last_ = *sample;
    return std::move(*sample);
  }
  tl::expected<Processes, ExitError> processes(const std::string&, bool) override {
    return tl::unexpected(ExitError{
        kUsage, "processes: unsupported with --agent: an agent reports cgroups only (run cgtop ps on that host)"});
  }
  std::optional<std::string> cgroup_of_pid(int) override { return std::nullopt; }
  void cancel() override { client_->cancel(); }

 private:
  static bool same_cgroups(const model::CgroupList& a, const model::CgroupList& b) {
    return a.generation == b.generation && a.cgroups.size() == b.cgroups.size() &&
           std::equal(a.cgroups.begin(), a.cgroups.end(), b.cgroups.begin(),
                      [](const auto& x, const auto& y) { return x->id == y->id && x->path == y->path; });
  }

  std::string url_;
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
  return std::make_unique<AgentSource>(url->without_credentials(), std::move(*client), std::move(catalogue));
}

}  // namespace cgwarden::cgtop
