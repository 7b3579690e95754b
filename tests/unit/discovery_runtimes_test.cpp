// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "src/discovery/runtimes.h"
#include "tests/unit/discovery_fixture.h"

namespace cgwarden::discovery {
namespace {

using model::Role;

const std::string kHex = "4f1c0a7de2b94f1c0a7de2b94f1c0a7de2b94f1c0a7de2b94f1c0a7de2b9abcd";
const std::string kOther = "00000000000000000000000000000000000000000000000000000000000000ff";
const std::string kUidScores = "11111111_2222_3333_4444_555555555555";

struct Case {
  std::string path;
  std::string runtime;
  Role role;
  std::string id;
};

TEST(Locate, MatchesLayoutsOfEveryRuntimeAndDriver) {
  const Case cases[] = {
      {"/docker/" + kHex, "docker", Role::container, kHex},
      {"/system.slice/docker-" + kHex + ".scope", "docker", Role::container, kHex},
      {"/system.slice/containerd.service/system.slice:docker:" + kHex, "docker", Role::container, kHex},
      {"/ecs/5f2b/" + kHex, "docker", Role::container, kHex},
      {"/docker/buildkit/m1x2", "buildkit", Role::container, "m1x2"},
      {"/k8s.io/" + kHex, "containerd", Role::container, kHex},
      {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kUidScores + ".slice/cri-containerd-" +
           kHex + ".scope",
       "containerd", Role::container, kHex},
      {"/system.slice/containerd.service/kubepods-burstable-pod" + kUidScores + ".slice:cri-containerd:" + kHex,
       "containerd", Role::container, kHex},
      {"/kubepods/burstable/pod" + kUid + "/" + kHex, "", Role::container, kHex},
      {"/kubepods/pod" + kUid + "/crio-" + kHex, "cri-o", Role::container, kHex},
      {"/kubepods/pod" + kUid + "/crio-conmon-" + kHex, "cri-o", Role::helper, kHex},
      {"/kubepods.slice/kubepods-pod" + kUidScores + ".slice/crio-" + kHex + ".scope", "cri-o", Role::container, kHex},
      {"/kubepods.slice/kubepods-pod" + kUidScores + ".slice/crio-" + kHex + ".scope/container", "", Role::payload, ""},
      {"/kubepods.slice/kubepods-pod" + kUidScores + ".slice/crio-conmon-" + kHex + ".scope", "cri-o", Role::helper,
       kHex},
      {"/libpod_parent/libpod-" + kHex, "podman", Role::container, kHex},
      {"/libpod_parent/conmon", "podman", Role::helper, ""},
      {"/libpod_parent/" + kOther, "podman", Role::pod, kOther},
      {"/libpod_parent/" + kOther + "/libpod-" + kHex, "podman", Role::container, kHex},
      {"/libpod_parent/" + kOther + "/conmon", "podman", Role::helper, kOther},
      {"/machine.slice/libpod-" + kHex + ".scope", "podman", Role::container, kHex},
      {"/machine.slice/libpod-" + kHex + ".scope/container", "", Role::payload, ""},
      {"/machine.slice/libpod-conmon-" + kHex + ".scope", "podman", Role::helper, kHex},
      {"/machine.slice/machine-libpod_pod_" + kOther + ".slice", "podman", Role::pod, kOther},
      {"/machine.slice/machine-libpod_pod_" + kOther + ".slice/libpod-" + kHex + ".scope", "podman", Role::container,
       kHex},
      {"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + kHex + ".scope/container", "",
       Role::payload, ""},
      {"/user.slice/user-1000.slice/user@1000.service/user.slice/podman-4711.scope", "podman", Role::helper, ""},
      {"/system.slice/web.service/libpod-payload-" + kHex, "podman", Role::container, kHex},
      {"/lab.slice/runc-web.scope", "runc", Role::container, "web"},
      {"/lab.slice/crun-web.scope/container", "", Role::payload, ""},
      {"/lxc.payload.web", "lxc", Role::container, "web"},
      {"/lxc.payload.web/init.scope", "", Role::payload, ""},
      {"/lxc.monitor.web", "lxc", Role::helper, "web"},
      {"/lxc.pivot", "lxc", Role::helper, ""},
      {"/lxc/web", "lxc", Role::container, "web"},
      {"/lxc.payload.web/system.slice/docker-" + kHex + ".scope", "docker", Role::container, kHex},
      {"/docker/" + kOther + "/docker/" + kHex, "docker", Role::container, kHex},
      {"/machine.slice/machine-lab\\x2dnsp.scope", "systemd-nspawn", Role::container, "lab-nsp"},
      {"/machine.slice/machine-lab\\x2dnsp.scope/payload", "", Role::payload, ""},
      {"/machine.slice/machine-lab\\x2dnsp.scope/supervisor", "", Role::helper, ""},
      {"/machine.slice/systemd-nspawn@lab-boot.service", "systemd-nspawn", Role::container, "lab-boot"},
      {"/machine.slice/systemd-nspawn@lab-boot.service/payload/init.scope", "", Role::payload, ""},
      {"/machine.slice/machine-qemu\\x2d1\\x2dvm\\x2dx.scope", "libvirt-qemu", Role::machine, "vm-x"},
      {"/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/vcpu0", "", Role::payload, ""},
      {"/machine.slice/machine-lxc\\x2d812\\x2dbox.scope", "libvirt-lxc", Role::container, "box"},
      {"/machine/lxc-12575-lab-lv1.libvirt-lxc", "libvirt-lxc", Role::container, "lab-lv1"},
      {"/machine/qemu-3-vm.libvirt-qemu", "libvirt-qemu", Role::machine, "vm"},
      {"/machine/qemu-3-vm.libvirt-qemu/emulator", "", Role::payload, ""},
      {"/slurm/uid_1000/job_42", "slurm", Role::job, "42"},
      {"/slurm/uid_1000/job_42/step_0/task_1", "slurm", Role::payload, ""},
      {"/system.slice/slurmstepd.scope/job_42", "slurm", Role::job, "42"},
      {"/system.slice/slurmstepd.scope/job_42/step_0/slurm", "slurm", Role::helper, ""},
      {"/system.slice/ssh.service", "systemd", Role::service, "ssh.service"},
      {"/user.slice/user-1000.slice/session-3.scope", "systemd", Role::session, "session-3.scope"},
      {"/user.slice/user-1000.slice/user@1000.service", "systemd", Role::user_manager, "user@1000.service"},
      {"/init.scope", "systemd", Role::scope, "init.scope"},
      {"/system.slice", "systemd", Role::slice, "system.slice"},
  };
  for (const auto& c : cases) {
    const auto match = locate(c.path);
    ASSERT_TRUE(match) << c.path;
    EXPECT_EQ(match->runtime, c.runtime) << c.path;
    EXPECT_EQ(model::name(match->role), model::name(c.role)) << c.path;
    EXPECT_EQ(match->id, c.id) << c.path;
    EXPECT_TRUE(match->certain) << c.path;
  }
}

TEST(Locate, RejectsPathsThatAreNotContainers) {
  const std::string paths[] = {
      "/",
      "",
      "/docker",
      "/kubepods",
      "/libpod_parent",
      "/machine",
      "/default/web",
      "/docker/" + kHex.substr(1),        // 63 digits
      "/docker/" + kHex + "0",            // 65
      "/docker/" + std::string(64, 'g'),  // not hexadecimal
      "/docker/" + std::string(64, 'A'),  // upper case
      "/lxc.payload.",
      "/docker/buildkit/",
      "/init",
      "/app/container",
      "/app/payload",
      "/app/emulator",
      "/docker/" + kHex + "/app/container",  // cgroup created inside the container
  };
  for (const auto& path : paths) EXPECT_FALSE(locate(path)) << path;

  const std::string units[] = {
      "/system.slice/var-lib-docker-overlay2-" + kHex + "-merged.mount",
      "/system.slice/run-docker-netns-" + kHex.substr(0, 12) + ".mount",
      "/system.slice/docker-" + kHex + ".mount",
      "/system.slice/docker.service",
      "/system.slice/docker.socket",
      "/system.slice/docker-.scope",
      "/system.slice/lxc-monitord.service",
      "/machine.slice/libpod-conmon.service",
  };
  for (const auto& path : units) {
    const auto match = locate(path);
    ASSERT_TRUE(match) << path;
    EXPECT_EQ(match->runtime, "systemd") << path;
  }
}

TEST(Locate, MarksIdWithoutRuntimeAsUncertain) {
  const auto match = locate("/lab-parent/" + kHex);
  ASSERT_TRUE(match);
  EXPECT_FALSE(match->certain);
  EXPECT_EQ(match->id, kHex);
  EXPECT_FALSE(locate("/lab-parent/" + kHex + "/container"));
}

TEST(Locate, ReadsPodUidAndQosWithBothDrivers) {
  for (const auto& [path, qos] : {
           std::pair{"/kubepods/pod" + kUid, "guaranteed"},
           std::pair{"/kubepods/burstable/pod" + kUid, "burstable"},
           std::pair{"/kubelet/kubepods/besteffort/pod" + kUid, "besteffort"},
           std::pair{"/kubepods.slice/kubepods-pod" + kUidScores + ".slice", "guaranteed"},
           std::pair{"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + kUidScores + ".slice",
                     "besteffort"},
           std::pair{"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
                     "kubelet-kubepods-burstable-pod" +
                         kUidScores + ".slice",
                     "burstable"},
       }) {
    const auto match = locate(path);
    ASSERT_TRUE(match) << path;
    EXPECT_EQ(match->role, Role::pod) << path;
    EXPECT_EQ(match->pod_uid, kUid) << path;
    EXPECT_EQ(match->qos, qos) << path;
    const auto within = locate(path + "/cri-containerd-" + kHex + ".scope");
    ASSERT_TRUE(within) << path;
    EXPECT_EQ(within->pod_uid, kUid) << path;
    EXPECT_EQ(within->qos, qos) << path;
  }
}

TEST(UnescapeUnit, DecodesEscapesAndKeepsInvalidOnes) {
  EXPECT_EQ(unescape_unit("a\\x2db\\x2Dc"), "a-b-c");
  EXPECT_EQ(unescape_unit("a\\x2"), "a\\x2");
  EXPECT_EQ(unescape_unit("a\\xzz"), "a\\xzz");
  EXPECT_EQ(unescape_unit("a\\x00"), "a\\x00");
  const auto match = locate("/machine.slice/machine-a\\xff.scope");
  ASSERT_TRUE(match);
  EXPECT_EQ(match->id, "a\xEF\xBF\xBD");
}

TEST(Locate, ReadsRoleSliceAndUserOfUnits) {
  struct Unit {
    const char* path;
    const char* role;
    const char* unit;
    const char* slice;
    const char* uid;
  };
  const Unit units[] = {
      {"/system.slice/ssh.service", "service", "ssh.service", "system.slice", ""},
      {"/user.slice/user-1000.slice", "slice", "user-1000.slice", "user.slice", "1000"},
      {"/user.slice/user-1000.slice/user@1000.service", "user_manager", "user@1000.service", "user-1000.slice", "1000"},
      {"/user.slice/user-1000.slice/user@1000.service/app.slice/a.service", "service", "a.service", "app.slice",
       "1000"},
      {"/user.slice/user-1000.slice/session-3.scope", "session", "session-3.scope", "user-1000.slice", "1000"},
      {"/user.slice/user-.slice/user-x1.slice/run-1.scope", "scope", "run-1.scope", "user-x1.slice", ""},
      {"/user@x.service", "service", "user@x.service", "", ""},
      {"/init.scope", "scope", "init.scope", "", ""},
      {"/dev-hugepages.mount", "unit", "dev-hugepages.mount", "", ""},
  };
  for (const auto& c : units) {
    const auto match = locate(c.path);
    ASSERT_TRUE(match) << c.path;
    EXPECT_EQ(model::name(match->role), c.role) << c.path;
    EXPECT_EQ(match->id, c.unit) << c.path;
    EXPECT_EQ(enclosing_slice(c.path), c.slice) << c.path;
    EXPECT_EQ(user_of(c.path), c.uid) << c.path;
  }
  for (const auto* custom : {"", "/", "//", "user-1.slice", "/.slice", "/user-1.slice/"}) (void)enclosing_slice(custom);
}

}  // namespace
}  // namespace cgwarden::discovery
