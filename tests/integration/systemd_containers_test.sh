#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Containers that need a real systemd, in a virtual machine: a rootless Podman container, which is discovered without
# any option, and a systemd-nspawn container that boots systemd, whose units are units of that container.
#
#   systemd_containers_test.sh BUILD_DIR v2|hybrid
#
# Rootless Podman creates a cgroup for a container on pure v2 only, so that part runs on v2 only.
# Exit status: 0, 1, or 77 if the guest cannot run (missing packages, not root, other distribution).
# shellcheck disable=SC2317  # functions are called by name
set -uo pipefail

# ---- in the guest ------------------------------------------------------------------------------------------------
if [ "${1:-}" = --in-guest ]; then
  stage=$2 layout=$3
  . "$(dirname "$0")/checks.sh"
  cp -r "$stage"/. /
  cgwarden --web.listen-address 127.0.0.1:10753 --discovery.labels='org.cgwarden.*' 2> /tmp/agent.log &
  agent=$!
  api() { curl -sS --max-time 20 "http://127.0.0.1:10753$1"; }
  # A property of the container with this name.
  fact() { api /api/v1/cgroups | jq -r --arg name "$1" "first(.containers[] | select(.name == \$name)).$2 // empty"; }
  # The value of a series of the container, in the child cgroup that crun creates for it and that has its limits.
  value() { api /metrics | sed -n "s/^$2{.*container=\"$1\".*} //p" | sed -n 1p; }
  limit() { api /metrics | sed -n "s/^$2{cgroup=\"[^\"]*\/libpod-$(fact "$1" id)\.scope\/container\".*} //p"; }
  check "the agent is ready" until_true 30 api /-/ready

  # ---- rootless Podman --------------------------------------------------------------------------------------------
  # conmon stays in the cgroup of the caller of Podman, and keeps running after the caller exits.
  home=$(getent passwd tester | cut -d: -f6)
  as_tester() {
    runuser -u tester -- env HOME="$home" XDG_RUNTIME_DIR=/run/user/1000 \
      systemd-run --user --quiet --wait --pipe --collect -p KillMode=process -p WorkingDirectory="$home" "$@"
  }
  podman() { as_tester podman "$@"; }
  rootless() {
    loginctl enable-linger tester
    check "the service manager of the user is running" until_true 60 test -S /run/user/1000/bus
    box_image "$home/box.tar"
    check "Podman has an image" podman import --change 'CMD ["/bin/load"]' "$home/box.tar" cgwarden-test/box:1
    check "Podman runs a container" podman run -d --name cgwarden-test-rootless --network none --log-driver k8s-file \
      --memory 64m --pids-limit 50 localhost/cgwarden-test/box:1
    local begun
    begun=$(date +%s%N)
    named() { [ -n "$(fact cgwarden-test-rootless id)" ]; }
    check "the agent names the container" until_true 20 named
    echo "     after $((($(date +%s%N) - begun) / 1000000)) ms, without KVM"
    podman inspect cgwarden-test-rootless > /tmp/inspected
    says() { jq -r ".[0].$1" /tmp/inspected; }
    same runtime "$(fact cgwarden-test-rootless runtime)" podman
    same id "$(fact cgwarden-test-rootless id)" "$(says Id)"
    same image "$(fact cgwarden-test-rootless image)" "$(says ImageName)"
    same pid "$(fact cgwarden-test-rootless pid)" "$(says State.Pid)"
    same memory "$(limit cgwarden-test-rootless cgroup_memory_max_bytes)" "$(says HostConfig.Memory)"
    same pids "$(limit cgwarden-test-rootless cgroup_pids_max)" "$(says HostConfig.PidsLimit)"
    cgwarden containers --json > /tmp/printed 2> /dev/null
    layers() { jq -c '.[] | select(.name == "cgwarden-test-rootless") | [.image_layers[].id]' /tmp/printed; }
    same layers "$(layers)" "$(podman image inspect localhost/cgwarden-test/box:1 | jq -c '.[0].RootFS.Layers')"
    same "source of the name" "$(jq -r '.[] | select(.name == "cgwarden-test-rootless") | .from.name' /tmp/printed |
      grep -oF "$home/./.local/share/containers/storage")" "$home/./.local/share/containers/storage"

    # The service has no access to home directories by default.
    systemctl start cgwarden-sees-homes
    check "the service names the container with ProtectHome=read-only" until_true 20 sh -c \
      "curl -sS --max-time 20 http://127.0.0.1:10754/metrics | grep -q '^cgroup_container_info.*cgwarden-test-rootless'"
    systemctl stop cgwarden-sees-homes

    podman stop -t 20 cgwarden-test-rootless > /dev/null
    ended() { [ "$(value cgwarden-test-rootless cgroup_container_exit_code)" = 3 ]; }
    until_true 20 ended
    same "exit status" "$(value cgwarden-test-rootless cgroup_container_exit_code)" 3
    podman rm -f cgwarden-test-rootless > /dev/null
  }
  # The unit with another port and access to home directories.
  sed 's|^ExecStart=.*|ExecStart=/usr/bin/cgwarden --web.listen-address 127.0.0.1:10754|; s|^ProtectHome=.*|ProtectHome=read-only|' \
    /usr/lib/systemd/system/cgwarden.service > /run/systemd/system/cgwarden-sees-homes.service
  systemctl daemon-reload
  [ "$layout" != v2 ] || rootless

  # ---- systemd-nspawn with systemd -------------------------------------------------------------------------------
  name=cgwarden-test-boot
  scope="/machine.slice/machine-cgwarden\\x2dtest\\x2dboot.scope"
  mount -t tmpfs none /mnt
  mkdir /mnt/{upper,work,root}
  mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work none /mnt/root
  systemd-nspawn -q -b -D /mnt/root -M $name --private-network --console=pipe -- --unit=basic.target \
    < /dev/null > /tmp/nspawn.log 2>&1 &
  # Properties of a cgroup, by path.
  of() {
    api /api/v1/cgroups | jq -r --arg path "$1" \
      '(.paths | index($path)) as $at | first(.containers[] | select(.cgroup == $at)) | [.role, .name, .parent, .pid] | map(. // "-") | join(" ")'
  }
  journald="$scope/payload/system.slice/systemd-journald.service"
  booted() { [ -n "$(of "$journald")" ] && [[ $(of "$scope") == *[0-9] ]]; }
  check "systemd boots in systemd-nspawn" until_true 90 booted
  leader=$(machinectl show -p Leader --value $name)
  same "cgroup of the container" "$(of "$scope")" "container $name - $leader"
  same "payload cgroup" "$(of "$scope/payload")" "payload - $name -"
  same "init.scope of the container" "$(of "$scope/payload/init.scope")" "payload - $name -"
  same "slice of the container" "$(of "$scope/payload/system.slice")" "slice - $name -"
  same "service of the container" "$(of "$journald")" "service - $name -"
  same "same service on the host" "$(of /system.slice/systemd-journald.service)" "service - - -"
  check "the service of the container differs from that of the host" sh -c \
    "curl -sS http://127.0.0.1:10753/metrics | grep -F 'unit=\"systemd-journald.service\"' | grep -qF 'parent=\"$name\"'"
  same "containers with that name" "$(cgwarden containers --json 2> /dev/null | jq "[.[] | select(.name == \"$name\")] | length")" 1
  machinectl terminate $name
  gone() { [ -z "$(of "$scope")" ]; }
  check "the container is removed after it exited" until_true 60 gone

  same "warnings and errors of the agent" "$(grep -v level=info /tmp/agent.log)" ""
  kill $agent
  [ $faults -eq 0 ] || { cat /tmp/nspawn.log /tmp/agent.log; exit 1; }
  exit 0
fi

# ---- on the host -------------------------------------------------------------------------------------------------
. "$(dirname "$0")/guest.sh"
[ $# -eq 2 ] || { sed -n '3,12s/^# \{0,1\}//p' "$0"; exit 2; }
prepare_guest "$1"
cp "$0" "$tmp/test.sh"
in_guest --layout "$2" --share "$tmp:ro" -- bash "$tmp/test.sh" --in-guest "$tmp/stage" "$2"
