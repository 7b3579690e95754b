// SPDX-License-Identifier: Apache-2.0
// State directories as the runtimes write them; those of CRI-O, Incus and Kubernetes follow the documented formats.
#include <gmock/gmock.h>

#include <functional>

#include "tests/unit/discovery_fixture.h"

namespace cgwarden::discovery {
namespace {

using model::Role;
using std::chrono::duration_cast;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Optional;
using testing::Pair;
using testing::SizeIs;

std::int64_t millis(const model::Container::Time& time) {
  return time ? duration_cast<milliseconds>(time->time_since_epoch()).count() : -1;
}

const std::string kPodId = container_id('b');

class StateReaders : public DiscoveryTest {};

std::string docker_config(const std::string& id, const std::string& name, const std::string& more = {}) {
  return R"({"State":{"Running":true,"Paused":false,"Pid":4711,"ExitCode":0,"StartedAt":"2026-11-24T10:00:01.5Z",
"FinishedAt":"0001-01-01T00:00:00Z","Health":{"Status":"healthy"}},"ID":")" +
         id +
         R"(","Created":"2026-11-24T10:00:00+01:00","Config":{"Hostname":"x","Env":["SECRET=1"],"Image":"lab/box:1",
"Labels":{"org.lab.tier":"web","owner":"lab")" +
         more + R"(}},"Image":"sha256:52fb","Name":"/)" + name + R"(","RestartCount":3})";
}

TEST_F(StateReaders, ReadAllFactsOfDocker) {
  options_.labels = {"org.lab.*"};
  write("/var/lib/docker/containers/" + kId + "/config.v2.json", docker_config(kId, "web"));
  see({"/", "/docker", "/docker/" + kId});
  const auto c = at("/docker/" + kId);
  EXPECT_EQ(c.role, Role::container);
  EXPECT_THAT(c.runtime, Optional(std::string("docker")));
  EXPECT_THAT(c.id, Optional(kId));
  EXPECT_THAT(c.name, Optional(std::string("web")));
  EXPECT_THAT(c.image, Optional(std::string("lab/box:1")));
  EXPECT_THAT(c.image_digest, Optional(std::string("sha256:52fb")));
  EXPECT_THAT(c.state, Optional(std::string("running")));
  EXPECT_THAT(c.health, Optional(std::string("healthy")));
  EXPECT_THAT(c.pid, Optional(4711));
  EXPECT_THAT(c.restart_count, Optional(3));
  EXPECT_EQ(c.exit_code, std::nullopt);
  EXPECT_EQ(c.finished, std::nullopt);
  EXPECT_EQ(millis(c.started), 1795514401500);
  EXPECT_EQ(millis(c.created), 1795510800000);
  EXPECT_THAT(c.labels, ElementsAre(Pair("org.lab.tier", "web")));
  EXPECT_FALSE(knows("/docker"));
  EXPECT_EQ(origin_of(c, "name"), "/var/lib/docker/containers/" + kId + "/config.v2.json");
  EXPECT_EQ(origin_of(c, "exit_code"), "");
}

TEST_F(StateReaders, ReadSwarmAndComposeLabelsOfDocker) {
  write("/var/lib/docker/containers/" + kId + "/config.v2.json",
        docker_config(kId, "svc.1.x",
                      R"(,"com.docker.swarm.service.name":"svc","com.docker.swarm.task.name":"svc.1.x",
"com.docker.swarm.node.id":"n1","com.docker.compose.project":"shop","com.docker.compose.service":"web")"));
  see({"/system.slice/docker-" + kId + ".scope"});
  const auto c = at("/system.slice/docker-" + kId + ".scope");
  EXPECT_THAT(c.service, Optional(std::string("svc")));
  EXPECT_THAT(c.task, Optional(std::string("svc.1.x")));
  EXPECT_THAT(c.node, Optional(std::string("n1")));
  EXPECT_THAT(c.project, Optional(std::string("shop")));
  EXPECT_THAT(c.project_service, Optional(std::string("web")));
  EXPECT_THAT(c.unit, Optional("docker-" + kId + ".scope"));
  EXPECT_THAT(c.labels, IsEmpty());
}

TEST_F(StateReaders, FindDockerContainerBelowAnyParentCgroup) {
  write("/var/lib/docker/containers/" + kId + "/config.v2.json", docker_config(kId, "web"));
  see({"/lab-parent/" + kId, "/lab-parent/" + kPodId});
  EXPECT_THAT(at("/lab-parent/" + kId).runtime, Optional(std::string("docker")));
  EXPECT_THAT(at("/lab-parent/" + kId).name, Optional(std::string("web")));
  EXPECT_FALSE(knows("/lab-parent/" + kPodId));
}

// Layers of an image in Docker's layer store, lowest first: their chain ids are c, d, ...
void write_docker_layers(const std::string& at,
                         const std::vector<std::pair<std::string, std::string>>& digests_and_sizes,
                         const std::function<void(const std::string&, const std::string&)>& write) {
  std::string parent;
  char chain = 'c';
  for (const auto& [digest, size] : digests_and_sizes) {
    const auto id = container_id(chain++);
    write(at + "sha256/" + id + "/diff", digest);
    write(at + "sha256/" + id + "/size", size);
    if (!parent.empty()) write(at + "sha256/" + id + "/parent", parent);
    parent = "sha256:" + id;
  }
  write(at + "mounts/" + kId + "/parent", parent);
  write(at + "mounts/" + kId + "/mount-id", container_id('9'));
}

class DockerLayers : public DiscoveryTest {
 protected:
  model::Container see_with(const std::vector<std::pair<std::string, std::string>>& layers,
                            const std::string& driver = "overlay2") {
    write_docker_layers("/var/lib/docker/image/" + driver + "/layerdb/", layers,
                        [this](const std::string& path, const std::string& text) { write(path, text); });
    return see_container(driver);
  }
  model::Container see_container(const std::string& driver = "overlay2") {
    auto config = docker_config(kId, "web");
    config.insert(1, R"("Driver":")" + driver + R"(",)");
    write("/var/lib/docker/containers/" + kId + "/config.v2.json", config);
    see({"/docker/" + kId});
    resolver().refresh(now_);
    auto out = at("/docker/" + kId);
    EXPECT_THAT(out.name, Optional(std::string("web")));
    return out;
  }
  const std::string under_ = "sha256:" + container_id('1');
  const std::string over_ = "sha256:" + container_id('2');
};

TEST_F(DockerLayers, AreReadInOrderWithSizesAndWritableLayer) {
  const auto c = see_with({{under_, "70000000"}, {over_, "12\n"}});
  ASSERT_TRUE(c.image_layers);
  EXPECT_THAT(*c.image_layers, ElementsAre(model::Layer{under_, 70000000}, model::Layer{over_, 12}));
  EXPECT_THAT(c.image_bytes, Optional(70000012));
  EXPECT_THAT(c.writable_layer, Optional("/var/lib/docker/overlay2/" + container_id('9') + "/diff"));
  EXPECT_EQ(origin_of(c, "image_layers"), "/var/lib/docker/image/overlay2/layerdb/sha256");
  EXPECT_EQ(origin_of(c, "writable_layer"), "/var/lib/docker/image/overlay2/layerdb/mounts/" + kId + "/mount-id");
}

TEST_F(DockerLayers, AreReadOncePerImageAndNotWatched) {
  see_with({{under_, "7"}});
  const auto before = resolver().stats();
  write("/var/lib/docker/image/overlay2/layerdb/mounts/" + kPodId + "/parent", "sha256:" + container_id('c'));
  auto config = docker_config(kPodId, "other");
  config.insert(1, R"("Driver":"overlay2",)");
  write("/var/lib/docker/containers/" + kPodId + "/config.v2.json", config);
  see({"/docker/" + kId, "/docker/" + kPodId});
  EXPECT_EQ(at("/docker/" + kPodId).image_layers, at("/docker/" + kId).image_layers);
  EXPECT_EQ(resolver().stats().files.reads, before.files.reads + 2) << "its own state file and its topmost layer";
  EXPECT_EQ(resolver().stats().watches, before.watches + 1) << "its own directory";
}

TEST_F(DockerLayers, AreMissingWithContainerdImageStore) {
  const auto c = see_container("overlayfs");
  EXPECT_EQ(c.image_layers, nullptr);
  EXPECT_EQ(c.image_bytes, std::nullopt);
  EXPECT_EQ(c.writable_layer, std::nullopt);
  EXPECT_EQ(log_lines_, std::vector<std::string>());
}

TEST_F(DockerLayers, HaveNoSumIfASizeIsMissing) {
  const auto c = see_with({{under_, "70000000"}, {over_, "-"}});
  ASSERT_TRUE(c.image_layers);
  EXPECT_THAT(*c.image_layers, ElementsAre(model::Layer{under_, 70000000}, model::Layer{over_, std::nullopt}));
  EXPECT_EQ(c.image_bytes, std::nullopt);
}

TEST_F(DockerLayers, AreUnknownIfInvalid) {
  for (const auto& [digest, size] :
       std::vector<std::pair<std::string, std::string>>{{"sha256:../../../../secret", "1"},
                                                        {under_, "-5"},
                                                        {under_, "9223372036854775807"},
                                                        {"", "1"},
                                                        {under_ + std::string(1000, 'x'), "1"}}) {
    SCOPED_TRACE(digest + " " + size);
    resolver_.reset();
    cgroups_.clear();
    const auto c = see_with({{under_, "1"}, {digest, size}});
    EXPECT_EQ(c.image_layers, nullptr);
    EXPECT_EQ(c.image_bytes, std::nullopt);
  }
}

TEST_F(DockerLayers, AreUnknownIfTheChainIsCyclic) {
  write("/var/lib/docker/image/overlay2/layerdb/sha256/" + container_id('c') + "/parent",
        "sha256:" + container_id('c'));
  EXPECT_EQ(see_with({{under_, "1"}}).image_layers, nullptr);
}

TEST_F(DockerLayers, AreNotReadThroughSymbolicLink) {
  const std::string at = "/var/lib/docker/image/overlay2/layerdb/sha256/" + container_id('c');
  write("/secret/diff", over_);
  std::filesystem::create_directories(root_ + "/var/lib/docker/image/overlay2/layerdb/sha256");
  std::filesystem::create_directory_symlink(root_ + "/secret", root_ + at);
  write("/var/lib/docker/image/overlay2/layerdb/mounts/" + kId + "/parent", "sha256:" + container_id('c'));
  EXPECT_EQ(see_container().image_layers, nullptr);
  EXPECT_THAT(log_lines_, ElementsAre(HasSubstr("symbolic link")));
}

const std::string kTask = "/run/containerd/io.containerd.runtime.v2.task/";

TEST_F(StateReaders, ReadPodFactsAndRecognizeSandboxOfContainerd) {
  const auto sandbox = R"("io.kubernetes.cri.sandbox-name":"lab-pod","io.kubernetes.cri.sandbox-namespace":"lab-ns",
"io.kubernetes.cri.sandbox-uid":")" +
                       kUid + R"(")";
  write(kTask + "k8s.io/" + kPodId + "/config.json",
        R"({"annotations":{"io.kubernetes.cri.container-type":"sandbox",)" + sandbox + "}}");
  write(kTask + "k8s.io/" + kId + "/config.json",
        R"({"annotations":{"io.kubernetes.cri.container-type":"container","io.kubernetes.cri.container-name":"lab-web",
"io.kubernetes.cri.image-name":"docker.io/lab/box:1","io.kubernetes.cri.sandbox-id":")" +
            kPodId + R"("}})");
  write(kTask + "k8s.io/" + kId + "/init.pid", "4711");
  write("/proc/4711/comm", "");
  write("/run/containerd/runc/k8s.io/" + kId + "/state.json",
        R"({"id":")" + kId + R"(","init_process_pid":4711,"created":"2026-11-24T10:00:00Z"})");
  const auto pod = "/kubepods/burstable/pod" + kUid;
  see({pod, pod + "/" + kId, pod + "/" + kPodId});
  const auto c = at(pod + "/" + kId);
  EXPECT_EQ(c.role, Role::container);
  EXPECT_THAT(c.runtime, Optional(std::string("containerd")));
  EXPECT_THAT(c.name, Optional(std::string("lab-web")));
  EXPECT_THAT(c.image, Optional(std::string("docker.io/lab/box:1")));
  EXPECT_THAT(c.pod, Optional(std::string("lab-pod")));
  EXPECT_THAT(c.pod_namespace, Optional(std::string("lab-ns")));
  EXPECT_THAT(c.pod_uid, Optional(kUid));
  EXPECT_THAT(c.qos, Optional(std::string("burstable")));
  EXPECT_THAT(c.pid, Optional(4711));
  EXPECT_EQ(millis(c.created), 1795514400000);
  const auto pause = at(pod + "/" + kPodId);
  EXPECT_EQ(pause.role, Role::sandbox);
  EXPECT_EQ(pause.name, std::nullopt);
  EXPECT_THAT(pause.pod, Optional(std::string("lab-pod")));
  EXPECT_EQ(at(pod).role, Role::pod);
  EXPECT_THAT(at(pod).pod, Optional(std::string("lab-pod")));
  EXPECT_THAT(at(pod).pod_namespace, Optional(std::string("lab-ns")));
}

