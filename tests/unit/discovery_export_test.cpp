// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "exporter/container_families.h"
#include "src/agent/containers.h"
#include "tests/temp_dir.h"

namespace cgwarden {
namespace {

using model::Container;
using model::Role;
using testing::HasSubstr;
using testing::Not;

class WriteContainers : public testing::Test {
 protected:
  void add(std::uint64_t id, const std::string& path, const Container& container) {
    auto cgroup = std::make_shared<model::Cgroup>();
    cgroup->id = id;
    cgroup->path = path;
    cgroup_list_->cgroups.push_back(cgroup);
    cgroup_list_->parents.push_back(model::kNoCgroup);
    table_->by_cgroup[model::cgroup_key(id, path)] = std::make_shared<const Container>(container);
  }
  void add_exited(std::uint64_t id, const std::string& path, const Container& container) {
    table_->exited.push_back({id, path, {}, std::make_shared<const Container>(container)});
  }
  model::Snapshot snapshot() {
    model::Snapshot out;
    out.cgroup_list = cgroup_list_;
    out.containers = table_;
    return out;
  }
  std::string written(exporter::Format format = exporter::Format::text) {
    exporter::Buffer out;
    series_ = exporter::write_containers(snapshot(), format, out);
    return std::string(out.view());
  }

  std::shared_ptr<model::CgroupList> cgroup_list_ = std::make_shared<model::CgroupList>();
  std::shared_ptr<model::Containers> table_ = std::make_shared<model::Containers>();
  std::size_t series_ = 0;
};

Container web() {
  Container c;
  c.runtime = "docker";
  c.id = "4f1c";
  c.name = "web";
  c.image = "lab/box:1";
  c.state = "running";
  c.started = base::Wall(std::chrono::milliseconds(1795514401500));
  c.restart_count = 3;
  return c;
}

TEST_F(WriteContainers, WritesOnlyKnownFacts) {
  add(1, "/docker/4f1c", web());
  EXPECT_EQ(written(),
            R"(# HELP cgroup_container_info Metadata of the container, pod or machine as labels; the value is always 1.
# TYPE cgroup_container_info gauge
cgroup_container_info{cgroup="/docker/4f1c",container="web",runtime="docker",role="container",id="4f1c",image="lab/box:1"} 1
# HELP cgroup_container_restarts Number of times that the container manager restarted the container.
# TYPE cgroup_container_restarts gauge
cgroup_container_restarts{cgroup="/docker/4f1c",container="web",runtime="docker"} 3
# HELP cgroup_container_start_time_seconds Last start time of the container in seconds since the Unix epoch.
# TYPE cgroup_container_start_time_seconds gauge
cgroup_container_start_time_seconds{cgroup="/docker/4f1c",container="web",runtime="docker"} 1795514401.5
# HELP cgroup_container_state State of the container as a label; the value is always 1.
# TYPE cgroup_container_state gauge
cgroup_container_state{cgroup="/docker/4f1c",container="web",runtime="docker",state="running"} 1
)");
  EXPECT_EQ(series_, 4U);
}

TEST_F(WriteContainers, WritesImageSizeWithoutLayersAndPaths) {
  auto c = web();
  c.image_bytes = 70000012;
  c.image_layers = std::make_shared<model::Layers>(model::Layers{{"sha256:1", 70000012}});
  c.writable_layer = "/var/lib/docker/overlay2/9/diff";
  add(1, "/docker/4f1c", c);
  EXPECT_THAT(written(), HasSubstr("\ncgroup_container_image_bytes{cgroup=\"/docker/4f1c\",container=\"web\","
                                   "runtime=\"docker\"} 70000012\n"));
  EXPECT_THAT(written(), Not(HasSubstr("sha256:1")));
  EXPECT_THAT(written(), Not(HasSubstr("overlay2")));
}

TEST_F(WriteContainers, UsesInfoAndUnitTypesInOpenMetrics) {
  add(1, "/docker/4f1c", web());
  const auto text = written(exporter::Format::openmetrics);
  EXPECT_THAT(text, HasSubstr("# TYPE cgroup_container info\ncgroup_container_info{"));
  EXPECT_THAT(text, HasSubstr("# UNIT cgroup_container_start_time_seconds seconds\n"));
}

TEST_F(WriteContainers, EscapesUntrustedTextAndKeepsOneOfCollidingLabels) {
  auto c = web();
  c.name = "a\"b\\c\nd";
  c.labels = {{"a-b", "first"}, {"a.b", "second"}, {"c\xff", "x\xff"}};
  add(1, "/docker/4f1c", c);
  const auto text = written();
  EXPECT_THAT(text, HasSubstr(R"(container="a\"b\\c\nd")"));
  EXPECT_THAT(text, HasSubstr(R"(label_a_b="first")"));
  EXPECT_THAT(text, Not(HasSubstr("\"second\"")));
  EXPECT_THAT(text, HasSubstr("label_c_=\"x\xEF\xBF\xBD\""));
}

TEST_F(WriteContainers, WritesExitedContainersWithoutDuplicateSeries) {
  auto gone = web();
  gone.state = "exited";
  gone.exit_code = 137;
  add(1, "/docker/4f1c", web());
  add_exited(2, "/docker/4f1c", gone);  // the same labels
  gone.name = "old";
  add_exited(3, "/docker/beef", gone);
  const auto text = written();
  EXPECT_THAT(text,
              HasSubstr("cgroup_container_exit_code{cgroup=\"/docker/beef\",container=\"old\",runtime=\"docker\"} "
                        "137\n"));
  EXPECT_THAT(text, Not(HasSubstr("cgroup_container_exit_code{cgroup=\"/docker/4f1c\"")));
  EXPECT_EQ(series_, 4U + 5U);
}

TEST_F(WriteContainers, LabelsOnlyTheCgroupOfTheContainer) {
  add(1, "/docker/4f1c", web());
  Container service;
  service.role = Role::service;
  service.runtime = "systemd";
  service.unit = "ssh.service";
  add(2, "/ssh.service", service);
  Container unknown;
  unknown.runtime = "docker";
  add(3, "/docker/beef", unknown);
  const auto source = exporter::container_labels([this] { return table_; });
  std::string labels;
  for (const auto& cgroup : cgroup_list_->cgroups) {
    source(*cgroup, labels);
    labels += '\n';
  }
  EXPECT_EQ(labels,
            "cgroup=\"/docker/4f1c\",container=\"web\",runtime=\"docker\"\n"
            "cgroup=\"/ssh.service\"\n"
            "cgroup=\"/docker/beef\",runtime=\"docker\"\n");
  // A new cgroup at the same path does not get the labels of the removed one.
  labels.clear();
  model::Cgroup recreated;
  recreated.id = 9;
  recreated.path = "/docker/4f1c";
  source(recreated, labels);
  EXPECT_EQ(labels, "cgroup=\"/docker/4f1c\"");
}

TEST_F(WriteContainers, WritesUnitInfoForNonWorkloads) {
  Container service;
  service.role = Role::user_manager;
  service.runtime = "systemd";
  service.unit = "user@1000\n.service";
  service.slice = "user-1000.slice";
  service.uid = "1000";
  add(1, "/u", service);
  auto container = web();
  container.unit = "docker-4f1c.scope";
  add(2, "/docker-4f1c.scope", container);
  EXPECT_THAT(written(),
              HasSubstr("# TYPE cgroup_unit_info gauge\ncgroup_unit_info{cgroup=\"/u\",unit=\"user@1000\\n.service\","
                        "kind=\"user_manager\",slice=\"user-1000.slice\",uid=\"1000\"} 1\n"));
  EXPECT_THAT(written(), Not(HasSubstr("cgroup_unit_info{cgroup=\"/docker")));
  service.role = Role::service;
  service.unit = "ssh.service";
  service.uid.reset();
  service.parent = "inner";
  add(3, "/lxc.payload.inner/ssh.service", service);
  EXPECT_THAT(written(),
              HasSubstr("unit=\"ssh.service\",kind=\"service\",slice=\"user-1000.slice\",parent=\"inner\"} 1\n"))
      << "units of that name may exist in each container and on the host";
  EXPECT_THAT(written(exporter::Format::openmetrics), HasSubstr("# TYPE cgroup_unit info\n"));
}

TEST_F(WriteContainers, FindsWritableLayerThroughMountinfo) {
  const testing_files::TempDir proc;
  const auto write = [&](const std::string& path, const std::string& text) {
    const std::filesystem::path file = proc.path() + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  };
  write("/1/mountinfo",
        "31 1 0:28 / / rw - ext4 /dev/vda rw\n77 31 0:55 / /run/x/rootfs rw - overlay overlay "
        "rw,lowerdir=/l,upperdir=/var/lib/containerd/snapshots/7/fs,workdir=/w\n");
  for (const auto* pid : {"5", "6"}) {
    write(std::string("/") + pid + "/mountinfo", "90 80 0:55 / / rw - overlay overlay rw\n");
    write(std::string("/") + pid + "/cgroup", "0::/ns/web\n");
  }
  auto c = web();
  c.pid = 5;
  add(1, "/ns/web", c);
  c.pid = 6;
  add(2, "/ns/other", c);  // the process is not in this cgroup
  c.writable_layer = "/reported";
  add(3, "/ns", c);
  auto s = snapshot();
  agent::find_writable_layers(s, proc.path());
  const auto* found = s.containers->find(1, "/ns/web");
  EXPECT_EQ(found->writable_layer, "/var/lib/containerd/snapshots/7/fs");
  EXPECT_EQ(found->origins.back().source, proc.path() + "/5/mountinfo");
  EXPECT_EQ(s.containers->find(2, "/ns/other")->writable_layer, std::nullopt);
  EXPECT_EQ(s.containers->find(3, "/ns")->writable_layer, "/reported");
}

TEST_F(WriteContainers, PrintsFactsWithSources) {
  auto c = web();
  c.name = "w\033[31m";
  c.origins = {{"name", "/var/lib/docker/config.v2.json"}, {"id", "path"}, {"image_layers", "/layers"}};
  c.image_layers = std::make_shared<model::Layers>(model::Layers{{"sha256:1", 7}, {"sha256:2", std::nullopt}});
  c.writable_layer = "/var/lib/docker/overlay2/9/diff";
  add(1, "/docker/4f1c", c);
  std::ostringstream text;
  agent::print_containers(snapshot(), false, text);
  EXPECT_THAT(text.str(), HasSubstr("/var/lib/docker/config.v2.json"));
  EXPECT_THAT(text.str(), Not(HasSubstr("\033")));
  std::ostringstream out;
  agent::print_containers(snapshot(), true, out);
  const auto json = nlohmann::json::parse(out.str());
  EXPECT_EQ(json.at(0).at("started"), "2026-11-24T10:00:01.500Z");
  EXPECT_EQ(json.at(0).at("from").at("id"), "path");
  EXPECT_EQ(json.at(0).at("restart_count"), 3);
  EXPECT_EQ(json.at(0).at("writable_layer"), "/var/lib/docker/overlay2/9/diff");
  EXPECT_EQ(json.at(0).at("image_layers").dump(), R"([{"bytes":7,"id":"sha256:1"},{"id":"sha256:2"}])");
  EXPECT_EQ(json.at(0).at("from").at("image_layers"), "/layers");
  EXPECT_THAT(text.str(), HasSubstr("sha256:1 7 bytes"));
}

}  // namespace
}  // namespace cgwarden