TEST_F(StateReaders, ClaimCgroupsOfNamedContainerdContainersByNamespace) {
  options_.labels = {"*"};
  for (const std::string space : {"one", "two"}) {
    write(kTask + space + "/web/config.json",
          R"({"annotations":{"space":")" + space + R"("},"linux":{"cgroupsPath":"/)" + space + R"(/web"}})");
  }
  see({"/one/web", "/two/web", "/one", "/three/web"});
  for (const std::string space : {"one", "two"}) {
    const auto c = at("/" + space + "/web");
    EXPECT_THAT(c.runtime, Optional(std::string("containerd")));
    EXPECT_THAT(c.name, Optional(std::string("web")));
    EXPECT_THAT(c.labels, ElementsAre(Pair("space", space)));
  }
  EXPECT_FALSE(knows("/one"));
  EXPECT_FALSE(knows("/three/web"));
}

TEST_F(StateReaders, ReadNameImageAndExitCodeOfPodman) {
  write("/var/lib/containers/storage/overlay-containers/containers.json",
        R"([{"id":")" + kId +
            R"(","names":["lab-pm1"],"image":"4844","metadata":"{\"image-name\":\"localhost/lab/box:1\"}",
"created":"2026-11-24T10:00:00Z"}])");
  write("/var/lib/containers/storage/overlay-containers/" + kId + "/userdata/config.json",
        R"({"annotations":{"io.container.manager":"libpod","io.kubernetes.cri-o.SandboxID":")" + kPodId + R"("}})");
  write("/run/containers/storage/overlay-containers/" + kId + "/userdata/pidfile", "4711");
  write("/proc/4711/comm", "");
  const auto path = "/machine.slice/libpod-" + kId + ".scope";
  see({path, path + "/container", "/machine.slice/libpod-conmon-" + kId + ".scope"});
  const auto c = at(path);
  EXPECT_THAT(c.runtime, Optional(std::string("podman")));
  EXPECT_THAT(c.name, Optional(std::string("lab-pm1")));
  EXPECT_THAT(c.image, Optional(std::string("localhost/lab/box:1")));
  EXPECT_THAT(c.image_digest, Optional(std::string("sha256:4844")));
  EXPECT_THAT(c.pid, Optional(4711));
  EXPECT_EQ(at(path + "/container").role, Role::payload);
  EXPECT_THAT(at(path + "/container").parent, Optional(kId));
  EXPECT_EQ(at("/machine.slice/libpod-conmon-" + kId + ".scope").role, Role::helper);

  write("/run/libpod/exits/" + kId, "137");
  remove("/proc/4711");
  const auto table = see({"/machine.slice"});
  ASSERT_THAT(table->exited, SizeIs(1));
  EXPECT_THAT(table->exited[0].container->exit_code, Optional(137));
  EXPECT_THAT(table->exited[0].container->state, Optional(std::string("exited")));
  ASSERT_TRUE(table->exited[0].container->finished);
  EXPECT_LT(base::wall_now() - *table->exited[0].container->finished, std::chrono::minutes(1));
  EXPECT_EQ(origin_of(*table->exited[0].container, "finished"), "/run/libpod/exits/" + kId);
}

class PodmanLayers : public DiscoveryTest {
 protected:
  model::Container see_with(const std::string& layers, const std::string& list = "containers.json",
                            const std::string& layer_list = "layers.json") {
    write(storage_ + "overlay-layers/" + layer_list, layers);
    write(storage_ + "overlay-containers/" + list,
          R"([{"id":")" + kId + R"(","names":["web"],"layer":")" + container_id('9') + R"("}])");
    see({path_});
    auto out = at(path_);
    EXPECT_THAT(out.name, Optional(std::string("web")));
    return out;
  }
  static std::string layer(char id, const std::string& parent, const std::string& more) {
    return R"({"id":")" + container_id(id) + R"(","parent":")" + parent + R"(",)" + more + "}";
  }
  static std::string own() { return layer('9', container_id('d'), R"("created":"2026-11-24T10:00:00Z")"); }
  static std::string of_image(char id, const std::string& parent, char digest, std::int64_t size) {
    return layer(id, parent,
                 R"("diff-digest":"sha256:)" + container_id(digest) + R"(","compressed-diff-digest":"sha256:)" +
                     container_id('7') + R"(","diff-size":)" + std::to_string(size));
  }
  const std::string storage_ = "/var/lib/containers/storage/";
  const std::string path_ = "/machine.slice/libpod-" + kId + ".scope";
};

TEST_F(PodmanLayers, AreReadInOrderWithSizesAndWritableLayer) {
  const auto c = see_with("[" + own() + "," + of_image('d', container_id('c'), '2', 12) + "," +
                          of_image('c', "", '1', 70000000) + "]");
  ASSERT_TRUE(c.image_layers);
  EXPECT_THAT(*c.image_layers, ElementsAre(model::Layer{"sha256:" + container_id('1'), 70000000},
                                           model::Layer{"sha256:" + container_id('2'), 12}));
  EXPECT_THAT(c.image_bytes, Optional(70000012));
  EXPECT_THAT(c.writable_layer, Optional(storage_ + "overlay/" + container_id('9') + "/diff"));
  EXPECT_EQ(origin_of(c, "image_layers"), storage_ + "overlay-layers/*.json");
}

TEST_F(PodmanLayers, AreReadFromVolatileLists) {
  write(storage_ + "overlay-layers/layers.json", "[" + of_image('d', "", '2', 12) + "]");
  const auto c = see_with("[" + own() + "]", "volatile-containers.json", "volatile-layers.json");
  ASSERT_TRUE(c.image_layers);
  EXPECT_THAT(*c.image_layers, ElementsAre(model::Layer{"sha256:" + container_id('2'), 12}));
}

TEST_F(PodmanLayers, AreUnknownIfIncompleteOrCyclic) {
  for (const auto& layers :
       {"[" + own() + "]", "[" + own() + "," + of_image('d', container_id('d'), '2', 12) + "]",
        "[" + own() + "," + of_image('d', "", '2', -1) + "]",
        "[" + own() + "," + layer('d', "", R"("diff-digest":"sha256:../../x","diff-size":1)") + "]",
        std::string(R"({"id":1})"), std::string("[[],{},7]")}) {
    SCOPED_TRACE(layers);
    resolver_.reset();
    cgroups_.clear();
    const auto c = see_with(layers);
    EXPECT_EQ(c.image_layers, nullptr);
    EXPECT_EQ(c.image_bytes, std::nullopt);
  }
}

TEST_F(PodmanLayers, AreReadWhenTheyAppearLater) {
  EXPECT_EQ(see_with("[" + of_image('d', "", '2', 12) + "]").image_layers, nullptr);
  write(storage_ + "overlay-layers/layers.json", "[" + own() + "," + of_image('d', "", '2', 12) + "]");
  now_ += std::chrono::seconds(2);
  resolver().refresh(now_);  // the confirming lookup after it was named
  EXPECT_TRUE(at(path_).image_layers);
}

TEST_F(StateReaders, RecognizeInfraContainerOfPodman) {
  write("/var/lib/containers/storage/overlay-containers/containers.json",
        R"([{"id":")" + kId + R"(","names":["a6dd3b264c35-infra"]},{"id":")" + kPodId + R"(","names":["web-infra"]}])");
  const auto slice = "/machine.slice/machine-libpod_pod_" + container_id('c') + ".slice";
  see({slice, slice + "/libpod-" + kId + ".scope", slice + "/libpod-" + kPodId + ".scope"});
  EXPECT_EQ(at(slice).role, Role::pod);
  EXPECT_EQ(at(slice + "/libpod-" + kId + ".scope").role, Role::sandbox);
  EXPECT_EQ(at(slice + "/libpod-" + kPodId + ".scope").role, Role::container);
}

TEST_F(StateReaders, ReadCriOStateFromContainersStorage) {
  options_.labels = {"app"};
  write("/var/lib/containers/storage/overlay-containers/containers.json",
        R"([{"id":")" + kId + R"(","names":["k8s_web_lab-pod_lab-ns_1_0"],"image":"4844"},{"id":")" + kPodId +
            R"(","names":["k8s_POD_lab-pod_lab-ns_1_0"],"image":"77"}])");
  const auto common = R"("io.container.manager":"cri-o","io.kubernetes.cri-o.Namespace":"lab-ns",
"io.kubernetes.cri-o.KubeName":"lab-pod","io.kubernetes.pod.uid":")" +
                      kUid + R"(")";
  write("/var/lib/containers/storage/overlay-containers/" + kId + "/userdata/config.json",
        R"({"annotations":{"io.kubernetes.cri-o.ContainerType":"container","io.kubernetes.container.name":"web",
"io.kubernetes.cri-o.ImageName":"docker.io/lab/box:1","io.kubernetes.cri-o.Created":"2026-11-24T10:00:00.25+00:00",
"io.kubernetes.container.restartCount":"2","io.kubernetes.cri-o.Labels":"{\"app\":\"shop\"}",)" +
            common + "}}");
  write("/var/lib/containers/storage/overlay-containers/" + kPodId + "/userdata/config.json",
        R"({"annotations":{"io.kubernetes.cri-o.ContainerType":"sandbox",)" + common + "}}");
  const std::string pod = "/kubepods.slice/kubepods-pod11111111_2222_3333_4444_555555555555.slice";
  see({pod, pod + "/crio-" + kId + ".scope", pod + "/crio-" + kPodId + ".scope",
       pod + "/crio-conmon-" + kId + ".scope"});
  const auto c = at(pod + "/crio-" + kId + ".scope");
  EXPECT_THAT(c.runtime, Optional(std::string("cri-o")));
  EXPECT_THAT(c.name, Optional(std::string("web")));
  EXPECT_THAT(c.image, Optional(std::string("docker.io/lab/box:1")));
  EXPECT_THAT(c.pod, Optional(std::string("lab-pod")));
  EXPECT_THAT(c.pod_namespace, Optional(std::string("lab-ns")));
  EXPECT_THAT(c.restart_count, Optional(2));
  EXPECT_THAT(c.labels, ElementsAre(Pair("app", "shop")));
  EXPECT_EQ(millis(c.created), 1795514400250);
  EXPECT_EQ(at(pod + "/crio-" + kPodId + ".scope").role, Role::sandbox);
  EXPECT_EQ(at(pod + "/crio-" + kPodId + ".scope").name, std::nullopt);
  EXPECT_EQ(at(pod + "/crio-conmon-" + kId + ".scope").role, Role::helper);

  const auto state = "/var/lib/containers/storage/overlay-containers/" + kId + "/userdata/state.json";
  write(state, R"({"id":"x","status":"running","started":"2026-11-24T10:00:01Z","finished":"0001-01-01T00:00:00Z"})");
  resolver().refresh(now_);
  EXPECT_EQ(millis(at(pod + "/crio-" + kId + ".scope").started), 1795514401000);
  EXPECT_EQ(at(pod + "/crio-" + kId + ".scope").finished, std::nullopt);
  write(state, R"({"id":"x","status":"stopped","started":"2026-11-24T10:00:01Z","finished":"2026-11-24T11:00:00Z",
"exitCode":9})");
  const auto table = see({pod});
  ASSERT_THAT(table->exited, SizeIs(1)) << "an exited sandbox is not shown";
  EXPECT_THAT(table->exited[0].container->exit_code, Optional(9));
  EXPECT_EQ(millis(table->exited[0].container->finished), 1795518000000);
}

TEST_F(StateReaders, ClaimAnyCgroupForRuncCrunAndRunsc) {
  options_.labels = {"org.lab.tier"};
  write("/proc/5/comm", "");
  write("/run/runc/web/state.json",
        R"({"id":"web","init_process_pid":5,"created":"2026-11-24T10:00:00Z","config":{"labels":["org.lab.tier=web",
"org.opencontainers.image.ref.name=lab/box:1","bundle=/b"],"cgroups":{"path":"/any/where"}}})");
  write("/run/runc/sd/state.json",
        R"({"id":"sd","init_process_pid":5,"config":{"cgroups":{"path":"","parent":"lab-a.slice","name":"sd",
"scope_prefix":"runc"}}})");
  write("/run/crun/c1/status", R"({"pid":5,"cgroup-path":"/lab/c1","created":"2026-11-24T10:00:00.000Z"})");
  write("/run/crun/c1/config.json", R"({"annotations":{"org.lab.tier":"db"}})");
  write("/run/runsc/g1_sandbox:g1.state",
        R"({"id":"g1","status":"running","createdAt":"2026-11-24T10:00:00Z","sandbox":{"pid":5},
"spec":{"linux":{"cgroupsPath":"/lab/g1"},"annotations":{"org.lab.tier":"gv"}}})");
  see({"/any/where", "/lab.slice/lab-a.slice/runc-sd.scope", "/lab/c1", "/lab/g1", "/lab"});
  EXPECT_THAT(at("/any/where").runtime, Optional(std::string("runc")));
  EXPECT_THAT(at("/any/where").name, Optional(std::string("web")));
  EXPECT_THAT(at("/any/where").image, Optional(std::string("lab/box:1")));
  EXPECT_THAT(at("/any/where").labels, ElementsAre(Pair("org.lab.tier", "web")));
  EXPECT_THAT(at("/lab.slice/lab-a.slice/runc-sd.scope").name, Optional(std::string("sd")));
  EXPECT_THAT(at("/lab.slice/lab-a.slice/runc-sd.scope").pid, Optional(5));
  EXPECT_THAT(at("/lab/c1").runtime, Optional(std::string("crun")));
  EXPECT_THAT(at("/lab/c1").labels, ElementsAre(Pair("org.lab.tier", "db")));
  EXPECT_THAT(at("/lab/g1").runtime, Optional(std::string("runsc")));
  EXPECT_THAT(at("/lab/g1").name, Optional(std::string("g1")));
  EXPECT_FALSE(knows("/lab"));
}

TEST_F(StateReaders, StripSuffixThatLxcAppendsToName) {
  write("/var/lib/lxc/web/config", "lxc.uts.name = web\nlxc.environment = SECRET=1\n");
  write("/var/lib/lxc/db-2/config", "lxc.uts.name = db-2\n");
  see({"/lxc.payload.web", "/lxc.payload.web-1", "/lxc.payload.db-2", "/lxc.monitor.web"});
  EXPECT_THAT(at("/lxc.payload.web").name, Optional(std::string("web")));
  EXPECT_THAT(at("/lxc.payload.web-1").name, Optional(std::string("web")));
  EXPECT_THAT(at("/lxc.payload.db-2").name, Optional(std::string("db-2")));
  EXPECT_THAT(at("/lxc.payload.web").runtime, Optional(std::string("lxc")));
  EXPECT_EQ(at("/lxc.monitor.web").role, Role::helper);
}

TEST_F(StateReaders, ReadImageOfLxdAndIncus) {
  options_.labels = {"user.tier"};
  const std::string text =
      "container:\n  architecture: x86_64\n  config:\n    image.os: labbox\n    image.release: \"1\"\n"
      "    user.tier: web\n    user.user-data: secret\n    volatile.base_image: 4844\n  devices: {}\n"
      "  created_at: 2026-11-24T10:00:00Z\n  status: Stopped\npool:\n  config:\n    user.tier: no\n";
  write("/var/lib/lxd/storage-pools/default/containers/web/backup.yaml", text);
  write("/var/lib/incus/storage-pools/default/containers/shop_db/backup.yaml", "instance" + text.substr(9));
  see({"/lxc.payload.web", "/lxc.payload.shop_db"});
  const auto c = at("/lxc.payload.web");
  EXPECT_THAT(c.runtime, Optional(std::string("lxd")));
  EXPECT_THAT(c.name, Optional(std::string("web")));
  EXPECT_THAT(c.image, Optional(std::string("labbox 1")));
  EXPECT_THAT(c.image_digest, Optional(std::string("sha256:4844")));
  EXPECT_THAT(c.labels, ElementsAre(Pair("user.tier", "web")));
  EXPECT_EQ(millis(c.created), 1795514400000);
  EXPECT_THAT(at("/lxc.payload.shop_db").runtime, Optional(std::string("incus")));
  EXPECT_THAT(at("/lxc.payload.shop_db").name, Optional(std::string("db")));
  EXPECT_THAT(at("/lxc.payload.shop_db").project, Optional(std::string("shop")));
}

TEST_F(StateReaders, IgnoreMachineWhoseLeaderHasExited) {
  const std::string text =
      "# This is private data. Do not parse.\nNAME=lab-nsp\nSCOPE=machine-lab\\\\x2dnsp.scope\nSERVICE=systemd-nspawn\n"
      "LEADER=4711\nCLASS=container\nREALTIME=1795492230637919\n";
  write("/run/systemd/machines/lab-nsp", text);
  const std::string path = "/machine.slice/machine-lab\\x2dnsp.scope";
  see({path, path + "/payload", path + "/supervisor"});
  EXPECT_THAT(at(path).name, Optional(std::string("lab-nsp")));
  EXPECT_EQ(at(path).pid, std::nullopt);
  write("/proc/4711/comm", "");
  now_ += std::chrono::seconds(1);
  resolver().refresh(now_);
  EXPECT_THAT(at(path).pid, Optional(4711));
  EXPECT_THAT(at(path).unit, Optional(std::string("machine-lab\\x2dnsp.scope")));
  EXPECT_EQ(millis(at(path).started), 1795492230637);
  EXPECT_EQ(at(path + "/payload").role, Role::payload);
  EXPECT_EQ(at(path + "/supervisor").role, Role::helper);
}

TEST_F(StateReaders, AssignUnitsInsideMachineToMachine) {
  write("/run/systemd/machines/lab-boot", "NAME=lab-boot\nSERVICE=systemd-nspawn\nLEADER=4711\nCLASS=container\n");
  write("/proc/4711/comm", "");
  for (const std::string outer :
       {"/machine.slice/machine-lab\\x2dboot.scope", "/machine.slice/systemd-nspawn@lab\\x2dboot.service"}) {
    SCOPED_TRACE(outer);
    const auto inner = outer + "/payload";
    see({outer, inner, inner + "/init.scope", inner + "/system.slice", inner + "/system.slice/ssh.service",
         inner + "/user.slice/user-1000.slice", "/system.slice/ssh.service"});
    EXPECT_THAT(at(outer).name, Optional(std::string("lab-boot")));
    EXPECT_EQ(at(inner).role, Role::payload);
    EXPECT_EQ(at(inner + "/init.scope").role, Role::payload);
    EXPECT_EQ(at(inner + "/system.slice").role, Role::slice);
    EXPECT_EQ(at(inner + "/system.slice/ssh.service").role, Role::service);
    for (const auto* below : {"", "/init.scope", "/system.slice", "/system.slice/ssh.service"}) {
      EXPECT_THAT(at(inner + below).parent, Optional(std::string("lab-boot"))) << below;
    }
    EXPECT_EQ(at("/system.slice/ssh.service").parent, std::nullopt);
  }
}

TEST_F(StateReaders, IgnoreMachineTimeOutOfRange) {
  write("/run/systemd/machines/web", "NAME=web\nLEADER=4711\nREALTIME=9223372036854775807\n");
  write("/proc/4711/comm", "");
  const std::string path = "/machine.slice/machine-web.scope";
  see({path});
  EXPECT_THAT(at(path).pid, Optional(4711));
  EXPECT_EQ(at(path).started, std::nullopt);
}

TEST_F(StateReaders, ReadNameOfLibvirtDomain) {
  write("/run/libvirt/lxc/lab-lv1.xml",
        "<domstatus state='running' reason='booted' pid='12575'><init pid='12576'/><domain type='lxc' id='12575'>"
        "<name>lab-lv1</name><uuid>4e3f</uuid></domain></domstatus>");
  see({"/machine/lxc-12575-lab-lv1.libvirt-lxc", "/machine/qemu-1-vm.libvirt-qemu"});
  const auto c = at("/machine/lxc-12575-lab-lv1.libvirt-lxc");
  EXPECT_THAT(c.name, Optional(std::string("lab-lv1")));
  EXPECT_THAT(c.id, Optional(std::string("4e3f")));
  EXPECT_THAT(c.pid, Optional(12575));
  EXPECT_EQ(at("/machine/qemu-1-vm.libvirt-qemu").role, Role::machine);
  EXPECT_THAT(at("/machine/qemu-1-vm.libvirt-qemu").name, Optional(std::string("vm")));
}

// ---- untrusted state -------------------------------------------------------------------------------------------

class UntrustedState : public DiscoveryTest {
 protected:
  const std::string dir_ = "/var/lib/docker/containers/" + kId;
  const std::string file_ = dir_ + "/config.v2.json";
  const std::string cgroup_ = "/docker/" + kId;

  void expect_unknown_with_one_line(const std::string& reason) {
    for (int i = 0; i < 5; ++i) {
      see({cgroup_});
      now_ += std::chrono::seconds(100);
    }
    EXPECT_EQ(at(cgroup_).name, std::nullopt);
    EXPECT_THAT(at(cgroup_).id, Optional(kId));
    ASSERT_THAT(log_lines_, SizeIs(1));
    EXPECT_THAT(log_lines_[0], HasSubstr(reason));
    // The file is read again after an event or when the retry is due.
    remove(dir_);
    write(file_, docker_config(kId, "web"));
    now_ += std::chrono::seconds(100);
    resolver().refresh(now_);
    EXPECT_THAT(at(cgroup_).name, Optional(std::string("web")));
  }
};

TEST_F(UntrustedState, RejectsLinkOutOfTheRoot) {
  write("/secret", docker_config(kId, "stolen"));
  std::filesystem::create_directories(root_ + dir_);
  std::filesystem::create_symlink("../../../../../secret", root_ + file_);
  expect_unknown_with_one_line("symbolic link");
  EXPECT_GE(resolver().stats().files.refused, 2U);
}

TEST_F(UntrustedState, RejectsLinkedDirectory) {
  write("/elsewhere/config.v2.json", docker_config(kId, "stolen"));
  std::filesystem::create_directories(root_ + "/var/lib/docker/containers");
  std::filesystem::create_directory_symlink(root_ + "/elsewhere", root_ + dir_);
  expect_unknown_with_one_line("symbolic link");
}

TEST_F(UntrustedState, DoesNotBlockOnFifo) {
  std::filesystem::create_directories(root_ + dir_);
  ASSERT_EQ(::mkfifo((root_ + file_).c_str(), 0600), 0);
  expect_unknown_with_one_line("not a regular file");
}

TEST_F(UntrustedState, RejectsOversizedFile) {
  write(file_, "{}");
  std::filesystem::resize_file(root_ + file_, std::uintmax_t{1} << 30U);
  expect_unknown_with_one_line("larger than the limit for state files");
}

TEST_F(UntrustedState, RetriesIncompleteFile) {
  write(file_, docker_config(kId, "web").substr(0, 100));
  expect_unknown_with_one_line("not JSON, or incomplete");
}

TEST_F(UntrustedState, RejectsUnboundedNesting) {
  write(file_, std::string(1 << 20, '['));
  expect_unknown_with_one_line("not JSON, or incomplete");
}

TEST_F(UntrustedState, RejectsInvalidUtf8) {
  write(file_, "{\"ID\":\"\xff\"}");
  expect_unknown_with_one_line("not UTF-8");
}

TEST_F(UntrustedState, RejectsFileOfAnotherContainer) {
  write(file_, docker_config(kPodId, "other"));
  expect_unknown_with_one_line("another container");
}

TEST_F(UntrustedState, IgnoresValuesOfUnexpectedTypes) {
  write(file_, R"({"ID":")" + kId + R"(","State":[],"Config":{"Labels":{"a":1,"b":null},"Image":{}},"Name":7,
"RestartCount":"x","Created":12,"Image":[]})");
  see({cgroup_});
  EXPECT_EQ(at(cgroup_).name, std::nullopt);
  EXPECT_EQ(at(cgroup_).image, std::nullopt);
  EXPECT_EQ(at(cgroup_).restart_count, std::nullopt);
}

TEST_F(UntrustedState, BoundsNumberAndLengthOfLabels) {
  options_.labels = {"*"};
  std::string more;
  for (int i = 0; i < 1000; ++i) more += ",\"l" + std::to_string(i) + "\":\"v\"";
  more += R"(,"big":")" + std::string(100'000, 'x') + R"(","odd":"a\"b\n\u001b[31m")";
  write(file_, docker_config(kId, "web", more));
  see({cgroup_});
  EXPECT_THAT(at(cgroup_).labels, SizeIs(ContainerFacts::kMaxLabels));
  for (const auto& [name, value] : at(cgroup_).labels) EXPECT_LE(value.size(), ContainerFacts::kMaxLength) << name;
}

TEST_F(UntrustedState, RejectsIdThatIsAPath) {
  write("/run/secret", "NAME=x\nLEADER=1\n");
  const std::string path = "/machine.slice/machine-..\\x2f..\\x2fsecret.scope";
  see({path});
  EXPECT_THAT(at(path).id, Optional(std::string("../../secret")));
  EXPECT_EQ(resolver().stats().files.reads, 0U);
}

TEST_F(UntrustedState, FollowsLinkedRootWithinTheHost) {
  write("/data/docker/containers/" + kId + "/config.v2.json", docker_config(kId, "web"));
  std::filesystem::create_directories(root_ + "/var/lib");
  std::filesystem::create_directory_symlink("/data/docker", root_ + "/var/lib/docker");
  see({cgroup_});
  EXPECT_THAT(at(cgroup_).name, Optional(std::string("web")));
}

TEST(ParseTime, AcceptsOffsetsAndFractionsAndRejectsOthers) {
  EXPECT_EQ(millis(parse_time("2026-11-24T10:00:00Z")), 1795514400000);
  EXPECT_EQ(millis(parse_time("2026-11-24T10:00:00.123456789Z")), 1795514400123);
  EXPECT_EQ(millis(parse_time("2026-11-24T10:00:00-01:30")), 1795519800000);
  EXPECT_EQ(millis(parse_time("2026-11-24 10:00:00.5 +0000 UTC")), 1795514400500);
  for (const auto* text : {"", "0001-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-24T25:00:00Z",
                           "2026-11-24T10:00:00", "2026-11-24", "2026-11-24T10:00:00+", "yesterday"}) {
    EXPECT_EQ(parse_time(text), std::nullopt) << text;
  }
}

TEST(CgroupOfSpec, ConvertsSystemdTriples) {
  EXPECT_EQ(cgroup_of_spec("/a/b"), "/a/b");
  EXPECT_EQ(cgroup_of_spec("a-b.slice:runc:x"), "/a.slice/a-b.slice/runc-x.scope");
  EXPECT_EQ(cgroup_of_spec("system.slice:docker:x"), "/system.slice/docker-x.scope");
  EXPECT_EQ(cgroup_of_spec(":runc:x"), "/system.slice/runc-x.scope");
  EXPECT_EQ(cgroup_of_spec("relative/path"), "");
  EXPECT_EQ(cgroup_of_spec(""), "");
}

}  // namespace
}  // namespace cgwarden::discovery
